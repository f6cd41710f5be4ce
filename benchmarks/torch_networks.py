"""The networks of published results in PyTorch, by the settings of an experiment, and their weights as aejax has them.

Dense and convolutional autoencoders with a plain code, the k largest units, or a Gaussian posterior. What has no
counterpart here is refused by `check`, so that a training in PyTorch is of the same network or of none.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from aejax.base.errors import InputError
from aejax.models import bottlenecks, likelihoods, objective
from aejax.models.nets.conv import Conv
from aejax.models.nets.dense import Mlp

ACTIVATIONS = {
    "gelu": lambda: nn.GELU("tanh"), "identity": nn.Identity, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "silu": nn.SiLU,
    "tanh": nn.Tanh,
}  # fmt: skip
CLASSES = {
    "prior": ("Normal",), "bound": ("Elbo",), "noise": ("Clean", "Masking"),
    "pretrain": ("NoPretraining", "Greedy", "RBM"),
}  # fmt: skip
KERNEL, STRIDE, PADDING = 4, 2, 1  # of convolutions: those whose padding is the same on both sides
TRUNCATED_STD = 0.87962566103423978  # of a standard normal that is cut off at 2


class Network(nn.Module):
    """Encoder, code and decoder: x_BxP -> logits_BxP and KL(posterior || prior) in nats, [B].

    Centered by the mean training example center_P, as `net.center` has it. In training mode codes are sampled.
    """

    def __init__(self, experiment, center_P):
        super().__init__()
        net, form, units = experiment.net, experiment.form, int(experiment.latent_dim)
        sides = dense if isinstance(net, Mlp) else convolutional
        self.encoder, self.decoder, hidden = sides(net, form.shape)
        bottleneck = experiment.model.bottleneck
        self.to_code = nn.ModuleDict(
            {head: started(nn.Linear(hidden, units), normal=True) for head in bottleneck.heads}
        )
        self.bottleneck = BOTTLENECKS[type(bottleneck)](bottleneck, units)
        if net.tied:
            self.from_code = Tied(self.to_code["mean"])
        else:
            self.from_code = started(nn.Linear(units, hidden), normal=True)
        center_P = center_P.numpy() if net.center else np.zeros(form.pixels, np.float32)
        shift_P = experiment.likelihood.logits(center_P) if net.center else center_P
        self.register_buffer("center", torch.tensor(center_P))
        self.register_buffer("shift", torch.tensor(np.array(shift_P)))

    def forward(self, x_BxP):
        h_BxH = self.encoder(x_BxP - self.center)
        z_BxZ, kl_B = self.bottleneck({head: layer(h_BxH) for head, layer in self.to_code.items()})
        return self.decoder(self.from_code(z_BxZ)) + self.shift, kl_B


class Tied(nn.Module):
    """The transpose of a linear layer, whose weights it shares, with a bias of its own."""

    def __init__(self, layer):
        super().__init__()
        self.shared = [layer]  # in a list, so that its weights are not counted again
        self.bias = nn.Parameter(torch.zeros(layer.in_features))

    def forward(self, h):
        return linear(h, self.shared[0].weight.T, self.bias)


class Upsampling(nn.Module):
    """A transposed convolution with a bias for each of STRIDE x STRIDE places, [C, STRIDE, STRIDE]."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs, STRIDE, STRIDE))
        _truncated(self.layer.weight, inputs * (KERNEL // STRIDE) ** 2)  # the inputs that a pixel sees

    def forward(self, maps):
        maps = self.layer(maps)
        return maps + self.bias.tile(1, maps.shape[2] // STRIDE, maps.shape[3] // STRIDE)


class ToMaps(nn.Module):
    """Vectors [B, H * W * C], channels last, to maps [B, C, H, W]."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, h):
        return h.reshape(-1, *self.shape).permute(0, 3, 1, 2)


class ToVectors(nn.Module):
    """The inverse of ToMaps."""

    def forward(self, maps):
        return maps.permute(0, 2, 3, 1).flatten(1)


class Plain(nn.Module):
    """The code is the head itself."""

    def __init__(self, settings, units):
        super().__init__()

    def forward(self, heads):
        return heads["mean"], heads["mean"].new_zeros(len(heads["mean"]))


class TopK(nn.Module):
    """The k largest units; in training with a bonus for units that were not among them of late."""

    def __init__(self, settings, units):
        super().__init__()
        self.k, self.boost = int(settings.k), float(settings.boost)
        self.register_buffer("idle", torch.zeros(units))

    def forward(self, heads):
        score = h = heads["mean"]
        if self.training:
            score = h + self.boost * h.square().mean().sqrt() * self.idle
        passed = torch.zeros_like(h).scatter(1, score.detach().topk(self.k, dim=1).indices, 1.0)
        if self.training:
            self.idle = torch.where(passed.any(dim=0), 0.0, self.idle + 1)
        return h * passed, h.new_zeros(len(h))


class Gaussian(nn.Module):
    """A Gaussian posterior with independent units and its KL from a standard normal prior."""

    def __init__(self, settings, units):
        super().__init__()

    def forward(self, heads):
        mean, log_variance = heads["mean"], heads["log_variance"]
        kl_B = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
        if not self.training:
            return mean, kl_B
        return mean + (0.5 * log_variance).exp() * torch.randn_like(mean), kl_B


BOTTLENECKS = {bottlenecks.Plain: Plain, bottlenecks.TopK: TopK, bottlenecks.Gaussian: Gaussian}


def dense(net, shape):
    """Encoder, decoder, and the number of units between each and the code, of fully connected layers."""
    widths = [math.prod(shape), *net.widths]
    active = ACTIVATIONS[net.activation]
    layers = [started(nn.Linear(*pair)) for pair in itertools.pairwise(widths)]
    if net.tied:
        back = [Tied(layer) for layer in reversed(layers)]
    else:
        back = [started(nn.Linear(*pair)) for pair in itertools.pairwise(reversed(widths))]
    encoder = nn.Sequential(*(module for layer in layers for module in (layer, active())))
    return encoder, nn.Sequential(*(module for layer in back for module in (active(), layer))), widths[-1]


def convolutional(net, shape):
    """The same of strided convolutions."""
    channels, active = [shape[2], *net.widths], ACTIVATIONS[net.activation]
    smallest = net.shapes(shape)[-1]
    pairs = list(itertools.pairwise(channels))
    layers = [started(nn.Conv2d(*pair, KERNEL, STRIDE, PADDING)) for pair in pairs]
    back = [Upsampling(outputs, inputs) for inputs, outputs in reversed(pairs)]
    encoder = nn.Sequential(ToMaps(shape), *(module for layer in layers for module in (layer, active())), ToVectors())
    decoder = nn.Sequential(ToMaps(smallest), *(module for layer in back for module in (active(), layer)), ToVectors())
    return encoder, decoder, math.prod(smallest)


def started(layer, normal=False):
    """The layer with weights of variance 1 / inputs, cut off at two deviations unless `normal`, and biases of 0."""
    inputs = layer.weight[0].numel()
    if normal:
        nn.init.normal_(layer.weight, std=inputs**-0.5)
    else:
        _truncated(layer.weight, inputs)
    nn.init.zeros_(layer.bias)
    return layer


def _truncated(weight, inputs):
    std = inputs**-0.5 / TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def loss_of(likelihood, x_BxP, logits_BxP, kl_B):
    """-log p(x | z) + KL in nats, summed over pixels and units, mean over the batch."""
    if isinstance(likelihood, likelihoods.Bernoulli):
        return binary_cross_entropy_with_logits(logits_BxP, x_BxP, reduction="sum") / len(x_BxP) + kl_B.mean()
    variance = float(likelihood.variance)
    squared = (mean_of(likelihood, logits_BxP) - x_BxP).square().sum() / len(x_BxP)
    return 0.5 * (squared / variance + x_BxP.shape[1] * math.log(2 * math.pi * variance)) + kl_B.mean()


def mean_of(likelihood, logits_BxP):
    """The mean of each pixel."""
    is_free = isinstance(likelihood, likelihoods.Gaussian) and likelihood.output == "identity"
    return logits_BxP if is_free else logits_BxP.sigmoid()


def params_of(network, net):
    """The weights as aejax's parameters of such a `net`, {module: {layer: array}}."""
    layers = {
        side: [each for each in getattr(network, side) if isinstance(each, nn.Linear | nn.Conv2d | Tied | Upsampling)]
        for side in ("encoder", "decoder")
    }
    names = {"encoder": "Convolution", "decoder": "Transposed"} if isinstance(net, Conv) else {}
    sides = {
        side: {
            f"{names.get(side, 'Dense')}_{place}": {"Dense_0": _layer(layer)} if names else _layer(layer)
            for place, layer in enumerate(layers[side])
        }
        for side in layers
    }
    code = {"to_code": {head: _layer(layer) for head, layer in network.to_code.items()}}
    running = {"center": _array(network.center)} if net.center else {}
    if isinstance(network.bottleneck, TopK):
        running["bottleneck"] = {"idle": _array(network.bottleneck.idle)}
    return sides | code | {"from_code": _layer(network.from_code), "likelihood": {}, "running": running}


def _layer(layer):
    """{kernel, bias} of a layer; without a kernel where another layer has it."""
    if isinstance(layer, Tied):
        return {"bias": _array(layer.bias)}
    if isinstance(layer, nn.Linear):
        return {"kernel": _array(layer.weight.T), "bias": _array(layer.bias)}
    taps, sizes = KERNEL // STRIDE, (KERNEL // STRIDE, STRIDE) * 2
    if isinstance(layer, nn.Conv2d):  # rows by tap, place in a stride, and channel
        kernel = _array(layer.weight).transpose(2, 3, 1, 0)
        kernel = kernel.reshape(*sizes, *kernel.shape[2:]).transpose(0, 2, 1, 3, 4, 5)
        return {"kernel": kernel.reshape(-1, kernel.shape[-1]), "bias": _array(layer.bias)}
    weight = _array(layer.layer.weight)  # rows by tap, the farthest first, and channel; columns by place and channel
    inputs, outputs = weight.shape[:2]
    kernel = weight.reshape(inputs, outputs, *sizes)[:, :, ::-1, :, ::-1].transpose(2, 4, 0, 3, 5, 1)
    bias = np.roll(_array(layer.bias), (PADDING, PADDING), axis=(1, 2))  # there places begin before the padding
    return {"kernel": kernel.reshape(taps**2 * inputs, -1), "bias": bias.transpose(1, 2, 0).reshape(-1)}


def _array(tensor):
    return tensor.detach().numpy().copy()


def check(experiment):
    """Raises InputError where a setting has no counterpart here."""
    net, model, likelihood, optim = experiment.net, experiment.model, experiment.likelihood, experiment.optim
    _among("net", type(net).__name__, ("Mlp", "Conv"))
    _among("net.activation", net.activation, tuple(ACTIVATIONS))
    _among("net.init", net.init, ("lecun_normal",))
    _among("net.norm", net.norm, ("none",))
    _among("net.dropout", net.dropout, (None,))
    _among("net.residual", net.residual, (False,))
    if isinstance(net, Conv):
        _among("net.kernel", net.kernel, (KERNEL,))
        _among("net.stride", net.stride, (STRIDE,))
        for side in experiment.form.shape[:2]:
            _among("data: a side in pixels, beyond a multiple of all strides", side % STRIDE ** len(net.widths), (0,))
    _among("model.condition", model.condition, ("none",))
    _among("model.bottleneck", type(model.bottleneck).__name__, ("Plain", "TopK", "Gaussian"))
    _among("model.bottleneck.activation", getattr(model.bottleneck, "activation", "identity"), ("identity",))
    _among("model.bottleneck.sampling", model.bottleneck.sampling, (model.bottleneck.has_posterior,))
    _among("model.solver", type(model.solver).__name__, ("Descent",))
    are_plain = all(type(term) is objective.KL and term.is_plain for term in model.terms.values())
    _among("model.terms", "others" if not are_plain else "a plain KL", ("a plain KL",))
    _among("likelihood", type(likelihood).__name__, ("Gaussian", "Bernoulli"))
    for key, allowed in CLASSES.items():
        _among(key, type(getattr(experiment, key)).__name__, allowed)
    _among("optim", type(optim).__name__, ("Adam",))
    _among("optim.clip", optim.clip, (None,))
    _among("optim.weight_decay", optim.weight_decay, (None,))
    _among("precision", experiment.precision, ("float32",))


def _among(key, value, allowed):
    if value not in allowed:
        raise InputError(f"{key}={value}: the networks in PyTorch have only {', '.join(map(str, allowed))}")
