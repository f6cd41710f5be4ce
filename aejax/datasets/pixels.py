"""Encoded images -> uint8 arrays, by Pillow."""

import contextlib
import io
import re
import warnings

import numpy as np
from PIL import Image, ImageOps

from aejax.base.errors import InputError

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")  # of files of images
GRAY = ("1", "L", "LA", "I", "I;16", "I;16B")  # Pillow's modes of images without color


MOST_PIXELS = 2 * 89_478_485  # of an encoded image; beyond, Pillow takes it for an attack on the memory


@contextlib.contextmanager
def opened(source, prefix):
    """The Pillow image of a path or a file; raises InputError, which begins with `prefix`, if it is too large.

    Nothing is decoded yet.
    """
    try:
        image = Image.open(source)
    except Image.DecompressionBombError as error:
        number = int(re.search(r"\d+", str(error))[0])
        raise InputError(f"{prefix}: an image of {number:,} pixels; the most are {MOST_PIXELS:,}") from None
    with image:
        yield image


@contextlib.contextmanager
def large_allowed():
    """Silences Pillow's warning of images with more than half of MOST_PIXELS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def kind_of_image(octets):
    """The kind, gray or rgb, of an encoded image."""
    with opened(io.BytesIO(octets), "data") as image:
        return "gray" if image.mode in GRAY else "rgb"


def decoded(octets, kind):
    """An encoded image as uint8 [H, W, 1] for the kind gray, [H, W, 3] for rgb."""
    with opened(io.BytesIO(octets), "data") as image:
        return pixels(image, kind)


def resized(image, size, how):
    """A Pillow image in the size (height, width): `crop` keeps its proportions and its middle, `stretch` all of it."""
    image = image.convert("RGB") if image.mode == "P" else image
    return ImageOps.fit(image, size[::-1]) if how == "crop" else image.resize(size[::-1], Image.Resampling.BICUBIC)


def pixels(image, kind):
    """A Pillow image as uint8 [H, W, 1] for the kind gray, [H, W, 3] for rgb; transparency lies on black."""
    mode = {"gray": "L", "rgb": "RGB"}[kind]
    if image.mode == mode and not image.info.get("transparency"):  # as most are
        return np.asarray(image).reshape(image.height, image.width, -1)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert(mode)).reshape(image.height, image.width, -1)
