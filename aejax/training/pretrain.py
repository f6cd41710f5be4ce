"""Pretraining: the layers of a dense net learn one after another before the whole is trained.

A phase trains one layer from the data toward the code, that of the code last. Its input is the output of
the layers below, which stay fixed.
"""

import itertools

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import Purpose, key_for, normal_by_unit
from aejax.models import autoencoder
from aejax.models.layers import latent_mask
from aejax.models.nets.dense import Mlp
from aejax.settings.fields import Leaf, leaf_float, static_float, static_int


@struct.dataclass
class NoPretraining:
    """No pretraining: all layers learn together from the first step."""

    def check(self, experiment):
        """Fits every experiment."""

    def phases(self, experiment):
        """The numbers of steps of the phases."""
        return ()


@struct.dataclass
class Layerwise:
    """The base: a `share` of the steps trains the layers, in equal parts; the rest trains the whole.

    A run with pretraining takes as many steps as one without. Each phase has its own optimizer and schedule.
    """

    share: float = static_float(above=0, high=0.99)

    def check(self, experiment):
        """Raises InputError if the layers cannot learn one by one."""
        net, kind = experiment.net, type(self).__name__.lower()
        if not isinstance(net, Mlp):
            raise InputError(f"pretrain={kind}: needs fully connected layers; use net=mlp, or pretrain=none")
        if not net.widths:
            raise InputError(f"pretrain={kind}: needs hidden layers, and net.widths=[] has none")
        if net.center:
            raise InputError(
                f"net.center=true: with pretrain={kind} layers learn from examples as they are; set it to false"
            )
        if experiment.model.is_conditional:
            raise InputError(
                f"pretrain={kind}: layers learn alone, without labels, and {experiment.model_title} looks at them; set "
                "model.condition=none"
            )
        if net.norm != "none" or net.residual:
            setting = "net.residual=true" if net.residual else f"net.norm={net.norm}"
            raise InputError(
                f"pretrain={kind}: layers that are trained one by one have no norm and no shortcut; not with {setting}"
            )
        if experiment.model.solver.closed_form:
            raise InputError(
                f"pretrain={kind}: {experiment.model_title} is fitted in closed form and takes no steps; set "
                "pretrain=none"
            )
        if min(self.phases(experiment)) < 1:
            layers = len(net.widths) + 1
            raise InputError(
                f"steps={experiment.steps}: {self.share:g} of them (pretrain.share) are fewer than one "
                f"for each of {layers} layers"
            )

    def phases(self, experiment):
        """The numbers of steps of the phases, a layer each."""
        layers = len(experiment.net.widths) + 1
        ends = [round(self.share * experiment.steps * place / layers) for place in range(layers + 1)]
        return tuple(end - start for start, end in itertools.pairwise(ends))

    def loss(self, experiment, params, place, batch, at):
        """What the layer at `place` minimizes in step `at`, a mean over examples; its gradient is that layer's."""
        raise NotImplementedError

    def unrolled(self, experiment, params):
        """The parameters from which the training of the whole starts."""
        return params


def layer_names(net, place):
    """The names {module: layers} that the layer at `place` has in the parameters; None stands for the whole module."""
    last = len(net.widths) - 1
    if place > last:
        return {"to_code": None, "from_code": None}
    return {"encoder": f"Dense_{place}", "decoder": f"Dense_{last - place}"} | ({} if place else {"likelihood": None})


def is_trained(experiment, params, place):
    """A tree like `params`: True where the phase of the layer at `place` trains."""
    names = layer_names(experiment.net, place)

    def trains(path, _):
        module, *inner = (entry.key for entry in path)
        return module in names and names[module] in (None, *inner[:1])

    return jax.tree.map_with_path(trains, params)


def hidden(experiment, params, place, x_BxP):
    """The input of the layer at `place`, [B, H], that is the output of the layers below; no gradient flows back."""
    h_BxH = x_BxP
    for below in range(place):
        h_BxH = _up(experiment, params, below, h_BxH)
    return jax.lax.stop_gradient(h_BxH)


@struct.dataclass
class Greedy(Layerwise):
    """Each layer is an autoencoder of its own input (Bengio et al. 2007), a denoising one (Vincent et al. 2010, 3.3).

    The first layer reconstructs the pixels by the run's likelihood, from an input with the run's noise; the others
    minimize the squared error of the layer below's activations, of which a share `corruption` is set to 0 at each step.
    """

    corruption: Leaf = leaf_float(0, 0.99)

    def loss(self, experiment, params, place, batch, at):
        net = experiment.net
        if place == 0:
            logits_BxP = _down(experiment, params, 0, _up(experiment, params, 0, batch.input))
            return jnp.mean(experiment.likelihood.negative_log(batch.target, logits_BxP, params["likelihood"]))
        h_BxH = hidden(experiment, params, place, batch.target)
        key = jax.random.fold_in(key_for(experiment.seed, Purpose.PRETRAIN, at), place)
        corrupted_BxH = h_BxH * jax.random.bernoulli(key, 1 - self.corruption, h_BxH.shape)
        if place < len(net.widths):
            logits_BxH = _down(experiment, params, place, _up(experiment, params, place, corrupted_BxH))
        else:
            logits_BxH = autoencoder.from_code(
                experiment, params, autoencoder.to_code(experiment, params, corrupted_BxH).z
            )
        return jnp.mean(jnp.sum((_activation(experiment)(logits_BxH) - h_BxH) ** 2, axis=1))


@struct.dataclass
class RBM(Layerwise):
    """Each layer is a restricted Boltzmann machine (Hinton & Salakhutdinov 2006), learned by `cd` steps of contrastive
    divergence (Hinton 2002), then unrolled: the decoder begins with the encoder's weights, transposed.

    Hidden units are binary, those of the code Gaussian with unit variance. Visible units are binary, their states the
    probabilities; the pixels are Gaussian with unit variance where the likelihood's mean is free (likelihood=linear).
    The loss is F(v) - F(v') for the free energy F and the chain's end v', whose gradient is that of CD.
    """

    cd: int = static_int(1, 1000)

    def check(self, experiment):
        super().check(experiment)
        net, bottleneck = experiment.net, experiment.model.bottleneck
        if net.activation != "sigmoid":
            raise InputError(f"pretrain=rbm: needs net.activation=sigmoid for its binary units, not {net.activation}")
        if getattr(bottleneck, "activation", "identity") != "identity":
            raise InputError(
                "pretrain=rbm: needs model.bottleneck.activation=identity for the code's linear units, "
                f"not {bottleneck.activation}"
            )
        if experiment.form.kind == "real" and not _is_gaussian(experiment, 0):
            raise InputError(f"pretrain=rbm: data={experiment.form.name} is real; needs likelihood=linear")

    def loss(self, experiment, params, place, batch, at):
        machine = self.machine(experiment, params, place)
        v_BxV = hidden(experiment, params, place, batch.target)
        key = jax.random.fold_in(key_for(experiment.seed, Purpose.PRETRAIN, at), place)
        end_BxV = jax.lax.stop_gradient(machine.chain(v_BxV, key, self.cd))
        return jnp.mean(machine.free_energy(v_BxV) - machine.free_energy(end_BxV))

    def machine(self, experiment, params, place):
        """The Machine of the layer at `place`."""
        names = layer_names(experiment.net, place)
        if place < len(experiment.net.widths):
            up, down = params["encoder"][names["encoder"]], params["decoder"][names["decoder"]]
            mask = jnp.ones(up["bias"].shape)
        else:
            up, down = params["to_code"]["mean"], params["from_code"]
            mask = latent_mask(up["bias"].shape[0], experiment.latent_dim)
        code = place == len(experiment.net.widths)
        return Machine(up["kernel"], down["bias"], up["bias"], mask, _is_gaussian(experiment, place), code)

    def unrolled(self, experiment, params):
        net = experiment.net
        if net.tied:
            return params
        kernels = net.mirrored(params["encoder"])
        decoder = {name: layer | {"kernel": kernels[name]} for name, layer in params["decoder"].items()}
        from_code = params["from_code"] | {"kernel": params["to_code"]["mean"]["kernel"].T}
        return params | {"decoder": decoder, "from_code": from_code}


@struct.dataclass
class Machine:
    """A restricted Boltzmann machine: weights_VxH, biases of visible [V] and hidden units [H], and a mask of those.

    Units are binary or, where it says so, Gaussian with unit variance.
    """

    weights: jax.Array
    visible: jax.Array
    hidden: jax.Array
    mask: jax.Array
    gaussian_visible: bool = struct.field(pytree_node=False, default=False)
    gaussian_hidden: bool = struct.field(pytree_node=False, default=False)

    def free_energy(self, v_BxV):
        """-log sum_h exp(-E(v, h)) up to a constant, [B] (Hinton 2012, eq. 25)."""
        input_BxH = (v_BxV @ self.weights + self.hidden[None, :]) * self.mask[None, :]
        if self.gaussian_hidden:
            energy_B = -0.5 * jnp.sum(input_BxH**2, axis=1)
        else:
            energy_B = -jnp.sum(jax.nn.softplus(input_BxH) * self.mask[None, :], axis=1)
        if self.gaussian_visible:
            return energy_B + 0.5 * jnp.sum((v_BxV - self.visible[None, :]) ** 2, axis=1)
        return energy_B - v_BxV @ self.visible

    def chain(self, v_BxV, key, steps):
        """The visible units' means after so many steps of Gibbs sampling; hidden states are drawn."""
        for step in range(steps):
            input_BxH = v_BxV @ self.weights + self.hidden[None, :]
            key_step = jax.random.fold_in(key, step)
            if self.gaussian_hidden:
                h_BxH = input_BxH + normal_by_unit(key_step, input_BxH.shape[1], input_BxH.shape[:1]).T
            else:
                h_BxH = jax.random.bernoulli(key_step, jax.nn.sigmoid(input_BxH)).astype(jnp.float32)
            down_BxV = (h_BxH * self.mask[None, :]) @ self.weights.T + self.visible[None, :]
            v_BxV = down_BxV if self.gaussian_visible else jax.nn.sigmoid(down_BxV)
        return v_BxV


def _is_gaussian(experiment, place):
    """Whether the visible units of the layer at `place` are Gaussian."""
    return place == 0 and getattr(experiment.likelihood, "output", None) == "identity"


def _activation(experiment):
    return getattr(jax.nn, experiment.net.activation)


def _up(experiment, params, place, h_BxH):
    """h_BxH through the encoder's layer at `place`."""
    layer = params["encoder"][f"Dense_{place}"]
    return _activation(experiment)(h_BxH @ layer["kernel"] + layer["bias"][None, :])


def _down(experiment, params, place, h_BxH):
    """h_BxH through the decoder's layer that mirrors the encoder's at `place`, before the activation."""
    name = layer_names(experiment.net, place)["decoder"]
    layer = autoencoder.decoder_layers(experiment.net, params)[name]
    return h_BxH @ layer["kernel"] + layer["bias"][None, :]
