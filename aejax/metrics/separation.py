"""How well codes separate labels. No measure here depends on the model that made the codes.

Every one takes z_NxZ and labels y_N from 0 to `classes` - 1, some of which may have no example; it is nan where fewer
than two have any. Distances are Euclidean and in the codes' own units.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from aejax.metrics.neighbors import distances, in_chunks

SILHOUETTE_ROWS = 128
ZERO = 1e-6  # share of a unit's largest value below which its standard deviation is none
FLAT = 1e-5  # share of the largest singular value of the scatter below which a direction is flat


@functools.partial(jax.jit, static_argnames="classes")
def silhouette(z_NxZ: jax.Array, y_N: jax.Array, classes: int) -> jax.Array:
    """Mean silhouette coefficient, -1 to 1 (Rousseeuw 1987, eq. 2); an example alone in its class counts 0.

    Not comparable across code sizes: it falls as distances grow alike.
    """
    z_NxZ, member_NxC, size_C = _grouped(z_NxZ, y_N, classes)
    label_C = jnp.arange(classes)

    def coefficients(chunk_BxZ: jax.Array) -> jax.Array:
        z_BxZ, y_B = chunk_BxZ[:, :-1], chunk_BxZ[:, -1].astype(jnp.int32)
        total_BxC = jnp.sqrt(distances(z_BxZ, z_NxZ)) @ member_NxC
        same_BxC = y_B[:, None] == label_C[None, :]
        within_B = jnp.sum(jnp.where(same_BxC, total_BxC, 0), axis=1) / jnp.maximum(size_C[y_B] - 1, 1)
        mean_BxC = total_BxC / jnp.maximum(size_C, 1)[None, :]
        between_B = jnp.min(jnp.where(same_BxC | (size_C == 0)[None, :], jnp.inf, mean_BxC), axis=1)
        largest_B = jnp.maximum(jnp.maximum(between_B, within_B), jnp.finfo(jnp.float32).tiny)
        return jnp.where(size_C[y_B] > 1, (between_B - within_B) / largest_B, 0.0)

    labeled = jnp.concatenate([z_NxZ, y_N[:, None].astype(z_NxZ.dtype)], axis=1)
    return _if_two(size_C, jnp.mean(in_chunks(coefficients, labeled, SILHOUETTE_ROWS)))


@functools.partial(jax.jit, static_argnames="classes")
def davies_bouldin(z_NxZ: jax.Array, y_N: jax.Array, classes: int) -> jax.Array:
    """Mean over classes of the worst (s_i + s_j) / d_ij, 0 and up, smaller is better (Davies & Bouldin 1979, def. 5).

    s is the mean distance to the class's center, d that between centers. Not comparable across code sizes.
    """
    z_NxZ, member_NxC, size_C = _grouped(z_NxZ, y_N, classes)
    mean_CxZ = _means(z_NxZ, member_NxC, size_C)
    apart_N = jnp.sqrt(jnp.sum((z_NxZ - mean_CxZ[y_N]) ** 2, axis=1))
    spread_C = (apart_N @ member_NxC) / jnp.maximum(size_C, 1)
    between_CxC = jnp.sqrt(jnp.sum((mean_CxZ[:, None, :] - mean_CxZ[None, :, :]) ** 2, axis=2))
    present_C = size_C > 0
    pairs_CxC = present_C[:, None] & present_C[None, :] & ~jnp.eye(classes, dtype=bool)
    ratio_CxC = jnp.where(pairs_CxC, (spread_C[:, None] + spread_C[None, :]) / between_CxC, 0.0)
    return _if_two(size_C, jnp.sum(jnp.max(ratio_CxC, axis=1)) / jnp.sum(present_C))


@functools.partial(jax.jit, static_argnames="classes")
def calinski_harabasz(z_NxZ: jax.Array, y_N: jax.Array, classes: int) -> jax.Array:
    """Scatter between classes over scatter within, each by its degrees of freedom (Calinski & Harabasz 1974, eq. 3).

    Not comparable across code sizes nor between numbers of examples.
    """
    z_NxZ, member_NxC, size_C = _grouped(z_NxZ, y_N, classes)
    mean_CxZ = _means(z_NxZ, member_NxC, size_C)
    between = jnp.sum(size_C[:, None] * mean_CxZ**2)
    within = jnp.sum((z_NxZ - mean_CxZ[y_N]) ** 2)
    present = jnp.sum(size_C > 0)
    return _if_two(size_C, between * (z_NxZ.shape[0] - present) / (within * (present - 1)))


@functools.partial(jax.jit, static_argnames="classes")
def fisher_ratio(z_NxZ: jax.Array, y_N: jax.Array, classes: int) -> jax.Array:
    """tr(Sw^-1 Sb), scatter between classes over scatter within, 0 and up (Fukunaga 1990, eq. 10.5).

    The same for codes that are linear maps of each other; directions without any scatter within classes count for
    nothing. Grows with the code size, so not comparable across code sizes.
    """
    largest_Z = jnp.max(jnp.abs(z_NxZ), axis=0)
    z_NxZ, member_NxC, size_C = _grouped(z_NxZ, y_N, classes)
    mean_CxZ = _means(z_NxZ, member_NxC, size_C)
    apart_NxZ = z_NxZ - mean_CxZ[y_N]
    std_Z = jnp.std(apart_NxZ, axis=0)
    live_Z = std_Z > ZERO * largest_Z  # more than the rounding error of a constant
    # In units of each unit's own scatter, and by singular values: eigenvalues of a scatter matrix are known to a
    # millionth of the largest only, so that directions with a thousandth of the spread would be lost.
    scale_Z = jnp.where(live_Z, 1 / jnp.where(live_Z, std_Z, 1), 0)
    _, spread_K, direction_KxZ = jnp.linalg.svd(apart_NxZ * scale_Z[None, :], full_matrices=False)
    kept_K = spread_K > FLAT * jnp.max(spread_K)
    between_CxZ = mean_CxZ * scale_Z[None, :] * jnp.sqrt(size_C)[:, None]
    along_K = jnp.sum(jnp.matmul(between_CxZ, direction_KxZ.T, precision="highest") ** 2, axis=0)
    return _if_two(size_C, jnp.sum(jnp.where(kept_K, along_K / jnp.where(kept_K, spread_K, 1) ** 2, 0)))


@functools.partial(jax.jit, static_argnames="classes")
def confusion(predicted_N: jax.Array, y_N: jax.Array, classes: int) -> jax.Array:
    """The number of examples of class i that are predicted as class j, [C, C]."""
    one_hot = functools.partial(jax.nn.one_hot, num_classes=classes)
    return one_hot(y_N).T @ one_hot(predicted_N)


def confused_pairs(confusion_CxC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of classes (i, j) [C(C-1)/2, 2], the most confused first, and the share of their examples that is [...].

    The share is of the examples of both classes, in either direction. Host code.
    """
    classes = confusion_CxC.shape[0]
    first, second = np.triu_indices(classes, 1)
    size_C = np.sum(confusion_CxC, axis=1)
    mixed = (confusion_CxC + confusion_CxC.T)[first, second]
    share = mixed / np.maximum(size_C[first] + size_C[second], 1)
    order = np.argsort(-share, kind="stable")
    return np.stack([first, second], axis=1)[order], share[order]


def _grouped(z_NxZ: jax.Array, y_N: jax.Array, classes: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    member_NxC = jax.nn.one_hot(y_N, classes)
    return z_NxZ - jnp.mean(z_NxZ, axis=0)[None, :], member_NxC, jnp.sum(member_NxC, axis=0)


def _means(z_NxZ: jax.Array, member_NxC: jax.Array, size_C: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        return (member_NxC.T @ z_NxZ) / jnp.maximum(size_C, 1)[:, None]


def _if_two(size_C: jax.Array, value: jax.Array) -> jax.Array:
    return jnp.where(jnp.sum(size_C > 0) > 1, value, jnp.nan)
