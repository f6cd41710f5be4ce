"""Nearest neighbors by Euclidean distance, exact, and measures based on them; at most ROWS x M distances are held at
a time."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

ROWS = 64  # examples whose distances to all others are held at a time
SPARE = 8  # neighbors searched beyond those requested, until their distances are computed without cancellation


def distances(a_BxZ: jax.Array, b_NxZ: jax.Array) -> jax.Array:
    """Squared Euclidean distances, [B, N]."""
    with jax.default_matmul_precision("highest"):
        product_BxN = a_BxZ @ b_NxZ.T
    squares_BxN = jnp.sum(a_BxZ**2, axis=1)[:, None] + jnp.sum(b_NxZ**2, axis=1)[None, :]
    return jnp.maximum(squares_BxN - 2 * product_BxN, 0.0)


@functools.partial(jax.jit, static_argnames="neighbors")
def nearest(fit_MxZ: jax.Array, z_NxZ: jax.Array, neighbors: int) -> tuple[jax.Array, jax.Array]:
    """The nearest of fit_MxZ to each of z_NxZ: squared distances [N, K], ascending, and indices [N, K].

    The smallest of each group of distances comes first: the K nearest lie in the K groups with the smallest ones. There
    are about as many groups as members in K of them, so that both searches are short.
    """
    count = fit_MxZ.shape[0]
    center_Z = jnp.mean(fit_MxZ, axis=0)[None, :]  # small numbers keep the distances accurate
    fit_MxZ, z_NxZ = fit_MxZ - center_Z, z_NxZ - center_Z
    candidates = min(count, neighbors + SPARE)
    groups = max(-(-count // math.isqrt(count // candidates)), candidates)
    missing = groups * -(-count // groups) - count
    squares_M = jnp.pad(jnp.sum(fit_MxZ**2, axis=1), (0, missing), constant_values=jnp.inf)
    wide_QxM = jnp.concatenate([-2 * jnp.pad(fit_MxZ, ((0, missing), (0, 0))).T, squares_M[None, :]])
    members = squares_M.shape[0] // groups

    def one_chunk(z_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = z_BxZ.shape[0]
        with jax.default_matmul_precision("highest"):  # squared distances, less that of z to the center
            score_BxM = jnp.concatenate([z_BxZ, jnp.ones((rows, 1))], axis=1) @ wide_QxM
        score_BxSxG = score_BxM.reshape(rows, members, groups)
        group_BxK = lax.top_k(-jnp.min(score_BxSxG, axis=1), candidates)[1]
        place_BxSxK = group_BxK[:, None, :] + groups * jnp.arange(members)[None, :, None]
        place_BxC = place_BxSxK.reshape(rows, members * candidates)
        chosen_BxK = lax.top_k(-jnp.take_along_axis(score_BxM, place_BxC, axis=1), candidates)[1]
        index_BxK = jnp.sort(jnp.take_along_axis(place_BxC, chosen_BxK, axis=1), axis=1)
        squared_BxK = jnp.sum((fit_MxZ[index_BxK] - z_BxZ[:, None, :]) ** 2, axis=2)
        negative_BxK, order_BxK = lax.top_k(-squared_BxK, neighbors)
        return -negative_BxK, jnp.take_along_axis(index_BxK, order_BxK, axis=1)

    return in_chunks(one_chunk, z_NxZ)


def in_chunks(function: Callable[[jax.Array], Any], x_NxZ: jax.Array, rows: int = ROWS) -> Any:
    """`function` of `rows` examples at a time, its results [N, ...] concatenated; zeros pad the last chunk."""
    examples = x_NxZ.shape[0]
    rows = min(rows, examples)
    chunks = -(-examples // rows)
    padded = jnp.pad(x_NxZ, ((0, chunks * rows - examples), *[(0, 0)] * (x_NxZ.ndim - 1)))
    results = lax.map(function, padded.reshape(chunks, rows, *x_NxZ.shape[1:]))
    return jax.tree.map(lambda leaf: leaf.reshape(chunks * rows, *leaf.shape[2:])[:examples], results)


def vote(label_NxK: jax.Array, classes: int) -> jax.Array:
    """The commonest label of each row, [N]; ties go to the smaller label."""
    votes_NxC = jnp.sum(label_NxK[:, :, None] == jnp.arange(classes)[None, None, :], axis=1)
    return jnp.argmax(votes_NxC, axis=1)


def knn_accuracy(
    fit_MxZ: jax.Array, y_M: jax.Array, z_NxZ: jax.Array, y_N: jax.Array, classes: int, neighbors: int | tuple[int, ...]
) -> jax.Array | tuple[jax.Array, ...]:
    """Share of codes whose label is the commonest among the nearest fitted codes; ties go to the smaller label.

    `neighbors` is a number, or several, for a share each from one search. Uniform votes (Fix & Hodges 1951), as
    scikit-learn's KNeighborsClassifier. Comparable across code sizes.
    """
    several = neighbors if isinstance(neighbors, tuple) else (neighbors,)
    label_NxK = y_M[nearest(fit_MxZ, z_NxZ, max(several))[1]]
    shares = tuple(jnp.mean(vote(label_NxK[:, :count], classes) == y_N) for count in several)
    return shares if isinstance(neighbors, tuple) else shares[0]


@functools.partial(jax.jit, static_argnames="neighbors")
def trustworthiness(x_NxP: jax.Array, z_NxZ: jax.Array, neighbors: int) -> jax.Array:
    """How much the neighbors in z_NxZ are neighbors in x_NxP, 0 to 1; needs 2N > 3K + 1.

    1 less the ranks in x beyond K of those that are among the K nearest in z (Venna & Kaski 2001, eq. 1). With the two
    swapped it is their continuity (eq. 2). Comparable across code sizes; falls with the number of examples.
    """
    examples = x_NxP.shape[0]
    x_NxP, z_NxZ = (points - jnp.mean(points, axis=0)[None, :] for points in (x_NxP, z_NxZ))
    number_N = jnp.arange(examples)

    def beyond(chunk: jax.Array) -> jax.Array:
        number_B = chunk[:, 0].astype(jnp.int32)
        itself_BxN = number_B[:, None] == number_N[None, :]
        in_z_BxN, in_x_BxN = (
            jnp.where(itself_BxN, jnp.inf, distances(points[number_B], points)) for points in (z_NxZ, x_NxP)
        )
        near_BxK = lax.top_k(-in_z_BxN, neighbors)[1]
        theirs_BxK = jnp.take_along_axis(in_x_BxN, near_BxK, axis=1)

        def rank(which: tuple[jax.Array, jax.Array]) -> jax.Array:  # of one neighbor in x, from 1; ties by index
            squared_B, near_B = which
            ties_BxN = (in_x_BxN == squared_B[:, None]) & (number_N[None, :] < near_B[:, None])
            return 1 + jnp.sum((in_x_BxN < squared_B[:, None]) | ties_BxN, axis=1)

        rank_KxB = lax.map(rank, (theirs_BxK.T, near_BxK.T))
        return jnp.sum(jnp.maximum(rank_KxB - neighbors, 0), axis=0)

    total = jnp.sum(in_chunks(beyond, number_N[:, None]).astype(jnp.float32))
    return 1 - total * 2 / (examples * neighbors * (2 * examples - 3 * neighbors - 1))
