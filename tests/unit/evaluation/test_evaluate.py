"""The protocol on data whose splits differ: what is fitted on what, and scored on what."""

import jax
import numpy as np
import optax
import pytest
from conftest import evaluated, job, run, trained
from scipy import stats
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier

from aejax.base.errors import InputError
from aejax.base.keys import Purpose, key_for
from aejax.datasets.dataset import Dataset, Split
from aejax.evaluation.encoding import noisy_copies
from aejax.evaluation.robustness import robustness
from aejax.figures.codes import code_grid, moved_apart
from aejax.figures.examples import examples
from aejax.models import autoencoder
from aejax.models.noise import Masking
from aejax.training.lanes import lane

DATA = ["data._target_=blobs.Blobs", "net.widths=[8]", "steps=40", "log_points=2"]


@pytest.fixture(scope="module")
def vae():
    each = job("model=vae", "noise=gaussian", *DATA)
    state, rows = trained(each)
    return each, lane(state.params, 0), lane(evaluated(state, each)[0], 0), rows


def codes(each, params, x):
    code = jax.jit(autoencoder.encode)(each.experiment, params, x)
    return np.asarray(code.mean), np.asarray(autoencoder.kl_by_unit(each.experiment, params, code))


def reconstructed(each, params, x):
    return np.asarray(jax.jit(autoencoder.reconstruct)(each.experiment, params, x))


def test_validation_is_on_the_validation_split(vae):
    each, params, _, rows = vae
    x = each.dataset.valid.x
    predicted = reconstructed(each, params, x)
    assert rows[-1]["valid/mse"][0] == pytest.approx(((predicted - x) ** 2).mean(), rel=1e-4)


def test_reconstruction_is_of_the_test_split_and_floors_are_fitted_on_the_training_split(vae):
    each, params, metrics, _ = vae
    train, test = each.dataset.train.x.astype(float), each.dataset.test.x.astype(float)
    predicted = reconstructed(each, params, each.dataset.test.x)
    assert metrics["recon/mse"] == pytest.approx(((predicted - test) ** 2).mean(), rel=1e-4)
    mean = train.mean(axis=0)
    assert metrics["baseline/mean_mse"] == pytest.approx(((test - mean) ** 2).mean(), rel=1e-4)
    basis = np.linalg.svd(train - mean, full_matrices=False)[2][:2]
    left = (test - mean) - (test - mean) @ basis.T @ basis
    assert metrics["baseline/pca_mse"] == pytest.approx((left**2).mean(), rel=1e-4)


def test_separation_is_fitted_on_training_codes_and_scored_on_test_codes(vae):
    each, params, metrics, _ = vae
    fit, score = (codes(each, params, split.x)[0] for split in (each.dataset.train, each.dataset.test))
    knn = KNeighborsClassifier(5).fit(fit, each.dataset.train.y)
    assert metrics["separation/knn_accuracy"] == pytest.approx(knn.score(score, each.dataset.test.y), abs=1e-6)
    assert metrics["separation/silhouette"] == pytest.approx(silhouette_score(score, each.dataset.test.y), rel=1e-3)


def test_kl_is_that_of_the_posterior(vae):
    each, params, metrics, _ = vae
    x = each.dataset.test.x - np.asarray(params["running"]["center"])[None, :]
    layer = {name: np.asarray(value) for name, value in params["encoder"]["Dense_0"].items()}
    hidden = np.asarray(jax.nn.gelu(x @ layer["kernel"] + layer["bias"]))
    heads = jax.tree.map(np.asarray, params["to_code"])
    mean, log_variance = (hidden @ heads[name]["kernel"] + heads[name]["bias"] for name in ("mean", "log_variance"))
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    assert metrics["code/kl"] == pytest.approx(kl.mean(), rel=1e-4)


def test_restoration_compares_with_the_clean_examples(vae):
    each, params, metrics, _ = vae
    copies = noisy_copies(each.experiment, each.dataset.arrays())
    restored = reconstructed(each, params, copies["input"])
    assert metrics["restore/mse"] == pytest.approx(((restored - np.asarray(copies["clean"])) ** 2).mean(), rel=1e-4)
    assert copies["clean"].shape[0] == 90 * (5400 // 90)


@pytest.mark.slow
def test_the_grid_of_test_noises_is_the_same_whatever_the_run_was_trained_with():
    words = ["net.widths=[32]", "latent_dim=6", "steps=300", "log_points=1"]
    flip = job("noise=flip", "noise.level=0.15", "evaluate.noise=grid", *words)
    metrics = lane(evaluated(trained(flip)[0], flip)[0], 0)
    robust = {name: float(value) for name, value in metrics.items() if name.startswith("robust/")}
    kinds = {name.split("/")[1] for name in robust}
    assert kinds == {"gaussian", "salt_pepper", "flip", "masking", "speckle", "shot", "occlusion", "downsample"}
    assert len(robust) == len(kinds) * 5 * 9 + 4 * 5  # of four kinds there is the posterior mean
    for name in ("mse", "at_most_one_wrong"):  # its own noise is one of the grid
        assert robust[f"robust/flip/0.15/{name}"] == pytest.approx(float(metrics[f"restore/{name}"]), rel=1e-5)
    for level in (0.05, 0.1, 0.2, 0.25):  # salt and pepper at twice the level is the same on binary pixels
        flipped, salted = (robust[f"robust/{kind}/mse"] for kind in (f"flip/{level}", f"salt_pepper/{2 * level:g}"))
        assert salted == pytest.approx(flipped, rel=0.1)
    for kind in ("gaussian", "salt_pepper", "flip", "masking"):
        errors = [
            value for name, value in robust.items() if name.startswith(f"robust/{kind}/") and name.endswith("/mse")
        ]
        assert errors == sorted(errors)
    letters = flip.dataset.test.x.reshape(27, 35).astype(np.float64)
    copies = noisy_copies(flip.experiment, flip.dataset.arrays())
    apart = np.abs(np.asarray(copies["input"])[:, None] - letters[None]).sum(axis=2)
    weight = np.exp(apart * np.log(0.15 / 0.85))
    posterior = weight @ letters / weight.sum(axis=1, keepdims=True)
    exact = (letters[apart.argmin(axis=1)] == np.asarray(copies["clean"])).all(axis=1).mean()
    error = ((posterior - np.asarray(copies["clean"])) ** 2).mean()
    assert robust["robust/flip/0.15/posterior_mse"] == pytest.approx(error, rel=1e-4)
    assert robust["robust/flip/0.15/nearest_exact"] == pytest.approx(exact, abs=1e-6)
    for name in (name for name in robust if name.endswith("/posterior_mse")):
        rivals = [robust[name.replace("posterior", rival)] for rival in ("nearest", "median", "input")]
        assert robust[name] <= min(*rivals, robust[name.replace("posterior_", "")]) + 1e-9
    clean = job("evaluate.noise=grid", *words)
    state, _ = trained(clean)
    other = lane(evaluated(state, clean)[0], 0)
    assert other["robust/masking/0.3/mse"] > 2 * other["recon/mse"]
    x = clean.dataset.test.x.reshape(27, 35).astype(np.float32)
    masked = Masking(np.float32(0.3))(key_for(0, Purpose.RESTORE), np.tile(x, (200, 1)), (7, 5, 1))
    error = (reconstructed(clean, lane(state.params, 0), masked) - np.tile(x, (200, 1))) ** 2
    assert other["robust/masking/0.3/mse"] == pytest.approx(error.mean(), rel=1e-4)


def test_the_grid_leaves_out_what_does_not_fit_the_data_and_is_off_unless_asked_for(vae):
    each, params, metrics, _ = vae
    assert not any(name.startswith("robust/") for name in metrics)
    grid = jax.eval_shape(robustness, each.experiment, params, each.dataset.arrays(), None)
    assert {name.split("/")[0] for name in grid} == {"gaussian", "salt_pepper", "masking", "speckle"}
    assert {name.split("/")[2] for name in grid} == {"mse", "input_mse"}


def test_the_elbo_samples_whatever_the_training_did(vae):
    each, params, metrics, _ = vae
    other = job("model=vae", "noise=gaussian", "model.bottleneck.sampling=false", *DATA)
    state, _ = trained(each)
    assert evaluated(state, other)[0]["elbo"][0] == pytest.approx(metrics["elbo"], rel=1e-5)
    x, rng = each.dataset.test.x, np.random.default_rng(0)
    layer = {name: np.asarray(value) for name, value in params["encoder"]["Dense_0"].items()}
    hidden = np.asarray(jax.nn.gelu(x @ layer["kernel"] + layer["bias"]))
    head = {name: np.asarray(value) for name, value in params["to_code"]["log_variance"].items()}
    std = np.exp(0.5 * (hidden @ head["kernel"] + head["bias"]))
    mean, kl = codes(each, params, x)
    decode, bounds = jax.jit(autoencoder.decode), []
    for _ in range(300):
        pixels = decode(each.experiment, params, (mean + std * rng.normal(size=mean.shape)).astype(np.float32))
        bounds.append(stats.norm(pixels, 0.03**0.5).logpdf(x).sum(axis=1).mean() - kl.sum(axis=1).mean())
    error = np.std(bounds) / np.sqrt(16)  # of the yardstick's 16 samples
    assert metrics["elbo"] == pytest.approx(np.mean(bounds), abs=4 * error)


def test_posterior_noise_is_fresh_at_each_step():
    still = ["optim.lr=1e-12", "steps=3", "log_points=3"]
    _, rows = trained(job("model=vae", *DATA[:2], *still))
    assert len({float(row["train/reconstruction"][0]) for row in rows}) == 3
    assert len({float(row["train/kl"][0]) for row in rows}) == 1


def test_samples_come_with_the_nearest_training_example_and_the_grid_as_asked(vae):
    each, params, _, _ = vae
    z = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    rows = np.arange(0, len(each.dataset.test.x), 2)[::-1]
    shown = jax.jit(examples)(each.experiment, params, each.dataset.arrays(), z, rows)
    train = each.dataset.train.x
    apart = ((np.asarray(shown["samples"])[:, None] - train[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(shown["nearest"], train[apart.argmin(axis=1)])
    np.testing.assert_allclose(shown["grid"], jax.jit(autoencoder.decode)(each.experiment, params, z), rtol=1e-5)
    np.testing.assert_array_equal(shown["clean"], each.dataset.test.x[rows])


def test_the_grid_runs_from_the_upper_left_over_the_codes():
    z = np.array([[0.0, 0], [4, 2], [1, 1]], np.float32)
    grid = code_grid(z, side=5)
    corners = grid.z.reshape(5, 5, 2)
    assert (corners[0, 0] < [0, 9]).all()
    assert corners[0, 0, 1] > 2
    assert corners[-1, 0, 1] < 0
    assert corners[0, -1, 0] > 4
    wide = code_grid(np.random.default_rng(0).normal(size=(50, 5)) * [5, 3, 1, 1, 1])
    assert wide.shares == pytest.approx([25 / 37, 9 / 37], abs=0.12)


def test_glyphs_are_moved_apart_and_lonely_ones_are_not():
    at = np.array([[0.5, 0.5], [0.5, 0.5], [0.51, 0.5], [0.1, 0.9]])
    apart = moved_apart(at, np.array([0.05, 0.05]))
    np.testing.assert_array_equal(apart[3], at[3])
    gaps = np.abs(apart[:3, None] - apart[None, :3]).max(axis=2) + np.eye(3)
    assert gaps.min() > 0.045


@pytest.mark.slow
def test_select_best_reaches_the_record(tmp_path):
    rough = ["optim.lr=0.03", "optim.schedule=constant", "noise=flip", "noise.level=0.2", "steps=150", "log_points=50"]
    finished = run(tmp_path, "select=best", *rough)
    errors = [row["valid/mse"] for row in finished.history]
    assert min(errors) < errors[-1]
    assert finished.metrics["recon/mse"] == pytest.approx(min(errors), rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "oracle"),
    [
        (["optim=adam", "optim.b1=0.5", "optim.b2=0.7"], optax.adam(0.1, 0.5, 0.7)),
        (["optim=adamw", "optim.weight_decay=0.3"], optax.adamw(0.1, 0.9, 0.999, weight_decay=0.3)),
        (["optim=adam", "optim.weight_decay=0.3"], optax.adamw(0.1, 0.9, 0.999, weight_decay=0.3)),
        (["optim=sgd", "optim.momentum=0.8", "optim.clip=null"], optax.sgd(0.1, 0.8)),
    ],
)
def test_optimizers_are_optaxs(overrides, oracle):
    ours = job(*overrides, "optim.lr=0.1", "optim.schedule=constant").experiment.optim.transformation(100)
    params = {"kernel": np.array([1.0, -2.0], np.float32)}
    states = [each.init(params) for each in (ours, oracle)]
    for step in range(3):
        gradient = {"kernel": np.array([0.5 * step, 1.0], np.float32)}
        (found, states[0]), (expected, states[1]) = (
            each.update(gradient, state, params) for each, state in zip((ours, oracle), states, strict=True)
        )
        np.testing.assert_allclose(found["kernel"], expected["kernel"], rtol=1e-4)


def split(count=4, width=3, dtype=np.float32, y=None):
    return Split(np.ones((count, width), dtype), y)


@pytest.mark.parametrize(
    ("kind", "splits", "names", "told"),
    [
        ("grey", [split()] * 3, (), "kind 'grey'; must be one of binary, gray, rgb, real"),
        ("real", [split(dtype=object)] * 3, (), "train of object; must be numbers that fit the kind real"),
        ("gray", [Split(np.full((2, 3), 0.5) + 1)] * 3, (), "train of float64; must be numbers that fit the kind gray"),
        ("gray", [[1, 2]] * 3, (), "train of list; must be a numpy array"),
        (None, [split()] * 3, (), "training examples that are all the same"),
        (None, [split(count=1)] * 3, (), "one example only; must be at least two"),
        (None, [], (), "no training examples"),
        ("binary", [Split(np.full((2, 3), 255, np.uint8))] * 3, (), "train with values up to 255"),
        ("real", [split(), split(width=2), split()], (), "valid of shape"),
        ("real", [split(), split(), split(count=0)], (), "test of shape"),
        ("real", [Split(np.full((2, 2), np.nan, np.float32))] * 3, (), "train with nan or inf"),
        ("real", [split(y=np.zeros(4, np.int32)), split()], (), "labels without label_names"),
        ("real", [split(y=np.zeros(3, np.int32))] * 3, (), "labels of train of shape [3]; must be int32 [4]"),
        ("real", [split()] * 3, ("a",), "labels without label_names"),
        ("real", [split(y=np.ones(4, np.int32))] * 3, ("a",), "labels of train"),
        ("real", [split(y=np.zeros(3, np.int32))] * 3, ("a",), "labels of train"),
        ("real", [split(y=[0] * 4)] * 3, ("a",), "labels of train"),
    ],
)
def test_a_data_set_that_is_not_one_is_refused(kind, splits, names, told):
    with pytest.raises(InputError, match=r"^data mine: ") as caught:
        Dataset("mine", kind, *splits, label_names=names)
    assert told in str(caught.value)


def test_a_bernoulli_likelihood_needs_data_in_0_1():
    with pytest.raises(InputError, match=r"^likelihood=bernoulli: needs pixels in \[0, 1\], and data=blobs is real"):
        job(*DATA, "likelihood=bernoulli")
