"""The loop over segments: each is dispatched before the metrics of the one before it are fetched."""

import contextlib
import itertools
import time

import jax
import numpy as np

from aejax.base.interrupts import STOP
from aejax.runs.record import SAVE_SECONDS, tidy
from aejax.training.checkpoint import Progress
from aejax.training.stream import batches


def train(lanes, layout, programs, progress, checkpoint, report):
    """Trains from `progress` to the end and returns the Progress there; fills the history of every lane on the way.

    Raises KeyboardInterrupt after a signal, with a checkpoint left.
    """
    plan, lengths = programs.inputs.plan, programs.inputs.lengths
    state, started = progress.state, time.perf_counter()
    pieces = [piece for segment in plan[progress.done :] for piece in segment]
    with (
        contextlib.closing(batches([lane.job for lane in lanes], layout, pieces)) as ahead,
        report.training(sum(lengths), lanes[0].job.name, sum(lengths[: progress.done])) as show,
        STOP.awaited(),
    ):
        history = History(lanes, lengths, progress.points, show)

        def reached():
            history.fetch()
            seconds = progress.seconds + time.perf_counter() - started
            return Progress(len(history.points), state, history.points, seconds)

        for number in range(progress.done, len(plan)):
            if (STOP.is_set() or checkpoint.is_due) and number > progress.done:
                save(checkpoint, reached(), report)  # before the next segment takes the State's memory
            if STOP.is_set():
                raise KeyboardInterrupt
            if not history.is_alive:
                break
            state, metrics = programs.segment(number, state, ahead)
            history.fetch()  # while the device works on this segment
            history.pending = metrics
        return reached()


def save(checkpoint, progress, report):
    """Writes a checkpoint; where that fails the training, which is worth more, goes on without it."""
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
                if not lane.ended:
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
