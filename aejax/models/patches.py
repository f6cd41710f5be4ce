"""Square patches of images: how large they are, how many, and images cut into them."""

import jax
import jax.numpy as jnp

ALONG = 8  # how many patches lie along the longer side of an image, unless a setting says how large they are
SMALLEST = 2  # side in pixels


def side_of(patch: int | None, shape: tuple[int, ...]) -> int:
    """The side of a patch in pixels: `patch`, or without it an eighth of the longer side of the image, rounded up."""
    return max(SMALLEST, -(-max(shape[:2]) // ALONG)) if patch is None else patch


def places(side: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of patches; those at the bottom and right may be cut off."""
    return -(-shape[0] // side), -(-shape[1] // side)


def patched(maps: jax.Array, side: int) -> jax.Array:
    """[B, H, W, C] -> [B, T, side * side * C]: square patches row by row; 0 beyond the bottom and the right."""
    examples, height, width, channels = maps.shape
    rows, columns = places(side, (height, width))
    maps = jnp.pad(maps, ((0, 0), (0, rows * side - height), (0, columns * side - width), (0, 0)))
    blocks = maps.reshape(examples, rows, side, columns, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(examples, rows * columns, side * side * channels)


def unpatched(patches: jax.Array, side: int, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of `patched`, for maps of `shape` (H, W, C)."""
    height, width, channels = shape
    rows, columns = places(side, shape)
    blocks = patches.reshape(-1, rows, columns, side, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(-1, rows * side, columns * side, channels)[:, :height, :width]
