"""The checkpoint of an unfinished training: one file, complete or absent."""

import dataclasses
import hashlib
import io
import time
import typing
from pathlib import Path

import jax
import numpy as np
from flax import struct

from aejax.base import archive
from aejax.base.errors import InputError
from aejax.base.files import set_aside, write_whole
from aejax.settings.fields import static_float
from aejax.training.mesh import put

DIGEST = hashlib.sha256().digest_size  # bytes at the start of the file, of all that follows


@struct.dataclass
class Checkpoints:
    """How often a checkpoint is written: at log points, at most every `seconds`."""

    seconds: float = static_float(low=0)


class Progress(typing.NamedTuple):
    """How far a training has come.

    `done` counts finished segments, `points` holds the metrics of each {name: [L]}, `seconds` is the time spent.
    """

    done: int
    state: typing.Any
    points: list[dict]
    seconds: float


@dataclasses.dataclass
class Checkpoint:
    """The file at `path` for the runs with these `ids`, the lanes in their order."""

    path: Path
    ids: tuple[str, ...]
    seconds: float
    saved: float = dataclasses.field(default_factory=time.perf_counter)

    @property
    def is_due(self):
        """Whether the last checkpoint is at least `seconds` old."""
        return time.perf_counter() - self.saved >= self.seconds

    def save(self, progress):
        """Writes the file; an earlier one is replaced."""
        leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(progress.state))
        arrays = {f"state{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}
        for name in progress.points[0] if progress.points else ():
            arrays[f"points/{name}"] = np.stack([point[name] for point in progress.points])
        numbers = {"done": np.int64(progress.done), "seconds": np.float64(progress.seconds)}
        content = archive.npz({"ids": np.array(self.ids)} | numbers | arrays)
        self.saved = time.perf_counter()  # even if the write fails, so that not every log point tries again
        write_whole(self.path, hashlib.sha256(content).digest() + content)

    def load(self, state):
        """The saved Progress, its state placed on the devices as `state` is; None without a file.

        Raises InputError, and sets the file aside, if it is damaged or of other runs.
        """
        if not self.path.exists():
            return None
        if not self.path.is_file():
            self._refuse("is not a file")
        return self.parsed(self.path.read_bytes(), state)

    def parsed(self, content, state):
        """The Progress in the bytes of a file, as `load` gives it."""
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            self._refuse("is damaged")
        try:
            arrays = archive.from_npz(io.BytesIO(content[DIGEST:]))
            ids, done, seconds = tuple(arrays["ids"]), int(arrays["done"]), float(arrays["seconds"])
            columns = {name.removeprefix("points/"): array for name, array in arrays.items() if "points/" in name}
            points = [{name: column[at] for name, column in columns.items()} for at in range(done)]
        except (KeyError, IndexError, TypeError, ValueError):
            self._refuse("is damaged")
        leaves, structure = jax.tree_util.tree_flatten_with_path(state)
        kept = [arrays.get(f"state{jax.tree_util.keystr(path)}") for path, _ in leaves]
        fits = all(
            old is not None and (old.shape, old.dtype) == (new.shape, new.dtype)
            for old, (_, new) in zip(kept, leaves, strict=True)
        )
        if ids != self.ids or not fits:
            self._refuse("is of other runs")
        placed = [put(old, new.sharding) for old, (_, new) in zip(kept, leaves, strict=True)]
        return Progress(done, jax.tree.unflatten(structure, placed), points, seconds)

    def remove(self):
        """Removes the file, which a finished training no longer needs."""
        self.path.unlink(missing_ok=True)

    def _refuse(self, why):
        raise InputError(f"{self.path}: {why}; renamed to {set_aside(self.path).name}, training begins anew")
