"""From a composed configuration to a job: an experiment, its data, and what to leave of it."""

import dataclasses
import json
from typing import Any

from flax import struct

import aejax
from aejax.data import Dataset
from aejax.errors import InputError, near
from aejax.experiment import Experiment, run_id
from aejax.lanes import Lanes
from aejax.settings import Build, declared, flag, part, plain
from aejax.track import Track


@struct.dataclass
class Around:
    """The settings of a job that are not its experiment's."""

    data: Any = part()
    track: Track = part()
    lanes: Lanes = part()
    figures: bool = flag()


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """What one configuration asks for: an experiment on a data set, and what to leave."""

    settings: dict
    experiment: Experiment
    dataset: Dataset
    track: Track
    lanes: Lanes
    figures: bool
    run_id: str
    name: str

    @classmethod
    def read(cls, config, choices, loaded=None):
        """The job of a composed configuration and Hydra's choices of groups for it.

        `loaded` {settings as text: Dataset} keeps what the jobs of a sweep have in common. Raises InputError, before
        anything is compiled.
        """
        loaded = {} if loaded is None else loaded
        build, settings = Build(config), plain(config)
        settings.pop("hydra", None)
        own = {kind: declared(kind) for kind in (Around, Experiment)}
        known = {name for names in own.values() for name in names}
        for name in settings:
            if name not in known:
                raise InputError(f"{name}: no such key; {near(name, known)}")
        around, experiment = (
            build.instance(kind, {name: settings[name] for name in names if name in settings})
            for kind, names in own.items()
        )
        source = json.dumps(settings["data"], sort_keys=True)
        if source not in loaded:
            loaded[source] = around.data.load()
            if not isinstance(loaded[source], Dataset):
                raise InputError(f"data: {type(around.data).__name__}.load() must return an aejax.data.Dataset")
        dataset = loaded[source]
        experiment = experiment.settle(dataset.form)
        identity = run_id(settings, dataset.fingerprint, aejax.__version__)
        noise = "" if choices["noise"] == "none" else f" noise={choices['noise']}"
        name = f"{choices['model']} {choices['data']}{noise} d={experiment.latent_dim} s={experiment.seed}"
        return cls(settings, experiment, dataset, around.track, around.lanes, around.figures, identity, name)
