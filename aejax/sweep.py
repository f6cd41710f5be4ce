"""From configurations to runs: jobs of equal structure train together, and each leaves its own record."""

import contextlib
import dataclasses
import datetime
import functools
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flax
import jax
import numpy as np
import optax
import platformdirs

import aejax
from aejax import model, train
from aejax.bottleneck import trim
from aejax.errors import STOP, InputError
from aejax.evaluate import PROTOCOL, evaluate
from aejax.examples import examples
from aejax.job import Job
from aejax.lanes import Layout, cut_evenly, lane
from aejax.runs import Run, flat
from aejax.track import Mirror

SAVE_SECONDS = 10  # between two writings of an unfinished run's history


class Clock:
    """Where the seconds of a run go."""

    def __init__(self, started):
        self.started, self.seconds = started, {"start": time.perf_counter() - started}

    @contextlib.contextmanager
    def measure(self, name):
        """Adds the time inside to `name`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    @property
    def rounded(self):
        """Seconds by name, and their total since the start."""
        total = {"total": time.perf_counter() - self.started}
        return {name: round(value, 3) for name, value in (self.seconds | total).items()}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a job leaves its run: its folder, the folder that holds `wandb/`, and the name of its sweep."""

    folder: Path
    wandb: Path
    sweep: str | None = None


@dataclasses.dataclass
class Lane:
    """A job in training: its place, its folder's Run, its W&B run, its history so far."""

    job: Job
    place: Place
    run: Run
    mirror: Mirror = dataclasses.field(default_factory=lambda: Mirror(None, None))
    rows: list[dict] = dataclasses.field(default_factory=list)
    ended: bool = False

    def end(self, status, clock, **fields):
        """Leaves the history, and in run.json how the run ended; a run ends once."""
        if self.ended:
            return
        try:
            self.run.write_history(self.rows)
        except OSError as error:  # the status is smaller, and may still fit on the disk
            status, fields = "failed", fields | {"error": f"{type(error).__name__}: {error}"}
        with clock.measure("track"):
            self.mirror.finish(failed=status != "completed")
        if self.mirror.lost:
            fields["wandb_lost"] = self.mirror.lost
        self.run.note(status=status, seconds=clock.rounded, finished=_now(), **fields)
        self.ended = True


def groups(jobs):
    """The indices of the jobs that share a program, each group in the order of the jobs, cut at `lanes.max`."""
    by_structure = {}
    for index, job in enumerate(jobs):
        key = jax.tree.structure(job.experiment), job.lanes
        by_structure.setdefault(key, []).append(index)
    cut = [cut_evenly(indices, lanes.max or len(indices)) for (_, lanes), indices in by_structure.items()]
    return [part for parts in cut for part in parts]


def layout_of(jobs):
    """How the jobs of a group are laid out in lanes."""
    first = jobs[0].experiment
    width = max(int(job.experiment.latent_dim) for job in jobs)
    shapes = jax.eval_shape(functools.partial(model.init, width=width), first)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return Layout(len(jobs), jobs[0].lanes.settle(len(jobs), parameters))


def run_group(jobs, places, layout, clock, report):
    """Trains jobs of equal structure and leaves a record of each in its place; returns the Runs.

    What the training does not need is prepared beside it, on another thread: W&B while it compiles, evaluation and
    pictures while it runs. Raises NotBegun, with nothing trained.
    """
    keep_compiled_programs()
    lanes = [Lane(job, place, Run(place.folder)) for job, place in zip(jobs, places, strict=True)]
    with ThreadPoolExecutor(1) as beside:
        try:
            mirrors = beside.submit(_begin, lanes, layout)
            experiments = layout.stack([job.experiment for job in jobs])
            data = layout.share(jobs[0].dataset.arrays())
            with clock.measure("compile"):
                state, programs = _compile(lanes, layout, experiments, data)
            with clock.measure("track"):
                mirrors.result()
            spread = _shapes(state.params, sharded=True)  # the arrays themselves are given up to the training
            prepared = beside.submit(_prepare, lanes, layout, experiments, spread, data)
            with clock.measure("train"):
                state = _train(lanes, programs, experiments, state, data, report)
            with clock.measure("compile"):
                evaluation, picture = prepared.result()
            _finish(lanes, evaluation, picture, experiments, state, data, clock)
            return [each.run for each in lanes]
        except NotBegun:  # there is nothing to end
            raise
        except KeyboardInterrupt:
            for each in lanes:
                each.end("interrupted", clock)
            raise
        except Exception as error:
            for each in lanes:
                with contextlib.suppress(OSError):  # a full disk may be the error that is being told
                    each.end("failed", clock, error=f"{type(error).__name__}: {error}")
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


class NotBegun(InputError):
    """A run cannot begin: its folder takes no file, or the W&B server is out of reach."""


def _begin(lanes, layout):
    versions = {module.__name__: module.__version__ for module in (aejax, jax, flax, optax, np)}
    for each in lanes:
        job = each.job
        try:
            each.mirror = job.track.start(each.place.wandb, job.run_id, job.name, job.settings, each.place.sweep)
            each.run.clear()
            each.run.note(
                id=job.run_id,
                name=job.name,
                status="running",
                error=None,
                versions=versions | {"python": platform.python_version()},
                device=jax.devices()[0].device_kind,
                lanes=dataclasses.asdict(layout) | {"devices": layout.devices},
                data=job.dataset.described,
                protocol=PROTOCOL,
                wandb_id=each.mirror.run_id,
                started=_now(),
            )
        except (InputError, OSError) as error:
            raise NotBegun(str(error)) from None


def _compile(lanes, layout, experiments, data):
    """The stacked State before the first step, and the programs of the segments by their length."""
    width = max(int(each.job.experiment.latent_dim) for each in lanes)
    init = layout.compiled(functools.partial(train.init, width=width), 1, experiments, data)
    state = init(experiments, data)
    programs = {}
    for length in set(train.segments(lanes[0].job.experiment)):
        segment = functools.partial(train.segment, length=length)
        programs[length] = layout.compiled(segment, 2, experiments, state, data, np.int32(0), donate=(1,))
    return state, programs


def _prepare(lanes, layout, experiments, params, data):
    """The program that evaluates all lanes, one after another, and the one for what pictures of one lane show."""
    evaluation = layout.compiled(evaluate, 2, experiments, params, data, how="map")
    if not any(each.job.figures for each in lanes):
        return evaluation, None
    from aejax.figures import GRID_SIDE  # takes half a second to import

    grid = jax.ShapeDtypeStruct((GRID_SIDE**2, params["from_code"]["kernel"].shape[1]), np.float32)
    one = [_shapes(tree, lanes=1) for tree in (experiments, params)]
    return evaluation, Layout(1, "map").compiled(examples, 2, *one, _shapes(data), grid)


def _train(lanes, programs, experiments, state, data, report):
    """The final stacked State; every lane's rows are filled, and mirrored, as they come."""
    lengths = train.segments(lanes[0].job.experiment)
    saved = time.perf_counter()

    def note(at, metrics):
        nonlocal saved
        metrics = jax.device_get(metrics)
        columns = sorted(metrics.keys() - {"alive"}, key=lambda name: (name != "train/loss", name))
        for index, each in enumerate(lanes):
            row = {"step": at} | {name: _tidy(metrics[name][index]) for name in columns}
            each.rows.append(row)
            each.mirror.log(row)
        if time.perf_counter() - saved > SAVE_SECONDS:
            for each in lanes:
                each.run.write_history(each.rows)
            saved = time.perf_counter()
        show(at, float(np.mean(metrics["train/loss"])))
        return metrics["alive"].any()

    with report.training(sum(lengths), lanes[0].job.name) as show:
        at, pending, alive = 0, None, True
        for length in lengths:
            if STOP.is_set():
                raise KeyboardInterrupt
            state, metrics = programs[length](experiments, state, data, np.int32(at))
            at += length
            if pending is not None:  # fetched while the device works on the next segment
                alive = note(*pending)
            pending = at, metrics
            if not alive:
                break
        if alive:
            note(*pending)
    return state


def _finish(lanes, evaluation, picture, experiments, state, data, clock):
    with clock.measure("evaluate"):
        metrics, z = jax.device_get(evaluation(experiments, state.chosen, data))
        chosen, alive = jax.device_get((state.chosen, state.alive))
    for index, each in enumerate(lanes):
        job, run = each.job, each.run
        latent_dim = int(job.experiment.latent_dim)
        params = trim(lane(chosen, index), latent_dim)
        run.write_metrics({name: _tidy(value[index]) for name, value in sorted(metrics.items())})
        run.write_params(params)
        run.write_codes(z[index][:, :latent_dim], job.dataset.test.y)
        if job.figures:
            with clock.measure("figures"):
                _draw(each, picture, lane(chosen, index), data)
        with clock.measure("track"):
            each.mirror.log_results(run, job.dataset.label_names)
        status = "completed" if alive[index] else "diverged"
        if each.mirror.lost:  # the others would wait for the same server
            for other in lanes[index + 1 :]:
                other.mirror.lost = each.mirror.lost
        each.end(status, clock, parameters=sum(array.size for array in flat(params).values()))


def _draw(each, picture, params, data):
    from aejax import figures

    codes, alone = each.run.codes, Layout(1, "map")
    grid = figures.code_grid(codes["z"])
    width = params["from_code"]["kernel"].shape[0]
    grid_GxZ = np.pad(grid.z, ((0, 0), (0, width - grid.z.shape[1])))
    one = [alone.stack([each.job.experiment]), alone.stack([params]), alone.share(data), grid_GxZ]
    shown = lane(jax.device_get(picture(*one)), 0)
    for name, png in figures.draw(each.job, each.rows, each.run.metrics, codes, grid, shown):
        each.run.write_figure(name, png)


def _shapes(tree, lanes=None, sharded=False):
    """What a program must know of the arrays of a tree, of so many `lanes` where it is a stack."""

    def shape(leaf):
        wide = leaf.shape if lanes is None else (lanes, *leaf.shape[1:])
        return jax.ShapeDtypeStruct(wide, leaf.dtype, sharding=leaf.sharding if sharded else None)

    return jax.tree.map(shape, tree)


def _tidy(value):
    """The shortest Python number that is the same float32."""
    return int(value) if np.issubdtype(value.dtype, np.integer) else float(str(np.float32(value)))


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
