"""How probable test examples are to a model, in nats an example; the KL has weight 1, whatever a run trained with."""

import jax
import jax.numpy as jnp
from jax import lax

from aejax.base.chunks import mapped
from aejax.base.keys import Purpose, key_for
from aejax.evaluation.encoding import negative_log, seen
from aejax.evaluation.protocol import ELBO_SAMPLES, SEED
from aejax.metrics.reconstruction import bits_per_dimension
from aejax.models import autoencoder


def bounds(experiment, params, x_NxP, y_N=None):
    """The evidence lower bound and its terms in nats, {name: scalar}: elbo = -(rate + distortion)."""
    distortion, rate = (jnp.mean(term_N) for term_N in _terms(experiment, params, x_NxP, y_N))
    return {"elbo": -(rate + distortion), "likelihood/rate": rate, "likelihood/distortion": distortion}


def bound_of_each(experiment, params, x_NxP, y_N=None):
    """The evidence lower bound of each example in nats, [N]."""
    distortion_N, rate_N = _terms(experiment, params, x_NxP, y_N)
    return -(rate_N + distortion_N)


def rate_of_each(experiment, params, x_NxP, y_N=None):
    """KL(posterior || prior) of each example in nats, [N]."""
    return _terms(experiment, params, x_NxP, y_N)[1]


def kl_of_each(experiment, params, x_NxP, y_N=None):
    """KL(posterior || prior) of each unit of each example in nats, [N, Z], where it has a closed form given a draw."""

    def kl(part_BxP, label_B, key):
        code = autoencoder.encode(experiment, params, part_BxP, key, label_B)
        return autoencoder.kl_by_unit(experiment, params, code, label_B)

    return _averaged(experiment, x_NxP, y_N, kl)


def _terms(experiment, params, x_NxP, y_N):
    def terms(part_BxP, label_B, key):
        outputs = autoencoder.forward(experiment, params, part_BxP, key, label=label_B)
        rate_B = autoencoder.rate(experiment, params, outputs.code, label_B)
        return negative_log(experiment, params, part_BxP, outputs), rate_B

    return _averaged(experiment, x_NxP, y_N, terms)


def _averaged(experiment, x_NxP, y_N, of):
    """The means of `of`(examples, labels, key) over ELBO_SAMPLES keys, always the same ones."""

    def one(part, index):
        key_part = jax.random.fold_in(key_for(SEED, Purpose.ELBO), index)
        samples = lax.map(lambda key: of(*part, key), jax.random.split(key_part, ELBO_SAMPLES))
        return jax.tree.map(lambda term: jnp.mean(term, axis=0), samples)

    return mapped(one, (x_NxP, seen(experiment, y_N)))


def importance_weighted(experiment, params, x_NxP, y_N=None):
    """The mean `nll_of_each`, {name: scalar}."""

    def one(part, index):
        return nll_of_each(experiment, params, *part, index)

    nll, levels = jnp.mean(mapped(one, (x_NxP, seen(experiment, y_N)))), stored_levels(experiment)
    if levels is None:
        return {"nll": nll}
    return {"nll": nll, "likelihood/bits_per_dim": bits_per_dimension(nll, x_NxP.shape[1], levels)}


def nll_of_each(experiment, params, x_BxP, label_B, index):
    """-log p(x) in nats by importance sampling with the posterior, [B] (Burda et al. 2016, eq. 8).

    An upper bound that approaches the true value as `experiment.evaluate.samples` grows; the draws are those of the
    `index`-th batch.
    """
    samples = experiment.evaluate.samples
    key = jax.random.fold_in(key_for(SEED, Purpose.NLL), index)

    def add(total_B, sample):
        outputs = autoencoder.forward(experiment, params, x_BxP, jax.random.fold_in(key, sample), label=label_B)
        ratio_B = autoencoder.log_ratio(experiment, params, outputs.code, label_B)
        weight_B = ratio_B - negative_log(experiment, params, x_BxP, outputs)
        return jnp.logaddexp(total_B, weight_B), None

    start_B = jnp.full(x_BxP.shape[0], -jnp.inf)
    return jnp.log(samples) - lax.scan(add, start_B, jnp.arange(samples))[0]


def stored_levels(experiment):
    """`levels` of bits_per_dimension, None where the likelihood does not give the probability of the stored values.

    It does where it is a density over [0, 1] of bytes, 256, or the probability of binary pixels, 1.
    """
    is_bytes, is_density = experiment.form.kind in ("gray", "rgb"), experiment.likelihood.is_density
    if is_bytes and is_density:
        return 256
    return 1 if experiment.form.kind == "binary" and not is_density else None
