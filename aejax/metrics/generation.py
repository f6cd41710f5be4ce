"""Drawn examples against real ones: fidelity, coverage, novelty; and codes against their prior."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from aejax.metrics.neighbors import distances, in_chunks, nearest

UNDECIDED = 0.05  # mean distance of a binary image's pixels from 0 or 1, up to which it is decided


@functools.partial(jax.jit, static_argnames="neighbors")
def manifolds(real_NxP: jax.Array, drawn_MxP: jax.Array, neighbors: int) -> dict[str, jax.Array]:
    """Precision, recall, density and coverage of drawn examples by k-NN manifolds, {name: scalar}.

    A manifold is the union of balls around examples that reach their k-th neighbor. Precision and recall: the share
    of one set inside the other's manifold (Kynkäänniemi et al. 2019, eq. 1-3). Density: real balls that a drawn example
    is in, over k; coverage: real balls with a drawn example in (Naeem et al. 2020, eq. 5 and 6). 0 to 1, but density
    may be more. Comparable across code sizes in pixels; needs more examples in either set than k.
    """
    real_radius_N, drawn_radius_M = (
        nearest(points, points, neighbors + 1)[0][:, -1] for points in (real_NxP, drawn_MxP)
    )
    center_P = jnp.mean(real_NxP, axis=0)[None, :]
    real_NxP, drawn_MxP = real_NxP - center_P, drawn_MxP - center_P

    def of_real(
        chunk: jax.Array,
    ) -> tuple[
        jax.Array, jax.Array
    ]:  # which drawn examples each real ball holds, and whether the real one is in a drawn ball
        squared_BxM = distances(chunk[:, :-1], drawn_MxP)
        held_BxM = squared_BxM <= chunk[:, -1:]
        return jnp.any(held_BxM, axis=1), jnp.any(squared_BxM <= drawn_radius_M[None, :], axis=1)

    def of_drawn(chunk: jax.Array) -> tuple[jax.Array, jax.Array]:
        held_BxN = distances(chunk, real_NxP) <= real_radius_N[None, :]
        return jnp.any(held_BxN, axis=1), jnp.sum(held_BxN, axis=1)

    covered_N, recalled_N = in_chunks(of_real, jnp.concatenate([real_NxP, real_radius_N[:, None]], axis=1))
    precise_M, balls_M = in_chunks(of_drawn, drawn_MxP)
    return {
        "precision": jnp.mean(precise_M),
        "recall": jnp.mean(recalled_N),
        "density": jnp.mean(balls_M) / neighbors,
        "coverage": jnp.mean(covered_N),
    }


@functools.partial(jax.jit, static_argnames="permutations")
def two_samples(key: jax.Array, a_NxZ: jax.Array, b_MxZ: jax.Array, permutations: int) -> tuple[jax.Array, jax.Array]:
    """Whether two samples come from one distribution: squared MMD, and the p-value of a permutation test.

    Unbiased, may be below 0 (Gretton et al. 2012, eq. 3 and section 5); Gaussian kernel, its width the median distance
    of the pooled examples. The p-value is (1 + permutations that reach it) / (1 + permutations). The distance is not
    comparable across code sizes.
    """
    examples = a_NxZ.shape[0], b_MxZ.shape[0]
    pooled = jnp.concatenate([a_NxZ, b_MxZ])
    total = sum(examples)
    pooled = pooled - jnp.mean(pooled, axis=0)[None, :]
    squared = jnp.where(jnp.eye(total, dtype=bool), 0.0, distances(pooled, pooled))
    upper = squared[jnp.triu_indices(total, 1)]
    kernel = jnp.where(jnp.eye(total, dtype=bool), 0.0, jnp.exp(-squared / (2 * jnp.median(upper))))
    row = jnp.sum(kernel, axis=1)

    def mmd(of_a: jax.Array) -> jax.Array:  # [total] 1 for examples of the first sample, 0 for the others
        with jax.default_matmul_precision("highest"):
            within_a = of_a @ kernel @ of_a
            between = of_a @ row - within_a
            within_b = jnp.sum(row) - 2 * between - within_a
        n, m = examples
        return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * between / (n * m)

    of_first = (jnp.arange(total) < examples[0]).astype(jnp.float32)
    distance = mmd(of_first)
    keys = jax.random.split(key, permutations)
    permuted = lax.map(lambda key: mmd(jax.random.permutation(key, of_first)), keys)
    p = (1 + jnp.sum(permuted >= distance)) / (1 + permutations)
    return distance, jnp.where(jnp.isfinite(distance), p, jnp.nan)


@jax.jit
def interpolation(path_LxTxP: jax.Array) -> dict[str, jax.Array]:
    """How straight and how even paths of T images are, {name: scalar}, means over L paths that lead somewhere.

    `length`: the sum of steps over the distance between the ends, 1 for a straight line; `largest_step`: the largest
    step over the mean step, 1 for even steps and T - 1 for one jump. Distances are Euclidean, in pixels. Both are 1 for
    a linear decoder, whatever its code size, and comparable across code sizes.
    """
    step_LxT = jnp.sqrt(jnp.sum(jnp.diff(path_LxTxP, axis=1) ** 2, axis=2))
    ends_L = jnp.sqrt(jnp.sum((path_LxTxP[:, -1] - path_LxTxP[:, 0]) ** 2, axis=1))
    moving_L = ends_L != 0  # nan makes the means nan

    def mean(value_L: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(moving_L, value_L, 0)) / jnp.sum(moving_L)

    return {
        "length": mean(jnp.sum(step_LxT, axis=1) / ends_L),
        "largest_step": mean(jnp.max(step_LxT, axis=1) / jnp.mean(step_LxT, axis=1)),
    }


@functools.partial(jax.jit, static_argnames="rank")
def novelty(
    train_NxP: jax.Array,
    test_MxP: jax.Array,
    drawn_SxP: jax.Array,
    exact_KxP: jax.Array | None = None,
    rank: float = 0.05,
) -> dict[str, jax.Array]:
    """Squared distances a pixel to the nearest training example, {name: scalar}.

    `nearest_train` and `nearest_train_test`: medians over drawn and over test examples; `copies`: the share of drawn
    examples that are nearer than all but the nearest `rank` of the test examples are. nan where most of exact_KxP,
    training examples with the noise of drawn ones, would not count as copies.
    """
    pixels = train_NxP.shape[1]
    drawn_S, test_M = (nearest(train_NxP, queries, 1)[0][:, 0] / pixels for queries in (drawn_SxP, test_MxP))
    threshold = jnp.quantile(test_M, rank)
    copies = jnp.mean(drawn_S < threshold)
    if exact_KxP is not None:
        exact_K = nearest(train_NxP, exact_KxP, 1)[0][:, 0] / pixels
        copies = jnp.where(jnp.median(exact_K) < threshold, copies, jnp.nan)
    return {"nearest_train": jnp.median(drawn_S), "nearest_train_test": jnp.median(test_M), "copies": copies}


@functools.partial(jax.jit, static_argnames="binary")
def glyphs(train_NxP: jax.Array, drawn_SxP: jax.Array, binary: bool = False) -> dict[str, jax.Array]:
    """Shares of drawn examples that copy or extend a training set of a few glyphs, {name: scalar}.

    `copies`: nearer to a training glyph than half of the smallest distance between two of them, so that it is that
    glyph and no other. `valid_new`: no copy, but in the ball that reaches from some training glyph to its third
    neighbor, so that it looks like one (the manifold of Kynkäänniemi et al. 2019); `binary` ones must be decided, too:
    their pixels within 0.05 of 0 or 1 in the mean. `copied`: the share of training glyphs that have a copy.
    """
    apart_NxK = nearest(train_NxP, train_NxP, min(4, train_NxP.shape[0]))[0]
    smallest = jnp.min(jnp.where(apart_NxK[:, 1:] > 0, apart_NxK[:, 1:], jnp.inf))
    squared_SxN = distances(drawn_SxP, train_NxP)
    copy_S = jnp.min(squared_SxN, axis=1) < smallest / 4
    valid_S = jnp.any(squared_SxN <= apart_NxK[None, :, -1], axis=1)
    if binary:
        valid_S &= jnp.mean(jnp.abs(drawn_SxP - jnp.round(drawn_SxP)), axis=1) <= UNDECIDED
    owner_S = jnp.where(copy_S, jnp.argmin(squared_SxN, axis=1), train_NxP.shape[0])
    copied_N = jnp.zeros(train_NxP.shape[0]).at[owner_S].set(1.0, mode="drop")
    return {
        "copies": jnp.mean(copy_S),
        "valid_new": jnp.mean(valid_S & ~copy_S),
        "copied": jnp.mean(copied_N),
    }
