"""Corruption kinds: (key, x, shape) -> x, with the level as a leaf. Any model with a noise is a denoising autoencoder.

A pixel of several channels is corrupted as one, except where a kind says "each value". Vincent et al. 2010 compare
Gaussian noise, masking and salt and pepper.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.models.patches import places, side_of
from aejax.settings.fields import Leaf, leaf_float, parts, static_int

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
FEWEST = 1e-3  # level of shot noise below which a million photons a pixel and more count as infinitely many


@struct.dataclass
class Noise:
    """The base of all kinds: `noise(key, x_BxP, shape)` gives the corrupted x_BxP of examples of `shape`."""

    def check(self, experiment: Any) -> None:
        """Raises InputError if this kind does not fit the experiment's data."""

    def log_likelihood(self, noisy_MxP: jax.Array, clean_GxP: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
        """log p(noisy | clean) up to a constant of the noisy example, [M, G]; None if it has no simple form."""
        return None


@struct.dataclass
class Clean(Noise):
    """No corruption."""

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return x_BxP


@struct.dataclass
class Gaussian(Noise):
    """Adds to each value normal noise of standard deviation `level`, in units of a pixel's range; not clipped."""

    level: Leaf = leaf_float(0, 100)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return x_BxP + self.level * jax.random.normal(key, x_BxP.shape)

    def log_likelihood(self, noisy_MxP: jax.Array, clean_GxP: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
        products_MxG = jnp.matmul(noisy_MxP, clean_GxP.T, precision="highest")
        return (products_MxG - 0.5 * jnp.sum(clean_GxP**2, axis=1)[None, :]) / self.level**2


@struct.dataclass
class Speckle(Noise):
    """Multiplies each value by 1 + `level` times a standard normal draw; not clipped."""

    level: Leaf = leaf_float(0, 100)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return x_BxP * (1 + self.level * jax.random.normal(key, x_BxP.shape))


@struct.dataclass
class Shot(Noise):
    """Counts photons: each value x becomes Poisson(x / level^2) * level^2, so that `level` is white's deviation."""

    level: Leaf = leaf_float(0, 1)

    def check(self, experiment: Any) -> None:
        if experiment.form.kind == "real":
            raise _refused("shot", "pixels in [0, 1]", experiment)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        photon = jnp.maximum(self.level, FEWEST) ** 2
        counted_BxP = jax.random.poisson(key, x_BxP / photon) * photon
        return jnp.where(self.level < FEWEST, x_BxP, counted_BxP)


@struct.dataclass
class SaltPepper(Noise):
    """Replaces each pixel, with probability `level`, by black (0) or white (1), each equally likely."""

    level: Leaf = leaf_float(0, 1)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        u_BxP = _uniform_by_pixel(key, x_BxP.shape[0], shape)
        return jnp.where(u_BxP < self.level, (u_BxP < 0.5 * self.level).astype(x_BxP.dtype), x_BxP)

    def log_likelihood(self, noisy_MxP: jax.Array, clean_GxP: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
        kept, black, white = 1 - self.level, 0.5 * self.level, 0.5 * self.level
        return _replacing(noisy_MxP, clean_GxP, shape, kept, {0: black, 1: white})


@struct.dataclass
class Flip(Noise):
    """Turns each pixel x into 1 - x with probability `level`; for binary data."""

    level: Leaf = leaf_float(0, 1)

    def check(self, experiment: Any) -> None:
        if experiment.form.kind != "binary":
            raise _refused("flip", "binary data", experiment)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jnp.where(_uniform_by_pixel(key, x_BxP.shape[0], shape) < self.level, 1 - x_BxP, x_BxP)

    def log_likelihood(self, noisy_MxP: jax.Array, clean_GxP: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
        # A flip is a pixel that is replaced by black or white, at twice the level.
        return _replacing(noisy_MxP, clean_GxP, shape, 1 - 2 * self.level, {0: self.level, 1: self.level})


@struct.dataclass
class Masking(Noise):
    """Sets each pixel to 0 with probability `level`."""

    level: Leaf = leaf_float(0, 1)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jnp.where(_uniform_by_pixel(key, x_BxP.shape[0], shape) < self.level, 0.0, x_BxP)

    def log_likelihood(self, noisy_MxP: jax.Array, clean_GxP: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
        return _replacing(noisy_MxP, clean_GxP, shape, 1 - self.level, {0: self.level})


@struct.dataclass
class Occlusion(Noise):
    """Sets a box to 0 that covers the share `level` of the image, has its proportions, and lies anywhere inside it.

    Its height is rounded to pixels first, then its width so that the area is as close as possible.

    The task is inpainting (Pathak et al. 2016).
    """

    level: Leaf = leaf_float(0, 1)

    def check(self, experiment: Any) -> None:
        _needs_images("occlusion", experiment)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        height, width, channels = shape
        key_top, key_left = jax.random.split(key)

        def inside(key_side: jax.Array, side: int, length: jax.Array) -> jax.Array:  # [B, side], True where the box is
            start_B = jnp.floor(jax.random.uniform(key_side, (x_BxP.shape[0], 1)) * (side - length + 1))
            at = jnp.arange(side)[None, :]
            return (start_B <= at) & (at < start_B + length)

        rows = jnp.round(jnp.sqrt(self.level) * height)
        columns = jnp.round(jnp.minimum(self.level * height / jnp.maximum(rows, 1), 1) * width)
        box_BxHxW = inside(key_top, height, rows)[:, :, None] & inside(key_left, width, columns)[:, None, :]
        return jnp.where(jnp.repeat(box_BxHxW.reshape(-1, height * width), channels, axis=1), 0.0, x_BxP)


@struct.dataclass
class Patches(Noise):
    """Replaces the share `level` of square patches by the value `fill`, as many in each image (He et al. 2022).

    Patches at the bottom and right may be cut off. A `fill` that no pixel has tells a net which patches are hidden, as
    the mask token of a transformer does.
    """

    level: Leaf = leaf_float(0, 1)
    patch: int | None = static_int(1, 256, optional=True)
    fill: Leaf = leaf_float()

    def check(self, experiment: Any) -> None:
        _needs_images("patches", experiment)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        height, width, channels = shape
        rows, columns = self.places(shape)
        side = side_of(self.patch, shape)
        u_BxT = jax.random.uniform(key, (x_BxP.shape[0], rows * columns))
        rank_BxT = jnp.argsort(jnp.argsort(u_BxT, axis=1), axis=1)
        hidden_BxT = rank_BxT < jnp.round(self.level * rows * columns)
        place_HxW = (jnp.arange(height) // side)[:, None] * columns + (jnp.arange(width) // side)[None, :]
        hidden_BxP = jnp.repeat(hidden_BxT[:, place_HxW.ravel()], channels, axis=1)
        return jnp.where(hidden_BxP, self.fill, x_BxP)

    def places(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The rows and columns of patches in an image of `shape`."""
        return places(side_of(self.patch, shape), shape)

    def hidden(self, x_BxP: jax.Array) -> jax.Array:
        """True where pixels of corrupted examples are hidden, [B, P]."""
        return x_BxP == self.fill


@struct.dataclass
class Downsample(Noise):
    """Replaces blocks of `level` x `level` pixels by their mean; a level between whole numbers varies the blocks' size.

    The task is super-resolution.
    """

    level: Leaf = leaf_float(1, 4096)

    def check(self, experiment: Any) -> None:
        _needs_images("downsample", experiment)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        def averaging(side: int) -> jax.Array:  # [side, side], equal weights for the pixels of a block
            block = jnp.floor(jnp.arange(side) / self.level)
            same = (block[:, None] == block[None, :]).astype(x_BxP.dtype)
            return same / jnp.sum(same, axis=1, keepdims=True)

        x_BxHxWxC = x_BxP.reshape(-1, *shape)
        rows, columns = averaging(shape[0]), averaging(shape[1])
        mean = jnp.einsum("ih,bhwc,jw->bijc", rows, x_BxHxWxC, columns, precision="highest")
        return mean.reshape(x_BxP.shape)


@struct.dataclass
class Grayscale(Noise):
    """Takes the share `level` of the color away: 0 leaves the image, 1 leaves its luma in all three channels.

    The task is colorization (Zhang et al. 2016).
    """

    level: Leaf = leaf_float(0, 1)

    def check(self, experiment: Any) -> None:
        if experiment.form.channels != 3:
            raise _refused("grayscale", "images of three channels", experiment)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        x_BxNxC = x_BxP.reshape(x_BxP.shape[0], -1, 3)
        luma_BxN = x_BxNxC @ jnp.array(LUMA, x_BxP.dtype)
        return (x_BxNxC + self.level * (luma_BxN[:, :, None] - x_BxNxC)).reshape(x_BxP.shape)


@struct.dataclass
class Chain(Noise):
    """Several kinds one after another, in the alphabetical order of their names, each with draws of its own."""

    parts: dict[str, Any] = parts("check", "__call__")

    def check(self, experiment: Any) -> None:
        if not self.parts:
            raise InputError("noise.parts={}: must name at least one noise; for none, use noise=none")
        for noise in self.parts.values():
            noise.check(experiment)

    def __call__(self, key: jax.Array, x_BxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        for place, name in enumerate(sorted(self.parts)):  # jax sorts the names of a dict anyway
            x_BxP = self.parts[name](jax.random.fold_in(key, place), x_BxP, shape)
        return x_BxP


def _uniform_by_pixel(key: jax.Array, examples: int, shape: tuple[int, ...]) -> jax.Array:
    """Uniform draws in [0, 1), [B, P], equal for the channels of a pixel."""
    channels = shape[2] if len(shape) == 3 else 1
    return jnp.repeat(jax.random.uniform(key, (examples, math.prod(shape) // channels)), channels, axis=1)


def _replacing(
    noisy_MxP: jax.Array, clean_GxP: jax.Array, shape: tuple[int, ...], kept: Leaf, replaced: dict[int, Leaf]
) -> jax.Array:
    """log p(noisy | clean), [M, G]: each pixel stays with probability `kept` or is one of {value: probability}."""
    channels = shape[2] if len(shape) == 3 else 1
    clean_GxNxC = clean_GxP.reshape(clean_GxP.shape[0], -1, channels)

    def of_one(noisy_P: jax.Array) -> jax.Array:
        noisy_NxC = noisy_P.reshape(-1, channels)
        probability_GxN = kept * jnp.all(noisy_NxC[None] == clean_GxNxC, axis=2)  # a pixel's channels go together
        for value, probability in replaced.items():
            probability_GxN += probability * jnp.all(noisy_NxC == value, axis=1)[None, :]
        return jnp.sum(jnp.log(probability_GxN), axis=1)

    return jax.lax.map(of_one, noisy_MxP, batch_size=64)


def _needs_images(name: str, experiment: Any) -> None:
    if len(experiment.form.shape) != 3:
        raise _refused(name, "images", experiment)


def _refused(name: str, needed: str, experiment: Any) -> InputError:
    form = experiment.form
    size = " x ".join(map(str, form.shape))
    problem = f"noise={name}: needs {needed}, and data={form.name} is {form.kind}, {size}"
    return InputError(f"{problem}; choose another noise")
