"""Workers as tasks of a Slurm array, which submitit submits, queues again after preemption, and knows the states of."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aejax.base.errors import InputError, plain_line
from aejax.base.files import octets, write_whole
from aejax.sweeps.outcome import logs_of, place_of
from aejax.sweeps.watched import ENDED, at_least, ending

SUBMISSION = "submission.json"
INTERRUPTED = 130, -signal.SIGTERM, -signal.SIGUSR1, -signal.SIGUSR2  # exit statuses of a worker that was stopped
KILLED = 60.0  # seconds after which a scheduler has ended all processes of a job that it takes back
OWN = ("partition", "account", "qos", "constraint", "array_parallelism", "setup", "additional_parameters")
COUNTS = ("timeout_min", "gpus_per_node", "cpus_per_task", "array_parallelism")


@dataclasses.dataclass
class Task:
    """What submitit calls: trains program `number` of the sweep in `folder`.

    It is pickled. Where its time is up, or it is preempted, submitit calls `checkpoint` and submits what that returns.
    """

    folder: str
    number: int
    confined: bool = False

    def __call__(self) -> int:
        """The exit status of the worker."""
        words = [sys.executable, "-m", "aejax.worker", self.folder, str(self.number)]
        self._process = subprocess.Popen(words + ([] if self.confined else ["--trust"]))
        self._waiting = threading.Thread(target=self._process.wait)  # which would hold a lock that `checkpoint` needs
        self._waiting.start()
        self._waiting.join()
        status = self._process.returncode
        if status in INTERRUPTED:  # by the scheduler, which ends this process too, and starts another
            time.sleep(KILLED)
        return status

    def checkpoint(self) -> Any:
        """Stops the worker, which keeps its training first, and asks for another; called by a signal's handler."""
        from submitit.helpers import DelayedSubmission

        self._process.send_signal(signal.SIGTERM)
        self._waiting.join()
        return DelayedSubmission(Task(self.folder, self.number, self.confined))


class Submitted:
    """A `job` of submitit's."""

    def __init__(self, job: Any):
        self._job, self._state, self._is_done = job, "UNKNOWN", False
        self.job_id = job.job_id

    @property
    def state(self) -> str:
        """Slurm's word as of the last question, or how the worker ended."""
        status = self.status() if self._is_done else None
        return self._state if status is None or status in ENDED else ending(status)

    def is_done(self, ask: bool) -> bool:
        """Whether it is no longer Slurm's, which is asked if `ask`."""
        watcher = self._job.watcher
        self._state = str(watcher.get_state(self.job_id, mode="force" if ask else "cache"))
        has_result = self._job.paths.result_pickle.exists()
        self._is_done = bool(has_result or watcher.is_done(self.job_id, mode="cache"))
        return self._is_done

    def status(self) -> int | None:
        """The exit status of the worker, None where the job left none."""
        try:
            status = self._job.result()
        except Exception:  # of submitit's, where there is no result
            return None
        return status if isinstance(status, int) else None

    def stderr(self) -> str | None:
        """What the job has written there, None where this host has no log."""
        return self._job.stderr()


class Slurm:
    """Submits workers with submitit's `parameters`.

    Raises InputError where submitit is not installed, where there is no Slurm, or for numbers that are too small.
    """

    name = "slurm"
    go_on = True

    def __init__(self, confined: bool, **parameters: Any):
        if not (shutil.which("srun") and shutil.which("sbatch")):
            raise InputError("hydra/launcher=slurm: there is no Slurm here (no srun); use hydra/launcher=local")
        if importlib.util.find_spec("submitit") is None:
            raise InputError("hydra/launcher=slurm: requires one more package: pip install 'aejax[slurm]'")
        at_least(1, **{name: parameters.get(name) for name in COUNTS})
        given = {name: value for name, value in parameters.items() if value not in (None, [], {})}
        self._parameters = {f"slurm_{name}" if name in OWN else name: value for name, value in given.items()}
        self._confined = confined

    def begin(self, programs: int) -> None:
        """Nothing: the devices of the workers are known where they run."""

    def room(self) -> int | None:
        """No limit: Slurm has a queue."""

    def earlier(self, folder: Path, numbers: list[int]) -> dict[int, Submitted]:
        """The jobs that an earlier command has submitted for programs, of those that go on."""
        jobs = {number: self._submitted_before(folder, number) for number in numbers}
        return {number: job for number, job in jobs.items() if job is not None}

    def _submitted_before(self, folder: Path, number: int) -> Submitted | None:
        path = place_of(folder, number) / SUBMISSION
        try:
            content = json.loads(octets(path, 2**16))
            job_id, cluster = str(content["job"]), content["cluster"]
        except (OSError, ValueError, KeyError, TypeError, InputError):
            return None
        if cluster != self.name:
            return None
        from submitit import SlurmJob

        job: Any = SlurmJob(folder=logs_of(folder), job_id=job_id)
        return None if job.done(force_check=True) else Submitted(job)

    def started(self, folder: Path, numbers: list[int]) -> list[Submitted]:
        """The jobs of these programs, as tasks of one array; raises InputError where Slurm refuses them."""
        executor, tasks = (
            self._executor(folder),
            [Task(str(folder.absolute()), number, self._confined) for number in numbers],
        )
        try:
            with _stderr_to(logs_of(folder) / "submitit.err"), executor.batch():
                jobs = [executor.submit(task) for task in tasks]
        except Exception as error:  # submitit passes on what the scheduler says, in several lines
            raise InputError(f"hydra/launcher=slurm: {_refusal(error)}") from None
        for number, job in zip(numbers, jobs, strict=True):
            content = {"cluster": self.name, "job": job.job_id}
            write_whole(place_of(folder, number) / SUBMISSION, json.dumps(content) + "\n")
        return [Submitted(job) for job in jobs]

    def stop(self) -> None:
        """Nothing: the jobs go on."""

    def _executor(self, folder: Path) -> Any:
        import submitit

        executor = submitit.AutoExecutor(logs_of(folder), cluster="slurm")
        try:
            executor.update_parameters(**self._parameters)
        except (TypeError, ValueError, NameError) as error:
            raise InputError(f"hydra.launcher: {plain_line(error)}") from None
        return executor


@contextlib.contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """The context in which processes start whose stderr is a file: submitit's print tracebacks at Ctrl-C."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _refusal(error: Exception) -> str:
    """The line of a scheduler's refusal that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line]
    return plain_line((told or lines or [type(error).__name__])[-1])
