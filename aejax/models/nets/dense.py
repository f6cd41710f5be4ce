"""Fully connected layers."""

import math

from flax import linen as nn
from flax import struct

from aejax.base.errors import InputError
from aejax.models.nets.net import Net
from aejax.settings.fields import static_bool, static_ints


class DenseEncoder(nn.Module):
    """x_BxP -> h_BxH: a dense layer and its activation for each width."""

    net: Net

    @nn.compact
    def __call__(self, h_BxH, training):
        for width in self.net.widths:
            h_BxH = self.net.activated(_layer(self.net, h_BxH, h_BxH, width), training)
        return h_BxH


class DenseDecoder(nn.Module):
    """h_BxH -> BxP: an activation and a dense layer for each of `widths`; the last width is that of the data."""

    net: Net
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, h_BxH, training):
        for place, width in enumerate(self.widths):
            last = place == len(self.widths) - 1
            active_BxH = self.net.activated(h_BxH, training)
            h_BxH = self.net.dense(width)(active_BxH) if last else _layer(self.net, active_BxH, h_BxH, width)
        return h_BxH


def _layer(net, active_BxH, h_BxH, width):
    """A dense layer, with a shortcut if the net is residual."""
    out_BxH = net.dense(width)(active_BxH)
    if not net.residual:
        return out_BxH
    return out_BxH + (h_BxH if h_BxH.shape == out_BxH.shape else net.dense(width)(h_BxH))


@struct.dataclass
class Mlp(Net):
    """Fully connected layers of these widths from the data toward the code, mirrored in the decoder.

    Without widths it is the linear net: linear maps from data to code and back. With `tied` the decoder's
    weights are the encoder's, transposed, those next to the code included; its biases are its own.
    """

    widths: tuple[int, ...] = static_ints(1, 2**16)
    tied: bool = static_bool()

    @property
    def is_linear(self):
        return not self.widths

    def check(self, experiment):
        if self.tied and self.residual:
            raise InputError("net.tied=true: a residual net cannot be tied; set net.tied=false or net.residual=false")

    def encoder(self, shape):
        return DenseEncoder(self)

    def features(self, shape):
        return self._decoder_widths(shape)[0]

    def decoder(self, shape):
        return DenseDecoder(self, self._decoder_widths(shape)[1:])

    def mirrored(self, encoder):
        """{layer: kernel} of the decoder, from the encoder's parameters, for tied weights."""
        last = len(self.widths) - 1
        return {f"Dense_{last - place}": encoder[f"Dense_{place}"]["kernel"].T for place in range(last + 1)}

    def _decoder_widths(self, shape):
        return (*reversed(self.widths), math.prod(shape))
