"""Critics: networks that tell two kinds of codes or images apart, by whose judgment the model learns.

A critic minimizes its own `loss`, in which all else is constant; the model minimizes the term, in which the critic is.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.layers import FromCode, latent_mask
from aejax.models.nets.head import Head, check_net
from aejax.models.objective import Context, Term
from aejax.models.terms.codes import drawing_key, prior_codes
from aejax.models.terms.similarity import Replacement
from aejax.settings.fields import Leaf, leaf_float, leaf_int, static_ints


@struct.dataclass
class Critic(Term):
    """The base: learns by Adam with its own rate `lr` and `b1`, at every `every`-th step."""

    lr: Leaf = leaf_float(above=0)
    b1: Leaf = leaf_float(0, 0.999999)
    every: Leaf = leaf_int(1, 1_000_000)

    is_critic: ClassVar[bool] = True

    def optimizer(self) -> optax.GradientTransformation:
        """The optax transformation of the critic's variables."""
        return at_every(self.every, optax.adam(self.lr, self.b1))


def at_every(every: Leaf, inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner` at steps 0, every, 2 * every, ...; between them its state and what it updates stay."""

    def init(params: Any) -> Any:
        return jnp.int32(0), inner.init(params)

    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        step, before = state
        moves, after = inner.update(gradient, before, params)
        learns = step % every == 0
        moves = jax.tree.map(lambda move: jnp.where(learns, move, 0.0), moves)
        return moves, (step + 1, jax.tree.map(lambda new, old: jnp.where(learns, new, old), after, before))

    return optax.GradientTransformation(init, update)


class CodeNet(nn.Module):
    """z_BxZ -> logit_B: dense layers of these widths; the weights of a unit do not depend on the width of the code."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, z_BxZ: jax.Array, mask_Z: jax.Array) -> jax.Array:
        first, *others = self.widths
        h_BxH = FromCode(first, name="from_code")(z_BxZ, mask_Z)
        for width in others:
            h_BxH = nn.Dense(width)(jax.nn.leaky_relu(h_BxH))
        return nn.Dense(1)(jax.nn.leaky_relu(h_BxH))[:, 0]


@struct.dataclass
class CodeCritic(Critic):
    """The base of critics of codes, with hidden layers of these `widths`."""

    widths: tuple[int, ...] = static_ints(1, 2**16)

    without_critic: ClassVar[str] = "wae_mmd"  # a model of the same aim that has none

    def check(self, experiment: Any) -> None:
        if not self.widths:
            raise InputError("model.critic_widths=[]: must name at least one hidden layer of the critic")
        if experiment.latent_dim < 2:
            raise InputError(
                f"latent_dim=1: the critic of {experiment.model_title} compares units, and there is one; use "
                f"latent_dim=2, or model={self.without_critic}"
            )

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        mask_Z = latent_mask(width, experiment.latent_dim)
        return CodeNet(self.widths).init(key, jnp.zeros((1, width)), mask_Z)["params"]

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        first = variables["from_code"]
        return variables | {"from_code": first | {"kernel": first["kernel"][:latent_dim]}}

    def logit(self, context: Context, z_BxZ: jax.Array) -> jax.Array:
        """How much more z_BxZ looks like the first kind of codes than like the second, [B]."""
        net: Any = CodeNet(self.widths)
        return net.apply({"params": context.variables}, z_BxZ, context.outputs.code.mask)


@struct.dataclass
class PriorCritic(CodeCritic):
    """Tells draws of the prior from codes; [B] is -log of its probability that a code is a draw of the prior.

    Makhzani et al. 2016, section 2; Tolstikhin et al. 2018, algorithm 1, of which the weight is lambda.
    """

    matches_prior: ClassVar[bool] = True

    def __call__(self, context: Context) -> jax.Array:
        return jax.nn.softplus(-self.logit(context, context.outputs.code.z))

    def loss(self, context: Context) -> jax.Array:
        return separation(self.logit(context, prior_codes(context)), self.logit(context, context.outputs.code.z))


@struct.dataclass
class DensityRatio(CodeCritic):
    """The total correlation of codes, as log q(z) / prod_j q(z_j) by the critic, [B] (Kim & Mnih 2018, eq. 2 and 3).

    The critic tells codes from codes whose units are permuted among the examples of the batch; the paper takes another
    batch for these.
    """

    compares_examples: ClassVar[bool] = True
    without_critic: ClassVar[str] = "vae"

    def __call__(self, context: Context) -> jax.Array:
        return self.logit(context, context.outputs.code.z)

    def loss(self, context: Context) -> jax.Array:
        z_BxZ = context.outputs.code.z
        apart_BxZ = permuted_by_unit(drawing_key(context), z_BxZ)
        return 0.5 * separation(self.logit(context, z_BxZ), self.logit(context, apart_BxZ))


def permuted_by_unit(key: jax.Array, z_BxZ: jax.Array) -> jax.Array:
    """Each unit's values in another random order, which does not depend on how many units there are, [B, Z]."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(z_BxZ.shape[1]))
    return jax.vmap(jax.random.permutation, in_axes=(0, 1), out_axes=1)(keys, z_BxZ)


def separation(first_B: jax.Array, second_B: jax.Array) -> jax.Array:
    """The cross-entropy in nats of telling two kinds apart by these logits of the first kind, one mean for each."""
    return jnp.mean(jax.nn.softplus(-first_B)) + jnp.mean(jax.nn.softplus(second_B))


@struct.dataclass
class ImageCritic(Critic, Replacement):
    """Features of a critic in place of pixels (Larsen et al. 2016, algorithm 1).

    The critic, the layers of the run's net with a linear one on top, tells examples from decoded codes, half of them
    the batch's and half draws of the prior. The term is half the squared distance of its features, the outputs of the
    last hidden layer, between example and reconstruction, [B], and takes the place of the likelihood of the pixels but
    for the share `pixels`. Besides, the decoder alone learns to be taken for examples, with weight `adversarial`.
    """

    adversarial: Leaf = leaf_float(0)

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        check_net("critic of images", experiment)

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return self.head(experiment).init(key, jnp.zeros((1, experiment.form.pixels)))["params"]

    def head(self, experiment: Any) -> Head:
        """The critic as a module."""
        return Head(experiment.net, experiment.form.shape, 1)

    def judged(self, context: Context, x_BxP: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Features [B, H] of images, and the logit of their being examples, [B]."""
        head: Any = self.head(context.experiment)
        h_BxH, logit_Bx1 = head.apply({"params": context.variables}, x_BxP)
        return h_BxH, logit_Bx1[:, 0]

    def __call__(self, context: Context) -> jax.Array:
        decoded_BxP = context.experiment.likelihood.mean(context.outputs.logits)
        features = [self.judged(context, x_BxP)[0] for x_BxP in (context.batch.target, decoded_BxP)]
        return 0.5 * jnp.sum((features[0] - features[1]) ** 2, axis=1)

    def contribution(self, context: Context, mean: jax.Array) -> jax.Array:
        logits = [self.judged(context, x_BxP)[1] for x_BxP in self.decoded(context)]
        taken = 0.5 * sum(jnp.mean(jax.nn.softplus(-logit_B)) for logit_B in logits)
        return super().contribution(context, mean) + self.adversarial * taken

    def loss(self, context: Context) -> jax.Array:
        real_B = self.judged(context, context.batch.target)[1]
        fake_B = jnp.concatenate([self.judged(context, x_BxP)[1] for x_BxP in self.decoded(context)])
        return separation(real_B, fake_B)

    def decoded(self, context: Context) -> list[jax.Array]:
        """Mean images of the batch's codes and of draws of the prior, which both are constant, [B, P] each."""
        experiment, params, label_B = context.experiment, context.params, context.batch.label
        codes = jax.lax.stop_gradient([context.outputs.code.z, prior_codes(context)])
        logits = [autoencoder.decode(experiment, params, z_BxZ, label_B, context.key_training) for z_BxZ in codes]
        return [experiment.likelihood.mean(logits_BxP) for logits_BxP in logits]
