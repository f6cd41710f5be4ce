"""Pretraining in PyTorch, by the settings of an experiment: what each layer of a Network minimizes in its phase.

As in aejax.training.pretrain, a phase trains one layer from the data toward the code; the layers below stay fixed.
"""

import dataclasses
import functools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import softplus

from aejax.training import pretrain
from benchmarks.torch_networks import loss_of


@dataclasses.dataclass(frozen=True)
class Phase:
    """So many `steps` of an optimizer of its own for these `parameters`; loss(input_BxP, target_BxP) is a scalar."""

    steps: int
    parameters: list[nn.Parameter]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def layer_phases(experiment, network):
    """Yields the Phase of each layer, none without pretraining; after the last one RBMs are unrolled."""
    for place, steps in enumerate(experiment.pretrain.phases(experiment)):
        up, down = layers_at(network, place)
        loss = functools.partial(LOSSES[type(experiment.pretrain)], experiment, network, place)
        yield Phase(steps, [*up.parameters(), *down.parameters()], loss)
    if isinstance(experiment.pretrain, pretrain.RBM) and not experiment.net.tied:
        unroll(experiment, network)


def layers_at(network, place):
    """The layer at `place` toward the code, and the one that leads back; those of the code come last."""
    if 2 * place == len(network.encoder):  # each layer has an activation beside it
        return network.to_code["mean"], network.from_code
    return network.encoder[2 * place], network.decoder[-1 - 2 * place]


def below(network, place, x_BxP):
    """The output of the layers below `place`, [B, H]; no gradient flows back."""
    with torch.no_grad():
        return network.encoder[: 2 * place](x_BxP)


def greedy_loss(experiment, network, place, input_BxP, target_BxP):
    """That of an autoencoder of the layer's input, a scalar; deeper layers see it with a share set to 0."""
    network.eval()  # codes are not sampled, and idle units have no bonus
    (up, down), active = layers_at(network, place), network.encoder[1]
    if place == 0:
        return loss_of(experiment.likelihood, target_BxP, down(active(up(input_BxP))), target_BxP.new_zeros(1))
    h_BxH = below(network, place, target_BxP)
    kept_BxH = torch.bernoulli(torch.full_like(h_BxH, 1 - float(experiment.pretrain.corruption)))
    corrupted_BxH = h_BxH * kept_BxH
    if place < len(experiment.net.widths):
        inner_BxK = active(up(corrupted_BxH))
    else:
        inner_BxK, _ = network.bottleneck({head: layer(corrupted_BxH) for head, layer in network.to_code.items()})
    return (active(down(inner_BxK)) - h_BxH).square().sum(dim=1).mean()


def rbm_loss(experiment, network, place, _, target_BxP):
    """Mean of F(v) - F(v') for the end v' of the chain, a scalar, whose gradient is that of contrastive divergence."""
    machine, v_BxV = machine_at(experiment, network, place), below(network, place, target_BxP)
    with torch.no_grad():
        end_BxV = machine.chain(v_BxV, experiment.pretrain.cd)
    return (machine.free_energy(v_BxV) - machine.free_energy(end_BxV)).mean()


LOSSES = {pretrain.Greedy: greedy_loss, pretrain.RBM: rbm_loss}


@dataclasses.dataclass(frozen=True)
class Machine:
    """A restricted Boltzmann machine: weights_VxH, biases of visible [V] and hidden units [H].

    Units are binary or, where it says so, Gaussian with unit variance.
    """

    weights: torch.Tensor
    visible: torch.Tensor
    hidden: torch.Tensor
    gaussian_visible: bool = False
    gaussian_hidden: bool = False

    def free_energy(self, v_BxV):
        """-log sum_h exp(-E(v, h)) up to a constant, [B]."""
        input_BxH = v_BxV @ self.weights + self.hidden
        energy_B = -(0.5 * input_BxH.square() if self.gaussian_hidden else softplus(input_BxH)).sum(dim=1)
        if self.gaussian_visible:
            return energy_B + 0.5 * (v_BxV - self.visible).square().sum(dim=1)
        return energy_B - v_BxV @ self.visible

    def chain(self, v_BxV, steps):
        """The visible units' means after so many steps of Gibbs sampling; hidden states are drawn."""
        for _ in range(steps):
            input_BxH = v_BxV @ self.weights + self.hidden
            if self.gaussian_hidden:
                h_BxH = input_BxH + torch.randn_like(input_BxH)
            else:
                h_BxH = torch.bernoulli(input_BxH.sigmoid())
            down_BxV = h_BxH @ self.weights.T + self.visible
            v_BxV = down_BxV if self.gaussian_visible else down_BxV.sigmoid()
        return v_BxV


def machine_at(experiment, network, place):
    """The Machine of the layer at `place`: pixels are Gaussian where their mean is free, and so are code units."""
    up, down = layers_at(network, place)
    is_free = getattr(experiment.likelihood, "output", None) == "identity"
    return Machine(up.weight.T, down.bias, up.bias, is_free and place == 0, place == len(experiment.net.widths))


def unroll(experiment, network):
    """Gives the decoder's layers the weights of the encoder's, transposed."""
    with torch.no_grad():
        for place in range(len(experiment.net.widths) + 1):
            up, down = layers_at(network, place)
            down.weight.copy_(up.weight.T)
