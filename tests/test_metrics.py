"""Every metric against an independent oracle or a known answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, trained
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.neighbors import KNeighborsClassifier

from aejax.evaluate import COPIES, COPY_FLIP, SEED, evaluate, noisy_copies
from aejax.lanes import lane
from aejax.metrics import code, reconstruction, separation
from aejax.metrics.reconstruction import PROBABILITY_FLOOR


@pytest.fixture
def blobs():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 6, 700).astype(np.int32)
    z = rng.normal(size=(6, 4))[y] * 2 + rng.normal(size=(700, 4)) + 30  # far from 0, as codes may be
    return z.astype(np.float32), y


@pytest.mark.parametrize("neighbours", [1, 5, 15])
def test_knn_equals_scikit_learn(blobs, neighbours):
    z, y = blobs
    oracle = KNeighborsClassifier(neighbours).fit(z[:400], y[:400]).score(z[400:], y[400:])
    found = separation.knn_accuracy(z[:400], y[:400], z[400:], y[400:], 6, neighbours)
    assert float(found) == pytest.approx(oracle, abs=1e-6)


def test_silhouette_equals_scikit_learn(blobs):
    z, y = blobs
    assert float(separation.silhouette(z, y, 6)) == pytest.approx(sklearn_metrics.silhouette_score(z, y), rel=1e-4)


def test_silhouette_with_an_example_alone_in_its_class_and_an_empty_class(blobs):
    z, y = blobs
    y = np.where(np.arange(700) == 0, 7, y).astype(np.int32)
    assert float(separation.silhouette(z, y, 9)) == pytest.approx(sklearn_metrics.silhouette_score(z, y), rel=1e-4)


def test_equal_codes_of_a_class_give_silhouette_1():
    z = np.repeat(np.array([[0.0, 0], [5, 5]], np.float32), 4, axis=0)
    assert float(separation.silhouette(z, np.repeat(np.arange(2, dtype=np.int32), 4), 2)) == pytest.approx(1.0)


def test_reconstruction_has_known_answers():
    clean = jnp.array([[0.0, 1, 1, 0], [1, 1, 0, 0]])
    predicted = jnp.array([[0.0, 1, 1, 0], [0.9, 0.4, 0.6, 0.1]])
    found = reconstruction.reconstruction(clean, predicted, binary=True)
    sse = (0.1**2 + 0.6**2 + 0.6**2 + 0.1**2) / 2
    bce = -(2 * np.log(0.9) + 2 * np.log(0.4) + 4 * np.log1p(-PROBABILITY_FLOOR)) / 2
    expected = {
        "mse": sse / 4,
        "sse": sse,
        "psnr": 10 * np.log10(4 / sse),
        "bce": bce,
        "pixel_errors_mean": 1.0,
        "pixel_errors_max": 2,
        "exact": 0.5,
        "at_most_one_wrong": 0.5,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-5), name
    assert reconstruction.reconstruction(clean, predicted, binary=False).keys() == {"mse", "sse", "psnr"}
    log_loss = sklearn_metrics.log_loss(np.ravel(clean), np.clip(np.ravel(predicted), 1e-6, 1 - 1e-6))
    assert float(found["bce"]) == pytest.approx(4 * log_loss, rel=1e-4)


def test_code_use_has_known_answers():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 5)).astype(np.float32) * np.array([2, 2, 2, 0.05, 0], np.float32)
    assert int(code.active_units(z)) == 3  # 0.05^2 < 0.01
    assert float(code.effective_dim(z)) == pytest.approx(3.0, rel=0.01)
    assert float(code.sparsity(z, 5)) == pytest.approx(0.2)
    assert float(code.sparsity(z, 4)) == pytest.approx(0.0)
    assert np.isnan(code.effective_dim(jnp.ones((10, 3))))


def test_restoration_is_scored_on_200_noisy_copies_of_each_letter():
    each = job("noise=flip", "noise.level=0.1", "seed=7")
    copies = noisy_copies(each.experiment, each.dataset.arrays())
    assert copies["input"].shape == (5400, 35)
    flips = int((copies["input"] != copies["clean"]).sum())
    assert stats.binomtest(flips, 5400 * 35, 0.1).pvalue > 1e-3
    other = noisy_copies(job("noise=flip", "noise.level=0.1", "seed=8").experiment, each.dataset.arrays())
    np.testing.assert_array_equal(other["input"], copies["input"])  # the same for every run


def test_the_maximum_likelihood_decoder_scores_as_published_on_these_copies():
    each = job("noise=flip", "noise.level=0.1")
    copies = noisy_copies(each.experiment, each.dataset.arrays())
    letters = np.asarray(copies["clean"][:27])
    nearest = np.abs(np.asarray(copies["input"])[:, None] - letters[None]).sum(axis=2).argmin(axis=1)
    wrong = np.abs(letters[nearest] - np.asarray(copies["clean"])).sum(axis=1)
    assert (wrong <= 1).mean() == pytest.approx(0.975, abs=0.005)


def test_separation_of_letters_is_that_of_noisy_copies():
    """kNN of PCA codes equals scikit-learn's on codes of copies that are drawn here once more."""
    from aejax.random import Purpose, key_for

    each = job("model=pca", "latent_dim=5")
    state, _ = trained(each)
    params = lane(state.params, 0)
    metrics = lane(evaluated(state, each)[0], 0)
    x, y = each.dataset.train.x.reshape(27, 35), np.tile(each.dataset.train.y, COPIES)

    def codes(purpose):
        noisy = np.tile(x, (COPIES, 1)).astype(np.float32)
        flip = jax.random.uniform(key_for(SEED, purpose), noisy.shape) < COPY_FLIP
        noisy = np.where(flip, 1 - noisy, noisy)
        return noisy @ np.asarray(params["to_code"]["mean"]["kernel"]) + np.asarray(params["to_code"]["mean"]["bias"])

    fit, score = codes(Purpose.COPIES_FIT), codes(Purpose.COPIES_SCORE)
    oracle = KNeighborsClassifier(5).fit(fit, y).score(score, y)
    assert float(metrics["separation/knn_accuracy"]) == pytest.approx(oracle, abs=2e-3)
    assert float(metrics["separation/silhouette"]) == pytest.approx(
        sklearn_metrics.silhouette_score(score, y), rel=1e-3
    )


def test_the_yardstick_ignores_the_seed_the_noise_and_beta():
    base = job("model=vae", "net.widths=[12]", "steps=20", "log_points=1")
    state, _ = trained(base)
    expected, _ = evaluated(state, base)
    other = job("model=vae", "net.widths=[12]", "seed=9", "model.beta=7", "noise=masking", "optim.lr=1")
    found, _ = evaluated(state, other)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    restored = {name.replace("recon/", "restore/") for name in expected if name.startswith("recon/")}
    assert found.keys() - expected.keys() == restored


def test_the_elbo_of_a_linear_gaussian_model_is_below_its_likelihood_and_near_it():
    """x = W z + b + noise has a closed-form likelihood; with the exact posterior the bound is tight (Bishop 12.2)."""
    each = job(
        "data=emoji",
        "data.color=grey",
        "model=vae",
        "net=linear",
        "likelihood=linear",
        "likelihood.variance=0.02",
        "latent_dim=2",
    )
    experiment, data = each.experiment, each.dataset.arrays()
    x = np.asarray(experiment.form.scaled(data.test), np.float64)
    mean = x.mean(axis=0)
    w = np.random.default_rng(0).normal(size=(2, 144)) * 0.1
    # A diagonal posterior is exact where the rows of W are orthogonal.
    w[1] -= w[0] * (w[0] @ w[1]) / (w[0] @ w[0])
    precision = np.eye(2) + w @ w.T / 0.02
    kernel = w.T / 0.02 @ np.linalg.inv(precision)
    params = {
        "encoder": {},
        "decoder": {},
        "to_code": {
            "mean": {"kernel": kernel, "bias": -mean @ kernel},
            "log_variance": {"kernel": np.zeros((144, 2)), "bias": -np.log(np.diag(precision))},
        },
        "from_code": {"kernel": w, "bias": mean},
    }
    params = jax.tree.map(jnp.float32, params)
    exact = stats.multivariate_normal(mean, w.T @ w + 0.02 * np.eye(144)).logpdf(x).mean()
    metrics, _ = jax.jit(evaluate)(experiment, params, data)
    assert float(metrics["elbo"]) == pytest.approx(exact, abs=0.2)
