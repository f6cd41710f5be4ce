"""Strided convolutions, for images of any size: products of matrices on every device (decisions 5 and 45).

Maps are [C, H, W, B]. Examples are the last axis, so that windows and strides copy long runs of memory; channels are
the first, so that no product of the forward or backward pass has an operand of which a CPU needs a transposed copy.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from aejax.base.errors import InputError
from aejax.models.nets.net import Net
from aejax.settings.fields import static_int, static_ints


class ConvEncoder(nn.Module):
    """x_BxP -> h_BxH: a strided convolution and its activation for each width, then all maps side by side."""

    net: Net
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x_BxP, training):
        maps = _maps(x_BxP, self.shape)
        for width in self.net.widths:
            after = Convolution(self.net, width, self.net.kernel)(maps)
            if self.net.residual:  # the shortcut is a linear map of each stride x stride pixels
                after += Convolution(self.net, width, self.net.stride)(maps)
            maps = self.net.activated(after, training, axis=0)
        return _vectors(maps)


class ConvDecoder(nn.Module):
    """h_BxH -> x_BxP: an activation and a transposed convolution for each layer of the encoder, the last one first."""

    net: Net
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, h_BxH, training):
        image, *larger, smallest = self.net.shapes(self.shape)
        maps = _maps(h_BxH, smallest)
        for shape in (*reversed(larger), image):
            after = Transposed(self.net, shape, self.net.kernel)(self.net.activated(maps, training, axis=0))
            if self.net.residual and shape is not image:
                after += Transposed(self.net, shape, self.net.stride)(maps)
            maps = after
        return _vectors(maps)


class Convolution(nn.Module):
    """A convolution of [C, H, W, B] to `width` channels, padded so that H and W become H / stride, rounded up.

    The padding is that of "SAME": as much on both sides, or one pixel more at the bottom and right.
    """

    net: Net
    width: int
    kernel: int  # its side in pixels

    @nn.compact
    def __call__(self, maps):
        stride, taps = self.net.stride, taps_of(self.kernel, self.net.stride)
        channels, *sides, examples = maps.shape
        places = [-(-side // stride) for side in sides]
        befores = [padding_before(side, self.kernel, stride) for side in sides]
        pads = [
            (before, (place + taps - 1) * stride - side - before)
            for before, place, side in zip(befores, places, sides, strict=True)
        ]
        maps = jnp.pad(maps, ((0, 0), *pads, (0, 0)))
        rows, columns = (place + taps - 1 for place in places)
        blocks = maps.reshape(channels, rows, stride, columns, stride, examples).transpose(2, 4, 0, 1, 3, 5)
        # The last tap's blocks reach beyond a kernel that is no multiple of the stride.
        inside = [min(stride, self.kernel - tap * stride) for tap in range(taps)]
        seen = [
            blocks[: inside[row], : inside[column], :, row : row + places[0], column : column + places[1]].reshape(
                inside[row] * inside[column] * channels, *places, examples
            )
            for row in range(taps)
            for column in range(taps)
        ]
        kernel_FxO, bias_O = Dense(self.net, self.kernel**2 * channels, self.width)()
        return _product(kernel_FxO.T, jnp.concatenate(seen)) + bias_O[:, None, None, None]


class Transposed(nn.Module):
    """The transpose of a Convolution of maps of `shape` (H, W, C), with a bias for each place in a stride.

    A block of stride x stride pixels is made at once. Each pixel is a sum over as many taps of the kernel as reach it:
    all of them, or one less in a row or column where the kernel is no multiple of the stride.
    """

    net: Net
    shape: tuple[int, ...]
    kernel: int  # its side in pixels

    @nn.compact
    def __call__(self, maps):
        (height, width, channels), stride, taps = self.shape, self.net.stride, taps_of(self.kernel, self.net.stride)
        inputs, *sides, examples = maps.shape
        extra = taps - 1
        rows, columns = (side + extra for side in sides)

        def block(tall, first_row, wide, first_column):
            """These pixels of each block, through the taps from these on: [tall, wide, C, rows, columns, B]."""
            features = tall * wide * channels
            shifts = [(row, column) for row in range(first_row, taps) for column in range(first_column, taps)]
            if shifts:
                kernel, bias_F = Dense(self.net, len(shifts) * inputs, features)()
                kernel = kernel.reshape(len(shifts), inputs, features).swapaxes(1, 2).reshape(-1, inputs)
                # split, because its gradient is one concatenation, where that of slices is a sum of padded arrays
                parts = jnp.split(_product(kernel, maps), len(shifts))
                around = [((0, 0), (extra - row, row), (extra - column, column), (0, 0)) for row, column in shifts]
                values = sum(jnp.pad(part, pads) for part, pads in zip(parts, around, strict=True))
                values += bias_F[:, None, None, None]
            else:  # a kernel smaller than the stride does not reach them
                bias_F = self.param(f"bias_{first_row}_{first_column}", nn.initializers.zeros, (features,))
                values = jnp.broadcast_to(bias_F[:, None, None, None], (features, rows, columns, examples))
            return values.reshape(tall, wide, channels, rows, columns, examples)

        whole = self.kernel - extra * stride  # pixels of a stride that the last tap reaches
        parts = [(whole, 0), (stride - whole, 1)] if whole < stride else [(stride, 0)]
        blocks = jnp.concatenate(
            [jnp.concatenate([block(*row, *column) for column in parts], axis=1) for row in parts], axis=0
        )
        pixels = blocks.transpose(2, 3, 0, 4, 1, 5).reshape(channels, rows * stride, columns * stride, examples)
        top, left = (padding_before(side, self.kernel, stride) for side in (height, width))
        return pixels[:, top : top + height, left : left + width]


class Dense(nn.Module):
    """The kernel [inputs, features] and bias of a linear layer, named as nn.Dense names them."""

    net: Net
    inputs: int
    features: int

    @nn.compact
    def __call__(self):
        kernel = self.param("kernel", self.net.initializer, (self.inputs, self.features))
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,))


def taps_of(kernel, stride):
    """The side of a kernel in strides, rounded up."""
    return -(-kernel // stride)


def padding_before(side, kernel, stride):
    """The pixels that "SAME" padding adds before a side of `side` pixels."""
    return max(0, (-(-side // stride) - 1) * stride + kernel - side) // 2


def _product(kernel_OxF, maps):
    """[F, H, W, B] -> [O, H, W, B]: a linear map of the channels of each pixel."""
    features, *sides, examples = maps.shape
    if jax.default_backend() != "cpu":  # where examples may be split among devices, an axis of their own stays so
        return jnp.einsum("of,fhwb->ohwb", kernel_OxF, maps)
    # Of two axes, because a CPU copies the gradient of more into another order.
    return (kernel_OxF @ maps.reshape(features, -1)).reshape(-1, *sides, examples)


def _maps(x_BxP, shape):
    """Vectors as maps of `shape` (H, W, C): [C, H, W, B]."""
    return jnp.moveaxis(x_BxP.T.reshape(*shape, -1), 2, 0)


def _vectors(maps):
    """[C, H, W, B] -> [B, H * W * C]."""
    return jnp.moveaxis(maps, 0, 2).reshape(-1, maps.shape[3]).T


@struct.dataclass
class Conv(Net):
    """Strided convolutions with these numbers of channels from the data toward the code, mirrored in the decoder.

    Each layer divides height and width by the stride, rounding up, so that any size will do. A kernel smaller than the
    stride skips pixels, which the decoder fills with a bias.
    """

    widths: tuple[int, ...] = static_ints(1, 2**16)
    kernel: int = static_int(1, 64)
    stride: int = static_int(1, 64)

    def check(self, experiment):
        form = experiment.form
        if len(form.shape) != 3:
            raise InputError(
                f"net=conv: needs images, and data={form.name} has vectors of {form.pixels} values; "
                "choose another net, such as mlp"
            )
        if not self.widths:
            raise InputError("net.widths=[]: must name at least one layer of convolutions; without any, use net=linear")
        for layers, (height, width, _) in enumerate(self.shapes(form.shape)[:-1]):
            if self.stride > 1 and height == width == 1:
                raise InputError(
                    f"net.widths={list(self.widths)}: too many strides, {form.shape[0]} x {form.shape[1]} pixels are "
                    f"1 x 1 after {layers} layers; must be at most {layers} layers, or net.stride=1"
                )

    def shapes(self, shape):
        """The shapes (H, W, C) of the maps that the encoder goes through, that of the image first."""
        shapes = [shape]
        for width in self.widths:
            height, breadth, _ = shapes[-1]
            shapes.append((-(-height // self.stride), -(-breadth // self.stride), width))
        return shapes

    def encoder(self, shape):
        return ConvEncoder(self, shape)

    def features(self, shape):
        return math.prod(self.shapes(shape)[-1])

    def decoder(self, shape):
        return ConvDecoder(self, shape)
