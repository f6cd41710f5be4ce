"""Codes and log densities of one example, for tests of posteriors and priors."""

import jax
import jax.numpy as jnp
import numpy as np


def normal(seed, *shape, scale=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * scale, jnp.float32)


def of_one(posterior, z):
    """The log densities of one example's posterior at many codes."""
    return np.asarray(DENSITIES(posterior, jnp.asarray(z, jnp.float32)), np.float64)


def draws(posterior, count=20_000):
    """Codes [count, Z] and log densities [count] of one example's posterior."""
    draw = DRAWS(posterior, jax.random.split(jax.random.key(3), count))
    return np.asarray(draw.z, np.float64)[:, 0], np.asarray(draw.log_q, np.float64)[:, 0]


DENSITIES = jax.jit(lambda posterior, z: jax.vmap(lambda code: posterior.log_prob(code[None])[0])(z))
DRAWS = jax.jit(lambda posterior, keys: jax.vmap(posterior.sample)(keys))
