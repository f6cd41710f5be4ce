"""Principal components against an independent numpy PCA, and the baselines against the published ones."""

import jax
import numpy as np
import pytest
from conftest import evaluated, job, trained
from flax import struct
from sklearn.decomposition import PCA

from aejax.base import chunks
from aejax.datasets.dataset import Dataset, Split
from aejax.models import principal_components
from aejax.training.lanes import lane


@struct.dataclass
class Grays:
    """A few gray images of random intensities."""

    def load(self):
        rng = np.random.default_rng(0)
        return Dataset("grays", "gray", *(Split(rng.integers(0, 256, (n, 3, 4, 1), np.uint8)) for n in (40, 8, 8)))


PUBLISHED = {
    "data=letters": {2: 0.129, 5: 0.072, 10: 0.028, 12: 0.0185},
    "data=emoji": {2: 0.0270, 8: 0.0154, 16: 0.0086, 32: 0.0031},
    "data.color=gray": {2: 0.0204, 8: 0.0096, 16: 0.0048, 32: 0.0014},
}


def numpy_pca(x_NxP, units):
    """Reconstruction and codes by an eigendecomposition in float64."""
    x_NxP = x_NxP.astype(np.float64)
    mean_P = x_NxP.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(x_NxP.T, bias=True))
    basis_PxZ = vectors[:, np.argsort(values)[::-1][:units]]
    codes_NxZ = (x_NxP - mean_P) @ basis_PxZ
    return codes_NxZ @ basis_PxZ.T + mean_P, codes_NxZ


@pytest.mark.parametrize(
    "data",
    ["data=letters", *(pytest.param(each, marks=pytest.mark.slow) for each in ("data=emoji", "data.color=gray"))],
)
def test_pca_equals_numpys(data):
    sizes = [1, 2, 5, 8, 10, 12, 16, 26, 32, 50]
    where = ["data=emoji", data] if "." in data else [data]
    groups = "evaluate.groups=[reconstruction,baselines]"
    jobs = [job("model=pca", f"latent_dim={units}", groups, *where) for units in sizes]
    metrics, z_LxNxZ, _ = evaluated(trained(*jobs)[0], *jobs)
    x_NxP = np.asarray(jobs[0].experiment.form.scaled(jobs[0].dataset.arrays().test))
    for index, units in enumerate(sizes):
        expected_NxP, codes_NxZ = numpy_pca(x_NxP, units)
        mse = metrics["recon/mse"][index]
        assert mse == pytest.approx(((expected_NxP - x_NxP) ** 2).mean(), abs=1e-6)
        assert metrics["baseline/pca_mse"][index] == pytest.approx(mse, abs=1e-7)
        # Equal but for the signs of the components, and the rotation of those with equal variance.
        z_NxZ = z_LxNxZ[index]
        np.testing.assert_allclose(z_NxZ @ z_NxZ.T, codes_NxZ @ codes_NxZ.T, atol=1e-4)
        if units in PUBLISHED[data]:
            assert mse == pytest.approx(PUBLISHED[data][units], abs=6e-4 if data == "data=letters" else 6e-5)


def test_many_examples_take_another_way_to_the_same_components(monkeypatch):
    x_NxP = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32) * np.arange(1, 13, dtype=np.float32)
    form = Dataset(train=x_NxP, test=x_NxP).form
    mean, components = principal_components.principal_components(x_NxP, form, 5)
    monkeypatch.setattr(principal_components, "SVD_EXAMPLES", 100)
    monkeypatch.setattr(chunks, "ROWS", 70)
    other_mean, other = principal_components.principal_components(x_NxP, form, 5)
    np.testing.assert_allclose(other, components, atol=1e-3)
    np.testing.assert_allclose(other_mean, mean, atol=1e-5)
    np.testing.assert_allclose(components @ components.T, np.eye(5), atol=1e-5)


@pytest.mark.parametrize("way", ["svd", "covariance"])
@pytest.mark.parametrize("rotated", [False, True])
def test_small_directions_beside_large_ones_are_components(monkeypatch, rotated, way):
    """The error of the first k components is the sum of the remaining variances, whatever their scale."""
    if way == "covariance":
        monkeypatch.setattr(principal_components, "SVD_EXAMPLES", 0)
    rng = np.random.default_rng(6)
    x_NxP = rng.normal(size=(400, 8)) * [300, 200, 100, 50, 1, 1, 0.8, 0.5]
    if rotated:
        x_NxP = x_NxP @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    x_NxP = x_NxP.astype(np.float32)
    form = Dataset(train=x_NxP, test=x_NxP).form
    _, components_KxP = principal_components.principal_components(x_NxP, form, 8)
    components_KxP, centered_NxP = np.asarray(components_KxP, np.float64), x_NxP - x_NxP.mean(axis=0, dtype=np.float64)
    variances_P = np.linalg.svd(centered_NxP, compute_uv=False) ** 2 / 400
    for units in range(1, 9):
        basis_ZxP = components_KxP[:units]
        squared = ((centered_NxP - centered_NxP @ basis_ZxP.T @ basis_ZxP) ** 2).sum(axis=1).mean()
        assert squared == pytest.approx(variances_P[units:].sum(), rel=1e-3, abs=1e-6)


def with_rank(case):
    """Training examples [N, P] whose rank is known, as far from full as data are: (x, its rank)."""
    rng = np.random.default_rng(4)
    if case == "repeated":
        return np.repeat(rng.random((8, 30)), 20, axis=0), 7
    if case == "constant":  # with a mean far from 0
        return np.concatenate([rng.normal(size=(90, 10)), np.full((90, 8), 40.0)], axis=1), 10
    if case == "one_hot":  # which sum to 1
        return np.concatenate([np.eye(6)[rng.integers(0, 6, 200)], rng.normal(size=(200, 3))], axis=1), 8
    return rng.random((5, 40)), 4  # fewer examples than pixels


@pytest.mark.parametrize("way", ["svd", "covariance"])
@pytest.mark.parametrize("case", ["repeated", "constant", "one_hot", "few"])
def test_components_beyond_the_rank_of_the_data_are_0(monkeypatch, case, way):
    if way == "covariance":
        monkeypatch.setattr(principal_components, "SVD_EXAMPLES", 0)
    x_NxP, rank = with_rank(case)
    x_NxP = x_NxP.astype(np.float32)
    units = x_NxP.shape[1] + 2
    mean_P, components_KxP = map(
        np.asarray, principal_components.principal_components(x_NxP, Dataset(train=x_NxP, test=x_NxP).form, units)
    )
    assert (np.abs(components_KxP).sum(axis=1) > 0).sum() == rank
    oracle = PCA(rank).fit(x_NxP.astype(np.float64))
    other_NxP = np.random.default_rng(5).normal(size=(50, x_NxP.shape[1])).astype(np.float32)  # outside their span
    projected = (other_NxP - mean_P) @ components_KxP.T @ components_KxP + mean_P
    expected = oracle.inverse_transform(oracle.transform(other_NxP.astype(np.float64)))
    np.testing.assert_allclose(projected, expected, atol=2e-3 if case == "constant" else 2e-4)


def test_the_loss_of_pca_is_the_expectation_over_binarized_draws():
    """Against many draws of the training examples, and not the error of their probabilities, which is smaller."""
    each = job("model=pca", "latent_dim=3", "data.binarize=dynamic", f"data._target_={__name__}.Grays")
    state, rows = trained(each)
    params, form = lane(state.params, 0), each.experiment.form
    draws = [np.asarray(form.drawn(jax.random.key(seed), each.dataset.train.x)) for seed in range(400)]
    x_BxP = np.concatenate(draws).reshape(-1, form.pixels).astype(np.float64)
    mean_P, kernel = np.asarray(params["from_code"]["bias"]), np.asarray(params["from_code"]["kernel"])
    residual = x_BxP - mean_P - (x_BxP - mean_P) @ kernel.T @ kernel
    nats = 0.5 * ((residual**2).sum(axis=1) / 0.03 + form.pixels * np.log(2 * np.pi * 0.03))
    assert float(rows[-1]["train/loss"][0]) == pytest.approx(nats.mean(), rel=2e-3)
    assert float(rows[-1]["train/reconstruction"][0]) == pytest.approx(nats.mean(), rel=2e-3)
