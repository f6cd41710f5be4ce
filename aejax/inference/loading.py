"""The folder of a run -> a Trained model, without the data that it was trained on."""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf.errors import OmegaConfBaseException

from aejax.base.confinement import OWN
from aejax.base.errors import InputError
from aejax.datasets.form import Form
from aejax.datasets.standardization import Standardization
from aejax.datasets.storage import KINDS
from aejax.inference.examples import Examples
from aejax.inference.trained import Trained
from aejax.runs import contents
from aejax.runs.folder import FORMAT, SETTINGS, Run
from aejax.runs.reproduction import check_parameters
from aejax.settings.build import Build
from aejax.settings.configuration import plain
from aejax.settings.fields import declared
from aejax.training.experiment import Experiment

MOST_VALUES = 2**28  # of an example


def load(path: Path | str, force: bool = False) -> Trained:
    """The model that the run in `path` has trained, ready to use; `force` takes one that diverged.

    Raises InputError where there is no such run, or where it cannot be read. Nothing of it is executed: a configuration
    that names a class outside of aejax is refused.
    """
    run = Run.read(path)
    status = run.record["status"]
    if status == "diverged" and not force:
        raise InputError(f"{path}: diverged; force=True takes its last finite parameters")
    if status not in ("completed", "diverged"):
        raise InputError(f"{path}: its status is {status}; must be completed")
    if run.format != FORMAT:
        raise InputError(f"{path}: its files are of format {run.format}; this version of aejax reads format {FORMAT}")
    examples = _examples(run)
    experiment = _experiment(run, examples.form)
    params = check_parameters(run, experiment)
    return Trained(run, experiment, params, examples)


def _experiment(run: Run, form: Form) -> Any:
    """The Experiment of a run's configuration, on data of this form."""
    path = run.path / SETTINGS / "config.yaml"
    try:
        config = contents.config(path)
        settings = plain(config)
        names = declared(Experiment)
        build = Build(config, OWN)
        experiment = build.instance(Experiment, {name: settings[name] for name in names if name in settings})
        return experiment.settle(form)
    except InputError as error:
        raise InputError(f"{run.path}: {error}") from None
    except (OSError, ValueError, TypeError, OmegaConfBaseException) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


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
    whole = [isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in shape]
    is_shape = len(shape) in (1, 3) and all(whole) and np.prod(shape, dtype=float) <= MOST_VALUES
    _check(path, is_shape, "data.shape", "[features] or [height, width, channels]")
    counts = [sizes.get(name) for name in ("train", "valid")]
    _check(path, all(type(count) is int and count >= 0 for count in counts), "data.examples", "numbers of examples")
    normal, factors = data.get("normal", []), data.get("factors", {})
    _check(path, isinstance(normal, list) and set(normal) <= set(labels), "data.normal", "labels")
    are_counts = isinstance(factors, dict) and all(type(count) is int for count in factors.values())
    _check(path, are_counts, "data.factors", "numbers of values by name")
    form = Form(
        name=data["name"],
        kind=data["kind"],
        shape=shape,
        examples=sizes["train"],
        valid=sizes["valid"],
        classes=len(labels),
        fingerprint=data["fingerprint"],
        dynamic=data["dynamic"],
        normal=tuple(labels.index(name) for name in normal),
        streamed=bool(data.get("streamed")),
        factors=tuple(factors.values()),
    )
    binarize = str(run.record.get("protocol", {}).get("binarize", "none"))
    return Examples(form, binarize, labels, _standardization(path, data.get("standardized"), shape))


def _standardization(path: Path, entry: Any, shape: tuple[int, ...]) -> Standardization | None:
    if entry is None:
        return None
    try:
        mean, std = (np.array(entry[name], np.float64) for name in ("mean", "std"))
        if not (mean.shape == std.shape == shape[-1:] and np.isfinite(mean).all() and (std > 0).all()):
            raise ValueError
    except (TypeError, ValueError, KeyError):
        _check(path, False, "data.standardized", f"mean and std of {shape[-1]} values")
    return Standardization(mean, std)


def _check(path: Path, holds: bool, name: str, allowed: str) -> None:
    if not holds:
        raise InputError(f"{path}: cannot be read ({name} must be {allowed})")
