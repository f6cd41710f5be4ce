"""One program of a sweep, trained by a process that knows nothing but the folder of the sweep."""

import dataclasses
import time
from pathlib import Path

import jax

from aejax.base.devices import cores
from aejax.base.errors import InputError
from aejax.base.files import locked
from aejax.runs.console import SweepReport
from aejax.runs.destination import Place, check_folder
from aejax.runs.execution import execute, reason
from aejax.runs.folder import LEDGER, Run
from aejax.runs.preparation import Shared
from aejax.runs.record import Clock
from aejax.runs.recorded import Recorded
from aejax.sweeps.ledger import Ledger
from aejax.sweeps.outcome import Outcome, place_of
from aejax.training.plan import layout_of
from aejax.training.step import segments


class Program:
    """Program `number`, from 1 on, of the sweep in `folder`; raises InputError where there is none."""

    def __init__(self, folder: Path, number: int):
        self.folder, self.number = Path(folder).absolute(), number
        ledger = Ledger(self.folder)
        if ledger.broken is not None:
            raise InputError(f"{ledger.path}: is damaged; python -m aejax.resume {folder} plans the sweep again")
        if not ledger.path.exists():
            raise InputError(f"{folder}: holds no {LEDGER}; name the folder of a sweep")
        if not ledger.programs:
            raise InputError(f"program {number}: does not exist; {ledger.path} lists none")
        if not 1 <= number <= len(ledger.programs):
            raise InputError(f"program {number}: does not exist; must be from 1 to {len(ledger.programs)}")
        self.count = len(ledger.programs)
        self.numbers, self.how, self.devices = ledger.programs[number - 1]
        self.entries = [ledger.jobs.get(job, {}) for job in self.numbers]

    @property
    def is_finished(self) -> bool:
        """Whether all of its runs are finished."""
        return all(run is not None for run in self._runs())

    def _runs(self):
        folders = [self._folder(entry) for entry in self.entries]
        return [Run.finished(folder, entry["id"]) for folder, entry in zip(folders, self.entries, strict=True)]

    def _folder(self, entry):
        if not isinstance(entry.get("folder"), str) or not isinstance(entry.get("id"), str):
            raise InputError(f"{self.folder / LEDGER}: says nothing of a job of program {self.number}")
        return self.folder / entry["folder"]

    def train(self, trusted=None) -> Outcome:
        """Trains what is not finished; leaves the runs and the Outcome, which it returns.

        The layout is that of an earlier worker, or decided here. Raises InUse where another process trains it,
        KeyboardInterrupt with a checkpoint left, OSError where the disk is full.
        """
        started = time.perf_counter()
        with locked(place_of(self.folder, self.number)):
            jax.config.update("jax_num_cpu_devices", max(cores(), self.devices))
            try:
                jobs = self._jobs(trusted)
                layout = layout_of(jobs, self.how, self.devices)
                outcome = Outcome.of(layout)
                outcome.write(self.folder, self.number)
                report = SweepReport([(layout, sum(segments(jobs[0].experiment)))], first=self.number, count=self.count)
                places = [self._place(entry, job) for entry, job in zip(self.entries, jobs, strict=True)]
                with report.running(), report.group():
                    runs, error = execute(jobs, places, layout, Clock(started), report)
            except InputError as problem:  # of one of the jobs, without which the others have no program
                outcome = Outcome(self.how, self.devices)
                runs, error = [None] * len(self.numbers), problem
            why = None if error is None else reason(error)
            errors = {number: why or "" for number, run in zip(self.numbers, runs, strict=True) if run is None}
            outcome = dataclasses.replace(outcome, errors=errors, ended=True)
            outcome.write(self.folder, self.number)
            return outcome

    def _jobs(self, trusted):
        """The jobs as they were planned; raises InputError where one would be another run now."""
        shared, jobs = Shared(), []
        for number, entry in zip(self.numbers, self.entries, strict=True):
            job = Recorded.read(self._folder(entry)).job(shared.datasets, trusted)
            if job.run_id != entry["id"]:
                raise InputError(f"job {number}: would be another run than planned; its data or aejax have changed")
            job.mesh.check(job.experiment)
            shared.check_device(job)
            jobs.append(dataclasses.replace(job, name=entry.get("name") or job.name))
        return jobs

    def _place(self, entry, job):
        folder = self._folder(entry)
        state = check_folder(folder, job.run_id, job.settings, "hydra.sweep.subdir")
        return Place(folder, self.folder, state, self.folder.name)
