"""Codes drawn evenly from a Riemannian manifold, by Markov chains."""

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.evaluation.encoding import picked, seen
from aejax.evaluation.sampling import Sampler
from aejax.models import autoencoder
from aejax.models.codes.riemannian import posterior_metric
from aejax.models.layers import mask_of
from aejax.models.posteriors import Diagonal
from aejax.settings.fields import Leaf, leaf_float, static_int


@struct.dataclass
class Riemannian(Sampler):
    """Hamiltonian Monte Carlo on the volume of the codes' manifold (Chadebec & Allassonnière 2022).

    The metric is the model's where it has one, else that of the posteriors of so many `centers`, training examples that
    are picked by hash. A chain begins at a random center.
    """

    centers: int = static_int(1, 10_000)
    temperature: Leaf | None = leaf_float(above=0, optional=True)
    regularization: Leaf = leaf_float(above=0)
    decay: Leaf = leaf_float(0)
    steps: int = static_int(1, 100_000)
    leapfrogs: int = static_int(1, 1000)
    step: Leaf = leaf_float(above=0)

    def check(self, experiment):
        if not experiment.model.bottleneck.has_metric and not has_independent_gaussians(experiment):
            raise InputError(
                "sampler=riemannian: needs a Gaussian posterior with independent units, or a metric of codes, and "
                f"{experiment.model_title} has neither; use model=vae or model=rhvae, or sampler=flow"
            )

    def codes(self, experiment, params, data, key, samples, label_S=None):
        metric, weight_R = self.metric(experiment, params, data)
        key_start, key_chain = jax.random.split(key)
        center_S = jax.random.categorical(key_start, jnp.log(weight_R), shape=(samples,))
        step_Z = self.step * metric.width
        return chains(key_chain, metric.log_density, metric.center[center_S], step_Z, self.steps, self.leapfrogs)

    def metric(self, experiment, params, data):
        """The metric, and how likely a chain begins at each of its centers, [R]."""
        bottleneck = experiment.model.bottleneck
        if bottleneck.has_metric:
            metric = bottleneck.metric(params["running"]["bottleneck"], mask_of(experiment, params))
            return metric, metric.weight
        y_R = None if seen(experiment, data.y_train) is None else picked(data.y_train, self.centers)
        x_RxP = experiment.form.scaled(picked(data.train, self.centers))
        posterior = autoencoder.encode(experiment, params, x_RxP, label=y_R).posterior
        metric = posterior_metric(posterior, self.temperature, self.regularization, self.decay)
        return metric, jnp.ones(x_RxP.shape[0])


def has_independent_gaussians(experiment):
    """Whether the model's posterior is a Gaussian with independent units."""
    if not experiment.model.bottleneck.has_posterior:
        return False
    shapes = jax.eval_shape(lambda: autoencoder.init(experiment, int(experiment.latent_dim)))
    x_1xP = jax.ShapeDtypeStruct((1, experiment.form.pixels), jnp.float32)
    label = jax.ShapeDtypeStruct((1,), jnp.int32) if experiment.model.is_conditional else None
    code = jax.eval_shape(
        lambda *inputs: autoencoder.encode(experiment, *inputs[:2], label=inputs[2]), shapes, x_1xP, label
    )
    return type(code.posterior) is Diagonal


def chains(key, log_density, start_SxZ, step_Z, steps, leapfrogs):
    """The ends [S, Z] of independent chains of Hamiltonian Monte Carlo (Neal 2011, section 3), each of so many steps.

    `log_density` gives that of codes [S, Z], up to a constant, [S]. Units whose step is 0 stay.
    """
    samples, units = start_SxZ.shape
    value_and_slope = jax.value_and_grad(lambda z_SxZ: _summed(log_density(z_SxZ)), has_aux=True)

    def leapfrog(_, state):
        z_SxZ, momentum_SxZ, slope_SxZ, _ = state
        half_SxZ = momentum_SxZ + 0.5 * step_Z[None, :] * slope_SxZ
        z_SxZ = z_SxZ + step_Z[None, :] * half_SxZ
        (_, log_S), slope_SxZ = value_and_slope(z_SxZ)
        return z_SxZ, half_SxZ + 0.5 * step_Z[None, :] * slope_SxZ, slope_SxZ, log_S

    def step(state, at):
        z_SxZ, slope_SxZ, log_S = state
        key_momentum, key_accept = jax.random.split(jax.random.fold_in(key, at))
        momentum_SxZ = normal_by_unit(key_momentum, units, (samples,)).T
        end_SxZ, last_SxZ, end_slope_SxZ, end_log_S = lax.fori_loop(
            0, leapfrogs, leapfrog, (z_SxZ, momentum_SxZ, slope_SxZ, log_S)
        )
        gain_S = end_log_S - log_S + 0.5 * (momentum_SxZ**2 - last_SxZ**2) @ (step_Z > 0)
        is_accepted_S = jnp.log(jax.random.uniform(key_accept, (samples,))) < gain_S
        kept_Sx1 = is_accepted_S[:, None]
        z_SxZ, slope_SxZ = jnp.where(kept_Sx1, end_SxZ, z_SxZ), jnp.where(kept_Sx1, end_slope_SxZ, slope_SxZ)
        return (z_SxZ, slope_SxZ, jnp.where(is_accepted_S, end_log_S, log_S)), None

    (_, log_S), slope_SxZ = value_and_slope(start_SxZ)
    return lax.scan(step, (start_SxZ, slope_SxZ, log_S), jnp.arange(steps))[0][0]


def _summed(values_S):
    return jnp.sum(values_S), values_S
