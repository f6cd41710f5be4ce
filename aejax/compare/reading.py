"""Folders of runs and sweeps -> one Entry for every run and every job, whatever has become of it.

An index in the sweep's folder keeps what was read; an entry of it counts while the run's files have not changed.
"""

import contextlib
import dataclasses
import json
import math
import os
import sys
from pathlib import Path

import yaml

from aejax import __version__
from aejax.errors import InputError
from aejax.files import write_whole
from aejax.nested import dotted
from aejax.runs import Run

INDEX = ".compare.json"
LEDGER = "sweep.json"
FORMAT = 2  # of the index; another is read anew
# The files that an Entry comes from.
READ = ("run.json", "metrics.json", "history.csv", ".hydra/config.yaml", ".hydra/hydra.yaml")
REST = ("history.csv", "params.safetensors", "codes.npz")  # what alone tells that a folder was a run's
UNREAD = {"wandb", "figures", ".hydra"}  # folders that hold no runs
WHOLE = ("completed", "diverged")  # the statuses of runs that ended and have all their files
TAKEN = {  # columns of a table, which no metric can be named by
    "path", "name", "status", "reason", "id", "sweep", "data_fingerprint", "parameters", "model", "data", "noise",
    "latent_dim", "seed", "n", "diverged", "missing",
}  # fmt: skip
FAULTS = (OSError, ValueError, RecursionError)  # of a file that cannot be read


@dataclasses.dataclass
class Entry:
    """One run, or one job of which there is none.

    `status` is that of run.json, or `planned`, `failed` (of a job without a run), `missing` (its folder is gone),
    `half-deleted` (some of its files are), `damaged` (one cannot be read); `reason` says why it is not whole.
    `settings` are by dotted name, `choices` by group; `metrics` are those of metrics.json, and the validation error.
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
    parameters: int | None = None
    overrides: list = dataclasses.field(default_factory=list)


def read(folders):
    """The Entries of all runs in and below `folders`; raises InputError where a folder holds none."""
    entries = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; must be that of a run or a sweep, or one above them")
        found = list(_below(folder, set()))
        if not found:
            raise InputError(f"{folder}: holds no runs; must be the folder of a run or a sweep, or one above them")
        entries |= {os.path.abspath(entry.path): entry for entry in found}
    return list(entries.values())


def _below(folder, seen, linked=False):
    """The Entries of a folder: of the run that it is, or of the runs and sweeps in it.

    `seen` are the folders that were read, because links may go round in circles; `linked` are those behind a link.
    """
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    names = {each.name for each in os.scandir(folder)}
    if "run.json" in names or (LEDGER not in names and names & {".hydra", *REST}):
        yield _entry(Run(folder))
    elif LEDGER in names or "multirun.yaml" in names:
        yield from _sweep(folder, keep=not linked)
    else:
        for name in _inside(folder):
            yield from _below(folder / name, seen, linked or (folder / name).is_symlink())


def _inside(folder):
    """The names of the folders in a folder, those of runs or above them."""
    names = (each.name for each in os.scandir(folder) if each.is_dir())
    return sorted((name for name in names if name not in UNREAD), key=_natural)


def _natural(name):
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _stamps(folder, above=""):
    """{name: stamp} of the runs in and below a sweep's folder; hydra.sweep.subdir may nest them."""
    found = {}
    for name in _inside(folder):
        if folder.resolve().is_relative_to(os.path.realpath(folder / name)):
            continue  # a link that goes round in a circle
        stamp = _stamp(folder / name)
        if any(stamp) or any((folder / name / each).exists() for each in REST):
            found[above + name] = stamp
        else:
            found |= _stamps(folder / name, f"{above}{name}/")
    return found


def _sweep(folder, keep=True):
    """The Entries of a sweep: of the jobs in its ledger, and of runs that the ledger does not know.

    The index is written where `keep`: not outside of what the command names.
    """
    index, fresh, jobs, stamps = _index(folder), {}, {}, _stamps(folder)
    try:
        jobs = {job["folder"] or f"job {job['number']}": job for job in _jobs(folder)}
    except (*FAULTS, KeyError, TypeError) as error:  # then the folders tell what there is
        yield Entry(str(folder / LEDGER), LEDGER, "damaged", f"cannot be read ({_first(error)})")
    for name in [*stamps, *(name for name in jobs if name not in stamps)]:
        run, job = Run(folder / name), jobs.get(name, {})
        if name not in stamps:
            yield _unbegun(folder, name, job)
            continue
        stamp, known = stamps[name], index.get(name)
        fields = known[1] if known and known[0] == stamp else dataclasses.asdict(_entry(run, folder.name))
        fresh[name] = [stamp, fields]
        here = {"path": str(run.path), "sweep": folder.name, "overrides": job.get("overrides", [])}
        entry = Entry(**fields | here)
        if job.get("status") == "failed" and entry.status != "completed":
            entry.status, entry.reason = "failed", job.get("error")
        yield entry
    if fresh != index and keep:
        content = {"format": [FORMAT, __version__], "runs": fresh}
        with contextlib.suppress(OSError):  # the index is there for speed only, and the folder may be read-only
            write_whole(folder / INDEX, json.dumps(content, separators=(",", ":")))


def _index(folder):
    try:
        content = json.loads((folder / INDEX).read_text())
        if content["format"] != [FORMAT, __version__]:
            return {}
        for _, fields in content["runs"].values():
            Entry(**fields)
        return content["runs"]
    except (*FAULTS, KeyError, TypeError, AttributeError):  # none yet, or not ours: made anew
        return {}


def _jobs(folder):
    """What the ledger says of each job, nothing where there is none; raises ValueError, KeyError, TypeError."""
    if not (folder / LEDGER).exists():  # Hydra's basic launcher leaves none
        return []
    jobs = json.loads((folder / LEDGER).read_text())["jobs"]
    jobs = [{"folder": None, "overrides": [], "status": "planned"} | job for job in jobs]
    for job in jobs:
        _check(job, folder=(str, None), overrides=(list,), status=(str,), id=(str, None), name=(str, None))
    return jobs


def _stamp(path):
    """When the files of a run changed and how long they are; zeros for what is not there."""
    stamp = []
    for name in READ:
        try:
            state = os.stat(f"{path}/{name}")
            stamp += [state.st_mtime_ns, state.st_size]
        except OSError:
            stamp += [0, 0]
    return stamp


def _unbegun(folder, name, job):
    """The Entry of a job that has no run."""
    status, reason = job["status"], job.get("error")
    if status not in ("failed", "planned"):
        status, reason = "missing", "its folder is gone"
    told = job.get("name") or " ".join(job["overrides"]) or name
    return Entry(str(folder / name), told, status, reason, job.get("id"), folder.name, overrides=job["overrides"])


def _entry(run, sweep=None):
    """The Entry of a folder that holds a run, or what is left of one."""
    entry = Entry(str(run.path), run.path.name, "half-deleted", None, None, sweep)
    told = []  # what cannot be read
    try:
        entry.settings = flat(run.settings)
        entry.choices = run.choices
        _check(entry.choices, **dict.fromkeys(entry.choices, (str, None)))
        if not entry.choices:
            raise ValueError("hydra.yaml tells no choices")
    except FileNotFoundError:
        told.append("no .hydra")
    except FAULTS as error:
        told.append(f".hydra cannot be read ({_first(error)})")
    found = _found(run.path)
    if found is None:
        there = (run.path / "run.json").exists()
        entry.status = "damaged" if there else "half-deleted"
        entry.reason = "run.json cannot be read" if there else "no run.json"
        return entry
    record = found.record
    entry.id, entry.name = record.get("id"), record.get("name", entry.name)
    entry.status, entry.reason = record["status"], record.get("error")
    entry.versions, entry.data = record.get("versions") or {}, record.get("data") or {}
    entry.protocol, entry.parameters = record.get("protocol") or {}, record.get("parameters")
    if entry.status in WHOLE:
        try:
            entry.metrics = _metrics(run)
        except FileNotFoundError:
            entry.status, entry.reason = "half-deleted", "no metrics.json"
        except FAULTS as error:
            entry.status, entry.reason = "damaged", f"metrics.json cannot be read ({_first(error)})"
    if entry.status in WHOLE:
        try:
            entry.metrics = _validation(run, entry.settings.get("select")) | entry.metrics
        except (*FAULTS, KeyError, IndexError, TypeError) as error:
            entry.status, entry.reason = "damaged", f"history.csv cannot be read ({_first(error)})"
    if told and entry.status in WHOLE:
        entry.status, entry.reason = "half-deleted" if told == ["no .hydra"] else "damaged", told[0]
    return entry


def _metrics(run):
    """metrics.json, checked; raises ValueError where it is no {name: number or null}."""
    metrics = run.metrics
    if not isinstance(metrics, dict):
        raise ValueError("is no mapping")
    for name, value in metrics.items():
        if name in TAKEN:
            raise ValueError(f"{name} is no metric")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{name} is no number")
        if value is not None and not abs(value) <= sys.float_info.max:
            raise ValueError(f"{name} is no finite number")
    return metrics


def _validation(run, select):
    """{valid/…: the validation errors of the parameters that were kept}, nothing where there is no history."""
    if not (run.path / "history.csv").exists():
        return {}
    found = {name: value for name, value in run.kept(select).items() if name.startswith("valid/")}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _found(path):
    """The Run in `path`, None where there is none whose run.json can be read."""
    try:
        run = Run.found(path)
        if run is not None:
            told, kinds = (str, None), (dict, None)
            _check({"status": None} | run.record, status=(str,), id=told, name=(str,), error=told)
            _check(run.record, versions=kinds, data=kinds, protocol=kinds, parameters=(int, None))
            _check(run.record.get("data") or {}, name=told, fingerprint=told)
    except FAULTS:
        return None
    return run


def _check(fields, **kinds):
    """Raises ValueError where a field that is there is of none of its kinds, of which None is one."""
    for name, known in kinds.items():
        if name in fields and not any(
            fields[name] is None if kind is None else isinstance(fields[name], kind) for kind in known
        ):
            raise ValueError(f"{name} is no {known[0].__name__}")


def _first(error):
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def flat(settings):
    """Settings by dotted name; lists as text, so that they can be compared."""
    plain = str | int | float | None
    return {
        name: json.dumps(value, default=str)
        if isinstance(value, list)
        else value
        if isinstance(value, plain)
        else str(value)
        for name, value in dotted(settings)
    }


def overridden(words):
    """The settings and choices that the overrides of a job name, {key: value}."""
    found = {}
    for word in words:
        key, sign, value = word.partition("=")
        if sign:
            try:
                found[key.lstrip("+")] = yaml.safe_load(value)
            except yaml.YAMLError:
                found[key.lstrip("+")] = value
    return {key: json.dumps(value) if isinstance(value, list | dict) else value for key, value in found.items()}
