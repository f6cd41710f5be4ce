"""Densities that descent fits to codes: samples are as the codes, cluster by cluster, class by class, unit by unit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, trained

from aejax.base.errors import InputError
from aejax.evaluation.learned_densities import Flow, TwoStage, descended
from aejax.training.lanes import lane

DENSITIES = {
    "flow": Flow(400, 256, np.float32(0.02), 16, 3, np.float32(0.05)),
    "two_stage": TwoStage(1000, 256, np.float32(0.01), 32, 1),
}
BETWEEN = 0.8  # of the first unit, from the middle of the clusters


def clusters(seed, count):
    """Codes [N, 2] of two clusters that a line through the middle separates, and their sides, 0 or 1."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, count)
    sign = 2 * side - 1
    z = np.stack([2 * sign + 0.4 * rng.normal(size=count), sign + 0.6 * rng.normal(size=count)], axis=1)
    return z.astype(np.float32) * [1, 10] + [5, 0], side


def energy(a, b):
    """The energy distance of two samples of equal scales (Székely & Rizzo 2013, eq. 6)."""

    def apart(one, other):
        return np.sqrt(((one[:, None] - other[None]) ** 2).sum(axis=2)).mean()

    return 2 * apart(a, b) - apart(a, a) - apart(b, b)


def drawn(density, z, width, samples=2000, classes=(None, None)):
    """Samples for codes that are padded with masked units to this width."""
    units = z.shape[1]
    mask = (np.arange(width) < units).astype(np.float32)
    padded = np.pad(z, ((0, 0), (0, width - units))).astype(np.float32)
    draw = jax.jit(functools.partial(density.drawn, samples=samples))
    of, asked = (None if label is None else jax.nn.one_hot(label, 2) for label in classes)
    return np.asarray(draw(jax.random.key(0), padded, mask, classes_NxC=of, classes_SxC=asked))


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSITIES)
def test_samples_are_of_two_clusters_with_little_between_them(name):
    z, fresh = clusters(0, 2000)[0], clusters(1, 1000)[0]
    samples = drawn(DENSITIES[name], z, 3)
    assert not samples[:, 2].any()
    samples, scale = samples[:, :2], np.sqrt(np.diag(np.cov(z.T)))
    np.testing.assert_allclose(samples.mean(axis=0) / scale, z.mean(axis=0) / scale, atol=0.1)
    np.testing.assert_allclose(np.cov(samples.T) / np.outer(scale, scale), np.corrcoef(z.T), atol=0.12)
    normal = np.random.default_rng(2).multivariate_normal(z.mean(axis=0), np.cov(z.T), 1000)
    assert np.mean(abs(samples[:, 0] - 5) < BETWEEN) < 0.35 * np.mean(abs(normal[:, 0] - 5) < BETWEEN)
    assert energy(samples[:1000] / scale, fresh / scale) < 0.3 * energy(normal / scale, fresh / scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSITIES)
def test_samples_are_of_their_class(name):
    z, side = clusters(0, 2000)
    label = np.arange(2000) % 2
    samples = drawn(DENSITIES[name], z, 2, classes=(side, label))
    assert ((samples[:, 0] > 5) == (label == 1)).mean() > 0.99
    for each in range(2):
        np.testing.assert_allclose(samples[label == each].mean(axis=0), z[side == each].mean(axis=0), atol=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSITIES)
def test_masked_units_change_nothing(name):
    z, density = clusters(0, 200)[0], DENSITIES[name].replace(steps=20)
    np.testing.assert_allclose(drawn(density, z, 5, 50)[:, :2], drawn(density, z, 2, 50), rtol=1e-3, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSITIES)
def test_degenerate_codes_have_finite_samples(name):
    z = np.random.default_rng(0).normal(size=(27, 3)) * [1, 0, 1] + 3
    samples = drawn(DENSITIES[name], np.concatenate([z, z[:, :1]], axis=1), 4)  # idle, and a copy of another
    assert np.isfinite(samples).all()
    np.testing.assert_allclose(samples[:, 1], 3, atol=0.05)
    assert np.median(abs(samples[:, 3] - samples[:, 0])) < 0.2 * z[:, 0].std()


def test_descent_finds_a_minimum():
    target = jnp.array([1.0, -2.0])
    found = descended(lambda x, key: jnp.sum((x - target) ** 2), jnp.zeros(2), jax.random.key(0), 500, 0.1)
    np.testing.assert_allclose(found, target, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["model=vae"], ["model=cvae"], ["model=full_vae"], ["model=vae", "sampler=flow"]])
def test_a_trained_model_is_sampled_from(words):
    each = job(
        "net.widths=[8]", "steps=100", "log_points=1", "latent_dim=2", "sampler=two_stage", *words, "sampler.steps=200"
    )
    params, data = lane(trained(each, width=3)[0].chosen, 0), each.dataset.arrays()
    codes = jax.jit(lambda params: each.experiment.sampler.codes(each.experiment, params, data, jax.random.key(0), 54,
        np.arange(54) % 27 if each.experiment.model.is_conditional else None))  # fmt: skip
    z = np.asarray(codes(params))
    assert np.isfinite(z).all() and not z[:, 2].any() and (z[:, :2].std(axis=0) > 0.2).all()


def test_wrong_inputs():
    with pytest.raises(InputError, match=r"^sampler=two_stage: model=ae has no posterior to draw codes from; use mod"):
        job("model=ae", "sampler=two_stage")
    with pytest.raises(InputError, match=r"^sampler\.layers=0: must be a whole number at least 1"):
        job("model=ae", "sampler=flow", "sampler.layers=0")
