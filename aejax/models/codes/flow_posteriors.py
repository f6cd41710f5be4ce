"""Posteriors made more flexible by normalizing flows: z_0 of a Gaussian, moved by layers with tractable determinants.

The density of a sample is that of z_0 divided by the determinant of the layers (Rezende & Mohamed 2015, eq. 7).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from aejax.base.keys import normal_by_unit
from aejax.models import flows
from aejax.models.bottlenecks import Estimated, pooled, stacked
from aejax.models.posteriors import Diagonal, Draw, Posterior
from aejax.settings.fields import static_int

MARGIN = 1e-3  # of the determinants from 0, in the worst case
TINY = 1e-12
HALVINGS = 40  # of the interval in which the inverse of a planar layer is sought


@struct.dataclass
class Flowed(Posterior):
    """The base: a Gaussian `base` moved by layers; `mean` is where its mean goes."""

    base: Diagonal

    def moved(self, z_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Codes of base's codes, and the log determinant, [B]."""
        raise NotImplementedError

    def unmoved(self, z_BxZ: jax.Array) -> jax.Array:
        """The base's codes of which `moved` makes these."""
        raise NotImplementedError

    def with_mean(self) -> "Flowed":
        """The posterior whose `mean` is where the base's goes."""
        return self.replace(mean=self.moved(self.base.mean)[0])  # type: ignore[attr-defined]

    def sample(self, key: jax.Array) -> Draw:
        draw = self.base.sample(key)
        z_BxZ, log_determinant_B = self.moved(draw.z)
        return Draw(z_BxZ, draw.log_q - log_determinant_B, draw.eps)

    def log_prob(self, z_BxZ: jax.Array) -> jax.Array:
        base_BxZ = self.unmoved(z_BxZ)
        return self.base.log_prob(base_BxZ) - self.moved(base_BxZ)[1]


@struct.dataclass
class Planar(Flowed):
    """Layers z + u tanh(w·z + b) (Rezende & Mohamed 2015, eq. 10-12).

    `u` and `w` are [K, B, Z], `b` is [K, B]. u is changed along w so that a layer is invertible (appendix A.1).
    """

    u: jax.Array
    w: jax.Array
    b: jax.Array

    def layers(self) -> tuple[jax.Array, ...]:
        """The invertible layers: u, w, b and u·w."""
        product_KxB = jnp.sum(self.u * self.w, axis=2)
        pull_KxB = above_minus_one(product_KxB)
        along_KxB = (pull_KxB - product_KxB) / (jnp.sum(self.w**2, axis=2) + TINY)
        return self.u + along_KxB[:, :, None] * self.w, self.w, self.b, pull_KxB

    def moved(self, z_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        def layer(state: tuple[jax.Array, jax.Array], part: tuple[jax.Array, ...]) -> Any:
            (z_BxZ, total_B), (u_BxZ, w_BxZ, b_B, pull_B) = state, part
            bend_B = jnp.tanh(jnp.sum(w_BxZ * z_BxZ, axis=1) + b_B)
            return (z_BxZ + u_BxZ * bend_B[:, None], total_B + jnp.log1p(pull_B * (1 - bend_B**2))), None

        return lax.scan(layer, (z_BxZ, jnp.zeros(z_BxZ.shape[0])), self.layers())[0]

    def unmoved(self, z_BxZ: jax.Array) -> jax.Array:
        def layer(z_BxZ: jax.Array, part: tuple[jax.Array, ...]) -> Any:
            u_BxZ, w_BxZ, b_B, pull_B = part
            bend_B = jnp.tanh(solved(jnp.sum(w_BxZ * z_BxZ, axis=1) + b_B, pull_B))
            return z_BxZ - u_BxZ * bend_B[:, None], None

        return lax.scan(layer, z_BxZ, self.layers(), reverse=True)[0]


def above_minus_one(x: jax.Array) -> jax.Array:
    """A smooth increasing map onto numbers above -1, by softplus, at which 0 stays 0."""
    return MARGIN - 1 + jax.nn.softplus(x + math.log(math.expm1(1 - MARGIN)))


def solved(value_B: jax.Array, pull_B: jax.Array) -> jax.Array:
    """The a with a + pull tanh(a) = value, for pull above -1, with its gradient."""
    value, pull = lax.stop_gradient((value_B, pull_B))

    def halved(_: jax.Array, interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = interval
        middle = 0.5 * (low + high)
        is_below = middle + pull * jnp.tanh(middle) < value
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    low, high = lax.fori_loop(0, HALVINGS, halved, (value - abs(pull), value + abs(pull)))
    a_B = 0.5 * (low + high)
    bend_B = jnp.tanh(a_B)
    return a_B - (a_B + pull_B * bend_B - value_B) / (
        1 + pull_B * (1 - bend_B**2)
    )  # a step of Newton's has the gradient


@struct.dataclass
class Radial(Flowed):
    """Layers z + beta / (alpha + r) (z - center), r = |z - center| (Rezende & Mohamed 2015, eq. 14).

    `center` is [K, B, Z], `alpha`, positive, and `share` = beta / alpha, above -1 (appendix A.2), are [K, B].
    """

    center: jax.Array
    alpha: jax.Array
    share: jax.Array

    def moved(self, z_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        others = jnp.sum(self.mask) - 1

        def layer(state: tuple[jax.Array, jax.Array], part: tuple[jax.Array, ...]) -> Any:
            (z_BxZ, total_B), (center_BxZ, alpha_B, share_B) = state, part
            away_BxZ = z_BxZ - center_BxZ
            near_B = alpha_B / (alpha_B + _length(away_BxZ))
            total_B += others * jnp.log1p(share_B * near_B) + jnp.log1p(share_B * near_B**2)
            return (z_BxZ + (share_B * near_B)[:, None] * away_BxZ, total_B), None

        parts = self.center, self.alpha, self.share
        return lax.scan(layer, (z_BxZ, jnp.zeros(z_BxZ.shape[0])), parts)[0]

    def unmoved(self, z_BxZ: jax.Array) -> jax.Array:
        def layer(z_BxZ: jax.Array, part: tuple[jax.Array, ...]) -> Any:
            center_BxZ, alpha_B, share_B = part
            away_BxZ = z_BxZ - center_BxZ
            length_B = _length(away_BxZ)  # solves length = r (1 + beta / (alpha + r)), which is quadratic in r
            half_B = 0.5 * (alpha_B + share_B * alpha_B - length_B)
            root_B = jnp.sqrt(half_B**2 + alpha_B * length_B)
            is_far = half_B < 0
            r_B = jnp.where(is_far, root_B - half_B, alpha_B * length_B / (root_B + jnp.where(is_far, 1, half_B)))
            return center_BxZ + away_BxZ / (1 + share_B * alpha_B / (alpha_B + r_B))[:, None], None

        return lax.scan(layer, z_BxZ, (self.center, self.alpha, self.share), reverse=True)[0]


def _length(x_BxZ: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(x_BxZ**2, axis=1) + TINY)


@struct.dataclass
class InverseAutoregressive(Flowed):
    """Layers (z - shift) exp(-log scale), both functions of the units before and of `context` [B, H].

    Kingma et al. 2016, eq. 9-10, with shift = -mu / sigma and scale = 1 / sigma.
    """

    variables: flows.Variables
    context: jax.Array

    def moved(self, z_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        return flows.autoregressed(self.variables, z_BxZ, self.mask, self.context)

    def unmoved(self, z_BxZ: jax.Array) -> jax.Array:
        return flows.unautoregressed(self.variables, z_BxZ, self.mask, self.context)


@struct.dataclass
class FlowBottleneck(Estimated):
    """The base of bottlenecks with a flow of `layers`."""

    layers: int = static_int(1, 100)

    def posterior(self, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: dict[str, Any]) -> Posterior:
        base = Diagonal(heads["mean"], mask_Z, heads["log_variance"])
        return self.flowed(base, heads, mask_Z, variables).with_mean()

    def flowed(self, base: Diagonal, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: Any) -> Flowed:
        """The posterior of these heads."""
        raise NotImplementedError

    def _heads(self, *names: str) -> tuple[str, ...]:
        return ("mean", "log_variance", *(f"{name}_{place}" for name in names for place in range(self.layers)))


@struct.dataclass
class PlanarFlow(FlowBottleneck):
    """A flow of planar layers, all whose parameters the encoder gives (Rezende & Mohamed 2015, section 4.2)."""

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._heads("u", "w", "b")

    def flowed(self, base: Diagonal, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: Any) -> Flowed:
        u_KxBxZ, w_KxBxZ, b_KxBxZ = (stacked(heads, name, self.layers) for name in ("u", "w", "b"))
        return Planar(base.mean, mask_Z, base, u_KxBxZ, w_KxBxZ, pooled(b_KxBxZ, mask_Z))


@struct.dataclass
class RadialFlow(FlowBottleneck):
    """A flow of radial layers, all whose parameters the encoder gives (Rezende & Mohamed 2015, section 4.2)."""

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._heads("center", "alpha", "share")

    def flowed(self, base: Diagonal, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: Any) -> Flowed:
        center_KxBxZ = stacked(heads, "center", self.layers)
        alpha_KxB, share_KxB = (pooled(stacked(heads, name, self.layers), mask_Z) for name in ("alpha", "share"))
        alpha_KxB = MARGIN + jax.nn.softplus(alpha_KxB)
        return Radial(base.mean, mask_Z, base, center_KxBxZ, alpha_KxB, above_minus_one(share_KxB))


@struct.dataclass
class InverseAutoregressiveFlow(FlowBottleneck):
    """An inverse autoregressive flow: networks of `hidden` units that all examples share, and a context of each."""

    hidden: int = static_int(1, 10_000)

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        return "mean", "log_variance", "context"

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        key_flow, key_context = jax.random.split(key)
        context_ZxH = normal_by_unit(key_context, width, (self.hidden,))
        return {"flow": flows.init(key_flow, width, self.layers, self.hidden), "context": context_ZxH}

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return {"flow": flows.trim(variables["flow"], latent_dim), "context": variables["context"][:latent_dim]}

    def flowed(self, base: Diagonal, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: Any) -> Flowed:
        context_BxH = heads["context"] @ variables["context"] / jnp.sqrt(jnp.sum(mask_Z))
        return InverseAutoregressive(base.mean, mask_Z, base, variables["flow"], context_BxH)
