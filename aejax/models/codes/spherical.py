"""Codes on a sphere: von Mises-Fisher posteriors and the uniform prior (Davidson et al. 2018).

The sphere is that of radius 1 in as many dimensions as a lane has units; densities are per area of it.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models.bottlenecks import Gaussian, pooled
from aejax.models.codes.bessel import complement, log_series
from aejax.models.layers import mask_of
from aejax.models.posteriors import Draw, Posterior
from aejax.models.priors import Prior

TRIES = 100  # of the rejection; at least two of three are accepted (Wood 1994)
NODE_N, WEIGHT_N = (array.astype(np.float32) for array in np.polynomial.legendre.leggauss(32))
WIDTHS = 12.0  # standard deviations of the angle beyond which its density is taken for 0
TINY = 1e-12


@struct.dataclass
class VonMisesFisher(Posterior):
    """The density exp(concentration mean·z), normalized, on the sphere; `mean` has length 1, `concentration` is [B]."""

    concentration: jax.Array

    def sample(self, key: jax.Array) -> Draw:
        """Davidson et al. 2018, algorithm 1, with exact gradients of the cosine and by rotation."""
        key_drop, key_tangent = jax.random.split(key)
        drop_B = sampled_drop(key_drop, self.concentration, self.mask)
        tangent_BxZ = _normal(key_tangent, self.mean.shape[0], self.mask)
        for _ in range(2):  # once leaves rounding where little is orthogonal
            tangent_BxZ = on_sphere(_orthogonal(tangent_BxZ, self.mean))
        tangent_BxZ = _orthogonal(lax.stop_gradient(tangent_BxZ), self.mean)  # it turns with the mean
        sine_B = jnp.sqrt(drop_B * (2 - drop_B) + TINY)
        z_BxZ = (1 - drop_B)[:, None] * self.mean + sine_B[:, None] * tangent_BxZ
        return Draw(z_BxZ, self._log_density(drop_B))

    def log_prob(self, z_BxZ: jax.Array) -> jax.Array:
        return self._log_density(0.5 * jnp.sum((z_BxZ - self.mean) ** 2, axis=1))

    def kl_to_uniform(self) -> jax.Array:
        """KL to the uniform density in nats, [B] (Davidson et al. 2018, eq. 14)."""
        order = _order(self.mask)
        return -self.concentration * complement(order, self.concentration) - log_series(order, self.concentration)

    def _log_density(self, drop_B: jax.Array) -> jax.Array:
        """The log density where the cosine to the mean is 1 - drop_B."""
        series_B = log_series(_order(self.mask), self.concentration)
        return -self.concentration * drop_B - series_B - log_area(self.mask)


def log_area(mask_Z: jax.Array) -> jax.Array:
    """The log of the sphere's area."""
    half = 0.5 * jnp.sum(mask_Z)
    return jnp.log(2.0) + half * jnp.log(jnp.pi) - jax.scipy.special.gammaln(half)


def on_sphere(x_BxZ: jax.Array) -> jax.Array:
    """The rows at length 1."""
    return x_BxZ * lax.rsqrt(jnp.sum(x_BxZ**2, axis=1, keepdims=True) + TINY)


def sampled_drop(key: jax.Array, concentration_B: jax.Array, mask_Z: jax.Array) -> jax.Array:
    """1 - cosine between the mean and a draw, [B], by rejection (Wood 1994), with the gradient of its distribution."""
    dims = jnp.sum(mask_Z)
    kappa_B = lax.stop_gradient(concentration_B)
    root_B = jnp.hypot(2 * kappa_B, dims - 1)
    b_B = (dims - 1) / (2 * kappa_B + root_B)
    a_B = (dims - 1 + 2 * kappa_B + root_B) / 4
    level_B = 4 * a_B * b_B / (1 + b_B) - (dims - 1) * jnp.log(dims - 1)

    def tried(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        at, drop_B, accepted_B = state
        key_normal, key_uniform = jax.random.split(jax.random.fold_in(key, at))
        # A coordinate of a uniform point on the sphere is a Beta((dims - 1) / 2, (dims - 1) / 2) from -1 to 1; rounding
        # takes one in 100,000 beyond, where there are two dimensions.
        beta_B = jnp.clip(0.5 - 0.5 * on_sphere(_normal(key_normal, kappa_B.shape[0], mask_Z))[:, 0], 0.0, 1.0)
        below_B = (1 - beta_B) + b_B * beta_B
        t_B = 2 * a_B * b_B / below_B
        log_uniform_B = jnp.log1p(-jax.random.uniform(key_uniform, kappa_B.shape))
        accept_B = ~accepted_B & ((dims - 1) * jnp.log(t_B) - t_B + level_B >= log_uniform_B)
        return at + 1, jnp.where(accept_B, 2 * b_B * beta_B / below_B, drop_B), accepted_B | accept_B

    def is_open(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return (state[0] < TRIES) & ~jnp.all(state[2])

    start = jnp.int32(0), jnp.zeros_like(kappa_B), jnp.zeros(kappa_B.shape, bool)
    return _attached(lax.while_loop(is_open, tried, start)[1], concentration_B, dims)


@jax.custom_jvp
def _attached(drop_B: jax.Array, concentration_B: jax.Array, dims: jax.Array) -> jax.Array:
    """drop_B as a function of the concentration, at a fixed quantile (Figurnov et al. 2018, eq. 6)."""
    return drop_B


@_attached.defjvp
def _tangents(primals, tangents):  # type: ignore[no-untyped-def]
    drop_B, kappa_B, dims = primals
    # The angle has the density sin(angle)^(dims - 2) exp(kappa cos(angle)). The derivative of its distribution function
    # in kappa is the integral of (cos(angle) - its mean) times the density.
    end_B = 2 * jnp.arcsin(jnp.sqrt(jnp.clip(drop_B / 2, TINY, 1)))
    deviation_B = lax.rsqrt(jnp.hypot(dims - 2, 2 * kappa_B))
    length_B = jnp.minimum(end_B, WIDTHS * deviation_B)
    angle_NxB = end_B[None, :] - 0.5 * (1 - NODE_N)[:, None] * length_B[None, :]
    half_sum, half_gap = 0.5 * (end_B[None, :] + angle_NxB), 0.5 * (end_B[None, :] - angle_NxB)
    sine_B = jnp.maximum(jnp.sin(end_B), TINY)
    log_sines_NxB = jnp.log(jnp.maximum(jnp.sin(angle_NxB), TINY)) - jnp.log(sine_B)[None, :]
    log_ratio_NxB = (dims - 2) * log_sines_NxB + 2 * kappa_B[None, :] * jnp.sin(half_sum) * jnp.sin(half_gap)
    excess_NxB = complement(dims / 2 - 1, kappa_B)[None, :] - 2 * jnp.sin(0.5 * angle_NxB) ** 2
    density_NxB = jnp.exp(jnp.minimum(log_ratio_NxB, 60.0))
    slope_B = -sine_B * 0.5 * length_B * jnp.sum(WEIGHT_N[:, None] * excess_NxB * density_NxB, axis=0)
    return drop_B, slope_B * tangents[1]


def _normal(key: jax.Array, examples: int, mask_Z: jax.Array) -> jax.Array:
    return normal_by_unit(key, mask_Z.shape[0], (examples,)).T * mask_Z[None, :]


def _order(mask_Z: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum(mask_Z) - 1


def _orthogonal(x_BxZ: jax.Array, mean_BxZ: jax.Array) -> jax.Array:
    return x_BxZ - jnp.sum(x_BxZ * mean_BxZ, axis=1, keepdims=True) * mean_BxZ


@struct.dataclass
class Spherical(Gaussian):
    """Von Mises-Fisher posteriors: the mean at length 1, the concentration 1 + softplus of a head's sum."""

    heads: ClassVar[tuple[str, ...]] = ("mean", "concentration")

    def check(self, experiment: Any) -> None:
        if experiment.latent_dim < 2:
            raise InputError(
                f"latent_dim=1: the sphere of {experiment.model_title} needs two dimensions; use latent_dim=2"
            )
        if not isinstance(experiment.prior, Uniform):
            raise InputError(
                f"prior={experiment.prior.choice}: the code of {experiment.model_title} lies on a sphere; use "
                "prior=sphere"
            )

    def posterior(self, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: dict[str, Any]) -> Posterior:
        concentration_B = 1 + jax.nn.softplus(pooled(heads["concentration"], mask_Z))
        return VonMisesFisher(on_sphere(heads["mean"]), mask_Z, concentration_B)

    def coordinates(self, z_BxZ: jax.Array) -> jax.Array:
        return on_sphere(z_BxZ)  # where a code between two others is not


@struct.dataclass
class Uniform(Prior):
    """The uniform density on the sphere."""

    choice: ClassVar[str] = "sphere"

    def check(self, experiment: Any) -> None:
        if not isinstance(experiment.model.bottleneck, Spherical):
            raise InputError(
                f"prior=sphere: the code of {experiment.model_title} lies on no sphere; use model=s_vae or prior=normal"
            )

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        return jnp.broadcast_to(-log_area(mask_of(experiment, params)), z_BxZ.shape[:1])

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
        return on_sphere(_normal(key, samples, mask_of(experiment, params)))

    def kl_sum(
        self, experiment: Any, params: Any, posterior: Posterior, label: jax.Array | None = None
    ) -> jax.Array | None:
        return posterior.kl_to_uniform() if isinstance(posterior, VonMisesFisher) else None
