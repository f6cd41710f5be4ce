"""Encoders and decoders: the layers on either side of the bottleneck. No losses and no code units here."""

import math

import jax
from flax import linen as nn
from flax import struct

from aejax.settings import choice, counts

ACTIVATIONS = (
    "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity", "leaky_relu",
    "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus", "sparse_plus",
    "squareplus", "swish", "tanh",
)  # fmt: skip


class DenseEncoder(nn.Module):
    """x_BxP -> h_BxH: a dense layer and its activation for each width."""

    widths: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(self, h_BxH):
        for width in self.widths:
            h_BxH = getattr(jax.nn, self.activation)(nn.Dense(width)(h_BxH))
        return h_BxH


class DenseDecoder(nn.Module):
    """h_BxH -> BxP: an activation and a dense layer for each width; the last width is that of the data."""

    widths: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(self, h_BxH):
        for width in self.widths:
            h_BxH = nn.Dense(width)(getattr(jax.nn, self.activation)(h_BxH))
        return h_BxH


@struct.dataclass
class Mlp:
    """Fully connected layers of these widths from the data towards the code, mirrored in the decoder.

    Without widths it is the linear net: the code is a linear map of the data, and back.
    """

    widths: tuple[int, ...] = counts(1, 2**16)
    activation: str = choice(*ACTIVATIONS)

    @property
    def is_linear(self):
        """Whether nothing but linear maps stands between data and code."""
        return not self.widths

    def encoder(self, shape):
        """The module x_BxP -> h_BxH, for examples of `shape`."""
        return DenseEncoder(self.widths, self.activation)

    def features(self, shape):
        """The width H of the decoder's input, which the bottleneck makes out of the code."""
        return self._decoder_widths(shape)[0]

    def decoder(self, shape):
        """The module h_BxH -> x_BxP before the output non-linearity, which is the likelihood's."""
        return DenseDecoder(self._decoder_widths(shape)[1:], self.activation)

    def _decoder_widths(self, shape):
        return (*reversed(self.widths), math.prod(shape))
