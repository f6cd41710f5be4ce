"""A Dataset: arrays, and what the record must say about them."""

import dataclasses
import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from aejax.errors import InputError

KINDS = ("binary", "grey", "rgb", "real")


@dataclasses.dataclass(frozen=True)
class Form:
    """What a program must know about its data: structure, compared by value.

    `shape` is that of one example: (height, width, channels) for images, (features,) for vectors; `examples` counts
    the training examples and `classes` the labels (0 where there are none). `fingerprint` identifies the data.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    examples: int
    classes: int
    fingerprint: str

    @property
    def pixels(self):
        """How many values an example has."""
        return int(np.prod(self.shape))

    @property
    def channels(self):
        """How many values a pixel has."""
        return self.shape[2] if len(self.shape) == 3 else 1

    def scaled(self, x):
        """Stored values as float32, in [0, 1] unless the data are real numbers; any shape."""
        scale = 1 / 255 if self.kind in ("grey", "rgb") else 1.0
        return x.astype(jnp.float32) * scale


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples `x` [N, *shape] (uint8, or float32 for real data) and labels `y` [N] int32 or None."""

    x: np.ndarray
    y: np.ndarray | None = None


@struct.dataclass
class Arrays:
    """A Dataset on the device: x [N, P] as stored, y [N] int32 or None, of the three splits."""

    train: jax.Array
    valid: jax.Array
    test: jax.Array
    y_train: jax.Array | None
    y_test: jax.Array | None


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits of one kind and shape.

    `kind` is binary (stored as 0 and 1), grey or rgb (0 to 255), or real (float32). `label_names` [classes] go with
    the labels. `note` is what a reader of the numbers must know, `licence` where the data come from.
    """

    name: str
    kind: str
    train: Split
    valid: Split
    test: Split
    label_names: tuple[str, ...] = ()
    note: str = ""
    licence: str = ""

    def __post_init__(self):
        def refuse(what, allowed):
            raise InputError(f"data {self.name}: {what}; must be {allowed}")

        if self.kind not in KINDS:
            refuse(f"kind {self.kind!r}", f"one of {', '.join(KINDS)}")
        dtype = np.float32 if self.kind == "real" else np.uint8
        for name in ("train", "valid", "test"):
            x, y = getattr(self, name).x, getattr(self, name).y
            if not isinstance(x, np.ndarray) or x.dtype != dtype:
                refuse(f"{name} of {getattr(x, 'dtype', type(x).__name__)}", f"a numpy array of {np.dtype(dtype)}")
            if x.ndim not in (2, 4) or 0 in x.shape or x.shape[1:] != self.train.x.shape[1:]:
                refuse(
                    f"{name} of shape {x.shape}",
                    "[N, features] or [N, height, width, channels] in all splits",
                )
            if self.kind == "real" and not np.isfinite(x).all():
                refuse(f"{name} with nan or inf", "finite")
            if self.kind == "binary" and x.max() > 1:
                refuse(f"{name} with values up to {x.max()}", "0 and 1 where the kind is binary")
            if (y is None) != (not self.label_names):
                refuse("labels without label_names, or the other way round", "both or neither, in every split")
            if y is not None and (
                not isinstance(y, np.ndarray) or y.dtype != np.int32 or y.shape != x.shape[:1] or y.min() < 0
                or y.max() >= len(self.label_names)
            ):  # fmt: skip
                refuse(f"labels of {name}", f"int32 [{len(x)}] from 0 to {len(self.label_names) - 1}")

    @functools.cached_property
    def form(self):
        """The Form of this data set."""
        shape, examples = self.train.x.shape[1:], len(self.train.x)
        return Form(self.name, self.kind, shape, examples, len(self.label_names), self.fingerprint)

    @functools.cached_property
    def fingerprint(self):
        """16 hex digits that change when any example, label or split does."""
        digest = hashlib.sha256(repr((self.kind, self.label_names)).encode())
        for split in (self.train, self.valid, self.test):
            for array in (split.x, split.y):
                if array is not None:
                    digest.update(repr((array.shape, array.dtype.str)).encode())
                    digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:16]

    @property
    def described(self):
        """What the record says of the data."""
        form = self.form
        sizes = {name: len(getattr(self, name).x) for name in ("train", "valid", "test")}
        told = {"name": self.name, "kind": self.kind, "shape": list(form.shape), "examples": sizes}
        return told | {"fingerprint": form.fingerprint, "note": self.note, "licence": self.licence}

    def arrays(self):
        """The data on the device, as Arrays; a split that is another split's array is there once."""
        placed = {}

        def place(array, flatten=False):
            if array is None:
                return None
            if id(array) not in placed:
                placed[id(array)] = jax.device_put(array.reshape(len(array), -1) if flatten else array)
            return placed[id(array)]

        x = [place(split.x, flatten=True) for split in (self.train, self.valid, self.test)]
        return Arrays(*x, place(self.train.y), place(self.test.y))
