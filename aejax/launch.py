"""The sweep behind `-m`: every job composed and checked, grouped by structure, trained together, each its own run."""

import copy
import dataclasses
import os
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import jax
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from aejax.compose import SweepLoader
from aejax.errors import InputError, JobFailed
from aejax.explain import explained
from aejax.job import Job
from aejax.runs import Before, Run, check_folder, discard, locked
from aejax.sweep import Clock, NotBegun, Place, groups, layout_of, run_group
from aejax.terminal import SweepReport


@dataclasses.dataclass
class Task:
    """One job of the sweep: what Hydra wants to know of it, and what to train, or why it cannot be."""

    returned: JobReturn
    folder: Path | None
    config: Any
    job: Job | None = None
    error: str | None = None
    before: Before | None = None
    twin: Any = None  # the first Task with the same run id, which is trained for both


def prepare(hydra_context):
    """Gets ready, before the first job is composed: quicker composing, and every CPU core a device of its own."""
    hydra_context.config_loader = SweepLoader(hydra_context.config_loader)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jax.config.update("jax_num_cpu_devices", cores)


def launch(hydra_context, task_function, config, job_overrides, initial_job_idx):
    """A JobReturn for each job; jobs that are not aejax's run one by one, as Hydra's basic launcher runs them."""
    setup_globals()
    if not isinstance(hydra_context.config_loader, SweepLoader):  # the task is not aejax's
        return _one_by_one(hydra_context, task_function, config, job_overrides, initial_job_idx)
    with locked(config.hydra.sweep.dir):
        return _jointly(hydra_context, task_function, config, job_overrides, initial_job_idx)


def _jointly(hydra_context, task_function, config, job_overrides, initial_job_idx):
    started = time.perf_counter()
    folder, loaded = Path(str(config.hydra.sweep.dir)), {}
    names = names_of(job_overrides)
    before = Singleton.get_state()
    tasks = []
    for place, overrides in enumerate(job_overrides):
        tasks.append(_read(hydra_context, config, overrides, initial_job_idx + place, names[place], loaded))
    Singleton.set_state(before)
    valid = [task for task in tasks if task.job is not None]
    first = {}
    for task in valid:
        task.twin = first.setdefault(task.job.run_id, task)
    good = list(first.values())
    planned = groups([task.job for task in good])
    report = SweepReport(len(good), len(planned))
    report.plan([[good[index].job for index in group] for group in planned], len(jax.devices()))
    if len(valid) > len(good):
        report.say(f"{len(valid) - len(good)} jobs have the configuration of another and are not trained again")
    try:
        for group in planned:
            _train_group([good[index] for index in group], folder, hydra_context, task_function, report)
    except KeyboardInterrupt:
        finished = sum(task.returned.status is JobStatus.COMPLETED for task in good)
        report.say(f"interrupted; {finished} of {len(good)} runs finished, in {folder}")
        raise
    for task in valid:
        if task.twin is not task:
            _copy_twin(task)
    for task in tasks:
        if task.error:
            task.returned.status, task.returned.return_value = JobStatus.FAILED, JobFailed(task.error)
    report.summary(
        folder,
        [task.folder for task in valid if not task.error],
        [(" ".join(task.returned.overrides), task.error) for task in tasks if task.error],
        time.perf_counter() - started,
    )
    return [task.returned for task in tasks]


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


def _read(hydra_context, config, overrides, number, name, loaded):
    """The Task of one job, with Hydra's own state set as it would be for this job alone."""
    returned = JobReturn(overrides=list(overrides))
    try:
        composed = hydra_context.config_loader.take(config, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        return Task(returned, None, None, error=str(explained(error, overrides)))
    with open_dict(composed):
        composed.hydra.job.id = number
        composed.hydra.job.num = number
    HydraConfig.instance().set_config(composed)
    folder = Path(str(composed.hydra.sweep.dir)) / str(composed.hydra.sweep.subdir)
    with read_write(composed.hydra.runtime), open_dict(composed.hydra.runtime):
        composed.hydra.runtime.output_dir = str(folder.absolute())
    HydraConfig.instance().set_config(composed)
    own = copy.deepcopy(composed)
    with read_write(own), open_dict(own):
        del own["hydra"]
    returned.cfg, returned.hydra_cfg = own, copy.deepcopy(HydraConfig.instance().cfg)
    returned.working_dir, returned.task_name = os.getcwd(), composed.hydra.job.name
    task = Task(returned, folder, composed)
    try:
        task.before = check_folder(folder, "hydra.sweep.dir")
        task.job = dataclasses.replace(Job.read(own, composed.hydra.runtime.choices, loaded), name=name)
    except InputError as error:
        task.error = str(error)
    except OmegaConfBaseException as error:
        task.error = str(explained(error, overrides))
    return task


def _train_group(tasks, folder, hydra_context, task_function, report):
    jobs = [task.job for task in tasks]
    places = [Place(task.folder, folder, folder.name) for task in tasks]
    for task in tasks:
        _write_yaml(task)
        hydra_context.callbacks.on_job_start(config=task.config, task_function=task_function)
    layout = layout_of(jobs)
    report.group(jobs, layout)
    try:
        runs = run_group(jobs, places, layout, Clock(time.perf_counter()), report)
        for task, run in zip(tasks, runs, strict=True):
            task.returned.status, task.returned.return_value = JobStatus.COMPLETED, run.record["status"]
    except NotBegun as error:
        for task in tasks:
            discard(task.folder, task.before)
            task.error = str(error)
    except Exception as error:  # a defect or a machine's limit in one group; the others go on
        traceback.print_exc()
        for task in tasks:
            task.error = f"{type(error).__name__}: {error}"
    for task in tasks:
        hydra_context.callbacks.on_job_end(config=task.config, job_return=task.returned)


def _copy_twin(task):
    task.error = task.twin.error
    if not task.error:
        _write_yaml(task)
        run = Run.read(task.twin.folder).copy(task.folder)
        task.returned.status, task.returned.return_value = JobStatus.COMPLETED, run.record["status"]


def _write_yaml(task):
    """The three files that Hydra's basic launcher leaves for a job."""
    files = {
        "config.yaml": task.returned.cfg,
        "hydra.yaml": task.returned.hydra_cfg,
        "overrides.yaml": task.config.hydra.overrides.task,
    }
    folder = task.folder / task.config.hydra.output_subdir
    folder.mkdir(parents=True, exist_ok=True)
    for name, config in files.items():
        (folder / name).write_text(OmegaConf.to_yaml(config), encoding="utf-8")


def _one_by_one(hydra_context, task_function, config, job_overrides, initial_job_idx):
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    basic = BasicLauncher()
    basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)
    return basic.launch(job_overrides, initial_job_idx)
