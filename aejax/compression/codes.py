"""Codes as whole numbers: each unit in steps of its own, less what the units before it predict."""

import dataclasses
from typing import Any, Self

import numpy as np

from aejax.compression.coding import Coder, bell, column, power

FARTHEST = 2**15 - 1  # steps from the mean
MOST_PREDICTED = 1024  # units; of wider codes none is predicted
SCALES = np.arange(-12, 60)  # of a unit's numbers, in quarters of an octave
PRIOR = 128.0  # how many symbols the bell counts for


@dataclasses.dataclass(frozen=True)
class Predictor:
    """What a run's own test codes say of codes to come, which costs no bytes: their mean [Z] and how units depend.

    `share_ZxZ` is lower triangular, with ones: a code is its mean plus share_ZxZ times what no unit before predicts
    (the factor L of the covariance L D L').
    """

    mean_Z: np.ndarray
    share_ZxZ: np.ndarray | None

    @classmethod
    def of(cls, z_NxZ: np.ndarray) -> Self:
        """The one of these codes; rounded, because a covariance differs by rounding from machine to machine."""
        z_NxZ = z_NxZ.astype(np.float64)
        count, units = z_NxZ.shape
        if not (count and np.isfinite(z_NxZ).all()):
            return cls(np.zeros(units), None)
        mean_Z, scale = z_NxZ.mean(axis=0), float(np.exp2(np.round(np.log2(z_NxZ.std() + 1e-30)) - 16))
        mean_Z = np.round(mean_Z / scale) * scale
        if count < 2 or units > MOST_PREDICTED:
            return cls(mean_Z, None)
        covariance_ZxZ = np.cov(z_NxZ.T).reshape(units, units)
        variance_Z = np.diag(covariance_ZxZ) + 1e-6 * np.trace(covariance_ZxZ) / units + 1e-30
        covariance_ZxZ *= count / (count + units)  # few codes say little about how units depend
        np.fill_diagonal(covariance_ZxZ, variance_Z)
        factor_ZxZ = np.linalg.cholesky(covariance_ZxZ)
        return cls(mean_Z, np.round(factor_ZxZ / np.diag(factor_ZxZ) * 2**12) / 2**12)


@dataclasses.dataclass(frozen=True)
class Quantizer:
    """Codes [N, Z] to whole numbers [N, Z] and back, by uniform steps.

    The step of a unit is `base` times 2 ** (quarter_Z / 4).
    """

    predictor: Predictor
    predicts: bool
    base: float
    quarter_Z: np.ndarray

    @property
    def step_Z(self) -> np.ndarray:
        """The step of each unit, in the unit of the code."""
        return np.float64(np.float32(self.base)) * power(self.quarter_Z)

    def numbers(self, z_NxZ: np.ndarray) -> np.ndarray:
        """The steps by which each unit differs from what the units before it, quantized, predict; int32."""
        rest_NxZ, numbers_NxZ = z_NxZ - self.predictor.mean_Z, np.empty(z_NxZ.shape, np.int32)
        for unit, step in enumerate(self.step_Z):
            numbers_NxZ[:, unit] = np.clip(np.rint(rest_NxZ[:, unit] / step), -FARTHEST, FARTHEST)
            self._add(rest_NxZ, unit, -step * numbers_NxZ[:, unit])
        return numbers_NxZ

    def codes(self, numbers_NxZ: np.ndarray) -> np.ndarray:
        """The codes of these numbers, float32."""
        z_NxZ = np.zeros(numbers_NxZ.shape) + self.predictor.mean_Z
        for unit, step in enumerate(self.step_Z):
            self._add(z_NxZ, unit, step * numbers_NxZ[:, unit])
            z_NxZ[:, unit] += step * numbers_NxZ[:, unit]
        return z_NxZ.astype(np.float32)

    def _add(self, z_NxZ: np.ndarray, unit: int, innovation_N: np.ndarray) -> None:
        """Adds what an innovation of a unit says of the units after it; no product that a library may round its way."""
        if self.predicts and self.predictor.share_ZxZ is not None:
            z_NxZ[:, unit + 1 :] += innovation_N[:, None] * self.predictor.share_ZxZ[unit + 1 :, unit]


def steps_by_effect(effect_Z: np.ndarray) -> np.ndarray:
    """The `quarter_Z` by which every unit's step changes the examples alike; `effect_Z` is the squared change for a
    change of a unit by 1. At high rates that is the best for a given number of bits."""
    inverse_Z = -2 * np.log2(np.maximum(effect_Z, 1e-30))  # quarters of the octave of 1 / sqrt(effect)
    alive_Z = effect_Z > 1e-12 * effect_Z.max()
    middle = np.median(inverse_Z[alive_Z]) if alive_Z.any() else 0.0
    return np.where(alive_Z, np.clip(np.rint(inverse_Z - middle), -127, 126), 127).astype(np.int8)


def scales(numbers_NxZ: np.ndarray) -> np.ndarray:
    """The quarter of an octave of each unit's bell, by the bits that its numbers would take; int8 [Z]."""
    reach = reach_of(numbers_NxZ)
    value_V, place = np.unique(numbers_NxZ, return_inverse=True)
    bits_SxV = -np.log2([bell(value_V, reach, float(power(scale))) for scale in SCALES])
    count_ZxV = np.array([np.bincount(places, minlength=len(value_V)) for places in place.reshape(numbers_NxZ.shape).T])
    return SCALES[(bits_SxV @ count_ZxV.T).argmin(axis=0)].astype(np.int8)


def reach_of(numbers_NxZ: np.ndarray) -> int:
    """The largest number without its sign."""
    return int(np.abs(numbers_NxZ).max(initial=0))


def coded(coder: Coder, numbers_NxZ: np.ndarray, reach: int, scale_Z: Any) -> np.ndarray:
    """Codes numbers from -reach to reach, unit by unit."""
    result_NxZ = np.zeros(numbers_NxZ.shape, np.int32)
    if reach:
        values = np.arange(-reach, reach + 1)
        for unit, scale in enumerate(scale_Z):
            weights = PRIOR * bell(values, reach, float(power(scale)))
            result_NxZ[:, unit] = column(coder, numbers_NxZ[:, unit] + reach, weights) - reach
    return result_NxZ
