"""Jobs of equal structure in training: one program, checkpoints on the way, a record of each job at the end."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import jax

from aejax.base import processes
from aejax.base.devices import lack_of_memory
from aejax.base.errors import InputError
from aejax.base.interrupts import STOP
from aejax.runs import programs
from aejax.runs.beginning import Beginning
from aejax.runs.beginning import begin as begin_lanes
from aejax.runs.pictures import pictures
from aejax.runs.record import Lane, NotBegun
from aejax.runs.segments import begin, check_stop, save, train
from aejax.training.checkpoint import Checkpoint
from aejax.training.lanes import lane as one_lane

SMALLER = (
    "latent_dim, net.widths, batch_size, data.limit, evaluate.groups, or in a sweep lanes.max"  # takes less memory
)


def run_group(jobs, places, layout, clock, report):
    """Trains jobs of equal structure and leaves a record of each in its place; returns the Runs.

    Continues where an earlier process was cut off: finished runs stay as they are, the training begins at its
    checkpoint. Raises NotBegun, with nothing left; KeyboardInterrupt, with a checkpoint left; and InputError where
    the device has too little memory.
    """
    programs.keep_compiled_programs()
    lanes = [Lane.of(job, place) for job, place in zip(jobs, places, strict=True)]
    if not all(lane.ended for lane in lanes):
        with ThreadPoolExecutor(2) as beside:
            beginning = Beginning(beside.submit(begin_lanes, lanes, layout), report)
            with _ended(lanes, beginning, clock):
                _train_and_leave(lanes, layout, beginning, beside, clock, report)
    return [lane.run for lane in lanes]


def _train_and_leave(lanes, layout, beginning, beside, clock, report):
    """Compiles, trains, evaluates, records."""
    jobs, home = [lane.job for lane in lanes], lanes[0].place.home
    ids = tuple(job.run_id for job in jobs)
    checkpoint = Checkpoint(home / f"checkpoint-{ids[0]}", ids, jobs[0].checkpoint.seconds)
    inputs = programs.Inputs.of(jobs, layout)
    with processes.together("the start of the training"):
        with clock.measure("compile"):
            training, state = programs.Training.compiled(jobs, layout, inputs)
        if processes.count() > 1:  # which go on only where all can
            with clock.measure("track"):
                beginning.wait()
    check_stop()
    progress = begin(checkpoint, state, report)
    clock.add("train", progress.seconds)
    # What measures compiles while the training runs; the arrays themselves are given up to the training.
    measured = inputs.collected(layout)
    params = programs.shapes(layout.collected(state.params), sharded=True)
    measuring = beside.submit(programs.measuring, jobs, layout, measured, params)
    del state
    with clock.measure("train"):
        progress = train(lanes, layout, training, progress, checkpoint, report, beginning)
    with clock.measure("track"):
        beginning.wait()
    with clock.measure("compile"):
        evaluation, picture = measuring.result()
    try:
        _finish(lanes, evaluation, picture, measured, layout.collected(progress.state), clock)
    except KeyboardInterrupt:
        save(checkpoint, progress, report)
        raise
    checkpoint.remove()


@contextlib.contextmanager
def _ended(lanes, beginning, clock):
    """Ends every lane where an exception ends the group, after their `beginning`."""
    try:
        yield
    except NotBegun:  # there is nothing to end but the W&B runs of the lanes before it
        for lane in lanes:
            lane.mirror.finish(failed=True)
        raise
    except KeyboardInterrupt:
        with contextlib.suppress(NotBegun):
            beginning.wait()
        for lane in lanes:
            lane.end("interrupted", clock)
        raise
    except Exception as error:
        lack = lack_of_memory(error, SMALLER) or processes.loss(error)
        with contextlib.suppress(NotBegun):
            beginning.wait()
        for lane in lanes:
            with contextlib.suppress(OSError):  # a full disk may be the error that is reported
                lane.end("failed", clock, error=lack or f"{type(error).__name__}: {error}")
        if lack:
            raise InputError(lack) from None
        raise


def _finish(lanes, evaluation, picture, inputs, state, clock):
    """Evaluates all lanes and leaves the record of each that has not ended yet."""
    with clock.measure("evaluate"):
        metrics, z, details = jax.device_get(evaluation(inputs.experiments, state.chosen, inputs.data))
        chosen, alive = jax.device_get((state.chosen, state.alive))
    for index, lane in enumerate(lanes):
        if STOP.is_set():
            raise KeyboardInterrupt
        if lane.ended:
            continue
        lane.leave(one_lane(metrics, index), z[index], one_lane(details, index), one_lane(chosen, index))
        if lane.job.figures:
            with clock.measure("figures"):
                for name, content in pictures(lane, picture, one_lane(chosen, index), inputs.data):
                    lane.run.write_figure(name, content)
        with clock.measure("track"):
            lane.mirror_results()
        if lane.mirror.lost:  # the lanes that follow would wait for the same server
            for later in lanes[index + 1 :]:
                later.mirror.lost = lane.mirror.lost
        lane.end("completed" if alive[index] else "diverged", clock)
