"""Bounds: how samples of the posterior become an objective; each is minimized, in nats per example.

`Elbo` leaves the KL to the model's KL term, which may weigh it; the others have it inside, with weight 1.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.likelihoods import Optimal
from aejax.models.objective import KL, Context
from aejax.settings.fields import Leaf, leaf_float, static_int

ENCODER = ("encoder", "to_code", "bottleneck")  # modules of the posterior; all others are of the generative model


@struct.dataclass
class Bound:
    """The base: `bound(context)` is what an example adds to the objective, [B]."""

    has_kl: ClassVar[bool] = False  # whether it has the KL inside

    @property
    def name(self) -> str:
        """Its name in conf/bound."""
        return type(self).__name__.lower()

    def check(self, experiment: Any) -> None:
        """Raises InputError if the bound does not fit the rest of the experiment."""

    def __call__(self, context: Context) -> jax.Array:
        raise NotImplementedError


@struct.dataclass
class Elbo(Bound):
    """-log p(x | z) of one sample; with a KL term of weight 1 the negative ELBO (Kingma & Welling 2014, eq. 7)."""

    def __call__(self, context: Context) -> jax.Array:
        return context.distortion


@struct.dataclass
class Weighted(Bound):
    """The base of bounds of several samples, log weights log p(x, z) - log q(z | x) [K, B]."""

    has_kl: ClassVar[bool] = True

    def check(self, experiment: Any) -> None:
        bottleneck = experiment.model.bottleneck
        if not (bottleneck.has_posterior and bottleneck.sampling):
            remedy = "set model.bottleneck.sampling=true" if bottleneck.has_posterior else "use model=vae"
            raise InputError(
                f"bound={self.name}: {experiment.model_title} does not draw from a posterior; {remedy}, or bound=elbo"
            )
        check_likelihood(f"bound={self.name}", experiment)
        for term in experiment.model.terms.values():
            if isinstance(term, KL) and not term.is_plain:
                raise InputError(
                    f"bound={self.name}: has the KL inside, with weight 1, and {experiment.model_title} weighs it; set "
                    "model.beta=1, without annealing, free bits and capacity, or bound=elbo"
                )

    def count(self) -> int:
        """The number of samples."""
        raise NotImplementedError

    def log_weights(self, context: Context, params: Any, fixed_density: bool = False) -> jax.Array:
        """The log weights of the samples, [K, B], as functions of `params`.

        With `fixed_density` no gradient flows through the parameters of the posterior's density.
        """
        experiment, batch = context.experiment, context.batch
        code = autoencoder.encode(experiment, params, batch.input, label=batch.label, key_training=context.key_training)
        density = jax.lax.stop_gradient(code.posterior)

        def one(key: jax.Array) -> jax.Array:
            draw = code.posterior.sample(key)
            if fixed_density:
                draw = draw.replace(log_q=density.log_prob(draw.z), eps=None)
            logits_BxP = autoencoder.decode(experiment, params, draw.z, batch.label, context.key_training)
            ratio_B = experiment.prior.log_ratio(
                experiment, params, density if fixed_density else code.posterior, draw, batch.label
            )
            return ratio_B - experiment.likelihood.negative_log(batch.target, logits_BxP, params["likelihood"])

        return jax.vmap(one)(jax.random.split(context.key_samples, self.count()))


@struct.dataclass
class IWAE(Weighted):
    """-log of the mean weight of k samples (Burda et al. 2016, eq. 8)."""

    k: int = static_int(1, 10_000)

    def count(self) -> int:
        return self.k

    def __call__(self, context: Context) -> jax.Array:
        return -_log_mean(self.log_weights(context, context.params))


@struct.dataclass
class MIWAE(Weighted):
    """The mean of m bounds of k samples each (Rainforth et al. 2018, eq. 12)."""

    m: int = static_int(1, 10_000)
    k: int = static_int(1, 10_000)

    def count(self) -> int:
        return self.m * self.k

    def __call__(self, context: Context) -> jax.Array:
        return self.of(self.log_weights(context, context.params))

    def of(self, weight_KxB: jax.Array) -> jax.Array:
        """The bound of these log weights, [B]."""
        parts = weight_KxB.reshape(self.m, self.k, -1)
        return -jnp.mean(jax.vmap(_log_mean)(parts), axis=0)


@struct.dataclass
class CIWAE(Weighted):
    """`share` times the ELBO and 1 - share times the bound of k samples (Rainforth et al. 2018, eq. 13)."""

    k: int = static_int(1, 10_000)
    share: Leaf = leaf_float(0, 1)

    def count(self) -> int:
        return self.k

    def __call__(self, context: Context) -> jax.Array:
        weight_KxB = self.log_weights(context, context.params)
        return -self.share * jnp.mean(weight_KxB, axis=0) - (1 - self.share) * _log_mean(weight_KxB)


@struct.dataclass
class PIWAE(MIWAE):
    """The decoder and the prior learn by the bound of all m k samples, the encoder by MIWAE.

    Rainforth et al. 2018, eq. 14. Its value is the bound of all samples.
    """

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        _check_untied(self, experiment)

    def __call__(self, context: Context) -> jax.Array:
        generative, inference = _halves(context.params)
        value_B = -_log_mean(self.log_weights(context, generative))
        encoder_B = self.of(self.log_weights(context, inference))
        return value_B + encoder_B - jax.lax.stop_gradient(encoder_B)


@struct.dataclass
class DReG(IWAE):
    """IWAE with a doubly reparameterized gradient for the encoder (Tucker et al. 2019, eq. 6).

    The encoder's gradient flows through the samples alone, with squared normalized weights.
    """

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        _check_untied(self, experiment)

    def __call__(self, context: Context) -> jax.Array:
        generative, inference = _halves(context.params)
        value_B = -_log_mean(self.log_weights(context, generative))
        weight_KxB = self.log_weights(context, inference, fixed_density=True)
        share_KxB = jax.lax.stop_gradient(jax.nn.softmax(weight_KxB, axis=0))
        encoder_B = -jnp.sum(share_KxB**2 * weight_KxB, axis=0)
        return value_B + encoder_B - jax.lax.stop_gradient(encoder_B)


def check_likelihood(what: str, experiment: Any) -> None:
    """Raises InputError where the likelihood of a batch is not the sum of those of its examples; `what` begins it."""
    if isinstance(experiment.likelihood, Optimal):
        raise InputError(
            f"{what}: needs the likelihood of single examples, and likelihood=optimal takes the variance from the "
            "batch; use likelihood=learned"
        )


def _log_mean(weight_KxB: jax.Array) -> jax.Array:
    """The log of the mean weight, [B]."""
    return jax.scipy.special.logsumexp(weight_KxB, axis=0) - jnp.log(weight_KxB.shape[0])


def _halves(params: Any) -> tuple[Any, Any]:
    """The parameters with the posterior's fixed, and with all others fixed."""
    fixed = jax.lax.stop_gradient(params)
    posterior = {name: params[name] for name in ENCODER if name in params}
    return params | {name: fixed[name] for name in posterior}, fixed | posterior


def _check_untied(bound: Bound, experiment: Any) -> None:
    if experiment.net.tied:
        raise InputError(
            f"bound={bound.name}: encoder and decoder have gradients of their own, and net.tied=true shares their "
            "weights; set net.tied=false"
        )
