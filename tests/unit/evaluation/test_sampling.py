"""Samples of models with and without a prior: their codes are as the densities of the training codes say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, trained
from sklearn.mixture import GaussianMixture

from aejax.base.errors import InputError
from aejax.evaluation import sampling
from aejax.training.lanes import lane

FEW = ["net.widths=[8]", "steps=200", "log_points=1", "latent_dim=3"]
MASK = np.array([1.0, 1, 1, 0], np.float32)


@pytest.fixture(scope="module")
def plain():
    """An autoencoder of letters with four units, of which one is masked, and its training codes."""
    each = job(*FEW)
    params = lane(trained(each, width=4)[0].chosen, 0)
    data = each.dataset.arrays()
    codes = jax.jit(sampling.codes_of_stored)(each.experiment, params, data.train)
    return each.experiment, params, data, np.asarray(codes)


def drawn(plain, sampler, samples=20_000):
    """Codes of a Sampler, [samples, 4]."""
    experiment, params, data, _ = plain
    draw = jax.jit(lambda params: sampler.codes(experiment, params, data, jax.random.key(1), samples))
    return np.asarray(draw(params))


@pytest.mark.parametrize(("sampler", "spread"), [(sampling.Gaussian(), 1.0), (sampling.KDE(), 1 + 27 ** (-2 / 7))])
def test_samples_have_the_moments_of_the_training_codes(plain, sampler, spread):
    """A kernel density with Scott's factor h = n^(-1/(d+4)) has 1 + h^2 times the covariance."""
    z, codes = drawn(plain, sampler), plain[3]
    covariance = np.cov(codes[:, :3].T, bias=True)
    deviation = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(z[:, :3].mean(axis=0), codes[:, :3].mean(axis=0), atol=0.04 * deviation.max())
    scale = np.outer(deviation, deviation)
    np.testing.assert_allclose(np.cov(z[:, :3].T) / scale, spread * covariance / scale, atol=0.05)
    assert not z[:, 3].any()


def test_a_mixture_fits_as_scikit_learns_does():
    draw = np.random.default_rng(0).normal
    centers = np.array([[0, 0, 0], [6, 0, 1], [0, 7, -2]], np.float32)
    x = np.concatenate([center + draw(size=(200, 3)) * [1, 0.3, 2] for center in centers]).astype(np.float32)
    z = jnp.pad(x, ((0, 0), (0, 1)))  # a masked unit
    fit = jax.jit(sampling.mixture, static_argnums=3)(jax.random.key(0), z, MASK, 3)
    found = float(jax.nn.logsumexp(sampling.log_joint(z, MASK, *fit), axis=1).mean())
    assert found == pytest.approx(GaussianMixture(3, random_state=0, tol=1e-6).fit(x).score(x), abs=1e-3)
    order = np.argsort(np.asarray(fit[1])[:, 0] + 10 * np.asarray(fit[1])[:, 1])
    np.testing.assert_allclose(np.asarray(fit[1])[order][:, :3], centers, atol=0.4)


def test_samples_of_a_mixture_are_near_its_components(plain):
    codes = plain[3]
    z = drawn(plain, sampling.Mixture(components=27))  # one at each letter: nearly copies
    apart = np.sqrt(((z[:500, None] - codes[None]) ** 2).sum(axis=2).min(axis=1))
    assert np.median(apart) < 0.1 * codes[:, :3].std()


def test_a_chain_has_the_smoothed_frequencies_of_its_rows():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 40)
    index = np.stack([first, (first + rng.integers(0, 2, 40)) % 3, np.full(40, -1)], axis=1)  # the last is masked
    found = np.asarray(jax.jit(sampling.chain, static_argnums=2)(jax.random.key(0), jnp.array(index), 20_000))
    share = np.array([(first == value).mean() for value in range(3)])
    np.testing.assert_allclose([(found[:, 0] == value).mean() for value in range(3)], share, atol=0.015)
    for before in range(3):
        after = np.bincount(index[first == before, 1], minlength=3)
        marginal = np.bincount(index[:, 1], minlength=3) / 40
        expected = (after + sampling.SMOOTHING * marginal) / (after.sum() + sampling.SMOOTHING)
        shown = np.bincount(found[found[:, 0] == before, 1], minlength=3) / (found[:, 0] == before).sum()
        np.testing.assert_allclose(shown, expected, atol=0.02)
    assert (found[:, 2] == -1).all()


def test_a_chain_stays_in_its_class_and_does_not_depend_on_what_is_masked():
    rng = np.random.default_rng(1)
    label = np.arange(60) % 2
    index = rng.integers(0, 4, (60, 2)) + 4 * label[:, None]
    of, key = np.arange(500) % 2, jax.random.key(2)
    found = sampling.chain(key, jnp.array(index), 500, (jnp.array(label), jnp.array(of)))
    np.testing.assert_array_equal(found >= 4, np.repeat(of[:, None], 2, axis=1) == 1)
    wide = sampling.chain(key, jnp.pad(jnp.array(index), ((0, 0), (0, 3)), constant_values=-1), 500)
    np.testing.assert_array_equal(wide[:, :2], sampling.chain(key, jnp.array(index), 500))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["auto", "gaussian"])
def test_samples_of_discrete_codes_are_such_codes(sampler):
    each = job("model=vq_vae", "latent_dim=8", "net.widths=[8]", "steps=20", "log_points=1", f"sampler={sampler}")
    params, data = lane(trained(each)[0].chosen, 0), each.dataset.arrays()
    codes = jax.jit(lambda params: each.experiment.sampler.codes(each.experiment, params, data, jax.random.key(0), 50))
    z, statistics = np.asarray(codes(params)), params["running"]["bottleneck"]
    vectors = each.experiment.model.bottleneck.table({name: array[0] for name, array in statistics.items()})
    apart = np.abs(z.reshape(-1, 1, 4) - np.asarray(vectors)[None]).max(axis=2).min(axis=1)
    assert apart.max() < 1e-5 and len(np.unique(z, axis=0)) > 5


def test_a_model_with_a_prior_samples_from_it_unless_asked():
    chosen = {}
    for words in ("model=vae", "model=vae sampler=prior", "model=vae sampler=kde", "model=ae", "model=binary_ae"):
        chosen[words] = job("net.widths=[8]", *words.split()).experiment.sampler
    assert [type(sampler).__name__ for sampler in chosen.values()] == ["Prior", "Prior", "KDE", "Gaussian", "Codes"]
    assert [sampler.is_prior for sampler in chosen.values()] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["sampler=prior"], r"^sampler=prior: model=ae has no prior; use auto, gaussian, mixture, kde or flow$"),
        (["sampler=mixture", "sampler.components=28"], r"^sampler\.components=28: must be at most .* 27"),
        (
            ["sampler=density"],
            r"^sampler=density: no such choice; known: auto, codes, flow, gaussian, kde, mixture, prior",
        ),
        (["sample.how=kde"], r"^sample\.how: no such key; it is now sampler=auto\|prior\|codes\|gaussian\|mixture"),
    ],
)
def test_wrong_inputs(overrides, told):
    with pytest.raises(InputError, match=told):
        job(*overrides)
