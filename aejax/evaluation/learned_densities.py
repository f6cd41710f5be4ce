"""Densities of training codes that descent fits: a normalizing flow, and a second variational autoencoder."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.evaluation.encoding import codes_of_stored, draws_of_stored, picked, seen
from aejax.evaluation.protocol import DENSITY
from aejax.evaluation.sampling import Sampler
from aejax.models import autoencoder, flows
from aejax.models.layers import mask_of
from aejax.models.priors import gaussian_kl
from aejax.settings.fields import Leaf, leaf_float, static_int

REGULAR = 1e-6  # of the mean variance of the codes: the least variance by which a unit is divided


@struct.dataclass
class LearnedDensity(Sampler):
    """The base: a density of standardized codes, given their class if the model is conditional.

    It is fitted by `steps` steps of Adam, each on `batch_size` random codes, at a rate that falls from `fit_lr` to 0 as
    a cosine. Its networks have hidden layers of `hidden` units. Discrete codes are the nearest to what is drawn.
    """

    steps: int = static_int(1, 1_000_000)
    batch_size: int = static_int(1, 1_000_000)
    fit_lr: Leaf = leaf_float(above=0)
    hidden: int = static_int(1, 10_000)

    def codes(self, experiment, params, data, key, samples, label_S=None):
        key_codes, key_density = jax.random.split(key)
        y_N = None if seen(experiment, data.y_train) is None else picked(data.y_train, DENSITY)
        z_NxZ, y_N = self.examples(experiment, params, key_codes, picked(data.train, DENSITY), y_N)
        classes_NxC, classes_SxC = (
            None if label is None else jax.nn.one_hot(label, experiment.form.classes) for label in (y_N, label_S)
        )
        mask_Z = mask_of(experiment, params)
        z_SxZ = self.drawn(key_density, z_NxZ, mask_Z, samples, classes_NxC, classes_SxC)
        return autoencoder.snapped(experiment, params, z_SxZ)

    def drawn(self, key, z_NxZ, mask_Z, samples, classes_NxC=None, classes_SxC=None):
        """Codes [samples, Z] of the density fitted to z_NxZ; classes, one-hot, of these codes and of the samples."""
        key_init, key_fit, key_sample = jax.random.split(key, 3)
        mean_Z, variance_Z = jnp.mean(z_NxZ, axis=0), jnp.var(z_NxZ, axis=0)
        least = REGULAR * jnp.sum(variance_Z * mask_Z) / jnp.sum(mask_Z) + jnp.finfo(jnp.float32).tiny
        std_Z = jnp.sqrt(jnp.maximum(variance_Z, least))
        standard_NxZ = (z_NxZ - mean_Z[None, :]) / std_Z[None, :] * mask_Z[None, :]

        def loss(variables, key_step):
            key_rows, key_noise = jax.random.split(key_step)
            rows_B = jax.random.randint(key_rows, (self.batch_size,), 0, z_NxZ.shape[0])
            classes_BxC = None if classes_NxC is None else classes_NxC[rows_B]
            return jnp.mean(self.nats(variables, key_noise, standard_NxZ[rows_B], mask_Z, classes_BxC))

        classes = 0 if classes_NxC is None else classes_NxC.shape[1]
        variables = descended(loss, self.init(key_init, mask_Z, classes), key_fit, self.steps, self.fit_lr)
        z_SxZ = self.sampled(variables, key_sample, mask_Z, samples, classes_SxC)
        return (mean_Z[None, :] + std_Z[None, :] * z_SxZ) * mask_Z[None, :]

    def examples(self, experiment, params, key, stored_NxP, y_N):
        """The codes that the density is fitted to, [N, Z], and their labels, [N] or None."""
        return codes_of_stored(experiment, params, stored_NxP, y_N), y_N

    def init(self, key, mask_Z, classes):
        """The variables before the first step; `classes` is 0 unless the model is conditional."""
        raise NotImplementedError

    def nats(self, variables, key, z_BxZ, mask_Z, classes_BxC):
        """The negative log density of standardized codes or a bound on it, [B], from above."""
        raise NotImplementedError

    def sampled(self, variables, key, mask_Z, samples, classes_SxC):
        """Standardized codes of the density, [samples, Z]."""
        raise NotImplementedError


def descended(loss, variables, key, steps, lr):
    """The variables after `steps` steps of Adam (Kingma & Ba 2015) on `loss(variables, key of the step)`."""
    optimizer = optax.adam(optax.cosine_decay_schedule(lr, steps))

    def step(state, at):
        variables, moments = state
        gradient = jax.grad(loss)(variables, jax.random.fold_in(key, at))
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(variables, updates), moments), None

    return lax.scan(step, (variables, optimizer.init(variables)), jnp.arange(steps))[0][0]


@struct.dataclass
class Flow(LearnedDensity):
    """A masked autoregressive flow of `layers` layers (Papamakarios et al. 2017, eq. 4).

    `noise` is the standard deviation of what is added to the standardized codes at each step: without it the density
    of few codes, or of units that others determine, grows without a limit (Rothfuss et al. 2019, section 4).
    """

    layers: int = static_int(1, 100)
    noise: Leaf = leaf_float(0)

    def init(self, key, mask_Z, classes):
        return {
            "flow": flows.init(key, mask_Z.shape[0], self.layers, self.hidden),
            "classes": jnp.zeros((classes, self.hidden)),
        }

    def nats(self, variables, key, z_BxZ, mask_Z, classes_BxC):
        eps_BxZ = normal_by_unit(key, mask_Z.shape[0], z_BxZ.shape[:1]).T
        noisy_BxZ = (z_BxZ + self.noise * eps_BxZ) * mask_Z[None, :]
        context_BxH = _context(variables, classes_BxC)
        noise_BxZ, log_determinant_B = flows.autoregressed(variables["flow"], noisy_BxZ, mask_Z, context_BxH)
        return 0.5 * jnp.sum(noise_BxZ**2, axis=1) - log_determinant_B

    def sampled(self, variables, key, mask_Z, samples, classes_SxC):
        eps_SxZ = normal_by_unit(key, mask_Z.shape[0], (samples,)).T * mask_Z[None, :]
        return flows.unautoregressed(variables["flow"], eps_SxZ, mask_Z, _context(variables, classes_SxC))


@struct.dataclass
class TwoStage(LearnedDensity):
    """A second variational autoencoder, of the first's codes, with a code u of as many units.

    Dai & Wipf 2019, section 4: it is trained on samples z of the first's posterior, here `draws` of each example; then
    u ~ N(0, I) and z = decoder(u) + std * eps, with the standard deviation that its likelihood has learned. Encoder
    and decoder have two hidden layers.
    """

    draws: int = static_int(1, 1000)

    def check(self, experiment):
        if not experiment.model.bottleneck.has_posterior:
            raise InputError(
                f"sampler=two_stage: {experiment.model_title} has no posterior to draw codes from; use model=vae, or "
                "sampler=flow"
            )

    def examples(self, experiment, params, key, stored_NxP, y_N):
        def draw(key):
            return draws_of_stored(experiment, params, stored_NxP, y_N, key)

        z_DxNxZ = lax.map(draw, jax.random.split(key, self.draws))
        return z_DxNxZ.reshape(-1, z_DxNxZ.shape[2]), None if y_N is None else jnp.tile(y_N, self.draws)

    def init(self, key, mask_Z, classes):
        key_encoder, key_decoder = jax.random.split(key)
        return {
            "encoder": _network(key_encoder, mask_Z, self.hidden, 2, classes),
            "decoder": _network(key_decoder, mask_Z, self.hidden, 1, classes),
            "log_std": jnp.zeros(()),
        }

    def nats(self, variables, key, z_BxZ, mask_Z, classes_BxC):
        out_BxZx2 = _through(variables["encoder"], z_BxZ, mask_Z, classes_BxC)
        mean_BxZ, log_variance_BxZ = out_BxZx2[..., 0], out_BxZx2[..., 1]
        eps_BxZ = normal_by_unit(key, mask_Z.shape[0], z_BxZ.shape[:1]).T
        u_BxZ = mean_BxZ + jnp.exp(0.5 * log_variance_BxZ) * eps_BxZ
        decoded_BxZ = _through(variables["decoder"], u_BxZ, mask_Z, classes_BxC)[..., 0]
        log_std = variables["log_std"]
        distortion_BxZ = 0.5 * ((z_BxZ - decoded_BxZ) * jnp.exp(-log_std)) ** 2 + log_std
        return (distortion_BxZ + gaussian_kl(mean_BxZ, log_variance_BxZ)) @ mask_Z

    def sampled(self, variables, key, mask_Z, samples, classes_SxC):
        u_SxZ, eps_SxZ = (normal_by_unit(key_part, mask_Z.shape[0], (samples,)).T for key_part in jax.random.split(key))
        decoded_SxZ = _through(variables["decoder"], u_SxZ, mask_Z, classes_SxC)[..., 0]
        return decoded_SxZ + jnp.exp(variables["log_std"]) * eps_SxZ


def _network(key, mask_Z, hidden, outputs, classes):
    """Random variables of a network of two hidden layers from units to so many outputs for each unit."""
    key_in, key_hidden, key_out = jax.random.split(key, 3)
    units = mask_Z.shape[0]
    return {
        "in": normal_by_unit(key_in, units, (hidden,)),
        "classes": jnp.zeros((classes, hidden)),
        "hidden": jax.random.normal(key_hidden, (hidden, hidden)) / jnp.sqrt(hidden),
        "bias": jnp.zeros((2, hidden)),
        "out": normal_by_unit(key_out, units, (hidden, outputs)) / jnp.sqrt(hidden),
        "out_bias": jnp.zeros((units, outputs)),
    }


def _through(network, z_BxZ, mask_Z, classes_BxC) -> Any:
    """The outputs of a network for codes, [B, Z, outputs]."""
    h_BxH = (z_BxZ * mask_Z[None, :]) @ network["in"] / jnp.sqrt(jnp.sum(mask_Z)) + network["bias"][:1]
    context_BxH = _context(network, classes_BxC)
    h_BxH = jax.nn.silu(h_BxH if context_BxH is None else h_BxH + context_BxH)
    h_BxH = jax.nn.silu(h_BxH @ network["hidden"] + network["bias"][1:])
    return jnp.einsum("bh,zhk->bzk", h_BxH, network["out"]) + network["out_bias"][None]


def _context(variables, classes_BxC):
    """What the classes of codes add to hidden units, [B, H]; None without classes."""
    return None if classes_BxC is None else classes_BxC @ variables["classes"]
