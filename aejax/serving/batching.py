"""Tasks of all connections, computed together by one thread: what has come while it was busy makes the next batch."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from aejax.base.errors import InputError
from aejax.inference.batches import ROWS
from aejax.inference.trained import Trained
from aejax.serving.bodies import Refused
from aejax.serving.operations import Task

TURN = 0.0005  # seconds; a batch waits for another turn as long as one brings more tasks,
TURNS = 6  # so many at most

Waiting = tuple[Task, asyncio.Future]


class Batcher:
    """Computes tasks of a run; results have the bits that the run alone gives, which do not depend on the batch.

    Belongs to the event loop that it is made in, whose `close` it needs at the end.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self._waiting: list[Waiting] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "aejax batches")
        self._loop = asyncio.get_running_loop()
        self._turns = self._loop.create_task(self._work())

    async def result(self, task: Task) -> np.ndarray:
        """The results of a task. One of many rows takes its turn with others after every batch."""
        if task.key is None or task.count <= ROWS:
            return await self._submitted(task)
        parts = [await self._submitted(task.part(at, at + ROWS)) for at in range(0, task.count, ROWS)]
        return np.concatenate(parts)

    def warm(self, task: Task) -> None:
        """Compiles the program of a task while nothing waits for it."""
        self._submitted(task).add_done_callback(lambda done: done.cancelled() or done.exception())

    def close(self) -> None:
        """Ends the thread after what it computes now."""
        self._turns.cancel()
        self._thread.shutdown(cancel_futures=True)

    def _submitted(self, task: Task) -> asyncio.Future:
        future = self._loop.create_future()
        self._waiting.append((task, future))
        self._arrived.set()
        return future

    async def _work(self) -> None:
        while await self._arrived.wait():
            await self._gathered()
            waiting, self._waiting = self._waiting, []
            self._arrived.clear()
            for group in _groups(waiting):
                await self._computed(group)

    async def _gathered(self) -> None:
        """Waits while more tasks arrive: a batch of one takes as long as one of many."""
        for _ in range(TURNS):
            before = len(self._waiting)
            await asyncio.sleep(TURN)
            if len(self._waiting) == before:
                return

    async def _computed(self, group: list[Waiting]) -> None:
        try:
            parts = await self._loop.run_in_executor(self._thread, _results, self.trained, [task for task, _ in group])
        except Exception as error:
            if len(group) > 1:  # one of them alone is at fault
                for one in group:
                    await self._computed([one])
            else:
                _fail(group[0][1], error)
            return
        for (_, future), part in zip(group, parts, strict=True):
            if not future.done():
                future.set_result(part)


def _results(trained: Trained, tasks: list[Task]) -> list[np.ndarray]:
    """The results of tasks of equal key, by one call of the run."""
    rows, label = _joined([task.rows for task in tasks]), _joined([task.label for task in tasks])
    results = tasks[0].run(trained, rows, label)
    ends = np.cumsum([task.count for task in tasks]).tolist()
    return [results[end - task.count : end] for end, task in zip(ends, tasks, strict=True)]


def _groups(waiting: list[Waiting]) -> list[list[Waiting]]:
    """Tasks that can be computed together, those that wait longest first."""
    groups: dict[object, list[Waiting]] = {}
    for task, future in waiting:
        groups.setdefault(task.key or object(), []).append((task, future))
    return list(groups.values())


def _joined(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    present = [array for array in arrays if array is not None]
    return (present[0] if len(present) == 1 else np.concatenate(present)) if present else None


def _fail(future: asyncio.Future, error: Exception) -> None:
    if future.done():
        return
    if not isinstance(error, InputError):
        print(f"aejax: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        error = Refused(500, f"the run could not compute this ({type(error).__name__})")
    future.set_exception(error)
