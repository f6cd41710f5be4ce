"""Results -> a file, a folder of pictures or standard output, written whole or not at all."""

import dataclasses
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from aejax.base import archive
from aejax.base.errors import InputError
from aejax.base.files import whole, whole_folder, write_whole
from aejax.datasets.pixels import ENDINGS
from aejax.inference.files import pictures
from aejax.inference.files.reading import STREAM

if TYPE_CHECKING:
    from aejax.datasets.form import Form  # imports jax, which --help does not need

STREAMED = ("npy", "csv")  # formats of standard output


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How images become one picture: so many `columns` of a sheet, or the `signs` before each in a row.

    `images` are those that it shows, where these are not the result itself; `moves` if an animation can show them.
    """

    columns: int | None = None
    signs: Sequence[str] = ()
    images: np.ndarray | None = None
    moves: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """Arrays [N, …] by name, or of one example if `single`; the first is what a file of one array holds.

    `beside` are texts [N]: the name of the file and the label of each example, where they are known.
    """

    arrays: dict[str, np.ndarray]
    single: bool = False
    beside: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    drawing: Drawing = Drawing()

    @property
    def main(self) -> np.ndarray:
        """The first array."""
        return next(iter(self.arrays.values()))

    def rows(self) -> dict[str, np.ndarray]:
        """All arrays [N, …], what is beside them first."""
        arrays = {name: array[None] for name, array in self.arrays.items()} if self.single else self.arrays
        return self.beside | arrays


def is_folder(path: str) -> bool:
    """Whether results at `path` are a folder of pictures."""
    return path.endswith("/") or not Path(path).suffix or Path(path).is_dir()


def check_writable(path: str, endings: Sequence[str], overwrite: bool) -> None:
    """Raises InputError where nothing can be written to `path`: another ending, no such folder, something there.

    With `endings` of pictures a folder can be written.
    """
    if path == STREAM:
        return
    place, folders = Path(path).expanduser(), set(ENDINGS) <= set(endings)
    if is_folder(path):
        if not folders:
            raise InputError(f"{path}: is a folder, or has no ending; must be a file of {', '.join(endings)}, or -")
    elif place.suffix.lower() not in endings:
        allowed = ", ".join(endings) + ", a folder" * folders
        raise InputError(f"{path}: cannot be written by its ending; must be {allowed}, or -")
    parent = place.absolute().parent
    if not parent.is_dir():
        raise InputError(f"{path}: the folder {place.parent} does not exist")
    if not os.access(parent, os.W_OK):
        raise InputError(f"{path}: the folder {place.parent} cannot be written to")
    if not os.path.lexists(place) or (place.is_dir() and not any(place.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{path}: exists; --overwrite replaces it")
    if is_folder(path) and not place.is_dir():
        raise InputError(f"{path}: is a file; must be a folder, or a file of {', '.join(endings)}")
    if not is_folder(path) and not place.is_file():
        raise InputError(f"{path}: is no regular file; must be one, or - for standard output")
    if place.is_dir():
        others = [file for file in place.rglob("*") if not file.is_dir() and file.suffix.lower() not in ENDINGS]
        if others or place.is_symlink():
            what = f"holds {others[0].name}, which is no picture" if others else "is a link"
            raise InputError(f"{path}: {what}; only a folder of pictures is replaced")


def check_form(path: str, form: "Form") -> None:
    """Raises InputError where `path` is for pictures, and examples of this form have none."""
    if path != STREAM and (is_folder(path) or Path(path).suffix.lower() in ENDINGS):
        pictures.check_form(path, form)


def write(result: Result | bytes, path: str, form: "Form", scale: int | None = None, streamed: str = "npy") -> None:
    """Writes a result to `path`, in the format of its ending; `streamed` is that of standard output.

    Images are enlarged `scale` times, by default so that those of a sheet can be seen. Bytes stay as they are. Raises
    InputError where the format cannot hold the result.
    """
    if isinstance(result, bytes):
        if path == STREAM:
            sys.stdout.buffer.write(result)
        else:
            write_whole(Path(path).expanduser().resolve(), result, lasting=False)
        return
    if path == STREAM:
        if streamed == "npy" and sys.stdout.isatty():
            raise InputError("-: would write an .npy to the terminal; redirect it, or add --format csv")
        buffer = io.BytesIO()  # numpy writes into files that it can seek in only
        _write_arrays(buffer, f".{streamed}", result)
        sys.stdout.buffer.write(buffer.getbuffer())
        return
    place = Path(path).expanduser()
    ending = place.suffix.lower()
    check_form(path, form)
    if is_folder(path):
        _write_folder(place, result, scale or 1)
    elif ending in ENDINGS:
        write_whole(place.resolve(), _picture(result, form, ending, scale), lasting=False)
    else:
        with whole(place.resolve(), lasting=False) as file:
            _write_arrays(file, ending, result)


def _write_arrays(file: IO[bytes], ending: str, result: Result) -> None:
    if ending == ".npy":
        np.lib.format.write_array(file, np.ascontiguousarray(result.main), allow_pickle=False)
    elif ending == ".npz":
        np.savez(file, **archive.contiguous(result.beside | result.arrays))
    else:
        from aejax.inference.files import tables  # imports pyarrow

        columns: dict[str, Any] = {}
        for name, array in result.rows().items():
            columns |= tables.columns_of(name, array)
        tables.write(file, ending == ".csv", columns)


def _picture(result: Result, form: "Form", ending: str, scale: int | None) -> bytes:
    drawing = result.drawing
    if result.single and not drawing.signs:
        return pictures.encoded(pictures.enlarged(pictures.quantized(result.main[None]), scale or 1)[0], ending)
    images = result.main if drawing.images is None else drawing.images
    images = pictures.enlarged(pictures.quantized(images), scale or pictures.scale_of(form))
    if drawing.moves and ending in pictures.MOVING:
        return pictures.animated(images, ending)
    if drawing.signs:
        return pictures.encoded(pictures.equation(images, drawing.signs), ending)
    return pictures.encoded(pictures.sheet(images, drawing.columns or int(np.ceil(len(images) ** 0.5))), ending)


def _write_folder(place: Path, result: Result, scale: int) -> None:
    """Writes each image as a .png, named as the picture that it was made from, or by its number."""
    rows = result.rows()
    images = rows["x"]
    names = _names(result.beside.get("name"), len(images))
    with whole_folder(place.resolve()) as folder:
        for name, image in zip(names, images, strict=True):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pictures.encoded(pictures.enlarged(pictures.quantized(image[None]), scale)[0], ".png"))


def _names(given: np.ndarray | None, count: int) -> list[str]:
    """The file of each of so many images, below the folder: numbers where no names are given, or where they clash."""
    if given is not None:
        paths = [Path(name) for name in given.tolist()]
        outside = [path for path in paths if path.is_absolute() or ".." in path.parts or not path.name]
        if outside or any("\0" in str(path) for path in paths):
            raise InputError(f"name {str([*outside, ''][0])!r}: must be a path below the folder that is written")
        for files in ([path.with_suffix(".png") for path in paths], [Path(f"{path}.png") for path in paths]):
            folders = {folder for file in files for folder in file.parents}
            if len(set(files)) == count and folders.isdisjoint(files):
                return [str(file) for file in files]
    digits = max(4, len(str(count - 1)))
    return [f"{number:0{digits}}.png" for number in range(count)]
