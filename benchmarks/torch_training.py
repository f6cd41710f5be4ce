"""Training in PyTorch, eager, by the settings of an experiment: its steps, batches, learning rates, and its choice."""

import copy
import functools
import itertools
import math

import numpy as np
import torch

from aejax.base.errors import InputError
from aejax.models.noise import Masking
from aejax.training.step import segments
from benchmarks.torch_networks import Network, check, loss_of, mean_of
from benchmarks.torch_pretraining import Phase, layer_phases

VALIDATED = 1000  # examples at a time


def trained(experiment, dataset, seed):
    """The Network of an experiment after as many steps of Adam on the data, or where validation was best."""
    check(experiment)
    torch.manual_seed(seed)
    scale = float(experiment.form.scaled(np.ones((), dataset.train.x.dtype)))
    stored_NxP = flat(dataset.train.x)
    network = Network(experiment, stored_NxP.double().mean(dim=0).mul(scale).float())
    losses = descent(experiment, network, drawn(stored_NxP, experiment.batch_size), scale)
    best, least = None, math.inf
    for length in segments(experiment):
        *_, loss = itertools.islice(losses, length)
        if not math.isfinite(loss.item()):
            raise InputError(f"seed={seed}: the training in PyTorch diverged")
        if experiment.select == "best":
            error = validation_mse(experiment.likelihood, network, flat(dataset.valid.x), scale)
            if error < least:
                best, least = copy.deepcopy(network.state_dict()), error
    if best is not None:
        network.load_state_dict(best)
    return network


def descent(experiment, network, batches, scale):
    """Yields the loss of each step: of the layers one after another, where they are pretrained, and of the whole."""
    optim, form = experiment.optim, experiment.form
    for phase in itertools.chain(layer_phases(experiment, network), [whole(experiment, network)]):
        optimizer = torch.optim.Adam(phase.parameters, lr=float(optim.lr), betas=(float(optim.b1), float(optim.b2)))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, functools.partial(factor, optim, phase.steps))
        for stored_BxP in itertools.islice(batches, phase.steps):
            x_BxP = stored_BxP.float() * scale
            if form.dynamic:
                x_BxP = torch.bernoulli(x_BxP)
            loss = phase.loss(corrupted(experiment.noise, x_BxP, form.shape), x_BxP)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield loss.detach()


def whole(experiment, network):
    """The Phase of all layers together, in the steps that pretraining leaves."""

    def loss(input_BxP, target_BxP):
        network.train()
        logits_BxP, kl_B = network(input_BxP)
        return loss_of(experiment.likelihood, target_BxP, logits_BxP, kl_B)

    steps = experiment.steps - sum(experiment.pretrain.phases(experiment))
    return Phase(steps, list(network.parameters()), loss)


def corrupted(noise, x_BxP, shape):
    """The input of a step, [B, P]: x_BxP, of which masking sets a share of the pixels to 0, with all their channels."""
    if not isinstance(noise, Masking):
        return x_BxP
    channels = shape[2] if len(shape) == 3 else 1
    masked_BxN = torch.rand(len(x_BxP), x_BxP.shape[1] // channels) < float(noise.level)
    return x_BxP.masked_fill(masked_BxN.repeat_interleave(channels, dim=1), 0.0)


def flat(x):
    """Stored examples as a tensor [N, P]."""
    return torch.from_numpy(np.array(x)).reshape(len(x), -1)  # a copy, because tensors can be written


def drawn(stored_NxP, size):
    """Batches [B, P] without end: whole ones, in an order that is drawn again for each epoch; or all examples."""
    while True:
        if size == len(stored_NxP):
            yield stored_NxP
            continue
        order_N = torch.randperm(len(stored_NxP))
        for place in range(len(stored_NxP) // size):
            yield stored_NxP[order_N[place * size : (place + 1) * size]]


def factor(optim, steps, step):
    """The share of the peak learning rate in a step, as aejax.training.optim has it: a linear rise, then a cosine."""
    rising = float(np.float32(optim.warmup) * np.float32(steps))  # 0.3 of 10 is 3 there, but not in float64
    if step < rising:
        return (step + 1) / max(rising, 1.0)
    if optim.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1.0)))


def validation_mse(likelihood, network, stored_NxP, scale):
    """The mean squared error a pixel of reconstructed validation examples."""
    network.eval()
    total = 0.0
    with torch.no_grad():
        for part_BxP in stored_NxP.split(VALIDATED):
            x_BxP = part_BxP.float() * scale
            total += float((mean_of(likelihood, network(x_BxP)[0]) - x_BxP).square().sum())
    return total / stored_NxP.numel()
