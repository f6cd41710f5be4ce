"""A model is a composition: encoder, bottleneck, decoder, terms of the objective, and a solver."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import Purpose, key_for
from aejax.models.bottlenecks import Code
from aejax.models.layers import FromCode, ToCode, latent_mask, mask_of
from aejax.settings.fields import part, parts, static_choice


@struct.dataclass
class Autoencoder:
    """The parts of a model besides the nets: every autoencoder is a choice of these.

    `terms` {name: term} are added to the reconstruction term, each with its own weight.
    """

    bottleneck: Any = part("heads", "has_posterior", "start")
    terms: dict[str, Any] = parts("check", "contribution")
    solver: Any = part("closed_form", "start")
    condition: str = static_choice("none", "label")  # what encoder, decoder and prior see besides their input

    @property
    def is_conditional(self):
        """Whether encoder, decoder and prior see the labels of examples."""
        return self.condition == "label"

    @property
    def needs_labels(self):
        """Whether a training step looks at labels."""
        return self.is_conditional or any(term.needs_labels for term in self.terms.values())

    @property
    def classifier(self):
        """The name of the term that infers labels; None where no term does."""
        return next((name for name, term in self.terms.items() if term.infers_labels), None)

    def log_class(self, experiment, params, x_BxP):
        """log q(label | x) by the classifier, [B, C]."""
        return self.terms[self.classifier].log_class(experiment, params, params["terms"][self.classifier], x_BxP)

    @property
    def has_prior(self):
        """Whether the codes of examples, all together, are trained to be like draws of the prior."""
        return self.bottleneck.has_posterior or any(term.matches_prior for term in self.terms.values())

    def init(self, experiment, key, width):
        """The variables of the terms before the first step, {name: variables}, of those that have some."""
        keys = jax.random.split(key, len(self.terms) + 1)
        made = {
            name: term.init(experiment, keys[place], width) for place, (name, term) in enumerate(self.terms.items())
        }
        return {name: variables for name, variables in made.items() if variables}

    def trim(self, variables, latent_dim):
        """The variables of the terms without masked units."""
        return {name: self.terms[name].trim(inner, latent_dim) for name, inner in variables.items()}

    def check(self, experiment):
        """Raises InputError if a part does not fit the rest of the experiment."""
        if self.is_conditional and experiment.form.classes < 2:
            labels = "one label only" if experiment.form.classes else "no labels"
            raise InputError(
                f"model.condition=label: data={experiment.form.name} has {labels}; use model.condition=none"
            )
        for name, term in self.terms.items():
            if term.compares_examples and experiment.batch_size < 2:
                raise InputError(
                    f"batch_size=1: {experiment.model_title} compares the examples of a batch (model.terms.{name}); "
                    "use batch_size=2 or more"
                )
        if self.needs_labels and experiment.form.normal:
            raise InputError(
                f"data.normal: {experiment.model_title} looks at labels, and training has none of the anomalies'; use "
                "one that does not, such as model=vae model.condition=none"
            )
        for component in (self.bottleneck, *self.terms.values(), self.solver):
            component.check(experiment)


@struct.dataclass
class Outputs:
    """What a model returns for x_BxP.

    Its Code, the decoder's output logits_BxP before the likelihood, and the running `statistics` after a training step.
    """

    code: Code
    logits: jax.Array
    statistics: dict[str, Any]


def init(experiment, width):
    """Random parameters, a dict by module; `width` is the number of code units, masked ones included.

    `params["running"]` holds what the steps carry along and descent does not touch: the running statistics of norms,
    what the bottleneck counts, and the `center` [P] of a net that has one.
    """
    net, form, bottleneck = experiment.net, experiment.form, experiment.model.bottleneck
    mask_Z = latent_mask(width, experiment.latent_dim)
    x_1xP, z_1xZ = jnp.zeros((1, form.pixels)), jnp.zeros((1, width))
    label_1xC = jnp.zeros((1, form.classes)) if experiment.model.is_conditional else None
    key_encoder, key_code, key_decoder = (
        key_for(experiment.seed, purpose) for purpose in (Purpose.ENCODER, Purpose.BOTTLENECK, Purpose.DECODER)
    )
    h_1xH, encoder = net.encoder(form.shape).init_with_output(key_encoder, x_1xP, training=False)
    to_code = ToCode(bottleneck.heads).init(key_code, h_1xH, mask_Z, label_1xC)
    seen_Z = bottleneck.by_level(mask_Z)[0]
    h_1xH, from_code = FromCode(net.features(form.shape)).init_with_output(key_code, z_1xZ, seen_Z, label_1xC)
    decoder = net.decoder(form.shape).init(key_decoder, h_1xH, training=False)
    modules = {"encoder": encoder, "to_code": to_code, "from_code": from_code, "decoder": decoder}
    params = {name: variables.get("params", {}) for name, variables in modules.items()}
    params["likelihood"] = experiment.likelihood.start(form)
    for place, (name, component) in enumerate(owners(experiment).items()):
        variables = component.init(experiment, key_for(experiment.seed, Purpose.VARIABLES, place), width)
        if variables:
            params[name] = variables
    if net.tied:
        params["from_code"] = _without_kernel(params["from_code"])
        params["decoder"] = {name: _without_kernel(layer) for name, layer in params["decoder"].items()}
    statistics = {name: variables.get("batch_stats") for name, variables in modules.items()}
    statistics["bottleneck"] = bottleneck.start(width)
    params["running"] = {name: values for name, values in statistics.items() if values}
    if net.center:
        params["running"]["center"] = jnp.zeros(form.pixels)
    return params


def trim(experiment, params, latent_dim):
    """The parameters without the masked units, as the run alone would have them."""
    to_code = {
        name: {part: array[..., :latent_dim] for part, array in head.items()}
        for name, head in params["to_code"].items()
    }
    from_code, running = dict(params["from_code"]), dict(params["running"])
    if "kernel" in from_code:  # absent with tied weights
        from_code["kernel"] = from_code["kernel"][:latent_dim]
    if "bottleneck" in running:
        running["bottleneck"] = experiment.model.bottleneck.trim_statistics(running["bottleneck"], latent_dim)
    trimmed = dict(params, to_code=to_code, from_code=from_code, running=running)
    for name, component in owners(experiment).items():
        if name in params:
            trimmed[name] = component.trim(params[name], latent_dim)
    return trimmed


def owners(experiment):
    """The parts that may have variables of their own, by their names in the parameters.

    The place of a part decides its random draws: append, never reorder.
    """
    return {"bottleneck": experiment.model.bottleneck, "prior": experiment.prior, "terms": experiment.model}


def trained(params):
    """The parameters that descent changes: all but the running statistics."""
    return {name: module for name, module in params.items() if name != "running"}


def encode(experiment, params, x_BxP, key=None, label=None, key_training=None):
    """The Code of x_BxP; z is a posterior sample with a key and the posterior mean without one.

    `label` [B] are the labels of the examples, which a conditional model needs here and below. With `key_training` nets
    are as in a step of the training, see `forward`.
    """
    return _encode(experiment, params, x_BxP, key, key_training, label)[0]


def decode(experiment, params, z_BxZ, label=None, key_training=None):
    """The decoder's output logits_BxP; `experiment.likelihood.mean` turns it into pixels."""
    return _decode(experiment, params, z_BxZ, key_training, label)[0]


def decoded(experiment, params, z_BxZ, label=None):
    """The mean image of each code, x_BxP."""
    return experiment.likelihood.mean(decode(experiment, params, z_BxZ, label))


def forward(experiment, params, x_BxP, key=None, key_training=None, label=None):
    """Outputs for x_BxP.

    With `key_training` it is a step of the training: units drop out, norms use the batch's statistics, and the
    running statistics are updated.
    """
    code, encoder = _encode(experiment, params, x_BxP, key, key_training, label)
    logits_BxP, decoder = _decode(experiment, params, code.z, key_training, label)
    bottleneck = {"bottleneck": code.statistics} if code.statistics else {}
    return Outputs(code, logits_BxP, encoder | bottleneck | decoder)


def to_code(experiment, params, h_BxH, key=None, statistics=None, label=None):
    """The Code of the encoder's hidden units h_BxH; `statistics` are the bottleneck's, in training."""
    bottleneck, mask_Z = experiment.model.bottleneck, mask_of(experiment, params)
    heads = ToCode(bottleneck.heads).apply({"params": params["to_code"]}, h_BxH, mask_Z, _one_hot(experiment, label))
    return bottleneck(heads | {"hidden": h_BxH}, mask_Z, key, statistics, _bottleneck_variables(params))


def snapped(experiment, params, z_BxZ):
    """The codes nearest to z_BxZ among those that the encoder can give; z_BxZ itself unless codes are discrete."""
    return experiment.model.bottleneck.snapped(z_BxZ, mask_of(experiment, params), _bottleneck_variables(params))


def vectors(experiment, params, indices_BxT):
    """The codes [B, Z] of the indices of their positions, of a model with discrete codes."""
    return experiment.model.bottleneck.vectors(indices_BxT, mask_of(experiment, params), _bottleneck_variables(params))


def from_code(experiment, params, z_BxZ, label=None):
    """The decoder's first hidden units h_BxH, before their activation."""
    net, layer = experiment.net, params["from_code"] | {"kernel": code_weights(experiment, params)}
    module, labels = FromCode(net.features(experiment.form.shape)), _one_hot(experiment, label)
    bottleneck = experiment.model.bottleneck
    seen_Z = bottleneck.by_level(mask_of(experiment, params))[0]
    return module.apply({"params": layer}, bottleneck.coordinates(z_BxZ), seen_Z, labels)


def code_weights(experiment, params):
    """The decoder's weights of each code unit, [Z, H]: with tied weights the encoder's, transposed."""
    return params["to_code"]["mean"]["kernel"].T if experiment.net.tied else params["from_code"]["kernel"]


def decoder_layers(net, params):
    """The parameters of the decoder's layers: with tied weights the encoder's kernels, transposed."""
    layers = params["decoder"]
    if not net.tied:
        return layers
    kernels = net.mirrored(params["encoder"])
    return layers | {name: layers[name] | {"kernel": kernel} for name, kernel in kernels.items()}


def reconstruct(experiment, params, x_BxP, label=None):
    """The mean image of x_BxP's posterior mean, x_BxP."""
    return experiment.likelihood.mean(forward(experiment, params, x_BxP, label=label).logits)


def kl_by_unit(experiment, params, code, label=None):
    """KL(posterior || prior) of each unit in nats, [B, Z]; None without a posterior or a closed form."""
    return None if code.posterior is None else experiment.prior.kl(experiment, params, code.posterior, label)


def log_ratio(experiment, params, code, label=None):
    """log p(z) - log q(z | x) of a drawn Code in nats, [B]."""
    return experiment.prior.log_ratio(experiment, params, code.posterior, code.draw, label)


def rate(experiment, params, code, label=None):
    """KL(posterior || prior) in nats, [B]: in closed form where there is one, else of the draw."""
    kl_B = experiment.prior.kl_sum(experiment, params, code.posterior, label)
    return -log_ratio(experiment, params, code, label) if kl_B is None else kl_B


def _encode(experiment, params, x_BxP, key, key_training, label):
    """The Code and the encoder's running statistics afterwards."""
    encoder = experiment.net.encoder(experiment.form.shape)
    center = {"center": params["running"]["center"]} if experiment.net.center else {}
    input_BxP = x_BxP - center["center"][None, :] if center else x_BxP
    h_BxH, statistics = _through(encoder, params["encoder"], params, "encoder", input_BxP, key_training)
    bottleneck_statistics = None if key_training is None else params["running"].get("bottleneck", {})
    code = to_code(experiment, params, h_BxH, key, bottleneck_statistics, label)
    code = experiment.model.bottleneck.completed(code, experiment, params, x_BxP, key, label)
    return code, statistics | center


def _decode(experiment, params, z_BxZ, key_training, label):
    """The logits and the decoder's running statistics afterwards."""
    h_BxH, layers = from_code(experiment, params, z_BxZ, label), decoder_layers(experiment.net, params)
    decoder = experiment.net.decoder(experiment.form.shape)
    logits_BxP, statistics = _through(decoder, layers, params, "decoder", h_BxH, key_training)
    if experiment.net.center:
        logits_BxP += experiment.likelihood.logits(params["running"]["center"])[None, :]
    return logits_BxP, statistics


def _through(module, module_params, params, name, h, key_training):
    """The output of a net's module with `module_params`, and its running statistics afterwards."""
    statistics = params["running"].get(name)
    variables = {"params": module_params} | ({"batch_stats": statistics} if statistics else {})
    if key_training is None:
        return module.apply(variables, h, training=False), {}
    purpose = Purpose.ENCODER if name == "encoder" else Purpose.DECODER
    rngs = {"dropout": jax.random.fold_in(key_training, purpose)}
    out, updated = module.apply(variables, h, training=True, rngs=rngs, mutable=["batch_stats"])
    return out, {name: updated["batch_stats"]} if statistics else {}


def _bottleneck_variables(params):
    """The bottleneck's variables and running statistics, {name: array}."""
    return params.get("bottleneck", {}) | params["running"].get("bottleneck", {})


def _one_hot(experiment, label):
    """Labels as the layers at the code see them, [B, C]; None unless the model is conditional."""
    return jax.nn.one_hot(label, experiment.form.classes) if experiment.model.is_conditional else None


def _without_kernel(layer):
    return {name: array for name, array in layer.items() if name != "kernel"}
