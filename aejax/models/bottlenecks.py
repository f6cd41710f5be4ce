"""Between encoder and decoder: hidden units -> code, of which masked units are 0 (`layers`)."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.models.posteriors import Correlated, Diagonal, Draw, Posterior
from aejax.settings.fields import Leaf, leaf_float, leaf_int, static_bool, static_choice, static_int


@struct.dataclass
class Quantized:
    """A code as indices [B, T] int32 of its T positions, -1 where a position is masked.

    With a codebook, the squared distances of the encoder's outputs to their entries come in two copies, [B]: the
    gradient of `commitment` moves the outputs, that of `attraction` the entries.
    """

    indices: jax.Array
    commitment: Any = None
    attraction: Any = None


@struct.dataclass
class Code:
    """The output of a bottleneck: z_BxZ goes to the decoder, evaluation uses mean_BxZ.

    mask_Z is 1 for the units that the lane has. `posterior` is the distribution of z, None where there is none, and
    `draw` the Draw of it that z is, None where z is the mean. `statistics` go to the next step of a training.
    `quantized` is the Quantized of a discrete code, None of any other.
    """

    z: jax.Array
    mean: jax.Array
    mask: jax.Array
    posterior: Posterior | None = None
    draw: Draw | None = None
    statistics: dict[str, jax.Array] | None = None
    quantized: Any = None


@struct.dataclass
class Bottleneck:
    """The base: `bottleneck(heads, mask_Z, key, statistics, variables)` gives the Code of `heads` {name: BxZ}.

    The encoder's output is beside the heads, as `hidden` [B, H]. Without a key z is the posterior mean. `statistics`
    {name: Z} are passed in a training step only; `variables` are the parameters that `init` made and the statistics as
    they are, {} where there are none.
    """

    heads: ClassVar[tuple[str, ...]] = ("mean",)  # what the code is made from; evaluation needs a mean
    has_posterior: ClassVar[bool] = False
    has_metric: ClassVar[bool] = False  # whether codes have a Riemannian metric, as codes.riemannian.MetricFlow
    is_discrete: ClassVar[bool] = False  # whether codes are among finitely many, as codes.discrete.Discrete
    sampling = False  # no ClassVar, because a kind may have it as a field

    def check(self, experiment: Any) -> None:
        """Raises InputError if the kind does not fit the rest of the experiment."""

    @property
    def entries(self) -> int | None:
        """The number of entries of the codebook that all positions of a discrete code share, None without one."""
        return None

    def start(self, width: int) -> dict[str, jax.Array]:
        """The statistics before the first step, {name: Z}: what training carries along beside the parameters."""
        return {}

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        """Variables of its own before the first step; `width` is the number of code units, masked ones included."""
        return {}

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        """The variables without masked units."""
        return variables

    def by_level(self, mask_Z: jax.Array) -> jax.Array:
        """1 for the units of each level of the code, [L, Z]; the first level is what the decoder sees."""
        return mask_Z[None, :]

    def coordinates(self, z_BxZ: jax.Array) -> jax.Array:
        """What the decoder sees of codes z_BxZ, [B, Z]."""
        return z_BxZ

    def completed(
        self,
        code: Code,
        experiment: Any,
        params: Any,
        x_BxP: jax.Array,
        key: jax.Array | None = None,
        label: jax.Array | None = None,
    ) -> Code:
        """The code of a kind that looks at the whole model, not only at heads of the encoder."""
        return code

    def trim_statistics(self, statistics: dict[str, jax.Array], latent_dim: int) -> dict[str, jax.Array]:
        """The statistics without masked units."""
        return {name: values_Z[:latent_dim] for name, values_Z in statistics.items()}

    def snapped(self, z_BxZ: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        """The codes nearest to z_BxZ among those that the bottleneck can give, all unless they are discrete."""
        return z_BxZ


@struct.dataclass
class Plain(Bottleneck):
    """The code is the encoder's output itself, through an activation."""

    activation: str = static_choice("identity", "relu", "sigmoid", "softplus", "tanh")

    def __call__(
        self,
        heads: dict[str, jax.Array],
        mask_Z: jax.Array,
        key: jax.Array | None = None,
        statistics: dict[str, jax.Array] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Code:
        z_BxZ = getattr(jax.nn, self.activation)(heads["mean"]) * mask_Z[None, :]
        return Code(z=z_BxZ, mean=z_BxZ, mask=mask_Z, statistics=statistics)


@struct.dataclass
class TopK(Bottleneck):
    """The k largest of the encoder's outputs, the others 0 (Makhzani & Frey 2014, section 2).

    In training an output counts for more by `boost` standard deviations for each step that its unit has not been among
    the largest for any example, so that a dead unit comes back; its value does not change.
    """

    k: Leaf = leaf_int(1, 2**16)
    boost: Leaf = leaf_float(0)

    def check(self, experiment: Any) -> None:
        if self.k > experiment.latent_dim:
            raise InputError(f"model.k={self.k}: must be at most latent_dim, {experiment.latent_dim}")

    def start(self, width: int) -> dict[str, jax.Array]:
        return {"idle": jnp.zeros(width)}  # steps since a unit was last among the largest

    def __call__(
        self,
        heads: dict[str, jax.Array],
        mask_Z: jax.Array,
        key: jax.Array | None = None,
        statistics: dict[str, jax.Array] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Code:
        h_BxZ = score_BxZ = heads["mean"]
        if statistics is not None:
            deviation = jnp.sqrt(jnp.mean(h_BxZ**2) * mask_Z.shape[0] / jnp.sum(mask_Z))
            score_BxZ = h_BxZ + (self.boost * deviation * statistics["idle"])[None, :]
        score_BxZ = jax.lax.stop_gradient(jnp.where(mask_Z[None, :] > 0, score_BxZ, -jnp.inf))
        passed_BxZ = among_largest(score_BxZ, self.k)
        if statistics is not None:
            statistics = {"idle": jnp.where(passed_BxZ.any(axis=0), 0.0, statistics["idle"] + 1) * mask_Z}
        z_BxZ = jnp.where(passed_BxZ, h_BxZ, 0.0)
        return Code(z=z_BxZ, mean=z_BxZ, mask=mask_Z, statistics=statistics)


def among_largest(score_BxZ: jax.Array, k: Leaf) -> jax.Array:
    """True for the k largest scores of each row, of equal ones the first; k may be a tracer."""
    order_BxZ = _in_order(score_BxZ)

    def with_bit(place: jax.Array, least_Bx1: jax.Array) -> jax.Array:  # takes a seventh of the time of sorting
        higher_Bx1 = least_Bx1 | (jnp.uint32(1) << (31 - place).astype(jnp.uint32))
        return jnp.where(jnp.sum(order_BxZ >= higher_Bx1, axis=1, keepdims=True) >= k, higher_Bx1, least_Bx1)

    least_Bx1 = jax.lax.fori_loop(0, 32, with_bit, jnp.zeros_like(order_BxZ[:, :1]))  # the k-th largest, bit by bit
    above_BxZ, equal_BxZ = order_BxZ > least_Bx1, order_BxZ == least_Bx1
    places_Bx1 = k - jnp.sum(above_BxZ, axis=1, keepdims=True)
    return above_BxZ | (equal_BxZ & (jnp.cumsum(equal_BxZ, axis=1) <= places_Bx1))


def _in_order(x: jax.Array) -> jax.Array:
    """float32 as uint32 in the same order: of the IEEE 754 bits the sign is flipped, or all of them if negative."""
    bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)  # -0 is 0
    sign = jnp.uint32(1 << 31)
    return jnp.where(bits & sign, ~bits, bits | sign)


@struct.dataclass
class Gaussian(Bottleneck):
    """A diagonal Gaussian posterior (Kingma & Welling 2014, section 3).

    With `sampling=false` training decodes the posterior mean instead of z = mean + std * eps; evaluation samples for
    the ELBO in either case.
    """

    sampling: bool = static_bool()

    heads: ClassVar[tuple[str, ...]] = ("mean", "log_variance")
    has_posterior: ClassVar[bool] = True

    def __call__(
        self,
        heads: dict[str, jax.Array],
        mask_Z: jax.Array,
        key: jax.Array | None = None,
        statistics: dict[str, jax.Array] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Code:
        return drawn(self.posterior(heads, mask_Z, variables or {}), key, statistics)

    def posterior(self, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: dict[str, Any]) -> Posterior:
        """The posterior of these heads; other kinds of posteriors override it."""
        return Diagonal(heads["mean"], mask_Z, heads["log_variance"])


@struct.dataclass
class FullGaussian(Gaussian):
    """A Gaussian posterior with a full covariance (Kingma & Welling 2019, section 2.5.1).

    The Cholesky factor is the lower triangle of a product of two matrices of this `rank`, which depend on the example:
    any triangle for a code of up to 2 rank + 1 units.
    """

    rank: int = static_int(1, 1000)

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*Gaussian.heads, *triangle_heads(self.rank))

    def posterior(self, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: dict[str, Any]) -> Posterior:
        lower_BxZxZ = lower_triangle(heads, self.rank, mask_Z)
        return Correlated(heads["mean"], mask_Z, heads["log_variance"], lower_BxZxZ)


def triangle_heads(rank: int) -> tuple[str, ...]:
    """The names of the heads that `lower_triangle` takes."""
    return tuple(f"{name}_{place}" for name in ("row", "column") for place in range(rank))


def lower_triangle(heads: dict[str, jax.Array], rank: int, mask_Z: jax.Array) -> jax.Array:
    """What is below the diagonal of a product of two matrices of this rank, [B, Z, Z]."""
    row_RxBxZ, column_RxBxZ = stacked(heads, "row", rank), stacked(heads, "column", rank)
    product_BxZxZ = jnp.einsum("rbi,rbj->bij", row_RxBxZ, column_RxBxZ)
    return jnp.tril(product_BxZxZ, -1) / jnp.sqrt(rank * jnp.sum(mask_Z))


def stacked(heads: dict[str, jax.Array], name: str, count: int) -> jax.Array:
    """The heads NAME_0, NAME_1, ... as one array, [count, B, Z]."""
    return jnp.stack([heads[f"{name}_{place}"] for place in range(count)])


def pooled(head: jax.Array, mask_Z: jax.Array) -> jax.Array:
    """A number for each example, [..., B], from a head [..., B, Z], at a scale that more units do not change."""
    return jnp.sum(head, axis=-1) / jnp.sqrt(jnp.sum(mask_Z))


@struct.dataclass
class Estimated(Gaussian):
    """The base of posteriors whose KL has no closed form, so that training needs a sample."""

    def check(self, experiment: Any) -> None:
        if not self.sampling:
            raise InputError(
                f"model.bottleneck.sampling=false: {experiment.model_title} estimates its KL from a sample; set it to "
                "true, or use model=vae"
            )


def drawn(posterior: Posterior, key: jax.Array | None, statistics: dict[str, jax.Array] | None) -> Code:
    """The Code of a posterior: a sample of it with a key, its mean without one."""
    draw = None if key is None else posterior.sample(key)
    z_BxZ = posterior.mean if draw is None else draw.z
    return Code(
        z=z_BxZ, mean=posterior.mean, mask=posterior.mask, posterior=posterior, draw=draw, statistics=statistics
    )
