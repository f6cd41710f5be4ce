"""Computes over many examples in chunks, to save memory."""

import jax
import jax.numpy as jnp
from jax import lax

ROWS = 2000  # examples per chunk; divides the sizes of most standard sets


def summed(function, x_NxP):
    """The sum of `function`(x [B, P]) over chunks of the examples [N, P]; any pytree of arrays."""
    parts, rest = divmod(x_NxP.shape[0], ROWS)
    if not parts:
        return function(x_NxP)

    def add(index, total):
        return jax.tree.map(jnp.add, total, function(lax.dynamic_slice_in_dim(x_NxP, index * ROWS, ROWS)))

    total = lax.fori_loop(1, parts, add, function(x_NxP[:ROWS]))
    return jax.tree.map(jnp.add, total, function(x_NxP[-rest:])) if rest else total


def mapped(function, x_NxP):
    """`function`(x [B, P], index of the chunk) -> [B, …] over all chunks, concatenated to [N, …]; any pytree."""
    parts, rest = divmod(x_NxP.shape[0], ROWS)
    if not parts:
        return function(x_NxP, 0)

    def result_of(index):
        return function(lax.dynamic_slice_in_dim(x_NxP, index * ROWS, ROWS), index)

    results = jax.tree.map(lambda result: result.reshape(-1, *result.shape[2:]), lax.map(result_of, jnp.arange(parts)))
    if not rest:
        return results
    return jax.tree.map(lambda *pair: jnp.concatenate(pair), results, function(x_NxP[-rest:], parts))
