"""What a model draws, and what lies between its codes."""

import jax.numpy as jnp

from aejax import model
from aejax.chunks import mapped
from aejax.evaluate.passes import is_alone
from aejax.evaluate.protocol import (
    GENERATED,
    MANIFOLD,
    MANIFOLD_UNITS,
    PATHS,
    PERMUTATIONS,
    SEED,
    STEPS,
    TWO_SAMPLES,
)
from aejax.fit import principal_components
from aejax.keys import Purpose, key_for
from aejax.metrics import generation as metrics


def generation(experiment, params, data):
    """Samples against test and training examples, and posterior codes against the prior that they are from."""
    form = experiment.form
    test_NxP, train_NxP = form.scaled(data.test)[:GENERATED], form.scaled(data.train)
    alone = is_alone(experiment, data)
    key = key_for(SEED, Purpose.GENERATED)
    drawn_SxP = _drawn(experiment, params, data, key, GENERATED if alone else test_NxP.shape[0])
    found = {} if alone else metrics.novelty(train_NxP, test_NxP, drawn_SxP)
    if test_NxP.shape[0] > MANIFOLD:
        found |= metrics.manifolds(test_NxP, drawn_SxP, MANIFOLD)
        mean_P, components_KxP = principal_components(data.train, form, min(MANIFOLD_UNITS, *data.train.shape))
        projected = [(each - mean_P[None, :]) @ components_KxP.T for each in (test_NxP, drawn_SxP)]
        found |= {f"pca_{name}": value for name, value in metrics.manifolds(*projected, MANIFOLD).items()}
    if alone:
        found |= {
            f"glyphs_{name}": value
            for name, value in metrics.glyphs(train_NxP, drawn_SxP, form.kind == "binary").items()
        }
    if not experiment.sample.is_prior(experiment):
        return found
    posterior_MxZ = model.encode(experiment, params, test_NxP[:TWO_SAMPLES], key_for(SEED, Purpose.TWO_SAMPLES)).z
    prior_MxZ = model.prior(experiment, params, key_for(SEED, Purpose.TWO_SAMPLES, 1), posterior_MxZ.shape[0])
    mmd2, p = metrics.two_samples(key_for(SEED, Purpose.TWO_SAMPLES, 2), posterior_MxZ, prior_MxZ, PERMUTATIONS)
    return found | {"prior_mmd2": mmd2, "prior_p": p}


def interpolations(experiment, params, z_NxZ):
    """How straight and even the images between neighbouring test examples are, {name: scalar}."""
    start_LxZ, end_LxZ = z_NxZ[:-1][:PATHS], z_NxZ[1:][:PATHS]
    share_T = jnp.linspace(0, 1, STEPS)[None, :, None]
    path_LxTxZ = start_LxZ[:, None, :] + share_T * (end_LxZ - start_LxZ)[:, None, :]
    images = experiment.likelihood.mean(model.decode(experiment, params, path_LxTxZ.reshape(-1, z_NxZ.shape[1])))
    return metrics.interpolation(images.reshape(start_LxZ.shape[0], STEPS, -1))


def _drawn(experiment, params, data, key, samples):
    z_SxZ = experiment.sample.codes(experiment, params, data, key, samples)
    return mapped(lambda part, _: experiment.likelihood.mean(model.decode(experiment, params, part)), z_SxZ)
