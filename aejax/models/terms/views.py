"""Terms on the codes of two views of an example, each with noise of its own."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.noise import Clean
from aejax.models.objective import Context, Term
from aejax.models.terms.codes import covariance, drawing_key
from aejax.settings.fields import Leaf, leaf_float

EPSILON = 1e-4  # added to the variance of a unit


@struct.dataclass
class Views(Term):
    """The base: the first view is the input of the batch, the second another draw of the same noise."""

    compares_examples: ClassVar[bool] = True

    def check(self, experiment: Any) -> None:
        if isinstance(experiment.noise, Clean):
            raise InputError(
                f"noise=none: {experiment.model_title} compares two corrupted views; use noise=gaussian or another "
                "noise"
            )

    def codes(self, context: Context) -> tuple[jax.Array, jax.Array]:
        """The codes of the two views, [B, Z] each."""
        experiment, batch = context.experiment, context.batch
        view_BxP = experiment.noise(drawing_key(context), batch.target, experiment.form.shape)
        second = autoencoder.encode(
            experiment, context.params, view_BxP, label=batch.label, key_training=context.key_training
        )
        return context.outputs.code.mean, second.mean


@struct.dataclass
class CrossCorrelation(Views):
    """The squared distance of the views' cross-correlation from the identity, a scalar (Zbontar et al. 2021, eq. 1).

    Entries off the diagonal count `redundancy` times.
    """

    redundancy: Leaf = leaf_float(0)

    def __call__(self, context: Context) -> jax.Array:
        a_BxZ, b_BxZ = (_standardized(z_BxZ) for z_BxZ in self.codes(context))
        correlation_ZxZ = a_BxZ.T @ b_BxZ / a_BxZ.shape[0]
        same_Z = jnp.diagonal(correlation_ZxZ)
        others = jnp.sum(correlation_ZxZ**2) - jnp.sum(same_Z**2)
        return jnp.sum((1 - same_Z) ** 2 * context.outputs.code.mask) + self.redundancy * others


def _standardized(z_BxZ: jax.Array) -> jax.Array:
    return (z_BxZ - jnp.mean(z_BxZ, axis=0)[None, :]) / jnp.sqrt(jnp.var(z_BxZ, axis=0) + EPSILON)[None, :]


@struct.dataclass
class VICReg(Views):
    """Invariance, variance and covariance of the codes of two views, a scalar (Bardes et al. 2022, eq. 1 to 6).

    The mean over units of the squared difference of the views; of what a unit's standard deviation lacks to 1; and of
    the squared covariances with other units; each with a weight.
    """

    invariance: Leaf = leaf_float(0)
    variance: Leaf = leaf_float(0)
    covariance: Leaf = leaf_float(0)

    def __call__(self, context: Context) -> jax.Array:
        views, mask_Z = self.codes(context), context.outputs.code.mask
        units = jnp.sum(mask_Z)
        difference = jnp.mean(jnp.sum((views[0] - views[1]) ** 2, axis=1)) / units
        lack, shared = jnp.float32(0), jnp.float32(0)
        for z_BxZ in views:
            covariance_ZxZ = covariance(z_BxZ)
            variance_Z = jnp.diagonal(covariance_ZxZ)
            lack += jnp.sum(jax.nn.relu(1 - jnp.sqrt(variance_Z + EPSILON)) * mask_Z) / units
            shared += (jnp.sum(covariance_ZxZ**2) - jnp.sum(variance_Z**2)) / units
        return self.invariance * difference + self.variance * lack + self.covariance * shared
