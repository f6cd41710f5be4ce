"""Encoded images -> uint8 arrays, by Pillow."""

import io

import numpy as np
from PIL import Image

GREY = ("1", "L", "LA", "I", "I;16", "I;16B")  # Pillow's modes of images without colour


def kind_of_image(octets):
    """The kind, grey or rgb, of an encoded image."""
    return "grey" if _opened(octets).mode in GREY else "rgb"


def decoded(octets, kind):
    """An encoded image as uint8 [H, W, 1] for the kind grey, [H, W, 3] for rgb."""
    return pixels(_opened(octets), kind)


def _opened(octets):
    return Image.open(io.BytesIO(octets))


def pixels(image, kind):
    """A Pillow image as uint8 [H, W, 1] for the kind grey, [H, W, 3] for rgb; transparency lies on black."""
    mode = {"grey": "L", "rgb": "RGB"}[kind]
    if image.mode == mode and not image.info.get("transparency"):  # most are so
        return np.asarray(image).reshape(image.height, image.width, -1)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert(mode)).reshape(image.height, image.width, -1)
