"""The folder of a run, or a zip archive of it -> a Trained model, without the data that it was trained on."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from aejax.base.errors import InputError, plain_line
from aejax.datasets.form import Form
from aejax.datasets.standardization import Standardization
from aejax.datasets.storage import KINDS
from aejax.inference.examples import Examples
from aejax.inference.model import model
from aejax.inference.trained import Trained
from aejax.runs import contents
from aejax.runs.finished import finished
from aejax.runs.folder import Run

MOST_VALUES = 2**28  # of an example
MOST_THRESHOLD = 3e38  # a float32
MOST_EXAMPLES = 2**40  # of a data set
BINARIZED = ("none", "threshold", "static", "dynamic")


def load(path: Path | str, force: bool = False, trust: bool = False) -> Trained:
    """The model that the run in `path`, a folder or a zip archive, has trained.

    `force` takes one that diverged, or that was not finished but has parameters. Nothing of it is executed: a
    configuration that names a class outside of aejax, or reads the environment, is refused unless you `trust` it.
    Raises InputError where there is no such run, or where it cannot be read.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise InputError(f"load: {path!r}; must be the folder of a run, or a zip archive of it")
    try:
        run = finished(path, force=force, option="force=True")
        examples = _examples(run)
        experiment, params = model(run, examples.form, trust)
    except InputError as error:  # it may quote what stands in the files
        raise InputError(plain_line(error)) from None
    return Trained(run, experiment, params, examples)


def _examples(run: Run) -> Examples:
    """The form of a run's data, and how arrays become examples of it, from its record."""
    path, data = run.path / "run.json", run.record.get("data", {})
    kinds: dict[str, tuple[Any, ...]] = {
        "name": (str,), "kind": (str,), "shape": (list,), "examples": (dict,), "fingerprint": (str,),
        "labels": (list,), "dynamic": (bool,),
    }  # fmt: skip
    missing = sorted(kinds.keys() - data.keys())
    if missing:
        raise InputError(f"{path}: data has no {missing[0]}; runs of older versions cannot be loaded")
    contents.check(path, data, kinds, "data.")
    sizes, labels, shape = data["examples"], tuple(map(str, data["labels"])), tuple(data["shape"])
    _check(path, data["kind"] in KINDS, "data.kind", f"one of {', '.join(KINDS)}")
    whole = [type(size) is int and 0 < size <= MOST_VALUES for size in shape]
    is_shape = len(shape) in (1, 3) and all(whole) and math.prod(shape) <= MOST_VALUES
    _check(path, is_shape, "data.shape", "[features] or [height, width, channels]")
    counts = [sizes.get(name) for name in ("train", "valid")]
    are_counts = all(type(count) is int and 0 <= count <= MOST_EXAMPLES for count in counts)
    _check(path, are_counts, "data.examples", "numbers of examples")
    normal, factors = data.get("normal", []), data.get("factors", {})
    numbers = {name: number for number, name in reversed([*enumerate(labels)])}
    are_labels = isinstance(normal, list) and all(type(name) is str and name in numbers for name in normal)
    _check(path, are_labels, "data.normal", "labels")
    are_counts = isinstance(factors, dict) and all(type(count) is int and count > 0 for count in factors.values())
    _check(path, are_counts, "data.factors", "numbers of values by name")
    binarize = run.record.get("protocol", {}).get("binarize", "none")
    _check(path, type(binarize) is str and binarize in BINARIZED, "protocol.binarize", f"one of {', '.join(BINARIZED)}")
    _check(path, _is_threshold(run.record.get("evaluation", {})), "evaluation.anomaly.error.threshold", "a number")
    form = Form(
        name=data["name"],
        kind=data["kind"],
        shape=shape,
        examples=sizes["train"],
        valid=sizes["valid"],
        classes=len(labels),
        fingerprint=data["fingerprint"],
        dynamic=data["dynamic"],
        normal=tuple(numbers[name] for name in normal),
        streamed=bool(data.get("streamed")),
        factors=tuple(factors.values()),
    )
    return Examples(form, binarize, labels, _standardization(path, data.get("standardized"), shape))


def _standardization(path: Path, entry: Any, shape: tuple[int, ...]) -> Standardization | None:
    if entry is None:
        return None
    try:
        mean, std = (np.array(entry[name], np.float64) for name in ("mean", "std"))
        if not (mean.shape == std.shape == shape[-1:] and np.isfinite(mean).all() and (std > 0).all()):
            raise ValueError
    except (TypeError, ValueError, KeyError, OverflowError):
        _check(path, False, "data.standardized", f"mean and std of {shape[-1]} values")
    return Standardization(mean, std)


def _is_threshold(evaluation: dict[str, Any]) -> bool:
    """Whether the threshold of anomalies is a number, or absent."""
    node: Any = evaluation
    for name in ("anomaly", "error", "threshold"):
        if not isinstance(node, dict):
            return False
        node = node.get(name, {})
    return node is None or node == {} or (type(node) in (int, float) and abs(node) <= MOST_THRESHOLD)


def _check(path: Path, holds: bool, name: str, allowed: str) -> None:
    if not holds:
        raise InputError(f"{path}: cannot be read ({name} must be {allowed})")
