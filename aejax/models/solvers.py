"""Solvers of a model's parameters: by descent, or in closed form."""

from typing import ClassVar

from flax import struct

from aejax.base.errors import InputError
from aejax.models.layers import code_width
from aejax.models.principal_components import principal_components


@struct.dataclass
class Descent:
    """Gradient steps from a random start."""

    closed_form: ClassVar[bool] = False

    def check(self, experiment):
        """Fits every experiment."""

    def start(self, params, stored_NxP, form):
        """The parameters before the first step, for these training examples."""
        return params


@struct.dataclass
class PrincipalComponents:
    """The linear net whose code is the projection on the first principal components; no gradient steps.

    Pearson 1901; Bourlard & Kamp 1988 for its place among autoencoders.
    """

    closed_form: ClassVar[bool] = True

    def check(self, experiment):
        """Raises InputError if the experiment is not a linear, plain autoencoder with an unbounded mean."""
        title = experiment.model_title
        if not experiment.net.is_linear:
            raise InputError(f"net.widths={list(experiment.net.widths)}: {title} has no hidden layers; use net=linear")
        if experiment.net.tied:
            raise InputError(f"net.tied=true: the weights of {title} are tied already; set net.tied=false")
        if experiment.net.center:
            raise InputError(f"net.center=true: {title} centers examples already; set net.center=false")
        if experiment.model.is_conditional:
            raise InputError(
                f"model.condition=label: {title} does not look at labels; use model.condition=none, or model=linear_ae"
            )
        bottleneck = experiment.model.bottleneck
        if bottleneck.has_posterior or bottleneck.is_discrete or experiment.model.terms:
            raise InputError(f"model.solver: {title} needs a plain bottleneck and no terms for principal components")
        if getattr(experiment.likelihood, "output", None) != "identity":
            raise InputError(f"likelihood: {title} minimizes the squared error; use likelihood=linear")

    def start(self, params, stored_NxP, form):
        """The parameters that minimize the reconstruction error of these training examples."""
        mean_P, components_ZxP = principal_components(stored_NxP, form, code_width(params))
        kernel_PxZ = components_ZxP.T
        to_code = {"mean": {"kernel": kernel_PxZ, "bias": -mean_P @ kernel_PxZ}}
        return dict(params, to_code=to_code, from_code={"kernel": components_ZxP, "bias": mean_P})
