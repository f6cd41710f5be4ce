"""Before a training: a composed configuration becomes a Job with its Place, and nothing is written yet."""

import dataclasses
from pathlib import Path

import jax

from aejax.base import processes
from aejax.base.confinement import OWN, check_places, is_confined
from aejax.base.errors import InputError
from aejax.base.precision import check_precision
from aejax.runs.destination import Place, check_folder
from aejax.runs.job import Job
from aejax.settings.build import Build
from aejax.settings.configuration import plain
from aejax.training.mesh import Mesh
from aejax.training.plan import check_memory


@dataclasses.dataclass
class Shared:
    """What jobs share, read and checked once: data sets by their settings, errors of the device by structure.

    What depends on the device of jobs that train `elsewhere` is checked there.
    """

    elsewhere: bool = False
    datasets: dict = dataclasses.field(default_factory=dict)
    errors: dict = dataclasses.field(default_factory=dict)

    def check_device(self, job):
        """Raises InputError where the device has not the precision that a job asks for, or cannot hold it."""
        if self.elsewhere:
            return
        key = jax.tree.structure(job.experiment), int(job.experiment.latent_dim)
        if key not in self.errors:
            self.errors[key] = None
            try:
                check_precision(job.experiment.precision)
                check_memory(job)
            except InputError as error:
                self.errors[key] = error
        if self.errors[key] is not None:
            raise self.errors[key]


def prepare(config, hydra, folder, key, home=None, shared=None, dataset=None):
    """The Job of `config` and its Place in `folder`, which is set by `key`.

    `hydra` is Hydra's part of the composed configuration; `home`, the folder of the sweep that the job belongs to; a
    `dataset` takes the place of the configuration's source. Raises InputError or OSError, with nothing left behind.
    """
    shared, folder = shared or Shared(), Path(folder)
    check_places(folder, hydra.output_subdir, key if home is None else "hydra.sweep.subdir")
    job = Job.read(config, hydra.runtime.choices, shared.datasets, dataset)
    job.track.check()
    job.mesh.check(job.titled, shared.elsewhere)
    shared.check_device(job)
    initial = check_folder(folder, job.run_id, job.settings, key)
    return job, Place(folder, folder, initial) if home is None else Place(folder, home, initial, home.name)


def open_mesh(config):
    """Makes the devices of `config` ready, and meets the other processes; raises InputError."""
    mesh = Build(config, OWN if is_confined() else None).instance(Mesh, _settings_of_mesh(config), "mesh")
    if mesh.processes > 1 and is_confined():
        raise InputError(f"mesh.processes={mesh.processes}: must be 1 to resume; repeat the command in each process")
    mesh.open()


def prepare_peer(config, hydra):
    """The Job of `config` in a process other than the first, which has no Place; raises InputError."""
    job = Job.read(config, hydra.runtime.choices)
    job.mesh.check(job.titled)
    Shared().check_device(job)
    return job


def check_same(job):
    """Raises InputError where another process of the training has other settings or data."""
    text = f"{job.run_id}{job.mesh.data:08x}"
    parts = [int(text[at : at + 4], 16) for at in range(0, len(text), 4)]
    told = processes.gathered(*parts)
    if (told != told[0]).any():
        processes.leave()
        others = [str(number) for number, row in enumerate(told) if (row != told[0]).any()]
        raise InputError(
            f"mesh.processes={len(told)}: process {' and '.join(others)} has other settings or data than process 0; "
            "all must be the same command but for mesh.process"
        )


def _settings_of_mesh(config):
    settings = plain(config).get("mesh")
    if not isinstance(settings, dict):
        raise InputError("mesh: must be a mapping of settings")
    return settings
