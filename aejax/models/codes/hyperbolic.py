"""Codes in a Poincaré ball: wrapped normal posteriors and prior (Mathieu et al. 2019).

The ball of curvature -c has the radius 1 / sqrt(c); densities are per volume of it (appendix A). Tangent vectors are in
orthonormal coordinates, those of the paper times the conformal factor, so that c -> 0 gives the Gaussian VAE.
"""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models.bottlenecks import Estimated
from aejax.models.layers import mask_of
from aejax.models.posteriors import LOG_2PI, Draw, Posterior
from aejax.models.priors import Prior
from aejax.settings.fields import Leaf, leaf_float

BORDER = 1 - 1e-5  # of the radius: beyond, float32 cannot tell points apart
REACH = 2 * math.atanh(BORDER)  # the distance of that border from the center, times sqrt(c)
TINY = 1e-12
MARGIN = 3  # standard deviations between the length that most draws have, sqrt(units), and the border
SMALL = 0.3  # below, log(sinh(x) / x) is its series


def added(x_BxZ: jax.Array, y_BxZ: jax.Array, c: Leaf) -> jax.Array:
    """The Möbius sum of points of the ball (eq. 2)."""
    xy, xx, yy = (c * jnp.sum(product, axis=1, keepdims=True) for product in (x_BxZ * y_BxZ, x_BxZ**2, y_BxZ**2))
    sum_BxZ = (1 + 2 * xy + yy) * x_BxZ + (1 - xx) * y_BxZ
    return within(sum_BxZ / jnp.maximum(1 + 2 * xy + xx * yy, TINY), c)


def within(z_BxZ: jax.Array, c: Leaf) -> jax.Array:
    """The points, those too near the border pulled back to BORDER of the radius."""
    return z_BxZ * jnp.minimum(1.0, BORDER / (jnp.sqrt(c) * _length(z_BxZ)))


def to_ball(v_BxZ: jax.Array, c: Leaf) -> jax.Array:
    """The exponential map at the center (eq. 3)."""
    length_Bx1 = jnp.sqrt(c) * _length(v_BxZ)
    return within(v_BxZ * jnp.tanh(0.5 * length_Bx1) / length_Bx1, c)


def from_ball(z_BxZ: jax.Array, c: Leaf) -> jax.Array:
    """The logarithm at the center, the inverse of `to_ball` (eq. 3)."""
    z_BxZ = within(z_BxZ, c)
    length_Bx1 = jnp.sqrt(c) * _length(z_BxZ)
    return z_BxZ * 2 * jnp.arctanh(jnp.minimum(length_Bx1, BORDER)) / length_Bx1


def _length(x_BxZ: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(x_BxZ**2, axis=1, keepdims=True) + TINY)


def log_sinhc(x: jax.Array) -> jax.Array:
    """log(sinh(x) / x), for x from 0 on."""
    large = jnp.maximum(x, SMALL)
    series = x**2 / 6 - x**4 / 180 + x**6 / 2835
    return jnp.where(x < SMALL, series, large + jnp.log(-jnp.expm1(-2 * large)) - jnp.log(2 * large))


@struct.dataclass
class WrappedNormal(Posterior):
    """A Gaussian of tangent vectors with independent units, wrapped around the ball from `mean` (eq. 4)."""

    log_variance: jax.Array
    c: Leaf

    def sample(self, key: jax.Array) -> Draw:
        examples, units = self.mean.shape
        eps_BxZ = normal_by_unit(key, units, (examples,)).T * self.mask[None, :]
        v_BxZ = jnp.exp(0.5 * self.log_variance) * eps_BxZ
        return Draw(added(self.mean, to_ball(v_BxZ, self.c), self.c), self._log_density(v_BxZ, eps_BxZ), eps_BxZ)

    def log_prob(self, z_BxZ: jax.Array) -> jax.Array:
        v_BxZ = from_ball(added(-self.mean, z_BxZ, self.c), self.c)
        return self._log_density(v_BxZ, v_BxZ * jnp.exp(-0.5 * self.log_variance))

    def _log_density(self, v_BxZ: jax.Array, eps_BxZ: jax.Array) -> jax.Array:
        flat_B = -0.5 * jnp.sum((eps_BxZ**2 + self.log_variance + LOG_2PI) * self.mask[None, :], axis=1)
        return flat_B - (jnp.sum(self.mask) - 1) * log_sinhc(jnp.sqrt(self.c) * _length(v_BxZ)[:, 0])


@struct.dataclass
class PoincareBall(Estimated):
    """Wrapped normal posteriors in a ball of curvature -c; the decoder sees codes by the logarithm at its center."""

    c: Leaf = leaf_float(above=0)

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        if not isinstance(experiment.prior, Wrapped):
            raise InputError(
                f"prior={experiment.prior.choice}: the code of {experiment.model_title} lies in a Poincaré ball; use "
                "prior=poincare"
            )

    def posterior(self, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: dict[str, Any]) -> Posterior:
        # Draws beyond the border would be pulled back to where the prior makes them likely, and the KL fall below 0.
        largest_std = REACH / (jnp.sqrt(self.c) * (jnp.sqrt(jnp.sum(mask_Z)) + MARGIN))
        excess_BxZ = jnp.maximum(heads["log_variance"] - 2 * jnp.log(largest_std), 0.0)
        log_variance_BxZ = heads["log_variance"] - jax.lax.stop_gradient(excess_BxZ)  # a gradient still narrows it
        return WrappedNormal(to_ball(heads["mean"], self.c), mask_Z, log_variance_BxZ, self.c)

    def coordinates(self, z_BxZ: jax.Array) -> jax.Array:
        return from_ball(z_BxZ, self.c)


@struct.dataclass
class Wrapped(Prior):
    """The wrapped normal at the center with variance 1, in the ball of the model (section 3.2)."""

    choice: ClassVar[str] = "poincare"

    def check(self, experiment: Any) -> None:
        if not isinstance(experiment.model.bottleneck, PoincareBall):
            raise InputError(
                f"prior=poincare: the code of {experiment.model_title} lies in no Poincaré ball; use model=p_vae or "
                "prior=normal"
            )

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        zero_BxZ = jnp.zeros_like(z_BxZ)
        return WrappedNormal(zero_BxZ, mask_of(experiment, params), zero_BxZ, self._c(experiment)).log_prob(z_BxZ)

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
        mask_Z = mask_of(experiment, params)
        v_SxZ = normal_by_unit(key, mask_Z.shape[0], (samples,)).T * mask_Z[None, :]
        return to_ball(v_SxZ, self._c(experiment))

    def _c(self, experiment: Any) -> Leaf:
        return experiment.model.bottleneck.c
