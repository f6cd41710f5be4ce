"""Whole numbers as bytes: a range coder (library constriction) and histograms that learn from what they have coded.

A coder is called with symbols and the weights of all values, and returns the symbols. One that reads takes from the
symbols only how many they are, so that the same function writes and reads. Weights are computed by operations that
IEEE 754 rounds alike on every machine: + - * / and square roots.
"""

from typing import Any, Protocol

import numpy as np

from aejax.base.errors import InputError

FIRST = 16  # symbols of a block, or more
QUARTERS = np.array([1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429])  # powers of 2


class Coder(Protocol):
    """Codes `values` [N], each from 0 to K - 1, by `weights` [K] > 0, which are in proportion to probabilities."""

    def __call__(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray: ...


class Writer:
    """The coder that writes."""

    def __init__(self) -> None:
        self._constriction = constriction()
        self._encoder = self._constriction.stream.queue.RangeEncoder()

    def __call__(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if len(values) and len(weights) > 1:
            model = self._constriction.stream.model.Categorical(weights, perfect=False)
            self._encoder.encode(np.ascontiguousarray(values, np.int32), model)
        return values

    @property
    def payload(self) -> bytes:
        """All that was written."""
        return self._encoder.get_compressed().astype("<u4").tobytes()


class Reader:
    """The coder that reads a `payload`; raises InputError where it cannot have been written with these weights."""

    def __init__(self, payload: bytes) -> None:
        self._constriction = constriction()
        words = np.frombuffer(payload, "<u4").astype(np.uint32)
        self._decoder = self._constriction.stream.queue.RangeDecoder(words)

    def __call__(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if not len(values) or len(weights) < 2:
            return np.zeros(len(values), np.int32)
        model = self._constriction.stream.model.Categorical(weights, perfect=False)
        try:
            return self._decoder.decode(model, len(values))
        except AssertionError:
            raise InputError("file: damaged; its payload holds no codes") from None


class Meter:
    """The coder that only counts the `bits` that would be written."""

    def __init__(self) -> None:
        self.bits = 0.0

    def __call__(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if len(values) and len(weights) > 1:
            counts = np.bincount(values, minlength=len(weights))
            self.bits += float(len(values) * np.log2(weights.sum()) - counts[counts > 0] @ np.log2(weights[counts > 0]))
        return values


def constriction() -> Any:
    """The library; raises InputError where it is not installed."""
    try:
        import constriction
    except ModuleNotFoundError as error:
        if error.name != "constriction":
            raise
        raise InputError("compression needs constriction: pip install 'aejax[compression]'") from None
    return constriction


def column(coder: Coder, values: np.ndarray, weights: np.ndarray, seen: int = 0) -> np.ndarray:
    """Codes `values` [N] block by block; each block adds its counts to the weights [K] of the next.

    A block is as long as all that was `seen` before it, which the weights count, or FIRST.
    """
    weights, coded, start = weights.astype(np.float64), np.empty(len(values), np.int32), 0
    while start < len(values):
        stop = min(len(values), start + max(FIRST, seen + start))
        coded[start:stop] = coder(values[start:stop], weights)
        weights = weights + np.bincount(coded[start:stop], minlength=len(weights))
        start = stop
    return coded


def digits(coder: Coder, values: np.ndarray, most: int, base: int = 4096) -> np.ndarray:
    """Codes `values` [N] from 0 to `most` of which nothing is known, as digits of a base if they are large.

    Weights begin with half a count for each value (Krichevsky & Trofimov 1981).
    """
    if most < base:
        return column(coder, values, np.full(most + 1, 0.5))
    high = digits(coder, values // base, most // base, base)
    return np.minimum(high * base + column(coder, values % base, np.full(base, 0.5)), most)


def groups(coder: Coder, values: np.ndarray, context: np.ndarray, weights: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Codes `values` [N], each by the row of `weights` [contexts, K] that its `context` names, and counts it there.

    `seen` [contexts] are how many each row has counted.
    """
    order = np.argsort(context, kind="stable")
    values, coded = values[order], np.empty(len(values), np.int32)
    bounds = np.flatnonzero(np.diff(context[order], prepend=-1, append=-1))
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        row = context[order[start]]
        coded[start:stop] = column(coder, values[start:stop], weights[row], int(seen[row]))
        weights[row] += np.bincount(coded[start:stop], minlength=weights.shape[1])
        seen[row] += stop - start
    result = np.empty(len(values), np.int32)
    result[order] = coded
    return result


def power(quarter: Any) -> np.ndarray:
    """2 ** (quarter / 4)."""
    quarter = np.asarray(quarter, np.int64)
    return np.ldexp(QUARTERS[quarter % 4], quarter // 4)


def bell(numbers: np.ndarray, reach: int, scale: float) -> np.ndarray:
    """The probabilities of whole numbers from -reach to reach around 0.

    Those of Student's t with four degrees of freedom, because its distribution function needs no more than a square
    root, and its tails are long. A share of 1e-4 goes to all numbers alike.
    """
    below, above = (_below((numbers + half) / scale) for half in (-0.5, 0.5))
    return above - below + 1e-4 / (2 * reach + 1)


def _below(t: np.ndarray) -> np.ndarray:
    """The distribution function of Student's t with four degrees of freedom."""
    return 0.5 + 0.375 * t / np.sqrt(1 + t * t / 4) * (1 - t * t / (4 + t * t) / 3)
