"""A model is a composition: encoder, bottleneck, decoder, terms of the objective, and how the parameters are found."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from aejax.bottleneck import Code, FromCode, ToCode, latent_mask
from aejax.random import Purpose, key_for
from aejax.settings import part


@struct.dataclass
class Autoencoder:
    """The parts of a model that are not the nets: any autoencoder is a choice of these.

    `terms` {name: term} are added to the reconstruction term, each with its own weight.
    """

    bottleneck: Any = part()
    terms: dict[str, Any] = part()
    fit: Any = part()

    def check(self, experiment):
        """Raises InputError where a part does not fit the rest of the experiment."""
        for component in (*self.terms.values(), self.fit):
            component.check(experiment)


@struct.dataclass
class Outputs:
    """What a model gives back for x_BxP: its Code and logits_BxP, the decoder's output before the likelihood."""

    code: Code
    logits: jax.Array


def init(experiment, width):
    """Random parameters, a dict by module; `width` is the number of code units, masked ones included."""
    net, shape, mask_Z = experiment.net, experiment.form.shape, latent_mask(width, experiment.latent_dim)
    x_1xP, z_1xZ = jnp.zeros((1, experiment.form.pixels)), jnp.zeros((1, width))
    key_encoder, key_code, key_decoder = (
        key_for(experiment.seed, purpose) for purpose in (Purpose.ENCODER, Purpose.BOTTLENECK, Purpose.DECODER)
    )
    h_1xH, encoder = net.encoder(shape).init_with_output(key_encoder, x_1xP)
    to_code = ToCode(experiment.model.bottleneck.heads).init(key_code, h_1xH, mask_Z)
    h_1xH, from_code = FromCode(net.features(shape)).init_with_output(key_code, z_1xZ, mask_Z)
    decoder = net.decoder(shape).init(key_decoder, h_1xH)
    modules = {"encoder": encoder, "to_code": to_code, "from_code": from_code, "decoder": decoder}
    return {name: variables.get("params", {}) for name, variables in modules.items()}


def encode(experiment, params, x_BxP, key=None):
    """The Code of x_BxP; z is a posterior sample with a key and the posterior mean without one."""
    mask_Z = _mask(experiment, params)
    h_BxH = experiment.net.encoder(experiment.form.shape).apply({"params": params["encoder"]}, x_BxP)
    bottleneck = experiment.model.bottleneck
    return bottleneck(ToCode(bottleneck.heads).apply({"params": params["to_code"]}, h_BxH, mask_Z), mask_Z, key)


def decode(experiment, params, z_BxZ):
    """The decoder's output logits_BxP; `experiment.likelihood.mean` turns it into pixels."""
    net, shape = experiment.net, experiment.form.shape
    from_code = FromCode(net.features(shape))
    h_BxH = from_code.apply({"params": params["from_code"]}, z_BxZ, _mask(experiment, params))
    return net.decoder(shape).apply({"params": params["decoder"]}, h_BxH)


def forward(experiment, params, x_BxP, key=None):
    """Outputs for x_BxP."""
    code = encode(experiment, params, x_BxP, key)
    return Outputs(code, decode(experiment, params, code.z))


def reconstruct(experiment, params, x_BxP):
    """The mean image of x_BxP's posterior mean, x_BxP."""
    return experiment.likelihood.mean(forward(experiment, params, x_BxP).logits)


def sample(experiment, params, key, samples):
    """Mean images of codes drawn from the prior, [samples, P]."""
    z_SxZ = experiment.model.bottleneck.prior(key, samples, _mask(experiment, params))
    return experiment.likelihood.mean(decode(experiment, params, z_SxZ))


def _mask(experiment, params):
    return latent_mask(params["from_code"]["kernel"].shape[0], experiment.latent_dim)
