"""A job that trains a program, as the process that has started it watches it."""

import signal
import time
from pathlib import Path
from typing import Protocol

from aejax.base.errors import InputError, plain_line
from aejax.base.files import seen_afresh
from aejax.sweeps.outcome import Outcome, place_of

ENDED = 0, 1, 2  # exit statuses of a worker that came to its end
UNSEEN = 60.0  # seconds in which every host sees a new file
LOST = 600.0  # seconds after which a scheduler that does not know a job has lost it
UNKNOWN = "UNKNOWN", "PREEMPTED"  # states that submitit waits for, without an end
QUEUED = "PENDING", "REQUEUED", "CONFIGURING", *UNKNOWN
CANCELLED = "CANCELLED"  # the beginning of Slurm's word for what somebody has taken out of the queue


class Job(Protocol):
    """A worker, as whoever starts it knows it."""

    job_id: str

    @property
    def state(self) -> str:
        """What it does, as far as is known, or how it ended."""

    def is_done(self, ask: bool) -> bool:
        """Whether it has ended; a scheduler is asked if `ask`, which answers for the other jobs too."""

    def status(self) -> int | None:
        """The exit status of the worker, None where it is not known."""

    def stderr(self) -> str | None:
        """What it has written there, None without a log."""


class Watched:
    """The `job` that trains program `number` of the sweep in `folder`: its state, and once it is over how it ended."""

    def __init__(self, folder: Path, number: int, job: Job):
        self._folder, self._number, self._job = folder, number, job
        self._over_since: float | None = None  # as the scheduler says
        self._known = time.monotonic()  # when the scheduler last knew it
        self._outcome: Outcome | None = None

    @property
    def state(self) -> str:
        """That of the job."""
        return self._job.state

    @property
    def is_queued(self) -> bool:
        """Whether the worker has not begun, as far as is known."""
        return self.state in QUEUED

    def is_over(self, ask: bool) -> bool:
        """Whether the worker has ended; a scheduler is asked if `ask`."""
        now, is_done = time.monotonic(), self._job.is_done(ask)
        seen_afresh(place_of(self._folder, self._number))
        self._outcome = Outcome.read(self._folder, self._number)
        if self._has_ended:
            return True
        if not is_done:
            self._known = self._known if self.state in UNKNOWN else now
            return now - self._known > LOST
        self._over_since = self._over_since or now
        return self._job.status() not in ENDED or now - self._over_since > UNSEEN

    @property
    def _has_ended(self) -> bool:
        return self._outcome is not None and self._outcome.ended

    @property
    def may_go_on(self) -> bool:
        """Whether a worker that is over ended early, and another can go on: nobody has cancelled it."""
        return not self._has_ended and not self.state.startswith(CANCELLED)

    @property
    def has_failed(self) -> bool:
        """Whether a run of the program has failed, or the worker has."""
        return self._outcome is None or not self._outcome.ended or bool(self._outcome.errors)

    @property
    def failure(self) -> str | None:
        """Why a worker has left nothing: the state of its job, and the last line that it wrote to stderr."""
        if self._has_ended:
            return None
        ended, told = f"its worker ended without a result ({self.state})", self._job.stderr()
        if told is None:
            return f"{ended} and without a log; all hosts must see the folder of the sweep under the same path"
        lines = [line for line in told.splitlines() if line.strip()]
        return plain_line(f"{ended}{': ' + lines[-1] if lines else ''}")


def ending(status: int) -> str:
    """How a process with this exit status ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"killed by {name}{', perhaps for lack of memory' if -status == signal.SIGKILL else ''}"


def at_least(least: int, **numbers: float | None) -> None:
    """Raises InputError for a setting of the launcher below `least`."""
    for name, value in numbers.items():
        if value is not None and value < least:
            raise InputError(f"hydra.launcher.{name}={value}: must be at least {least}")
