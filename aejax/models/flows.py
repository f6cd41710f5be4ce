"""Invertible maps of codes with tractable determinants: from a code to noise and back.

A map of `layers` layers is a dict of stacked variables [layers, ...]. Its networks do not depend on how many units
others have: weights are drawn by unit, and masked units, which are 0, take no part.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from aejax.base.keys import normal_by_unit

Variables = dict[str, jax.Array]


def init(key: jax.Array, width: int, layers: int, hidden: int) -> Variables:
    """The variables of a coupling or an autoregressive map that begins as the identity."""

    def layer(key_layer: jax.Array) -> Variables:
        return {
            "in": normal_by_unit(key_layer, width, (hidden,)),
            "bias": jnp.zeros(hidden),
            "out": jnp.zeros((width, hidden, 2)),
            "shift_scale": jnp.zeros((width, 2)),
        }

    return jax.vmap(layer)(jax.random.split(key, layers))


def trim(variables: Variables, latent_dim: int) -> Variables:
    """The variables without masked units."""
    by_unit = ("in", "out", "shift_scale")
    return {name: array[:, :latent_dim] if name in by_unit else array for name, array in variables.items()}


def coupled(variables: Variables, z_BxZ: jax.Array, mask_Z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The noise of codes by affine couplings of even and odd units, and the log determinant, [B].

    Dinh et al. 2017, eq. 7; the networks have one hidden layer.
    """
    total_B = jnp.zeros(z_BxZ.shape[0])
    for place in range(variables["in"].shape[0]):
        shift_BxZ, log_scale_BxZ = _coupling(variables, place, z_BxZ, mask_Z)
        z_BxZ = (z_BxZ - shift_BxZ) * jnp.exp(-log_scale_BxZ)
        total_B -= jnp.sum(log_scale_BxZ, axis=1)
    return z_BxZ, total_B


def uncoupled(variables: Variables, noise_BxZ: jax.Array, mask_Z: jax.Array) -> jax.Array:
    """The codes of which `coupled` makes this noise."""
    z_BxZ = noise_BxZ
    for place in reversed(range(variables["in"].shape[0])):
        shift_BxZ, log_scale_BxZ = _coupling(variables, place, z_BxZ, mask_Z)
        z_BxZ = z_BxZ * jnp.exp(log_scale_BxZ) + shift_BxZ
    return z_BxZ


def _coupling(variables: Variables, place: int, z_BxZ: jax.Array, mask_Z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shift and log scale [B, Z] of the units that a layer moves, 0 for those that it looks at."""
    moved_Z = mask_Z * (jnp.arange(mask_Z.shape[0]) % 2 == place % 2)
    seen_BxZ = z_BxZ * (1 - moved_Z)[None, :]
    into_ZxH = variables["in"][place] / jnp.sqrt(jnp.sum(mask_Z))
    hidden_BxH = jnp.tanh(seen_BxZ @ into_ZxH + variables["bias"][place][None, :])
    out_BxZx2 = jnp.einsum("bh,zhk->bzk", hidden_BxH, variables["out"][place]) + variables["shift_scale"][place][None]
    return out_BxZx2[..., 0] * moved_Z[None, :], jnp.tanh(out_BxZx2[..., 1]) * moved_Z[None, :]


def autoregressed(
    variables: Variables, z_BxZ: jax.Array, mask_Z: jax.Array, context_BxH: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The noise of codes, each unit's by those before it, and the log determinant, [B].

    Papamakarios et al. 2017, eq. 4. Shift and scale of a unit come from a hidden layer that sums over the units before
    it, as in Uria et al. 2013, eq. 2; every other layer takes the units in reversed order. `context_BxH` is added to
    the hidden layers.
    """
    total_B = jnp.zeros(z_BxZ.shape[0])
    for place in range(variables["in"].shape[0]):
        each_BxZxH = z_BxZ[:, :, None] * _into(variables, place, mask_Z)[None]
        before_BxZxH = lax.cumsum(each_BxZxH, axis=1, reverse=place % 2 == 1) - each_BxZxH
        shift_BxZ, log_scale_BxZ = _conditioned(variables, place, before_BxZxH, mask_Z, context_BxH)
        z_BxZ = (z_BxZ - shift_BxZ) * jnp.exp(-log_scale_BxZ)
        total_B -= jnp.sum(log_scale_BxZ, axis=1)
    return z_BxZ, total_B


def unautoregressed(
    variables: Variables, noise_BxZ: jax.Array, mask_Z: jax.Array, context_BxH: jax.Array | None = None
) -> jax.Array:
    """The codes of which `autoregressed` makes this noise, a unit at a time."""
    z_BxZ, units = noise_BxZ, noise_BxZ.shape[1]
    for place in reversed(range(variables["in"].shape[0])):
        into_ZxH = _into(variables, place, mask_Z)

        def unit(
            state: tuple[jax.Array, jax.Array], at: jax.Array, place: int = place, into_ZxH: Any = into_ZxH
        ) -> Any:
            z_BxZ, sum_BxH = state
            one = {name: array[:, at][:, None] for name, array in variables.items() if name != "bias"}
            one |= {"bias": variables["bias"]}
            shift_Bx1, log_scale_Bx1 = _conditioned(one, place, sum_BxH[:, None], mask_Z[at][None], context_BxH)
            value_B = (z_BxZ[:, at] * jnp.exp(log_scale_Bx1[:, 0]) + shift_Bx1[:, 0]) * mask_Z[at]
            return (z_BxZ.at[:, at].set(value_B), sum_BxH + value_B[:, None] * into_ZxH[at][None]), None

        order_Z = jnp.arange(units)[::-1] if place % 2 == 1 else jnp.arange(units)
        start = z_BxZ, jnp.zeros((z_BxZ.shape[0], into_ZxH.shape[1]))
        (z_BxZ, _), _ = lax.scan(unit, start, order_Z)
    return z_BxZ


def _into(variables: Variables, place: int, mask_Z: jax.Array) -> jax.Array:
    return variables["in"][place] / jnp.sqrt(jnp.sum(mask_Z))


def _conditioned(
    variables: Variables, place: int, sum_BxZxH: jax.Array, mask_Z: jax.Array, context_BxH: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Shift and log scale [B, Z] of units whose hidden layers have these sums."""
    if context_BxH is not None:
        sum_BxZxH = sum_BxZxH + context_BxH[:, None]
    hidden_BxZxH = jnp.tanh(sum_BxZxH + variables["bias"][place][None, None])
    out_BxZx2 = (
        jnp.einsum("bzh,zhk->bzk", hidden_BxZxH, variables["out"][place]) + variables["shift_scale"][place][None]
    )
    return out_BxZx2[..., 0] * mask_Z[None, :], jnp.tanh(out_BxZx2[..., 1]) * mask_Z[None, :]
