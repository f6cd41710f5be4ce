"""The record of a lane, from its beginning to its end: its run folder and its W&B run."""

import contextlib
import dataclasses
import datetime
import functools
import math
import platform
import time

import flax
import jax
import numpy as np
import optax

from aejax.base import processes
from aejax.base.errors import InputError
from aejax.base.version import VERSION
from aejax.evaluation import annotations
from aejax.models import autoencoder
from aejax.runs.destination import Place
from aejax.runs.folder import FORMAT, Run, flat
from aejax.runs.job import Job
from aejax.runs.mirror import Mirror

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

    def add(self, name, seconds):
        """Adds the seconds that an earlier process took for `name`."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.started -= seconds

    @property
    def rounded(self):
        """Seconds by name, and their total since the start."""
        total = {"total": time.perf_counter() - self.started}
        return {name: round(value, 3) for name, value in (self.seconds | total).items()}


@dataclasses.dataclass
class Lane:
    """A job in training: its place, its folder's Run, its W&B run, its history so far.

    A lane whose run was finished before has `ended` from the beginning and leaves nothing.
    """

    job: Job
    place: Place
    run: Run
    mirror: Mirror = dataclasses.field(default_factory=lambda: Mirror(None, None))
    rows: list[dict] = dataclasses.field(default_factory=list)
    mirrored: int = 0  # rows that the W&B run has
    ended: bool = False

    @classmethod
    def of(cls, job, place):
        """The lane of a job, with the run that it has finished before, if it has."""
        run = Run.finished(place.folder, job.run_id)
        return cls(job, place, run or Run(place.folder), ended=run is not None)

    @property
    def has_begun(self):
        """Whether `begin` has made the folder ready, and the W&B run."""
        return bool(self.run.record)

    def begin(self, layout):
        """Writes the first run.json and begins the W&B run; returns lines to print.

        The lane may be in training meanwhile, in another thread. Raises InputError or OSError where that fails.
        """
        job = self.job
        config = job.settings | {"choices": job.choices}  # by which W&B can group
        self.mirror = job.track.start(self.place.home, job.run_id, job.name, config, self.place.sweep)
        lines = self.run.clear()
        self.run.note(
            format=FORMAT,
            id=job.run_id,
            name=job.name,
            status="running",
            error=None,
            versions=versions(),
            device=jax.devices()[0].device_kind,
            precision=job.experiment.precision,
            lanes=dataclasses.asdict(layout) | {"processes": processes.count()},
            data=job.dataset.described,
            likelihood=type(job.experiment.likelihood).__name__.lower(),  # what auto has settled on
            protocol=job.experiment.evaluate.described | {"binarize": job.settings["data"]["binarize"]},
            init=None if job.initial is None else job.initial.described,
            wandb_id=self.mirror.run_id,
            started=_now(),
        )
        return lines

    def log(self, row):
        """Adds a row to the history; it is mirrored once the lane has begun."""
        self.rows.append(row)
        if self.has_begun:
            self._mirror_rows()

    def _mirror_rows(self):
        for row in self.rows[self.mirrored :]:
            self.mirror.log(row)
        self.mirrored = len(self.rows)

    def mirror_results(self):
        """Mirrors the finished run, after the last of its history."""
        self._mirror_rows()
        self.mirror.log_results(self.run, self.job.dataset.label_names)

    def leave(self, metrics, z_NxZ, details, params):
        """Writes the metrics {name: scalar}, codes, details and parameters of the evaluation, without masked units."""
        latent_dim = int(self.job.experiment.latent_dim)
        metrics, self.run.record["evaluation"] = recorded(self.job, metrics, z_NxZ, details)
        self.run.write_metrics(metrics)
        self.run.write_params(autoencoder.trim(self.job.experiment, params, latent_dim))
        test = self.job.dataset.test
        self.run.write_codes(z_NxZ[:, :latent_dim], test.y, test.index, test.names)
        self.run.record["parameters"] = sum(array.size for array in flat(autoencoder.trained(self.run.params)).values())

    def end(self, status, clock, **fields):
        """Writes the history, and in run.json how the run ended; only once, and only where the run has begun."""
        if self.ended or not self.has_begun:
            return
        try:
            self.run.write_history(self.rows)
        except OSError as error:  # the status is smaller, and may still fit on the disk
            status, fields = "failed", fields | {"error": f"{type(error).__name__}: {error}"}
        with clock.measure("track"):
            self._mirror_rows()
            self.mirror.finish(failed=status != "completed")
        if self.mirror.lost:
            fields["wandb_lost"] = self.mirror.lost
        self.run.note(status=status, seconds=clock.rounded, finished=_now(), **fields)
        self.ended = True


def recorded(job, metrics, z_NxZ, details):
    """The metrics {name: number} and the fields of an evaluation as metrics.json and run.json hold them.

    A metric that does not apply is nan.
    """
    latent_dim, dataset = int(job.experiment.latent_dim), job.dataset
    details = {name: array[:latent_dim] if name.startswith("unit_") else array for name, array in details.items()}
    reasons = annotations.absent(job.experiment, dataset, metrics, z_NxZ)
    numbers = {name: tidy(value) for name, value in metrics.items()} | dict.fromkeys(reasons, math.nan)
    remarks = annotations.remarks(job.experiment, numbers)
    fields = {"absent": reasons} | ({"remarks": remarks} if remarks else {})
    if job.experiment.model.is_conditional:
        fields["given"] = "label"  # the model has seen the true label of each example
    return dict(sorted(numbers.items())), fields | annotations.recorded_details(details, dataset)


@functools.cache
def versions():
    """The versions that decide a result, by the name of the package."""
    libraries = {module.__name__: module.__version__ for module in (jax, flax, optax, np)}
    return {"aejax": VERSION} | libraries | {"python": platform.python_version()}


def tidy(value):
    """The shortest Python number that is the same float32."""
    return int(value) if np.issubdtype(value.dtype, np.integer) else float(str(np.float32(value)))


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class NotBegun(InputError):
    """A run cannot begin: its folder takes no file, or the W&B server is out of reach."""
