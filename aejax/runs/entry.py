"""The Python entry: a Dataset and overrides, as on the command line -> a run."""

import time

from omegaconf import DictConfig, open_dict, read_write

from aejax.base.errors import InputError
from aejax.base.files import locked
from aejax.compat import hydra_compat
from aejax.config.explain import CONF, KNOWN, check_lengths, composed, explained, folder_of
from aejax.config.written import files_of, write_files
from aejax.datasets.dataset import Dataset
from aejax.runs import mirror
from aejax.runs.console import ConsoleReport
from aejax.runs.destination import Place
from aejax.runs.execution import execute
from aejax.runs.folder import Run
from aejax.runs.job import Job
from aejax.runs.preparation import prepare
from aejax.runs.programs import kept_programs
from aejax.runs.record import Clock
from aejax.settings.configuration import without_hydra
from aejax.training.plan import layout_of


def train(dataset: Dataset, *overrides: str) -> Run:
    """Trains on a Dataset and returns the Run. Overrides are those of the command line, except the choice of the data.

    `data.validation`, `data.limit` and the other settings that all sources share apply here too. Raises InputError,
    with nothing left behind. Afterwards W&B and JAX are in this process as they were.
    """
    clock, report = Clock(time.perf_counter()), ConsoleReport()
    job, place, config = _prepared(dataset, overrides)
    config.data = job.settings["data"]  # without a source: they come from a program
    with mirror.apart(), kept_programs(), locked(place.folder):
        write_files(place.folder / config.hydra.output_subdir, files_of(config))
        report.data([job])
        [run], error = execute([job], [place], layout_of([job]), clock, report)
    if error is not None:
        raise error
    report.result(run)
    return run


def _prepared(dataset: Dataset, overrides: tuple[str, ...]) -> tuple[Job, Place, DictConfig]:
    """The Job, its Place and its composed configuration, with Hydra's own state as it was before."""
    data_overrides = [override for override in overrides if override.lstrip("+~").startswith("data=")]
    if data_overrides:
        raise InputError(f"{data_overrides[0]}: cannot be combined with a Dataset; leave it out")
    with hydra_compat.restored():
        try:
            with hydra_compat.initialized(CONF):
                config = composed(overrides)
                check_lengths(config)
            with open_dict(config):
                config.hydra.runtime.choices.data = dataset.name
            hydra_compat.set_job(config)
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.run.dir = str(folder_of(config, "run"))  # resolved, while Hydra knows the choices
            folder = config.hydra.run.dir
            job, place = prepare(without_hydra(config), config.hydra, folder, "hydra.run.dir", dataset=dataset)
            return job, place, config
        except KNOWN as error:
            raise InputError(str(explained(error, list(overrides)))) from None
