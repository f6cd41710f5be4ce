"""Modified Bessel functions of the first kind in float32, for any real order from 0 on and any x above 0.

At a high order they are uniform expansions (DLMF 10.41.3); from there the recurrence (DLMF 10.29.1) is stable downward.
Everything is written relative to its limit at x = 0 and scaled by exp(-x), so that nothing cancels or overflows.
Gradients are in x.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

STEPS = 12  # orders above the wanted one, where the expansions begin


def log_ive(order: jax.Array, x: jax.Array) -> jax.Array:
    """log(exp(-x) I_order(x)), in the shape of x; `order` is a scalar, without gradient."""
    return log_series(order, x) + order * jnp.log(x / 2) - jax.scipy.special.gammaln(order + 1)


def log_series(order: jax.Array, x: jax.Array) -> jax.Array:
    """log(exp(-x) I_order(x) Gamma(order + 1) (2 / x)^order), 0 at x = 0."""
    return _series_and_complement(order, x)[0]


def complement(order: jax.Array, x: jax.Array) -> jax.Array:
    """1 - I_(order + 1)(x) / I_order(x), accurate where that is small."""
    return _series_and_complement(order, x)[1]


@jax.custom_jvp
def _series_and_complement(order: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _recurred(order, x)[:2]


@_series_and_complement.defjvp
def _tangents(primals, tangents):  # type: ignore[no-untyped-def]
    series, one_minus, slope = _recurred(*primals)
    return (series, one_minus), (-one_minus * tangents[1], -slope * tangents[1])


def _recurred(order: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`log_series`, `complement` and the derivative of I_(order + 1) / I_order."""

    def lowered(step: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]) -> Any:
        series, one_minus, slope = state
        share = 2 * (order + STEPS - step) / x
        ratio = 1 / (share + 1 - one_minus)
        series += jnp.log1p((1 - one_minus) / share)
        return series, (share - one_minus) * ratio, ratio**2 * (share / x - slope)

    return lax.fori_loop(0, STEPS, lowered, _expanded(order + STEPS, x))


def _expanded(order: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same for a high order, by the logarithm of DLMF 10.41.3 and its derivatives."""
    root = jnp.hypot(order, x)
    p, p2 = order / root, (order / root) ** 2
    beyond = x**2 / (root + order)  # root - order
    short = order**2 / (root + x)  # root - x
    series = -x * (order + short) / (root + order) - order * jnp.log1p(beyond / (2 * order))
    series += -0.5 * jnp.log1p(beyond / order) + _debye(p, order) - _debye(jnp.ones_like(p), order)
    one_minus = (short + order) / (root + order) + (x / root) * (
        1 / (2 * root)
        + (1 - 5 * p2) / (8 * root**2)
        + (1 - 12 * p2 + 15 * p2**2) / (8 * root**3)
        + (25 - 531 * p2 + 1547 * p2**2 - 1105 * p2**3) / (128 * root**4)
    )
    slope = (
        order / (root * (root + order))
        + (1 - 2 * p2) / (2 * root**2)
        + (2 - 23 * p2 + 25 * p2**2) / (8 * root**3)
        + (3 - 64 * p2 + 177 * p2**2 - 120 * p2**3) / (8 * root**4)
    )
    return series, one_minus, slope


def _debye(p: jax.Array, order: jax.Array) -> jax.Array:
    """The logarithm of the sum in DLMF 10.41.3, to its third order."""
    p2, q = p**2, p / order
    first, second = (3 - 5 * p2) / 24, (1 - 6 * p2 + 5 * p2**2) / 16
    third = 25 / 384 - 531 / 640 * p2 + 221 / 128 * p2**2 - 1105 / 1152 * p2**3
    return q * (first + q * (second + q * third))
