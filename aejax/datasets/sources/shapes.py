"""Images of one shape each, drawn here, whose factors are known: for metrics of disentanglement.

The image spans -1 to 1 along both axes. Every combination of these values is one example of the full grid:

| factor | values |
| --- | --- |
| shape | square, ellipse, heart |
| scale | 6 radii from 0.24 to 0.45 |
| rotation | 8 angles of a quarter turn, 0 to 78.75 degrees clockwise, so that no two values make the same square |
| x, y | 16 positions of the center each, from -0.5 (left, top) to 0.5 |
| color | 6 hues, 60 degrees apart (with color=rgb) |

A pixel's brightness is the share of it that the shape covers, taken from the signed distance of its center to the
outline.
"""

import colorsys

import numpy as np
from flax import struct

from aejax.base.devices import check_memory
from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset, Split
from aejax.settings.fields import static_choice, static_int

SHAPES = ("square", "ellipse", "heart")
RADII = np.linspace(0.24, 0.45, 6)
ANGLES = np.arange(8) * (np.pi / 16)
PLACES = np.linspace(-0.5, 0.5, 16)
HUES = np.array([colorsys.hsv_to_rgb(hue / 6, 0.8, 1.0) for hue in range(6)])
VALUES = {"shape": SHAPES, "scale": RADII, "rotation": ANGLES, "x": PLACES, "y": PLACES, "color": HUES}
SIZES = (32, 64)
DRAWN = 1000  # images at a time
HALF_SIDE = 0.75  # of the square; all measures of shapes are in radii
SEMI_AXES = 1.0, 0.6  # of the ellipse
HEART_SIDE = 1.1  # of the square that stands on its corner in the heart, with a half disc on each of its upper sides


@struct.dataclass
class Shapes:
    """White or colored shapes on black; conf/data/shapes.yaml explains the settings."""

    examples: int = static_int(100, 1_000_000)
    size: int = static_int(*SIZES)
    color: str = static_choice("gray", "rgb")
    generator_seed: int = static_int(0, 2**32 - 1)

    def load(self):
        """The Dataset, gray [N, size, size, 1] or rgb [N, size, size, 3]; the label is the shape."""
        if self.size not in SIZES:
            raise InputError(f"data.size={self.size}: must be one of {', '.join(map(str, SIZES))}")
        names = tuple(name for name in VALUES if name != "color" or self.color == "rgb")
        lengths = tuple(len(VALUES[name]) for name in names)
        grid = int(np.prod(lengths))
        if self.examples >= grid:
            cells = np.arange(grid)
        else:
            cells = np.random.default_rng(self.generator_seed).choice(grid, self.examples, replace=False)
        octets = len(cells) * self.size**2 * (3 if self.color == "rgb" else 1)
        check_memory(octets, f"data.examples={self.examples}: {len(cells):,} images", "fewer")
        factors = np.stack(np.unravel_index(cells, lengths), axis=1).astype(np.int32)
        note = f"{len(cells):,} of the {grid:,} combinations of the factors {', '.join(names)}"
        split = Split(drawn(factors, self.size), factors[:, 0].copy(), factors=factors)
        license = "part of aejax, MIT"
        return Dataset("shapes", self.color, split, label_names=SHAPES, note=note, license=license, factor_names=names)


def drawn(factors_NxF, size):
    """The images uint8 [N, size, size, C] of factors [N, F] in the order of VALUES; without a color C is 1, else 3."""
    images = np.empty((len(factors_NxF), size, size, 1 if factors_NxF.shape[1] == 5 else 3), np.uint8)
    for start in range(0, len(images), DRAWN):
        part = factors_NxF[start : start + DRAWN]
        brightness = 255 * covered(part, size)[..., None]
        if images.shape[3] == 3:
            brightness = brightness * HUES[part[:, 5], None, None, :].astype(np.float32)
        images[start : start + DRAWN] = np.round(brightness)
    return images


def covered(factors_NxF, size):
    """The share of each pixel that the shape covers, float32 [N, size, size]."""
    shape_N, scale_N, rotation_N, x_N, y_N = factors_NxF[:, :5].T
    center_S = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    radius, angle, x, y = (
        values[index_N].astype(np.float32)[:, None, None]
        for values, index_N in ((RADII, scale_N), (ANGLES, rotation_N), (PLACES, x_N), (PLACES, y_N))
    )
    right, down = (center_S[None, None, :] - x) / radius, (center_S[None, :, None] - y) / radius
    along, across = np.cos(angle) * right + np.sin(angle) * down, np.cos(angle) * down - np.sin(angle) * right
    distance = np.empty(along.shape, np.float32)
    for number, outside in enumerate((square, ellipse, heart)):
        rows = shape_N == number
        distance[rows] = outside(along[rows], across[rows])
    return np.clip(0.5 - distance * radius * (size / 2), 0, 1)


# The signed distance of points to a shape of radius 1 at the origin, negative inside; `v` points down.


def square(u, v, half_side=HALF_SIDE):
    """Distance to a square along the axes."""
    beyond_u, beyond_v = np.abs(u) - half_side, np.abs(v) - half_side
    corner = np.hypot(np.maximum(beyond_u, 0), np.maximum(beyond_v, 0))
    return corner + np.minimum(np.maximum(beyond_u, beyond_v), 0)


def ellipse(u, v):
    """Distance to an ellipse, of first order: the implicit function over the length of its gradient."""
    a, b = SEMI_AXES
    level, slope = np.hypot(u / a, v / b), np.hypot(u / a**2, v / b**2)
    return np.where(level > 0, level * (level - 1) / np.maximum(slope, 1e-6), -b)


def heart(u, v):
    """Distance to a square on its corner and two discs, whose union is a heart."""
    diamond = square((u + v) * np.sqrt(0.5), (u - v) * np.sqrt(0.5), HEART_SIDE / 2)
    middle = HEART_SIDE / np.sqrt(8)  # of an upper side
    return np.minimum(diamond, np.hypot(np.abs(u) - middle, v + middle) - HEART_SIDE / 2)
