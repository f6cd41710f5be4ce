"""The von Mises-Fisher posterior: Bessel functions, draws, derivatives and areas against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from densities import draws, of_one
from scipy import special, stats

from aejax.models.codes import bessel
from aejax.models.codes.spherical import VonMisesFisher, log_area, sampled_drop

WIDTH = 21


def fisher(dims, kappa):
    """A posterior whose mean is oblique, in `dims` of WIDTH units."""
    mean, mask = np.zeros((1, WIDTH), np.float32), jnp.arange(WIDTH) < dims
    mean[0, :dims] = np.random.default_rng(dims).normal(size=dims)
    mean /= np.linalg.norm(mean)
    return VonMisesFisher(jnp.asarray(mean), mask.astype(jnp.float32), jnp.array([kappa], jnp.float32))


def test_bessel_functions_are_scipy_s():
    x, of_x = np.geomspace(1e-3, 1e4, 57).astype(np.float32), lambda function: jax.vmap(function, in_axes=(None, 0))
    log_ive = jax.jit(of_x(jax.value_and_grad(bessel.log_ive, argnums=1)))
    complement = jax.jit(of_x(jax.value_and_grad(bessel.complement, argnums=1)))
    exact = x.astype(np.float64)
    for order in (0, 0.5, 1, 1.5, 4, 9.5, 24, 50):
        ive, above = (special.ive(each, exact) for each in (order, order + 1))
        value, slope = log_ive(jnp.float32(order), x)
        np.testing.assert_allclose(value, np.log(ive), rtol=1e-6, atol=6e-5)
        np.testing.assert_allclose(slope, above / ive + order / exact - 1, rtol=1e-4, atol=1e-6)
        value, slope = complement(jnp.float32(order), x)
        np.testing.assert_allclose(value, 1 - above / ive, rtol=2e-5)
        np.testing.assert_allclose(-slope, 1 - (above / ive) ** 2 - (2 * order + 1) / exact * above / ive, rtol=1e-4)


@pytest.mark.parametrize(("dims", "kappa"), [(2, 1.3), (3, 20.0), (4, 1e-3), (20, 3000.0), (3, 1e4)])
def test_draws_are_of_the_fisher_density_of_scipy(dims, kappa):
    posterior = fisher(dims, kappa)
    z, log_q = draws(posterior, 8000)
    assert not z[:, dims:].any()
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    mean = np.asarray(posterior.mean[0, :dims], np.float64)
    expected = stats.vonmises_fisher(mean / np.linalg.norm(mean), kappa)
    unit = z[:50, :dims] / np.linalg.norm(z[:50, :dims], axis=1, keepdims=True)
    np.testing.assert_allclose(log_q[:50], [expected.logpdf(one) for one in unit], rtol=1e-4, atol=5e-3)
    np.testing.assert_allclose(of_one(posterior, z), log_q, rtol=1e-4, atol=5e-3)
    mean = np.asarray(posterior.mean[0], np.float64)
    cosine = z @ mean
    drop = 1 - special.ive(dims / 2, kappa) / special.ive(dims / 2 - 1, kappa)
    slope = 1 - (1 - drop) ** 2 - (dims - 1) / kappa * (1 - drop)  # the variance of the cosine
    assert 1 - cosine.mean() == pytest.approx(drop, abs=5 * np.sqrt(slope / len(z)))
    assert cosine.var() == pytest.approx(slope, rel=0.1)
    across = z - cosine[:, None] * mean
    spread = (across.T @ across / len(z))[:dims, :dims]
    expected = (1 - (1 - drop) ** 2 - slope) / (dims - 1) * (np.eye(dims) - np.outer(mean, mean)[:dims, :dims])
    np.testing.assert_allclose(spread, expected, atol=0.1 * np.abs(expected).max())


def test_rounding_takes_no_draw_off_a_circle():
    means, concentrations = jnp.tile(jnp.array([1.0, 0.0]), (400_000, 1)), jnp.ones(400_000)
    sample = jax.jit(lambda each, key: VonMisesFisher(means, jnp.ones(2), each).sample(key).z)
    z = np.asarray(sample(concentrations, jax.random.key(0)))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)  # nan fails


@jax.jit
def drops(kappa, mask):
    """Draws of 1 - cosine and their derivatives in the concentration."""
    kappas = jnp.full(10_000, kappa, jnp.float32)
    return jax.jvp(lambda each: sampled_drop(jax.random.key(0), each, mask), (kappas,), (jnp.ones(10_000),))


@pytest.mark.parametrize("kappa", [0.5, 7.0, 300.0])
def test_a_cosine_moves_with_the_concentration_at_its_quantile(kappa):
    """In three dimensions its distribution function is (exp(kappa cosine) - exp(-kappa)) / (2 sinh(kappa))."""
    drop, slope = np.asarray(drops(kappa, fisher(3, kappa).mask), np.float64)

    def at(quantile, kappa):
        return -np.log1p((1 - quantile) * np.expm1(-2 * kappa)) / kappa

    quantile = 1 - np.expm1(-kappa * drop) / np.expm1(-2 * kappa)
    step = 1e-4 * kappa
    expected = (at(quantile, kappa + step) - at(quantile, kappa - step)) / (2 * step)
    np.testing.assert_allclose(slope, expected, rtol=5e-3, atol=2e-3 * np.abs(expected).mean())


@pytest.mark.parametrize(("dims", "kappa"), [(2, 2.0), (12, 30.0), (2, 1e4), (20, 15.0)])
def test_the_mean_gradient_of_cosines_is_that_of_their_mean(dims, kappa):
    _, slope = drops(kappa, fisher(dims, kappa).mask)
    ratio = special.ive(dims / 2, kappa) / special.ive(dims / 2 - 1, kappa)
    assert float(slope.mean()) == pytest.approx(ratio**2 + (dims - 1) / kappa * ratio - 1, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("dims", "kappa"), [(2, 1.3), (5, 20.0)])
def test_draws_turn_with_the_mean(dims, kappa):
    """The mean of draws is a multiple of the mean direction, and so are their derivatives."""
    posterior = fisher(dims, kappa)
    turn = np.zeros((1, WIDTH), np.float32)
    turn[0, 0], turn[0, 1] = -posterior.mean[0, 1], posterior.mean[0, 0]  # orthogonal to the mean

    def drawn(key):
        return jax.jvp(lambda mean: posterior.replace(mean=mean).sample(key).z[0], (posterior.mean,), (turn,))[1]

    slope = np.asarray(jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(0), 8000))).mean(axis=0)
    ratio = special.ive(dims / 2, kappa) / special.ive(dims / 2 - 1, kappa)
    np.testing.assert_allclose(slope, ratio * turn[0], atol=0.03)


@pytest.mark.parametrize(("dims", "kappa"), [(2, 0.7), (3, 25.0), (8, 3.0), (20, 500.0)])
def test_the_kl_to_the_uniform_density_is_its_integral(dims, kappa):
    angle = np.linspace(0, np.pi, 200_001)[1:-1]
    uniform = stats.beta((dims - 1) / 2, (dims - 1) / 2, -1, 2).logpdf(np.cos(angle)) + np.log(np.sin(angle))
    log_q = kappa * np.cos(angle) + uniform  # of the angle, not normalized
    log_q -= special.logsumexp(log_q) + np.log(angle[1] - angle[0])
    expected = np.sum(np.exp(log_q) * (log_q - uniform)) * (angle[1] - angle[0])
    value, slope = jax.value_and_grad(lambda posterior: posterior.kl_to_uniform()[0])(fisher(dims, kappa))
    assert float(value) == pytest.approx(expected, rel=1e-4)
    ratio = special.ive(dims / 2, kappa) / special.ive(dims / 2 - 1, kappa)
    assert float(slope.concentration[0]) == pytest.approx(kappa * (1 - ratio**2) - (dims - 1) * ratio, rel=1e-3)


def test_the_area_is_that_of_spheres():
    for dims, area in ((2, 2 * np.pi), (3, 4 * np.pi), (4, 2 * np.pi**2)):
        mask = jnp.array([1.0] * dims + [0.0])
        assert float(jnp.exp(log_area(mask))) == pytest.approx(area, rel=1e-5)
