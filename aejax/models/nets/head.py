"""A net with a linear layer on top: what tells examples apart, by class or as real and decoded."""

from typing import Any

import jax
from flax import linen as nn

from aejax.base.errors import InputError
from aejax.models.nets.net import Net


class Head(nn.Module):
    """x_BxP -> (h_BxH, out_BxO): the layers of the net's encoder, and a linear one on top; no dropout."""

    net: Net
    shape: tuple[int, ...]
    outputs: int

    @nn.compact
    def __call__(self, x_BxP: jax.Array) -> tuple[jax.Array, jax.Array]:
        h_BxH = self.net.encoder(self.shape)(x_BxP, training=False)
        return h_BxH, nn.Dense(self.outputs)(h_BxH)


def check_net(what: str, experiment: Any) -> None:
    """Raises InputError if the experiment's net cannot carry a head; `what` names it in the line."""
    head = f"the {what} of {experiment.model_title}"
    if experiment.net.norm == "batch":
        raise InputError(f"net.norm=batch: {head} has no running statistics; use net.norm=layer or none")
    if experiment.net.is_linear:
        raise InputError(f"net=linear: {head} needs hidden layers; use another net, such as net=mlp")
