"""The linear layers on both sides of the code, by unit, and the mask of the units that a lane does not have.

The layers are as wide as the widest lane's code. A lane that has fewer units masks the others: they get no gradient,
no KL, no noise, no say in the initialization scale, and trimming removes them from the parameters.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from aejax.base.keys import normal_by_unit


def latent_mask(width: int, latent_dim: int | jax.Array) -> jax.Array:
    """1 for the code units that a lane has and 0 for the others, [Z]."""
    return (jnp.arange(width) < latent_dim).astype(jnp.float32)


def code_width(params: Any) -> int:
    """The number of code units in the parameters of one lane or of a stack, masked ones included."""
    return params["to_code"]["mean"]["bias"].shape[-1]


def mask_of(experiment: Any, params: Any) -> jax.Array:
    """The `latent_mask` of a lane with these parameters, [Z]."""
    return latent_mask(code_width(params), experiment.latent_dim)


class ToCode(nn.Module):
    """h_BxH -> {head: BxZ}: one linear layer for each head of the bottleneck, which may also see labels [B, C]."""

    heads: tuple[str, ...]

    @nn.compact
    def __call__(self, h_BxH: jax.Array, mask_Z: jax.Array, label_BxC: jax.Array | None = None) -> dict[str, jax.Array]:
        return {head: UnitLayer(name=head)(h_BxH, mask_Z, label_BxC) for head in self.heads}


class UnitLayer(nn.Module):
    """h_BxH -> BxZ, each unit's weights drawn independently of the width."""

    @nn.compact
    def __call__(self, h_BxH: jax.Array, mask_Z: jax.Array, label_BxC: jax.Array | None = None) -> jax.Array:
        hidden, units = h_BxH.shape[1], mask_Z.shape[0]

        def draw(key: jax.Array) -> jax.Array:
            return normal_by_unit(key, units, (hidden,)).T * mask_Z[None, :] / jnp.sqrt(hidden)

        kernel_HxZ = self.param("kernel", draw)
        bias_Z = self.param("bias", nn.initializers.zeros, (units,))
        out_BxZ = h_BxH @ kernel_HxZ + bias_Z[None, :]
        if label_BxC is not None:
            out_BxZ += label_BxC @ self.param("label", nn.initializers.zeros, (label_BxC.shape[1], units))
        return out_BxZ * mask_Z[None, :]


class FromCode(nn.Module):
    """z_BxZ -> h_BxH, the first layer of the decoder, scaled by the number of unmasked units; may also see labels."""

    features: int

    @nn.compact
    def __call__(self, z_BxZ: jax.Array, mask_Z: jax.Array, label_BxC: jax.Array | None = None) -> jax.Array:
        def draw(key: jax.Array) -> jax.Array:
            weights_ZxH = normal_by_unit(key, mask_Z.shape[0], (self.features,))
            return weights_ZxH * mask_Z[:, None] / jnp.sqrt(jnp.sum(mask_Z))

        kernel_ZxH = self.param("kernel", draw)
        bias_H = self.param("bias", nn.initializers.zeros, (self.features,))
        h_BxH = (z_BxZ * mask_Z[None, :]) @ kernel_ZxH + bias_H[None, :]
        if label_BxC is None:
            return h_BxH
        return h_BxH + label_BxC @ self.param("label", nn.initializers.zeros, (label_BxC.shape[1], self.features))
