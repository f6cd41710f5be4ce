"""Metrics of the samples of a model, and of what lies between its codes."""

import dataclasses

import jax
import jax.numpy as jnp

from aejax.base.chunks import mapped
from aejax.base.keys import Purpose, key_for
from aejax.evaluation.encoding import drawn, is_alone, picked, seen
from aejax.evaluation.protocol import (
    EXACT,
    GENERATED,
    MANIFOLD,
    MANIFOLD_UNITS,
    PATHS,
    PERMUTATIONS,
    SEED,
    STEPS,
    TWO_SAMPLES,
)
from aejax.evaluation.sampling import sampled_labels
from aejax.metrics import generation as metrics
from aejax.models import autoencoder
from aejax.models.principal_components import principal_components


def generation(experiment, params, data):
    """Samples against test and training examples, and posterior codes against the prior, {name: scalar}.

    Samples are drawn from the likelihood, and so are examples whose pixels a Bernoulli takes for probabilities: a mean
    image is smoother than any example, and nearer to all of them. Only glyphs are compared with mean images. nan where
    samples are not finite.
    """
    form, alone = _compared(experiment), is_alone(experiment, data)
    train_NxP, test_NxP = drawn(form, data.train), drawn(form, picked(data.test, GENERATED), 1)
    mean_SxP, drawn_SxP = _samples(experiment, params, data, GENERATED if alone else test_NxP.shape[0])
    scores = {} if alone else metrics.novelty(train_NxP, test_NxP, drawn_SxP, _exact_copies(experiment, params, data))
    if test_NxP.shape[0] > MANIFOLD:
        scores |= metrics.manifolds(test_NxP, drawn_SxP, MANIFOLD)
        mean_P, components_KxP = principal_components(data.train, form, min(MANIFOLD_UNITS, *data.train.shape))
        projected = [(x_NxP - mean_P[None, :]) @ components_KxP.T for x_NxP in (test_NxP, drawn_SxP)]
        scores |= {f"pca_{name}": value for name, value in metrics.manifolds(*projected, MANIFOLD).items()}
    if alone:
        glyphs = metrics.glyphs(experiment.form.scaled(data.train), mean_SxP, experiment.form.kind == "binary")
        scores |= {f"glyphs_{name}": value for name, value in glyphs.items()}
    finite = jnp.all(jnp.isfinite(mean_SxP))
    scores = {name: jnp.where(finite, value, jnp.nan) for name, value in scores.items()}
    if not experiment.sampler.is_prior:
        return scores
    shown_MxP = experiment.form.scaled(picked(data.test, TWO_SAMPLES))
    label_M = None if seen(experiment, data.y_test) is None else picked(data.y_test, TWO_SAMPLES)
    key_posterior, key_prior = (key_for(SEED, Purpose.TWO_SAMPLES, step) for step in range(2))
    posterior_MxZ = autoencoder.encode(experiment, params, shown_MxP, key_posterior, label_M).z
    prior_MxZ = experiment.prior.sample(experiment, params, key_prior, posterior_MxZ.shape[0], label_M)
    mmd2, p = metrics.two_samples(key_for(SEED, Purpose.TWO_SAMPLES, 2), posterior_MxZ, prior_MxZ, PERMUTATIONS)
    return scores | {"prior_mmd2": mmd2, "prior_p": p}


def interpolations(experiment, params, z_NxZ, y_N=None):
    """How straight and even the images between neighboring test examples are, {name: scalar}.

    A conditional model decodes a path with the label of its start.
    """
    label_L = None if seen(experiment, y_N) is None else picked(y_N, PATHS + 1)[:-1]
    z_NxZ = picked(z_NxZ, PATHS + 1)
    start_LxZ, end_LxZ = z_NxZ[:-1], z_NxZ[1:]
    share_T = jnp.linspace(0, 1, STEPS)[None, :, None]
    path_LxTxZ = start_LxZ[:, None, :] + share_T * (end_LxZ - start_LxZ)[:, None, :]
    label_M = None if label_L is None else jnp.repeat(label_L, STEPS)
    logits = autoencoder.decode(experiment, params, path_LxTxZ.reshape(-1, z_NxZ.shape[1]), label_M)
    images = experiment.likelihood.mean(logits)
    return metrics.interpolation(images.reshape(start_LxZ.shape[0], STEPS, -1))


def _exact_copies(experiment, params, data):
    """Training examples with the noise of a density around them, [K, P]; None where the likelihood is not a density."""
    likelihood = experiment.likelihood
    if not likelihood.is_density:
        return None
    logits_KxP = likelihood.logits(experiment.form.scaled(picked(data.train, EXACT)))
    return likelihood.draw(key_for(SEED, Purpose.GENERATED, 2), logits_KxP, params["likelihood"])


def _compared(experiment):
    """The Form of examples that samples of the likelihood are compared with."""
    form = experiment.form
    return (
        dataclasses.replace(form, dynamic=True)
        if not experiment.likelihood.is_density and form.kind != "binary"
        else form
    )


def _samples(experiment, params, data, samples):
    """Mean images and draws of the likelihood at the same codes, [samples, P] each."""
    label_S = sampled_labels(experiment, samples)
    z_SxZ = experiment.sampler.codes(experiment, params, data, key_for(SEED, Purpose.GENERATED), samples, label_S)
    likelihood, key = experiment.likelihood, key_for(SEED, Purpose.GENERATED, 1)

    def one(part, at):
        logits_BxP = autoencoder.decode(experiment, params, *part)
        likelihood_params = params["likelihood"]
        return likelihood.mean(logits_BxP), likelihood.draw(jax.random.fold_in(key, at), logits_BxP, likelihood_params)

    return mapped(one, (z_SxZ, label_S))
