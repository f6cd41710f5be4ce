"""How examples are stored in memory: uint8 or float32, images with channels last; and a part of them at a time."""

import numpy as np

KINDS = ("binary", "gray", "rgb", "real")


def stored(x, kind=None):
    """An array as a Dataset stores it, without a copy if it already fits; None if it cannot.

    Truth values become 0 and 1, images of one channel [N, H, W] get it as an axis, numbers become float32; but with
    a `kind` of images, whole numbers become uint8, and fractions in [0, 1] their nearest 255th.
    """
    if x.dtype == bool:
        x = x.view(np.uint8)
    elif x.dtype.kind not in "iuf":
        return None
    if kind in ("binary", "gray", "rgb") and x.dtype != np.uint8:
        if x.dtype.kind == "f" and kind != "binary" and x.size and x.min() >= 0 and x.max() <= 1:
            x = np.round(x * 255)
        if x.size and not (x.min() >= 0 and x.max() <= 255 and (x == np.round(x)).all()):  # nan fails too
            return None
        x = x.astype(np.uint8)
    elif kind == "real" or x.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what becomes inf is refused with the others
            x = x.astype(np.float32, copy=False)
    return x[..., None] if x.ndim == 3 else x


def kind_of(x):
    """The kind of data that are stored in this way."""
    if x.dtype != np.uint8:
        return "real"
    if x.ndim == 4 and x.shape[3] == 3:
        return "rgb"
    return "binary" if x.size and x.max() <= 1 else "gray"


def in_parts(x, rows=4096):
    """Parts of an array, so that a computation on it takes little memory."""
    return (x[start : start + rows] for start in range(0, len(x), rows))
