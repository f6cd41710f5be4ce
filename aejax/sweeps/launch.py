"""The sweep behind `-m`: every job composed and checked, grouped by structure, trained together, each its own run."""

import contextlib
import gc
import os
import time
import traceback
from pathlib import Path

import jax
from hydra.core.utils import JobStatus, setup_globals

from aejax.base.devices import cores
from aejax.base.errors import InputError, JobFailed, NoSpace, is_full, no_space
from aejax.base.files import locked, remove_parts
from aejax.runs.console import SweepReport
from aejax.runs.destination import discard
from aejax.runs.group import run_group
from aejax.runs.record import Clock, NotBegun, Place
from aejax.sweeps.composition import SweepLoader
from aejax.sweeps.ledger import Ledger
from aejax.sweeps.tasks import read_all, write_settings
from aejax.training.step import segments


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
        tasks = read_all(hydra_context, config, job_overrides, initial_job_idx, ledger)
    except NoSpace as error:
        raise no_space(error, folder) from None
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

    def progress():
        return f"{sum(task.finished is not None for task in tasks.values())} of {len(tasks)} runs finished; "

    try:
        yield
    except KeyboardInterrupt:
        note()
        report.say(f"interrupted; {progress()}to go on: python -m aejax.resume {folder}")
        raise
    except (OSError, InputError) as error:
        if not is_full(error):
            raise
        raise no_space(error, folder, progress()) from None


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


def _train_group(tasks, layout, folder, hydra_context, task_function, report):
    waiting = [task for task in tasks if task.finished is None]
    for task in tasks:
        write_settings(task)
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
        write_settings(task)
        if task.finished is None:
            task.twin.finished.copy(task.folder)
        task.end(task.finished)


def _one_by_one(hydra_context, task_function, config, job_overrides, initial_job_idx):
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    basic = BasicLauncher()
    basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)
    return basic.launch(job_overrides, initial_job_idx)
