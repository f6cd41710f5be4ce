"""Riemannian metrics of codes, learned or of a posterior, and Hamiltonian dynamics on a learned one."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from aejax.models.bottlenecks import Code, lower_triangle, triangle_heads
from aejax.models.codes.hamiltonian import Hamiltonian, HamiltonianFlow
from aejax.models.posteriors import Diagonal
from aejax.settings.fields import Leaf, leaf_float, static_int


@struct.dataclass
class LearnedMetric:
    """G with G^-1(z) = sum_i weight_i L_i L_i^T exp(-|z - c_i|^2 / T^2) + lambda I (Chadebec et al. 2020).

    `center` is [R, Z], `product` L L^T [R, Z, Z], `weight` [R]; all are 0 for masked units, in which G is the identity.
    `temperature` is T, `regularization` lambda.
    """

    center: jax.Array
    product: jax.Array
    weight: jax.Array
    mask: jax.Array
    temperature: Leaf
    regularization: Leaf

    def near(self, z_BxZ: jax.Array) -> jax.Array:
        """The weights of the centers at codes, [B, R]."""
        apart_BxR = jnp.sum((z_BxZ[:, None] - self.center[None]) ** 2, axis=2)
        return self.weight[None, :] * jnp.exp(-apart_BxR / self.temperature**2)

    def inverse(self, z_BxZ: jax.Array) -> jax.Array:
        """G^-1 at codes, [B, Z, Z]."""
        diagonal_Z = jnp.where(self.mask > 0, self.regularization, 1.0)
        # Rounded products may lose more than the regularization, and with it the Cholesky factor.
        sum_BxZxZ = jnp.einsum("br,rij->bij", self.near(z_BxZ), self.product, precision="highest")
        return sum_BxZxZ + jnp.diag(diagonal_Z)[None]

    def roots(self, z_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The Cholesky factor of G^-1 at codes, and its inverse, [B, Z, Z]."""
        return cholesky(self.inverse(z_BxZ))

    def log_density(self, z_BxZ: jax.Array) -> jax.Array:
        """The log of sqrt(det G^-1) at codes, [B], high among the centers (Chadebec et al. 2022)."""
        return _log_diagonal(self.roots(z_BxZ)[0])

    @property
    def width(self) -> jax.Array:
        """The standard deviation of that density about a center that is far from others, [Z]."""
        units = jnp.sum(self.mask)
        return self.temperature / jnp.sqrt(units) * self.mask

    def slope(self, z_BxZ: jax.Array, momentum_BxZ: jax.Array, inner_BxZxZ: jax.Array) -> jax.Array:
        """The gradient in z of the log density of N(0, G(z)) at momenta, [B, Z]; `inner` is G at the same codes.

        That of log det(G^-1) / 2 - momentum^T G^-1 momentum / 2, each center by its own matrix.
        """
        outer_BxZxZ = inner_BxZxZ - momentum_BxZ[:, :, None] * momentum_BxZ[:, None, :]
        half_BxR = 0.5 * jnp.einsum("bij,rij->br", outer_BxZxZ, self.product, precision="highest") * self.near(z_BxZ)
        toward_BxZ = half_BxR @ self.center - jnp.sum(half_BxR, axis=1, keepdims=True) * z_BxZ
        return 2 / self.temperature**2 * toward_BxZ


@struct.dataclass
class PosteriorMetric:
    """G(z) = sum_i S_i^-1 exp(-(z - c_i)^T S_i^-1 (z - c_i) / rho^2) + lambda exp(-tau |z|^2) I.

    Chadebec & Allassonnière 2022: c_i and the diagonal S_i are the mean and the covariance of the posterior
    of a training example, because the precision of a posterior approximates the metric that the decoder pulls back.
    `center` and `precision` are [R, Z], `temperature` is rho, `regularization` lambda and `decay` tau.
    """

    center: jax.Array
    precision: jax.Array
    mask: jax.Array
    temperature: Leaf
    regularization: Leaf
    decay: Leaf

    def diagonal(self, z_BxZ: jax.Array) -> jax.Array:
        """G at codes, which is diagonal, [B, Z]."""
        precision_RxZ, center_RxZ = self.precision * self.mask[None, :], self.center
        with jax.default_matmul_precision("highest"):
            apart_BxR = z_BxZ**2 @ precision_RxZ.T - 2 * z_BxZ @ (precision_RxZ * center_RxZ).T
        apart_BxR += jnp.sum(precision_RxZ * center_RxZ**2, axis=1)[None, :]
        floor_Bx1 = self.regularization * jnp.exp(-self.decay * jnp.sum(z_BxZ**2, axis=1, keepdims=True))
        return jnp.exp(-apart_BxR / self.temperature**2) @ precision_RxZ + floor_Bx1

    def log_density(self, z_BxZ: jax.Array) -> jax.Array:
        """The log of sqrt(det G) at codes, [B]: the uniform density of the manifold."""
        return 0.5 * jnp.log(self.diagonal(z_BxZ) + TINY) @ self.mask

    @property
    def width(self) -> jax.Array:
        """The standard deviation of that density about a typical center that is far from others, [Z]."""
        units = jnp.sum(self.mask)
        return self.temperature / jnp.sqrt(units * jnp.mean(self.precision, axis=0)) * self.mask


TINY = 1e-30  # of a metric, far from all codes


def posterior_metric(
    posterior: Diagonal, temperature: Leaf | None, regularization: Leaf, decay: Leaf
) -> PosteriorMetric:
    """The metric of these posteriors; without a temperature it is the largest distance of a mean to the nearest."""
    if temperature is None:
        apart_RxR = jnp.sum((posterior.mean[:, None] - posterior.mean[None]) ** 2, axis=2)
        apart_RxR += jnp.diag(jnp.full(apart_RxR.shape[0], jnp.inf))
        nearest_R = jnp.min(apart_RxR, axis=1)
        temperature = jnp.sqrt(jnp.max(jnp.where(jnp.isfinite(nearest_R), nearest_R, 1.0))) + SMALL
    return PosteriorMetric(
        posterior.mean, jnp.exp(-posterior.log_variance), posterior.mask, temperature, regularization, decay
    )


SMALL = 1e-3  # the least temperature, where all means are the same


def _log_diagonal(root_BxZxZ: jax.Array) -> jax.Array:
    return jnp.sum(jnp.log(jnp.diagonal(root_BxZxZ, axis1=1, axis2=2)), axis=1)


@jax.custom_jvp
def cholesky(matrix_BxZxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The Cholesky factors of positive definite matrices, and their inverses.

    By elimination, a unit at a time: on a CPU, JAX's own routines for stacks of matrices wait in a pool of threads for
    other threads of that pool, and never end where programs on several devices call them at the same time.
    """
    place_Z = jnp.arange(matrix_BxZxZ.shape[2])

    def eliminated(state: tuple[jax.Array, jax.Array], at: jax.Array) -> Any:
        rest_BxZxZ, inverse_BxZxZ = state
        column_BxZ = rest_BxZxZ[:, :, at] * (place_Z >= at)[None, :] / jnp.sqrt(rest_BxZxZ[:, at, at])[:, None]
        row_BxZ = inverse_BxZxZ[:, at] / column_BxZ[:, at][:, None]
        below_BxZ = column_BxZ * (place_Z > at)[None, :]
        inverse_BxZxZ = inverse_BxZxZ.at[:, at].set(row_BxZ) - below_BxZ[:, :, None] * row_BxZ[:, None, :]
        return (rest_BxZxZ - column_BxZ[:, :, None] * column_BxZ[:, None, :], inverse_BxZxZ), column_BxZ

    unit_BxZxZ = jnp.broadcast_to(jnp.eye(place_Z.shape[0])[None], matrix_BxZxZ.shape)
    (_, inverse_BxZxZ), column_ZxBxZ = lax.scan(eliminated, (matrix_BxZxZ, unit_BxZxZ), place_Z)
    return jnp.moveaxis(column_ZxBxZ, 0, 2), inverse_BxZxZ


@cholesky.defjvp
def _cholesky_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> Any:
    root_BxZxZ, inverse_BxZxZ = cholesky(*primals)
    with jax.default_matmul_precision("highest"):
        inner_BxZxZ = inverse_BxZxZ @ tangents[0] @ jnp.swapaxes(inverse_BxZxZ, 1, 2)
        lower_BxZxZ = jnp.tril(inner_BxZxZ) * (1 - 0.5 * jnp.eye(inner_BxZxZ.shape[2]))[None]
        return (root_BxZxZ, inverse_BxZxZ), (root_BxZxZ @ lower_BxZxZ, -lower_BxZxZ @ inverse_BxZxZ)


@struct.dataclass
class RiemannianHamiltonian(Hamiltonian):
    """Momenta are N(0, G(z)), and the potential is -log p(input, z) (Chadebec et al. 2020).

    A generalized leapfrog step solves its two implicit equations by so many fixed-point `iterations` (Girolami &
    Calderhead 2011).
    """

    metric: LearnedMetric = None  # type: ignore[assignment]
    iterations: int = struct.field(pytree_node=False, default=1)

    def momentum(self, z_BxZ: jax.Array, noise_BxZ: jax.Array) -> jax.Array:
        return jnp.einsum("bij,bi->bj", self.metric.roots(z_BxZ)[1], noise_BxZ)

    def log_momentum(self, z_BxZ: jax.Array, momentum_BxZ: jax.Array) -> jax.Array:
        root_BxZxZ, _ = self.metric.roots(z_BxZ)
        noise_BxZ = jnp.einsum("bij,bi->bj", root_BxZxZ, momentum_BxZ)
        return super().log_momentum(z_BxZ, noise_BxZ) + _log_diagonal(root_BxZxZ)

    def leapfrog(self, z_BxZ: jax.Array, momentum_BxZ: jax.Array, force_BxZ: jax.Array) -> tuple[jax.Array, ...]:
        step_1xZ, metric = self.step[None, :], self.metric
        inner_BxZxZ = self._inner(z_BxZ)

        def half_step(_: Any, half_BxZ: jax.Array) -> jax.Array:
            return momentum_BxZ + 0.5 * step_1xZ * (force_BxZ + metric.slope(z_BxZ, half_BxZ, inner_BxZxZ))

        half_BxZ = _repeated(half_step, self.iterations, momentum_BxZ)
        before_BxZ = self._velocity(z_BxZ, half_BxZ)

        def whole_step(_: Any, end_BxZ: jax.Array) -> jax.Array:
            return z_BxZ + 0.5 * step_1xZ * (before_BxZ + self._velocity(end_BxZ, half_BxZ))

        z_BxZ = _repeated(whole_step, self.iterations, z_BxZ)
        force_BxZ = self.force(z_BxZ)
        slope_BxZ = metric.slope(z_BxZ, half_BxZ, self._inner(z_BxZ))
        return z_BxZ, half_BxZ + 0.5 * step_1xZ * (force_BxZ + slope_BxZ), force_BxZ

    def _velocity(self, z_BxZ: jax.Array, momentum_BxZ: jax.Array) -> jax.Array:
        return jnp.einsum("bij,bj->bi", self.metric.inverse(z_BxZ), momentum_BxZ)

    def _inner(self, z_BxZ: jax.Array) -> jax.Array:
        """G at codes, [B, Z, Z]."""
        _, inverse_BxZxZ = self.metric.roots(z_BxZ)
        return jnp.einsum("bij,bik->bjk", inverse_BxZxZ, inverse_BxZxZ, precision="highest")


def _repeated(update: Any, times: int, start: jax.Array) -> jax.Array:
    return lax.scan(lambda state, at: (update(at, state), None), start, jnp.arange(times))[0]


@struct.dataclass
class MetricFlow(HamiltonianFlow):
    """Posteriors that follow Hamiltonian dynamics on a manifold (Chadebec et al. 2020).

    The metric is that of the means and the factors L that the encoder gives `bank` training examples, the most recent
    ones, in a ring among the running statistics; gradients flow through those of the batch. L has its diagonal from a
    head and below it the triangle of a product of this `rank`, as FullGaussian has it.
    """

    bank: int = static_int(1, 100_000)
    rank: int = static_int(1, 1000)
    iterations: int = static_int(1, 100)
    temperature: Leaf = leaf_float(above=0)
    regularization: Leaf = leaf_float(above=0)

    has_metric: ClassVar[bool] = True

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("mean", "log_variance", "diagonal", *triangle_heads(self.rank))

    def start(self, width: int) -> dict[str, jax.Array]:
        return {
            "center": jnp.zeros((self.bank, width)),
            "factor": jnp.zeros((self.bank, width, width)),
            "weight": jnp.zeros(self.bank),  # 1 where the bank holds an example
            "place": jnp.zeros(()),  # of the oldest example, which the next one replaces
        }

    def trim_statistics(self, statistics: dict[str, jax.Array], latent_dim: int) -> dict[str, jax.Array]:
        return statistics | {
            "center": statistics["center"][:, :latent_dim],
            "factor": statistics["factor"][:, :latent_dim, :latent_dim],
        }

    def __call__(
        self,
        heads: dict[str, jax.Array],
        mask_Z: jax.Array,
        key: jax.Array | None = None,
        statistics: dict[str, jax.Array] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Code:
        code = super().__call__(heads, mask_Z, key, statistics, variables)
        if statistics is None:
            return code
        diagonal_BxZ = jax.nn.softplus(heads["diagonal"] + UNIT) * mask_Z[None, :]
        factor_BxZxZ = lower_triangle(heads, self.rank, mask_Z) + jax.vmap(jnp.diag)(diagonal_BxZ)
        return dataclasses.replace(code, statistics=self.remembered(statistics, heads["mean"], factor_BxZxZ))

    def remembered(
        self, statistics: dict[str, jax.Array], mean_BxZ: jax.Array, factor_BxZxZ: jax.Array
    ) -> dict[str, jax.Array]:
        """The statistics with the examples of a batch, as many as there is room for, in place of the oldest."""
        count = min(mean_BxZ.shape[0], self.bank)
        rows = (statistics["place"].astype(jnp.int32) + jnp.arange(count)) % self.bank
        return {
            "center": statistics["center"].at[rows].set(mean_BxZ[:count]),
            "factor": statistics["factor"].at[rows].set(factor_BxZxZ[:count]),
            "weight": statistics["weight"].at[rows].set(1.0),
            "place": (statistics["place"] + count) % self.bank,
        }

    def metric(self, statistics: dict[str, jax.Array], mask_Z: jax.Array) -> LearnedMetric:
        """The metric of a bank."""
        factor_RxZxZ = statistics["factor"]
        product_RxZxZ = jnp.einsum("rij,rkj->rik", factor_RxZxZ, factor_RxZxZ, precision="highest")
        return LearnedMetric(
            statistics["center"],
            product_RxZxZ,
            statistics["weight"],
            mask_Z,
            self.temperature,
            self.regularization,
        )

    def dynamics(self, posterior: Hamiltonian, statistics: dict[str, jax.Array]) -> Hamiltonian:
        fields = {field.name: getattr(posterior, field.name) for field in dataclasses.fields(posterior)}
        metric = self.metric(statistics, posterior.mask)
        return RiemannianHamiltonian(**fields, metric=metric, iterations=self.iterations)


UNIT = 0.541324855  # where softplus is 1
