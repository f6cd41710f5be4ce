"""Workers that submitit starts, one for each program of a sweep: on this machine, or as tasks of a Slurm array."""

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aejax.base.errors import InputError, plain_line
from aejax.base.files import octets, write_whole
from aejax.sweeps.outcome import Outcome, place_of
from aejax.sweeps.watched import Watched

POLLED = 0.5  # seconds
ASKED = 10.0  # seconds between two questions to the scheduler
SUBMISSION = "submission.json"
INTERRUPTED = 130, -signal.SIGTERM, -signal.SIGUSR1, -signal.SIGUSR2  # exit statuses of a worker that was stopped
KILLED = 60.0  # seconds after which a scheduler has ended all processes of a job that it takes back


@dataclasses.dataclass
class Worker:
    """What submitit calls: trains program `number` of the sweep in `folder`, on this `share` of the cores.

    It is pickled. Where its time is up, or it is preempted, submitit calls `checkpoint` and submits what that returns.
    """

    folder: str
    number: int
    confined: bool = False
    share: tuple[int, ...] | None = None

    def __call__(self) -> int:
        """The exit status of the worker."""
        if self.share and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.share)
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
        return DelayedSubmission(Worker(self.folder, self.number, self.confined, self.share))


def check_cluster(cluster: str) -> None:
    """Raises InputError where submitit is not installed, or where there is no such `cluster`."""
    if importlib.util.find_spec("submitit") is None:
        raise InputError(f"hydra/launcher={cluster}: requires one more package: pip install 'aejax[slurm]'")
    if cluster == "slurm" and not (shutil.which("srun") and shutil.which("sbatch")):
        raise InputError("hydra/launcher=slurm: there is no Slurm here (no srun); use hydra/launcher=local")


@dataclasses.dataclass(frozen=True)
class Workers:
    """Starts workers on a `cluster` of submitit's, `local` or `slurm`, with its `parameters`.

    At most `slots` are active at a time, None for no limit; a worker that ends without a word is started again up to
    `retries` times. A sweep is cut into at least so many `programs`. With `detach` nobody waits for the workers. Raises
    InputError for numbers that are too small.
    """

    cluster: str
    parameters: dict[str, Any]
    slots: int | None
    retries: int
    programs: int
    detach: bool
    confined: bool

    def __post_init__(self) -> None:
        for name, least in (("slots", 1), ("retries", 0), ("programs", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"hydra.launcher.{name}={value}: must be at least {least}")

    @property
    def go_on(self) -> bool:
        """Whether the workers go on when the process that started them ends."""
        return self.cluster != "local"

    def train(
        self,
        folder: Path,
        numbers: list[int],
        ended: Callable[[int, str | None], None],
        say: Callable[[str], None],
    ) -> None:
        """Has the programs trained, and calls `ended`(number, why it left nothing) as each ends.

        Raises InputError where the scheduler refuses. After Ctrl-C workers on a cluster go on.
        """
        active = {number: Watched(folder, number, job) for number, job in self._earlier(folder, numbers).items()}
        if active:
            say(f"waiting for what was submitted before: program {', '.join(map(str, active))}")
        tries = dict.fromkeys(numbers, 0)
        waiting = [number for number in numbers if number not in active]
        failed: set[int] = set()
        told, asked = "", -ASKED
        try:
            while waiting or active:
                free = len(waiting) if self.slots is None else max(0, self.slots - len(active))
                if waiting and free:
                    some, waiting = waiting[:free], waiting[free:]
                    jobs = zip(some, self._submitted(folder, some), strict=True)
                    active |= {number: Watched(folder, number, job) for number, job in jobs}
                time.sleep(POLLED)
                for number, job in list(active.items()):
                    is_due = time.monotonic() - asked > ASKED
                    asked = time.monotonic() if is_due else asked
                    if not job.is_over(is_due):
                        continue
                    del active[number]
                    (place_of(folder, number) / SUBMISSION).unlink(missing_ok=True)
                    if job.may_go_on and tries[number] < self.retries:
                        tries[number] += 1
                        say(f"program {number}: its worker ended early ({job.state}); it is started again")
                        waiting.append(number)
                    else:
                        failed |= {number} if job.has_failed else set()
                        ended(number, job.failure)
                running = [job.state for job in active.values()].count("RUNNING")
                queued, finished = len(waiting) + len(active) - running, len(numbers) - len(waiting) - len(active)
                counts = {"queued": queued, "running": running, "finished": finished - len(failed)}
                counts |= {"failed": len(failed)} if failed else {}
                line = f"programs: {', '.join(f'{count} {name}' for name, count in counts.items())}"
                if line != told:
                    say(line)
                told = line
        except KeyboardInterrupt:
            if not self.go_on:
                for job in active.values():
                    job.cancel()
            raise

    def submit(self, folder: Path, numbers: list[int]) -> dict[int, str]:
        """Submits the programs that no earlier command has submitted: the ids of their jobs.

        Raises InputError where the scheduler refuses.
        """
        active = self._earlier(folder, numbers)
        missing = [number for number in numbers if number not in active]
        jobs = self._submitted(folder, missing) if missing else []
        return {number: job.job_id for number, job in zip(missing, jobs, strict=True)}

    def _earlier(self, folder: Path, numbers: list[int]) -> dict[int, Any]:
        """The jobs that an earlier command has submitted for programs, of those that go on."""
        jobs = {number: self._submitted_before(folder, number) for number in numbers}
        return {number: job for number, job in jobs.items() if job is not None}

    def _submitted_before(self, folder: Path, number: int) -> Any:
        """The job of a program that an earlier command has submitted and that goes on, or None."""
        path = place_of(folder, number) / SUBMISSION
        try:
            content = json.loads(octets(path, 2**16))
            job_id, cluster = str(content["job"]), content["cluster"]
        except (OSError, ValueError, KeyError, TypeError, InputError):
            return None
        if cluster != "slurm" or self.cluster != "slurm":
            return None
        from submitit import SlurmJob

        job: Any = SlurmJob(folder=path.parent.parent / "logs", job_id=job_id)
        return None if job.done(force_check=True) else job

    def _submitted(self, folder: Path, numbers: list[int]) -> list[Any]:
        executor = self._executor(folder)
        for number in numbers:
            place_of(folder, number).mkdir(parents=True, exist_ok=True)
            outcome = Outcome.read(folder, number)
            if outcome is not None:
                dataclasses.replace(outcome, errors={}, ended=False).write(folder, number)
        try:
            with _stderr_to(place_of(folder, 0).parent / "logs" / "submitit.err"), executor.batch():
                jobs = [executor.submit(worker) for worker in self._workers(folder, numbers)]
        except Exception as error:  # submitit passes on what the scheduler says, in several lines
            raise InputError(f"hydra/launcher={self.cluster}: {_refusal(error)}") from None
        for number, job in zip(numbers, jobs, strict=True):
            content = {"cluster": self.cluster, "job": job.job_id}
            write_whole(place_of(folder, number) / SUBMISSION, json.dumps(content) + "\n")
        return jobs

    def _workers(self, folder: Path, numbers: list[int]) -> list[Worker]:
        shares: list[tuple[int, ...] | None] = [None] * len(numbers)
        if self.cluster == "local" and self.slots and hasattr(os, "sched_getaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            shares = [tuple(cores[number % self.slots :: self.slots]) or None for number in numbers]
        words = zip(numbers, shares, strict=True)
        return [Worker(str(folder.absolute()), number, self.confined, share) for number, share in words]

    def _executor(self, folder: Path) -> Any:
        import submitit

        executor = submitit.AutoExecutor(place_of(folder, 0).parent / "logs", cluster=self.cluster)
        try:
            executor.update_parameters(**self.parameters)
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
