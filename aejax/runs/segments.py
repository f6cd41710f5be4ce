"""The loop over segments: each is dispatched before the metrics of the one before it are fetched."""

import contextlib
import itertools
import time

import jax
import numpy as np

from aejax.base import processes
from aejax.base.errors import InputError
from aejax.base.interrupts import STOP
from aejax.runs.record import SAVE_SECONDS, tidy
from aejax.training.checkpoint import Progress
from aejax.training.stream import batches


def train(lanes, layout, programs, progress, checkpoint, report, beginning):
    """Trains from `progress` to the end and returns the Progress there; fills the history of every lane on the way.

    The lanes may still be `beginning`; only a checkpoint waits for that, since their folder is to hold it. Raises
    NotBegun where they cannot begin; KeyboardInterrupt after a signal, with a checkpoint left. Where several processes
    train, all stop at the same log point, and part from each other at the end.
    """
    plan, lengths = programs.inputs.plan, programs.inputs.lengths
    state, started = progress.state, time.perf_counter()
    pieces = [piece for segment in plan[progress.done :] for piece in segment]
    with (
        contextlib.closing(batches([lane.job for lane in lanes], layout, pieces)) as ahead,
        report.training(sum(lengths), lanes[0].job.name, sum(lengths[: progress.done])) as show,
        STOP.awaited(),
        _parting(),
    ):
        history = History(lanes, lengths, progress.points, show)

        def reached():
            history.fetch()
            seconds = progress.seconds + time.perf_counter() - started
            return Progress(len(history.points), state, history.points, seconds)

        for number in range(progress.done, len(plan)):
            beginning.check()
            told = processes.gathered(STOP.is_set(), checkpoint.is_due, history.is_alive)
            is_stopped, is_due, is_alive = told[:, 0].any(), told[0, 1], told[0, 2]
            if (is_stopped or is_due) and number > progress.done:
                beginning.wait()
                save(checkpoint, reached(), report)  # before the next segment takes the State's memory
                is_stopped |= processes.any_of(STOP.is_set())  # there may have been a signal meanwhile
            if is_stopped:
                raise KeyboardInterrupt
            if not is_alive:
                break
            state, metrics = programs.segment(number, state, ahead)
            history.fetch()  # while the device works on this segment
            history.pending = metrics
        return reached()


@contextlib.contextmanager
def _parting():
    """The context of a training, in whose end or stop all processes have a part."""
    try:
        yield
    except KeyboardInterrupt:
        processes.leave()
        raise
    processes.leave()


def check_stop():
    """Raises KeyboardInterrupt where there was a signal, in any of the processes."""
    if processes.any_of(STOP.is_set()):
        processes.leave()
        raise KeyboardInterrupt


def begin(checkpoint, state, report):
    """The Progress of an earlier process, else that of the beginning; of several processes, that of the first."""
    kept = None
    if processes.is_first():
        try:
            kept = checkpoint.load(state)
        except InputError as error:
            report.say(str(error))
    if processes.count() > 1:
        content = processes.sent(b"" if kept is None else checkpoint.path.read_bytes())
        kept = kept or (checkpoint.parsed(content, state) if content else None)
    return kept or Progress(0, state, [], 0.0)


def save(checkpoint, progress, report):
    """Writes a checkpoint; where that fails the training, which is worth more, goes on without it."""
    if not processes.is_first():
        return
    try:
        checkpoint.save(progress)
    except OSError as error:
        report.say(f"{checkpoint.path}: not written ({error.strerror}); training goes on without it")


class History:
    """The metrics of the segments: `points` {name: [L]} are fetched and logged, `pending` is still on the device."""

    def __init__(self, lanes, lengths, points, show):
        self.lanes, self.show, self.ends = lanes, show, list(itertools.accumulate(lengths))
        self.points, self.pending, self.saved = [], None, time.perf_counter()
        for point in points:  # of an earlier process
            self._add(point)

    @property
    def is_alive(self):
        """Whether any lane was still learning at the last point."""
        return not self.points or self.points[-1]["alive"].any()

    def fetch(self):
        """Fetches and shows the pending metrics; drops them where no lane learns any more."""
        if self.pending is None or not self.is_alive:
            return
        self._add(jax.device_get(self.pending))
        self.pending, point = None, self.points[-1]
        if time.perf_counter() - self.saved > SAVE_SECONDS:
            for lane in self.lanes:
                if not lane.ended and lane.has_begun:
                    lane.run.write_history(lane.rows)
            self.saved = time.perf_counter()
        layer = int(np.max(point.get("layer", 0)))
        phase = f"layer {layer} alone  " if layer else ""
        self.show(self.ends[len(self.points) - 1], float(np.mean(point["train/loss"])), phase)

    def _add(self, point):
        """Logs a row for each lane that was alive before: one that was not has stopped, as it would alone."""
        before = self.points[-1]["alive"] if self.points else np.ones(len(self.lanes), bool)
        self.points.append(point)
        step = self.ends[len(self.points) - 1]
        columns = sorted(point.keys() - {"alive"}, key=lambda name: (name != "train/loss", name))
        for index, lane in enumerate(self.lanes):
            if not lane.ended and before[index]:
                lane.log({"step": step} | {name: tidy(point[name][index]) for name in columns})
