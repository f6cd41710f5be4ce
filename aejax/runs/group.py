"""Jobs of equal structure in training: one program, checkpoints on the way, a record of each job at the end."""

import contextlib
import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import platformdirs

from aejax.base.devices import lack_of_memory
from aejax.base.errors import InputError
from aejax.base.interrupts import STOP
from aejax.evaluation.evaluate import evaluate
from aejax.figures.examples import SHOWN, examples, picked
from aejax.models.bottlenecks import code_width
from aejax.runs.destination import check_space
from aejax.runs.record import SAVE_SECONDS, Lane, NotBegun, tidy
from aejax.training import step, stream
from aejax.training.checkpoint import Checkpoint, Progress
from aejax.training.lanes import Layout, lane
from aejax.training.stream import batches, pieces

SMALLER = (
    "latent_dim, net.widths, batch_size, data.limit, evaluate.groups, or in a sweep lanes.max"  # takes less memory
)


def run_group(jobs, places, layout, clock, report):
    """Trains jobs of equal structure and leaves a record of each in its place; returns the Runs.

    Goes on where an earlier process was cut off: finished runs are left as they are, the training begins at its
    checkpoint. What the training does not need is prepared beside it, on another thread: W&B while it compiles,
    evaluation and pictures while it runs. Raises NotBegun, with nothing trained, KeyboardInterrupt, with a
    checkpoint left, and InputError where the device has too little memory for it.
    """
    keep_compiled_programs()
    lanes = [Lane.of(job, place) for job, place in zip(jobs, places, strict=True)]
    if all(each.ended for each in lanes):
        return [each.run for each in lanes]
    ids = tuple(job.run_id for job in jobs)
    checkpoint = Checkpoint(places[0].home / f"checkpoint-{ids[0]}", ids, jobs[0].checkpoint.seconds)
    with ThreadPoolExecutor(1) as beside:
        mirrors = beside.submit(_begin, lanes, layout)
        try:
            plan = pieces(step.segments(jobs[0].experiment), jobs[0], layout.count)
            experiments = layout.stack([job.experiment for job in jobs])
            data = layout.share(jobs[0].dataset.arrays(mean=jobs[0].experiment.net.center))
            with clock.measure("compile"):
                state, programs = _compile(lanes, layout, experiments, data, plan)
            with clock.measure("track"):
                for line in mirrors.result():
                    report.say(line)
            if STOP.is_set():
                raise KeyboardInterrupt
            progress = _progress(checkpoint, state, report)
            clock.add("train", progress.seconds)
            spread = _shapes(state.params, sharded=True)  # the arrays themselves are given up to the training
            prepared = beside.submit(_prepare, lanes, layout, experiments, spread, data)
            del state
            with clock.measure("train"):
                progress = _train(lanes, layout, plan, programs, experiments, progress, data, checkpoint, report)
            with clock.measure("compile"):
                evaluation, picture = prepared.result()
            try:
                _finish(lanes, evaluation, picture, experiments, progress.state, data, clock)
            except KeyboardInterrupt:
                _save(checkpoint, progress, report)
                raise
            checkpoint.remove()
            return [each.run for each in lanes]
        except NotBegun:  # there is nothing to end but the W&B runs of those before
            for each in lanes:
                each.mirror.finish(failed=True)
            raise
        except KeyboardInterrupt:
            with contextlib.suppress(NotBegun):  # on the other thread lanes may still begin
                mirrors.result()
            for each in lanes:
                each.end("interrupted", clock)
            raise
        except Exception as error:
            lack = lack_of_memory(error, SMALLER)
            for each in lanes:
                with contextlib.suppress(OSError):  # a full disk may be the error that is being told
                    each.end("failed", clock, error=lack or f"{type(error).__name__}: {error}")
            if lack:
                raise InputError(lack) from None
            raise


def keep_compiled_programs():
    """Lets JAX keep compiled programs on disk, so that a second run of the same structure starts at once."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = Path(platformdirs.user_cache_dir("aejax", appauthor=False))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # no home to write to: then every run compiles
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _begin(lanes, layout):
    """Begins the lanes until somebody stops; returns lines to tell."""
    told = []
    try:
        home = lanes[0].place.home
        home.mkdir(parents=True, exist_ok=True)
        check_space(home, str(home))
        for each in lanes:
            if STOP.is_set():
                break
            if not each.ended:
                told += each.begin(layout)
    except (InputError, OSError) as error:
        raise NotBegun(str(error)) from error
    return told


def _compile(lanes, layout, experiments, data, plan):
    """The stacked State before the first step, and the programs of the pieces by their length."""
    width = max(int(each.job.experiment.latent_dim) for each in lanes)
    init = layout.compiled(functools.partial(step.init, width=width), 1, experiments, data)
    state = init(experiments, data)
    programs = {}
    for length in {length for segment in plan for _, length in segment}:
        batches = layout.place(stream.shape(lanes[0].job, length))
        program = functools.partial(_piece, length=length)
        stacks = experiments, state, batches
        programs[length] = layout.compiled(program, 3, *stacks, data, np.int32(0), np.True_, donate=(1,))
    if lanes[0].job.experiment.form.streamed:
        stream.shuffling(len(lanes[0].job.dataset.train.x))  # compiled here, not in the midst of training
    return state, programs


def _piece(experiment, state, batches, data, start, ends, length):
    return step.segment(experiment, state, data, start, length, batches, ends)


def _progress(checkpoint, state, report):
    """How far an earlier process has come, or the beginning."""
    try:
        kept = checkpoint.load(state)
    except InputError as error:
        report.say(str(error))
        kept = None
    return kept or Progress(0, state, [], 0.0)


def _prepare(lanes, layout, experiments, params, data):
    """The program that evaluates all lanes, one after another, and the one for what pictures of one lane show."""
    evaluation = layout.compiled(evaluate, 2, experiments, params, data, how="map")
    if not any(each.job.figures for each in lanes):
        return evaluation, None
    from aejax.figures.codes import GRID_SIDE  # takes half a second to import

    grid = jax.ShapeDtypeStruct((GRID_SIDE**2, code_width(params)), np.float32)
    rows = jax.ShapeDtypeStruct((min(SHOWN, data.test.shape[0]),), np.int32)
    one = [_shapes(tree, lanes=1) for tree in (experiments, params)]
    return evaluation, Layout(1, "map").compiled(examples, 2, *one, _shapes(data), grid, rows)


def _train(lanes, layout, plan, programs, experiments, progress, data, checkpoint, report):
    """The Progress at the end; every lane's rows are filled, and mirrored, as they come."""
    lengths = [sum(length for _, length in segment) for segment in plan]
    started = saved = time.perf_counter()
    done, state, points, before = progress
    points = list(points)
    rest = [piece for segment in plan[done:] for piece in segment]

    def note(metrics):
        """Takes in what a segment gave: a row for each lane."""
        nonlocal saved
        points.append(jax.device_get(metrics))
        _log(lanes, sum(lengths[: len(points)]), points[-2:])
        if time.perf_counter() - saved > SAVE_SECONDS:
            for each in lanes:
                if not each.ended:
                    each.run.write_history(each.rows)
            saved = time.perf_counter()
        phase = f"layer {layer} alone  " if (layer := int(np.max(points[-1].get("layer", 0)))) else ""
        show(sum(lengths[: len(points)]), float(np.mean(points[-1]["train/loss"])), phase)

    def now():
        return Progress(len(points), state, points, before + time.perf_counter() - started)

    for number in range(1, len(points) + 1):
        _log(lanes, sum(lengths[:number]), points[max(0, number - 2) : number])
    with (
        contextlib.closing(batches([each.job for each in lanes], layout, rest)) as given,
        report.training(sum(lengths), lanes[0].job.name, sum(lengths[:done])) as show,
        STOP.awaited(),
    ):
        pending = None
        for number in range(done, len(lengths)):
            if (STOP.is_set() or checkpoint.is_due) and number > done:
                if pending is not None:
                    note(pending)
                    pending = None
                _save(checkpoint, now(), report)
            if STOP.is_set():
                raise KeyboardInterrupt
            if not _alive(points):
                break
            parts = []
            for start, length in plan[number]:
                where = np.int32(start), np.bool_((start, length) == plan[number][-1])
                state, metrics = programs[length](experiments, state, next(given), data, *where)
                parts.append((length, metrics))
            metrics = _joined(parts)
            if pending is not None:  # fetched while the device works on the next segment
                note(pending)
            pending = metrics
        if pending is not None and _alive(points):
            note(pending)
    return now()


def _joined(parts):
    """What the pieces of a segment gave, as if it had been one: means over the steps, and what is last."""
    if len(parts) == 1:
        return parts[0][1]
    steps, last = sum(length for length, _ in parts), parts[-1][1]
    means = {name: sum(length * metrics[name] for length, metrics in parts) / steps for name in last}
    return {name: means[name] if name.startswith("train/") else value for name, value in last.items()}


def _alive(points):
    """Whether any lane still learns."""
    return not points or points[-1]["alive"].any()


def _log(lanes, at, points):
    """A row for each lane of what a segment that ended with step `at` gave, the last of `points`.

    A lane that was not alive at the point before has stopped, as it would alone.
    """
    *before, point = points
    columns = sorted(point.keys() - {"alive"}, key=lambda name: (name != "train/loss", name))
    for index, each in enumerate(lanes):
        if not each.ended and all(earlier["alive"][index] for earlier in before):
            each.log({"step": at} | {name: tidy(point[name][index]) for name in columns})


def _save(checkpoint, progress, report):
    try:
        checkpoint.save(progress)
    except OSError as error:  # the training is worth more than what is kept of it on the way
        report.say(f"{checkpoint.path}: not written ({error.strerror}); training goes on without it")


def _finish(lanes, evaluation, picture, experiments, state, data, clock):
    with clock.measure("evaluate"):
        metrics, z, details = jax.device_get(evaluation(experiments, state.chosen, data))
        chosen, alive = jax.device_get((state.chosen, state.alive))
    for index, each in enumerate(lanes):
        if STOP.is_set():
            raise KeyboardInterrupt
        if each.ended:
            continue
        each.leave(lane(metrics, index), z[index], lane(details, index), lane(chosen, index))
        if each.job.figures:
            with clock.measure("figures"):
                _draw(each, picture, lane(chosen, index), data)
        with clock.measure("track"):
            each.mirror.log_results(each.run, each.job.dataset.label_names)
        if each.mirror.lost:  # the others would wait for the same server
            for other in lanes[index + 1 :]:
                other.mirror.lost = each.mirror.lost
        each.end("completed" if alive[index] else "diverged", clock)


def _draw(each, picture, params, data):
    from aejax.figures import drawing

    codes, alone = each.run.codes, Layout(1, "map")
    grid = drawing.code_grid(codes["z"])
    grid_GxZ = np.pad(grid.z, ((0, 0), (0, code_width(params) - grid.z.shape[1])))
    test = each.job.dataset.test
    rows_N = picked(len(test.x), SHOWN, test.y)
    one = [alone.stack([each.job.experiment]), alone.stack([params]), alone.share(data), grid_GxZ, rows_N]
    shown = lane(jax.device_get(picture(*one)), 0) | {"rows": rows_N}
    findings = each.run.record["evaluation"]
    for name, content in drawing.draw(each.job, each.rows, each.run.metrics, findings, codes, grid, shown):
        each.run.write_figure(name, content)


def _shapes(tree, lanes=None, sharded=False):
    """What a program must know of the arrays of a tree, of so many `lanes` where it is a stack."""

    def shape(leaf):
        wide = leaf.shape if lanes is None else (lanes, *leaf.shape[1:])
        return jax.ShapeDtypeStruct(wide, leaf.dtype, sharding=leaf.sharding if sharded else None)

    return jax.tree.map(shape, tree)
