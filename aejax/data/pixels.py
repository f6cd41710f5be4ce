"""Encoded images -> uint8 arrays of one size, by Pillow."""

import io

import numpy as np
from PIL import Image

from aejax.errors import InputError

GREY = ("1", "L", "LA", "I", "I;16", "I;16B")  # Pillow's modes of images without colour


def as_pixels(encoded, told):
    """The images [N, H, W, C] of encoded ones, and their kind, grey or rgb; raises InputError where sizes differ."""
    kind = "grey" if opened(encoded[0]).mode in GREY else "rgb"
    x_NxHxWxC = None
    for place, octets in enumerate(encoded):
        image_HxWxC = pixels(opened(octets), kind)
        if x_NxHxWxC is None:
            x_NxHxWxC = np.empty((len(encoded), *image_HxWxC.shape), np.uint8)
        if image_HxWxC.shape != x_NxHxWxC.shape[1:]:
            sizes = " and ".join(f"{height} x {width}" for height, width, _ in (x_NxHxWxC.shape[1:], image_HxWxC.shape))
            raise InputError(f"{told}: images of {sizes} pixels; must be of one size")
        x_NxHxWxC[place] = image_HxWxC
    return x_NxHxWxC, kind


def opened(octets):
    """The image that is encoded in bytes."""
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
