"""What the code is used for: how many units, how evenly, at which rate."""

import jax.numpy as jnp

ACTIVE_VARIANCE = 0.01
ZERO = 1e-6


def active_units(mean_NxZ):
    """The number of units whose posterior mean varies over the data: variance > 0.01 (Burda et al. 2016, section 5)."""
    return jnp.sum(jnp.var(mean_NxZ, axis=0) > ACTIVE_VARIANCE)


def effective_dim(mean_NxZ):
    """Participation ratio of the code's covariance, tr(C)^2 / tr(C^2), 1 to Z; nan for a constant code.

    Gao et al. 2017, eq. 5. Masked units, being 0, count for nothing.
    """
    centred_NxZ = mean_NxZ - jnp.mean(mean_NxZ, axis=0)[None, :]
    covariance_ZxZ = centred_NxZ.T @ centred_NxZ
    return jnp.trace(covariance_ZxZ) ** 2 / jnp.sum(covariance_ZxZ**2)


def sparsity(mean_NxZ, latent_dim):
    """Share of code entries that are 0, of the `latent_dim` units that there are."""
    used_N = jnp.sum(jnp.abs(mean_NxZ) > ZERO, axis=1)
    return 1 - jnp.mean(used_N) / latent_dim
