"""Examples as they are stored: which of them are bits, bytes or floats, and how they come back."""

import dataclasses
from typing import Any

import numpy as np

from aejax.base.errors import InputError
from aejax.compression.residuals import rounded
from aejax.inference.examples import Examples


@dataclasses.dataclass(frozen=True)
class Content:
    """Examples as `values` [N, H, W, C]: uint8 where `form` is "bits" or "bytes", float32 where it is "floats".

    `type` is the type in which they come back: floats of bits are 0 and 1, floats of bytes are fractions from 0 to 1.
    """

    values: np.ndarray
    form: str
    type: str

    @classmethod
    def of(cls, x: Any, examples: Examples, lossless: bool) -> "Content":
        """That of checked examples; raises InputError for floats of more digits than float32 has, if lossless."""
        x = np.asarray(x)
        x = x.reshape(-1, *examples.form.shape)
        x = as_images(x.astype(np.uint8) if x.dtype.kind == "b" else x)
        is_pixels, is_whole = examples.form.kind != "real", x.dtype.kind in "iu"
        if is_pixels and is_whole:
            is_bits = examples.form.kind == "binary" and x.max() <= 1
            return cls(x.astype(np.uint8), "bits" if is_bits else "bytes", "uint8")
        if is_pixels and lossless and x.dtype.name in ("float32", "float64"):
            stored = rounded(x)
            for form, values in (("bits", (stored > 0).astype(np.uint8)), ("bytes", stored)):
                if (form == "bytes" or examples.form.kind == "binary") and _same(typed(values, form, x.dtype.name), x):
                    return cls(values, form, x.dtype.name)
        values = x.astype(np.float32)
        if lossless and not np.array_equal(values.astype(np.float64), x.astype(np.float64)):
            raise InputError(f"x: {x.dtype} with more digits than float32 has; lossless takes what float32 holds")
        return cls(values, "floats", "float32")


def lossy(decoded: np.ndarray, form: str) -> np.ndarray:
    """Decoded images or values, float32, as values of this form."""
    if form == "floats":
        return decoded
    return (decoded >= 0.5).astype(np.uint8) if form == "bits" else rounded(decoded)


def typed(values: np.ndarray, form: str, type_: str) -> np.ndarray:
    """Stored values in the type in which they come back."""
    if form == "floats" or type_ == "uint8":
        return values
    return values.astype(type_) / np.dtype(type_).type(1 if form == "bits" else 255)


def fractions(values: np.ndarray, form: str) -> np.ndarray:
    """Stored values in the unit of errors: images from 0 to 1."""
    return values.astype(np.float32) / np.float32(255) if form == "bytes" else values.astype(np.float32)


def as_images(x: np.ndarray) -> np.ndarray:
    """Examples [N, F] as [N, 1, F, 1], others as they are."""
    return x[:, None, :, None] if x.ndim == 2 else x


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.tobytes() == second.tobytes()
