"""Posteriors: densities that integrate to one, draws of those densities, closed forms, lanes of fewer units."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, refused
from scipy import integrate, special, stats

from aejax.models import autoencoder, flows
from aejax.models.codes import bessel
from aejax.models.codes.flow_posteriors import InverseAutoregressive, Planar, Radial, above_minus_one
from aejax.models.codes.hyperbolic import WrappedNormal, from_ball, log_sinhc, to_ball
from aejax.models.codes.spherical import VonMisesFisher, log_area, sampled_drop
from aejax.models.layers import mask_of
from aejax.models.posteriors import Correlated, Diagonal
from aejax.models.priors import Normal

FEW = ["net.widths=[6]", "steps=30", "log_points=2"]
MODELS = {
    "full_vae": ["model.rank=2"],
    "planar_vae": ["model.layers=2"],
    "radial_vae": ["model.layers=2"],
    "iaf_vae": ["model.layers=2", "model.hidden=5"],
    "s_vae": [],
    "p_vae": ["model.curvature=0.7"],
}
HVAE = {  # their posteriors need more than heads
    "hvae": ["model.leapfrogs=2"],
    "rhvae": ["model.leapfrogs=2", "model.bank=20", "model.rank=2"],
}
FLOWS = ("planar", "radial", "iaf")


def most_slow(names, quick):
    """The names as parameters of which all but one are slow."""
    return [name if name == quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def normal(seed, *shape, scale=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * scale, jnp.float32)


def flowed(name, examples=1, units=2):
    """A posterior of three layers that are far from the identity."""
    mask = jnp.ones(units)
    base = Diagonal(normal(0, examples, units), mask, normal(1, examples, units, scale=0.3))
    if name == "planar":
        u, w = normal(2, 3, examples, units, scale=2.0), normal(3, 3, examples, units)
        made = Planar(base.mean, mask, base, u, w, normal(4, 3, examples))
    elif name == "radial":
        alpha, share = jnp.exp(normal(3, 3, examples)), above_minus_one(normal(4, 3, examples, scale=2.0))
        made = Radial(base.mean, mask, base, normal(2, 3, examples, units), alpha, share)
    else:
        variables = flows.init(jax.random.key(0), units, 3, 7)
        variables = {key: value + normal(5, *value.shape, scale=0.4) for key, value in variables.items()}
        made = InverseAutoregressive(base.mean, mask, base, variables, normal(6, examples, 7))
    return made.with_mean()


def wrapped(c, mean=((0.3, -0.5),), log_variance=((0.4, -0.6),)):
    return WrappedNormal(jnp.array(mean) / np.sqrt(c), jnp.ones(2), jnp.array(log_variance), jnp.float32(c))


def of_one(posterior, z):
    """The log densities of one example's posterior at many codes."""
    return np.asarray(DENSITIES(posterior, jnp.asarray(z, jnp.float32)), np.float64)


def draws(posterior, count=20_000):
    """Codes [count, Z] and log densities [count] of one example's posterior."""
    draw = DRAWS(posterior, jax.random.split(jax.random.key(3), count))
    return np.asarray(draw.z, np.float64)[:, 0], np.asarray(draw.log_q, np.float64)[:, 0]


DENSITIES = jax.jit(lambda posterior, z: jax.vmap(lambda code: posterior.log_prob(code[None])[0])(z))
DRAWS = jax.jit(lambda posterior, keys: jax.vmap(posterior.sample)(keys))


# --- Bessel functions -------------------------------------------------------------------------------------------------


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


# --- the sphere -------------------------------------------------------------------------------------------------------


WIDTH = 21


def fisher(dims, kappa):
    """A posterior whose mean is oblique, in `dims` of WIDTH units."""
    mean, mask = np.zeros((1, WIDTH), np.float32), jnp.arange(WIDTH) < dims
    mean[0, :dims] = np.random.default_rng(dims).normal(size=dims)
    mean /= np.linalg.norm(mean)
    return VonMisesFisher(jnp.asarray(mean), mask.astype(jnp.float32), jnp.array([kappa], jnp.float32))


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


# --- a full covariance ------------------------------------------------------------------------------------------------


def test_a_full_gaussian_is_scipy_s():
    lower = np.tril(np.asarray(normal(2, 2, 4, 4)), -1)
    mask, lower[:, 3:] = jnp.array([1.0, 1, 1, 0]), 0
    mean, log_variance = (normal(seed, 2, 4, scale=0.5) * mask[None] for seed in (0, 1))
    posterior = Correlated(mean, mask, log_variance, jnp.asarray(lower))
    draw = posterior.sample(jax.random.key(0))
    kl = np.asarray(Normal().kl(None, None, posterior))
    assert not np.any(draw.z[:, 3]) and not np.any(kl[:, 3])
    np.testing.assert_allclose(draw.log_q, posterior.log_prob(draw.z), rtol=1e-4)
    for place in range(2):
        root = (lower[place] + np.diag(np.exp(0.5 * np.asarray(log_variance[place]))))[:3, :3].astype(np.float64)
        covariance, center = root @ root.T, np.asarray(mean[place, :3], np.float64)
        expected = stats.multivariate_normal(center, covariance)
        assert float(draw.log_q[place]) == pytest.approx(expected.logpdf(np.asarray(draw.z[place, :3])), rel=1e-4)
        nats = 0.5 * (np.trace(covariance) + center @ center - 3 - np.linalg.slogdet(covariance)[1])
        assert kl[place].sum() == pytest.approx(nats, rel=1e-5)
    z = np.asarray(jax.vmap(posterior.sample)(jax.random.split(jax.random.key(1), 20_000)).z)[:, 1, :3]
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.05 * np.abs(covariance).max())


def test_the_kl_of_a_unit_is_given_those_before():
    """With correlation r, N(0, 1) marginals: the first unit has none, the second -log(1 - r^2) / 2."""
    r = 0.8
    lower = jnp.zeros((1, 2, 2)).at[0, 1, 0].set(r)
    log_variance = jnp.array([[0.0, np.log(1 - r**2)]], jnp.float32)
    kl = Normal().kl(None, None, Correlated(jnp.zeros((1, 2)), jnp.ones(2), log_variance, lower))
    np.testing.assert_allclose(kl[0], [0, -0.5 * np.log(1 - r**2)], atol=1e-6)


# --- flows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", most_slow(FLOWS, "radial"))
def test_the_density_of_a_flow_integrates_to_one_and_has_the_moments_of_draws(name):
    posterior = flowed(name)
    z, _ = draws(posterior)
    low, high = z.min(axis=0) - 1, z.max(axis=0) + 1
    axes = [np.linspace(low[unit], high[unit], 401) for unit in range(2)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
    density = np.exp(of_one(posterior, grid))
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert density.sum() * cell == pytest.approx(1, abs=0.01)
    weight = density / density.sum()
    mean = weight @ grid
    covariance = (grid - mean).T @ ((grid - mean) * weight[:, None])
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.05 * np.sqrt(np.diag(covariance).max()))
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.1 * np.diag(covariance).max())


def jacobians(posterior, z):
    """What a flow makes of codes and back: codes, log determinants, both Jacobians [B, Z, Z], and a draw."""
    place = jnp.arange(z.shape[0])
    moved, log_determinant = posterior.moved(z)
    there = jax.jacfwd(lambda z: posterior.moved(z)[0])(z)[place, :, place]
    back = jax.jacfwd(posterior.unmoved)(moved)[place, :, place]
    draw = posterior.sample(jax.random.key(0))
    return moved, log_determinant, there, back, posterior.unmoved(moved), draw, posterior.log_prob(draw.z)


@pytest.mark.parametrize("name", most_slow(FLOWS, "planar"))
def test_a_flow_has_the_determinant_of_autodiff_and_an_inverse_with_gradients(name):
    posterior, z = flowed(name, examples=6, units=4), normal(9, 6, 4)
    moved, log_determinant, there, back, again, draw, log_q = jax.jit(jacobians)(posterior, z)
    np.testing.assert_allclose(again, z, atol=1e-3)
    sign, expected = np.linalg.slogdet(np.asarray(there, np.float64))
    assert (sign > 0).all()
    np.testing.assert_allclose(log_determinant, expected, atol=1e-3)
    np.testing.assert_allclose(back @ there, np.broadcast_to(np.eye(4), (6, 4, 4)), atol=2e-2)
    np.testing.assert_allclose(log_q, draw.log_q, atol=1e-2)
    np.testing.assert_allclose(posterior.mean, posterior.moved(posterior.base.mean)[0], rtol=1e-5)
    assert abs(np.asarray(moved - z)).max() > 0.1


def test_a_planar_layer_that_is_not_invertible_is_made_so():
    """u·w below -1 comes above; where it is 0 nothing changes (Rezende & Mohamed 2015, appendix A.1)."""
    posterior = flowed("planar", examples=40, units=3)
    u, w, _, product = posterior.layers()
    np.testing.assert_allclose(np.sum(u * w, axis=2), product, atol=1e-4)
    assert float(jnp.sum(posterior.u * posterior.w, axis=2).min()) < -1 < float(product.min())
    assert float(above_minus_one(jnp.float32(0))) == pytest.approx(0, abs=1e-6)


# --- the Poincaré ball ------------------------------------------------------------------------------------------------


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


def standard_normal(z):
    return -0.5 * jnp.sum(z**2 + np.log(2 * np.pi), axis=1)


# --- Hamiltonian dynamics ---------------------------------------------------------------------------------------------


@functools.cache
def hamiltonian():
    """An experiment, its parameters, an example and the posterior of that, with 2 of 3 units."""
    one = job("model=hvae", "model.leapfrogs=3", "model.largest_step=0.6", *FEW, "latent_dim=2")
    experiment, params = one.experiment, autoencoder.init(one.experiment, 3)
    params["from_code"] = jax.tree.map(lambda array: 3 * array, params["from_code"])
    x = experiment.form.scaled(one.dataset.arrays().train)[:1]
    return experiment, params, x, autoencoder.encode(experiment, params, x).posterior


@pytest.mark.slow
def test_leapfrogs_keep_the_volume_and_tempering_gives_it_back():
    *_, posterior = hamiltonian()

    def moved(state):
        z, noise = jnp.zeros((1, 3)).at[0, :2].set(state[:2]), jnp.zeros((1, 3)).at[0, :2].set(state[2:])
        z, momentum = posterior.moved(z, noise)
        return jnp.concatenate([z[0, :2], momentum[0, :2]])

    jacobian = jax.jit(jax.jacfwd(moved))(jnp.array([0.4, -0.9, 1.1, 0.3]))
    assert float(jnp.linalg.det(jacobian)) == pytest.approx(1, abs=1e-3)
    assert abs(np.asarray(jacobian) - np.eye(4)).max() > 0.1


@pytest.mark.slow
def test_small_leapfrogs_without_tempering_keep_the_energy():
    experiment, params, x, posterior = hamiltonian()
    posterior = posterior.replace(step=0.05 * posterior.step, tempering=jnp.float32(1), leapfrogs=20)

    def energy(z, momentum):
        nats = experiment.likelihood.negative_log(x, autoencoder.decode(experiment, params, z), params["likelihood"])
        return float((nats - experiment.prior.log_prob(experiment, params, z) + 0.5 * jnp.sum(momentum**2))[0])

    start = jnp.array([[0.4, -0.9, 0]]), jnp.array([[1.1, 0.3, 0]])
    end = posterior.moved(*start)
    assert energy(*end) == pytest.approx(energy(*start), abs=5e-3)
    assert abs(energy(end[0], 0 * end[1]) - energy(start[0], 0 * start[1])) > 0.05


@pytest.mark.slow
def test_hamiltonian_draws_weigh_to_the_likelihood():
    """The mean of p(x, z) / q is p(x), by draws and by a grid over the codes."""
    experiment, params, x, posterior = hamiltonian()

    def log_joint(z):
        nats = experiment.likelihood.negative_log(x, autoencoder.decode(experiment, params, z), params["likelihood"])
        return experiment.prior.log_prob(experiment, params, z) - nats

    def weight(key):
        draw = posterior.sample(key)
        return (log_joint(draw.z) - draw.log_q)[0]

    weights = np.asarray(jax.jit(jax.vmap(weight))(jax.random.split(jax.random.key(0), 20_000)), np.float64)
    axis = np.linspace(-7, 7, 141)
    grid = np.stack([*np.meshgrid(axis, axis, indexing="ij"), np.zeros((141, 141))], axis=-1).reshape(-1, 1, 3)
    joint = np.asarray(jax.jit(jax.vmap(log_joint))(grid.astype(np.float32)), np.float64)
    expected = special.logsumexp(joint) + 2 * np.log(axis[1] - axis[0])
    error = np.exp(weights - expected).std() / np.sqrt(len(weights))
    assert special.logsumexp(weights) - np.log(len(weights)) == pytest.approx(expected, abs=5 * error)
    assert error < 0.02


# --- in a model -------------------------------------------------------------------------------------------------------


@functools.cache
def experiment_of(name, dim=3):
    return job(f"model={name}", *MODELS[name], *FEW, f"latent_dim={dim}").experiment


@pytest.mark.slow
@pytest.mark.parametrize("name", most_slow(MODELS, "p_vae"))
def test_gradients_are_finite_at_extreme_heads(name):
    experiment = experiment_of(name)
    params = autoencoder.init(experiment, 4)
    bottleneck, mask = experiment.model.bottleneck, mask_of(experiment, params)
    rng = np.random.default_rng(0)
    extreme = [0.0, 1e-6, 1.0, -30.0, 30.0, 300.0, -300.0]

    def loss(heads):
        code = bottleneck(heads, mask, jax.random.key(0), None, params.get("bottleneck", {}))
        ratio = experiment.prior.log_ratio(experiment, params, code.posterior, code.draw)
        rate = autoencoder.rate(experiment, params, code)
        return jnp.sum(ratio) + jnp.sum(rate) + jnp.sum(bottleneck.coordinates(code.z)), code

    heads = {
        head: rng.choice(extreme, size=(200, 4)).astype(np.float32) * np.asarray(mask) for head in bottleneck.heads
    }
    heads["log_variance"] = np.clip(heads["log_variance"], -30, 30) if "log_variance" in heads else None
    heads = {head: jnp.asarray(value) for head, value in heads.items() if value is not None}
    gradient, code = jax.jit(jax.grad(loss, has_aux=True))(heads)
    assert all(
        bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((gradient, code.z, code.mean, code.draw.log_q))
    )
    assert not any(np.any(leaf[:, 3]) for leaf in (code.z, code.mean))


@pytest.mark.slow
@pytest.mark.parametrize("name", most_slow(MODELS, "s_vae"))
def test_the_rate_is_the_mean_of_the_log_ratio_and_does_not_depend_on_masked_units(name):
    experiment = experiment_of(name)
    rng = np.random.default_rng(1)
    heads = {head: jnp.asarray(rng.normal(size=(1, 5)), jnp.float32) for head in experiment.model.bottleneck.heads}
    found = {}
    for width in (3, 5):
        params = autoencoder.init(experiment, width)
        mask = mask_of(experiment, params)
        masked = {head: value[:, :width] * mask[None] for head, value in heads.items()}
        code = experiment.model.bottleneck(masked, mask, jax.random.key(0), None, params.get("bottleneck", {}))
        found[width] = code.z[:, :3], code.mean[:, :3], autoencoder.log_ratio(experiment, params, code)
        kl = experiment.prior.kl_sum(experiment, params, code.posterior)
        if kl is not None and width == 5:

            def ratio(key, code=code, params=params):
                draw = code.posterior.sample(key)
                return -experiment.prior.log_ratio(experiment, params, code.posterior, draw)[0]

            values = jax.jit(jax.vmap(ratio))(jax.random.split(jax.random.key(1), 4000))
            assert float(kl[0]) == pytest.approx(float(values.mean()), abs=5 * float(values.std()) / np.sqrt(4000))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), found[3], found[5])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=s_vae", "prior=flow"], "prior=flow: the code of model=s_vae lies on a sphere; use prior=sphere"),
        (["model=s_vae", "prior=normal"], "prior=normal: the code of model=s_vae lies on a sphere; use prior=sphere"),
        (["model=s_vae", "latent_dim=1"], "latent_dim=1: the sphere of model=s_vae needs two dimensions"),
        (["model=vae", "prior=sphere"], "prior=sphere: only the code of model=s_vae lies on a sphere; use model=s_vae"),
        (["model=ae", "prior=sphere"], "prior=sphere: only the code of model=s_vae lies on a sphere"),
        (
            ["model=p_vae", "prior=vamp"],
            "prior=vamp: the code of model=p_vae lies in a Poincaré ball; use prior=poincare",
        ),
        (["model=full_vae", "prior=poincare"], "prior=poincare: only the code of model=p_vae lies in a Poincaré ball"),
        (["model=p_vae", "model.curvature=0"], "model.curvature=0: must be a number above 0"),
        (["model=full_vae", "model.rank=0"], "model.rank=0: must be a whole number at least 1"),
        (["model=planar_vae", "model.layers=0"], "model.layers=0: must be a whole number at least 1"),
        (
            ["model=iaf_vae", "model.bottleneck.sampling=false"],
            "model.bottleneck.sampling=false: the KL of this posterior",
        ),
        (["model=hvae", "bound=dreg"], "bound=dreg: needs the density of codes, which model=hvae does not know"),
        (
            ["model=full_vae", "prior=vamp"],
            "prior=vamp: mixes Gaussian posteriors, and the model's are not",
        ),
        (["model=hvae", "prior=vamp"], "prior=vamp: mixes Gaussian posteriors, and the model's are not"),
    ],
)
def test_wrong_combinations(words, message):
    refused(message, *words)
