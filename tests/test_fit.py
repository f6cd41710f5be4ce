"""Principal components against an independent numpy PCA, and the floors against the published ones."""

import numpy as np
import pytest
from conftest import evaluated, job, trained

from aejax import chunks, fit
from aejax.data import Dataset

PUBLISHED = {
    "data=letters": {2: 0.129, 5: 0.072, 10: 0.028, 12: 0.0185},
    "data=emoji": {2: 0.0270, 8: 0.0154, 16: 0.0086, 32: 0.0031},
    "data.color=grey": {2: 0.0204, 8: 0.0096, 16: 0.0048, 32: 0.0014},
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
    ["data=letters", *(pytest.param(each, marks=pytest.mark.slow) for each in ("data=emoji", "data.color=grey"))],
)
def test_pca_equals_numpys(data):
    sizes = [1, 2, 5, 8, 10, 12, 16, 26, 32, 50]
    where = ["data=emoji", data] if "." in data else [data]
    jobs = [job("model=pca", f"latent_dim={units}", *where) for units in sizes]
    metrics, z_LxNxZ, _ = evaluated(trained(*jobs)[0], *jobs)
    x_NxP = np.asarray(jobs[0].experiment.form.scaled(jobs[0].dataset.arrays().test))
    for index, units in enumerate(sizes):
        expected_NxP, codes_NxZ = numpy_pca(x_NxP, units)
        mse = metrics["recon/mse"][index]
        assert mse == pytest.approx(((expected_NxP - x_NxP) ** 2).mean(), abs=1e-6)
        assert metrics["floor/pca_mse"][index] == pytest.approx(mse, abs=1e-7)
        # Equal but for the signs of the components, and the rotation of those with equal variance.
        z_NxZ = z_LxNxZ[index]
        np.testing.assert_allclose(z_NxZ @ z_NxZ.T, codes_NxZ @ codes_NxZ.T, atol=1e-4)
        if units in PUBLISHED[data]:
            assert mse == pytest.approx(PUBLISHED[data][units], abs=6e-4 if data == "data=letters" else 6e-5)


def test_many_examples_take_another_way_to_the_same_components(monkeypatch):
    x_NxP = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32) * np.arange(1, 13, dtype=np.float32)
    form = Dataset(train=x_NxP, test=x_NxP).form
    mean, components = fit.principal_components(x_NxP, form, 5)
    monkeypatch.setattr(fit, "SVD_EXAMPLES", 100)
    monkeypatch.setattr(chunks, "ROWS", 70)
    other_mean, other = fit.principal_components(x_NxP, form, 5)
    np.testing.assert_allclose(other, components, atol=1e-3)
    np.testing.assert_allclose(other_mean, mean, atol=1e-5)
    np.testing.assert_allclose(components @ components.T, np.eye(5), atol=1e-5)
