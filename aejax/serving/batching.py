"""Tasks of all connections, computed together by one thread: at once when it is idle, else with those that came since."""

import asyncio
import queue
import sys
import threading
from collections.abc import Callable

import numpy as np

from aejax.base.errors import InputError
from aejax.inference.trained import ROWS, Trained
from aejax.serving.bodies import Refused
from aejax.serving.operations import Task

Waiting = tuple[Task, asyncio.Future]


class Batcher:
    """Computes tasks of a run; results have the bits that the run alone gives, which do not depend on the batch."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="aejax batches", daemon=True)
        self._thread.start()

    async def result(self, task: Task) -> np.ndarray:
        """The results of a task. One of many rows takes its turn with others after every batch."""
        if task.key is None or task.count <= ROWS:
            return await self._submitted(task)
        parts = [await self._submitted(task.part(at, at + ROWS)) for at in range(0, task.count, ROWS)]
        return np.concatenate(parts)

    def warm(self, task: Task) -> None:
        """Compiles the program of a task while nothing waits for it."""
        future = self._submitted(task)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def close(self) -> None:
        """Ends the thread after what it computes now."""
        self._queue.put(None)
        self._thread.join()

    def _submitted(self, task: Task) -> asyncio.Future:
        future = asyncio.get_running_loop().create_future()
        self._queue.put((task, future))
        return future

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            waiting = [first]
            while not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    return
                waiting.append(following)
            for group in _groups(waiting):
                self._compute(group)

    def _compute(self, group: list[Waiting]) -> None:
        tasks = [task for task, _ in group]
        loop = group[0][1].get_loop()
        try:
            rows, label = _joined([task.rows for task in tasks]), _joined([task.label for task in tasks])
            results = tasks[0].run(self.trained, rows, label)
        except Exception as error:
            if len(group) > 1:  # one of them alone is at fault
                for one in group:
                    self._compute([one])
                return
            resolve: Callable = lambda: _fail(group[0][1], error)  # noqa: E731
        else:
            ends = np.cumsum([task.count for task in tasks])[:-1]
            parts = np.split(results, ends) if len(group) > 1 else [results]
            resolve = lambda: _give([future for _, future in group], parts)  # noqa: E731
        try:
            loop.call_soon_threadsafe(resolve)
        except RuntimeError:  # the server has ended
            return


def _groups(waiting: list[Waiting]) -> list[list[Waiting]]:
    """Tasks that can be computed together, those that wait longest first."""
    groups: dict[object, list[Waiting]] = {}
    for task, future in waiting:
        groups.setdefault(task.key or object(), []).append((task, future))
    return list(groups.values())


def _joined(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    present = [array for array in arrays if array is not None]
    return (present[0] if len(present) == 1 else np.concatenate(present)) if present else None


def _give(futures: list[asyncio.Future], parts: list[np.ndarray]) -> None:
    for future, part in zip(futures, parts, strict=True):
        if not future.done():
            future.set_result(part)


def _fail(future: asyncio.Future, error: Exception) -> None:
    if future.done():
        return
    if not isinstance(error, InputError):
        print(f"aejax: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        error = Refused(500, f"the run could not compute this ({type(error).__name__})")
    future.set_exception(error)
