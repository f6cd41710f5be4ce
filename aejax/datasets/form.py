"""What a program knows of its data: their Form, which is structure, and the Arrays on the device."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct


@dataclasses.dataclass(frozen=True)
class Form:
    """What a program must know about its data: structure, compared by value.

    `shape` is that of one example: (height, width, channels) for images, (features,) for vectors; `examples` counts
    the training examples, `valid` the validation examples and `classes` the labels (0 where there are none).
    `fingerprint` identifies the data. Where `dynamic`, binary pixels are stored as their probability in 255ths, and
    `drawn` makes examples of them. `normal` are the labels of training and validation, where the test has others. Where
    `streamed`, the device holds a part of the training examples only. `factors` counts the values of each factor; 1
    where it does not vary.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    examples: int
    valid: int
    classes: int
    fingerprint: str
    dynamic: bool = False
    normal: tuple[int, ...] = ()
    streamed: bool = False
    factors: tuple[int, ...] = ()

    @property
    def pixels(self) -> int:
        """How many values an example has."""
        return int(np.prod(self.shape))

    @property
    def channels(self) -> int:
        """How many values a pixel has."""
        return self.shape[2] if len(self.shape) == 3 else 1

    def scaled(self, x: Any) -> Any:
        """Stored values as float32, in [0, 1] unless the data are real numbers; any shape."""
        scale = 1 / 255 if self.kind in ("gray", "rgb") or self.dynamic else 1.0
        return x.astype(jnp.float32) * scale

    def drawn(self, key: jax.Array, x: Any) -> Any:
        """Stored training examples as `scaled`, or, if `dynamic`, a Bernoulli draw of each pixel; any shape."""
        scaled = self.scaled(x)
        return jax.random.bernoulli(key, scaled).astype(jnp.float32) if self.dynamic else scaled


@struct.dataclass
class Arrays:
    """A Dataset on the device: x [N, P] as stored, y [N] int32 or None, of the splits; valid is None without one.

    `mean` [P] is that of all training examples, as stored, where those here are a part of them and it was asked for.
    `factors_train` and `factors_test` [N, F] int32 are there where they were asked for.
    """

    train: jax.Array
    valid: jax.Array | None
    test: jax.Array
    y_train: jax.Array | None
    y_test: jax.Array | None
    y_valid: jax.Array | None = None
    mean: jax.Array | None = None
    factors_train: jax.Array | None = None
    factors_test: jax.Array | None = None
