"""Rows of any number in batches of one size, so that one program computes them all."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from aejax.datasets.form import Form

ROWS = 256  # of a batch,
VALUES = 2**22  # or fewer, so that a batch has at most so many values


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fitted:
    """Stored examples [N, P], and their labels or None, as the samplers of the evaluation take them."""

    train: Any
    y_train: Any


def rows_of_batch(form: Form) -> int:
    """How many examples or codes of data of this form go through the model at once."""
    return max(1, min(ROWS, VALUES // form.pixels))


def batches(rows: np.ndarray, label: np.ndarray | None, size: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Rows [size, …] and their labels, batch by batch; copies of its first row fill up the last one."""
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        yield _padded(rows[some], size), None if label is None else _padded(label[some], size)


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    """The rows, and copies of the first one up to `count`."""
    return rows if len(rows) == count else np.concatenate([rows, np.repeat(rows[:1], count - len(rows), axis=0)])
