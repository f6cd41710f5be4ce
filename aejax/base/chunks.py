"""Computes over many examples in chunks, to save memory."""

import jax
import jax.numpy as jnp
from jax import lax

ROWS = 2000  # examples per chunk; divides the sizes of most standard sets


def summed(function, examples):
    """The sum of `function`(examples of a chunk) over chunks of `examples`, trees of arrays [N, ...]."""
    parts, rest = divmod(_count(examples), ROWS)
    if not parts:
        return function(examples)

    def add(index, total):
        return jax.tree.map(jnp.add, total, function(_chunk(examples, index)))

    total = lax.fori_loop(1, parts, add, function(jax.tree.map(lambda array: array[:ROWS], examples)))
    return jax.tree.map(jnp.add, total, function(_last(examples, rest))) if rest else total


def mapped(function, examples):
    """`function`(examples of a chunk, its index) -> [B, …] over all chunks, concatenated to [N, …]; trees of arrays."""
    parts, rest = divmod(_count(examples), ROWS)
    if not parts:
        return function(examples, 0)

    def result_of(index):
        return function(_chunk(examples, index), index)

    results = jax.tree.map(lambda result: result.reshape(-1, *result.shape[2:]), lax.map(result_of, jnp.arange(parts)))
    if not rest:
        return results
    return jax.tree.map(lambda *pair: jnp.concatenate(pair), results, function(_last(examples, rest), parts))


def _count(examples):
    return jax.tree.leaves(examples)[0].shape[0]


def _chunk(examples, index):
    return jax.tree.map(lambda array: lax.dynamic_slice_in_dim(array, index * ROWS, ROWS), examples)


def _last(examples, rest):
    return jax.tree.map(lambda array: array[-rest:], examples)
