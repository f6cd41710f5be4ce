"""From configurations to runs: jobs of equal structure train together, and each leaves its own record."""

import contextlib
import dataclasses
import datetime
import functools
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor

import flax
import jax
import numpy as np
import optax
import platformdirs

import aejax
from aejax import train
from aejax.bottleneck import trim
from aejax.errors import InputError
from aejax.evaluate import PROTOCOL, evaluate
from aejax.examples import examples
from aejax.job import Job
from aejax.lanes import compiled, lane, stack
from aejax.runs import Run, flat
from aejax.terminal import Report
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


@dataclasses.dataclass
class Lane:
    """A job in training: its folder, its W&B run, its history so far."""

    job: Job
    run: Run
    mirror: Mirror = dataclasses.field(default_factory=lambda: Mirror(None, None))
    rows: list[dict] = dataclasses.field(default_factory=list)

    def end(self, status, clock, **fields):
        """Leaves the history, and in run.json how the run ended."""
        self.run.write_history(self.rows)
        with clock.measure("track"):
            self.mirror.finish(failed=status != "completed")
        if self.mirror.lost:
            fields["wandb_lost"] = self.mirror.lost
        self.run.note(status=status, seconds=clock.rounded, finished=_now(), **fields)


def run_group(jobs, folders, started):
    """Trains jobs of equal structure and leaves a record of each in its folder; returns the Runs.

    `started` is the time.perf_counter() from which the seconds are counted. What the training does not need is
    prepared beside it, on another thread: W&B while it compiles, evaluation and pictures while it runs. Raises
    NotBegun, with nothing trained.
    """
    clock, report = Clock(started), Report()
    keep_compiled_programs()
    lanes = [Lane(job, Run(folder)) for job, folder in zip(jobs, folders, strict=True)]
    with ThreadPoolExecutor(1) as beside:
        try:
            mirrors = beside.submit(_begin, lanes)
            experiments, data = stack([job.experiment for job in jobs]), jobs[0].dataset.arrays()
            with clock.measure("compile"):
                state, programs = _compile(lanes, experiments, data)
            with clock.measure("track"):
                mirrors.result()
            prepared = beside.submit(_prepare, lanes, experiments, state.params, data)
            with clock.measure("train"):
                state = _train(lanes, programs, experiments, state, data, report)
            with clock.measure("compile"):
                evaluation, picture = prepared.result()
            return _finish(lanes, evaluation, picture, experiments, state, data, clock, report)
        except NotBegun:  # there is nothing to end
            raise
        except KeyboardInterrupt:
            for each in lanes:
                each.end("interrupted", clock)
                report.say(f"interrupted; what there is of it is in {each.run.path}")
            raise
        except Exception as error:
            for each in lanes:
                with contextlib.suppress(OSError):  # a full disk may be the error that is being told
                    each.end("failed", clock, error=f"{type(error).__name__}: {error}")
            raise


def keep_compiled_programs():
    """Lets JAX keep compiled programs on disk, so that a second run of the same structure starts at once."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("aejax", appauthor=False))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


class NotBegun(InputError):
    """A run cannot begin: its folder takes no file, or the W&B server is out of reach."""


def _begin(lanes):
    versions = {module.__name__: module.__version__ for module in (aejax, jax, flax, optax, np)}
    for each in lanes:
        job = each.job
        try:
            each.run.note(
                id=job.run_id,
                name=job.name,
                status="running",
                error=None,
                versions=versions | {"python": platform.python_version()},
                device=jax.devices()[0].device_kind,
                data=job.dataset.described,
                protocol=PROTOCOL,
                started=_now(),
            )
            each.mirror = job.track.start(each.run.path, job.run_id, job.name, job.settings)
            each.run.note(wandb_id=each.mirror.run_id)
        except (InputError, OSError) as error:
            raise NotBegun(str(error)) from None


def _compile(lanes, experiments, data):
    """The stacked State before the first step, and the programs of the segments by their length."""
    width = max(int(each.job.experiment.latent_dim) for each in lanes)
    state = compiled(functools.partial(train.init, width=width), 1, experiments, data)(experiments, data)
    programs = {}
    for length in set(train.segments(lanes[0].job.experiment)):
        segment = functools.partial(train.segment, length=length)
        programs[length] = compiled(segment, 2, experiments, state, data, np.int32(0), donate=(1,))
    return state, programs


def _prepare(lanes, experiments, params, data):
    """The program that evaluates all lanes and the one that computes what pictures of one lane show."""
    params = _shapes(params)
    evaluation = compiled(evaluate, 2, experiments, params, data)
    if not any(each.job.figures for each in lanes):
        return evaluation, None
    from aejax.figures import GRID_SIDE  # takes half a second to import

    one = [jax.tree.map(lambda leaf: leaf[:1], experiments)]
    one += [jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), params)]
    grid = jax.ShapeDtypeStruct((GRID_SIDE**2, params["from_code"]["kernel"].shape[1]), np.float32)
    return evaluation, compiled(examples, 2, *one, data, grid)


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


def _finish(lanes, evaluation, picture, experiments, state, data, clock, report):
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
                _draw(each, picture, stack([job.experiment]), stack([lane(chosen, index)]), data)
        with clock.measure("track"):
            each.mirror.log_results(run, job.dataset.label_names)
        status = "completed" if alive[index] else "diverged"
        each.end(status, clock, parameters=sum(array.size for array in flat(params).values()))
        if status == "diverged":
            report.say(f"diverged: the loss was no longer finite by step {each.rows[-1]['step']}; kept what was before")
        if each.mirror.lost:
            report.say(f"W&B has not all of it ({each.mirror.lost}); wandb sync {run.path}/wandb uploads the rest")
        report.results(job.name, run.metrics, run.path, clock.rounded["total"])
    return [each.run for each in lanes]


def _draw(each, picture, experiment, params, data):
    from aejax import figures

    codes = each.run.codes
    grid = figures.code_grid(codes["z"])
    width = params["from_code"]["kernel"].shape[1]
    grid_GxZ = np.pad(grid.z, ((0, 0), (0, width - grid.z.shape[1])))
    shown = lane(jax.device_get(picture(experiment, params, data, grid_GxZ)), 0)
    for name, png in figures.draw(each.job, each.rows, each.run.metrics, codes, grid, shown):
        each.run.write_figure(name, png)


def _shapes(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def _tidy(value):
    """The shortest Python number that is the same float32."""
    return int(value) if np.issubdtype(value.dtype, np.integer) else float(str(np.float32(value)))


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
