"""Principal components of stored examples, and their mean."""

import jax
import jax.numpy as jnp

from aejax.base.chunks import summed


def mean_example(stored_NxP, form):
    """The mean [P] of stored examples of this `form`, scaled."""
    return summed(lambda part: jnp.sum(form.scaled(part), axis=0), stored_NxP) / stored_NxP.shape[0]


def principal_components(stored_NxP, form, units):
    """The mean [P] and the first `units` principal components [units, P], orthonormal, largest variance first.

    Of stored examples of this `form`. Each component is signed so that its largest entry is positive; beyond the
    numerical rank of the data they are 0.
    """
    with jax.default_matmul_precision("highest"):
        examples, mean_P = stored_NxP.shape[0], mean_example(stored_NxP, form)
        # The rounding error of a mean far from 0 would be one more direction, so the residual mean is subtracted again.
        mean_P += summed(lambda part: jnp.sum(form.scaled(part) - mean_P[None, :], axis=0), stored_NxP) / examples
        if examples <= SVD_EXAMPLES and not form.dynamic:
            centered_NxP = form.scaled(stored_NxP) - mean_P[None, :]
            _, spread_K, components_KxP = jnp.linalg.svd(centered_NxP, full_matrices=False)
        else:  # much faster where there are many examples
            spread_K, components_KxP = _from_covariance(stored_NxP, form, mean_P)
        components_KxP *= (spread_K > RANK_TOLERANCE * spread_K[0])[:, None]
        largest_K = jnp.argmax(jnp.abs(components_KxP), axis=1, keepdims=True)
        components_KxP *= jnp.sign(jnp.take_along_axis(components_KxP, largest_K, axis=1))
        missing = max(0, units - components_KxP.shape[0])
        return mean_P, jnp.pad(components_KxP, ((0, missing), (0, 0)))[:units]


def _from_covariance(stored_NxP, form, mean_P):
    """The standard deviations [P] along all principal components, largest first, and these components [P, P].

    A covariance squares the deviations: float64 holds what float32 holds of the examples, float32 half its digits.
    """
    with jax.enable_x64(True):
        center_P = mean_P.astype(jnp.float64)

        def moments(part):
            centered_BxP = form.scaled(part).astype(jnp.float64) - center_P[None, :]
            return centered_BxP.T @ centered_BxP, jnp.sum(centered_BxP, axis=0)

        square_PxP, sum_P = summed(moments, stored_NxP)
        offset_P = sum_P / stored_NxP.shape[0]  # the rounding error of the mean
        covariance_PxP = square_PxP / stored_NxP.shape[0] - jnp.outer(offset_P, offset_P)
        if form.dynamic:
            # Independent draws add to the diagonal only: a pixel that is 1 with mean m has the variance m (1 - m).
            exact_P = center_P + offset_P
            covariance_PxP = jnp.fill_diagonal(covariance_PxP, exact_P * (1 - exact_P), inplace=False)
        variance_P, vectors_PxP = jnp.linalg.eigh(covariance_PxP)
        spread_P = jnp.sqrt(jnp.maximum(variance_P, 0)).astype(jnp.float32)
        vectors_PxP = vectors_PxP.astype(jnp.float32)
    return spread_P[::-1], vectors_PxP.T[::-1]


SVD_EXAMPLES = 4096


# Standard deviations up to this share of the largest are rounding errors: on data of known rank float32 leaves up to 33
# times its precision, most where few examples are repeated many times.
RANK_TOLERANCE = 100 * 2.0**-23
