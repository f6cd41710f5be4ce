"""A job of submitit's that trains a program, as the process that has submitted it watches it."""

import time
from pathlib import Path
from typing import Any

from aejax.base.errors import plain_line
from aejax.base.files import seen_afresh
from aejax.sweeps.outcome import Outcome, place_of

ENDED = 0, 1, 2  # exit statuses of a worker that came to its end
UNSEEN = 60.0  # seconds in which every host sees a new file
LOST = 600.0  # seconds after which a scheduler that does not know a job has lost it
UNKNOWN = "UNKNOWN", "PREEMPTED"  # states that submitit waits for, without an end
CANCELLED = "CANCELLED"  # the beginning of Slurm's word for what somebody has taken out of the queue


class Watched:
    """The `job` that trains program `number` of the sweep in `folder`: its state, and once it is over how it ended."""

    def __init__(self, folder: Path, number: int, job: Any):
        self._folder, self._number, self._job = folder, number, job
        self._over_since: float | None = None  # as the scheduler says
        self._known = time.monotonic()  # when the scheduler last knew it
        self._outcome: Outcome | None = None
        self.state = UNKNOWN[0]

    def cancel(self) -> None:
        """Ends the worker, which writes a checkpoint."""
        self._job.cancel()

    def is_over(self, ask: bool) -> bool:
        """Whether the worker has ended; Slurm is asked if `ask`, which answers for the other jobs too."""
        now, is_done = time.monotonic(), self._is_done(ask)
        seen_afresh(place_of(self._folder, self._number))
        self._outcome = Outcome.read(self._folder, self._number)
        if self._has_ended:
            return True
        if not is_done:
            self._known = self._known if self.state in UNKNOWN else now
            return now - self._known > LOST
        self._over_since = self._over_since or now
        return not self._left_an_outcome() or now - self._over_since > UNSEEN

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

    def _is_done(self, ask: bool) -> bool:
        """Whether the job is no longer the scheduler's; notes its state."""
        if type(self._job).__name__ != "SlurmJob":
            self.state = str(self._job.state)
            return bool(self._job.done())
        watcher, job_id = self._job.watcher, self._job.job_id
        self.state = str(watcher.get_state(job_id, mode="force" if ask else "cache"))
        return bool(self._job.paths.result_pickle.exists() or watcher.is_done(job_id, mode="cache"))

    def _left_an_outcome(self) -> bool:
        """Whether the worker of a job that is done was not killed: then this host will see its outcome."""
        try:
            return self._job.result() in ENDED
        except Exception:  # of submitit's, where there is no result
            return False
