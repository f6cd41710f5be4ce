"""Strided convolutions, for images of any size."""

import math

import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from aejax.errors import InputError
from aejax.nets.net import Net
from aejax.settings import count, counts


class ConvEncoder(nn.Module):
    """x_BxP -> h_BxH: a strided convolution and its activation for each width, then all maps side by side."""

    net: Net
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x_BxP, training):
        maps = x_BxP.reshape(-1, *self.shape)
        for width in self.net.widths:
            after = Convolution(self.net, width, self.net.taps)(maps)
            if self.net.residual:  # past it, every stride-th pixel
                after += Convolution(self.net, width, 1)(maps)
            maps = self.net.activated(after, training)
        return maps.reshape(maps.shape[0], -1)


class ConvDecoder(nn.Module):
    """h_BxH -> x_BxP: an activation and a transposed convolution for each layer of the encoder, the last one first."""

    net: Net
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, h_BxH, training):
        image, *larger, smallest = self.net.shapes(self.shape)
        maps = h_BxH.reshape(-1, *smallest)
        for shape in (*reversed(larger), image):
            after = Transposed(self.net, shape, self.net.taps)(self.net.activated(maps, training))
            if self.net.residual and shape is not image:
                after += Transposed(self.net, shape, 1)(maps)
            maps = after
        return maps.reshape(maps.shape[0], -1)


class Convolution(nn.Module):
    """A convolution of [B, H, W, C] to `width` channels, padded so that H and W become H / stride, rounded up."""

    net: Net
    width: int
    taps: int  # the side of the kernel in strides

    @nn.compact
    def __call__(self, maps):
        stride, pads = self.net.stride, []
        for side in maps.shape[1:3]:
            missing = (-(-side // stride) + self.taps - 1) * stride - side
            pads.append((missing // 2, missing - missing // 2))
        maps = jnp.pad(maps, ((0, 0), *pads, (0, 0)))
        examples, height, width, channels = maps.shape
        rows, columns = height // stride, width // stride
        blocks = maps.reshape(examples, rows, stride, columns, stride, channels).transpose(0, 1, 3, 2, 4, 5)
        return self.net.dense(self.width)(_windows(blocks.reshape(examples, rows, columns, -1), self.taps))


class Transposed(nn.Module):
    """The transposed convolution onto maps of `shape` (H, W, C): stride x stride pixels at once, side by side."""

    net: Net
    shape: tuple[int, ...]
    taps: int  # the side of the kernel in strides

    @nn.compact
    def __call__(self, maps):
        (height, width, channels), stride, more = self.shape, self.net.stride, self.taps - 1
        maps = jnp.pad(maps, ((0, 0), (more, more), (more, more), (0, 0)))
        blocks = self.net.dense(stride * stride * channels)(_windows(maps, self.taps))
        examples, rows, columns, _ = blocks.shape
        pixels = blocks.reshape(examples, rows, columns, stride, stride, channels).transpose(0, 1, 3, 2, 4, 5)
        pixels = pixels.reshape(examples, rows * stride, columns * stride, channels)
        top, left = (rows * stride - height) // 2, (columns * stride - width) // 2
        return pixels[:, top : top + height, left : left + width]


def _windows(maps, taps):
    """[B, H, W, C] -> [B, H - taps + 1, W - taps + 1, taps * taps * C]: what each place of a kernel sees."""
    rows, columns = (side - taps + 1 for side in maps.shape[1:3])
    shifts = [(row, column) for row in range(taps) for column in range(taps)]
    return jnp.concatenate([maps[:, r : r + rows, c : c + columns] for r, c in shifts], axis=3)


@struct.dataclass
class Conv(Net):
    """Strided convolutions with these numbers of channels from the data towards the code, mirrored in the decoder.

    Each layer divides height and width by the stride, rounding up, so that any size will do.
    """

    widths: tuple[int, ...] = counts(1, 2**16)
    kernel: int = count(1, 64)
    stride: int = count(1, 64)

    @property
    def taps(self):
        """The side of a kernel in strides."""
        return -(-self.kernel // self.stride)

    def check(self, experiment):
        form = experiment.form
        if len(form.shape) != 3:
            raise InputError(
                f"net=conv: needs images, and data={form.name} has vectors of {form.pixels} values; "
                "must be another net, such as mlp"
            )
        if not self.widths:
            raise InputError("net.widths=[]: must name at least one layer of convolutions, or net=linear")
        for layers, (height, width, _) in enumerate(self.shapes(form.shape)[:-1]):
            if self.stride > 1 and height == width == 1:
                raise InputError(
                    f"net.widths={list(self.widths)}: too many strides, {form.shape[0]} x {form.shape[1]} pixels are "
                    f"1 x 1 after {layers} layers; must be at most {layers} layers, or net.stride=1"
                )

    def shapes(self, shape):
        """The shapes (H, W, C) of the maps that the encoder goes through, that of the image first."""
        found = [shape]
        for width in self.widths:
            height, breadth, _ = found[-1]
            found.append((-(-height // self.stride), -(-breadth // self.stride), width))
        return found

    def encoder(self, shape):
        return ConvEncoder(self, shape)

    def features(self, shape):
        return math.prod(self.shapes(shape)[-1])

    def decoder(self, shape):
        return ConvDecoder(self, shape)
