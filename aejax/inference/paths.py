"""Codes along lines, arcs and planes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aejax.base.errors import InputError

LARGEST = float(np.finfo(np.float32).max)


def finite_limits(limits: Any) -> tuple[float, float]:
    """Two finite numbers, the lower one first; raises InputError."""
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError):
        low = high = np.nan
    if not -LARGEST <= low < high <= LARGEST:
        raise InputError(f"limits={limits}: must be two finite numbers, the lower one first")
    return low, high


def between(a_Z: np.ndarray, b_Z: np.ndarray, steps: int, how: str) -> np.ndarray:
    """Codes [steps, Z] from a to b: along the line, or the arc on which length and direction change evenly.

    Shoemake 1985, section 3.3; parallel codes have no arc, and take the line.
    """
    share_Sx1 = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    norms = np.linalg.norm(a_Z), np.linalg.norm(b_Z)
    cosine = np.clip(a_Z @ b_Z / np.maximum(norms[0] * norms[1], 1e-12), -1, 1)
    angle = np.arccos(cosine)
    if how == "linear" or np.sin(angle) < 1e-4:
        return a_Z + share_Sx1 * (b_Z - a_Z)
    weights = (np.sin((1 - share_Sx1) * angle) / norms[0], np.sin(share_Sx1 * angle) / norms[1])
    length_Sx1 = norms[0] + share_Sx1 * (norms[1] - norms[0])
    return (length_Sx1 * (weights[0] * a_Z + weights[1] * b_Z) / np.sin(angle)).astype(np.float32)


def plane(center_Z: np.ndarray, units: Sequence[int], limits_2xU: np.ndarray, steps: int) -> np.ndarray:
    """Codes [steps ** U, Z] around the center, in which each of U units rises between its limits, the first fastest."""
    rising = [np.linspace(low, high, steps) for low, high in limits_2xU.T]
    grids = np.meshgrid(*rising)  # the first varies along the last axis
    z_GxZ = np.tile(center_Z.astype(np.float32), (steps ** len(units), 1))
    z_GxZ[:, units] = np.stack([grid.ravel() for grid in grids], axis=1)
    return z_GxZ
