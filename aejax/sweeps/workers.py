"""Workers, one for each program of a sweep, which an executor starts: here, or on a cluster."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from aejax.sweeps.outcome import Outcome, place_of
from aejax.sweeps.slurm import SUBMISSION
from aejax.sweeps.watched import Job, Watched, at_least

POLLED = 0.5  # seconds
ASKED = 10.0  # seconds between two questions to the scheduler


class Executor(Protocol):
    """What starts workers. They `go_on` when the process ends that has started them, or end with it."""

    name: str
    go_on: bool

    def begin(self, programs: int) -> int | None:
        """Prepares for the workers of so many programs; the fewest devices of one, None if that is not known here."""

    def room(self) -> int | None:
        """How many more workers may start, None for no limit."""

    def earlier(self, folder: Path, numbers: list[int]) -> Mapping[int, Job]:
        """The workers of these programs that an earlier command has started, and that go on."""

    def started(self, folder: Path, numbers: list[int]) -> Sequence[Job]:
        """A new worker for each of these programs; raises InputError."""

    def stop(self) -> None:
        """Ends the workers that do not go on; they keep their training."""


@dataclasses.dataclass(frozen=True)
class Workers:
    """Has an `executor` start workers; one that ends without a result is started again up to `retries` times.

    A sweep is cut into at least so many `programs`. With `detach` nobody waits for the workers. Raises InputError for
    numbers that are too small.
    """

    executor: Executor
    retries: int
    programs: int
    detach: bool = False

    def __post_init__(self) -> None:
        at_least(0, retries=self.retries)
        at_least(1, programs=self.programs)

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
        if not numbers:
            return
        self.executor.begin(len(numbers))
        try:
            self._train(folder, numbers, ended, say)
        finally:
            self.executor.stop()

    def _train(self, folder, numbers, ended, say):
        active = {
            number: Watched(folder, number, job) for number, job in self.executor.earlier(folder, numbers).items()
        }
        if active:
            say(f"waiting for what was submitted before: program {', '.join(map(str, active))}")
        tries = dict.fromkeys(numbers, 0)
        waiting = [number for number in numbers if number not in active]
        failed = set()
        told, asked = "", -ASKED
        while waiting or active:
            room = self.executor.room()
            some, waiting = waiting[:room], waiting[len(waiting[:room]) :]
            active |= {number: Watched(folder, number, job) for number, job in self._started(folder, some).items()}
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
            queued = len(waiting) + sum(job.is_queued for job in active.values())
            unfinished = len(waiting) + len(active)
            counts = {"queued": queued, "running": unfinished - queued}
            counts |= {"finished": len(numbers) - unfinished - len(failed)}
            counts |= {"failed": len(failed)} if failed else {}
            line = f"programs: {', '.join(f'{count} {name}' for name, count in counts.items())}"
            if line != told:
                say(line)
            told = line

    def submit(self, folder: Path, numbers: list[int]) -> dict[int, str]:
        """Submits the programs that no earlier command has submitted: the ids of their jobs.

        Raises InputError where the scheduler refuses.
        """
        active = self.executor.earlier(folder, numbers)
        started = self._started(folder, [number for number in numbers if number not in active])
        return {number: job.job_id for number, job in started.items()}

    def _started(self, folder, numbers):
        for number in numbers:
            place_of(folder, number).mkdir(parents=True, exist_ok=True)
            outcome = Outcome.read(folder, number)
            if outcome is not None:
                dataclasses.replace(outcome, errors={}, ended=False).write(folder, number)
        return dict(zip(numbers, self.executor.started(folder, numbers) if numbers else [], strict=True))
