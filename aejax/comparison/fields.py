"""An Entry, and the checks of what a file says about a run: types, finite numbers, free names."""

import dataclasses
import sys

from aejax.comparison.plain import plain

OWN = ("path", "name", "status", "reason", "id", "sweep")  # columns that are neither settings nor metrics
MAIN = ("model", "data", "noise", "latent_dim")  # the settings that identify a run first
COUNTS = ("n", "diverged", "missing")
TAKEN = {*OWN, "data_fingerprint", "parameters", *MAIN, "seed", *COUNTS}  # column names that no metric may have
LOW, HIGH, COUNT = ENDINGS = " low", " high", " n"  # of the columns with a metric's interval and sample size
TEXT, MAPPING, LIST = (str, None), (dict, None), (list, None)


@dataclasses.dataclass
class Entry:
    """One run, or one job that has no run.

    `status` is that of run.json, or `planned`, `failed` (a job without a run), `missing` (its folder is gone),
    `half-deleted` (some of its files are gone), `damaged` (a file cannot be read); `reason` says why it is not whole.
    `settings` are by dotted name, `choices` by group; `metrics` are those of metrics.json and the validation error;
    `likelihood` is the kind that the run chose.
    """

    path: str
    name: str
    status: str
    reason: str | None = None
    id: str | None = None
    sweep: str | None = None
    choices: dict = dataclasses.field(default_factory=dict)
    settings: dict = dataclasses.field(default_factory=dict)
    metrics: dict = dataclasses.field(default_factory=dict)
    versions: dict = dataclasses.field(default_factory=dict)
    data: dict = dataclasses.field(default_factory=dict)
    protocol: dict = dataclasses.field(default_factory=dict)
    likelihood: str | None = None
    parameters: int | None = None
    overrides: list = dataclasses.field(default_factory=list)


def check(known, **kinds):
    """Raises ValueError if a field is present and of none of its allowed types; None allows null."""
    for name, allowed in kinds.items():
        if name in known and not _is_of(known[name], allowed):
            raise ValueError(f"{name} is not of type {allowed[0].__name__}")


def check_items(name, items, allowed):
    """Raises ValueError if an item is of none of the allowed types."""
    if not all(_is_of(item, allowed) for item in items):
        raise ValueError(f"{name} holds an item that is not of type {allowed[0].__name__}")


def _is_of(value, allowed):
    if value is None or isinstance(value, bool):
        return (None if value is None else bool) in allowed
    return any(kind is not None and isinstance(value, kind) for kind in allowed)


def check_all(known):
    """Raises ValueError or TypeError if these are not the fields of an Entry, each of its type."""
    Entry(**known)
    check(known, path=(str,), name=(str,), status=(str,), reason=TEXT, id=TEXT, sweep=TEXT, likelihood=TEXT)
    check(known, choices=(dict,), settings=(dict,), metrics=(dict,), versions=(dict,), data=(dict,), protocol=(dict,))
    check(known, parameters=(int, None), overrides=(list,))
    check_items("overrides", known["overrides"], (str,))
    check_items("choices", known["choices"].values(), TEXT)
    check_items("settings", known["settings"].values(), (str, int, float, bool, None))
    check_items("versions", known["versions"].values(), (str,))
    for value in (known["parameters"], *known["settings"].values()):
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"{value} is too large")
    of_metrics(known["metrics"])
    of_data(known["data"])


def of_metrics(metrics):
    """metrics.json as an Entry holds it; raises ValueError if it is not {name: finite number or null}."""
    if not isinstance(metrics, dict):
        raise ValueError("is not a mapping")
    for name, value in metrics.items():
        if name in TAKEN or not name or name.endswith(ENDINGS):
            raise ValueError(f"{name} cannot be the name of a metric")
        if not _is_of(value, (int, float, None)):
            raise ValueError(f"{name} is not a number")
        if value is not None and not abs(value) <= sys.float_info.max:
            raise ValueError(f"{name} is not a finite number")
    return {plain(name): value for name, value in metrics.items()}


def of_record(record):
    """run.json as fields of an Entry; raises ValueError if one has the wrong type."""
    check(record, status=(str,), name=TEXT, id=TEXT, error=TEXT, likelihood=TEXT, parameters=(int, None))
    check(record, versions=MAPPING, data=MAPPING, protocol=MAPPING, evaluated_again=LIST)
    if not record.get("status"):
        raise ValueError("has no status")
    versions, parameters = record.get("versions") or {}, record.get("parameters")
    check_items("versions", versions.values(), (str,))
    if parameters is not None and not 0 <= parameters < 2**63:
        raise ValueError("parameters is not a count")
    entry_fields = {
        "status": record["status"],
        "reason": record.get("error"),
        "id": record.get("id"),
        "versions": {plain(name): plain(version) for name, version in versions.items()},
        "data": of_data(record.get("data") or {}),
        "protocol": of_protocol(record.get("protocol") or {}, record.get("evaluated_again") or []),
        "likelihood": record.get("likelihood"),
        "parameters": parameters,
    } | ({"name": record["name"]} if record.get("name") else {})
    return {name: plain(value) if isinstance(value, str) else value for name, value in entry_fields.items()}


def of_data(data):
    """The data of run.json as an Entry holds them; raises ValueError if a field has the wrong type."""
    check(data, name=TEXT, kind=TEXT, fingerprint=TEXT, test_fingerprint=TEXT, shape=LIST, examples=MAPPING)
    check_items("shape", data.get("shape") or [], (int,))
    check_items("examples", (data.get("examples") or {}).values(), (int,))
    texts = {name: data[name] for name in ("name", "kind", "fingerprint", "test_fingerprint") if data.get(name)}
    texts = {name: plain(value) for name, value in texts.items()}
    sizes = {plain(split): int(size) for split, size in (data.get("examples") or {}).items()}
    return texts | {"shape": list(data.get("shape") or []), "examples": sizes}


def of_protocol(protocol, again):
    """The evaluation protocol of a run; an nll added by `python -m aejax.evaluate` brings its number of samples."""
    for later in again:
        check({"evaluated_again": later}, evaluated_again=(dict,))
        groups = [*_groups(protocol), *_groups(later)]
        if "nll" not in _groups(protocol) and "nll" in groups and "nll_samples" in later:
            protocol = protocol | {"nll_samples": later["nll_samples"], "groups": groups}
    return {plain(name): value for name, value in protocol.items()}


def _groups(protocol):
    groups = protocol.get("groups")
    return groups if isinstance(groups, list) else []
