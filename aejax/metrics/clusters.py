"""Clusters of codes, and how well they agree with labels."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

ITERATIONS = 300  # of Lloyd's at the most
TOLERANCE = 1e-4  # squared move of the centers, of the mean variance, at which Lloyd's ends


@functools.partial(jax.jit, static_argnames=("clusters", "starts"))
def k_means(key: jax.Array, z_NxZ: jax.Array, clusters: int, starts: int) -> tuple[jax.Array, jax.Array]:
    """The cluster of each example [N] and the inertia, the sum of squared distances to the centers, of the best start.

    Lloyd's algorithm (1982) from k-means++ (Arthur & Vassilvitskii 2007, section 2.2), as scikit-learn's KMeans ends
    it; an empty cluster keeps its center. All starts run side by side.
    """
    z_NxZ = z_NxZ - jnp.mean(z_NxZ, axis=0)[None, :]
    squares_N = jnp.sum(z_NxZ**2, axis=1)
    examples, units = z_NxZ.shape
    enough = TOLERANCE * jnp.mean(jnp.var(z_NxZ, axis=0))

    def scores(
        center_SxKxZ: jax.Array,
    ) -> jax.Array:  # squared distances less those to the origin, the same for all clusters of an example
        flat = center_SxKxZ.reshape(-1, units)
        with jax.default_matmul_precision("highest"):
            score = jnp.sum(flat**2, axis=1)[:, None] - 2 * flat @ z_NxZ.T
        return score.reshape(-1, center_SxKxZ.shape[1], examples)

    def seeds(key: jax.Array) -> jax.Array:
        def add(
            apart_N: jax.Array, key: jax.Array
        ) -> tuple[jax.Array, jax.Array]:  # the next center, by its squared distance to those before
            until_N = jnp.cumsum(apart_N)
            drawn = jnp.searchsorted(until_N, jax.random.uniform(key) * until_N[-1], side="right")
            center_Z = z_NxZ[jnp.minimum(drawn, examples - 1)]
            return jnp.minimum(apart_N, jnp.sum((z_NxZ - center_Z[None, :]) ** 2, axis=1)), center_Z

        key_first, key_rest = jax.random.split(key)
        first_Z = z_NxZ[jax.random.randint(key_first, (), 0, examples)]
        apart_N = jnp.sum((z_NxZ - first_Z[None, :]) ** 2, axis=1)
        rest = lax.scan(add, apart_N, jax.random.split(key_rest, clusters - 1))[1]
        return jnp.concatenate([first_Z[None, :], rest])

    def go_on(state: tuple[Any, ...]) -> jax.Array:
        _, moved, count = state
        return (moved > enough) & (count < ITERATIONS)

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        center_SxKxZ, _, count = state
        score_SxKxN = scores(center_SxKxZ)
        member_SxKxN = (score_SxKxN == jnp.min(score_SxKxN, axis=1, keepdims=True)).astype(jnp.float32)
        size_SxKx1 = jnp.sum(member_SxKxN, axis=2, keepdims=True)
        with jax.default_matmul_precision("highest"):
            total = member_SxKxN.reshape(-1, examples) @ z_NxZ
        mean_SxKxZ = total.reshape(center_SxKxZ.shape) / jnp.maximum(size_SxKx1, 1)
        new_SxKxZ = jnp.where(size_SxKx1 > 0, mean_SxKxZ, center_SxKxZ)
        moved = jnp.max(jnp.sum((new_SxKxZ - center_SxKxZ) ** 2, axis=(1, 2)))
        return new_SxKxZ, moved, count + 1

    center_SxKxZ = lax.map(seeds, jax.random.split(key, starts))
    center_SxKxZ, _, _ = lax.while_loop(go_on, step, (center_SxKxZ, jnp.inf, 0))
    inertia_S = jnp.sum(jnp.min(scores(center_SxKxZ), axis=1), axis=1) + jnp.sum(squares_N)
    best = jnp.argmin(inertia_S)
    return jnp.argmin(scores(center_SxKxZ[best][None])[0], axis=0), inertia_S[best]


@functools.partial(jax.jit, static_argnames=("classes", "clusters"))
def contingency(y_N: jax.Array, cluster_N: jax.Array, classes: int, clusters: int) -> jax.Array:
    """How many examples of each class are in each cluster, [C, K]."""
    return jax.nn.one_hot(y_N, classes).T @ jax.nn.one_hot(cluster_N, clusters)


@jax.jit
def nmi(contingency_CxK: jax.Array) -> jax.Array:
    """Mutual information of classes and clusters over the mean of their entropies, 0 to 1.

    Strehl & Ghosh 2002 with the arithmetic mean, as scikit-learn. Comparable across code sizes.
    """
    joint_CxK = contingency_CxK / jnp.sum(contingency_CxK)
    class_C, cluster_K = jnp.sum(joint_CxK, axis=1), jnp.sum(joint_CxK, axis=0)
    mean = 0.5 * (_entropy(class_C) + _entropy(cluster_K))
    information = _entropy(class_C) + _entropy(cluster_K) - _entropy(joint_CxK)
    return jnp.where(mean > 0, jnp.maximum(information, 0) / mean, 1.0)


@jax.jit
def ari(contingency_CxK: jax.Array) -> jax.Array:
    """The Rand index adjusted for chance, -0.5 to 1 (Hubert & Arabie 1985, eq. 5). Comparable across code sizes."""

    def pairs(count: jax.Array) -> jax.Array:
        return count * (count - 1) / 2

    same = jnp.sum(pairs(contingency_CxK))
    in_class, in_cluster = (jnp.sum(pairs(jnp.sum(contingency_CxK, axis=axis))) for axis in (1, 0))
    expected = in_class * (in_cluster / pairs(jnp.sum(contingency_CxK)))
    most = 0.5 * (in_class + in_cluster)
    return jnp.where(most == expected, 1.0, (same - expected) / (most - expected))


@jax.jit
def accuracy(contingency_CxK: jax.Array) -> jax.Array:
    """Share of examples in the cluster that stands for their class, clusters matched one to one to serve it best.

    Kuhn 1955; Xie et al. 2016, eq. 10. Comparable across code sizes.
    """
    rows, columns = optax.assignment.hungarian_algorithm(-contingency_CxK)
    return jnp.sum(contingency_CxK[rows, columns]) / jnp.sum(contingency_CxK)


def _entropy(share: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1)), 0))
