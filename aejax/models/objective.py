"""The terms of an objective, per example; the mean over examples and the weight come last."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import Purpose, key_for, normal_by_unit
from aejax.models.autoencoder import Outputs, code_weights, encode, forward, kl_by_unit, rate
from aejax.models.batch import Batch
from aejax.settings.fields import Leaf, leaf_float, static_int


@struct.dataclass
class Context:
    """What bounds and terms may use: the experiment, its parameters, the batch and the model's outputs for it.

    `distortion` is -log p(x | z) of the outputs, [B]; `progress` the share of the steps after pretraining that are
    done, 0 to 1. `key` is for random draws of a term, `key_samples` for those of a bound, `key_training` for nets as in
    a step of the training; all are None in evaluation. `variables` are those that the term made by `init`.
    """

    experiment: Any
    params: Any
    batch: Batch
    outputs: Outputs
    distortion: jax.Array
    progress: jax.Array
    key: jax.Array | None = None
    key_samples: Any = None
    key_training: jax.Array | None = None
    variables: dict[str, Any] | None = None


@struct.dataclass
class Term:
    """The base of terms: `term(context)` is its value, [B] or a scalar.

    `contribution` is what the mean of that value adds to the objective. A term may have variables. Those of a critic
    learn by its own `loss` alone, and the model only by the contribution, see `objective`.
    """

    weight: Leaf = leaf_float(0)

    is_critic: ClassVar[bool] = False  # whether its variables learn by its loss, with an optimizer of its own
    needs_labels: ClassVar[bool] = False  # whether it looks at the batch's labels
    infers_labels: ClassVar[bool] = False  # whether it has a classifier, `log_class`
    compares_examples: ClassVar[bool] = False  # whether it is about a batch's examples together
    matches_prior: ClassVar[bool] = False  # whether it makes codes, all together, like draws of the prior

    def check(self, experiment: Any) -> None:
        """Raises InputError if the term does not fit the rest of the experiment."""

    def __call__(self, context: Context) -> jax.Array:
        raise NotImplementedError

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        """Variables before the first step; `width` is the number of code units, masked ones included."""
        return {}

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        """The variables without masked units."""
        return variables

    def contribution(self, context: Context, mean: jax.Array) -> jax.Array:
        """What the term adds to the objective, a scalar."""
        return self.weight * mean

    def loss(self, context: Context) -> jax.Array:
        """What the variables of a critic minimize, a scalar; all else in `context` is constant."""
        raise NotImplementedError


@struct.dataclass
class KL(Term):
    """KL(posterior || prior), summed over code units; weight 1 makes the objective -ELBO, others beta-VAEs.

    Kingma & Welling 2014, eq. 10; Higgins et al. 2017, eq. 4. What is added to the objective is

        weight * ramp * |sum_j max(free_bits, mean_B KL_j) - capacity * min(1, progress / capacity_warmup)|

    The ramp rises from 0 to 1 over the share `anneal` of each of `cycles` equal cycles of the training, once for linear
    annealing (Bowman et al. 2016), several times for a cyclical one (Fu et al. 2019, eq. 6). The training here is what
    follows pretraining. free_bits, in nats a unit: Kingma et al. 2016, eq. 15. The capacity, in nats: Burgess et al.
    2018, eq. 8.
    """

    anneal: Leaf = leaf_float(0, 1)
    cycles: Leaf = leaf_float(1)
    free_bits: Leaf = leaf_float(0)
    capacity: Leaf = leaf_float(0)
    capacity_warmup: Leaf = leaf_float(0, 1)

    @property
    def is_plain(self) -> bool:
        """Whether it is the KL itself, with weight 1; known before the numbers are traced."""
        return bool(self.weight == 1 and not (self.anneal or self.free_bits or self.capacity))

    def check(self, experiment: Any) -> None:
        if not experiment.model.bottleneck.has_posterior:
            raise InputError(
                "model.terms.kl: needs a bottleneck with a posterior, such as aejax.models.bottlenecks.Gaussian"
            )

    def __call__(self, context: Context) -> jax.Array:
        return rate(context.experiment, context.params, context.outputs.code, context.batch.label)

    def contribution(self, context: Context, mean: jax.Array) -> jax.Array:
        code = context.outputs.code
        kl_BxZ = kl_by_unit(context.experiment, context.params, code, context.batch.label)
        if kl_BxZ is None:
            kl = jnp.maximum(mean, self.free_bits * jnp.sum(code.mask))
        else:
            kl = jnp.sum(jnp.maximum(jnp.mean(kl_BxZ, axis=0), self.free_bits * code.mask))
        within = jnp.mod(context.progress * self.cycles, 1.0)
        return (
            self.weight
            * _ramp(within, self.anneal)
            * jnp.abs(kl - self.capacity * _ramp(context.progress, self.capacity_warmup))
        )


@struct.dataclass
class L1(Term):
    """The sum of the code units' absolute values, each times the length of its weights in the decoder.

    It is the L1 norm of a code whose decoder has rows of length 1 (Conerly et al. 2024), so that smaller codes and
    larger weights do not evade it. A decoder with hidden layers can still do so in its later layers.
    """

    def __call__(self, context: Context) -> jax.Array:
        weights_ZxH = code_weights(context.experiment, context.params)
        length_Z = jnp.sqrt(jnp.sum(weights_ZxH**2, axis=1) + TINY**2)  # the root has no gradient at 0
        return jnp.abs(context.outputs.code.z) @ length_Z


@struct.dataclass
class ActivationKL(Term):
    """sum_j KL(rho || the batch's mean of unit j), between Bernoulli rates (Ng 2011, section 3), a scalar."""

    rho: Leaf = leaf_float(above=0, high=0.999999)

    def check(self, experiment: Any) -> None:
        activation = getattr(experiment.model.bottleneck, "activation", None)
        if activation != "sigmoid":
            raise InputError(
                f"model.bottleneck.activation={activation}: must be sigmoid, because the units of "
                f"{experiment.model_title} have a target rate"
            )

    def __call__(self, context: Context) -> jax.Array:
        code, rho = context.outputs.code, self.rho
        rate_Z = jnp.clip(jnp.mean(code.z, axis=0), TINY, 1 - TINY)
        kl_Z = rho * jnp.log(rho / rate_Z) + (1 - rho) * jnp.log((1 - rho) / (1 - rate_Z))
        return jnp.sum(kl_Z * code.mask)


TINY = 1e-6


@struct.dataclass
class Contraction(Term):
    """The squared Frobenius norm of the encoder's Jacobian at x, the code's mean by pixels (Rifai et al. 2011, eq. 5).

    It is exact, at the cost of one backward pass per unit, or with `probes` the mean over so many random directions,
    which has the same expectation (Hutchinson 1990). Nets are as in evaluation: no dropout, running statistics.
    """

    probes: int | None = static_int(1, optional=True)

    def __call__(self, context: Context) -> jax.Array:
        units = context.outputs.code.mask.shape[0]

        def encoded(x_BxP: jax.Array) -> jax.Array:
            return encode(context.experiment, context.params, x_BxP, label=context.batch.label).mean

        mean_BxZ, pull = jax.vjp(encoded, context.batch.input)
        if self.probes is None:
            directions_DxZ, scale = jnp.eye(units), 1.0
        else:
            directions_DxZ = jnp.sign(normal_by_unit(context.key, units, (self.probes,))).T
            scale = 1 / self.probes

        def squared(direction_Z: jax.Array) -> jax.Array:
            (gradient_BxP,) = pull(jnp.broadcast_to(direction_Z[None, :], mean_BxZ.shape))
            return jnp.sum(gradient_BxP**2, axis=1)

        return scale * jnp.sum(jax.lax.map(squared, directions_DxZ, batch_size=DIRECTIONS), axis=0)


DIRECTIONS = 8  # of the Jacobian that are computed at a time


def _ramp(progress: jax.Array, share: Leaf) -> jax.Array:
    """Rises from 0 to 1 while `progress` rises from 0 to `share`; 1 throughout if the share is 0."""
    return jnp.where(share > 0, jnp.minimum(1.0, progress / jnp.where(share > 0, share, 1.0)), 1.0)


def objective(
    experiment: Any, params: Any, batch: Batch, at: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array], Any]:
    """The training objective, a scalar; its terms {name: scalar}, means over examples in nats; the running statistics.

    `at` is the step; without one nothing is drawn, and nets are as in evaluation.
    """
    key_posterior, key_training, key_penalty = (
        None if at is None else key_for(experiment.seed, use, at)
        for use in (Purpose.POSTERIOR, Purpose.TRAINING, Purpose.PENALTY)
    )
    bottleneck = experiment.model.bottleneck
    key_code = key_posterior if bottleneck.sampling else None
    outputs = forward(experiment, params, batch.input, key_code, key_training, batch.label)
    pretraining = sum(experiment.pretrain.phases(experiment))  # steps before the whole model trains
    progress = jnp.float32(1.0) if at is None else (at - pretraining) / (experiment.steps - pretraining)
    distortion = experiment.likelihood.negative_log if at is None else experiment.likelihood.training_loss
    nats_B = distortion(batch.target, outputs.logits, params["likelihood"])
    context = Context(experiment, params, batch, outputs, nats_B, progress, key_penalty, key_posterior, key_training)
    terms = {"reconstruction": jnp.mean(nats_B)}
    total = jnp.mean(experiment.bound(context))
    for name, term in experiment.model.terms.items():
        variables = params.get("terms", {}).get(name, {})
        constant = jax.lax.stop_gradient(variables) if term.is_critic else variables
        seen = dataclasses.replace(context, variables=constant)
        terms[name] = jnp.mean(term(seen))
        if not (experiment.bound.has_kl and isinstance(term, KL)):
            total += term.contribution(seen, terms[name])
        if term.is_critic:
            loss = term.loss(dataclasses.replace(jax.lax.stop_gradient(context), variables=variables))
            terms[f"{name}_loss"] = loss
            total += loss - jax.lax.stop_gradient(loss)
    return total, terms, outputs.statistics


def term_names(model: Any) -> list[str]:
    """The names of what `objective` returns beside the reconstruction."""
    return [*model.terms, *(f"{name}_loss" for name, term in model.terms.items() if term.is_critic)]
