"""From a composed configuration to a job: an experiment, its data, and what to record of it."""

import dataclasses
import json
import sys
from typing import Any

from flax import struct

from aejax.base.confinement import OWN, is_confined
from aejax.base.errors import InputError, matches, near
from aejax.base.nested import dotted
from aejax.base.version import VERSION
from aejax.config import hints
from aejax.datasets.dataset import Dataset
from aejax.datasets.splits import Splits
from aejax.metrics.lookup import metric, renamed
from aejax.metrics.table import METRICS
from aejax.runs.folder import FORMAT, PICTURES
from aejax.runs.initial import Initial
from aejax.runs.mirror import Track
from aejax.settings.build import Build
from aejax.settings.configuration import plain, without_hydra
from aejax.settings.fields import declared, leaf_path, part, static_formats, static_str
from aejax.training.checkpoint import Checkpoints
from aejax.training.experiment import Experiment, run_id
from aejax.training.lanes import Lanes
from aejax.training.mesh import Mesh


@struct.dataclass
class JobSettings:
    """The settings of a job beside those of its experiment."""

    data: Any = part()  # with a load()
    track: Track = part("mode", "start")
    lanes: Lanes = part("how", "max", "settle")
    mesh: Mesh = part("data", "processes", "check")
    checkpoint: Checkpoints = part("seconds")
    figures: tuple[str, ...] = static_formats(*PICTURES)
    objective: str = static_str()
    init: str | None = leaf_path()


@struct.dataclass
class InMemory:
    """The source of a Dataset that a program hands over."""


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """What one configuration asks for: an experiment on a data set, and what to record."""

    settings: dict
    choices: dict
    experiment: Experiment
    dataset: Dataset
    track: Track
    lanes: Lanes
    mesh: Mesh
    checkpoint: Checkpoints
    figures: tuple[str, ...]
    objective: str
    initial: Initial | None
    run_id: str
    name: str

    @property
    def titled(self):
        """The experiment, for checks that name its model."""
        return self.experiment.replace(chosen_model=self.choices.get("model"))

    @classmethod
    def read(cls, config, choices, loaded=None, dataset=None, trusted=None):
        """The job of a composed configuration and Hydra's choices of groups for it.

        A `dataset` takes the place of the configuration's source. `loaded` {settings as text: Dataset} keeps the data
        that the jobs of a sweep share; `trusted` are the modules that the configuration may name, None for all, unless
        the process is confined. Raises InputError, before anything is compiled.
        """
        loaded = {} if loaded is None else loaded
        build, settings = Build(config, OWN if is_confined() else trusted), plain(config)
        settings.pop("hydra", None)
        for name, value in dotted(settings):
            if isinstance(value, str) and "\0" in value:
                raise InputError(f"{name}: holds a null byte, which is not allowed")
        keys = {kind: declared(kind) for kind in (JobSettings, Experiment)}
        known = {name for names in keys.values() for name in names}
        for name in settings:
            if name not in known:
                hint = hints.of_key(name, choices) or near(name, known)
                raise InputError(f"{name}: no such key; {hint.rstrip('; ')}")
        if not isinstance(settings.get("data"), dict):
            raise InputError("data: must be a group's choice or a mapping of settings with a _target_")
        common = {name: value for name, value in settings["data"].items() if name in declared(Splits)}
        source = {name: value for name, value in settings["data"].items() if name not in common}
        if dataset is not None:
            settings["data"], source = common, {"_target_": f"{__name__}.InMemory"}
        target = str(source.get("_target_"))
        is_internal = target.startswith("aejax.") and not target.startswith("aejax.datasets.")  # not for configurations
        if dataset is None and build.trusted is not None and is_internal:
            raise InputError(f"data._target_={target}: must name a class of aejax.datasets")
        job_settings, experiment = (
            build.instance(kind, {name: (settings | {"data": source})[name] for name in names if name in settings})
            for kind, names in keys.items()
        )
        _check_objective(job_settings.objective)
        splits = build.instance(Splits, common, "data")
        key = json.dumps(settings["data"], sort_keys=True)
        if key not in loaded:
            loaded[key] = splits(_loaded(job_settings.data) if dataset is None else dataset)
            for line in loaded[key].warnings:
                print(f"aejax: data {loaded[key].name}: {line}", file=sys.stderr)
        dataset = loaded[key]
        model = choices.get("model")
        experiment = experiment.settle(dataset.form, model)
        initial = _initial(job_settings.init, loaded)
        if initial is not None:
            initial.check(experiment.replace(chosen_model=model), settings, choices)
        origin = dataset.fingerprint if initial is None else f"{dataset.fingerprint} {initial.digest}"
        identity = run_id(settings, origin, f"{VERSION}, files of format {FORMAT}")
        chosen = {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}
        data, noise = (chosen.get(group) or "own" for group in ("data", "noise"))
        noise = "" if noise == "none" else f" noise={noise}"
        name = f"{model or 'own'} {data}{noise} d={experiment.latent_dim} s={experiment.seed}"
        beside = ("track", "lanes", "mesh", "checkpoint", "figures", "objective")
        rest = {field: getattr(job_settings, field) for field in beside}
        return cls(settings, chosen, experiment, dataset, initial=initial, run_id=identity, name=name, **rest)


def compose(overrides, loaded=None):
    """The Job of these overrides, where Hydra has been initialized with conf/; raises InputError."""
    from aejax.config.explain import composed  # imports Hydra, which a finished run in use does not need

    config = composed(overrides)
    return Job.read(without_hydra(config), dict(config.hydra.runtime.choices), loaded)


def _check_objective(name):
    """Raises InputError for a name that no run can have: neither in the table of metrics nor a column of a history."""
    if now := renamed(name):
        raise InputError(f"objective={name}: no such metric; it is now {now}")
    if metric(name) is None and not name.startswith(("train/", "valid/", "likelihood/")):
        nearest = matches(name, [row.name for row in METRICS])
        raise InputError(f"objective={name}: no such metric; {nearest}docs/evaluation.md lists them")


def _initial(path, loaded):
    """The Initial of the run in `path`, None without a path; jobs of a sweep share it by `loaded`."""
    if path is None:
        return None
    if (Initial, path) not in loaded:
        loaded[Initial, path] = Initial.read(path)
    return loaded[Initial, path]


def _loaded(source):
    if not hasattr(source, "load"):
        raise InputError(f"data._target_={type(source).__module__}.{type(source).__name__}: must have a load method")
    dataset = source.load()
    if not isinstance(dataset, Dataset):
        raise InputError(f"data: {type(source).__name__}.load() must return an aejax.datasets.dataset.Dataset")
    return dataset
