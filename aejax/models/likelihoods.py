"""Likelihoods: how pixels are distributed given the decoder's output; per example, in nats."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.settings.fields import Leaf, leaf_float, static_bool, static_choice

EDGE = 1 / 256  # of a mean in [0, 1], so that its logit is finite


@struct.dataclass
class Likelihood:
    """How pixels are distributed given the decoder's output; the base of the kinds."""

    is_density: ClassVar[bool] = True  # of real values; otherwise a probability of 0 and 1

    def settle(self, form):
        """The kind for data of this `form`."""
        return self

    def check(self, experiment):
        """Raises InputError if the kind does not fit the experiment's data."""

    def mean(self, logits):
        """The mean of each pixel, any shape."""
        raise NotImplementedError

    def logits(self, mean):
        """The finite logits whose mean is this one, or closest to it; any shape."""
        raise NotImplementedError

    def start(self, form):
        """The kind's own parameters {name: array} before the first step."""
        return {}

    def negative_log(self, x_BxP, logits_BxP, params):
        """-log p(x) in nats, summed over pixels, [B]; `params` are the kind's own parameters."""
        raise NotImplementedError

    def by_pixel(self, x_BxP, logits_BxP, params):
        """The same of each pixel, [B, P]."""
        raise NotImplementedError

    def training_loss(self, x_BxP, logits_BxP, params):
        """What a training step minimizes in place of negative_log, [B]."""
        return self.negative_log(x_BxP, logits_BxP, params)

    def draw(self, key, logits_BxP, params):
        """Examples x_BxP drawn from p(x) at these logits."""
        raise NotImplementedError

    def learned(self, params):
        """The quantities that its own parameters encode, {name: scalar}."""
        return {}


@struct.dataclass
class Bernoulli(Likelihood):
    """Independent pixels that are 1 with probability sigmoid(logit); cross-entropy (Kingma & Welling 2014, C.1)."""

    is_density: ClassVar[bool] = False

    def check(self, experiment):
        if experiment.form.kind == "real":
            raise InputError(
                f"likelihood=bernoulli: needs pixels in [0, 1], and data={experiment.form.name} is real; "
                "allowed there: gaussian, auto"
            )

    def mean(self, logits):
        return jax.nn.sigmoid(logits)

    def logits(self, mean):
        return _logit(mean)

    def negative_log(self, x_BxP, logits_BxP, params):
        return jnp.sum(self.by_pixel(x_BxP, logits_BxP, params), axis=1)

    def by_pixel(self, x_BxP, logits_BxP, params):
        return jax.nn.softplus(logits_BxP) - x_BxP * logits_BxP

    def draw(self, key, logits_BxP, params):
        return jax.random.bernoulli(key, self.mean(logits_BxP)).astype(jnp.float32)


@struct.dataclass
class Gaussian(Likelihood):
    """Independent pixels N(mean, variance) (Kingma & Welling 2014, C.2, with a fixed variance).

    `output` is the non-linearity of the mean: sigmoid keeps it in [0, 1], identity leaves it free, and auto is
    sigmoid except for real data.
    """

    variance: Leaf = leaf_float(above=0)
    output: str = static_choice("auto", "sigmoid", "identity")

    def settle(self, form):
        if self.output != "auto":
            return self
        return self.replace(output="identity" if form.kind == "real" else "sigmoid")

    def mean(self, logits):
        return jax.nn.sigmoid(logits) if self.output == "sigmoid" else logits

    def logits(self, mean):
        return _logit(mean) if self.output == "sigmoid" else mean

    def negative_log(self, x_BxP, logits_BxP, params):
        squared_B = jnp.sum((x_BxP - self.mean(logits_BxP)) ** 2, axis=1)
        return 0.5 * (squared_B / self.variance + x_BxP.shape[1] * jnp.log(2 * math.pi * self.variance))

    def by_pixel(self, x_BxP, logits_BxP, params):
        squared_BxP = (x_BxP - self.mean(logits_BxP)) ** 2
        return 0.5 * (squared_BxP / self.variance + jnp.log(2 * math.pi * self.variance))

    def draw(self, key, logits_BxP, params):
        return self.mean(logits_BxP) + jnp.sqrt(self.variance) * jax.random.normal(key, logits_BxP.shape)


@struct.dataclass
class Learned(Gaussian):
    """Independent pixels N(mean, variance) whose variance is learned: one for all pixels, or one for each.

    `variance` is where it starts and `floor` what it stays above: log variance = log floor + softplus(a - log floor)
    with the parameter a, as in Rybkin et al. 2021, section 3.
    """

    floor: Leaf = leaf_float(above=0)
    shared_variance: bool = static_bool()

    def check(self, experiment):
        if self.variance <= self.floor:
            raise InputError(
                f"likelihood.variance={self.variance:g}: must be above likelihood.floor={self.floor:g}, where it starts"
            )

    def start(self, form):
        over = jnp.log(self.variance / self.floor)
        inverse = over + jnp.log(-jnp.expm1(-over))  # of the softplus
        shape = (1,) if self.shared_variance else (form.pixels,)
        return {"log_variance": jnp.full(shape, inverse + jnp.log(self.floor))}

    def negative_log(self, x_BxP, logits_BxP, params):
        return 0.5 * jnp.sum(self._twice(x_BxP, logits_BxP, params), axis=1)

    def by_pixel(self, x_BxP, logits_BxP, params):
        return 0.5 * self._twice(x_BxP, logits_BxP, params)

    def _twice(self, x_BxP, logits_BxP, params):
        log_variance_P = jnp.broadcast_to(self.log_variance(params), x_BxP.shape[1:])
        squared_BxP = (x_BxP - self.mean(logits_BxP)) ** 2
        return squared_BxP * jnp.exp(-log_variance_P)[None, :] + (math.log(2 * math.pi) + log_variance_P)[None, :]

    def draw(self, key, logits_BxP, params):
        std_P = jnp.broadcast_to(jnp.exp(0.5 * self.log_variance(params)), logits_BxP.shape[1:])
        return self.mean(logits_BxP) + std_P[None, :] * jax.random.normal(key, logits_BxP.shape)

    def learned(self, params):
        return {"variance": jnp.mean(jnp.exp(self.log_variance(params)))}

    def log_variance(self, params):
        """The logarithm of the variance, [1] or [P], above that of `floor`."""
        lowest = jnp.log(self.floor)
        return lowest + jax.nn.softplus(params["log_variance"] - lowest)


@struct.dataclass
class Optimal(Learned):
    """Independent pixels N(mean, variance) with the batch's optimal variance (Rybkin et al. 2021).

    That is the mean squared error. Evaluation takes a variance that is learned beside it, from the errors alone.
    """

    def training_loss(self, x_BxP, logits_BxP, params):
        squared_BxP = (x_BxP - self.mean(logits_BxP)) ** 2
        best = jnp.mean(squared_BxP, axis=None if self.shared_variance else 0)
        variance_P = jnp.broadcast_to(jnp.maximum(best, self.floor), x_BxP.shape[1:])
        nats_BxP = squared_BxP / variance_P[None, :] + jnp.log(2 * math.pi * variance_P)[None, :]
        learned_B = self.negative_log(x_BxP, jax.lax.stop_gradient(logits_BxP), params)
        return 0.5 * jnp.sum(nats_BxP, axis=1) + learned_B - jax.lax.stop_gradient(learned_B)


@struct.dataclass
class ByKind(Likelihood):
    """Bernoulli for binary data, Gaussian otherwise; `settle` decides before anything is compiled."""

    variance: Leaf = leaf_float(above=0)
    output: str = static_choice("auto", "sigmoid", "identity")

    def settle(self, form):
        """The kind for data of this `form`."""
        return Bernoulli() if form.kind == "binary" else Gaussian(self.variance, self.output).settle(form)


def _logit(mean):
    return jax.scipy.special.logit(jnp.clip(mean, EDGE, 1 - EDGE))
