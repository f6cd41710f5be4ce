"""Small vision transformers (Dosovitskiy et al. 2021): patches of an image as tokens that attend to each other."""

import math

from flax import linen as nn
from flax import struct

from aejax.base.errors import InputError
from aejax.models.nets.net import Net
from aejax.models.patches import patched, places, side_of, unpatched
from aejax.settings.fields import static_int, static_ints

EXPANSION = 4  # of the hidden layer in a block beside its token
POSITION_STD = 0.02  # of the position embeddings before the first step


class TransformerEncoder(nn.Module):
    """x_BxP -> h_BxH: a linear map of each patch and its position, then the blocks; all tokens side by side."""

    net: Net
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x_BxP, training):
        patches = patched(x_BxP.reshape(-1, *self.shape), side_of(self.net.patch, self.shape))
        tokens = Positions()(self.net.dense(self.net.widths[0])(patches))
        for width in self.net.widths:
            tokens = Block(self.net, width)(tokens, training)
        return self.net.normed(tokens, training).reshape(tokens.shape[0], -1)


class TransformerDecoder(nn.Module):
    """h_BxH -> x_BxP: tokens and their positions, as many blocks as the encoder has, and a linear map to each patch."""

    net: Net
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, h_BxH, training):
        side = side_of(self.net.patch, self.shape)
        tokens = Positions()(h_BxH.reshape(-1, math.prod(places(side, self.shape)), self.net.widths[-1]))
        for width in reversed(self.net.widths):
            tokens = Block(self.net, width)(tokens, training)
        patches = self.net.dense(side**2 * self.shape[2])(self.net.normed(tokens, training))
        maps = unpatched(patches, side, self.shape)
        return maps.reshape(maps.shape[0], -1)


class Positions(nn.Module):
    """Adds to each token [B, T, W] a learned vector of its place."""

    @nn.compact
    def __call__(self, tokens):
        return tokens + self.param("embedding", nn.initializers.normal(POSITION_STD), tokens.shape[1:])[None]


class Block(nn.Module):
    """Self-attention among the tokens [B, T, W], then a hidden layer for each, both after a norm, with shortcuts."""

    net: Net
    width: int

    @nn.compact
    def __call__(self, tokens, training):
        net = self.net
        if tokens.shape[2] != self.width:
            tokens = net.dense(self.width)(tokens)
        size = -(-self.width // net.heads)
        attention = nn.MultiHeadDotProductAttention(  # no biases: the keys' would be 0 but for rounding
            net.heads, qkv_features=net.heads * size, kernel_init=net.initializer, use_bias=False
        )
        tokens = self._added(tokens, attention(net.normed(tokens, training)))
        hidden = net.active(net.dense(EXPANSION * self.width)(net.normed(tokens, training)), training)
        return self._added(tokens, net.dense(self.width)(hidden))

    def _added(self, tokens, change):
        return tokens + change if self.net.residual else change


@struct.dataclass
class Transformer(Net):
    """Blocks of so many `heads` on patches of `patch` x `patch` pixels, with these numbers a token, mirrored.

    Dosovitskiy et al. 2021, eq. 1-4, without a class token: the code is made from all tokens, and all tokens are made
    from the code. Images may have any size.
    """

    widths: tuple[int, ...] = static_ints(1, 2**16)
    patch: int | None = static_int(1, 256, optional=True)
    heads: int = static_int(1, 256)

    def check(self, experiment):
        form = experiment.form
        if len(form.shape) != 3:
            raise InputError(
                f"net=vit: needs images, and data={form.name} has vectors of {form.pixels} values; "
                "choose another net, such as mlp"
            )
        if not self.widths:
            raise InputError("net.widths=[]: must name at least one block; without any, use net=linear")

    def encoder(self, shape):
        return TransformerEncoder(self, shape)

    def features(self, shape):
        return math.prod(places(side_of(self.patch, shape), shape)) * self.widths[-1]

    def decoder(self, shape):
        return TransformerDecoder(self, shape)
