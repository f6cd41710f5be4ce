"""Every metric against an independent oracle or a known answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, trained
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.neighbors import KNeighborsClassifier

from aejax.evaluation.encoding import noisy_copies
from aejax.evaluation.evaluate import evaluate
from aejax.evaluation.protocol import COPIES, COPY_FLIP, SEED
from aejax.metrics import code, reconstruction
from aejax.metrics.reconstruction import PROBABILITY_FLOOR
from aejax.training.lanes import lane


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


@pytest.mark.slow
def test_separation_of_letters_is_that_of_noisy_copies():
    """kNN of PCA codes equals scikit-learn's on codes of copies that are drawn here once more."""
    from aejax.base.keys import Purpose, key_for

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


@pytest.mark.slow
def test_the_yardstick_ignores_the_seed_the_noise_and_beta():
    base = job("model=vae", "net.widths=[12]", "steps=20", "log_points=1")
    state, _ = trained(base)
    expected = evaluated(state, base)[0]
    other = job("model=vae", "net.widths=[12]", "seed=9", "model.beta=7", "noise=masking", "optim.lr=1")
    found = evaluated(state, other)[0]
    for name, value in expected.items():
        if not name.startswith("baseline/untrained_"):  # of the untrained net of the same seed
            np.testing.assert_array_equal(found[name], value, err_msg=name)
    restored = {name.replace("recon/", "restore/") for name in expected if name.startswith("recon/")}
    assert found.keys() - expected.keys() == restored


def test_the_elbo_of_a_linear_gaussian_model_is_below_its_likelihood_and_near_it():
    """x = W z + b + noise has a closed-form likelihood; with the exact posterior the bound is tight (Bishop 12.2)."""
    each = job(
        "data=emoji",
        "data.color=gray",
        "model=vae",
        "net=linear",
        "net.center=false",
        "likelihood=linear",
        "likelihood.variance=0.02",
        "latent_dim=2",
        "evaluate.groups=[elbo,nll]",
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
        "likelihood": {},
        "running": {},
    }
    params = jax.tree.map(jnp.float32, params)
    exact = stats.multivariate_normal(mean, w.T @ w + 0.02 * np.eye(144)).logpdf(x).mean()
    metrics, _, _ = jax.jit(evaluate)(experiment, params, data)
    assert float(metrics["elbo"]) == pytest.approx(exact, abs=0.2)
    assert float(metrics["nll"]) == pytest.approx(-exact, abs=0.02)
    bits = -exact / (144 * np.log(2)) + 8  # of a byte's 256 levels in [0, 1]
    assert float(metrics["likelihood/bits_per_dim"]) == pytest.approx(bits, abs=1e-3)
    # A posterior that is off loosens the bound, and leaves the importance-weighted likelihood where it was.
    params["to_code"]["mean"]["bias"] += 0.3 * jnp.sqrt(1 / jnp.float32(np.diag(precision)))
    params["to_code"]["log_variance"]["bias"] += 0.4
    metrics, _, _ = jax.jit(evaluate)(experiment, params, data)
    assert float(metrics["elbo"]) < exact - 0.1
    assert float(metrics["nll"]) == pytest.approx(-exact, abs=0.02)
