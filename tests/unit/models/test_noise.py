"""Each corruption at its rate, against binomial and normal expectations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job
from scipy import stats

from aejax.base.errors import InputError
from aejax.evaluation.protocol import GRID
from aejax.models import noise
from aejax.models.noise import (
    Chain,
    Downsample,
    Flip,
    Gaussian,
    Grayscale,
    Masking,
    Occlusion,
    SaltPepper,
    Shot,
    Speckle,
)

EXAMPLES, PIXELS = 400, 300
VECTOR, IMAGE, COLOR = (PIXELS,), (15, 20, 1), (10, 10, 3)
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def x():
    return jax.random.uniform(jax.random.key(1), (EXAMPLES, PIXELS), minval=0.2, maxval=0.8)


def is_binomial(count, n, p):
    return stats.binomtest(int(count), n, p).pvalue > 1e-3


@pytest.mark.parametrize("level", [0.03, 0.4])
def test_rates(x, level):
    n = x.size
    masked = Masking(jnp.float32(level))(KEY, x, VECTOR)
    assert is_binomial((masked == 0).sum(), n, level)
    assert bool(jnp.all((masked == 0) | (masked == x)))
    salted = SaltPepper(jnp.float32(level))(KEY, x, VECTOR)
    assert is_binomial((salted == 0).sum(), n, level / 2)
    assert is_binomial((salted == 1).sum(), n, level / 2)
    assert int(((salted != x) & (salted != 0) & (salted != 1)).sum()) == 0
    binary = (x > 0.5).astype(jnp.float32)
    flipped = Flip(jnp.float32(level))(KEY, binary, VECTOR)
    assert is_binomial((flipped != binary).sum(), n, level)
    assert set(np.unique(flipped)) == {0.0, 1.0}


def test_gaussian_noise_is_normal_with_the_stated_deviation(x):
    noise = np.asarray(Gaussian(jnp.float32(0.3))(KEY, x, VECTOR) - x).ravel()
    assert stats.kstest(noise / 0.3, "norm").pvalue > 1e-3
    assert noise.std() == pytest.approx(0.3, rel=0.01)


@pytest.mark.parametrize("kind", [Gaussian, Speckle, Shot, SaltPepper, Flip, Masking, Occlusion, Grayscale])
def test_level_0_changes_nothing(x, kind):
    np.testing.assert_array_equal(kind(jnp.float32(0))(KEY, x, COLOR), x)


@pytest.mark.parametrize("kind", [SaltPepper, Flip, Masking, Occlusion])
def test_level_1_leaves_no_pixel(x, kind):
    assert int((kind(jnp.float32(1))(KEY, x, COLOR) == x).sum()) == 0


def test_clean_is_the_identity(x):
    assert noise.Clean()(KEY, x, VECTOR) is x


@pytest.mark.parametrize("kind", [SaltPepper, Masking])
def test_a_pixel_is_corrupted_with_all_its_channels(x, kind):
    changed = np.asarray(kind(jnp.float32(0.3))(KEY, x, COLOR) != x).reshape(EXAMPLES, -1, 3)
    assert (changed.all(axis=2) == changed.any(axis=2)).all()
    assert is_binomial(changed[..., 0].sum(), changed[..., 0].size, 0.3)


def test_draws_differ_from_step_to_step_and_from_example_to_example(x):
    level = jnp.float32(0.5)
    one, two = (np.asarray(Masking(level)(jax.random.key(k), x, VECTOR) == 0) for k in (1, 2))
    assert 0.45 < (one == two).mean() < 0.55
    assert 0.45 < (one[:-1] == one[1:]).mean() < 0.55


def test_speckle_is_normal_in_proportion_to_the_value(x):
    factor = np.asarray(Speckle(jnp.float32(0.3))(KEY, x, VECTOR) / x).ravel()
    assert stats.kstest((factor - 1) / 0.3, "norm").pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.02, 0.5])
def test_shot_noise_is_poisson(level):
    for value in (0.2, 1.0):
        shot = np.asarray(Shot(jnp.float32(level))(KEY, jnp.full((EXAMPLES, PIXELS), value), VECTOR)).ravel()
        photons, mean = np.rint(shot / level**2), value / level**2
        np.testing.assert_allclose(photons * level**2, shot, rtol=1e-5)  # whole photons
        expected = stats.poisson(mean)
        assert photons.mean() == pytest.approx(mean, abs=4 * expected.std() / photons.size**0.5)
        assert shot.std() == pytest.approx(level * value**0.5, rel=0.02)
        at = np.quantile(photons, [0.05, 0.5, 0.95])
        np.testing.assert_allclose([(photons <= k).mean() for k in at], expected.cdf(at), atol=0.01)
    assert not np.any(Shot(jnp.float32(level))(KEY, jnp.zeros((3, PIXELS)), VECTOR))


@pytest.mark.parametrize(("level", "rows", "columns"), [(0.25, 8, 9), (0.1, 5, 6), (1.0, 15, 20)])
def test_occlusion_is_one_box_of_the_stated_share_anywhere(x, level, rows, columns):
    hidden = np.asarray(Occlusion(jnp.float32(level))(KEY, x, IMAGE) == 0).reshape(EXAMPLES, 15, 20)
    high, wide = hidden.any(axis=2), hidden.any(axis=1)
    assert (high.sum(axis=1) == rows).all() and (wide.sum(axis=1) == columns).all()
    np.testing.assert_array_equal(hidden, high[:, :, None] & wide[:, None, :])
    top, left = high.argmax(axis=1), wide.argmax(axis=1)
    assert (high.argmax(axis=1) + rows == 15 - high[:, ::-1].argmax(axis=1)).all()  # in one piece
    for starts, last in ((top, 15 - rows), (left, 20 - columns)):
        counts = np.bincount(starts, minlength=last + 1)
        assert len(counts) == last + 1
        assert last == 0 or stats.chisquare(counts).pvalue > 1e-3
    color = np.asarray(Occlusion(jnp.float32(0.2))(KEY, x, COLOR) == 0).reshape(EXAMPLES, -1, 3)
    assert (color.all(axis=2) == color.any(axis=2)).all()


@pytest.mark.parametrize("shape", [(7, 5, 1), (2, 3, 1), (12, 12, 1), (28, 28, 1)])
def test_occlusion_hides_about_its_share_and_more_at_higher_levels(shape):
    height, width, _ = shape
    levels = np.linspace(0, 1, 101, dtype=np.float32)
    x = jnp.ones((1, height * width))
    hidden = np.array([np.mean(np.asarray(Occlusion(level)(KEY, x, shape)) == 0) for level in levels])
    assert np.abs(hidden - levels).max() <= 0.5 / min(height, width) + 1e-6  # half a row or a column
    grid = [hidden[round(100 * level)] for level in GRID["occlusion"][1]]
    assert shape == (2, 3, 1) or len(set(grid)) == len(grid)


def test_downsampling_averages_blocks(x):
    found = np.asarray(Downsample(jnp.float32(5))(KEY, x, COLOR)).reshape(-1, 10, 10, 3)
    blocks = np.asarray(x).reshape(-1, 2, 5, 2, 5, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found, blocks.repeat(5, axis=1).repeat(5, axis=2), rtol=1e-5)
    odd = np.asarray(Downsample(jnp.float32(4))(KEY, x, IMAGE)).reshape(-1, 15, 20)
    np.testing.assert_allclose(odd[:, 14, 19], np.asarray(x).reshape(-1, 15, 20)[:, 12:, 16:].mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(Downsample(jnp.float32(1))(KEY, x, IMAGE), x)
    half = np.asarray(Downsample(jnp.float32(1.5))(KEY, x, IMAGE)).reshape(-1, 15, 20)[0]
    assert [int((np.abs(np.diff(half, axis=side)) > 1e-6).any(1 - side).sum()) + 1 for side in (0, 1)] == [10, 13]
    whole = Downsample(jnp.float32(4096))(KEY, x, IMAGE)
    np.testing.assert_allclose(whole, np.broadcast_to(x.mean(axis=1, keepdims=True), x.shape), rtol=1e-5)


def test_grayscale_leaves_the_luma_that_pillow_computes():
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    luma = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    x_1xP = jnp.asarray(pixels.reshape(1, -1) / 255, jnp.float32)
    gray = np.asarray(Grayscale(jnp.float32(1))(KEY, x_1xP, (7, 9, 3))).reshape(7, 9, 3)
    np.testing.assert_allclose(gray * 255, luma[:, :, None].repeat(3, axis=2), atol=0.51)
    half = Grayscale(jnp.float32(0.5))(KEY, x_1xP, (7, 9, 3))
    np.testing.assert_allclose(half, (x_1xP + gray.reshape(1, -1)) / 2, atol=1e-6)


def test_a_chain_goes_through_its_parts_in_order_with_draws_of_their_own(x):
    first, second = Masking(jnp.float32(0.4)), Masking(jnp.float32(0.5))
    both = Chain({"b": second, "a": first})(KEY, x, VECTOR)
    one = first(jax.random.fold_in(KEY, 0), x, VECTOR)
    np.testing.assert_array_equal(both, second(jax.random.fold_in(KEY, 1), one, VECTOR))
    assert is_binomial((both == 0).sum(), x.size, 0.7)  # 1 - 0.6 * 0.5: independent
    after = Chain({"a": first, "b": Gaussian(jnp.float32(0.1))})(KEY, x, VECTOR)
    assert int((after == 0).sum()) == 0


def test_the_parts_of_a_chain_are_chosen_on_the_command_line():
    each = job("data=emoji", "noise=chain", "noise@noise.parts.a=occlusion", "+noise@noise.parts.c=masking")
    assert [type(part) for part in each.experiment.noise.parts.values()] == [Occlusion, Gaussian, Masking]
    levels = ["noise.parts.a.level=3", "noise.parts.b.level=0.3"]
    structures = [jax.tree.structure(job("noise=chain", *some).experiment) for some in ([], levels)]
    assert structures[0] == structures[1]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["noise=grayscale"], r"noise=grayscale: needs images of three channels, .*letters is binary, 7 x 5 x 1"),
        (["noise=grayscale", "data=emoji", "data.color=gray"], r"noise=grayscale: needs images of three channels"),
        (["noise=chain", "noise@noise.parts.b=flip", "data=emoji"], r"noise=flip: needs binary data, and data=emoji"),
        (["noise=chain", "noise.parts.b.level=-1"], r"noise\.parts\.b\.level=-1: must be a number at least 0"),
        (["noise=chain", "~noise.parts.a", "~noise.parts.b"], r"noise\.parts=\{\}: must name at least one noise"),
        (["noise=occlusion", "data._target_=blobs.Blobs"], r"noise=occlusion: needs images, and data=blobs"),
        (["noise=downsample", "data._target_=blobs.Blobs"], r"noise=downsample: needs images, and data=blobs"),
        (["noise=shot", "data._target_=blobs.Blobs"], r"noise=shot: needs pixels in \[0, 1\], and data=blobs"),
        (["noise=downsample", "noise.level=0.5"], r"noise\.level=0\.5: must be a number at least 1 and at most 4,096"),
    ],
)
def test_a_noise_that_makes_no_sense_is_refused(overrides, told):
    with pytest.raises(InputError, match=f"^{told}"):
        job(*overrides)


@pytest.mark.parametrize("kind", [Gaussian, SaltPepper, Flip, Masking])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_likelihood_of_a_noise_is_calibrated(kind, channels):
    """Of draws of several images, the posterior is right where E[p(the true one)] is E[sum of p^2]; and only then."""
    shape, level = (2, 3, channels), jnp.float32(0.7 if kind is Gaussian else 0.3)
    rng = np.random.default_rng(0)
    pixels_GxN = rng.integers(0, 2, (5, 6)) if kind is Flip or channels == 1 else rng.choice([0.0, 0.4, 1.0], (5, 6))
    clean_GxP = np.repeat(pixels_GxN, channels, axis=1).astype(np.float32)
    true_M = np.arange(20_000) % 5
    noisy_MxP = kind(level)(KEY, clean_GxP[true_M], shape)

    def scores(assumed):
        posterior_MxG = jax.nn.softmax(kind(jnp.float32(assumed)).log_likelihood(noisy_MxP, clean_GxP, shape), axis=1)
        gap_M = np.asarray(posterior_MxG)[np.arange(len(true_M)), true_M] - np.sum(
            np.asarray(posterior_MxG) ** 2, axis=1
        )
        error = np.mean((posterior_MxG @ clean_GxP - clean_GxP[true_M]) ** 2)
        return abs(gap_M.mean()) / (gap_M.std() / len(gap_M) ** 0.5), error

    deviations, error = scores(level)
    assert deviations < 3.5
    for wrong in (0.6 * level, 1.5 * level):
        assert scores(wrong)[0] > 5
        assert scores(wrong)[1] > error  # no other weighting has a smaller squared error


def test_noises_without_a_simple_likelihood_have_none(x):
    assert Speckle(jnp.float32(0.1)).log_likelihood(x, x[:3], VECTOR) is None
