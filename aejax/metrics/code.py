"""How the code is used: how many units or entries of a codebook, how evenly, at which rate."""

import jax
import jax.numpy as jnp

ACTIVE_VARIANCE = 0.01
ACTIVE_NATS = 0.01
ACTIVE_SHARE = 1e-4
COLLAPSED_NATS = 0.1
COLLAPSED_SHARE = 0.01
ZERO = 1e-6


def active_units(mean_NxZ: jax.Array) -> jax.Array:
    """The number of units whose posterior mean varies over the data: variance > 0.01 (Burda et al. 2016, section 5).

    Counts units, so not comparable across code sizes.
    """
    return jnp.sum(jnp.var(mean_NxZ, axis=0) > ACTIVE_VARIANCE)


def live_units(mean_NxZ: jax.Array, kl_NxZ: jax.Array | None = None) -> jax.Array:
    """Whether each unit carries information, [Z] bool.

    With a KL to the prior by unit: more than 0.01 nats of it in the mean. Without: a variance above 0.0001 of the
    largest unit's, as a code may have no scale of its own.
    """
    if kl_NxZ is not None:
        return jnp.mean(kl_NxZ, axis=0) > ACTIVE_NATS
    variance_Z = jnp.var(mean_NxZ, axis=0)
    return variance_Z > ACTIVE_SHARE * jnp.max(variance_Z)


def dead_units(mean_NxZ: jax.Array, latent_dim: int | jax.Array, kl_NxZ: jax.Array | None = None) -> jax.Array:
    """The number of the `latent_dim` units that are not live. Not comparable across code sizes."""
    return latent_dim - jnp.sum(live_units(mean_NxZ, kl_NxZ))


def collapsed(explained: jax.Array, rate_N: jax.Array | None = None) -> jax.Array:
    """1 if the code carries no information, 0 if it does: the verdict on a run. Comparable across code sizes.

    With rate_N, each example's KL to the prior, it carries none if their mean is below 0.1 nats (posterior collapse,
    Bowman et al. 2016, section 3): a code that carries more, which an untrained decoder cannot use, has not collapsed.
    Without, it carries none if less than 1 % of the variance of the pixels is `explained`.
    """
    enough = explained >= COLLAPSED_SHARE if rate_N is None else jnp.mean(rate_N) >= COLLAPSED_NATS
    return jnp.logical_not(enough).astype(jnp.int32)  # nan counts as collapsed, too


def active_levels(kl_L: jax.Array) -> jax.Array:
    """The number of levels of a hierarchical code with a KL of at least 0.1 nats: the others have collapsed."""
    return jnp.sum(kl_L >= COLLAPSED_NATS)


@jax.jit
def effective_dim(mean_NxZ: jax.Array) -> jax.Array:
    """Participation ratio of the code's covariance, tr(C)^2 / tr(C^2), 1 to Z; nan for a constant code.

    Gao et al. 2017, eq. 5. Masked units, being 0, count for nothing.
    """
    centered_NxZ = mean_NxZ - jnp.mean(mean_NxZ, axis=0)[None, :]
    covariance_ZxZ = centered_NxZ.T @ centered_NxZ
    return jnp.trace(covariance_ZxZ) ** 2 / jnp.sum(covariance_ZxZ**2)


@jax.jit
def correlation(mean_NxZ: jax.Array) -> jax.Array:
    """Mean absolute correlation of two units (Pearson), 0 to 1, over pairs that both vary; nan without such a pair."""
    std_Z = jnp.std(mean_NxZ, axis=0)
    live_Z = std_Z > ZERO * jnp.max(std_Z)
    standard_NxZ = (mean_NxZ - jnp.mean(mean_NxZ, axis=0)[None, :]) / jnp.where(live_Z, std_Z, 1)[None, :]
    with jax.default_matmul_precision("highest"):
        correlation_ZxZ = standard_NxZ.T @ standard_NxZ / mean_NxZ.shape[0]
    pairs_ZxZ = live_Z[:, None] & live_Z[None, :] & ~jnp.eye(live_Z.shape[0], dtype=bool)
    return jnp.sum(jnp.where(pairs_ZxZ, jnp.abs(correlation_ZxZ), 0)) / jnp.sum(pairs_ZxZ)


def sparsity(mean_NxZ: jax.Array, latent_dim: int | jax.Array) -> jax.Array:
    """Share of code entries that are 0, over `latent_dim` units."""
    used_N = jnp.sum(jnp.abs(mean_NxZ) > ZERO, axis=1)
    return 1 - jnp.mean(used_N) / latent_dim


def perplexity(indices_NxT: jax.Array, entries: int) -> jax.Array:
    """exp(entropy) of the entries of a codebook in use, 1 to `entries`, over all positions; -1 is no position."""
    share_K = usage(indices_NxT, entries)
    return jnp.exp(-jnp.sum(share_K * jnp.log(jnp.where(share_K > 0, share_K, 1))))


def used_codes(indices_NxT: jax.Array, entries: int) -> jax.Array:
    """Share of the entries of a codebook that some position of some example has."""
    return jnp.mean(usage(indices_NxT, entries) > 0)


def usage(indices_NxT: jax.Array, entries: int) -> jax.Array:
    """How often each entry of a codebook is used, as shares [entries]."""
    place_M = jnp.where(indices_NxT < 0, entries, indices_NxT).ravel()
    count_K = jnp.zeros(entries).at[place_M].add(1, mode="drop")
    return count_K / jnp.sum(count_K)
