"""The jobs of a sweep, each composed and checked before any of them trains."""

import dataclasses
import os
from collections import Counter
from pathlib import Path
from typing import Any

import jax
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from aejax.base.confinement import NotTrusted, check_places
from aejax.base.errors import InputError, NoSpace
from aejax.config.explain import explained
from aejax.config.written import write_yaml
from aejax.runs.destination import Before, check_folder
from aejax.runs.folder import SETTINGS, Run
from aejax.runs.job import Job
from aejax.settings.configuration import without_hydra
from aejax.training.plan import check_memory


class Returned(JobReturn):
    """A JobReturn; one of a failed job raises why, without the line that Hydra would write: the summary has told it."""

    @property
    def return_value(self):
        if self.status == JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value):
        self._return_value = value


@dataclasses.dataclass
class Task:
    """One job of the sweep: what Hydra wants to know of it, and what to train, or why it cannot be."""

    number: int
    returned: JobReturn
    folder: Path | None = None
    config: Any = None
    job: Job | None = None
    error: str | None = None
    before: Before | None = None
    run: Run | None = None  # once it is finished
    twin: Any = None  # the first Task with the same run id, which is trained for both

    @property
    def overrides(self):
        """What the job was composed with."""
        return list(self.returned.overrides)

    @property
    def finished(self):
        """The Run that its folder holds, None before it is finished."""
        if self.run is None and self.job is not None:
            self.run = Run.finished(self.folder, self.job.run_id)
        return self.run

    def end(self, run):
        """Takes in the finished Run; one without the objective has failed to give it."""
        self.run = run
        try:
            self.returned.return_value = run.score(self.job.objective, self.job.experiment.select)
        except InputError as error:
            self.error = str(error)
        else:
            self.returned.status = JobStatus.COMPLETED


def names_of(job_overrides):
    """A readable name for each job from what varies: `vae noise=flip d=4 s=3`."""
    split = [dict(override.split("=", 1) for override in overrides if "=" in override) for overrides in job_overrides]
    counts = Counter(item for overrides in split for item in overrides.items())
    short = {"model": "", "latent_dim": "d=", "seed": "s="}
    names = []
    for overrides in split:
        varying = {key: value for key, value in overrides.items() if counts[key, value] < len(split)} or overrides
        parts = [f"{short.get(key, key.split('.')[-1] + '=')}{value}" for key, value in varying.items()]
        names.append(" ".join(parts) or "run")
    return names


def read_all(hydra_context, config, job_overrides, initial_job_idx, ledger):
    """A Task for each job; raises InputError where the folder holds another sweep."""
    before, names, loaded, tasks = HydraConfig.instance().cfg, names_of(job_overrides), {}, []
    try:
        for place, overrides in enumerate(job_overrides):
            task = Task(initial_job_idx + place, Returned(overrides=list(overrides)))
            _read(task, hydra_context, config, names[place], loaded)
            ledger.check_job(task.number, task.overrides, task.job and task.job.run_id)
            tasks.append(task)
    finally:
        HydraConfig.instance().cfg = before
    _check_folders(tasks, config.hydra.sweep)
    _check_memory(tasks)
    return tasks


def _check_folders(tasks, sweep):
    """Raises InputError where a job would write over another, or over what belongs to the sweep."""
    taken = {os.path.realpath(sweep.dir): "the sweep itself"}
    for task in tasks:
        if task.folder is None:
            continue
        told = f"job {task.number} ({' '.join(task.overrides)})"
        other = taken.setdefault(os.path.realpath(task.folder), told)
        if other != told:
            subdir = OmegaConf.to_container(sweep, resolve=False)["subdir"]
            must = "must give each job a folder of its own, as ${hydra.job.num} does"
            raise InputError(f"hydra.sweep.subdir={subdir}: {other} and {told} have the folder {task.folder}; {must}")


def _check_memory(tasks):
    """Jobs that the machine cannot hold have failed, each with the reason; equal ones are looked at once."""
    errors = {}
    for task in tasks:
        if task.job is None:
            continue
        key = jax.tree.structure(task.job.experiment), int(task.job.experiment.latent_dim)
        if key not in errors:
            errors[key] = None
            try:
                check_memory(task.job)
            except InputError as error:
                errors[key] = str(error)
        if errors[key]:
            task.error, task.job = errors[key], None


def _read(task, hydra_context, config, name, loaded):
    """Composes and checks a task's job, with Hydra's own state set as it would be for this job alone."""
    try:
        composed = hydra_context.config_loader.take(config, task.overrides)
    except (HydraException, OmegaConfBaseException) as error:
        task.error = str(explained(error, task.overrides))
        return
    with open_dict(composed):
        composed.hydra.job.id = task.number
        composed.hydra.job.num = task.number
    HydraConfig.instance().cfg = composed  # as set_config does, without its copy; for the interpolations
    folder = Path(str(composed.hydra.sweep.dir)) / str(composed.hydra.sweep.subdir)
    with open_dict(composed.hydra.runtime):
        composed.hydra.runtime.output_dir = str(folder.absolute())
    OmegaConf.set_readonly(composed.hydra, True)
    returned = task.returned
    returned.cfg = without_hydra(composed)
    returned.hydra_cfg = composed
    returned.working_dir, returned.task_name = os.getcwd(), composed.hydra.job.name
    check_places(folder, composed.hydra.output_subdir, "hydra.sweep.subdir")
    task.folder, task.config = folder, composed
    try:
        job = dataclasses.replace(Job.read(returned.cfg, composed.hydra.runtime.choices, loaded), name=name)
        job.track.check()
        task.before = check_folder(folder, job.run_id, job.settings, "hydra.sweep.dir")
        task.job = job
    except (NotTrusted, NoSpace):  # of all jobs
        raise
    except (InputError, OSError) as error:  # a file of the data's, perhaps
        task.error = str(error)
    except OmegaConfBaseException as error:
        task.error = str(explained(error, task.overrides))


def write_settings(task):
    """Leaves what Hydra leaves of a job, unless the run is finished and has it."""
    folder = task.config.hydra.output_subdir
    if folder and (task.finished is None or (folder == SETTINGS and not task.finished.has_settings)):
        write_yaml(task.folder / folder, task.config)
