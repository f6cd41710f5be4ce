"""What all nets share: the layers between two linear ones, and their options."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from aejax.settings.fields import Leaf, leaf_float, static_bool, static_choice

ACTIVATIONS = (
    "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity", "leaky_relu",
    "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus", "sparse_plus",
    "squareplus", "swish", "tanh",
)  # fmt: skip
INITS = (
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform", "orthogonal",
)  # fmt: skip
MOMENTUM = 0.9  # of the running statistics of batch norm, which average over about ten steps


@struct.dataclass
class Net:
    """The base of all nets: an encoder, a decoder, and the width H between code and decoder, for a shape of data.

    `norm` is none, layer (Ba et al. 2016; over a layer's units, in convolutions over a pixel's channels) or batch
    (Ioffe & Szegedy 2015); `dropout` the share of hidden units that a step leaves out, null for none (Srivastava et
    al. 2014); `residual` adds to each hidden layer its input (He et al. 2016), through a linear map where the widths
    differ. With `center` the encoder gets an example's difference from the mean training example, to which
    the decoder's output is added. The layers next to the code are the bottleneck's and start as it says.
    """

    activation: str = static_choice(*ACTIVATIONS)
    init: str = static_choice(*INITS)
    norm: str = static_choice("none", "layer", "batch")
    dropout: Leaf | None = leaf_float(0, 0.99, optional=True)
    residual: bool = static_bool()
    center: bool = static_bool()

    is_linear: ClassVar[bool] = False  # whether nothing but linear maps stands between data and code
    tied = False  # whether the decoder's weights are the encoder's; no ClassVar, because a net may have it as a field

    def check(self, experiment):
        """Raises InputError if the net does not fit the experiment's data."""

    def encoder(self, shape):
        """The module (x_BxP, training) -> h_BxH, for examples of `shape`."""
        raise NotImplementedError

    def features(self, shape):
        """The width H of the decoder's input, which the bottleneck makes out of the code."""
        raise NotImplementedError

    def decoder(self, shape):
        """The module (h_BxH, training) -> x_BxP before the output non-linearity, which is the likelihood's."""
        raise NotImplementedError

    def dense(self, width, name=None):
        """A linear layer."""
        return nn.Dense(width, kernel_init=self.initializer, name=name)

    @property
    def initializer(self):
        """What draws the initial weights."""
        return getattr(nn.initializers, self.init)()

    def activated(self, h, training, axis=-1):
        """Norm, activation and dropout of hidden units, with the units along `axis`; inside a module."""
        return self.active(self.normed(h, training, axis), training, axis)

    def normed(self, h, training, axis=-1):
        """The norm alone."""
        if self.norm == "layer":
            h = nn.LayerNorm(reduction_axes=axis, feature_axes=axis)(h)
        if self.norm == "batch":
            h = nn.BatchNorm(not training, axis=axis, momentum=MOMENTUM, use_fast_variance=False)(h)
        return h

    def active(self, h, training, axis=-1):
        """Activation and dropout alone."""
        h = getattr(jax.nn, self.activation)(h)
        return Dropout(self.dropout, axis)(h) if training and self.dropout is not None else h


class Dropout(nn.Module):
    """Leaves each unit out with probability `rate`, which may be a tracer, and scales the others up.

    What is left out is drawn with the units last, so that it does not depend on the `axis` that they have.
    """

    rate: Any
    axis: int = -1

    @nn.compact
    def __call__(self, h):
        drawn = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, h.swapaxes(self.axis, -1).shape)
        return jnp.where(drawn.swapaxes(self.axis, -1), h / (1 - self.rate), 0.0)
