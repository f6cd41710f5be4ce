"""The jobs of a sweep, all composed and checked before the first is trained."""

import dataclasses
import os
from collections import Counter
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from aejax.base.confinement import NotTrusted
from aejax.base.errors import InputError, JobFailed, NoSpace, in_words
from aejax.compat import hydra_compat
from aejax.config.explain import explained
from aejax.config.written import files_of, write_files
from aejax.runs.destination import Place
from aejax.runs.folder import SETTINGS, Run
from aejax.runs.job import Job
from aejax.runs.preparation import Shared, prepare
from aejax.settings.configuration import without_hydra


@dataclasses.dataclass
class Task:
    """One job of a sweep: its JobReturn for Hydra, and the Job to train or the error that prevents it.

    `settings` {path in its folder: text} are the files that Hydra writes for it.
    """

    number: int
    returned: JobReturn
    folder: Path | None = None
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    job: Job | None = None
    place: Place | None = None
    error: str | None = None
    run: Run | None = None  # once it is finished

    @property
    def config(self):
        """The configuration as composed."""
        return self.returned.hydra_cfg

    @property
    def overrides(self):
        """The overrides that the job was composed with."""
        return list(self.returned.overrides)

    @property
    def finished(self):
        """The finished Run in its folder, None before it is finished."""
        if self.run is None and self.job is not None:
            self.run = Run.finished(self.folder, self.job.run_id)
        return self.run

    def end(self, run):
        """Sets the finished Run and its objective; a Run without the objective counts as failed."""
        self.run = run
        try:
            self.returned.return_value = run.score(self.job.objective, self.job.experiment.select)
        except InputError as error:
            self.error = str(error)
        else:
            self.returned.status = JobStatus.COMPLETED

    def settle(self, run, why=None):
        """Ends with a finished Run, or without one with the reason `why` there is none."""
        if run is None:
            self.error = why
        else:
            self.end(run)

    def fail(self):
        """Tells Hydra that the job has failed."""
        self.returned.status, self.returned.return_value = JobStatus.FAILED, JobFailed(self.error)

    def write_settings(self):
        """Writes the files that Hydra writes for a job, unless the run is finished and has them."""
        if self.finished is None or (f"{SETTINGS}/config.yaml" in self.settings and not self.finished.has_settings):
            write_files(self.folder, self.settings)


def names_of(job_overrides):
    """A readable name for each job from the overrides that vary, such as `vae noise=flip d=4 s=3`."""
    split = [dict(override.split("=", 1) for override in overrides if "=" in override) for overrides in job_overrides]
    counts = Counter(item for overrides in split for item in overrides.items())
    short = {"model": "", "latent_dim": "d=", "seed": "s="}
    names = []
    for overrides in split:
        varying = {key: value for key, value in overrides.items() if counts[key, value] < len(split)} or overrides
        parts = [f"{short.get(key, key.split('.')[-1] + '=')}{value}" for key, value in varying.items()]
        names.append(" ".join(parts) or "run")
    return names


def read_all(composition, job_overrides, initial_job_idx, elsewhere=False):
    """A Task for each job, which trains here or `elsewhere`.

    Raises InputError if two jobs, or a job and the sweep, have the same folder.
    """
    names, shared = names_of(job_overrides), Shared(elsewhere)
    tasks = [
        _read(Task(initial_job_idx + place, hydra_compat.QuietReturn(overrides=list(overrides))), composition, shared)
        for place, overrides in enumerate(job_overrides)
    ]
    for task, name in zip(tasks, names, strict=True):
        if task.job is not None:
            task.job = dataclasses.replace(task.job, name=name)
    _check_folders(tasks, composition.master.hydra.sweep)
    return tasks


def _read(task, composition, shared):
    """The Task with its configuration, its Job and its Place, or with its error."""
    try:
        composed = composition.job(task.overrides)
    except (HydraException, OmegaConfBaseException) as error:
        task.error = str(explained(error, task.overrides))
        return task
    composed = _numbered(composed, task.number)
    hydra = composed.hydra
    with hydra_compat.job_state(composed):
        home = Path(str(hydra.sweep.dir))
        task.folder = home / str(hydra.sweep.subdir)
        task.returned.compose = lambda: _numbered(composition.job(task.overrides), task.number)
        task.returned.working_dir, task.returned.task_name = os.getcwd(), hydra.job.name
        if subfolder := hydra.output_subdir:
            task.settings = {f"{subfolder}/{name}": text for name, text in files_of(composed).items()}
        try:
            config = without_hydra(composed)
            task.job, task.place = prepare(config, hydra, task.folder, "hydra.sweep.dir", home, shared)
        except (NotTrusted, NoSpace):  # concerns all jobs
            raise
        except (InputError, OSError) as error:  # perhaps a data file
            task.error = in_words(error)
        except OmegaConfBaseException as error:
            task.error = str(explained(error, task.overrides))
    return task


def _numbered(composed, number):
    """The configuration `composed` for the job with this number, which decides the folder of its run."""
    hydra = composed.hydra
    with open_dict(composed):
        hydra.job.id = hydra.job.num = number
    with hydra_compat.job_state(composed), open_dict(hydra.runtime):
        hydra.runtime.output_dir = str((Path(str(hydra.sweep.dir)) / str(hydra.sweep.subdir)).absolute())
    OmegaConf.set_readonly(hydra, True)
    return composed


def _check_folders(tasks, sweep):
    """Raises InputError if a job would overwrite another, or the sweep's own files."""
    owners = {os.path.realpath(sweep.dir): "the sweep itself"}
    for task in tasks:
        if task.folder is None:
            continue
        name = f"job {task.number} ({' '.join(task.overrides)})"
        owner = owners.setdefault(os.path.realpath(task.folder), name)
        if owner != name:
            subdir = OmegaConf.to_container(sweep, resolve=False)["subdir"]
            advice = "give each job its own folder, for example with ${hydra.job.num}"
            raise InputError(f"hydra.sweep.subdir={subdir}: {owner} and {name} have the folder {task.folder}; {advice}")
