"""Files -> examples or codes, with their labels and names."""

import dataclasses
import io
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aejax.base import archive
from aejax.base.errors import InputError
from aejax.datasets.pixels import ENDINGS
from aejax.inference.files import pictures

ARRAYS = (".npy", ".npz")
TABLES = (".csv", ".parquet")
READABLE = (*ARRAYS, *TABLES, *ENDINGS)
STREAM = "-"  # standard input or output
MAGIC = b"\x93NUMPY"  # the first bytes of an .npy
BESIDE = ("y", "label", "name", "index")  # arrays of an .npz that are neither examples nor codes


@dataclasses.dataclass(frozen=True)
class Given:
    """Examples or codes of a file, [N, …] or one if `single`, with labels [N] and names [N] where it has them."""

    source: str
    values: np.ndarray
    labels: Any = None
    names: Any = None
    single: bool = False

    def rows(self, numbers: list[int]) -> "Given":
        """Those of these numbers, from 0; raises InputError where there are fewer."""
        count = len(self.values)
        wrong = [number for number in numbers if not 0 <= number < count]
        if wrong:
            raise InputError(f"rows={wrong[0]}: {self.source} holds {count}; must be from 0 to {count - 1}")
        labels, names = (None if array is None else array[numbers] for array in (self.labels, self.names))
        return Given(self.source, self.values[numbers], labels, names)


def check_readable(path: str, endings: Sequence[str] = READABLE) -> None:
    """Raises InputError where `path` is neither - nor a file of one of the endings, nor a folder if one can be read."""
    if path == STREAM:
        return
    file = Path(path).expanduser()
    folders = set(ENDINGS) <= set(endings)
    if file.is_dir() and folders:
        return
    if not file.exists():
        raise InputError(f"{path}: does not exist; must be a file, a folder of pictures, or - for standard input")
    if file.is_dir() or file.suffix.lower() not in endings:
        allowed = ", ".join(endings) + ", a folder of pictures" * folders
        raise InputError(f"{path}: cannot be read by its ending; must be {allowed}, or -")
    if file.is_file() and not file.stat().st_size:
        raise InputError(f"{path}: is empty")


def read(path: str, examples: Any, letter: str, resize: str | None = None) -> Given:
    """What a file, a folder of pictures or standard input (-) holds: examples if the `letter` is x, codes if it is z.

    `examples` are an `aejax.inference.examples.Examples`. Raises InputError, with the path, for what cannot be read.
    """
    check_readable(path)
    if path == STREAM:
        data = sys.stdin.buffer.read()
        if not data:
            raise InputError("-: standard input is empty; must be an .npy or a .csv")
        if data.startswith(MAGIC):
            return Given(path, _npy(path, io.BytesIO(data)))
        return _given(path, _table(path, data, True, letter), letter)
    file = Path(path).expanduser()
    ending = file.suffix.lower()
    if file.is_dir() or ending in ENDINGS:
        if letter == "z":
            raise InputError(f"{path}: pictures are no codes; must be {', '.join((*ARRAYS, *TABLES))}, or -")
        return _pictures(path, file, examples, resize)
    if ending == ".npy":
        return Given(path, _npy(path, file))
    if ending == ".npz":
        return _given(path, _npz(path, file), letter)
    return _given(path, _table(path, file.read_bytes(), ending == ".csv", letter), letter)


def _given(source: str, arrays: dict[str, np.ndarray], letter: str) -> Given:
    """Of the arrays of a file the one that the letter names, or the only one."""
    others = [name for name in arrays if name not in BESIDE]
    name = letter if letter in arrays else others[0] if len(others) == 1 else None
    if name is None:
        raise InputError(f"{source}: holds {', '.join(arrays) or 'nothing'}; must hold {letter}, or a single array")
    values, labels = arrays[name], arrays.get("label", arrays.get("y"))
    if not values.ndim:
        raise InputError(f"{source}: {name} is a single number; must be an array")
    for beside, array in (("label", labels), ("name", arrays.get("name"))):
        if array is not None and array.shape != values.shape[:1]:
            raise InputError(f"{source}: {beside} has the shape {list(array.shape)} beside {name} {list(values.shape)}")
    names = arrays.get("name")
    return Given(source, values, labels, None if names is None else names.astype(str))


def _table(source: str, data: bytes, is_csv: bool, letter: str) -> dict[str, np.ndarray]:
    from aejax.inference.files import tables  # imports pyarrow

    return tables.read(source, data, is_csv, letter)


def _pictures(path: str, file: Path, examples: Any, resize: str | None) -> Given:
    pictures.check_form(path, examples.form)
    if file.is_dir():
        arrays = pictures.read_folder(file, examples.form, resize)
    else:
        arrays = {"x": pictures.read(file, examples.form, resize)}
    if examples.form.kind == "binary" and examples.binarize == "none":  # whole numbers would have to be 0 and 1
        arrays["x"] = arrays["x"] * np.float32(1 / pictures.WHITE)
    return Given(path, arrays["x"], arrays.get("label"), arrays.get("name"))


def _npy(source: str, file: Any) -> np.ndarray:
    """The array of an .npy, which stays on disk where it is a file; raises InputError."""
    try:
        if isinstance(file, Path):
            return np.load(file, mmap_mode="r", allow_pickle=False)
        return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(_damaged(source, error)) from None


def _npz(source: str, path: Path) -> dict[str, np.ndarray]:
    from aejax.base.devices import check_memory  # imports jax

    try:
        with open(path, "rb") as file:
            with zipfile.ZipFile(file) as members:
                check_memory(sum(member.file_size for member in members.infolist()), source, "smaller")
            return archive.from_npz(file, packed=True)
    except InputError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(_damaged(source, error)) from None


def _damaged(source: str, error: Exception) -> str:
    text = str(error).partition("\n")[0]
    objects = "bject" in text or "pickle" in text
    return f"{source}: {'holds Python objects' if objects else f'cannot be read ({text})'}; must hold plain arrays"
