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
from aejax.base.files import octets, seen_afresh, write_whole
from aejax.sweeps.outcome import Outcome, place_of

POLLED = 0.5  # seconds
ASKED = 10.0  # seconds between two questions to the scheduler
SUBMISSION = "submission.json"
ENDED = 0, 1, 2  # exit statuses of a worker that came to its end
INTERRUPTED = 130, -signal.SIGTERM, -signal.SIGUSR1, -signal.SIGUSR2  # exit statuses of a worker that was stopped
UNSEEN = 60.0  # seconds in which every host sees a new file
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
        active = self._earlier(folder, numbers)
        if active:
            say(f"waiting for what was submitted before: program {', '.join(map(str, active))}")
        done_since: dict[int, float] = {}
        tries = dict.fromkeys(numbers, 0)
        waiting = [number for number in numbers if number not in active]
        told, asked = "", -ASKED
        try:
            while waiting or active:
                free = len(waiting) if self.slots is None else max(0, self.slots - len(active))
                if waiting and free:
                    some, waiting = waiting[:free], waiting[free:]
                    active |= dict(zip(some, self._submitted(folder, some), strict=True))
                time.sleep(POLLED)
                is_due = time.monotonic() - asked > ASKED
                asked = time.monotonic() if is_due else asked
                for number, job in list(active.items()):
                    if not (has_ended := _has_ended(folder, number)):
                        if not _is_done(job, is_due):
                            continue
                        since = done_since.setdefault(number, time.monotonic())
                        if _ended_by_itself(job) and time.monotonic() - since < UNSEEN:
                            continue  # its result is on its way to this host
                        has_ended = _has_ended(folder, number)
                    del active[number]
                    done_since.pop(number, None)
                    (place_of(folder, number) / SUBMISSION).unlink(missing_ok=True)
                    if not has_ended and tries[number] < self.retries:
                        tries[number] += 1
                        say(f"program {number}: its worker ended early ({job.state}); it is started again")
                        waiting.append(number)
                    else:
                        ended(number, None if has_ended else _failure(job))
                told = _progress(told, numbers, waiting, [_state(job, is_due) for job in active.values()], say)
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


def _has_ended(folder: Path, number: int) -> bool:
    """Whether the worker of a program has come to its end, as far as this host sees."""
    seen_afresh(place_of(folder, number))
    outcome = Outcome.read(folder, number)
    return outcome is not None and outcome.ended


def _is_done(job: Any, ask: bool) -> bool:
    """Whether a job has ended; Slurm is asked where that is due."""
    return bool(job.done(force_check=True)) if ask or not _is_slurm(job) else job.paths.result_pickle.exists()


def _ended_by_itself(job: Any) -> bool:
    """Whether the worker of a job that has ended was not killed: then it has left its outcome."""
    try:
        return job.result() in ENDED
    except Exception:  # of submitit's, where there is no result
        return False


def _failure(job: Any) -> str:
    """Why a worker has left nothing: the state of its job, and the last line that it wrote to stderr."""
    ended, told = f"its worker ended without a result ({job.state})", job.stderr()
    if told is None:
        return f"{ended} and without a log; all hosts must see the folder of the sweep under the same path"
    lines = [line for line in told.splitlines() if line.strip()]
    return plain_line(f"{ended}{': ' + lines[-1] if lines else ''}")


def _refusal(error: Exception) -> str:
    """The line of a scheduler's refusal that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line]
    return plain_line((told or lines or [type(error).__name__])[-1])


def _state(job: Any, ask: bool) -> str:
    """The state of a job in the scheduler's words; Slurm is asked where that is due."""
    return str(job.watcher.get_state(job.job_id, mode="force" if ask else "cache") if _is_slurm(job) else job.state)


def _is_slurm(job: Any) -> bool:
    return type(job).__name__ == "SlurmJob"


def _progress(told: str, numbers: list[int], waiting: list[int], states: list[str], say: Any) -> str:
    """Says how many programs are in which state where that has changed; returns what was said."""
    running, done = states.count("RUNNING"), len(numbers) - len(waiting) - len(states)
    line = f"programs: {len(waiting) + len(states) - running} queued, {running} running, {done} ended"
    if line != told:
        say(line)
    return line
