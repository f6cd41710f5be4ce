"""What users hand over as examples, codes and labels, checked and brought into the form that a model was trained on."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from aejax.base.errors import InputError, matches
from aejax.datasets.form import Form
from aejax.datasets.splits import WHITE
from aejax.datasets.standardization import Standardization

FLOAT32 = float(np.finfo(np.float32).max)
SHORT_FLOATS = ("bfloat16", "float8_e4m3fn", "float8_e5m2")  # of JAX, which numpy does not know as numbers
SLACK = 1e-6  # beyond 0 and 1: rounding of fractions


@dataclasses.dataclass(frozen=True)
class Rows:
    """Checked examples or codes [N, …]; `single` where one was given without the axis N."""

    values: np.ndarray
    single: bool

    def __len__(self) -> int:
        return len(self.values)

    def of(self, results: np.ndarray) -> np.ndarray:
        """The results of these rows [N, …], without the axis N for a single one."""
        return results[0] if self.single else results


@dataclasses.dataclass(frozen=True)
class Examples:
    """How arrays become examples of a run: its data's `form`, `binarize`, `labels` and `standardization`.

    Whole numbers of a run whose data are binarized are bytes, but for examples of 0 and 1 alone.
    """

    form: Form
    binarize: str
    labels: tuple[str, ...]
    standardization: Standardization | None

    def rows(self, x: Any, noisy: bool = False) -> Rows:
        """Examples as they are given, flat; raises InputError for another shape or type, nan, or another range.

        `noisy` fractions may lie outside of [0, 1].
        """
        x = _numbers("x", x)
        single = self.is_single(x.shape)
        if not x.size:
            raise InputError(f"x: shape {list(x.shape)}; must hold at least one example")
        if self.form.kind != "real":
            self._check_pixels(x, noisy)
        return Rows(x.reshape(1 if single else len(x), -1), single)

    def seen(self, rows_BxP: np.ndarray, noisy: bool = False) -> np.ndarray:
        """Checked rows as the encoder sees them, float32.

        Images of bytes become fractions, and where the run's were binarized at a threshold 0 and 1, as do fractions
        that are not `noisy`; values of real data are standardized if those of the run were.
        """
        if self.form.kind != "real":
            return self.pixels(rows_BxP, noisy)
        if self.standardization is None:
            return rows_BxP.astype(np.float32)
        with np.errstate(over="ignore"):
            standardized = self.standardization(rows_BxP.reshape(-1, *self.form.shape)).reshape(rows_BxP.shape)
        if not np.isfinite(standardized).all():
            raise InputError("x: values so far from those of the training data that float32 cannot hold them")
        return standardized

    @property
    def most(self) -> int:
        """The largest whole number that a pixel can be."""
        return 1 if self.form.kind == "binary" and self.binarize == "none" else 255

    def pixels(self, x: Any, noisy: bool = False) -> Any:
        """Checked images [N, …] as fractions, float32: numpy arrays, or JAX arrays in a program."""
        values = x.astype(np.float32)
        if x.dtype.kind not in "iu":
            is_cut = self.binarize == "threshold" and not noisy
            return (values >= np.float32(WHITE / 255)).astype(np.float32) if is_cut else values
        if self.most == 1:
            return values
        bytes_as = (x >= WHITE).astype(np.float32) if self.binarize == "threshold" else values * np.float32(1 / 255)
        if self.form.kind != "binary":
            return bytes_as
        axes, where = tuple(range(1, x.ndim)), x.__array_namespace__().where
        return where(x.max(axis=axes, keepdims=True) > 1, bytes_as, values)  # 0 and 1 are binary pixels already

    def is_single(self, actual: Sequence[int]) -> bool:
        """Whether an array of this shape is one example, not [N, …]; raises InputError where it is neither."""
        shape, wanted = self.form.shape, ", ".join(map(str, self.form.shape))
        if _is_shape(actual, shape):
            return True
        if len(actual) and (_is_shape(actual[1:], shape) or tuple(actual[1:]) == (self.form.pixels,)):
            return False
        raise InputError(f"x: shape {list(actual)}; must be [{wanted}], one example, or [N, {wanted}]")

    def images(self, x_NxP: np.ndarray) -> np.ndarray:
        """What a decoder returns, [N, P], in the shape and the unit of the data: pixels are fractions from 0 to 1."""
        x = x_NxP.reshape(-1, *self.form.shape)
        return x if self.standardization is None else self.standardization.undone(x)

    def numbers(self, label: Any, count: int) -> np.ndarray:
        """The number of each label [N] int32, given as names or numbers, one for all or one for each of `count`."""
        values = np.asarray(label)
        if values.ndim == 0:
            values = np.broadcast_to(values, (count,))
        if values.shape != (count,):
            raise InputError(f"label: shape {list(values.shape)}; must be one label, or one for each of {count}")
        if values.dtype.kind == "U":
            values = np.array([self.number(name) for name in values.tolist()])
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= self.form.classes:
            raise InputError(f"label={label}: must be names of labels, or numbers from 0 to {self.form.classes - 1}")
        return values.astype(np.int32)

    def number(self, name: str) -> int:
        """The number of the label of this name."""
        if name not in self.labels:
            some = f"there are {len(self.labels)}, such as {', '.join(self.labels[:5])}" if self.labels else "none"
            raise InputError(f"no label {name}; {matches(name, self.labels)}{some}")
        return self.labels.index(name)

    def _check_pixels(self, x: np.ndarray, noisy: bool) -> None:
        is_whole, low, high = x.dtype.kind in "iu", x.min(), x.max()
        if is_whole and not 0 <= low <= high <= self.most:
            raise InputError(f"x: whole numbers from {low} to {high}; must be from 0 to {self.most}")
        if not is_whole and not noisy and not -SLACK <= low <= high <= 1 + SLACK:
            raise InputError(f"x: values from {low:.6g} to {high:.6g}; must be fractions from 0 to 1, or bytes")


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number within bounds; raises InputError for all else."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise InputError(f"{name}={value}: must be a whole number from {low:,} to {high:,}")
    return int(value)


def codes(z: Any, units: int) -> Rows:
    """Codes [Z] or [N, Z]; raises InputError for another shape or type, or nan."""
    z = _numbers("z", z)
    single = z.ndim == 1
    if z.ndim not in (1, 2) or z.shape[-1] != units or not z.size:
        raise InputError(f"z: shape {list(z.shape)}; must be [{units}], one code, or [N, {units}]")
    return Rows(z.reshape(-1, units).astype(np.float32), single)


def indices(values: Any, ranges: Sequence[range]) -> Rows:
    """Indices [T] or [N, T] int32 of the positions of discrete codes, each within the range of its position.

    Raises InputError for another shape, type or range.
    """
    array, positions = _numbers("indices", values), len(ranges)
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2) or array.shape[-1] != positions or not array.size:
        shape = f"shape {list(array.shape)} of {array.dtype}"
        raise InputError(f"indices: {shape}; must be whole numbers [{positions}] or [N, {positions}]")
    rows = array.reshape(-1, positions)
    first, last = np.array([(allowed[0], allowed[-1]) for allowed in ranges]).T
    outside = (rows < first) | (rows > last)
    if outside.any():
        row, place = np.argwhere(outside)[0]
        allowed = f"from {first[place]:,} to {last[place]:,}"
        raise InputError(f"indices: {rows[row, place]} at position {place}; must be {allowed} there")
    return Rows(rows.astype(np.int32), array.ndim == 1)


def _is_shape(actual: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an array has the shape of an example; a single channel need not be there."""
    return tuple(actual) == tuple(shape) or (len(shape) == 3 and shape[2] == 1 and tuple(actual) == tuple(shape[:2]))


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: rows of different lengths; must be an array of numbers") from None
    if array.dtype.kind == "b" or array.dtype.name in SHORT_FLOATS:
        array = array.astype(np.float32)  # true is white
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name}: {array.dtype}; must be an array of numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{name}: holds nan or inf; must be finite")
    if array.dtype.kind == "f" and array.dtype.itemsize > 4 and array.size and np.abs(array).max() > FLOAT32:
        raise InputError(f"{name}: holds values beyond those of float32; must be at most {FLOAT32:.2g}")
    return array
