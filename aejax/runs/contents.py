"""What the files of a run hold: one reader for each, which checks all that it returns.

A reader raises InputError with the file's name and what is wrong with it, and OSError where it cannot be opened.
"""

import csv
import io
import json
import math
import re
import reprlib

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.base import archive
from aejax.base.errors import InputError
from aejax.base.files import octets, regular
from aejax.base.nested import LOADER

FIELDS = {  # of run.json: the kinds allowed for a field; only `status` is required
    "format": (int,),
    "id": (str, None),
    "name": (str,),
    "status": (str,),
    "error": (str, None),
    "versions": (dict,),
    "device": (str,),
    "precision": (str,),
    "lanes": (dict,),
    "init": (dict, None),
    "data": (dict,),
    "likelihood": (str,),
    "protocol": (dict,),
    "wandb_id": (str, None),
    "wandb_lost": (str,),
    "started": (str,),
    "finished": (str,),
    "seconds": (dict,),
    "parameters": (int, None),
    "evaluation": (dict,),
    "evaluated_again": (list,),
    "same_as": (str,),
}
INSIDE = {  # the same for the values inside of fields; None: for all the values of a mapping
    "versions": {None: (str, None)},
    "data": {"name": (str, None), "fingerprint": (str, None)},
    "protocol": {"groups": (list,), "noise": (str,), "nll_samples": (int,)},
    "seconds": {None: (float,)},
    "evaluation": {"absent": (dict,), "remarks": (list,), "given": (str,), "worst": (dict,), "cross_data": (dict,)},
}
KINDS = {
    bool: "true or false", str: "a string", int: "a whole number", float: "a number", dict: "a mapping", list: "a list",
    None: "null",
}  # fmt: skip
MOST = {"json": 2**24, "yaml": 2**20, "csv": 2**28, "safetensors": 2**34}  # bytes that a file of a run may have
MOST_LEDGER = 2**28  # bytes of a sweep's sweep.json, and of what is read from it
DEEPEST = 60  # nested mappings and lists
LATER = {  # keys that runs of this format may lack, as it was before them
    "precision": "float32",
    "mesh": {"_target_": "aejax.training.mesh.Mesh", "data": 1, "processes": 1, "process": None, "address": None},
}
TOO_DEEP = f"more than {DEEPEST} mappings and lists are nested"
NODES = {"json": 100_000, "yaml": 100_000, "config": 5000}  # lists and mappings of a file; of YAML, values too
DIGITS = 100  # of a number in YAML: 1:30:00 is one, read in the square of its length
HEADER = 2**20  # bytes in which a .safetensors file names its arrays
ROWS, NUMBERS = 200_000, 4_000_000  # of history.csv
ERROR, SCORE = "recon/mse", "separation/knn_accuracy"  # the metrics to look at first
MODULES = ("encoder", "to_code", "from_code", "decoder", "likelihood", "running")
OPTIONAL = ("bottleneck", "prior", "terms")  # modules that only some models have


def record(path):
    """run.json: a mapping of FIELDS; others are ignored."""
    fields = _json(path)
    check(path, {"status": None} | fields, FIELDS)
    if fields.get("format", 1) < 1:
        raise _damaged(path, f"format is {fields['format']}; must be at least 1")
    for name, kinds in INSIDE.items():
        inner = fields.get(name, {})
        check(path, inner, dict.fromkeys(inner, kinds[None]) if None in kinds else kinds, f"{name}.")
    evaluation = fields.get("evaluation", {})
    check(path, evaluation.get("absent", {}), dict.fromkeys(evaluation.get("absent", {}), (str,)), "evaluation.absent.")
    for name, items, kind in (
        ("evaluation.remarks", evaluation.get("remarks", ()), str),
        ("evaluated_again", fields.get("evaluated_again", ()), dict),
        ("protocol.groups", fields.get("protocol", {}).get("groups", ()), str),
    ):
        for item in items:
            check(path, {name: item}, {name: (kind,)})
    return fields


def check(path, fields, kinds, above=""):
    """Raises InputError where a present field is of none of its `kinds` {name: (type or None, ...)}."""
    for name in kinds.keys() & fields.keys():
        value = fields[name]
        if not any(value is None if kind is None else _is(value, kind) for kind in kinds[name]):
            allowed = " or ".join(KINDS[kind] for kind in kinds[name])
            raise _damaged(path, f"{above}{name} is {reprlib.repr(value)}; must be {allowed}")


def _is(value, kind):
    """Whether a value is of the kind; a whole number is a number too, a boolean is neither."""
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


def metrics(path):
    """metrics.json: {name: a finite number or None}."""
    values = _json(path)
    for name, value in values.items():
        if value is not None and not (_is(value, float) and _is_finite(value)):
            raise _damaged(path, f"{name} is {reprlib.repr(value)}; only finite numbers and null are allowed")
    return values


def _is_finite(value):
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def history(path):
    """history.csv: one dict of floats a log point, the first of them the step."""
    rows, text = [], octets(path, MOST["csv"])
    try:
        reader = csv.reader(io.StringIO(text.decode(), newline=""), strict=True)
        names = next(reader, [])
        if names[:1] != ["step"] or len(set(names)) < len(names):
            raise ValueError("its first line must name the columns, the step first, each once")
        for number, row in enumerate(reader, 2):
            if len(row) != len(names):
                raise ValueError(f"line {number} has {len(row)} values instead of {len(names)}")
            if number > ROWS or number * len(names) > NUMBERS:
                raise ValueError(f"has more than {ROWS:,} lines or {NUMBERS:,} numbers")
            rows.append(dict(zip(names, map(float, row), strict=True)))
            if not math.isfinite(rows[-1]["step"]):
                raise ValueError(f"line {number} has the step {row[0]}, which is no number")
    except (ValueError, csv.Error) as error:
        raise _damaged(path, error) from None
    return rows


def codes(path):
    """codes.npz: z [N, latent_dim] float and index [N] integer; y [N], labels, and name [N], strings, where present."""
    with regular(path) as file:
        try:
            arrays = archive.from_npz(file)
        except ValueError as error:
            raise _damaged(path, error) from None
    for name, kinds, axes in (("z", "f", 2), ("index", "iu", 1), ("y", "iu", 1), ("name", "U", 1)):
        array = arrays.get(name)
        if array is None:
            if name in ("z", "index"):
                raise _damaged(path, f"holds no {name}")
        elif array.dtype.kind not in kinds or array.ndim != axes or len(array) != len(arrays["z"]) or 0 in array.shape:
            raise _damaged(path, f"{name} is {array.dtype}{list(array.shape)}, beside z {list(arrays['z'].shape)}")
    return arrays


def params(path):
    """params.safetensors as a dict by module and layer."""
    data = octets(path, MOST["safetensors"])
    if HEADER < int.from_bytes(data[:8], "little") < len(data):
        raise _damaged(path, f"its header has more than {HEADER:,} bytes")
    try:
        arrays = archive.from_tensors(data)
    except ValueError as error:
        raise _damaged(path, error) from None
    tree = {name: {} for name in MODULES}  # some have no parameters
    for name, array in arrays.items():
        *modules, leaf = name.split(".")
        node = tree if modules and modules[0] in MODULES + OPTIONAL else None
        for module in modules:
            node = node.setdefault(module, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf in node or array.dtype.kind not in "fiu":
            raise _damaged(path, f"{reprlib.repr(name)} is not a parameter of a model")
        node[leaf] = array
    return tree


def mapping(path):
    """A YAML file as plain containers, without its interpolations resolved."""
    return _mapping(path, octets(path, MOST["yaml"]))


def config(path):
    """A YAML file as an OmegaConf configuration."""
    text = octets(path, MOST["yaml"])
    wrong = [name for name in _mapping(path, text, NODES["config"]) if not isinstance(name, str)]
    if wrong:
        raise _damaged(path, f"has the key {reprlib.repr(wrong[0])}, which is no string")
    try:
        return OmegaConf.create(text.decode())
    except (ValueError, TypeError, RecursionError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise _damaged(path, error) from None


def settings(path):
    """The config.yaml of a run; keys that came later have the values by which nothing changes."""
    saved = config(path)
    for key in LATER.keys() - saved.keys():
        saved[key] = LATER[key]
    return saved


def choices(path):
    """The choice of each group, from .hydra/hydra.yaml, which is long: only that part is parsed."""
    part = re.search(rb"^    choices:\n((?:      .*\n?)+)", octets(path, MOST["yaml"]), re.M)
    chosen = _mapping(path, part[1]) if part else {}
    check(path, chosen, dict.fromkeys(chosen, (str, None)))
    wrong = [group for group in chosen if not isinstance(group, str)]
    if wrong:
        raise _damaged(path, f"choices has the group {reprlib.repr(wrong[0])}, which is no string")
    return {group: choice for group, choice in chosen.items() if not group.startswith("hydra/")}


def _mapping(path, text, most=NODES["yaml"]):
    try:
        _check_nodes(text, most)
        content = yaml.load(text, LOADER)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise _damaged(path, error) from None
    if not isinstance(content, dict):
        raise _damaged(path, "is not a mapping")
    return content


def _check_nodes(text, most):
    """Raises ValueError for YAML that could break its loader: too deep, too much, with aliases or with tags."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, LOADER)):
        if number > most:
            raise ValueError(f"has more than {most:,} values")
        value = getattr(event, "value", "")
        if len(value) > DIGITS and not value.strip("0123456789:_.+-"):
            raise ValueError(f"line {event.start_mark.line + 1} has a number of more than {DIGITS} digits")
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} has an alias, which is not allowed")
        if getattr(event, "tag", None):
            raise ValueError(
                f"line {event.start_mark.line + 1} has the tag {reprlib.repr(event.tag)}, which is not allowed"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)


def _check_depth(content):
    """Raises ValueError where plain containers are nested too deeply to be written back."""
    nodes = [content]
    for _ in range(DEEPEST):
        inner = [node.values() if isinstance(node, dict) else node for node in nodes]
        nodes = [child for children in inner for child in children if isinstance(child, dict | list)]
        if not nodes:
            return
    raise ValueError(TOO_DEEP)


def _json(path):
    text = octets(path, MOST["json"])
    try:
        if text.count(b"[") + text.count(b"{") > NODES["json"]:
            raise ValueError(f"has more than {NODES['json']:,} mappings and lists")
        content = json.loads(text)
        _check_depth([content])
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    if not isinstance(content, dict):
        raise _damaged(path, f"holds {reprlib.repr(content)} instead of a mapping")
    return content


def _damaged(path, reason):
    return InputError(f"{path}: cannot be read ({' '.join(str(reason).split()) or type(reason).__name__})")
