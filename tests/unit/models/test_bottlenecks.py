"""The code, its KL, and the mask of units that a lane does not have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, trained
from scipy import integrate, stats

from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.bottlenecks import Gaussian
from aejax.models.layers import latent_mask
from aejax.models.objective import objective
from aejax.models.priors import gaussian_kl
from aejax.runs.folder import flat
from aejax.training.lanes import lane

FEW = ["net.widths=[12,7]", "steps=10", "log_points=2"]


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.3, 0.2), (-2.0, 3.0)])
def test_the_kl_equals_its_integral(mean, variance):
    q, p = stats.norm(mean, variance**0.5), stats.norm()
    expected = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -30, 30, points=[mean])[0]
    assert float(gaussian_kl(mean, jnp.log(variance))) == pytest.approx(expected, abs=1e-5)


def test_samples_of_the_posterior_have_its_moments():
    heads = {"mean": jnp.full((20_000, 2), 0.7), "log_variance": jnp.full((20_000, 2), jnp.log(0.25))}
    code = Gaussian(sampling=True)(heads, latent_mask(2, 2), jax.random.key(0))
    np.testing.assert_allclose(code.z.mean(axis=0), 0.7, atol=0.02)
    np.testing.assert_allclose(code.z.std(axis=0), 0.5, atol=0.02)
    assert abs(np.corrcoef(code.z.T)[0, 1]) < 0.03
    np.testing.assert_array_equal(code.mean, heads["mean"])


def test_without_a_key_z_is_the_mean():
    heads = {"mean": jnp.ones((3, 2)), "log_variance": jnp.ones((3, 2))}
    np.testing.assert_array_equal(Gaussian(sampling=True)(heads, latent_mask(2, 2), None).z, heads["mean"])


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["optim=adamw", "net.tied=true", "net.norm=batch", "select=best"], marks=pytest.mark.slow),
        pytest.param(
            ["model=vae", "model.free_bits=0.4", "model.capacity=1", "net.dropout=0.1"], marks=pytest.mark.slow
        ),
        pytest.param(["model=vae", "optim=sgd", "likelihood=learned", "net.norm=layer"], marks=pytest.mark.slow),
    ],
)
def test_masked_units_change_nothing(overrides):
    """Three units of a code of eight train and are evaluated as a code of three does."""
    one = job("latent_dim=3", "noise=flip", *FEW, *overrides)
    narrow, rows_narrow = trained(one)
    wide, rows_wide = trained(one, width=8)
    assert jax.tree.map(np.shape, flat(lane(wide.params, 0))) != jax.tree.map(np.shape, flat(lane(narrow.params, 0)))
    for expected, found in zip(rows_narrow, rows_wide, strict=True):
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-4, err_msg=key)
    (expected, z_narrow, _), (found, z_wide, _) = evaluated(narrow, one), evaluated(wide, one)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-3, err_msg=key)
    np.testing.assert_allclose(z_wide[..., :3], z_narrow, atol=1e-4)
    assert not np.any(z_wide[..., 3:])
    trimmed = flat(autoencoder.trim(one.experiment, lane(wide.params, 0), 3))
    for key, value in flat(lane(narrow.params, 0)).items():
        np.testing.assert_allclose(trimmed[key], value, atol=1e-4, err_msg=key)


def test_masked_units_get_no_gradient():
    each = job("model=vae", "latent_dim=3", "net.widths=[7]")
    params = jax.jit(lambda: autoencoder.init(each.experiment, 8))()
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)
    gradient = jax.jit(jax.grad(lambda p: objective(each.experiment, p, Batch(x_BxP, x_BxP), jnp.int32(0))[0]))(params)
    for head in ("mean", "log_variance"):
        assert np.all(np.any(np.asarray(gradient["to_code"][head]["kernel"][:, :3]) != 0, axis=0))
        assert not np.any(gradient["to_code"][head]["kernel"][:, 3:])
        assert not np.any(gradient["to_code"][head]["bias"][3:])
    assert not np.any(gradient["from_code"]["kernel"][3:])


@pytest.mark.parametrize("units", [2, 32])
def test_the_decoder_starts_at_the_same_scale_whatever_the_code_size(units):
    each = job(f"latent_dim={units}", "net.widths=[2000]")
    kernel_ZxH = autoencoder.init(each.experiment, 64)["from_code"]["kernel"]
    assert float(jnp.sum(kernel_ZxH**2) / 2000) == pytest.approx(1.0, rel=0.1)  # variance of a hidden unit
