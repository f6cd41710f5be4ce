"""How well codes tell labels apart. Neither measure here knows which model made the codes."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

ROWS = 512  # examples whose distances to all others are held at a time


def distances(a_BxZ, b_NxZ):
    """Squared Euclidean distances, [B, N]."""
    with jax.default_matmul_precision("highest"):
        product_BxN = a_BxZ @ b_NxZ.T
    squares_BxN = jnp.sum(a_BxZ**2, axis=1)[:, None] + jnp.sum(b_NxZ**2, axis=1)[None, :]
    return jnp.maximum(squares_BxN - 2 * product_BxN, 0.0)


@functools.partial(jax.jit, static_argnames=("classes", "neighbours"))
def knn_accuracy(fit_MxZ, y_M, z_NxZ, y_N, classes, neighbours):
    """Share of codes whose label is the commonest among the nearest fitted codes; ties go to the smaller label.

    Uniform votes, Euclidean distance (Fix & Hodges 1951), as scikit-learn's KNeighborsClassifier. Comparable across
    code sizes.
    """
    centre_Z = jnp.mean(fit_MxZ, axis=0)[None, :]  # small numbers keep the distances accurate

    def correct(example):
        z_Z, y = example
        squared_M = distances(z_Z[None, :] - centre_Z, fit_MxZ - centre_Z)[0]
        nearest_K = lax.top_k(-squared_M, neighbours)[1]
        votes_C = jnp.zeros(classes, jnp.int32).at[y_M[nearest_K]].add(1)
        return jnp.argmax(votes_C) == y

    return jnp.mean(lax.map(correct, (z_NxZ, y_N), batch_size=ROWS))


@functools.partial(jax.jit, static_argnames="classes")
def silhouette(z_NxZ, y_N, classes):
    """Mean silhouette coefficient, -1 to 1 (Rousseeuw 1987, eq. 2); an example alone in its class counts 0.

    Not comparable across code sizes: it falls as distances grow alike.
    """
    z_NxZ -= jnp.mean(z_NxZ, axis=0)[None, :]
    member_NxC = jax.nn.one_hot(y_N, classes)
    size_C = jnp.sum(member_NxC, axis=0)

    def coefficient(example):
        z_Z, y = example
        distance_N = jnp.sqrt(distances(z_Z[None, :], z_NxZ)[0])
        total_C = distance_N @ member_NxC
        within = total_C[y] / jnp.maximum(size_C[y] - 1, 1)
        others_C = jnp.where((jnp.arange(classes) != y) & (size_C > 0), total_C / jnp.maximum(size_C, 1), jnp.inf)
        between = jnp.min(others_C)
        return jnp.where(size_C[y] > 1, (between - within) / jnp.maximum(between, within), 0.0)

    return jnp.mean(lax.map(coefficient, (z_NxZ, y_N), batch_size=ROWS))
