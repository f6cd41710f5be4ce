"""Learning from labels of which only some are known."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.bounds import check_likelihood
from aejax.models.nets.head import Head, check_net
from aejax.models.objective import KL, Context, Term
from aejax.settings.fields import Leaf, leaf_float


@struct.dataclass
class SemiSupervised(Term):
    """The negative bound of a generative semi-supervised model, M2, in nats, [B] (Kingma et al. 2014, eq. 6 to 9).

    The label y is another latent variable, with a uniform prior and the posterior q(y | x) of a classifier, the run's
    net with a linear layer on top. Where a label is known the bound is that of x and y (eq. 6), and the classifier's
    cross-entropy counts `classification` times (eq. 9); elsewhere the bound is summed over all labels (eq. 7). Labels
    are known of a `share` of the examples, which their pixels decide. The term takes the place of both the likelihood
    and the KL.
    """

    share: Leaf = leaf_float(0, 1)
    classification: Leaf = leaf_float(0)

    needs_labels: ClassVar[bool] = True
    infers_labels: ClassVar[bool] = True

    def check(self, experiment: Any) -> None:
        title = experiment.model_title
        check_net("classifier", experiment)
        if not experiment.model.is_conditional:
            raise InputError(f"model.condition=none: {title} decodes code and label; set model.condition=label")
        if experiment.bound.has_kl:
            raise InputError(f"bound={experiment.bound.name}: {title} has a bound of its own; use bound=elbo")
        check_likelihood(title, experiment)
        if not experiment.model.bottleneck.has_posterior or any(
            isinstance(term, KL) for term in experiment.model.terms.values()
        ):
            raise InputError(f"model.terms: {title} needs a bottleneck with a posterior and no KL beside its own")
        if experiment.form.dynamic:
            raise InputError(
                f"data.binarize=dynamic: pixels decide which labels {title} knows, and must not change; "
                "use data.binarize=static"
            )

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return self.head(experiment).init(key, jnp.zeros((1, experiment.form.pixels)))["params"]

    def head(self, experiment: Any) -> Head:
        """The classifier as a module."""
        return Head(experiment.net, experiment.form.shape, experiment.form.classes)

    def log_class(self, experiment: Any, params: Any, variables: Any, x_BxP: jax.Array) -> jax.Array:
        """log q(y | x), [B, C]."""
        centered_BxP = x_BxP - params["running"]["center"][None, :] if experiment.net.center else x_BxP
        head: Any = self.head(experiment)
        return jax.nn.log_softmax(head.apply({"params": variables}, centered_BxP)[1])

    def __call__(self, context: Context) -> jax.Array:
        experiment, batch = context.experiment, context.batch
        assert batch.label is not None, "needs_labels"
        log_q_BxC = self.log_class(experiment, context.params, context.variables, batch.input)
        nats_BxC = lax.map(lambda label: self.bound(context, label), jnp.arange(experiment.form.classes)).T
        unknown_B = jnp.sum(jnp.exp(log_q_BxC) * (nats_BxC + log_q_BxC), axis=1)
        chosen_Bx1 = batch.label[:, None]
        joint_B, log_q_B = (jnp.take_along_axis(of_BxC, chosen_Bx1, axis=1)[:, 0] for of_BxC in (nats_BxC, log_q_BxC))
        return jnp.where(known(batch.target, self.share), joint_B - self.classification * log_q_B, unknown_B)

    def bound(self, context: Context, label: jax.Array) -> jax.Array:
        """-log p(x, y) of all examples with one label, bounded from above, in nats, [B]."""
        experiment, params, batch = context.experiment, context.params, context.batch
        label_B = jnp.full(batch.input.shape[:1], label)
        code = autoencoder.encode(experiment, params, batch.input, context.key_samples, label_B, context.key_training)
        logits_BxP = autoencoder.decode(experiment, params, code.z, label_B, context.key_training)
        nats_B = experiment.likelihood.negative_log(batch.target, logits_BxP, params["likelihood"])
        return nats_B + autoencoder.rate(experiment, params, code, label_B) + jnp.log(experiment.form.classes)

    def contribution(self, context: Context, mean: jax.Array) -> jax.Array:
        return self.weight * mean - jnp.mean(context.distortion)


def known(x_BxP: jax.Array, share: Leaf) -> jax.Array:
    """True for about this share of all examples, the same ones in every batch and every run, [B].

    A hash of the bits of an example decides, so that rounding cannot.
    """
    bits_BxP = lax.bitcast_convert_type(x_BxP.astype(jnp.float32), jnp.uint32)
    odd_P = jax.random.bits(jax.random.key(0), x_BxP.shape[1:], jnp.uint32) | jnp.uint32(1)
    hash_B = jnp.sum(_mixed(bits_BxP) * odd_P[None, :], axis=1, dtype=jnp.uint32)
    return (_mixed(hash_B) >> 8).astype(jnp.float32) / 2**24 < share


def _mixed(bits: jax.Array) -> jax.Array:
    """Bits that each depend on all of these; the finalizer of MurmurHash3."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)
