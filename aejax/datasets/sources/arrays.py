"""A user's own arrays, from .npz or .npy files; nothing that would have to be unpickled."""

import zipfile
from pathlib import Path

import numpy as np
from flax import struct

from aejax.base import archive
from aejax.base.devices import check_memory
from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset
from aejax.datasets.storage import KINDS
from aejax.settings.fields import static_choice, static_str


@struct.dataclass
class ArrayFiles:
    """Examples [N, …] with or without labels [N]; conf/data/arrays.yaml explains the settings."""

    path: str = static_str()
    labels: str | None = static_str(optional=True)
    test_path: str | None = static_str(optional=True)
    test_labels: str | None = static_str(optional=True)
    kind: str = static_choice("auto", *KINDS)

    def load(self):
        """The Dataset; examples of more than one axis that are no images become vectors."""
        splits = _splits("data.path", self.path, "data.labels", self.labels)
        if self.test_path is not None:
            splits["test"] = _splits("data.test_path", self.test_path, "data.test_labels", self.test_labels)["train"]
        return Dataset(Path(self.path).name, None if self.kind == "auto" else self.kind, **splits)


def _splits(key, path, key_labels, labels):
    """The splits {name: (x, y)} that a file holds; raises InputError if they cannot be examples and labels."""
    setting, arrays = f"{key}={path}", _arrays(key, path)
    splits = {}
    for split in ("train", "valid", "test"):
        names = [f"{{}}_{split}"] + ["{}"] * (split == "train")
        x = next((arrays[name.format("x")] for name in names if name.format("x") in arrays), None)
        y = next((arrays[name.format("y")] for name in names if name.format("y") in arrays), None)
        if split == "train" and x is None:
            if len(arrays) != 1:
                raise InputError(
                    f"{setting}: holds {', '.join(arrays) or 'nothing'}; must hold x, x_train, or a single array"
                )
            x = next(iter(arrays.values()))
        if split == "train" and labels is not None:
            label_arrays = _arrays(key_labels, labels)
            if len(label_arrays) != 1:
                raise InputError(f"{key_labels}={labels}: holds {', '.join(label_arrays)}; must hold one array")
            y = next(iter(label_arrays.values()))
        if x is None:
            continue
        if x.dtype.kind not in "biuf":
            raise InputError(f"{setting}: {split} examples of {x.dtype}; must be numbers")
        if x.ndim < 2:
            raise InputError(
                f"{setting}: {split} examples of shape {list(x.shape)}; must be [N, features] or [N, height, width]"
            )
        if y is not None:
            if y.dtype.kind not in "iubU":
                raise InputError(f"{setting}: labels of {y.dtype}; must be whole numbers or texts")
            if y.shape != x.shape[:1]:
                raise InputError(
                    f"{setting}: {list(y.shape)} labels of {list(x.shape[:1])} {split} examples; must be one each"
                )
        if x.ndim > 4 or (x.ndim == 4 and x.shape[3] not in (1, 3)):
            x = x.reshape(len(x), -1)
        splits[split] = (x, y)
    return splits


def _arrays(key, path):
    """The arrays of a file by name; those of an .npy file stay on disk until they are needed."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{key}={path}: is not a file; must be .npy or .npz")
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"PK":  # a zip archive
                file.seek(0)
                with zipfile.ZipFile(file) as members:
                    check_memory(sum(member.file_size for member in members.infolist()), f"{key}={path}", "smaller")
                return archive.from_npz(file, packed=True)
        x = np.load(path, mmap_mode="r", allow_pickle=False)
        if x.dtype.kind in "iuf" and x.dtype not in (np.uint8, np.float32):  # else no copy is made of the whole
            check_memory(4 * x.size, f"{key}={path}: as float32", "smaller, or of float32 or uint8 with a data.limit")
        return {"x": x}
    except InputError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        objects = "bject" in str(error) or "pickle" in str(error)
        problem = "holds Python objects, or is no array file" if objects else f"cannot be read ({error})"
        raise InputError(f"{key}={path}: {problem}; only whole files of plain arrays can be read") from None
