"""Riemannian metrics and Hamiltonian dynamics: formulas, gradients of autodiff, volume, energy, a known integral."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, refused, trained
from flax import struct
from scipy import special, stats

from aejax.models import autoencoder
from aejax.models.codes.hamiltonian import Hamiltonian
from aejax.models.codes.riemannian import LearnedMetric, MetricFlow, RiemannianHamiltonian, cholesky, posterior_metric
from aejax.models.posteriors import Diagonal
from aejax.training.lanes import lane

MASK = jnp.array([1.0, 1.0, 0.0])


def energy(z):
    """A potential that no Gaussian has, [B]."""
    return 0.5 * z[:, 0] ** 2 + 0.2 * z[:, 1] ** 4 + 0.5 * z[:, 0] * z[:, 1]


def downhill(self, z_BxZ):
    return -jax.grad(lambda z: jnp.sum(energy(z)))(z_BxZ) * self.mask[None, :]


@struct.dataclass
class Flat(Hamiltonian):
    """The leapfrog of hvae in that potential."""

    force = downhill


@struct.dataclass
class Curved(RiemannianHamiltonian):
    """The leapfrog of rhvae in that potential."""

    force = downhill


def metric(weight=1.0, regularization=0.3):
    """Four centers in two units, beside which there is a masked one."""
    rng = np.random.default_rng(0)
    factor = np.tril(rng.normal(size=(4, 3, 3))) * np.asarray(MASK)[:, None] * np.asarray(MASK)
    return LearnedMetric(
        jnp.asarray(rng.normal(size=(4, 3)) * np.asarray(MASK), jnp.float32),
        jnp.asarray(factor @ np.swapaxes(factor, 1, 2), jnp.float32),
        jnp.full(4, weight, jnp.float32),
        MASK,
        jnp.float32(1.2),
        jnp.float32(regularization),
    )


def posterior(kind=Curved, step=0.1, tempering=1.0, leapfrogs=1, curvature=None, **named):
    """A posterior of a Gaussian base with steps that differ by unit."""
    base = Diagonal(jnp.array([[0.3, -0.5, 0]]), MASK, jnp.array([[-0.4, 0.2, 0]]))
    named |= {"metric": curvature or metric()} if kind is Curved else {}
    steps = step * jnp.array([1, 0.7, 1])
    return kind(base.mean, MASK, base, steps, jnp.float32(tempering), None, None, None, None, leapfrogs, **named)


STATE = jnp.array([0.4, -0.9, 0, 1.1, 0.3, 0])


@jax.jit
def moved(posterior, state):
    """A code and its momentum, side by side, after the leapfrog steps."""
    z, momentum = posterior.moved(state[None, :3], state[None, 3:])
    return jnp.concatenate([z[0], momentum[0]])


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_the_learned_metric_is_its_formula():
    made, z = metric(), np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32) * np.asarray(MASK)
    for code, inverse, log_density in zip(z, made.inverse(z), made.log_density(z), strict=True):
        share = np.exp(-np.sum((code - np.asarray(made.center)) ** 2, axis=1) / 1.2**2)
        expected = np.einsum("r,rij->ij", share, made.product) + np.diag([0.3, 0.3, 1])
        np.testing.assert_allclose(inverse, expected, rtol=1e-5, atol=1e-6)
        assert float(log_density) == pytest.approx(0.5 * np.linalg.slogdet(expected)[1], abs=1e-5)


def test_the_metric_of_posteriors_is_its_formula():
    rng = np.random.default_rng(1)
    mean, log_variance = rng.normal(size=(4, 3)) * np.asarray(MASK), rng.normal(size=(4, 3)) * np.asarray(MASK)
    made = posterior_metric(Diagonal(jnp.asarray(mean), MASK, jnp.asarray(log_variance)), None, 0.2, 0.1)
    apart = np.linalg.norm(mean[:, None] - mean[None], axis=2) + np.diag(np.full(4, np.inf))
    assert float(made.temperature) == pytest.approx(apart.min(axis=1).max(), abs=2e-3)
    z = rng.normal(size=(5, 3)).astype(np.float32) * np.asarray(MASK)
    precision, rho = np.exp(-log_variance), float(made.temperature)
    for code, diagonal, log_density in zip(z, made.diagonal(z), made.log_density(z), strict=True):
        share = np.exp(-np.sum((code - mean) ** 2 * precision, axis=1) / rho**2)
        expected = share @ precision + 0.2 * np.exp(-0.1 * np.sum(code**2))
        np.testing.assert_allclose(diagonal[:2], expected[:2], rtol=1e-4)
        assert float(log_density) == pytest.approx(0.5 * np.log(expected[:2]).sum(), abs=1e-4)


def test_cholesky_factors_and_their_gradients_are_jax_s():
    rng = np.random.default_rng(0)
    root, weight = rng.normal(size=(2, 6, 4, 5)).astype(np.float32)
    matrix = jnp.asarray(root @ np.swapaxes(root, 1, 2) + 0.1 * np.eye(4), jnp.float32)

    def summed(function):
        def of(matrix):
            parts = function(0.5 * (matrix + jnp.swapaxes(matrix, 1, 2)))
            return jnp.sum(parts[0] * weight[:, :, :4]) + jnp.sum(parts[1] * weight[:, :, 1:]), parts

        return jax.jit(jax.value_and_grad(of, has_aux=True))(matrix)

    def expected(matrix):
        factor = jnp.linalg.cholesky(matrix)
        return factor, jnp.linalg.inv(factor)

    made, known = summed(cholesky), summed(expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-3), made, known)


def test_no_routine_waits_in_a_pool_of_threads():
    """Those of LAPACK for stacks of matrices do, and never end if two devices call them at the same time."""

    def total(metric):
        return jnp.sum(posterior(Curved, curvature=metric).sample(jax.random.key(0)).log_q)

    program = str(jax.make_jaxpr(jax.grad(total))(metric()))
    assert "sqrt" in program and not any(name in program for name in ("triangular_solve", "lu[", "cholesky["))


def test_momenta_are_gaussians_of_the_metric():
    curved, z = posterior(), jnp.array([[0.2, -0.3, 0]])
    covariance = np.linalg.inv(np.asarray(metric().inverse(z), np.float64)[0])[:2, :2]
    momentum = curved.momentum(jnp.tile(z, (3, 1)), jnp.array([[1.0, 0, 0], [0, 1, 0], [2, -1, 0]]))
    np.testing.assert_allclose(momentum[:2, :2].T @ momentum[:2, :2], covariance, rtol=1e-4)
    expected = stats.multivariate_normal(np.zeros(2), covariance).logpdf(np.asarray(momentum)[:, :2])
    np.testing.assert_allclose(curved.log_momentum(jnp.tile(z, (3, 1)), momentum), expected, rtol=1e-4)
    assert not momentum[:, 2].any()


@pytest.mark.slow
def test_the_slope_of_the_momenta_s_density_is_that_of_autodiff():
    curved = posterior()
    draws = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    z, momentum = jnp.asarray(draws * np.asarray(MASK))
    expected = jax.grad(lambda z: jnp.sum(curved.log_momentum(z, momentum)))(z)
    inner = jnp.linalg.inv(metric().inverse(z))
    np.testing.assert_allclose(metric().slope(z, momentum, inner), expected * MASK[None], rtol=1e-3, atol=1e-5)


# --- dynamics ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_centers_a_step_is_that_of_hvae():
    """G = I / lambda makes momenta smaller by the root of lambda, and steps longer by it."""
    for regularization in (1.0, 4.0):
        root = np.sqrt(regularization)
        curved = posterior(Curved, 0.1, 0.6, 3, metric(0.0, regularization), iterations=1)
        flat = posterior(Flat, 0.1 * root, 0.6, 3)
        z, momentum = curved.moved(STATE[None, :3], STATE[None, 3:] / root)
        expected_z, expected_momentum = flat.moved(STATE[None, :3], STATE[None, 3:])
        np.testing.assert_allclose(z, expected_z, rtol=1e-5)
        np.testing.assert_allclose(momentum * root, expected_momentum, rtol=1e-5)


@pytest.mark.slow
def test_steps_keep_the_volume_up_to_tempering_which_gives_it_back():
    jacobian = jax.jit(jax.jacfwd(moved, argnums=1))

    def log_determinant(posterior):
        inner = np.array([0, 1, 3, 4])
        return float(np.linalg.slogdet(np.asarray(jacobian(posterior, STATE), np.float64)[np.ix_(inner, inner)])[1])

    assert log_determinant(posterior(step=0.15, tempering=0.4, leapfrogs=3, iterations=30)) == pytest.approx(
        0, abs=1e-3
    )
    one = posterior(step=0.15, leapfrogs=1, iterations=1)
    assert abs(log_determinant(one)) > 3e-3  # an implicit equation that is not solved

    @struct.dataclass
    class Warm(Curved):
        def leapfrog(self, *state):
            z, momentum, force = super().leapfrog(*state)
            return z, 2 * momentum, force

    warm = posterior(Curved, 0.15, 0.4, 3, iterations=30)
    warm = Warm(**{name: getattr(warm, name) for name in warm.__dataclass_fields__})
    assert log_determinant(warm) == pytest.approx(3 * 2 * np.log(2), abs=1e-3)


def test_steps_are_reversible():
    curved = posterior(step=0.2, leapfrogs=4, iterations=30)
    sign = jnp.array([1, 1, 1, -1, -1, -1])
    end = moved(curved, STATE)
    np.testing.assert_allclose(moved(curved, end * sign) * sign, STATE, atol=1e-4)
    assert abs(np.asarray(end - STATE)).max() > 0.5


def test_the_error_of_the_energy_falls_as_the_square_of_the_step():
    def error(step, leapfrogs):
        curved = posterior(step=step, leapfrogs=leapfrogs, iterations=30)
        ends = [STATE, moved(curved, STATE)]
        whole = [float((energy(end[None, :3]) - curved.log_momentum(end[None, :3], end[None, 3:]))[0]) for end in ends]
        return whole[1] - whole[0]

    wide, half = error(0.4, 4), error(0.2, 8)
    assert 0.15 < half / wide < 0.35 and abs(wide) > 1e-3


@pytest.mark.slow
def test_draws_weigh_to_the_integral():
    """The mean of exp(-energy) / q is the integral of exp(-energy), by draws and on a grid."""
    curved = posterior(step=0.15, tempering=0.5, leapfrogs=3, iterations=8)

    def weight(key):
        draw = curved.sample(key)
        return (-energy(draw.z) - draw.log_q)[0]

    weights = np.asarray(jax.jit(jax.vmap(weight))(jax.random.split(jax.random.key(0), 20_000)), np.float64)
    axis = np.linspace(-9, 9, 601)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    expected = special.logsumexp(-energy(grid)) + 2 * np.log(axis[1] - axis[0])
    error = np.exp(weights - expected).std() / np.sqrt(len(weights))
    assert special.logsumexp(weights) - np.log(len(weights)) == pytest.approx(expected, abs=5 * error)
    assert error < 0.05


# --- the model --------------------------------------------------------------------------------------------------------


@functools.cache
def bottleneck():
    return job("model=rhvae", "model.bank=5", "net.widths=[6]", "latent_dim=2").experiment.model.bottleneck


def test_the_bank_holds_the_most_recent_examples():
    ring, state = bottleneck(), bottleneck().start(2)
    assert isinstance(ring, MetricFlow)
    for start, stop in ((0, 3), (3, 6), (6, 9)):
        mean = jnp.broadcast_to(jnp.arange(start, stop, dtype=jnp.float32)[:, None], (3, 2))
        state = ring.remembered(state, mean, jnp.broadcast_to(mean[:, :, None], (3, 2, 2)))
        held = np.sort(np.asarray(state["center"])[np.asarray(state["weight"]) > 0, 0])
        np.testing.assert_array_equal(held, np.arange(max(0, stop - 5), stop))
        np.testing.assert_array_equal(state["factor"][:, 1, 0], state["center"][:, 0])
    many = jnp.arange(18, dtype=jnp.float32).reshape(9, 2)
    state = ring.remembered(state, many, jnp.zeros((9, 2, 2)))
    np.testing.assert_array_equal(np.sort(state["center"][:, 0]), np.arange(0, 10, 2))


@pytest.mark.slow
def test_the_metric_reaches_the_gradient_and_the_bank_of_a_step():
    one = job("model=rhvae", "model.bank=5", "net.widths=[6]", "steps=3", "log_points=1", "latent_dim=2")
    params = lane(trained(one, width=3)[0].params, 0)
    bank = params["running"]["bottleneck"]
    assert bank["weight"].all() and np.ptp(bank["center"][:, :2]) > 0
    assert not bank["center"][:, 2].any() and not bank["factor"][:, 2].any() and not bank["factor"][:, :, 2].any()
    begun = autoencoder.init(one.experiment, 3)["to_code"]
    assert all(np.any(begun[head]["bias"][:2] != params["to_code"][head]["bias"][:2]) for head in ("diagonal", "row_0"))
    trimmed = autoencoder.trim(one.experiment, params, 2)["running"]["bottleneck"]
    assert trimmed["center"].shape == (5, 2) and trimmed["factor"].shape == (5, 2, 2)


def test_wrong_inputs():
    refused("bound=dreg: needs the density of codes, which model=rhvae does not know", "model=rhvae", "bound=dreg")
    refused("model.regularization=0: must be a number above 0", "model=rhvae", "model.regularization=0")
