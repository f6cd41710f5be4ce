"""The sweep behind `-m`: every job composed and checked, grouped by structure, trained together, each its own run."""

import contextlib
import dataclasses
import gc
import os
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import jax
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from aejax.compose import SweepLoader, write_yaml
from aejax.confinement import NotTrusted, check_inside
from aejax.destination import Before, check_folder, discard
from aejax.device import cores
from aejax.errors import InputError, JobFailed, NoSpace, is_full
from aejax.explain import explained
from aejax.files import locked, remove_parts
from aejax.group import run_group
from aejax.job import Job
from aejax.record import Clock, NotBegun, Place
from aejax.runs import SETTINGS, Run
from aejax.settings import without_hydra
from aejax.sweep import Ledger, check_memory
from aejax.terminal import SweepReport
from aejax.training import segments


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


def prepare(hydra_context, config):
    """Gets ready, before the first job is composed: quicker composing, and every CPU core a device of its own."""
    hydra_context.config_loader = SweepLoader(hydra_context.config_loader)
    gc.freeze()  # the libraries stay, and so do the configurations of all jobs; to look through them
    gc.set_threshold(100_000)  # again and again for what is free takes a fifth of the composing
    # A sweep that goes on keeps its layout, also where there are fewer cores now.
    with contextlib.suppress(RuntimeError):  # JAX is at work in this process already: its devices stay
        jax.config.update("jax_num_cpu_devices", max(cores(), Ledger(config.hydra.sweep.dir).devices))


def launch(hydra_context, task_function, config, job_overrides, initial_job_idx):
    """A JobReturn for each job; jobs that are not aejax's run one by one, as Hydra's basic launcher runs them."""
    setup_globals()
    if not isinstance(hydra_context.config_loader, SweepLoader):  # the task is not aejax's
        return _one_by_one(hydra_context, task_function, config, job_overrides, initial_job_idx)
    with locked(config.hydra.sweep.dir):
        return _jointly(hydra_context, task_function, config, job_overrides, initial_job_idx)


def _jointly(hydra_context, task_function, config, job_overrides, initial_job_idx):
    started = time.perf_counter()
    folder = Path(str(config.hydra.sweep.dir))
    remove_parts(folder)
    ledger = Ledger(folder)
    broken = ledger.set_aside()
    try:
        tasks = _read_all(hydra_context, config, job_overrides, initial_job_idx, ledger)
    except NoSpace as error:
        told = f"to go on: python -m aejax.resume {folder}, once there is some"
        raise NoSpace(f"no space left on the disk ({error}); {told}") from None
    valid = [task for task in tasks if task.job is not None]
    first = {}
    for task in valid:
        task.twin = first.setdefault(task.job.run_id, task)
    good = {task.number: task for task in first.values()}
    planned = ledger.plan({number: task.job for number, task in good.items()})
    report = SweepReport([(layout, sum(segments(good[numbers[0]].job.experiment))) for numbers, layout in planned])
    if broken:
        report.say(broken)
    if ledger.devices > len(jax.devices()):
        report.say(f"begun on {ledger.devices} devices, goes on with {len(jax.devices())}: the last bits may differ")
    report.data([task.job for task in good.values()])
    report.plan(sum(task.finished is not None for task in good.values()))
    if len(valid) > len(good):
        report.say(f"{len(valid) - len(good)} of {len(valid)} jobs have the configuration of another; trained once")
    ledger.note_plan(config.hydra.overrides.task, planned)
    with _cut_off(folder, good, report, lambda: _note(ledger, tasks)):
        _note(ledger, tasks)
        with report.running():
            for numbers, layout in planned:
                group = [good[number] for number in numbers]
                with report.group():
                    _train_group(group, layout, folder, hydra_context, task_function, report)
                _note(ledger, tasks)
        for task in valid:
            if task.twin is not task:
                _copy_twin(task)
        for task in tasks:
            if task.error:
                task.returned.status, task.returned.return_value = JobStatus.FAILED, JobFailed(task.error)
        _note(ledger, tasks)
    report.summary(
        folder,
        [task.folder for task in valid if not task.error],
        [(" ".join(task.overrides), task.error) for task in tasks if task.error],
        time.perf_counter() - started,
    )
    return [task.returned for task in tasks]


@contextlib.contextmanager
def _cut_off(folder, tasks, report, note):
    """Tells how a sweep that is interrupted, or whose disk is full, goes on; raises NoSpace for the latter."""

    def told():
        finished = sum(task.finished is not None for task in tasks.values())
        return f"{finished} of {len(tasks)} runs finished; to go on: python -m aejax.resume {folder}"

    try:
        yield
    except KeyboardInterrupt:
        note()
        report.say(f"interrupted; {told()}")
        raise
    except (OSError, InputError) as error:
        if not is_full(error):
            raise
        while error.__cause__ is not None:
            error = error.__cause__
        where = (error.filename or folder) if isinstance(error, OSError) else error
        raise NoSpace(f"no space left on the disk ({where}); {told()}, once there is some") from None


def _note(ledger, tasks):
    """Writes into sweep.json how far the tasks are."""
    for task in tasks:
        run = task.finished
        ledger.note_job(
            task.number,
            folder=task.folder and os.path.relpath(task.folder, ledger.path.parent),
            id=task.job and task.job.run_id,
            name=task.job and task.job.name,
            overrides=task.overrides,
            status="failed" if task.error else run.record["status"] if run else "planned",
            error=task.error,
        )
    ledger.write()


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


def _read_all(hydra_context, config, job_overrides, initial_job_idx, ledger):
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
    check_inside(folder, "hydra.sweep.subdir")
    if composed.hydra.output_subdir:
        check_inside(folder / composed.hydra.output_subdir, "hydra.output_subdir")
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


def _train_group(tasks, layout, folder, hydra_context, task_function, report):
    waiting = [task for task in tasks if task.finished is None]
    for task in tasks:
        _write_yaml(task)
    for task in waiting:
        hydra_context.callbacks.on_job_start(config=task.config, task_function=task_function)
    places, runs = [Place(task.folder, folder, folder.name) for task in tasks], []
    try:
        runs = run_group([task.job for task in tasks], places, layout, Clock(time.perf_counter()), report)
    except NotBegun as error:
        for task in waiting:
            discard(task.folder, task.before)
            task.error = str(error)
        if is_full(error):  # for the groups that follow, too
            raise
    except Exception as error:  # a defect or a machine's limit in one group; the others go on
        if is_full(error):
            raise
        if not isinstance(error, OSError | InputError):
            traceback.print_exc()
        for task in waiting:
            if task.finished is None:
                task.error = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    for task, run in zip(tasks, runs or [task.finished for task in tasks], strict=True):
        if run:
            task.end(run)
    for task in waiting:
        hydra_context.callbacks.on_job_end(config=task.config, job_return=task.returned)


def _copy_twin(task):
    task.error = task.twin.error
    if not task.error:
        _write_yaml(task)
        if task.finished is None:
            task.twin.finished.copy(task.folder)
        task.end(task.finished)


def _write_yaml(task):
    """Leaves what Hydra leaves of a job, unless the run is finished and has it."""
    folder = task.config.hydra.output_subdir
    if folder and (task.finished is None or (folder == SETTINGS and not task.finished.has_settings)):
        write_yaml(task.folder / folder, task.config)


def _one_by_one(hydra_context, task_function, config, job_overrides, initial_job_idx):
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    basic = BasicLauncher()
    basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)
    return basic.launch(job_overrides, initial_job_idx)
