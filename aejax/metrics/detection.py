"""How well a score separates positives, here anomalies, from the rest: larger scores mean more anomalous.

Each takes score_N and positive_N (bool). All are comparable across code sizes; nan without positives or without
negatives.
"""

import jax
import jax.numpy as jnp


@jax.jit
def auroc(score_N: jax.Array, positive_N: jax.Array) -> jax.Array:
    """The chance that a positive scores above a negative, ties counting half (Hanley & McNeil 1982)."""
    ordered_N = jnp.sort(score_N)
    below_N, to_N = (jnp.searchsorted(ordered_N, score_N, side=side) for side in ("left", "right"))
    rank_N = 0.5 * (below_N + to_N + 1).astype(jnp.float32)  # from 1, the mean of those that tie
    positives, negatives = jnp.sum(positive_N), jnp.sum(~positive_N)
    # Mean ranks rather than their sum, which would exceed the whole numbers that float32 holds exactly.
    return (jnp.sum(jnp.where(positive_N, rank_N, 0.0)) / positives - 0.5 * (positives + 1)) / negatives


@jax.jit
def average_precision(score_N: jax.Array, positive_N: jax.Array) -> jax.Array:
    """The mean, over positives, of the precision at their score's threshold, 0 to 1 (Zhu 2004); as scikit-learn's."""
    above_N, positive_above_N = _at_least(score_N, score_N), _at_least(score_N, score_N, positive_N)
    precision_N = jnp.where(positive_N, positive_above_N / above_N, 0.0)
    defined = jnp.any(positive_N) & jnp.any(~positive_N)
    return jnp.where(defined, jnp.sum(precision_N) / jnp.sum(positive_N), jnp.nan)


@jax.jit
def f1_at(threshold: float | jax.Array, score_N: jax.Array, positive_N: jax.Array) -> jax.Array:
    """F1, the harmonic mean of precision and recall, where scores above `threshold` are called positive, 0 to 1."""
    called_N = score_N > threshold
    right = jnp.sum(called_N & positive_N)
    defined = jnp.any(positive_N) & jnp.any(~positive_N)
    return jnp.where(defined, 2 * right / (jnp.sum(called_N) + jnp.sum(positive_N)), jnp.nan)


@jax.jit
def rates_at(threshold: float | jax.Array, score_N: jax.Array, positive_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The shares of positives and of negatives that score above `threshold`, two scalars."""
    called_N = score_N > threshold
    return jnp.sum(called_N & positive_N) / jnp.sum(positive_N), jnp.sum(called_N & ~positive_N) / jnp.sum(~positive_N)


def _at_least(threshold_N: jax.Array, score_M: jax.Array, counted_M: jax.Array | None = None) -> jax.Array:
    """How many of score_M, of those that are `counted`, reach each threshold, [N]."""
    order_M = jnp.argsort(score_M)
    counted_M = jnp.ones(score_M.shape, bool) if counted_M is None else counted_M
    below_M = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(counted_M[order_M].astype(jnp.int32))])
    return jnp.sum(counted_M) - below_M[jnp.searchsorted(score_M[order_M], threshold_N, side="left")]
