"""What codes leave over, so that examples come back bit by bit: each value coded given its reconstruction.

Examples [N, H, W, C] are coded value by value, all examples at a time; a value's context are its reconstruction and
the values above and to the left, as in JBIG for binary pixels and in lossless photographs (Weinberger et al. 2000).
"""

from collections.abc import Callable

import numpy as np

from aejax.compression.coding import Coder, Meter, bell, groups, power

NEIGHBORS = (
    (0, -1, 0),
    (-1, 0, 0),
    (-1, -1, 0),
    (-1, 1, 0),
    (0, 0, -1),
)  # left, up, both, up and right, channel before
SCALE = 64  # a neighbor's weight is in 64ths
ACTIVITY = np.array([1, 3, 7, 15, 31, 63, 127])  # bounds between groups of errors of neighbors, in all
SHADES = np.array([1, 8, 16, 32, 64, 96, 128, 160, 192, 224, 240, 248, 255])  # the same, finer
FREQUENT = 0.005, 0.02, 1.0  # tried: the share above which a value has a symbol of its own, such as black
MEASURED = 128  # examples from which settings follow
BRIGHTNESS = np.array([1, 32, 224, 255])  # between groups of expected bytes
SHARED = 8 * (len(SHADES) + 1) * 4  # contexts of a flag
PART = 2**23  # values that are coded at a time
PRIOR = 16.0  # how many symbols the weights at the start count for


def rounded(x: np.ndarray) -> np.ndarray:
    """Fractions from 0 to 1 as bytes."""
    return np.rint(np.clip(x, 0, 1) * np.float32(255)).astype(np.uint8)


def settings_of(x: np.ndarray, expected: np.ndarray) -> bytes:
    """What `coded_bytes` needs to know of bytes x [N, H, W, C]: weights of neighbors, then frequent values.

    Of those that `_choices` proposes, the ones that take the fewest bits.
    """
    choices = _choices(x, expected)
    if len(x) <= MEASURED:

        def cost(settings: bytes) -> float:
            meter = Meter()
            coded_bytes(meter, x, expected, settings)
            return meter.bits + 8 * len(settings)
    else:
        some = _some(x)

        def cost(settings: bytes) -> float:
            return _described(x[some], expected[some], settings)

    return min(choices, key=cost)


def _choices(x: np.ndarray, expected: np.ndarray) -> list[bytes]:
    """Settings for each of the shares FREQUENT; the weights, int8 [5] in 64ths, are a fit by least squares."""
    some = _some(x)
    error = _padded(np.moveaxis(x[some].astype(np.int16) - expected[some], 0, -1))
    seen = np.stack([_shifted(error, *offset).ravel() for offset in NEIGHBORS], axis=1).astype(np.float64)
    squares = seen.T @ seen + 1e-3 * len(seen) * np.eye(len(NEIGHBORS))
    solved = np.linalg.solve(squares, seen.T @ _shifted(error, 0, 0, 0).ravel())
    weights = np.clip(np.rint(solved * SCALE), -127, 127).astype(np.int8).tobytes()
    counts = np.bincount(x.ravel(), minlength=256)
    return [weights + np.flatnonzero(counts > share * x.size).astype(np.uint8).tobytes() for share in FREQUENT]


def _some(x: np.ndarray) -> np.ndarray:
    return np.unique(np.linspace(0, len(x) - 1, MEASURED).astype(int))


def coded_bytes(coder: Coder, x: np.ndarray, expected: np.ndarray, settings: bytes) -> np.ndarray:
    """Codes bytes x [N, H, W, C] given the `expected` ones: whether it is a frequent one, and if not its error."""
    weights, frequent, which = _of(settings)
    channels = x.shape[3]
    counts = np.concatenate([_start(busy) for busy in range(8)] * channels)
    flags = np.full((SHARED * channels, len(frequent) + 1), 0.5)
    seen, seen_flags = np.zeros(len(counts), np.int64), np.zeros(len(flags), np.int64)

    def some(x: np.ndarray, expected: np.ndarray) -> np.ndarray:
        x, expected = _by_value(x), _by_value(expected)
        error, result = _padded(np.zeros_like(x)), _padded(np.zeros_like(x))
        for row, line, channel in np.ndindex(x.shape[:3]):
            errors = [error[row + 1 + a, line + 1 + b, channel + 1 + c] for a, b, c in NEIGHBORS]
            values = [result[row + 1 + a, line + 1 + b, channel + 1] for a, b, _ in NEIGHBORS[:2]]
            guess, context, rest_context = _contexts(errors, values, expected[row, line, channel], weights, which)
            flag = groups(coder, which[x[row, line, channel]], context + SHARED * channel, flags, seen_flags)
            rest = np.flatnonzero(flag == len(frequent))
            symbols, rest_context = (x[row, line, channel] - guess)[rest] & 255, rest_context[rest] + 40 * channel
            coded = np.append(frequent, np.int16(0))[flag]
            coded[rest] = (guess[rest] + groups(coder, symbols, rest_context, counts, seen)) & 255
            result[row + 1, line + 1, channel + 1] = coded
            error[row + 1, line + 1, channel + 1] = coded - expected[row, line, channel]
        return np.moveaxis(_shifted(result, 0, 0, 0), -1, 0)

    return _in_parts(some, x, expected)


def coded_bits(coder: Coder, x: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Codes x [N, H, W, C] of 0 and 1 given the bytes `expected`, 255 for a pixel that is surely 1."""
    share = (np.arange(16) + 0.5) / 16
    counts = np.repeat(PRIOR * np.stack([1 - share, share], axis=1), 16, axis=0)
    seen = np.zeros(len(counts), np.int64)

    def some(x: np.ndarray, expected: np.ndarray) -> np.ndarray:
        x, expected = _by_value(x), _by_value(expected)
        result = _padded(np.zeros_like(x))
        for row, line, channel in np.ndindex(x.shape[:3]):
            values = [result[row + 1 + a, line + 1 + b, channel + 1] for a, b, c in NEIGHBORS if not c]
            context = _bit_context(values, expected[row, line, channel])
            result[row + 1, line + 1, channel + 1] = groups(coder, x[row, line, channel], context, counts, seen)
        return np.moveaxis(_shifted(result, 0, 0, 0), -1, 0)

    return _in_parts(some, x, expected)


def coded_floats(coder: Coder, x: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Codes float32 x [N, …] given the `expected` ones: the bytes of the distance in representable numbers."""
    counts = np.full((4 * 9 * 2, 256), PRIOR / 256)
    seen = np.zeros(len(counts), np.int64)

    def some(x: np.ndarray, expected: np.ndarray) -> np.ndarray:
        shape, x, expected = x.shape, _ordered(x).reshape(len(x), -1), _ordered(expected).reshape(len(x), -1)
        difference = (x - expected).view(np.int32)
        zigzag = ((difference << 1) ^ (difference >> 31)).view(np.uint32)
        result = np.empty_like(zigzag)
        for place in range(x.shape[1]):
            whole, above = np.zeros(len(x), np.uint32), np.zeros(len(x), np.int64)
            for plane in range(4):
                byte = (zigzag[:, place] >> np.uint32(24 - 8 * plane)) & np.uint32(255)
                context = (plane * 9 + above) * 2 + (whole > 0)
                byte = groups(coder, byte.astype(np.int32), context, counts, seen).astype(np.uint32)
                whole, above = (whole << np.uint32(8)) | byte, np.frexp(byte.astype(np.float64))[1].astype(np.int64)
            result[:, place] = whole
        ordered = expected + ((result >> np.uint32(1)) ^ (np.uint32(0) - (result & np.uint32(1))))
        back = np.where(ordered >> np.uint32(31), ordered ^ np.uint32(2**31), ~ordered)
        return back.view(np.float32).reshape(shape)

    return _in_parts(some, x, expected)


def _in_parts(some: Callable[..., np.ndarray], x: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """`some`(x, expected) of so few examples at a time that they need little memory."""
    result, count = np.empty(x.shape, x.dtype), max(1, PART // x[0].size)
    for start in range(0, len(x), count):
        part = slice(start, start + count)
        result[part] = some(x[part], expected[part])
    return result


def estimate(x: np.ndarray, expected: np.ndarray, form: str) -> float:
    """About how many bits the residuals of x [N, H, W, C] take, in a fraction of the time of coding them."""
    if form == "floats":
        distance = (_ordered(x) - _ordered(expected)).view(np.int32)
        return float(np.log2(1.0 + np.abs(distance.astype(np.float64))).sum())
    if form == "bits":
        x, expected = _by_value(x), _by_value(expected)
        values = [_shifted(_padded(x), *offset) for offset in NEIGHBORS if not offset[2]]
        return _entropy(_bit_context(values, expected), x)
    return _described(x, expected, _choices(x, expected)[1])


def _described(x: np.ndarray, expected: np.ndarray, settings: bytes) -> float:
    """The bits of bytes x given their contexts, by their own frequencies."""
    x, expected = _by_value(x), _by_value(expected)
    weights, frequent, which = _of(settings)
    padded, error = _padded(x), _padded(x - expected)
    errors, values = ([_shifted(array, *offset) for offset in NEIGHBORS] for array in (error, padded))
    guess, context, rest_context = _contexts(errors, values[:2], expected, weights, which)
    rest = which[x] == len(frequent)
    return _entropy(context, which[x]) + _entropy(rest_context[rest], (x - guess)[rest] & 255)


def _contexts(errors: list, values: list, expected: np.ndarray, weights: np.ndarray, which: np.ndarray) -> tuple:
    """What a byte is guessed to be, and the contexts of its flag and its error, from neighbors; any shape."""
    shift = sum(weight * error for weight, error in zip(weights, errors, strict=True))
    guess = np.clip(expected + ((shift + SCALE // 2) >> 6), 0, 255)
    activity = sum(abs(error) for error in errors) + abs(errors[-1])
    busy = np.searchsorted(ACTIVITY, activity, side="right")
    common = [which[value] < which.max() for value in values]
    flag_context = ((busy * (len(SHADES) + 1) + np.searchsorted(SHADES, guess, "right")) * 2 + common[0]) * 2 + common[
        1
    ]
    return guess, flag_context, busy * 5 + np.searchsorted(BRIGHTNESS, guess, "right")


def _bit_context(values: list, expected: np.ndarray) -> np.ndarray:
    """One of 16 groups of expected bytes by 16 of neighbors; any shape."""
    return (expected >> 4) * np.int16(16) + values[0] + 2 * values[1] + 4 * values[2] + 8 * values[3]


def _of(settings: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of neighbors, frequent values, and which of them each byte is, [256]; their number for no one."""
    weights = np.frombuffer(settings[: len(NEIGHBORS)], np.int8).astype(np.int16)
    frequent = np.frombuffer(settings[len(NEIGHBORS) :], np.uint8).astype(np.int16)
    which = np.full(256, len(frequent), np.int32)
    which[frequent] = np.arange(len(frequent))
    return weights, frequent, which


def _entropy(context: np.ndarray, symbols: np.ndarray) -> float:
    """The bits of symbols below 256 given their contexts, by their own frequencies."""
    counts = np.bincount(context.ravel().astype(np.int64) * 256 + symbols.ravel())
    counts = np.pad(counts, (0, -len(counts) % 256)).reshape(-1, 256)
    totals = counts.sum(axis=1)
    cells, rows = counts[counts > 0], totals[totals > 0]
    return float(rows @ np.log2(rows) - cells @ np.log2(cells))


def _ordered(x: np.ndarray) -> np.ndarray:
    """float32 as uint32 in the order of the numbers."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(2**31))


def _start(bucket: int) -> np.ndarray:
    """Weights [5, 256] of errors, modulo 256, among neighbors with errors of this group."""
    centered = bell(np.arange(-128, 129), 128, float(power(4 * bucket - 5)))
    wrapped = np.concatenate([centered[128:256], centered[:128]])
    return np.repeat(PRIOR * wrapped[None], 5, axis=0)


def _by_value(x: np.ndarray) -> np.ndarray:
    """Bytes [N, H, W, C] as int16 [H, W, C, N]."""
    return np.ascontiguousarray(np.moveaxis(x, 0, -1), np.int16)


def _padded(array: np.ndarray) -> np.ndarray:
    """[H, W, C, N] with a border of zeros."""
    return np.pad(array, ((1, 1), (1, 1), (1, 1), (0, 0)))


def _shifted(padded: np.ndarray, a: int, b: int, c: int) -> np.ndarray:
    height, width, channels = (size - 2 for size in padded.shape[:3])
    return padded[1 + a : 1 + a + height, 1 + b : 1 + b + width, 1 + c : 1 + c + channels]
