"""Each corruption at its rate, against binomial and normal expectations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aejax.noise import Clean, Flip, Gaussian, Masking, SaltPepper

EXAMPLES, PIXELS = 400, 300
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def x():
    return jax.random.uniform(jax.random.key(1), (EXAMPLES, PIXELS), minval=0.2, maxval=0.8)


def is_binomial(count, n, p):
    return stats.binomtest(int(count), n, p).pvalue > 1e-3


@pytest.mark.parametrize("level", [0.03, 0.4])
def test_rates(x, level):
    n = x.size
    masked = Masking(jnp.float32(level))(KEY, x)
    assert is_binomial((masked == 0).sum(), n, level)
    assert bool(jnp.all((masked == 0) | (masked == x)))
    salted = SaltPepper(jnp.float32(level))(KEY, x)
    assert is_binomial((salted == 0).sum(), n, level / 2)
    assert is_binomial((salted == 1).sum(), n, level / 2)
    assert int(((salted != x) & (salted != 0) & (salted != 1)).sum()) == 0
    binary = (x > 0.5).astype(jnp.float32)
    flipped = Flip(jnp.float32(level))(KEY, binary)
    assert is_binomial((flipped != binary).sum(), n, level)
    assert set(np.unique(flipped)) == {0.0, 1.0}


def test_gaussian_noise_is_normal_with_the_stated_deviation(x):
    noise = np.asarray(Gaussian(jnp.float32(0.3))(KEY, x) - x).ravel()
    assert stats.kstest(noise / 0.3, "norm").pvalue > 1e-3
    assert noise.std() == pytest.approx(0.3, rel=0.01)


@pytest.mark.parametrize("kind", [Gaussian, SaltPepper, Flip, Masking])
def test_level_0_changes_nothing(x, kind):
    np.testing.assert_array_equal(kind(jnp.float32(0))(KEY, x), x)


@pytest.mark.parametrize("kind", [SaltPepper, Flip, Masking])
def test_level_1_leaves_no_pixel(x, kind):
    assert int((kind(jnp.float32(1))(KEY, x) == x).sum()) == 0


def test_clean_is_the_identity(x):
    assert Clean()(KEY, x) is x


@pytest.mark.parametrize("kind", [SaltPepper, Masking])
def test_a_pixel_is_corrupted_with_all_its_channels(x, kind):
    changed = np.asarray(kind(jnp.float32(0.3))(KEY, x, 3) != x).reshape(EXAMPLES, -1, 3)
    assert (changed.all(axis=2) == changed.any(axis=2)).all()
    assert is_binomial(changed[..., 0].sum(), changed[..., 0].size, 0.3)


def test_draws_differ_from_step_to_step_and_from_example_to_example(x):
    level = jnp.float32(0.5)
    one, two = (np.asarray(Masking(level)(jax.random.key(k), x) == 0) for k in (1, 2))
    assert 0.45 < (one == two).mean() < 0.55
    assert 0.45 < (one[:-1] == one[1:]).mean() < 0.55
