"""Images as pictures: read from files and folders; drawn as sheets, rows and animations, pixel for pixel."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aejax.base.errors import InputError
from aejax.datasets.folders import Folder
from aejax.datasets.pixels import ENDINGS, large_allowed, opened, pixels, resized

if TYPE_CHECKING:
    from aejax.datasets.form import Form  # imports jax, which --help does not need

MOVING = (".gif", ".webp")  # endings of animations
SIDE = 64  # pixels that the longer side of a small image is enlarged to, at the most
GAP = 2  # pixels between images
FRAME, PAUSE = 80, 600  # milliseconds that an image of an animation stays, and its first and last
MOST = 2**26  # pixels of a picture
WHITE = 255
PAPER = {1: 128, 3: WHITE}  # around images by their channels; gray beside black and white ones
SAVED: dict[str, dict[str, Any]] = {
    ".webp": {"lossless": True, "exact": True},
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
}  # the settings of Pillow that keep most


def check_form(source: str, form: "Form") -> None:
    """Raises InputError, which begins with the `source`, where examples of this form are no images."""
    if form.kind == "real" or len(form.shape) != 3 or form.channels not in (1, 3):
        shape = " x ".join(map(str, form.shape))
        raise InputError(
            f"{source}: {form.name} has no pictures: its examples are {shape} {form.kind} values; "
            "must be .npy, .npz, .csv or .parquet"
        )


def read(path: Path, form: "Form", resize: str | None) -> np.ndarray:
    """The picture of a file as bytes [H, W, C] of the form; `resize` brings others to its size, by crop or stretch.

    Raises InputError where it cannot be read, or is of another size.
    """
    height, width = form.shape[:2]
    try:
        with large_allowed(), opened(path, path) as image:
            if image.size != (width, height) and resize is None:
                raise InputError(
                    f"{path}: {image.height} x {image.width} pixels; must be {height} x {width}, "
                    "or be brought there by --resize crop or --resize stretch"
                )
            image = image if resize is None else resized(image, (height, width), resize)
            return pixels(image, "gray" if form.channels == 1 else "rgb")
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        raise InputError(f"{path}: cannot be read as a picture") from None


def read_folder(path: Path, form: "Form", resize: str | None) -> dict[str, np.ndarray]:
    """The pictures of a folder as bytes x [N, H, W, C], each one's name [N], and its class folder as its label [N].

    Raises InputError that names pictures which cannot be read or are of another size.
    """
    folder = Folder.read(path, ENDINGS, "IN")
    x = np.empty((len(folder.files), *form.shape), np.uint8)

    def fill(number: int) -> str | None:
        try:
            x[number] = read(folder.files[number], form, resize)
        except InputError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        problems = [problem for problem in pool.map(fill, range(len(x))) if problem]
    if problems:
        rest = f" ({len(problems)} of {len(x)} pictures do not fit)" if len(problems) > 1 else ""
        raise InputError(problems[0] + rest)
    arrays = {"x": x, "name": folder.named(range(len(x)))}
    if folder.labels is not None:
        arrays["label"] = np.array(folder.names)[folder.labels]
    return arrays


def quantized(x: np.ndarray) -> np.ndarray:
    """Fractions as the nearest bytes; bytes as they are."""
    if x.dtype == np.uint8:
        return x
    return np.rint(np.clip(x, 0, 1) * WHITE).astype(np.uint8)


def scale_of(form: "Form") -> int:
    """By how much images are enlarged so that they can be seen."""
    return max(1, SIDE // max(form.shape[:2]))


def enlarged(images_NxHxWxC: np.ndarray, scale: int) -> np.ndarray:
    """Each pixel as `scale` x `scale` of its color. Raises InputError for more than MOST pixels."""
    count, height, width, _ = images_NxHxWxC.shape
    size = count * height * width * scale**2
    if size > MOST:
        raise InputError(
            f"--scale {scale}: {count:,} of {height} x {width} are {size:,} pixels; must be at most {MOST:,}: "
            "lower --scale, choose --rows, or name a folder, which takes each image as a picture"
        )
    return images_NxHxWxC.repeat(scale, axis=1).repeat(scale, axis=2)


def sheet(images_NxHxWxC: np.ndarray, columns: int) -> np.ndarray:
    """Images in rows of so many columns, [H, W, C], on paper."""
    count, height, width, channels = images_NxHxWxC.shape
    rows = -(-count // columns)
    size = rows * (height + GAP) + GAP, columns * (width + GAP) + GAP
    paper = np.full((*size, channels), PAPER[channels], np.uint8)
    for number, image in enumerate(images_NxHxWxC):
        row, column = divmod(number, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        paper[top : top + height, left : left + width] = image
    return paper


def equation(images_NxHxWxC: np.ndarray, signs: Sequence[str]) -> np.ndarray:
    """Images in a row, [H, W, C], the sign `+`, `-` or `=` before each; an empty one takes no place."""
    _, height, _, channels = images_NxHxWxC.shape
    parts = []
    for image, sign in zip(images_NxHxWxC, signs, strict=True):
        drawn = [_sign(sign, height, channels)] if sign else []
        parts += [sheet(part[None], 1) for part in (*drawn, image)]
    return np.concatenate(parts, axis=1)


def _sign(sign: str, height: int, channels: int) -> np.ndarray:
    """Black bars on paper, [height, about height / 2, channels]."""
    half = max(3, height // 4)  # the length of a bar on either side of the middle
    thick = max(1, half // 5)
    middle, axis = height // 2, half
    picture = np.full((height, 2 * half + 1, channels), PAPER[channels], np.uint8)
    long = slice(half // 4, 2 * half + 1 - half // 4)
    shifts = (-half // 2, half // 2) if sign == "=" else (0,)
    for shift in shifts:
        picture[middle + shift - thick // 2 : middle + shift + -(-thick // 2), long] = 0
    if sign == "+":
        bar = slice(middle - (half - half // 4), middle + half - half // 4)
        picture[bar, axis - thick // 2 : axis + -(-thick // 2)] = 0
    return picture


def encoded(image_HxWxC: np.ndarray, ending: str) -> bytes:
    """An image as the bytes of a picture file with this ending."""
    file = io.BytesIO()
    _pillow(image_HxWxC).save(file, Image.registered_extensions()[ending], **SAVED.get(ending, {}))
    return file.getvalue()


def animated(images_NxHxWxC: np.ndarray, ending: str) -> bytes:
    """Images one after another, again and again, as the bytes of a .gif or .webp."""
    frames = [_pillow(image) for image in images_NxHxWxC]
    if ending == ".gif":
        frames = [frame if frame.mode == "L" else frame.quantize(256) for frame in frames]
    times = [FRAME] * len(frames)
    times[0] = times[-1] = PAUSE
    file = io.BytesIO()
    settings = {"duration": times, "loop": 0, "save_all": True, "append_images": frames[1:]} | SAVED.get(ending, {})
    frames[0].save(file, ending[1:].upper(), **settings)
    return file.getvalue()


def _pillow(image_HxWxC: np.ndarray) -> Image.Image:
    return Image.fromarray(image_HxWxC[..., 0] if image_HxWxC.shape[2] == 1 else image_HxWxC)
