"""Chains on a manifold: their distribution is that of an integral on a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, refused, trained

from aejax.evaluation.manifold import chains
from aejax.models.codes.riemannian import LearnedMetric, posterior_metric
from aejax.models.posteriors import Diagonal
from aejax.training.lanes import lane

MASK = jnp.array([1.0, 1.0, 0.0])


def metrics():
    """A metric of posteriors and a learned one, of three centers that reach each other, in two units of three."""
    center = jnp.array([[-0.8, 0, 0], [0.5, 0.4, 0], [0.4, -0.9, 0]])
    log_variance = jnp.array([[-1.0, 0.3, 0], [0.2, -0.5, 0], [0, 0, 0]])
    factor = jnp.array([[[1.0, 0, 0], [0.5, 1, 0], [0, 0, 0]]] * 3) * jnp.array([1, 2, 0.5])[:, None, None]
    learned = LearnedMetric(center, factor @ jnp.swapaxes(factor, 1, 2), jnp.ones(3), MASK, 0.8, jnp.float32(1e-3))
    return {"posteriors": posterior_metric(Diagonal(center, MASK, log_variance), None, 1e-3, 0.3), "learned": learned}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["posteriors", pytest.param("learned", marks=pytest.mark.slow)])
def test_chains_are_distributed_as_the_density_on_a_grid(name):
    metric = metrics()[name]
    axis = np.linspace(-4, 4, 161)
    grid = np.stack([*np.meshgrid(axis, axis, indexing="ij"), np.zeros((161, 161))], axis=-1).reshape(-1, 3)
    log_density = np.asarray(jax.jit(metric.log_density)(grid.astype(np.float32)), np.float64)
    weight = np.exp(log_density - log_density.max())
    if name == "learned":  # its density has no end: what is of the manifold
        weight[np.abs(grid).max(axis=1) > 2] = 0
    weight /= weight.sum()
    run = jax.jit(lambda start: chains(jax.random.key(0), metric.log_density, start, 1.3 * metric.width, 60, 3))
    z = np.asarray(run(metric.center[np.arange(6000) % 3]), np.float64)
    assert not z[:, 2].any()
    z = z[np.abs(z).max(axis=1) < (2 if name == "learned" else 4)]
    assert len(z) > 5700
    edges = np.linspace(-2, 2, 9)
    shown = np.histogram2d(z[:, 0], z[:, 1], bins=(edges, edges))[0] / len(z)
    expected = np.histogram2d(grid[:, 0], grid[:, 1], bins=(edges, edges), weights=weight)[0]
    assert np.abs(shown - expected).sum() / 2 < 0.06  # total variation; of 6000 exact draws 0.02 to 0.03
    np.testing.assert_allclose(z[:, :2].mean(axis=0), weight @ grid[:, :2], atol=0.06)
    np.testing.assert_allclose(
        z[:, :2].std(axis=0), np.sqrt(weight @ (grid[:, :2] - z[:, :2].mean(axis=0)) ** 2), rtol=0.1
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", [["model=vae"], ["model=cvae"], ["model=rhvae", "model.bank=20"]])
def test_samples_of_a_model_are_near_its_training_codes(words):
    each = job("net.widths=[8]", "steps=100", "log_points=1", "latent_dim=2", "sampler=riemannian", *words)
    experiment, data = each.experiment, each.dataset.arrays()
    params = lane(trained(each, width=3)[0].chosen, 0)
    label = np.arange(54) % 27 if experiment.model.is_conditional else None
    draw = jax.jit(lambda params: experiment.sampler.codes(experiment, params, data, jax.random.key(0), 54, label))
    z, metric = np.asarray(draw(params)), experiment.sampler.metric(experiment, params, data)[0]
    assert np.isfinite(z).all() and not z[:, 2].any()
    apart = np.abs(z[:, None] - np.asarray(metric.center)[None]) / np.maximum(metric.width, 1e-9)
    assert np.median(apart[..., :2].max(axis=2).min(axis=1)) < 3


@pytest.mark.parametrize("model", ["ae", "full_vae", "hvae", "p_vae", "vq_vae", "fsq_vae"])
def test_a_model_without_independent_gaussians_is_refused(model):
    refused(
        "sampler=riemannian: needs a Gaussian posterior with independent units", f"model={model}", "sampler=riemannian"
    )
