"""How a model's parameters are found: by descent, or in closed form."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.errors import InputError


@struct.dataclass
class Descent:
    """Gradient steps from a random start."""

    closed_form: ClassVar[bool] = False

    def check(self, experiment):
        """Fits every experiment."""

    def start(self, params, x_NxP):
        """The parameters before the first step."""
        return params


@struct.dataclass
class PrincipalComponents:
    """The linear net whose code is the projection on the first principal components; no gradient steps.

    Pearson 1901; Bourlard & Kamp 1988 for its place among autoencoders.
    """

    closed_form: ClassVar[bool] = True

    def check(self, experiment):
        """Raises InputError where the experiment is not a linear, plain autoencoder with a free mean."""
        if not experiment.net.is_linear:
            raise InputError(f"net.widths={list(experiment.net.widths)}: principal components need net=linear")
        if experiment.model.bottleneck.has_prior or experiment.model.terms:
            raise InputError("model: principal components need a plain bottleneck and no further terms")
        if getattr(experiment.likelihood, "output", None) != "identity":
            raise InputError("likelihood: principal components need likelihood=linear")

    def start(self, params, x_NxP):
        """The solution."""
        mean_P, components_ZxP = principal_components(x_NxP, params["from_code"]["kernel"].shape[0])
        kernel_PxZ = components_ZxP.T
        to_code = {"mean": {"kernel": kernel_PxZ, "bias": -mean_P @ kernel_PxZ}}
        return dict(params, to_code=to_code, from_code={"kernel": components_ZxP, "bias": mean_P})


def principal_components(x_NxP, width):
    """The mean [P] and the first `width` principal components [width, P], orthonormal, largest variance first.

    Each is signed so that its largest entry is positive; beyond the rank of the data they are 0.
    """
    with jax.default_matmul_precision("highest"):
        examples = x_NxP.shape[0]
        mean_P = jnp.mean(x_NxP, axis=0)
        centred_NxP = x_NxP - mean_P[None, :]
        if examples <= SVD_EXAMPLES:
            components_KxP = jnp.linalg.svd(centred_NxP, full_matrices=False)[2][: examples - 1]
        else:  # more accurate above, much faster below
            components_KxP = jnp.linalg.eigh(centred_NxP.T @ centred_NxP / examples)[1].T[::-1]
        largest_K = jnp.argmax(jnp.abs(components_KxP), axis=1, keepdims=True)
        components_KxP *= jnp.sign(jnp.take_along_axis(components_KxP, largest_K, axis=1))
        missing = max(0, width - components_KxP.shape[0])
        return mean_P, jnp.pad(components_KxP, ((0, missing), (0, 0)))[:width]


SVD_EXAMPLES = 4096
