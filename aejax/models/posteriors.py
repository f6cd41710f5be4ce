"""Posteriors: the distribution of an example's code, by closed forms where there are any."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.keys import normal_by_unit

LOG_2PI = math.log(2 * math.pi)


@struct.dataclass
class Draw:
    """A sample z_BxZ of a posterior, and log_q_B, the log density of that posterior at z, in nats.

    `eps` is the standard normal noise that made it, None where there is none.
    """

    z: jax.Array
    log_q: jax.Array
    eps: jax.Array | None = None


@struct.dataclass
class Posterior:
    """The base: a distribution of codes for each example; `mean` [B, Z] is what evaluation uses."""

    mean: jax.Array
    mask: jax.Array

    def sample(self, key: jax.Array) -> Draw:
        """One Draw for each example."""
        raise NotImplementedError

    def log_prob(self, z_BxZ: jax.Array) -> jax.Array:
        """The log density at z_BxZ, [B]."""
        raise NotImplementedError


@struct.dataclass
class Diagonal(Posterior):
    """A Gaussian with independent units (Kingma & Welling 2014, section 3)."""

    log_variance: jax.Array

    def sample(self, key: jax.Array) -> Draw:
        examples, units = self.mean.shape
        eps_BxZ = normal_by_unit(key, units, (examples,)).T
        z_BxZ = self.mean + jnp.exp(0.5 * self.log_variance) * eps_BxZ * self.mask[None, :]
        return Draw(z_BxZ, self._log_density(eps_BxZ), eps_BxZ)

    def log_prob(self, z_BxZ: jax.Array) -> jax.Array:
        return self._log_density((z_BxZ - self.mean) * jnp.exp(-0.5 * self.log_variance))

    def _log_density(self, eps_BxZ: jax.Array) -> jax.Array:
        return -0.5 * jnp.sum((eps_BxZ**2 + self.log_variance + LOG_2PI) * self.mask[None, :], axis=1)


@struct.dataclass
class Correlated(Posterior):
    """A Gaussian with a full covariance (Kingma & Welling 2019, section 2.5.1).

    Its Cholesky factor has the diagonal exp(log_variance / 2) and, below it, `lower` [B, Z, Z], which is 0 elsewhere
    and for masked units.
    """

    log_variance: jax.Array
    lower: jax.Array

    def sample(self, key: jax.Array) -> Draw:
        examples, units = self.mean.shape
        eps_BxZ = normal_by_unit(key, units, (examples,)).T * self.mask[None, :]
        correlated_BxZ = jnp.einsum("bij,bj->bi", self.lower, eps_BxZ)
        z_BxZ = self.mean + jnp.exp(0.5 * self.log_variance) * eps_BxZ + correlated_BxZ
        return Draw(z_BxZ, self._log_density(eps_BxZ), eps_BxZ)

    def log_prob(self, z_BxZ: jax.Array) -> jax.Array:
        centered_BxZ, std_BxZ = z_BxZ - self.mean, jnp.exp(0.5 * self.log_variance)

        def substitute(eps_BxZ: jax.Array, unit: jax.Array) -> tuple[jax.Array, None]:
            rest_B = centered_BxZ[:, unit] - jnp.sum(self.lower[:, unit] * eps_BxZ, axis=1)
            return eps_BxZ.at[:, unit].set(rest_B / std_BxZ[:, unit]), None

        # Not by solve_triangular: on CPUs its batches may wait for each other forever where there are several devices.
        units = jnp.arange(z_BxZ.shape[1])
        return self._log_density(jax.lax.scan(substitute, jnp.zeros_like(z_BxZ), units)[0])

    def _log_density(self, eps_BxZ: jax.Array) -> jax.Array:
        return -0.5 * jnp.sum((eps_BxZ**2 + self.log_variance + LOG_2PI) * self.mask[None, :], axis=1)


def fixed(posterior: Posterior) -> Any:
    """The posterior as a constant, through which no gradient flows."""
    return jax.lax.stop_gradient(posterior)
