"""The wrapped normal on the Poincaré ball: a density, the Gaussian of distances, maps that are inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job
from densities import draws, normal, of_one
from scipy import integrate

from aejax.models.codes.hyperbolic import WrappedNormal, from_ball, log_sinhc, to_ball
from aejax.models.posteriors import Diagonal


def standard_normal(z):
    return -0.5 * jnp.sum(z**2 + np.log(2 * np.pi), axis=1)


def wrapped(c, mean=((0.3, -0.5),), log_variance=((0.4, -0.6),)):
    return WrappedNormal(jnp.array(mean) / np.sqrt(c), jnp.ones(2), jnp.array(log_variance), jnp.float32(c))


@pytest.mark.parametrize("c", [0.3, 1.0, 2.5])
def test_the_wrapped_normal_integrates_to_one_over_the_volume_of_the_ball(c):
    posterior = wrapped(c)
    distance, angle = np.linspace(0, 12, 600), np.linspace(0, 2 * np.pi, 400, endpoint=False)  # polar, about the center
    radius = np.tanh(0.5 * distance) / np.sqrt(c)
    z = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[None]
    density = np.exp(of_one(posterior, z.reshape(-1, 2).astype(np.float32))).reshape(600, 400)
    volume = np.sinh(distance) / np.sqrt(c)  # distances in units of 1 / sqrt(c)
    total = integrate.simpson(density.mean(axis=1) * 2 * np.pi * volume, x=distance) / np.sqrt(c)
    assert total == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.5])
def test_the_wrapped_normal_is_the_gaussian_of_distances(c):
    """With variance 1 the density is a function of the distance to the mean (eq. 4), by another formula for that."""
    posterior = wrapped(c, log_variance=((0.0, 0.0),))
    z, log_q = draws(posterior)
    mean = np.asarray(posterior.mean[0], np.float64)
    gap, edges = np.sum((z - mean) ** 2, axis=1), (1 - c * np.sum(z**2, axis=1)) * (1 - c * mean @ mean)
    distance = np.arccosh(1 + 2 * c * gap / edges) / np.sqrt(c)
    scaled = np.sqrt(c) * distance
    expected = -0.5 * distance**2 - np.log(2 * np.pi) - np.log(np.sinh(scaled) / scaled)
    np.testing.assert_allclose(log_q, expected, atol=2e-2)
    np.testing.assert_allclose(of_one(posterior, z.astype(np.float32)), log_q, atol=2e-2)
    assert distance.std() > 0.3


def test_the_maps_of_the_ball_are_inverse_to_each_other_up_to_its_border():
    v = np.array([[0.0, 0.0], [1e-4, 0], [0.5, -1], [3, 4], [-6, 8]], np.float32)
    z = to_ball(jnp.asarray(v), jnp.float32(1.0))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.tanh(0.5 * np.linalg.norm(v, axis=1)), rtol=1e-5)
    np.testing.assert_allclose(from_ball(z, jnp.float32(1.0)), v, rtol=5e-3, atol=1e-6)
    far = jnp.array([[1e4, -1e4], [np.inf, 0]], jnp.float32)[:1]
    for c in (0.1, 1.0, 10.0):
        back = from_ball(to_ball(far, jnp.float32(c)), jnp.float32(c))
        assert np.linalg.norm(back) == pytest.approx(12.2 / np.sqrt(c), rel=0.01)
    x = np.array([1e-3, 0.1, 0.29, 0.31, 5, 80], np.float32)
    np.testing.assert_allclose(
        log_sinhc(x)[:5], np.log(np.sinh(x[:5].astype(np.float64)) / x[:5]), rtol=1e-3, atol=1e-7
    )
    slope = jax.vmap(jax.grad(log_sinhc))(x)
    np.testing.assert_allclose(slope, 1 / np.tanh(x.astype(np.float64)) - 1 / x.astype(np.float64), rtol=1e-3)


def test_the_kl_of_a_posterior_wider_than_the_ball_is_positive_and_falls_as_it_narrows():
    ball = job("model=p_vae", "latent_dim=3").experiment.model.bottleneck
    zero, mask = jnp.zeros((500, 3)), jnp.ones(3)
    prior = WrappedNormal(zero, mask, zero, ball.c)

    def kl(log_variance):
        heads = {"mean": zero, "log_variance": jnp.full((500, 3), log_variance)}
        draw = ball.posterior(heads, mask, {}).sample(jax.random.key(0))
        return jnp.mean(draw.log_q - prior.log_prob(draw.z))

    for log_variance in (1.5, 3.0, 30.0):
        value, slope = jax.value_and_grad(kl)(log_variance)
        assert value > 0 and slope > 0


def test_a_ball_that_is_nearly_flat_is_the_gaussian_vae():
    c, mean, log_variance = 1e-4, normal(0, 1, 3), normal(1, 1, 3, scale=0.5)
    ball = WrappedNormal(to_ball(mean, jnp.float32(c)), jnp.ones(3), log_variance, jnp.float32(c))
    zero = jnp.zeros((1, 3))
    prior = WrappedNormal(zero, jnp.ones(3), zero, jnp.float32(c))
    flat_one = Diagonal(mean, jnp.ones(3), log_variance)
    for seed in range(3):
        curved, straight = ball.sample(jax.random.key(seed)), flat_one.sample(jax.random.key(seed))
        np.testing.assert_allclose(from_ball(curved.z, jnp.float32(c)), straight.z, atol=5e-3)
        ratio = float((curved.log_q - prior.log_prob(curved.z))[0])
        assert ratio == pytest.approx(float((straight.log_q - standard_normal(straight.z))[0]), abs=2e-2)
