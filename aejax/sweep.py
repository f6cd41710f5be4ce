"""From configurations to runs: jobs of equal structure train together, and each leaves its own record."""

import contextlib
import dataclasses
import datetime
import functools
import os
import platform
import time
from typing import Any

import flax
import jax
import numpy as np
import optax
import platformdirs

import aejax
from aejax import train
from aejax.bottleneck import trim
from aejax.data import Dataset
from aejax.errors import InputError, near
from aejax.evaluate import PROTOCOL, evaluate
from aejax.examples import examples
from aejax.experiment import Experiment, run_id
from aejax.lanes import compiled, lane, stack
from aejax.runs import Run, discard, flat
from aejax.settings import Build, flag, part, plain
from aejax.terminal import Report
from aejax.track import Mirror, Track

SAVE_SECONDS = 10  # between two writings of an unfinished run's history


@dataclasses.dataclass(frozen=True)
class Around:
    """The settings of a job that are not its experiment's."""

    data: Any = part()
    track: Track = part()
    figures: bool = flag()


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """What one configuration asks for: an experiment on a data set, and what to leave."""

    settings: dict
    experiment: Experiment
    dataset: Dataset
    track: Track
    figures: bool
    run_id: str
    name: str

    @classmethod
    def read(cls, config, choices):
        """The job of a composed configuration and Hydra's choices of groups for it.

        Raises InputError, before anything is compiled.
        """
        build, settings = Build(config), plain(config)
        settings.pop("hydra", None)
        own = {kind: [field.name for field in dataclasses.fields(kind) if field.metadata] for kind in (Around, Experiment)}
        known = {name for names in own.values() for name in names}
        for name in settings:
            if name not in known:
                raise InputError(f"{name}: no such key; {near(name, known)}")
        around, experiment = (
            build.instance(kind, {name: settings[name] for name in names if name in settings})
            for kind, names in own.items()
        )
        dataset = around.data.load()
        experiment = experiment.settle(dataset.form)
        identity = run_id(settings, dataset.fingerprint, aejax.__version__)
        noise = "" if choices["noise"] == "none" else f" noise={choices['noise']}"
        name = f"{choices['model']} {choices['data']}{noise} d={experiment.latent_dim} s={experiment.seed}"
        return cls(settings, experiment, dataset, around.track, around.figures, identity, name)


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
    mirror: Mirror
    rows: list[dict] = dataclasses.field(default_factory=list)

    def end(self, status, clock, **fields):
        """Leaves the history, and in run.json how the run ended."""
        self.run.write_history(self.rows)
        with clock.measure("track"):
            self.mirror.finish(failed=status != "completed")
        self.run.note(status=status, seconds=clock.rounded, finished=_now(), **fields)


def run_group(jobs, folders, started):
    """Trains jobs of equal structure and leaves a record of each in its folder; returns their statuses.

    `started` is the time.perf_counter() from which the seconds are counted.
    """
    clock, report = Clock(started), Report()
    keep_compiled_programs()
    lanes = []
    try:
        with clock.measure("track"):
            for job, folder in zip(jobs, folders, strict=True):
                lanes.append(_begin(job, folder))
        with clock.measure("data"):
            data = jobs[0].dataset.arrays()
        experiments = stack([job.experiment for job in jobs])
        state = _train(lanes, experiments, data, clock, report)
        return _finish(lanes, experiments, state, data, clock, report)
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


def _begin(job, folder):
    run = Run(folder)
    try:
        run.note(
            id=job.run_id,
            name=job.name,
            status="running",
            error=None,
            versions={module.__name__: module.__version__ for module in (aejax, jax, flax, optax, np)}
            | {"python": platform.python_version()},
            device=jax.devices()[0].device_kind,
            data=job.dataset.described,
            protocol=PROTOCOL,
            started=_now(),
        )
        mirror = job.track.start(folder, job.run_id, job.name, job.settings)
    except (InputError, OSError):
        discard(folder)
        raise
    run.note(wandb_id=mirror.run_id)
    return Lane(job, run, mirror)


def _train(lanes, experiments, data, clock, report):
    """The final stacked State; every lane's rows are filled, and mirrored, as they come."""
    first = lanes[0].job.experiment
    width = max(int(each.job.experiment.latent_dim) for each in lanes)
    lengths = train.segments(first)
    with clock.measure("compile"):
        state = compiled(functools.partial(train.init, width=width), 1, experiments, data)(experiments, data)
        programs = {
            length: compiled(
                functools.partial(train.segment, length=length), 2, experiments, state, data, np.int32(0), donate=(1,)
            )
            for length in sorted(set(lengths))
        }
    saved = time.perf_counter()

    def note(at, metrics):
        nonlocal saved
        metrics = jax.device_get(metrics)
        for index, each in enumerate(lanes):
            row = {"step": at} | {name: _tidy(value[index]) for name, value in metrics.items() if name != "alive"}
            each.rows.append(row)
            each.mirror.log(row)
        if time.perf_counter() - saved > SAVE_SECONDS:
            for each in lanes:
                each.run.write_history(each.rows)
            saved = time.perf_counter()
        show(at, float(np.mean(metrics["train/loss"])))
        return metrics["alive"].any()

    with clock.measure("train"), report.training(sum(lengths), lanes[0].job.name) as show:
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


def _finish(lanes, experiments, state, data, clock, report):
    with clock.measure("compile"):
        evaluation = compiled(evaluate, 2, experiments, state.chosen, data)
    with clock.measure("evaluate"):
        metrics, z = jax.device_get(evaluation(experiments, state.chosen, data))
        chosen, alive = jax.device_get((state.chosen, state.alive))
    statuses = []
    for index, each in enumerate(lanes):
        job, run = each.job, each.run
        latent_dim = int(job.experiment.latent_dim)
        params = trim(lane(chosen, index), latent_dim)
        run.write_metrics({name: _tidy(value[index]) for name, value in sorted(metrics.items())})
        run.write_params(params)
        run.write_codes(z[index][:, :latent_dim], job.dataset.test.y)
        run.write_history(each.rows)
        if job.figures:
            _draw(each, lane(state.chosen, index), data, clock)
        with clock.measure("track"):
            each.mirror.log_results(run, run.metrics, job.dataset.label_names)
        status = "completed" if alive[index] else "diverged"
        each.end(status, clock, parameters=sum(array.size for array in flat(params).values()))
        if status == "diverged":
            report.say(f"diverged: the loss was no longer finite by step {each.rows[-1]['step']}; kept what was before")
        report.results(job.name, run.metrics, run.path, clock.rounded["total"])
        statuses.append(status)
    return statuses


def _draw(each, params, data, clock):
    with clock.measure("figures"):
        from aejax import figures  # matplotlib takes half a second to import

        codes = each.run.codes
        grid = figures.code_grid(codes["z"])
    with clock.measure("compile"):
        one = stack([each.job.experiment]), jax.tree.map(lambda leaf: leaf[None], params), data, grid.z
        program = compiled(examples, 2, *one)
    with clock.measure("figures"):
        shown = lane(jax.device_get(program(*one)), 0)
        for name, png in figures.draw(each.job, each.rows, each.run.metrics, codes, grid, shown):
            each.run.write_figure(name, png)


def _tidy(value):
    """The shortest Python number that is the same float32."""
    return int(value) if np.issubdtype(value.dtype, np.integer) else float(str(np.float32(value)))


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
