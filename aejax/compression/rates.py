"""How fine the steps of a quantizer should be: rate against distortion, measured on the examples to be compressed."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from aejax.base.errors import InputError
from aejax.compression import codes, residuals
from aejax.compression.codes import Predictor, Quantizer
from aejax.compression.coding import Meter
from aejax.compression.contents import Content, fractions

TOLERANCE = 0.05  # by which quantization may raise the squared error,
SLACK = 1e-4  # and beyond that by this share of the variance of the examples
OCTAVE = 64  # steps of the search
FINEST = 14 * OCTAVE  # below the coarsest, with which every code becomes the mean
TRIED = 512  # examples on which an error or a rate of residuals is measured
EFFECTS = 8192  # codes that are decoded to learn what units do
WORD = 64  # bits by which the range coder may exceed what it should need
WIDEST = 2048  # units; of wider codes each is quantized alike


@dataclasses.dataclass(frozen=True)
class Source:
    """Examples to be compressed, their codes, and `decode`(z, chosen): images of codes of the chosen examples."""

    content: Content
    z_NxZ: np.ndarray
    decode: Callable[[np.ndarray, Any], np.ndarray]

    def some(self, count: int) -> np.ndarray:
        """The places of so many examples, spread evenly over all."""
        return np.unique(np.linspace(0, len(self.z_NxZ) - 1, count).astype(int))


def nearly_as_good(source: Source, predictor: Predictor) -> Quantizer:
    """The coarsest quantizer that raises the squared error by TOLERANCE at most."""
    quantizer, allowed = _family(source, predictor), _allowed(source)
    return _best(quantizer, _first(lambda place: _error(source, quantizer(place, True)) <= allowed), source)


def smallest(source: Source, predictor: Predictor) -> Quantizer:
    """The quantizer with which codes and residuals together take the fewest bits."""
    quantizer = _family(source, predictor)
    return _best(quantizer, _lowest(lambda place: _whole_rate(source, quantizer(place, True))), source)


def within(source: Source, predictor: Predictor, budget: float) -> Quantizer:
    """The finest quantizer whose codes take no more than `budget` bits; raises InputError if there is none."""
    quantizer = _family(source, predictor)
    finest = _first(lambda place: _rate(_best(quantizer, place, source), source.z_NxZ) + WORD > budget, FINEST + 1) - 1
    if finest < 0:
        raise InputError("bits: so few that the header alone takes more; give more bits, or more examples at a time")
    return _best(quantizer, finest, source)


def _family(source: Source, predictor: Predictor) -> Callable[[int, bool], Quantizer]:
    """Quantizers by their place in the search, from the coarsest, and by whether units predict the ones after them."""
    if not np.isfinite(source.z_NxZ).all():
        raise InputError("x: has codes that are not finite; the run may have diverged")
    quarter_Z = codes.steps_by_effect(_effects(source))
    most_Z = np.abs(source.z_NxZ - predictor.mean_Z).max(axis=0) / Quantizer(predictor, False, 1.0, quarter_Z).step_Z
    coarsest = 4 * max(float(most_Z.max()), 1e-30)
    return lambda place, predicts: Quantizer(
        predictor, predicts, float(np.float32(coarsest * 2 ** (-place / OCTAVE))), quarter_Z
    )


def _best(quantizer: Callable[[int, bool], Quantizer], place: int, source: Source) -> Quantizer:
    """The one at this place, with or without prediction, whichever takes fewer bits."""
    return min((quantizer(place, flag) for flag in (True, False)), key=lambda one: _rate(one, source.z_NxZ))


def _effects(source: Source) -> np.ndarray:
    """The mean squared change of an image where a unit changes by 1, [Z], from changes of a tenth of its deviation."""
    units = source.z_NxZ.shape[1]
    if units > WIDEST:
        return np.ones(units)
    places = source.some(max(4, min(TRIED // 4, EFFECTS // units)))
    z_SxZ, change_Z = source.z_NxZ[places], 0.1 * source.z_NxZ.std(axis=0)
    if len(source.z_NxZ) == 1:
        change_Z = 0.1 * np.abs(source.z_NxZ[0])
    images, effect_Z = source.decode(z_SxZ, places), np.zeros(units)
    for unit in np.flatnonzero(change_Z):
        changed_SxZ = z_SxZ.copy()
        changed_SxZ[:, unit] += change_Z[unit]
        effect_Z[unit] = np.mean((source.decode(changed_SxZ, places) - images) ** 2) / change_Z[unit] ** 2
    return effect_Z


def _error(source: Source, quantizer: Quantizer) -> float:
    """The mean squared error of what comes back of some examples."""
    places = source.some(TRIED)
    z_SxZ = quantizer.codes(quantizer.numbers(source.z_NxZ[places]))
    return _distance(source, source.decode(z_SxZ, places), places)


def _allowed(source: Source) -> float:
    places = source.some(TRIED)
    error = _distance(source, source.decode(source.z_NxZ[places], places), places)
    return (1 + TOLERANCE) * error + SLACK * float(fractions(source.content.values[places], source.content.form).var())


def _distance(source: Source, images: np.ndarray, places: np.ndarray) -> float:
    return float(np.mean((fractions(source.content.values[places], source.content.form) - images) ** 2))


def _rate(quantizer: Quantizer, z_NxZ: np.ndarray) -> float:
    """The bits of the codes."""
    numbers_NxZ, meter = quantizer.numbers(z_NxZ), Meter()
    codes.coded(meter, numbers_NxZ, codes.reach_of(numbers_NxZ), codes.scales(numbers_NxZ))
    return meter.bits


def _whole_rate(source: Source, quantizer: Quantizer) -> float:
    """The bits of codes and residuals of some examples."""
    places, meter = source.some(TRIED), Meter()
    numbers = quantizer.numbers(source.z_NxZ[places])
    images, values = source.decode(quantizer.codes(numbers), places), source.content.values[places]
    expected = images if source.content.form == "floats" else residuals.rounded(images)
    codes.coded(meter, numbers, codes.reach_of(numbers), codes.scales(numbers))
    return meter.bits + residuals.estimate(values, expected, source.content.form)


def _first(holds: Callable[[int], bool], stop: int = FINEST) -> int:
    """The first place before `stop` from which on something holds, `stop` if it never does; by bisection."""
    low, high = 0, stop
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _lowest(cost: Callable[[int], float]) -> int:
    """The place of the lowest cost, near enough: octave by octave, then between them."""
    costs: dict[int, float] = {}

    def at(place: int) -> float:
        if place not in costs:
            costs[place] = cost(place)
        return costs[place]

    best = min(range(0, FINEST, 2 * OCTAVE), key=at)
    for distance in (OCTAVE, OCTAVE // 2):
        best = min((place for place in (best - distance, best, best + distance) if 0 <= place <= FINEST), key=at)
    return best
