"""Corruption kinds: (key, x) -> x, with the level as a leaf. Any model with a noise is a denoising autoencoder.

A pixel of several channels is corrupted as one, except by Gaussian noise. Vincent et al. 2010 compare these kinds.
"""

import jax
import jax.numpy as jnp
from flax import struct

from aejax.errors import InputError
from aejax.settings import Number, number


@struct.dataclass
class Noise:
    """The base of all kinds: `noise(key, x_BxP, channels)` gives the corrupted x_BxP."""

    def check(self, experiment):
        """Raises InputError where this kind makes no sense on the experiment's data."""


@struct.dataclass
class Clean(Noise):
    """No corruption."""

    def __call__(self, key, x_BxP, channels=1):
        return x_BxP


@struct.dataclass
class Gaussian(Noise):
    """Adds normal noise of standard deviation `level`, in units of a pixel's range; the result is not clipped."""

    level: Number = number(0, 100)

    def __call__(self, key, x_BxP, channels=1):
        return x_BxP + self.level * jax.random.normal(key, x_BxP.shape)


@struct.dataclass
class SaltPepper(Noise):
    """Replaces each pixel, with probability `level`, by black (0) or white (1), each equally likely."""

    level: Number = number(0, 1)

    def __call__(self, key, x_BxP, channels=1):
        u_BxP = _uniform_by_pixel(key, x_BxP.shape, channels)
        return jnp.where(u_BxP < self.level, (u_BxP < 0.5 * self.level).astype(x_BxP.dtype), x_BxP)


@struct.dataclass
class Flip(Noise):
    """Turns each pixel x into 1 - x with probability `level`; for binary data."""

    level: Number = number(0, 1)

    def check(self, experiment):
        if experiment.form.kind != "binary":
            raise InputError(
                f"noise=flip: needs binary data, and data={experiment.form.name} is {experiment.form.kind}; "
                "allowed there: none, gaussian, salt_pepper, masking"
            )

    def __call__(self, key, x_BxP, channels=1):
        return jnp.where(_uniform_by_pixel(key, x_BxP.shape, channels) < self.level, 1 - x_BxP, x_BxP)


@struct.dataclass
class Masking(Noise):
    """Sets each pixel to 0 with probability `level`."""

    level: Number = number(0, 1)

    def __call__(self, key, x_BxP, channels=1):
        return jnp.where(_uniform_by_pixel(key, x_BxP.shape, channels) < self.level, 0.0, x_BxP)


def _uniform_by_pixel(key, shape, channels):
    """Uniform draws in [0, 1) of shape (B, P), equal for the channels of a pixel."""
    examples, values = shape
    return jnp.repeat(jax.random.uniform(key, (examples, values // channels)), channels, axis=1)
