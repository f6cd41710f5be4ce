"""Shapes with known factors: what is drawn, and that factors stay with their examples."""

import dataclasses

import numpy as np
import pytest
from conftest import job, refused

from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.sources import shapes
from aejax.datasets.sources.shapes import RADII, Shapes, drawn
from aejax.datasets.splits import prints_of

NAMES = ("shape", "scale", "rotation", "x", "y")


def factors(**values):
    """Factors [N, 5 or 6] of the values that are given, which may be lists; the others are in the middle."""
    columns = {"shape": 0, "scale": 3, "rotation": 0, "x": 8, "y": 8} | values
    return np.stack(np.broadcast_arrays(*map(np.array, columns.values())), axis=-1).reshape(-1, len(columns))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("rotation", [0, 3])
def test_the_brightness_of_a_shape_is_its_area(size, rotation):
    area = {"square": (2 * shapes.HALF_SIDE) ** 2, "ellipse": np.pi * np.prod(shapes.SEMI_AXES)}
    area["heart"] = shapes.HEART_SIDE**2 * (1 + np.pi / 4)  # a square and two half discs
    images = drawn(factors(shape=[[0], [1], [2]], scale=[0, 2, 5], rotation=rotation), size) / 255
    found = images.sum(axis=(1, 2, 3)).reshape(3, 3) * (2 / size) ** 2
    expected = np.array(list(area.values()))[:, None] * RADII[[0, 2, 5]] ** 2
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_position_rotation_and_color_are_where_they_are_told():
    center = (np.arange(32) + 0.5) / 16 - 1
    for shape in (0, 1):  # whose centers are those of their brightness
        images = drawn(factors(shape=shape, x=[0, 5, 15], y=[15, 3, 0]), 32)[..., 0] / 255
        weight = images.sum(axis=(1, 2))
        np.testing.assert_allclose((images.sum(axis=1) @ center) / weight, [-0.5, -1 / 6, 0.5], atol=0.01)
        np.testing.assert_allclose((images.sum(axis=2) @ center) / weight, [0.5, -0.3, -0.5], atol=0.01)
    middle = drawn(factors(shape=2, scale=5), 64)[0, ..., 0].astype(int)
    below, above = np.flatnonzero(middle[:, 34] > 128).max(), np.flatnonzero(middle[:, 20] > 128).max()
    assert below > above  # a heart's tip points down
    turned = drawn(factors(shape=1, scale=5, rotation=[0, 4, 7]), 64)[..., 0] / 255
    place = np.stack(np.meshgrid(np.arange(64.0), np.arange(64.0)), axis=-1)
    for image, angle in zip(turned, (0, 45, 78.75), strict=True):  # the main axis of the brightness, clockwise
        apart = place - (place * image[..., None]).sum(axis=(0, 1)) / image.sum()
        axis = np.linalg.eigh(np.einsum("ij,ija,ijb->ab", image, apart, apart))[1][:, 1]
        assert np.degrees(np.arctan2(axis[1], axis[0])) % 180 == pytest.approx(angle, abs=1.0) or angle == 0
    colored = drawn(np.append(factors(), [[2]], axis=1), 32)[0]
    assert colored.shape == (32, 32, 3) and colored.reshape(-1, 3).max(axis=0).tolist() == [51, 255, 51]  # green


def test_a_smaller_image_is_the_mean_of_the_pixels_of_a_larger_one():
    chosen = Shapes(200, 32, "gray", 3).load().train.factors
    small, large = (drawn(chosen, size).astype(float) for size in (32, 64))
    averaged = large.reshape(200, 32, 2, 32, 2, 1).mean(axis=(2, 4))
    assert np.abs(small - averaged).max() < 64 and np.abs(small - averaged).mean() < 0.3


@pytest.mark.slow
def test_all_images_of_the_grid_differ():
    whole = Shapes(1_000_000, 32, "gray", 0).load().train
    assert len(whole.x) == len(np.unique(whole.factors, axis=0)) == 36864
    assert len(np.unique(prints_of(whole.x))) == 36864


def test_examples_are_a_draw_without_repetition():
    first, again, other = (Shapes(500, 32, "rgb", seed).load() for seed in (0, 0, 1))
    assert first.factor_names == (*NAMES, "color") and first.label_names == ("square", "ellipse", "heart")
    assert len(np.unique(first.train.factors, axis=0)) == 500
    np.testing.assert_array_equal(first.train.y, first.train.factors[:, 0])
    np.testing.assert_array_equal(first.train.factors.max(axis=0), [2, 5, 7, 15, 15, 5])
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_factors_stay_with_their_examples_in_every_split():
    words = ["data=shapes", "data.examples=600", "data.limit=100", "data.test_limit=60", "data.classes=[heart,square]"]
    dataset = job(*words).dataset
    assert [len(split.x) for split in dataset.splits.values()] == [100, 30, 60]
    for split in dataset.splits.values():
        np.testing.assert_array_equal(drawn(split.factors, 32), split.x)
        np.testing.assert_array_equal(split.y, np.where(split.factors[:, 0] == 2, 0, 1))
    assert dataset.form.factors == (3, 6, 8, 16, 16)
    assert job(*words[:-1], "data.classes=[heart]").dataset.form.factors == (1, 6, 8, 16, 16)
    assert dataset.described["factors"] == dict(zip(NAMES, (3, 6, 8, 16, 16), strict=True))


def test_factors_are_on_the_device_only_where_they_are_asked_for():
    dataset = job("data=shapes", "data.examples=200").dataset
    assert dataset.arrays().factors_test is None and dataset.arrays().factors_train is None
    np.testing.assert_array_equal(dataset.arrays(factors=True).factors_test, dataset.test.factors)
    assert job("data=digits").dataset.arrays(factors=True).factors_train is None
    few = dataclasses.replace(dataset, budget=200_000)
    arrays = few.arrays(factors=True)
    assert 2 <= len(arrays.train) < len(few.train.x)
    np.testing.assert_array_equal(
        drawn(np.asarray(arrays.factors_train), 32).reshape(len(arrays.train), -1), arrays.train
    )


def test_fingerprints_tell_factors():
    x, names = np.arange(12, dtype=np.float32).reshape(6, 2), ("a", "b")
    values = np.arange(12, dtype=np.int32).reshape(6, 2)
    made = [
        Dataset("own", "real", Split(x, factors=each), factor_names=names) for each in (values, values[::-1].copy())
    ]
    made += [dataclasses.replace(made[0], factor_names=("a", "c")), Dataset("own", "real", Split(x))]
    assert len({each.fingerprint for each in made}) == 4


@pytest.mark.parametrize(
    ("values", "names", "told"),
    [
        (None, ("a",), "factors without factor_names, or factor_names without factors; give both or neither"),
        (np.zeros((6, 1), np.int32), (), "factors without factor_names, or factor_names without factors"),
        (np.zeros((6, 1)), ("a",), "factors of train of shape [6, 1]; must be int32 [6, 1] from 0 to 1023"),
        (np.zeros((6, 1), np.int32), ("a", "b"), "factors of train of shape [6, 1]; must be int32 [6, 2]"),
        (np.full((6, 1), 1024, np.int32), ("a",), "factors of train of shape [6, 1]; must be int32 [6, 1]"),
    ],
)
def test_factors_that_cannot_be_are_refused(values, names, told):
    with pytest.raises(InputError) as caught:
        Dataset("own", "gray", Split(np.arange(12, dtype=np.uint8).reshape(6, 2), factors=values), factor_names=names)
    assert str(caught.value).startswith(f"data own: {told}")


def test_a_size_that_is_not_drawn_is_refused():
    refused("data.size=48: must be one of 32, 64", "data=shapes", "data.size=48")
