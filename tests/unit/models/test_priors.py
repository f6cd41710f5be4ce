"""Priors and flows: densities that integrate to one, samples of those densities, closed forms, lanes of fewer units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, trained
from scipy import integrate, stats

from aejax.base.errors import InputError
from aejax.models import autoencoder, flows
from aejax.models.posteriors import Diagonal
from aejax.runs.folder import flat
from aejax.training.lanes import lane

FEW = ["model=vae", "net.widths=[6]", "steps=30", "log_points=2"]
PRIORS = {
    "learned": [],
    "mixture": ["prior.components=3"],
    "vamp": ["prior.components=4"],
    "flow": ["prior.layers=3", "prior.hidden=8"],
    "maf": ["prior.layers=3", "prior.hidden=8"],
}


@pytest.fixture(scope="module")
def moved():
    """The experiment of each prior and parameters that are not those of the start."""

    def of(name):
        experiment = job(*FEW, f"prior={name}", *PRIORS[name], "latent_dim=2").experiment
        params = jax.jit(autoencoder.init, static_argnames="width")(experiment, width=2)
        keys = iter(jax.random.split(jax.random.key(1), 99))
        shaken = jax.tree.map(lambda leaf: leaf + 0.4 * jax.random.normal(next(keys), leaf.shape), params["prior"])
        return experiment, params | {"prior": shaken}

    return {name: of(name) for name in PRIORS}


log_prob = jax.jit(lambda experiment, params, z, label=None: experiment.prior.log_prob(experiment, params, z, label))


@pytest.mark.parametrize("name", PRIORS)
def test_the_density_integrates_to_one(moved, name):
    experiment, params = moved[name]
    axis = np.linspace(-12, 12, 241, dtype=np.float32)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(np.asarray(log_prob(experiment, params, z), np.float64)).reshape(241, 241)
    assert integrate.simpson(integrate.simpson(density, x=axis), x=axis) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_samples_have_the_moments_of_the_density(moved, name):
    experiment, params = moved[name]
    sample = jax.jit(lambda params, key: experiment.prior.sample(experiment, params, key, 20_000))
    z = np.asarray(sample(params, jax.random.key(0)), np.float64)
    axis = np.linspace(-12, 12, 241, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.exp(np.asarray(log_prob(experiment, params, grid), np.float64))
    weight /= weight.sum()
    mean = weight @ grid
    covariance = (grid - mean).T @ ((grid - mean) * weight[:, None])
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=5 * np.sqrt(np.diag(covariance).max() / 20_000))
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.1 * np.diag(covariance).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "back"), [(flows.coupled, flows.uncoupled), (flows.autoregressed, flows.unautoregressed)]
)
def test_a_flow_is_inverted_and_its_determinant_is_that_of_autodiff(there, back):
    variables = flows.init(jax.random.key(0), 5, 3, 7)
    keys = iter(jax.random.split(jax.random.key(1), 9))
    variables = {name: array + 0.3 * jax.random.normal(next(keys), array.shape) for name, array in variables.items()}
    z = jax.random.normal(jax.random.key(2), (4, 5))
    noise, log_determinant = there(variables, z, jnp.ones(5))
    np.testing.assert_allclose(back(variables, noise, jnp.ones(5)), z, atol=1e-4)
    jacobian = jax.vmap(jax.jacfwd(lambda z: there(variables, z[None], jnp.ones(5))[0][0]))(z)
    np.testing.assert_allclose(log_determinant, np.linalg.slogdet(np.asarray(jacobian, np.float64))[1], atol=1e-4)
    assert abs(np.asarray(noise) - np.asarray(z)).max() > 0.1


def test_a_learned_gaussian_has_the_kl_of_its_integral(moved):
    experiment, params = moved["learned"]
    mean, std = np.array([0.3, -1.2]), np.array([0.5, 1.4])
    posterior = Diagonal(jnp.array(mean[None], jnp.float32), jnp.ones(2), jnp.array(2 * np.log(std)[None], jnp.float32))
    kl = np.asarray(experiment.prior.kl(experiment, params, posterior))[0]
    for unit in range(2):
        q = stats.norm(mean[unit], std[unit])
        prior = {name: float(array[unit]) for name, array in params["prior"].items()}
        p = stats.norm(prior["mean"], np.exp(0.5 * prior["log_variance"]))
        expected = integrate.quad(lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -20, 20)[0]
        assert kl[unit] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_pseudo_inputs_mix_their_posteriors(moved):
    experiment, params = moved["vamp"]
    inputs = jax.nn.sigmoid(params["prior"]["inputs"])
    posterior = autoencoder.encode(experiment, params, inputs).posterior
    z = np.array([[0.2, -0.4], [1.0, 2.0]], np.float32)
    parts = stats.norm(np.asarray(posterior.mean)[:, None], np.exp(0.5 * np.asarray(posterior.log_variance))[:, None])
    expected = np.log(np.exp(parts.logpdf(z[None]).sum(axis=2)).mean(axis=0))
    np.testing.assert_allclose(experiment.prior.log_prob(experiment, params, z), expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PRIORS) - {"vamp"}))
def test_codes_of_a_label_are_those_of_one_density_moved_and_scaled(name):
    words = [*FEW, f"prior={name}", *PRIORS[name], "latent_dim=2", "model.condition=label"]
    experiment = job(*words).experiment
    params = jax.jit(autoencoder.init, static_argnames="width")(experiment, width=2)
    mean_CxZ, log_scale_CxZ = np.random.default_rng(0).normal(size=(2, experiment.form.classes, 2)).astype(np.float32)
    by_label = params | {"prior": params["prior"] | {"label": jnp.array([mean_CxZ, log_scale_CxZ])}}
    z = np.array([[0.2, -0.4], [1.0, 2.0]], np.float32)
    label = np.array([3, 1])
    plain = (z - mean_CxZ[label]) * np.exp(-log_scale_CxZ[label])
    expected = log_prob(experiment, params, plain, label) - log_scale_CxZ[label].sum(axis=1)
    np.testing.assert_allclose(log_prob(experiment, by_label, z, label), expected, rtol=1e-5)
    drawn = experiment.prior.sample(experiment, params, jax.random.key(0), 2, label)
    moved_BxZ = experiment.prior.sample(experiment, by_label, jax.random.key(0), 2, label)
    np.testing.assert_allclose(moved_BxZ, drawn * np.exp(log_scale_CxZ[label]) + mean_CxZ[label], rtol=1e-4, atol=1e-5)


def test_the_kl_to_a_learned_gaussian_of_a_label_is_in_closed_form():
    words = [*FEW, "prior=learned", "latent_dim=2", "model.condition=label"]
    experiment = job(*words).experiment
    params = jax.jit(autoencoder.init, static_argnames="width")(experiment, width=2)
    arrays = np.random.default_rng(0).normal(size=(6, 26, 2)).astype(np.float32)
    prior = {
        "mean": arrays[0, 0],
        "log_variance": arrays[1, 0],
        "label": jnp.array(arrays[2:4, : experiment.form.classes]),
    }
    posterior = Diagonal(jnp.array(arrays[4, :3]), jnp.ones(2), jnp.array(arrays[5, :3]))
    label = np.array([0, 2, 1])
    kl = experiment.prior.kl(experiment, params | {"prior": prior}, posterior, label)
    q = stats.norm(arrays[4, :3], np.exp(0.5 * arrays[5, :3]))
    scale = np.exp(arrays[3, label])
    p = stats.norm(arrays[2, label] + scale * arrays[0, 0], scale * np.exp(0.5 * arrays[1, 0]))
    draws = q.rvs(size=(400_000, 3, 2), random_state=0)
    np.testing.assert_allclose(kl, (q.logpdf(draws) - p.logpdf(draws)).mean(axis=0), rtol=0.02, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRIORS)
def test_a_lane_of_fewer_units_trains_as_it_would_alone(name):
    words = [*FEW, "optim=sgd", "optim.lr=0.001", f"prior={name}", *PRIORS[name]]  # Adam enlarges rounding
    jobs = [job(*words, f"latent_dim={dim}", f"seed={dim}") for dim in (3, 5)]
    together, _ = trained(*jobs)
    for place, (one, dim) in enumerate(zip(jobs, (3, 5), strict=True)):
        alone, _ = trained(one)
        trimmed = flat(autoencoder.trim(one.experiment, lane(together.params, place), dim))
        for key, value in flat(lane(alone.params, 0)).items():
            np.testing.assert_allclose(trimmed[key], value, atol=2e-4, err_msg=key)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prior=flow"], r"^prior=flow: model=ae has no posterior; use prior=normal, or model=vae$"),
        (["model=vae", "prior=flow", "latent_dim=1"], r"^latent_dim=1: prior=flow couples units, and there is one"),
        (
            ["model=vae", "prior=vamp", "model.condition=label"],
            r"^prior=vamp: pseudo-inputs have no labels, and model",
        ),
        (["model=vae", "prior=vamp", "prior.components=0"], r"^prior\.components=0: must be a whole number at least 1"),
    ],
)
def test_wrong_inputs(words, message):
    with pytest.raises(InputError, match=message):
        job(*words)
