"""The masked autoencoder: patches that are hidden, an objective on them alone, and a transformer written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, trained
from scipy import special, stats

from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.noise import Patches
from aejax.models.objective import objective
from aejax.models.patches import patched, side_of, unpatched
from aejax.runs.folder import flat
from aejax.training.lanes import lane

KEY = jax.random.key(7)
SMALL = ["net.widths=[5]", "net.heads=2", "net.patch=3"]
FEW = [*SMALL, "steps=6", "log_points=2"]
ODD = (7, 5, 2)  # three rows and two columns of patches of 3 x 3, cut off at the bottom and right


# --- noise=patches ----------------------------------------------------------------------------------------------------


def test_as_many_whole_patches_are_hidden_in_each_image_anywhere():
    noise, x = Patches(jnp.float32(0.5), 3, jnp.float32(-1)), jax.random.uniform(KEY, (600, 70))
    corrupted = jax.jit(lambda: noise(KEY, x, ODD))()
    hidden = np.asarray(noise.hidden(corrupted)).reshape(600, *ODD)
    np.testing.assert_array_equal(
        np.asarray(corrupted).reshape(hidden.shape)[~hidden], x.reshape(hidden.shape)[~hidden]
    )
    corners = hidden[:, ::3, ::3, 0]
    np.testing.assert_array_equal(hidden, np.repeat(np.repeat(corners, 3, 1), 3, 2)[:, :7, :5, None].repeat(2, 3))
    np.testing.assert_array_equal(corners.sum(axis=(1, 2)), 3)
    assert stats.chisquare(corners.sum(axis=0).ravel()).pvalue > 1e-3


# --- the objective ----------------------------------------------------------------------------------------------------


def bernoulli(experiment, params, mean):
    return stats.bernoulli(mean)


def normal(experiment, params, mean):
    return stats.norm(mean, np.sqrt(float(experiment.likelihood.variance)))


def learned(experiment, params, mean):
    return stats.norm(mean, np.sqrt(float(experiment.likelihood.learned(params["likelihood"])["variance"])))


LIKELIHOODS = [
    (["data=letters"], bernoulli),
    pytest.param(["data=emoji"], normal, marks=pytest.mark.slow),
    pytest.param(["data=emoji", "likelihood=learned"], learned, marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "distribution"), LIKELIHOODS)
def test_the_objective_is_that_of_the_hidden_pixels_alone(words, distribution):
    experiment = job("model=masked_ae", *words, *FEW, "noise.level=0.5").experiment
    params = jax.jit(autoencoder.init, static_argnums=1)(experiment, 32)
    params["likelihood"] = jax.tree.map(lambda leaf: leaf + 0.3, params["likelihood"])
    x = jax.random.bernoulli(KEY, 0.4, (4, experiment.form.pixels)).astype(jnp.float32)
    seen = experiment.noise(KEY, x, experiment.form.shape)

    def total(target):
        value, _, _ = objective(experiment, params, Batch(seen, target), jnp.int32(0))
        return value, autoencoder.forward(experiment, params, seen).logits

    (value, logits), slope = jax.jit(jax.value_and_grad(total, has_aux=True))(x)
    hidden = np.asarray(seen) == -1
    np.testing.assert_array_equal(np.asarray(slope) != 0, hidden)
    of_pixels = distribution(experiment, params, special.expit(np.asarray(logits, np.float64)))
    nats = -getattr(of_pixels, "logpmf" if distribution is bernoulli else "logpdf")(np.asarray(x))
    expected = np.mean([each[where].mean() * each.size for each, where in zip(nats, hidden, strict=True)])
    assert float(value) == pytest.approx(expected, rel=1e-4)


def test_every_likelihood_is_a_sum_over_pixels():
    for words in (["data=letters"], ["data=emoji"], ["data=emoji", "likelihood=learned"], ["likelihood=linear"]):
        likelihood, form = (experiment := job(*words).experiment).likelihood, experiment.form
        params = likelihood.start(form)
        x, logits = jax.random.uniform(KEY, (2, 3, form.pixels))
        found = jnp.sum(likelihood.by_pixel(x, logits, params), axis=1)
        np.testing.assert_allclose(found, likelihood.negative_log(x, logits, params), rtol=1e-5)


# --- net=vit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "side"), [((7, 5, 1), 2), ((12, 12, 3), 2), ((28, 28, 1), 4), ((32, 32, 3), 4), ((20, 64, 3), 8)]
)
def test_eight_patches_lie_along_the_longer_side_unless_they_are_smaller_than_two_pixels(shape, side):
    assert side_of(None, shape) == side and side_of(3, shape) == 3


def test_patches_are_put_together_again():
    maps = jnp.arange(2 * 7 * 5 * 2, dtype=jnp.float32).reshape(2, *ODD)
    patches = patched(maps, 3)
    assert patches.shape == (2, 6, 18)
    np.testing.assert_array_equal(patches[1, 2].reshape(3, 3, 2), maps[1, 3:6, :3])
    np.testing.assert_array_equal(unpatched(patches, 3, ODD), maps)


@pytest.fixture(scope="module")
def transformer():
    net = job("net=vit", "net.widths=[6]", "net.heads=2", "net.patch=3").experiment.net
    module = net.encoder(ODD)
    x = jax.random.uniform(KEY, (2, 70))
    params = jax.jit(lambda: module.init(KEY, x, training=False)["params"])()
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: np.asarray(leaf + 0.1 * rng.normal(size=leaf.shape), np.float32), params)
    return jax.jit(lambda params, x: module.apply({"params": params}, x, training=False)), params, x


def norm(h, layer):
    standard = (h - h.mean(axis=-1, keepdims=True)) / np.sqrt(h.var(axis=-1, keepdims=True) + 1e-6)
    return standard * layer["scale"] + layer["bias"]


def test_an_encoder_is_the_transformer_written_out(transformer):
    apply, params, x = transformer
    tokens = np.asarray(patched(x.reshape(2, *ODD), 3)) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    tokens = tokens + params["Positions_0"]["embedding"]
    block = params["Block_0"]
    attention, h = block["MultiHeadDotProductAttention_0"], norm(tokens, block["LayerNorm_0"])
    query, key, value = (np.einsum("btw,whs->bths", h, attention[name]["kernel"]) for name in ("query", "key", "value"))
    share = special.softmax(np.einsum("bqhs,bkhs->bhqk", query, key) / np.sqrt(3), axis=-1)
    mixed = np.einsum("bhqk,bkhs->bqhs", share, value)
    tokens = tokens + np.einsum("bqhs,hsw->bqw", mixed, attention["out"]["kernel"])
    hidden = norm(tokens, block["LayerNorm_1"]) @ block["Dense_0"]["kernel"] + block["Dense_0"]["bias"]
    tokens = tokens + np.asarray(jax.nn.gelu(hidden)) @ block["Dense_1"]["kernel"] + block["Dense_1"]["bias"]
    expected = norm(tokens, params["LayerNorm_0"]).reshape(2, -1)
    np.testing.assert_allclose(apply(params, x), expected, rtol=1e-3, atol=1e-4)


def test_only_positions_tell_patches_apart(transformer):
    """Without them the tokens of exchanged patches are the exchanged tokens."""
    apply, params, x = transformer
    whole = x.reshape(2, *ODD).at[:, 6:].set(0).at[:, :, 3:].set(0)  # what is cut off is 0 in both
    turned = jnp.zeros_like(whole).at[:, :3, :3].set(whole[:, 3:6, :3]).at[:, 3:6, :3].set(whole[:, :3, :3])
    order = [2, 1, 0, 3, 4, 5]

    def tokens(params, maps):
        return np.asarray(apply(params, maps.reshape(2, 70))).reshape(2, 6, 6)

    without = params | {"Positions_0": {"embedding": np.zeros_like(params["Positions_0"]["embedding"])}}
    np.testing.assert_allclose(tokens(without, turned), tokens(without, whole)[:, order], atol=1e-5)
    assert abs(tokens(params, turned) - tokens(params, whole)[:, order]).max() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["net.widths=[5,4]"],
        pytest.param(["net.norm=batch", "net.dropout=0.2"], marks=pytest.mark.slow),
        pytest.param(["net.residual=false"], marks=pytest.mark.slow),
    ],
)
def test_a_transformer_has_the_shape_of_the_data_and_finite_gradients(words):
    one = job("net=vit", "net.heads=3", "net.patch=3", "net.widths=[5]", *words, "steps=2", "latent_dim=3")
    x = one.experiment.form.scaled(one.dataset.arrays().train)
    params = jax.jit(autoencoder.init, static_argnums=1)(one.experiment, 3)
    trainable, running = autoencoder.trained(params), {"running": params["running"]}
    total = lambda params: objective(one.experiment, params | running, Batch(x, x), jnp.int32(0))[0]  # noqa: E731
    gradient = jax.jit(jax.grad(total))(trainable)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    still = [key for key, value in flat(gradient).items() if not np.any(value)]
    assert not still or "norm=batch" in words[0]  # which takes biases away again


# --- the model --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_lane_of_fewer_units_trains_as_it_would_alone():
    jobs = [job("model=masked_ae", *FEW, f"latent_dim={dim}", f"seed={dim}") for dim in (3, 5)]
    together, _ = trained(*jobs)
    alone, _ = trained(jobs[0])
    trimmed = flat(autoencoder.trim(jobs[0].experiment, lane(together.params, 0), 3))
    for key, value in flat(lane(alone.params, 0)).items():
        np.testing.assert_allclose(trimmed[key], value, atol=2e-4, err_msg=key)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model=masked_ae", "noise=masking"],
            r"^noise: model=masked_ae learns what noise=patches hides; use that, or model=ae$",
        ),
        (["model=masked_ae", "noise.fill=0"], r"^noise\.fill=0: tells hidden pixels from visible ones, so that it"),
        (
            ["model=masked_ae", "noise.level=0.01"],
            r"^noise\.level=0\.01: hides none of 4 x 3 patches, and model=masked_ae learns .* use a larger level or",
        ),
        (
            ["model=masked_ae", "noise.patch=12"],
            r"^noise\.level=0\.75: hides all of 1 x 1 patches, and model=masked_ae learns .* use a smaller level or",
        ),
        (["model=masked_ae", "likelihood=optimal", "data=emoji"], r"^likelihood=optimal: its variance is that of all"),
        (["net=vit", "data=sensors"], r"^net=vit: needs images, and data=sensors has vectors of \d+ values; choose"),
        (
            ["net=vit", "net.widths=[]"],
            r"^net\.widths=\[\]: must name at least one block; without any, use net=linear$",
        ),
        (["noise=patches", "data=sensors"], r"^noise=patches: needs images, and data=sensors is"),
        (["net=vit", "pretrain=greedy"], r"^pretrain=greedy: needs fully connected layers; use net=mlp"),
    ],
)
def test_wrong_inputs(words, message):
    with pytest.raises(InputError, match=message):
        job(*words)
