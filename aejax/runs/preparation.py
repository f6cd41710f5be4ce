"""Before a training: a composed configuration becomes a Job with its Place, and nothing is written yet."""

import dataclasses
from pathlib import Path

import jax

from aejax.base.confinement import check_places
from aejax.base.errors import InputError
from aejax.base.precision import check_precision
from aejax.runs.destination import Place, check_folder
from aejax.runs.job import Job
from aejax.training.plan import check_memory


@dataclasses.dataclass
class Shared:
    """What jobs share, read and checked once: data sets by their settings, errors of the device by structure.

    Jobs that train `elsewhere` may find another device there, which decides about their precision.
    """

    elsewhere: bool = False
    datasets: dict = dataclasses.field(default_factory=dict)
    errors: dict = dataclasses.field(default_factory=dict)

    def check_device(self, job):
        """Raises InputError where the device has not the precision that a job asks for, or cannot hold it."""
        key = jax.tree.structure(job.experiment), int(job.experiment.latent_dim)
        if key not in self.errors:
            self.errors[key] = None
            try:
                if not self.elsewhere:
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
    shared.check_device(job)
    initial = check_folder(folder, job.run_id, job.settings, key)
    return job, Place(folder, folder, initial) if home is None else Place(folder, home, initial, home.name)
