"""The ladder of levels against products of Gaussians, sums written out, integrals and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job
from scipy import integrate, stats

from aejax.base.errors import InputError
from aejax.evaluation.evaluate import evaluate
from aejax.metrics.code import active_levels
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.codes.ladder import level_masks, merged
from aejax.models.objective import objective

FEW = ["net.widths=[6]", "steps=30", "log_points=2"]
KEY = jax.random.key(5)


def shaken(units, levels, width=None, *words):
    """An experiment, parameters of its ladder that are far from those of the start, and its examples."""
    one = job("model=ladder_vae", f"model.levels={levels}", "model.hidden=5", *FEW, f"latent_dim={units}", *words)
    params = jax.jit(autoencoder.init, static_argnums=1)(one.experiment, width or units)
    rng = np.random.default_rng(0)
    for part in sorted({"to_code", "bottleneck", "prior"} & params.keys()):
        params[part] = jax.tree.map(
            lambda leaf: np.asarray(leaf + 0.4 * rng.normal(size=leaf.shape), np.float32), params[part]
        )
    return one.experiment, params, one.experiment.form.scaled(one.dataset.arrays().train)


def by_hand(prior, z, start, stop, place):
    """Mean and variance of the units from `start` to before `stop` given those from `stop` on, level by level."""
    above = z.copy()
    above[:, :stop] = 0
    hidden = above @ prior["above"] + prior["bias"][place]
    hidden = np.where(hidden > 0, hidden, 0.1 * hidden)
    mean, log_variance = (hidden @ prior[name]["kernel"] + prior[name]["bias"] for name in ("mean", "log_variance"))
    return mean[:, start:stop], np.exp(log_variance[:, start:stop])


def test_levels_share_the_units():
    masks = np.asarray(level_masks(jnp.array([1.0] * 7 + [0.0] * 4), 3))
    np.testing.assert_array_equal(masks.argmax(axis=0)[:7], [0, 0, 0, 1, 1, 2, 2])  # floor(j 3 / 7)
    np.testing.assert_array_equal(masks.sum(axis=0), [1] * 7 + [0] * 4)


def test_a_merged_gaussian_is_the_normalized_product():
    (mean, log_variance), axis = merged(*map(jnp.float32, (0.7, -0.4, -1.1, 0.9))), np.linspace(-12, 12, 4001)
    product = stats.norm(0.7, np.exp(-0.2)).pdf(axis) * stats.norm(-1.1, np.exp(0.45)).pdf(axis)
    product /= integrate.simpson(product, x=axis)
    np.testing.assert_allclose(stats.norm(mean, np.exp(0.5 * log_variance)).pdf(axis), product, atol=1e-6)
    far = merged(*map(jnp.float32, (3.0, 200.0, -1.0, -200.0)))  # one of them says nothing
    np.testing.assert_allclose(far, (-1, -200), rtol=1e-6)


@pytest.mark.slow
def test_the_prior_is_the_sum_of_its_levels_and_ancestral_samples_have_its_moments():
    experiment, params, _ = shaken(5, 2, width=7)  # three units below, two above, two that are masked
    prior = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["prior"])
    draw = jax.jit(lambda: experiment.prior.sample(experiment, params, KEY, 20_000))
    z = np.asarray(draw(), np.float64)
    assert not z[:, 5:].any()
    log_prob = jax.jit(lambda z: experiment.prior.log_prob(experiment, params, z))
    mean, variance = by_hand(prior, z, 0, 3, 0)
    expected = stats.norm(mean, np.sqrt(variance)).logpdf(z[:, :3]).sum(axis=1) + stats.norm.logpdf(z[:, 3:5]).sum(
        axis=1
    )
    np.testing.assert_allclose(log_prob(z.astype(np.float32)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.cov(z[:, 3:5].T), np.eye(2), atol=0.05)
    standard = (z[:, :3] - mean) / np.sqrt(variance)
    np.testing.assert_allclose(np.cov(np.c_[standard, z[:, 3:5]].T), np.eye(5), atol=0.05)
    assert stats.kstest(standard.ravel(), "norm").pvalue > 1e-3


@pytest.mark.slow
def test_the_prior_s_density_integrates_to_one():
    experiment, params, _ = shaken(2, 2)
    axis = np.linspace(-15, 15, 301, dtype=np.float32)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(np.asarray(jax.jit(lambda: experiment.prior.log_prob(experiment, params, z))(), np.float64))
    total = integrate.simpson(integrate.simpson(density.reshape(301, 301), x=axis), x=axis)
    assert total == pytest.approx(1, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_the_kl_is_that_of_many_draws_and_of_their_densities(levels):
    """Its closed form given a draw has the mean of log q - log p, with less variance."""
    experiment, params, x = shaken(5, levels, width=6)

    def one(key):
        code = autoencoder.encode(experiment, params, x[:3], key)
        rate_B = autoencoder.rate(experiment, params, code)
        ratio_B = autoencoder.log_ratio(experiment, params, code)
        kl_BxZ = autoencoder.kl_by_unit(experiment, params, code)
        return rate_B, ratio_B, code.posterior.log_prob(code.z) - code.draw.log_q, kl_BxZ

    rate, ratio, gap, kl = map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(KEY, 4000)))
    np.testing.assert_allclose(gap, 0, atol=1e-3)
    np.testing.assert_allclose(kl.sum(axis=2), rate, rtol=1e-5)
    assert not kl[..., 5:].any() and (kl > -1e-6).all()
    error = 5 * ratio.std(axis=0) / np.sqrt(len(ratio))
    assert (abs(rate.mean(axis=0) + ratio.mean(axis=0)) < error).all()
    assert (rate.std(axis=0) < 0.8 * ratio.std(axis=0)).all()


def test_the_mean_comes_down_from_the_means_above():
    experiment, params, x = shaken(4, 2)
    code = jax.jit(lambda: autoencoder.encode(experiment, params, x[:3]))()
    hat = jax.tree.map(np.asarray, code.posterior.bottom_up)
    np.testing.assert_allclose(code.mean[:, 2:], hat.mean[:, 2:], rtol=1e-6)  # nothing is above the top
    prior = jax.tree.map(np.asarray, params["prior"])
    mean, variance = by_hand(prior, np.asarray(code.mean), 0, 2, 0)
    below, inverse = np.exp(-hat.log_variance[:, :2]), 1 / variance
    np.testing.assert_allclose(
        code.mean[:, :2], (hat.mean[:, :2] * below + mean * inverse) / (below + inverse), rtol=1e-4
    )
    np.testing.assert_array_equal(code.z, code.mean)


def test_one_level_is_the_vae():
    experiment, params, x = shaken(3, 1)
    assert "prior" not in params and "bottleneck" not in params
    plain = job("model=vae", "model.anneal=0.1", *FEW, "latent_dim=3").experiment
    total = jax.jit(lambda one: objective(one, params, Batch(x, x), jnp.int32(1))[:2])
    for ours, known in zip(jax.tree.leaves(total(experiment)), jax.tree.leaves(total(plain)), strict=True):
        assert float(ours) == pytest.approx(float(known), rel=1e-5)


def test_the_decoder_sees_the_lowest_level():
    experiment, params, _ = shaken(4, 2)
    z = jax.random.normal(KEY, (3, 4))
    decode = jax.jit(lambda z: autoencoder.decode(experiment, params, z))
    np.testing.assert_array_equal(decode(z), decode(z.at[:, 2:].set(7.0)))
    assert abs(decode(z) - decode(z.at[:, 1].set(7.0))).max() > 1e-3


@pytest.mark.slow
def test_levels_without_nats_are_not_active():
    assert int(active_levels(jnp.array([3.0, 0.09, 0.11]))) == 2
    one = job("model=ladder_vae", "model.hidden=5", *FEW, "latent_dim=4", "evaluate.groups=[code,elbo]")
    params = jax.jit(autoencoder.init, static_argnums=1)(one.experiment, 4)
    for name in ("mean", "log_variance"):  # the upper level is its prior
        params["bottleneck"][name] = jax.tree.map(jnp.zeros_like, params["bottleneck"][name])
    params["to_code"]["mean"]["bias"] = jnp.array([2.0, 0, 0, 0])
    metrics, _, details = jax.jit(evaluate)(one.experiment, params, one.dataset.arrays())
    assert float(metrics["code/active_levels"]) == 1
    assert float(details["level_kl"][0]) > 0.5 and float(details["level_kl"][1]) == pytest.approx(0, abs=1e-6)
    assert float(metrics["code/kl"]) == pytest.approx(float(metrics["likelihood/rate"]), rel=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model=ladder_vae", "latent_dim=2", "model.levels=3"],
            r"^model\.levels=3: each level needs a unit; must be at",
        ),
        (
            ["model=ladder_vae", "prior=flow"],
            r"^prior=flow: the levels of model=ladder_vae are each other's prior; use",
        ),
        (
            ["model=vae", "prior=ladder"],
            r"^prior=ladder: the code of model=vae has no levels; use model=ladder",
        ),
        (
            ["model=ladder_vae", "model.bottleneck.sampling=false"],
            r"^model\.bottleneck\.sampling=false: model=ladder_vae est",
        ),
        (
            ["model=ladder_vae", "model.levels=6"],
            r"^model\..*levels=6: must be a whole number at least 1 and at most 5",
        ),
    ],
)
def test_wrong_inputs(words, message):
    with pytest.raises(InputError, match=message):
        job(*words)
