"""Strided convolutions as XLA has them, beside aejax's products of matrices: the same layers, for timing."""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from aejax.models.nets.conv import Conv


class Encoder(nn.Module):
    """x_BxP -> h_BxH."""

    net: Any
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x_BxP, training):
        maps, stride = x_BxP.reshape(-1, *self.shape), (self.net.stride,) * 2
        for width in self.net.widths:
            convolve = nn.Conv(width, (self.net.kernel,) * 2, stride, "SAME", dtype=self.net.dtype)
            maps = self.net.activated(convolve(maps), training)
        return maps.reshape(maps.shape[0], -1).astype(jnp.float32)


class Decoder(nn.Module):
    """h_BxH -> x_BxP."""

    net: Any
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, h_BxH, training):
        image, *larger, smallest = self.net.shapes(self.shape)
        maps, stride = h_BxH.reshape(-1, *smallest), (self.net.stride,) * 2
        for height, width, channels in (*reversed(larger), image):
            convolve = nn.ConvTranspose(channels, (self.net.kernel,) * 2, stride, "SAME", dtype=self.net.dtype)
            maps = convolve(self.net.activated(maps, training))[:, :height, :width]
        return maps.reshape(maps.shape[0], -1).astype(jnp.float32)


@struct.dataclass
class XlaConv(Conv):
    """`net=conv` by XLA's convolutions; without residual layers."""

    dtype: ClassVar[Any] = None  # what inputs and weights are rounded to

    def encoder(self, shape):
        return Encoder(self, shape)

    def decoder(self, shape):
        return Decoder(self, shape)


@struct.dataclass
class XlaConvBfloat16(XlaConv):
    """The same in bfloat16, which a convolution takes from its inputs only."""

    dtype: ClassVar[Any] = jnp.bfloat16
