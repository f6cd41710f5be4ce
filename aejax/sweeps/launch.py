"""The sweep behind `-m`: composes and checks all jobs, groups them by structure, trains each group as one program."""

import contextlib
import gc
import os
import time
from pathlib import Path

import jax
from hydra.core.utils import setup_globals

from aejax.base.devices import cores
from aejax.base.errors import InputError, NoSpace, is_full, no_space
from aejax.base.files import locked, remove_parts, seen_afresh
from aejax.compat import hydra_compat
from aejax.runs.console import SweepReport
from aejax.runs.execution import execute, reason
from aejax.runs.record import Clock
from aejax.sweeps.composition import Composition
from aejax.sweeps.ledger import Ledger
from aejax.sweeps.outcome import Outcome, logs_of
from aejax.sweeps.tasks import read_all
from aejax.training.step import segments

RESUME = "to go on: python -m aejax.resume"


class Sweep:
    """The jobs of one command, which come in one or more batches."""

    def __init__(self, hydra_context, task_function, config, workers=None):
        """`workers` train the programs, each in a process of its own; without them this process does."""
        self.workers = workers
        if workers is not None:  # JAX would claim the GPUs, which are for the workers
            jax.config.update("jax_platforms", "cpu")
        self.folder = Path(str(config.hydra.sweep.dir))
        self.composition = Composition(hydra_context.config_loader, config)
        self.callbacks, self.task_function = hydra_context.callbacks, task_function
        self.command = config.hydra.overrides.task
        grid = config.hydra.runtime.choices["hydra/sweeper"] == "grid"
        self.is_one_batch = grid and config.hydra.sweeper.max_batch_size in (None, -1)
        if workers is not None and workers.detach and not self.is_one_batch:
            raise InputError("hydra.launcher.detach=true: must be false where batches of jobs wait for each other")
        # Every CPU core is a device. A resumed sweep keeps its layout, even with fewer cores now.
        with contextlib.suppress(RuntimeError):  # JAX is initialized in this process: its devices stay
            jax.config.update("jax_num_cpu_devices", max(cores(), Ledger(self.folder).devices))

    def launch(self, job_overrides, initial_job_idx):
        """Trains a batch of jobs, the first of which has the number `initial_job_idx`; returns a JobReturn for each."""
        setup_globals()
        started = time.perf_counter()
        with locked(self.folder), _rare_collections():
            remove_parts(self.folder)
            ledger = Ledger(self.folder)
            damage = ledger.set_aside()
            tasks = self._read(ledger, job_overrides, initial_job_idx)
            first = _first_of_each_run(tasks)
            programs = self._planned(ledger, first)
            self._check_devices(programs, first)
            report = _announced(programs, tasks, first, ledger, damage, self.workers)
            ledger.note_plan(self.command, programs)
            if self.workers is not None and self.workers.detach and self._submit(first, tasks, ledger, report):
                return [task.returned for task in tasks]
            self._train(programs, {task.number: task for task in first}, tasks, ledger, report)
        report.summary(
            self.folder,
            [task.folder for task in tasks if not task.error],
            [(" ".join(task.overrides), task.error) for task in tasks if task.error],
            time.perf_counter() - started,
        )
        return [task.returned for task in tasks]

    def _read(self, ledger, job_overrides, initial_job_idx):
        """The Tasks of a batch; raises InputError if the folder holds another sweep, or if no job of it is valid."""
        try:
            tasks = read_all(self.composition, job_overrides, initial_job_idx, self.workers is not None)
        except NoSpace as error:
            raise no_space(error, self.folder) from None
        if self.is_one_batch and not any(task.job for task in tasks):
            raise InputError(tasks[0].error)
        for task in tasks:
            ledger.check_job(task.number, task.overrides, task.job and task.job.run_id)
        return tasks

    def _planned(self, ledger, first):
        """The programs of a batch; workers decide how theirs are laid out."""
        jobs = {task.number: task.job for task in first}
        if self.workers is None:
            return ledger.plan(jobs)
        return ledger.plan(jobs, decides=False, least=self.workers.programs)

    def _check_devices(self, programs, first):
        """Raises InputError where a worker will have fewer devices than a job splits its batches over."""
        if self.workers is None:
            return
        fewest, jobs = self.workers.executor.begin(len(programs)), [task.job for task in first]
        most = max(jobs, key=lambda job: job.mesh.data, default=None)
        if fewest is not None and most is not None and most.mesh.data > fewest:
            name = self.workers.executor.name
            raise InputError(
                f"mesh.data={most.mesh.data}: must be at most {fewest}, the devices of a worker of "
                f"hydra/launcher={name}; hydra.launcher.slots=1 gives it all"
            )

    def _submit(self, first, tasks, ledger, report):
        """Submits the programs that are not finished and leaves them to their workers; whether there are any."""
        unfinished = {task.number for task in first if task.finished is None}
        numbers = [place for place, (jobs, *_) in enumerate(ledger.programs, 1) if unfinished & set(jobs)]
        if not numbers:
            return False
        for task in first:
            task.write_settings()
        _note(ledger, tasks)
        submitted = self.workers.submit(self.folder, numbers)
        for number in numbers:
            told = f"submitted as job {submitted[number]}" if number in submitted else "was submitted before"
            report.say(f"program {number}: {told}")
        report.say(f"to wait for them and to collect their runs: python -m aejax.resume --trust {self.folder}")
        return True

    def _train(self, programs, first, tasks, ledger, report):
        """Trains all programs, records their progress, and gives every Task its run or its error."""
        with self._going_on(first, report, lambda: _note(ledger, tasks)):
            _note(ledger, tasks)
            if self.workers is None:
                self._train_here(programs, first, report, lambda: _note(ledger, tasks))
            else:
                self._train_elsewhere(programs, first, ledger, report, lambda: _note(ledger, tasks))
            runs = {task.job.run_id: task for task in first.values()}
            for task in tasks:
                if task.job is not None and task.number not in first:
                    _copy(runs[task.job.run_id], task)
                if task.error:
                    task.fail()
            _note(ledger, tasks)

    def _train_here(self, programs, first, report, note):
        """Trains one program after another in this process; a Task that fails does not stop the others."""
        with report.running():
            for numbers, layout in programs:
                tasks = [first[number] for number in numbers]
                with report.group(), self._begun(tasks):
                    jobs, places = [task.job for task in tasks], [task.place for task in tasks]
                    runs, error = execute(jobs, places, layout, Clock(time.perf_counter()), report)
                    why = None if error is None else reason(error)
                    for task, run in zip(tasks, runs, strict=True):
                        task.settle(run, why)
                note()

    def _train_elsewhere(self, programs, first, ledger, report, note):
        """Has the workers train the programs that are not finished, and collects what they leave."""
        places = {tuple(numbers): place for place, (numbers, _, _) in enumerate(ledger.programs, 1)}
        waiting = {}
        with contextlib.ExitStack() as begun:
            for numbers, _ in programs:
                tasks = [first[number] for number in numbers]
                begun.enter_context(self._begun(tasks))
                if any(task.finished is None for task in tasks):
                    waiting[places[tuple(numbers)]] = tasks
                else:
                    for task in tasks:
                        task.settle(task.finished)

            def ended(number, failure):
                """Takes over what the worker of a program has left; `failure` says why it left nothing."""
                outcome = Outcome.read(self.folder, number)
                errors = outcome.errors if outcome and outcome.ended else {}
                for task in waiting[number]:
                    seen_afresh(task.folder)
                    task.settle(task.finished, errors.get(task.number) or failure or "its worker left no run")
                if failure:
                    report.say(f"program {number}: {failure}; logs in {logs_of(self.folder)}; {RESUME} {self.folder}")
                note()

            self.workers.train(self.folder, list(waiting), ended, report.say)
        ledger.note_layouts()

    @contextlib.contextmanager
    def _begun(self, tasks):
        """The context in which a program is trained: settings are written, Hydra's callbacks hear of jobs."""
        for task in tasks:
            task.write_settings()
        waiting = [task for task in tasks if task.finished is None] if hydra_compat.hear_of_jobs(self.callbacks) else []
        for task in waiting:
            self.callbacks.on_job_start(config=task.config, task_function=self.task_function)
        yield
        for task in waiting:
            self.callbacks.on_job_end(config=task.config, job_return=task.returned)

    @contextlib.contextmanager
    def _going_on(self, first, report, note):
        """Says how to resume the sweep after an interrupt or on a full disk; raises NoSpace for the latter."""

        def progress():
            return f"{sum(task.finished is not None for task in first.values())} of {len(first)} runs finished; "

        try:
            yield
        except KeyboardInterrupt:
            note()
            goes_on = self.workers is not None and self.workers.executor.go_on
            what = "the jobs go on; to collect their runs: python -m aejax.resume --trust" if goes_on else RESUME
            report.say(f"interrupted; {progress()}{what} {self.folder}")
            raise
        except (OSError, InputError) as error:
            if not is_full(error):
                raise
            raise no_space(error, self.folder, progress()) from None


@contextlib.contextmanager
def _rare_collections():
    """Within this context the garbage collector runs more rarely and ignores all objects that exist already.

    Scanning the libraries and the configurations of all jobs repeatedly takes a fifth of the time of composing.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _first_of_each_run(tasks):
    """The first Task with each run id, among those that can be trained; the others repeat it."""
    first = {}
    for task in tasks:
        if task.job is not None:
            first.setdefault(task.job.run_id, task)
    return list(first.values())


def _announced(programs, tasks, first, ledger, damage, workers):
    """The report of a batch, after it has announced what will be trained."""
    jobs = {task.number: task.job for task in first}
    report = SweepReport([(layout, sum(segments(jobs[numbers[0]].experiment))) for numbers, layout in programs])
    if damage:
        report.say(damage)
    if workers is None and ledger.devices > len(jax.devices()):
        report.say(f"started on {ledger.devices} devices, resumes on {len(jax.devices())}: the last bits may differ")
    if workers is not None and workers.programs > len(ledger.programs) > 0:
        report.say(f"hydra.launcher.programs={workers.programs}: the sweep keeps its {len(ledger.programs)} programs")
    report.data(list(jobs.values()))
    report.plan(sum(task.finished is not None for task in first))
    valid = sum(task.job is not None for task in tasks)
    if valid > len(first):
        report.say(f"{valid - len(first)} of {valid} jobs have the configuration of another; trained once")
    return report


def _note(ledger, tasks):
    """Records the state of the tasks in sweep.json."""
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


def _copy(source, task):
    """Gives a Task the run or the error of the `source`, which has the same run id."""
    task.error = source.error
    if not task.error:
        task.write_settings()
        if task.finished is None:
            source.finished.copy(task.folder)
        task.end(task.finished)
