"""Where the codes of samples come from: the prior of the model, or a density fitted to its training codes."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.evaluation.encoding import codes_of_stored, indices_of_stored, picked, seen
from aejax.evaluation.protocol import DENSITY
from aejax.metrics.clusters import k_means
from aejax.models import autoencoder
from aejax.models.layers import mask_of
from aejax.settings.fields import static_int

EM_STEPS = 100
REGULAR = 1e-6  # of the mean variance of the codes, added to each unit's in a fitted covariance
STARTS = 3  # of the k-means that a mixture begins with
SMOOTHING = 0.1  # of an example: the weight of a position's frequencies beside those after a value
CHAINS = 64  # samples of a chain at a time


@struct.dataclass
class Sampler:
    """The base: draws codes [samples, Z] to decode."""

    is_prior: ClassVar[bool] = False  # whether samples come from the model's prior

    def settle(self, experiment):
        """This sampler, for an experiment whose model is known."""
        return self

    def check(self, experiment):
        """Raises InputError where this sampler cannot serve the experiment."""

    def codes(self, experiment, params, data, key, samples, label_S=None):
        """Codes [samples, Z], of these labels if the model is conditional."""
        raise NotImplementedError

    def images(self, experiment, params, data, key, samples):
        """Mean images of such codes, [samples, P]; of all classes in turn if the model is conditional."""
        label_S = sampled_labels(experiment, samples)
        z_SxZ = self.codes(experiment, params, data, key, samples, label_S)
        return autoencoder.decoded(experiment, params, z_SxZ, label_S)


def sampled_labels(experiment, samples):
    """The labels of so many samples, all classes in turn, [samples] int32; None unless the model is conditional."""
    return jnp.arange(samples) % experiment.form.classes if experiment.model.is_conditional else None


@struct.dataclass
class Auto(Sampler):
    """The prior where the model has one, else a chain of discrete codes or a Gaussian."""

    def settle(self, experiment):
        if experiment.model.has_prior:
            return Prior()
        return Codes() if experiment.model.bottleneck.is_discrete else Gaussian()


@struct.dataclass
class Prior(Sampler):
    """Draws from the model's prior."""

    is_prior: ClassVar[bool] = True

    def check(self, experiment):
        if not experiment.model.has_prior:
            raise InputError(
                f"sampler=prior: {experiment.model_title} has no prior; use auto, gaussian, mixture, kde or flow"
            )

    def codes(self, experiment, params, data, key, samples, label_S=None):
        return experiment.prior.sample(experiment, params, key, samples, label_S)


@struct.dataclass
class Density(Sampler):
    """The base of densities fitted to training codes, which sample from models without a prior (Ghosh et al. 2020,
    section 4). Discrete codes are the nearest to what is drawn.
    """

    def codes(self, experiment, params, data, key, samples, label_S=None):
        mask_Z = mask_of(experiment, params)
        y_N = None if seen(experiment, data.y_train) is None else picked(data.y_train, DENSITY)
        z_NxZ = codes_of_stored(experiment, params, picked(data.train, DENSITY), y_N)
        key_eps, *keys = jax.random.split(key, 3)
        eps_SxZ = normal_by_unit(key_eps, mask_Z.shape[0], (samples,)).T
        z_SxZ = self.drawn(z_NxZ, mask_Z, experiment.latent_dim, eps_SxZ, keys) * mask_Z[None, :]
        return autoencoder.snapped(experiment, params, z_SxZ)

    def drawn(self, z_NxZ, mask_Z, latent_dim, eps_SxZ, keys):
        """Codes [S, Z] of the density of z_NxZ, from standard normal draws eps_SxZ and two keys."""
        raise NotImplementedError


@struct.dataclass
class Gaussian(Density):
    """One Gaussian with a full covariance."""

    def drawn(self, z_NxZ, mask_Z, latent_dim, eps_SxZ, keys):
        mean_Z, factor_ZxZ = gaussian(z_NxZ, jnp.ones(z_NxZ.shape[0]), mask_Z)
        return mean_Z[None, :] + eps_SxZ @ factor_ZxZ.T


@struct.dataclass
class Mixture(Density):
    """A mixture of `components` Gaussians with full covariances."""

    components: int = static_int(1, 1000)

    def check(self, experiment):
        examples = min(experiment.form.examples, DENSITY)
        if self.components > examples:
            raise InputError(
                f"sampler.components={self.components}: must be at most the number of training examples, {examples}"
            )

    def drawn(self, z_NxZ, mask_Z, latent_dim, eps_SxZ, keys):
        log_weight_K, mean_KxZ, factor_KxZxZ = mixture(keys[0], z_NxZ, mask_Z, self.components)
        component_S = jax.random.categorical(keys[1], log_weight_K, shape=eps_SxZ.shape[:1])
        return mean_KxZ[component_S] + jnp.einsum("szy,sy->sz", factor_KxZxZ[component_S], eps_SxZ)


@struct.dataclass
class KDE(Density):
    """A Gaussian kernel on each training code: their covariance, shrunk by Scott's factor (Scott 1992)."""

    def drawn(self, z_NxZ, mask_Z, latent_dim, eps_SxZ, keys):
        _, factor_ZxZ = gaussian(z_NxZ, jnp.ones(z_NxZ.shape[0]), mask_Z)
        scott = z_NxZ.shape[0] ** (-1 / (jnp.float32(latent_dim) + 4))
        center_S = jax.random.randint(keys[0], eps_SxZ.shape[:1], 0, z_NxZ.shape[0])
        return z_NxZ[center_S] + scott * (eps_SxZ @ factor_ZxZ.T)


@struct.dataclass
class Codes(Sampler):
    """A Markov chain over the positions of a discrete code, counted in training codes."""

    def check(self, experiment):
        if not experiment.model.bottleneck.is_discrete:
            raise InputError(
                f"sampler=codes: {experiment.model_title} has no discrete codes; use auto, gaussian, mixture, kde or "
                "flow"
            )

    def codes(self, experiment, params, data, key, samples, label_S=None):
        y_N = None if seen(experiment, data.y_train) is None else picked(data.y_train, DENSITY)
        index_NxT = indices_of_stored(experiment, params, picked(data.train, DENSITY), y_N)
        fits = None if y_N is None else (y_N, label_S)
        return autoencoder.vectors(experiment, params, chain(key, index_NxT, samples, fits))


def chain(key, index_NxT, samples, labels=None):
    """Rows [samples, T] of a Markov chain over the columns of index_NxT; `labels` are those of its rows and of samples.

    A value comes after another with the probability (n(before, value) + s n(value) / N) / (n(before) + s), where n
    counts the rows and s is SMOOTHING. Such a value is that of a row, drawn with weight 1 if it has the value before,
    and s / N in any case.
    """
    examples = index_NxT.shape[0]
    y_N, label_S = (jnp.zeros(examples), jnp.zeros(samples)) if labels is None else labels

    def step(before_S, column):
        before_N, index_N, key_column = column

        def one(sample):
            before, label, uniform = sample
            weight_N = jnp.where(y_N == label, (before_N == before) + SMOOTHING / examples, 0.0)
            until_N = jnp.cumsum(weight_N)
            return index_N[jnp.searchsorted(until_N, uniform * until_N[-1], side="right").clip(max=examples - 1)]

        uniform_S = jax.random.uniform(key_column, (samples,))
        index_S = jax.lax.map(one, (before_S, label_S, uniform_S), batch_size=CHAINS)
        return index_S, index_S

    index_TxN = index_NxT.T
    before_TxN = jnp.concatenate([jnp.zeros_like(index_TxN[:1]), index_TxN[:-1]])
    keys_T = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(index_TxN.shape[0]))
    start_S = jnp.zeros(samples, index_TxN.dtype)
    return jax.lax.scan(step, start_S, (before_TxN, index_TxN, keys_T))[1].T


def gaussian(z_NxZ, weight_N, mask_Z):
    """The weighted mean [Z] of codes and a lower triangular root [Z, Z] of their covariance, 1 for masked units.

    The root is Cholesky's, taken through the eigenvalues: units that are constant, copies of others or more than there
    are examples leave some that are 0, or below it by rounding. None is below REGULAR of the units' mean variance.
    """
    total = jnp.sum(weight_N)
    mean_Z = weight_N @ z_NxZ / total
    centered_NxZ = z_NxZ - mean_Z[None, :]
    # Rounding makes some variance of equal codes: it is the scale of units that have none.
    rounding = jnp.finfo(jnp.float32).eps ** 2 * jnp.mean(z_NxZ**2, axis=0) + jnp.finfo(jnp.float32).tiny
    scale = jnp.sum((jnp.var(z_NxZ, axis=0) + rounding) * mask_Z) / jnp.sum(mask_Z)
    with jax.default_matmul_precision("highest"):
        covariance_ZxZ = (centered_NxZ * weight_N[:, None]).T @ centered_NxZ / (total * scale)
        value_Z, vector_ZxZ = jnp.linalg.eigh(covariance_ZxZ + jnp.diag(jnp.where(mask_Z > 0, REGULAR, 1.0)))
        root_ZxZ = vector_ZxZ * jnp.sqrt(jnp.maximum(value_Z, REGULAR))[None, :]
        triangle_ZxZ = jnp.linalg.qr(root_ZxZ.T, mode="r").T
    factor_ZxZ = triangle_ZxZ * jnp.where(jnp.diagonal(triangle_ZxZ) < 0, -1.0, 1.0)[None, :]
    return mean_Z, factor_ZxZ * jnp.where(mask_Z > 0, jnp.sqrt(scale), 1.0)[:, None]


def mixture(key, z_NxZ, mask_Z, components):
    """Log weights [K], means [K, Z] and Cholesky factors of the covariances [K, Z, Z] of a mixture of Gaussians.

    Expectation-maximization (Dempster et al. 1977), EM_STEPS of it, from the clusters of k-means.
    """
    cluster_N = k_means(key, z_NxZ, components, STARTS)[0]

    def fitted(weight_NxK):
        weight_NxK = weight_NxK + jnp.finfo(jnp.float32).eps  # so that an empty component is not too narrow
        mean_KxZ, factor_KxZxZ = jax.lax.map(lambda weight_N: gaussian(z_NxZ, weight_N, mask_Z), weight_NxK.T)
        return jnp.log(jnp.mean(weight_NxK, axis=0)), mean_KxZ, factor_KxZxZ

    def step(_, parts):
        return fitted(jax.nn.softmax(log_joint(z_NxZ, mask_Z, *parts), axis=1))

    return jax.lax.fori_loop(0, EM_STEPS, step, fitted(jax.nn.one_hot(cluster_N, components)))


def log_joint(z_NxZ, mask_Z, log_weight_K, mean_KxZ, factor_KxZxZ):
    """log p(z, component) of a mixture, [N, K]."""

    def one(part):
        log_weight, mean_Z, factor_ZxZ = part
        white_ZxN = jax.scipy.linalg.solve_triangular(factor_ZxZ, (z_NxZ - mean_Z[None, :]).T, lower=True)
        log_scale = jnp.sum(jnp.log(jnp.diagonal(factor_ZxZ)))
        return log_weight - 0.5 * jnp.sum(white_ZxN**2 + mask_Z[:, None] * jnp.log(2 * jnp.pi), axis=0) - log_scale

    return jax.lax.map(one, (log_weight_K, mean_KxZ, factor_KxZxZ)).T
