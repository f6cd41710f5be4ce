"""Per-example terms in nats; an objective is their weighted sum, and the mean over examples comes last."""

import math

import jax
import jax.numpy as jnp
from flax import struct

from aejax.errors import InputError
from aejax.model import forward
from aejax.settings import Number, choice, number


@struct.dataclass
class Likelihood:
    """How pixels are distributed around what the decoder says; the base of the kinds."""

    def settle(self, form):
        """The kind for data of this `form`."""
        return self

    def check(self, experiment):
        """Raises InputError where the kind makes no sense on the experiment's data."""

    def mean(self, logits):
        """The mean of each pixel, any shape."""
        raise NotImplementedError

    def negative_log(self, x_BxP, logits_BxP):
        """-log p(x) in nats, summed over pixels, [B]."""
        raise NotImplementedError


@struct.dataclass
class Bernoulli(Likelihood):
    """Independent pixels that are 1 with probability sigmoid(logit); cross-entropy (Kingma & Welling 2014, C.1)."""

    def check(self, experiment):
        if experiment.form.kind == "real":
            raise InputError(
                f"likelihood=bernoulli: needs pixels in [0, 1], and data={experiment.form.name} is real; "
                "allowed there: gaussian, auto"
            )

    def mean(self, logits):
        return jax.nn.sigmoid(logits)

    def negative_log(self, x_BxP, logits_BxP):
        return jnp.sum(jax.nn.softplus(logits_BxP) - x_BxP * logits_BxP, axis=1)


@struct.dataclass
class Gaussian(Likelihood):
    """Independent pixels N(mean, variance) (Kingma & Welling 2014, C.2, with a variance that is stated).

    `output` is the non-linearity of the mean: sigmoid keeps it in [0, 1], identity leaves it free, and auto is
    sigmoid except for real data.
    """

    variance: Number = number(above=0)
    output: str = choice("auto", "sigmoid", "identity")

    def settle(self, form):
        if self.output != "auto":
            return self
        return self.replace(output="identity" if form.kind == "real" else "sigmoid")

    def mean(self, logits):
        return jax.nn.sigmoid(logits) if self.output == "sigmoid" else logits

    def negative_log(self, x_BxP, logits_BxP):
        squared_B = jnp.sum((x_BxP - self.mean(logits_BxP)) ** 2, axis=1)
        return 0.5 * (squared_B / self.variance + x_BxP.shape[1] * jnp.log(2 * math.pi * self.variance))


@struct.dataclass
class ByKind:
    """Bernoulli for binary data, Gaussian otherwise; `settle` decides before anything is compiled."""

    variance: Number = number(above=0)
    output: str = choice("auto", "sigmoid", "identity")

    def settle(self, form):
        """The kind for data of this `form`."""
        return Bernoulli() if form.kind == "binary" else Gaussian(self.variance, self.output).settle(form)


@struct.dataclass
class KL:
    """KL(posterior || prior), summed over code units; weight 1 makes the objective -ELBO, others beta-VAEs.

    Kingma & Welling 2014, eq. 10; Higgins et al. 2017, eq. 4.
    """

    weight: Number = number(0)

    def check(self, experiment):
        """Raises InputError where the bottleneck has no prior."""
        if not experiment.model.bottleneck.has_prior:
            raise InputError("model.terms.kl: needs a bottleneck with a prior, such as aejax.bottleneck.Gaussian")

    def __call__(self, outputs):
        """The term of each example, [B]."""
        return jnp.sum(outputs.code.kl, axis=1)


def objective(experiment, params, clean_BxP, input_BxP, key):
    """The training objective, a scalar, and its terms {name: scalar}, all means over examples in nats."""
    outputs = forward(experiment, params, input_BxP, key if experiment.model.bottleneck.sampling else None)
    terms = {"reconstruction": jnp.mean(experiment.likelihood.negative_log(clean_BxP, outputs.logits))}
    total = terms["reconstruction"]
    for name, term in experiment.model.terms.items():
        terms[name] = jnp.mean(term(outputs))
        total += term.weight * terms[name]
    return total, terms
