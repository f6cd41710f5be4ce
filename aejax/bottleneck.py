"""Between encoder and decoder: hidden units -> code -> hidden units. The only module that knows the latent mask.

The layers are as wide as the widest lane's code. A lane that has fewer units masks the others: they get no gradient,
no KL, no noise, no say in the initialisation scale, and trimming removes them from the parameters.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from aejax.random import normal_by_unit
from aejax.settings import flag


def latent_mask(width, latent_dim):
    """1 for the code units that a lane has and 0 for the others, [Z]."""
    return (jnp.arange(width) < latent_dim).astype(jnp.float32)


def trim(params, latent_dim):
    """The parameters without the masked units: what a run of its own would have."""
    heads = {
        name: {"kernel": head["kernel"][:, :latent_dim], "bias": head["bias"][:latent_dim]}
        for name, head in params["to_code"].items()
    }
    from_code = dict(params["from_code"], kernel=params["from_code"]["kernel"][:latent_dim])
    return dict(params, to_code=heads, from_code=from_code)


class ToCode(nn.Module):
    """h_BxH -> {head: BxZ}: one linear layer for each quantity that a kind of code is made from."""

    heads: tuple[str, ...]

    @nn.compact
    def __call__(self, h_BxH, mask_Z):
        return {head: UnitLayer(name=head)(h_BxH, mask_Z) for head in self.heads}


class UnitLayer(nn.Module):
    """h_BxH -> BxZ, each unit's weights drawn for itself."""

    @nn.compact
    def __call__(self, h_BxH, mask_Z):
        hidden, units = h_BxH.shape[1], mask_Z.shape[0]

        def draw(key):
            return normal_by_unit(key, units, (hidden,)).T * mask_Z[None, :] / jnp.sqrt(hidden)

        kernel_HxZ = self.param("kernel", draw)
        bias_Z = self.param("bias", nn.initializers.zeros, (units,))
        return (h_BxH @ kernel_HxZ + bias_Z[None, :]) * mask_Z[None, :]


class FromCode(nn.Module):
    """z_BxZ -> h_BxH, the first layer of the decoder, scaled by the units that a lane really has."""

    features: int

    @nn.compact
    def __call__(self, z_BxZ, mask_Z):
        def draw(key):
            weights_ZxH = normal_by_unit(key, mask_Z.shape[0], (self.features,))
            return weights_ZxH * mask_Z[:, None] / jnp.sqrt(jnp.sum(mask_Z))

        kernel_ZxH = self.param("kernel", draw)
        bias_H = self.param("bias", nn.initializers.zeros, (self.features,))
        return (z_BxZ * mask_Z[None, :]) @ kernel_ZxH + bias_H[None, :]


@struct.dataclass
class Code:
    """What a bottleneck makes of an example: z_BxZ goes on to the decoder, mean_BxZ is what evaluation uses.

    kl_BxZ is each unit's KL to the prior in nats, None where the bottleneck has no prior.
    """

    z: jax.Array
    mean: jax.Array
    kl: jax.Array | None


@struct.dataclass
class Plain:
    """The code is the encoder's output itself."""

    heads: ClassVar[tuple[str, ...]] = ("mean",)
    has_prior: ClassVar[bool] = False
    sampling: ClassVar[bool] = False

    def __call__(self, heads, mask_Z, key):
        """The Code of `heads` {name: BxZ}."""
        return Code(z=heads["mean"], mean=heads["mean"], kl=None)


@struct.dataclass
class Gaussian:
    """A diagonal Gaussian posterior with the prior N(0, I) (Kingma & Welling 2014, section 3 and appendix B).

    With `sampling=false` training decodes the posterior mean instead of z = mean + std * eps; evaluation, which
    samples for the ELBO, does not ask.
    """

    sampling: bool = flag()

    heads: ClassVar[tuple[str, ...]] = ("mean", "log_variance")
    has_prior: ClassVar[bool] = True

    def __call__(self, heads, mask_Z, key):
        """The Code of `heads` {name: BxZ}; without a key z is the posterior mean."""
        mean_BxZ, log_variance_BxZ = heads["mean"], heads["log_variance"]
        z_BxZ = mean_BxZ
        if key is not None:
            examples, units = mean_BxZ.shape
            eps_BxZ = normal_by_unit(key, units, (examples,)).T
            z_BxZ = mean_BxZ + jnp.exp(0.5 * log_variance_BxZ) * eps_BxZ * mask_Z[None, :]
        return Code(z=z_BxZ, mean=mean_BxZ, kl=gaussian_kl(mean_BxZ, log_variance_BxZ) * mask_Z[None, :])

    def prior(self, key, samples, mask_Z):
        """Codes drawn from the prior, [samples, Z]."""
        return normal_by_unit(key, mask_Z.shape[0], (samples,)).T * mask_Z[None, :]


def gaussian_kl(mean, log_variance):
    """KL(N(mean, variance) || N(0, 1)) in nats, elementwise (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)
