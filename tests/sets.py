"""Small sets in the original formats, as if tensorflow-datasets knew their files."""

import gzip
import hashlib
import struct
from types import SimpleNamespace

import numpy as np
import pytest

from aejax.base.errors import InputError
from aejax.datasets.sources.tfds import Tfds

RNG = np.random.default_rng(0)
COUNTS = {"train": 60, "t10k": 20}


def idx(array):
    return gzip.compress(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def infos(folder, base):
    """What tensorflow-datasets registers of files, made of the files of a folder."""
    return {
        f"{base}/{path.name}": SimpleNamespace(
            filename=path.name, checksum=hashlib.sha256(path.read_bytes()).hexdigest(), size=path.stat().st_size
        )
        for path in sorted(folder.iterdir())
    }


def load(root, name="mnist", **changed):
    settings = {"split": "train", "test_split": "test", "feature": "image", "label": "label", "kind": "auto"}
    return Tfds(
        name=name, dir=str(root), **settings | {"manual_dir": None, "download": False, "factors": None} | changed
    ).load()


def pairs(x, y):
    return sorted((image.tobytes(), int(label)) for image, label in zip(x, y, strict=True))


def train_of(dataset):
    return dataset.train.x, dataset.train.y


def refused(told, *arguments, **changed):
    with pytest.raises(InputError) as caught:
        load(*arguments, **changed)
    assert str(caught.value).startswith(told), caught.value
