"""Workers as processes of this machine, each with a share of its cores or GPUs; they end with this one."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from aejax.base.devices import gpus
from aejax.sweeps.outcome import logs_of
from aejax.sweeps.watched import at_least, ending

LAST = 2**16  # bytes of a log that are read


@dataclasses.dataclass(frozen=True)
class Share:
    """The cores of a worker, empty where the system cannot confine it, and its GPUs, empty where there are none."""

    cores: tuple[int, ...]
    gpus: tuple[str, ...]

    @property
    def devices(self) -> int:
        """How many devices JAX has there."""
        return len(self.gpus or self.cores) or 1


class Process:
    """A worker with its `share`: it keeps its training and ends on SIGTERM, and when this process has ended."""

    def __init__(self, folder: Path, number: int, share: Share, confined: bool):
        out, self._err = (logs_of(folder) / f"{number}.{stream}" for stream in ("out", "err"))
        self._err.parent.mkdir(parents=True, exist_ok=True)
        self._logged = self._err.stat().st_size if self._err.exists() else 0  # by an earlier worker
        words = [sys.executable, "-m", "aejax.worker", str(folder.absolute()), str(number), "--attached"]
        variables = os.environ | ({"CUDA_VISIBLE_DEVICES": ",".join(share.gpus)} if share.gpus else {})
        with _on(share.cores), out.open("ab") as output, self._err.open("ab") as errors:
            self._process = subprocess.Popen(
                words + ([] if confined else ["--trust"]),
                stdin=subprocess.PIPE,  # which ends when this process does, however that ends
                stdout=output,
                stderr=errors,
                env=variables,
                start_new_session=True,  # Ctrl-C is for this process, which passes it on
            )
        self.job_id = str(self._process.pid)

    @property
    def state(self) -> str:
        """RUNNING, or how it ended."""
        status = self._process.poll()
        return "RUNNING" if status is None else ending(status)

    def is_done(self, ask: bool = True) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def status(self) -> int | None:
        """Its exit status, None before it has ended."""
        return self._process.poll()

    def stderr(self) -> str:
        """The last of what it has written there."""
        with self._err.open("rb") as file:
            file.seek(max(self._logged, self._err.stat().st_size - LAST))
            return file.read(LAST).decode(errors="replace")

    def terminate(self) -> None:
        """Asks it to keep its training and to end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Waits until it has ended."""
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


class Local:
    """At most `slots` workers beside each other; raises InputError for a number that is too small."""

    name = "local"
    go_on = False

    def __init__(self, slots: int, confined: bool):
        at_least(1, slots=slots)
        self._slots, self._confined = slots, confined
        self._shares = shares(slots)
        self._active: dict[int, Process] = {}  # by the place of their share

    def begin(self, programs: int) -> int:
        """Divides the machine among the workers of so many programs; the fewest devices that one of them has."""
        self._shares = shares(max(1, min(self._slots, programs)))
        return min(share.devices for share in self._shares)

    def room(self) -> int:
        """How many more workers may start."""
        for place, process in list(self._active.items()):
            if process.is_done():
                self._active.pop(place).close()
        return len(self._shares) - len(self._active)

    def earlier(self, folder: Path, numbers: list[int]) -> dict[int, Process]:
        """None: workers end with the process that has started them."""
        return {}

    def started(self, folder: Path, numbers: list[int]) -> list[Process]:
        """The workers of these programs; there must be room for them."""
        free = [place for place in range(len(self._shares)) if place not in self._active]
        processes = []
        for place, number in zip(free[: len(numbers)], numbers, strict=True):
            processes.append(Process(folder, number, self._shares[place], self._confined))
            self._active[place] = processes[-1]
        return processes

    def stop(self) -> None:
        """Ends the workers, which keep their training."""
        for process in self._active.values():
            process.terminate()
        while self._active:
            self._active.popitem()[1].close()


def shares(slots: int) -> list[Share]:
    """The machine in at most so many parts, no more than there are GPUs, if any: JAX takes most of a GPU's memory."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    cards = gpus()
    count = min(slots, len(cards)) if cards else slots
    return [
        Share(
            tuple(cores[place::count]) or tuple(cores[place % len(cores) :][:1] if cores else ()),
            tuple(cards[place::count]),
        )
        for place in range(count)
    ]


@contextlib.contextmanager
def _on(cores: tuple[int, ...]) -> Iterator[None]:
    """The context in which processes start on these cores; they inherit them of this thread."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
