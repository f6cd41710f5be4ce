"""The data that aejax ships."""

import dataclasses

import numpy as np
import pytest
from conftest import job

from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.sources.letters import glyphs


def test_letters_are_27_glyphs_at_least_4_pixels_apart():
    names, pixels = glyphs()
    flat = pixels.reshape(27, 35).astype(int)
    apart = (flat[:, None] != flat[None]).sum(axis=2) + 99 * np.eye(27, dtype=int)
    assert "".join(names) == "abcdefghijklmnñopqrstuvwxyz"
    assert apart.min() == 4
    assert pixels[names.index("l")][..., 0].tolist() == [
        [0, 1, 1, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
    ]


@pytest.mark.parametrize(("color", "channels", "variance"), [("rgb", 3, 0.0372), ("gray", 1, 0.0301)])
def test_emoji_have_the_published_variance(color, channels, variance):
    dataset = job("data=emoji", f"data.color={color}").dataset
    assert dataset.train.x.shape == (96, 12, 12, channels)
    assert dataset.train.x.dtype == np.uint8
    assert len(set(dataset.label_names)) == 96
    scaled = dataset.train.x / 255
    assert ((scaled - scaled.mean(axis=0)) ** 2).mean() == pytest.approx(variance, abs=5e-5)


@pytest.mark.parametrize("data", ["letters", "emoji"])
def test_the_splits_are_the_same_glyphs_and_say_so(data):
    dataset = job(f"data={data}").dataset
    assert dataset.train is dataset.valid is dataset.test
    assert "same" in dataset.described["note"]
    arrays = dataset.arrays()
    assert arrays.train is arrays.test is arrays.valid  # on the device once
    assert arrays.train.dtype == np.uint8


def test_the_fingerprint_tells_any_change():
    x, y = np.zeros((3, 2, 2, 1), np.uint8), np.arange(3, dtype=np.int32)
    x[0, 0, 0, 0] = 1
    split = Split(x, y)
    dataset = Dataset("tiny", "binary", split, split, split, ("a", "b", "c"))
    other_x = x.copy()
    other_x[2, 1, 1, 0] = 1
    others = [
        dataclasses.replace(dataset, train=Split(other_x, y)),
        dataclasses.replace(dataset, test=Split(x, y[::-1].copy())),
        dataclasses.replace(dataset, valid=Split(x[:2], y[:2])),
        dataclasses.replace(dataset, kind="gray"),
        dataclasses.replace(dataset, label_names=("a", "b", "d")),
    ]
    fingerprints = {each.fingerprint for each in [dataset, *others]}
    assert len(fingerprints) == 6
    assert dataclasses.replace(dataset, name="renamed").fingerprint == dataset.fingerprint


def test_pixels_are_scaled_by_kind():
    assert float(job("data=letters").experiment.form.scaled(np.uint8(1))) == 1.0
    assert float(job("data=emoji").experiment.form.scaled(np.uint8(255))) == pytest.approx(1.0)
    assert job("data=emoji").experiment.form.channels == 3
