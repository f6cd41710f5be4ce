"""Posteriors: densities that integrate to one, draws of those densities, closed forms, lanes of fewer units."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, refused
from densities import draws, normal, of_one
from scipy import special, stats

from aejax.models import autoencoder, flows
from aejax.models.codes.flow_posteriors import InverseAutoregressive, Planar, Radial, above_minus_one
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
        (["model=vae", "prior=sphere"], "prior=sphere: the code of model=vae lies on no sphere; use model=s_vae"),
        (["model=ae", "prior=sphere"], "prior=sphere: the code of model=ae lies on no sphere"),
        (
            ["model=p_vae", "prior=vamp"],
            "prior=vamp: the code of model=p_vae lies in a Poincaré ball; use prior=poincare",
        ),
        (["model=full_vae", "prior=poincare"], "prior=poincare: the code of model=full_vae lies in no Poincaré ball"),
        (["model=p_vae", "model.curvature=0"], "model.curvature=0: must be a number above 0"),
        (["model=full_vae", "model.rank=0"], "model.rank=0: must be a whole number at least 1"),
        (["model=planar_vae", "model.layers=0"], "model.layers=0: must be a whole number at least 1"),
        (
            ["model=iaf_vae", "model.bottleneck.sampling=false"],
            "model.bottleneck.sampling=false: model=iaf_vae estimates its KL from a sample",
        ),
        (["model=hvae", "bound=dreg"], "bound=dreg: needs the density of codes, which model=hvae does not know"),
        (
            ["model=full_vae", "prior=vamp"],
            "prior=vamp: mixes Gaussian posteriors, and those of model=full_vae are not",
        ),
        (["model=hvae", "prior=vamp"], "prior=vamp: mixes Gaussian posteriors, and those of model=hvae are not"),
    ],
)
def test_wrong_combinations(words, message):
    refused(message, *words)
