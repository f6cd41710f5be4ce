"""Unsupervised disentanglement ranking: whether runs of different seeds agree on their code units."""

import jax
import jax.numpy as jnp
from jax import lax

Run = tuple[jax.Array, jax.Array]  # standardized ranks [N, Z], and which units are informative [Z]


@jax.jit
def udr(z_RxNxZ: jax.Array, live_RxZ: jax.Array) -> jax.Array:
    """The UDR of each of R runs, [R], 0 to 1: whether others find the same units up to order and monotone maps.

    Duan et al. 2020, section 4 with Spearman's correlation: the median over the other runs. z are the codes of the
    same examples, `live_RxZ` tells the units that are informative. nan where a run has none.
    """
    rank_RxNxZ = jax.vmap(jax.vmap(_ranks, 1, 1))(z_RxNxZ)
    centered = rank_RxNxZ - jnp.mean(rank_RxNxZ, axis=1, keepdims=True)
    length_Rx1xZ = jnp.sqrt(jnp.sum(centered**2, axis=1, keepdims=True))
    standard = centered / jnp.where(length_Rx1xZ > 0, length_Rx1xZ, 1)

    runs = (standard, live_RxZ)
    strength_RxR = lax.map(lambda first: lax.map(lambda second: _strength(first, second), runs), runs)
    others_RxR = jnp.where(jnp.eye(z_RxNxZ.shape[0], dtype=bool), jnp.nan, strength_RxR)
    return jnp.where(jnp.any(live_RxZ, axis=1), jnp.nanmedian(others_RxR, axis=1), jnp.nan)


def _strength(first: Run, second: Run) -> jax.Array:
    """The score of a pair: 1 if each informative unit of either run is like one of the other, and unlike the rest."""
    (a_NxZ, live_A), (b_NxZ, live_B) = first, second
    with jax.default_matmul_precision("highest"):
        similarity_AxB = jnp.abs(a_NxZ.T @ b_NxZ)
    similarity_AxB = jnp.where(live_A[:, None] & live_B[None, :], similarity_AxB, 0)
    strength = jnp.zeros(())
    for axis in (0, 1):
        largest, total = jnp.max(similarity_AxB, axis=axis), jnp.sum(similarity_AxB, axis=axis)
        strength += jnp.sum(jnp.where(total > 0, largest**2 / jnp.where(total > 0, total, 1), 0))
    return strength / (jnp.sum(live_A) + jnp.sum(live_B))


def _ranks(values_N: jax.Array) -> jax.Array:
    """Ranks; those of equal values are their mean."""
    ascending_N = jnp.sort(values_N)
    first_N, last_N = (jnp.searchsorted(ascending_N, values_N, side=side) for side in ("left", "right"))
    return 0.5 * (first_N + last_N)
