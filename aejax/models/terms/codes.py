"""Terms on codes: how they are distributed, how large they are, and what a part of them reconstructs.

Masked units are 0 and count nowhere; random draws are made by unit.
"""

from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models import autoencoder
from aejax.models.bottlenecks import Gaussian
from aejax.models.objective import Context, Term
from aejax.models.posteriors import LOG_2PI, Diagonal
from aejax.settings.fields import Leaf, leaf_float, static_choice, static_int


def drawing_key(context: Context) -> jax.Array:
    """The key of a term's random draws; always the same one in evaluation."""
    return jax.random.key(0) if context.key is None else context.key


@struct.dataclass
class KLPart(Term):
    """One of the three parts of which the KL to the prior is the sum, averaged over the data (Chen et al. 2018, eq. 2).

    `part` is information, KL(q(z, x) || q(z) p(x)); correlation, KL(q(z) || prod_j q(z_j)), the total correlation; or
    units, KL(prod_j q(z_j) || p(z)). The aggregated posterior q(z) is estimated from the posteriors of the batch:
    `weighted` by their sum over batch size times training examples (appendix C.1), or `stratified`, without bias
    (appendix C.2). A batch of all training examples has it exactly.
    """

    part: str = static_choice("information", "correlation", "units")
    estimator: str = static_choice("weighted", "stratified")

    compares_examples: ClassVar[bool] = True

    def check(self, experiment: Any) -> None:
        check_gaussian("parts of the KL", experiment)
        if experiment.bound.has_kl:
            name, title = experiment.bound.name, experiment.model_title
            raise InputError(f"bound={name}: has the KL inside, which {title} splits; use bound=elbo")

    def __call__(self, context: Context) -> jax.Array:
        code, experiment = context.outputs.code, context.experiment
        posterior = cast(Diagonal, code.posterior)
        joint_B, product_B = aggregated(posterior, code.z, experiment.form.examples, self.estimator)
        if self.part == "information":
            return posterior.log_prob(code.z) - joint_B
        if self.part == "correlation":
            return joint_B - product_B
        return product_B - experiment.prior.log_prob(experiment, context.params, code.z, context.batch.label)


def aggregated(
    posterior: Diagonal, z_BxZ: jax.Array, examples: int, estimator: str = "stratified"
) -> tuple[jax.Array, jax.Array]:
    """log q(z) and log prod_j q(z_j) at z_BxZ of the mixture of all `examples` Gaussian posteriors, [B] each.

    `posterior` has those of the batch, of which row i is that of z_i.
    """
    mask_Z, batch = posterior.mask, z_BxZ.shape[0]
    standard_BxBxZ = (z_BxZ[:, None, :] - posterior.mean[None]) * jnp.exp(-0.5 * posterior.log_variance)[None]
    log_BxBxZ = -0.5 * (standard_BxBxZ**2 + posterior.log_variance[None] + LOG_2PI) * mask_Z[None, None, :]
    log_weight_BxB = jnp.log(_weights(batch, examples, estimator))
    joint_B = jax.scipy.special.logsumexp(log_weight_BxB + jnp.sum(log_BxBxZ, axis=2), axis=1)
    by_unit_BxZ = jax.scipy.special.logsumexp(log_weight_BxB[:, :, None] + log_BxBxZ, axis=1)
    return joint_B, jnp.sum(by_unit_BxZ * mask_Z[None, :], axis=1)


def _weights(batch: int, examples: int, estimator: str) -> jax.Array:
    """The weight of the posterior of column j in the estimate of q(z_i), [B, B]."""
    if batch == examples or batch == 1:
        return jnp.full((batch, batch), 1 / examples)
    if estimator == "weighted":
        return jnp.full((batch, batch), 1 / (batch * examples))
    others, rows = batch - 1, jnp.arange(batch)
    weight_BxB = jnp.full((batch, batch), 1 / others).at[rows, rows].set(1 / examples)
    return weight_BxB.at[rows, (rows + 1) % batch].set((examples - others) / (examples * others))


def check_gaussian(what: str, experiment: Any) -> None:
    """Raises InputError unless the posteriors of the model are diagonal Gaussians; `what` needs them."""
    bottleneck = experiment.model.bottleneck
    if type(bottleneck) is not Gaussian:  # another posterior may have the same heads
        name = type(bottleneck).__name__.lower()
        raise InputError(
            f"model.bottleneck: {what} need Gaussian posteriors in {experiment.model_title}, not those of {name}; use "
            "aejax.models.bottlenecks.Gaussian"
        )


@struct.dataclass
class MomentMatching(Term):
    """The squared distance of the codes' covariance from the identity, a scalar (Kumar et al. 2018, eq. 6 and 7).

    The covariance is that of the posterior means (`kind` I), to which kind II adds their mean posterior variance.
    `off_diagonal` and `diagonal` weigh its entries.
    """

    kind: str = static_choice("I", "II")
    off_diagonal: Leaf = leaf_float(0)
    diagonal: Leaf = leaf_float(0)

    compares_examples: ClassVar[bool] = True

    def check(self, experiment: Any) -> None:
        check_gaussian("moments of posteriors", experiment)

    def __call__(self, context: Context) -> jax.Array:
        posterior = cast(Diagonal, context.outputs.code.posterior)
        covariance_ZxZ = covariance(posterior.mean)
        if self.kind == "II":
            covariance_ZxZ += jnp.diag(jnp.mean(jnp.exp(posterior.log_variance), axis=0) * posterior.mask)
        variance_Z, mask_Z = jnp.diagonal(covariance_ZxZ), posterior.mask
        off_diagonal = jnp.sum(covariance_ZxZ**2) - jnp.sum(variance_Z**2)
        return self.off_diagonal * off_diagonal + self.diagonal * jnp.sum((variance_Z - 1) ** 2 * mask_Z)


def covariance(z_BxZ: jax.Array) -> jax.Array:
    """The covariance of the code units over a batch, [Z, Z]."""
    centered_BxZ = z_BxZ - jnp.mean(z_BxZ, axis=0)[None, :]
    return centered_BxZ.T @ centered_BxZ / z_BxZ.shape[0]


@struct.dataclass
class MMD(Term):
    """The squared maximum mean discrepancy of codes and draws of the prior, a scalar (Gretton et al. 2012, eq. 3).

    It is the estimate without bias, so that it may be negative. With the squared distance s of two codes and
    c = 2 * scale * units, which for scale 1 is the mean of s over draws of N(0, I), the `kernel` is c / (c + s)
    (multiquadric: Tolstikhin et al. 2018, section 4) or exp(-s / c) (gaussian: Zhao et al. 2019).
    """

    kernel: str = static_choice("multiquadric", "gaussian")
    scale: Leaf = leaf_float(above=0)

    compares_examples: ClassVar[bool] = True
    matches_prior: ClassVar[bool] = True

    def __call__(self, context: Context) -> jax.Array:
        code = context.outputs.code
        prior_BxZ = prior_codes(context)
        size = 2 * self.scale * jnp.sum(code.mask)

        def similarity(a_BxZ: jax.Array, b_BxZ: jax.Array) -> jax.Array:
            squared_BxB = jnp.sum((a_BxZ[:, None, :] - b_BxZ[None, :, :]) ** 2, axis=2)
            return size / (size + squared_BxB) if self.kernel == "multiquadric" else jnp.exp(-squared_BxB / size)

        return mmd(similarity(code.z, code.z), similarity(prior_BxZ, prior_BxZ), similarity(code.z, prior_BxZ))


def mmd(a_BxB: jax.Array, b_BxB: jax.Array, between_BxB: jax.Array) -> jax.Array:
    """The unbiased squared discrepancy of two equally large sets from the kernel within each and between them."""
    count = a_BxB.shape[0]
    within = sum(jnp.sum(k_BxB) - jnp.trace(k_BxB) for k_BxB in (a_BxB, b_BxB)) / max(count * (count - 1), 1)
    return within - 2 * jnp.mean(between_BxB)


def prior_codes(context: Context) -> jax.Array:
    """As many draws of the prior as there are examples in the batch, [B, Z]."""
    examples = context.batch.input.shape[0]
    return context.experiment.prior.sample(
        context.experiment, context.params, drawing_key(context), examples, context.batch.label
    )


@struct.dataclass
class CodeNorm(Term):
    """Half the squared length of codes, [B] (Ghosh et al. 2020, section 3.1)."""

    def __call__(self, context: Context) -> jax.Array:
        return 0.5 * jnp.sum(context.outputs.code.z**2, axis=1)


@struct.dataclass
class Smoothness(Term):
    """How fast the decoder may change (Ghosh et al. 2020, section 3.1).

    `by` is l2, half the sum of the decoder's squared weights; gradient, half the squared Jacobian of the decoded means
    at the codes, [B], estimated along one random direction (Hutchinson 1990); or spectral, half the sum of the layers'
    squared spectral norms (Yoshida & Miyato 2017), where the paper divides by these norms.
    """

    by: str = static_choice("l2", "gradient", "spectral")

    def __call__(self, context: Context) -> jax.Array:
        experiment, params, code = context.experiment, context.params, context.outputs.code
        if self.by != "gradient":
            size = _squared_norm if self.by == "l2" else _squared_spectral_norm
            return 0.5 * sum(map(size, decoder_kernels(experiment, params)), jnp.float32(0))

        def image(z_BxZ: jax.Array) -> jax.Array:
            return autoencoder.decoded(experiment, params, z_BxZ, context.batch.label)

        units, examples = code.mask.shape[0], code.z.shape[0]
        sign_BxZ = jnp.sign(normal_by_unit(drawing_key(context), units, (examples,))).T * code.mask[None, :]
        return 0.5 * jnp.sum(jax.jvp(image, (code.z,), (sign_BxZ,))[1] ** 2, axis=1)


def decoder_kernels(experiment: Any, params: Any) -> list[jax.Array]:
    """The weights of the decoder's layers, the last axis that of a layer's outputs, those of tied layers included."""
    layers = jax.tree.leaves_with_path(autoencoder.decoder_layers(experiment.net, params))
    kernels = [array for path, array in layers if path[-1].key == "kernel"]
    return [autoencoder.code_weights(experiment, params), *kernels]


def _squared_norm(kernel: jax.Array) -> jax.Array:
    return jnp.sum(kernel**2)


def _squared_spectral_norm(kernel: jax.Array) -> jax.Array:
    """By power iteration from a fixed start; no gradient flows through the singular vector."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    direction = jax.random.normal(jax.random.key(0), matrix.shape[1:])
    for _ in range(ITERATIONS):
        direction = matrix.T @ (matrix @ direction)
        direction /= jnp.linalg.norm(direction) + TINY
    return jnp.sum((matrix @ jax.lax.stop_gradient(direction)) ** 2)


ITERATIONS = 30  # of the power method
TINY = 1e-12


@struct.dataclass
class Prefixes(Term):
    """-log p(x | first units of z), the others 0, in nats, [B]: units are sorted by what they contribute.

    Without `halvings` each example keeps a random number of units, all numbers being as likely (Rippel et al. 2014,
    section 3, with geometric numbers); with them it is the mean over codes that are cut to half their units, rounded
    up, so many times (Kusupati et al. 2022, eq. 1).
    """

    halvings: int | None = static_int(1, 16, optional=True)

    def __call__(self, context: Context) -> jax.Array:
        units = jnp.sum(context.outputs.code.mask)
        if self.halvings is None:
            share_B = jax.random.uniform(drawing_key(context), context.batch.input.shape[:1])
            return self.distortion(context, 1 + jnp.floor(share_B * units))
        kept = [jnp.ceil(units / 2 ** (halving + 1)) for halving in range(self.halvings)]
        examples = context.batch.input.shape[0]
        cut = [self.distortion(context, jnp.full(examples, count)) for count in kept]
        return jnp.mean(jnp.stack(cut), axis=0)

    def distortion(self, context: Context, kept_B: jax.Array) -> jax.Array:
        """-log p(x) in nats of codes that keep so many of their units, [B]."""
        experiment, params, batch = context.experiment, context.params, context.batch
        z_BxZ = context.outputs.code.z
        cut_BxZ = jnp.where(jnp.arange(z_BxZ.shape[1])[None, :] < kept_B[:, None], z_BxZ, 0.0)
        logits_BxP = autoencoder.decode(experiment, params, cut_BxZ, batch.label, context.key_training)
        return experiment.likelihood.negative_log(batch.target, logits_BxP, params["likelihood"])
