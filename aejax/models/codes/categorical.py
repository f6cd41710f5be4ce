"""Codes of binary units and of categories, which are drawn in training, and the uniform prior of categories."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models.bottlenecks import Code, Quantized
from aejax.models.codes.discrete import Discrete, grouped, straight_through
from aejax.models.layers import mask_of
from aejax.models.posteriors import Draw, Posterior
from aejax.models.priors import Prior
from aejax.settings.fields import Leaf, leaf_float, static_bool, static_choice, static_int


@struct.dataclass
class Binary(Discrete):
    """Units that are 0 or 1, in training 1 with the probability sigmoid(h), in evaluation where that exceeds 1/2.

    The gradient of a draw is that of its probability (`straight_through`; Bengio et al. 2013, section 4; Raiko et al.
    2015), or units are relaxed in training to sigmoid((h + logistic noise) / temperature) (`gumbel`; Maddison et al.
    2017, appendix B).
    """

    gradient: str = static_choice("straight_through", "gumbel")
    temperature: Leaf = leaf_float(above=0)

    sampling = True

    @property
    def group(self) -> int:
        return 1

    @property
    def ranges(self) -> tuple[range, ...]:
        return (range(2),)

    def __call__(
        self,
        heads: dict[str, jax.Array],
        mask_Z: jax.Array,
        key: jax.Array | None = None,
        statistics: dict[str, jax.Array] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Code:
        h_BxZ = heads["mean"]
        mean_BxZ = (h_BxZ > 0) * mask_Z[None, :]
        if key is None:
            z_BxZ = straight_through(mean_BxZ, jax.nn.sigmoid(h_BxZ) * mask_Z[None, :])
        else:
            noisy_BxZ = h_BxZ + by_unit(jax.random.logistic, key, *h_BxZ.shape)
            if self.gradient == "gumbel":
                z_BxZ = jax.nn.sigmoid(noisy_BxZ / self.temperature) * mask_Z[None, :]
            else:
                z_BxZ = straight_through(1.0 * (noisy_BxZ > 0), jax.nn.sigmoid(h_BxZ)) * mask_Z[None, :]
        quantized = Quantized(self.indices(mean_BxZ, mask_Z, {}))
        return Code(z=z_BxZ, mean=mean_BxZ, mask=mask_Z, statistics=statistics, quantized=quantized)

    def indices(self, z_BxZ: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        return jnp.where(mask_Z[None, :] > 0, (z_BxZ > 0.5).astype(jnp.int32), -1)

    def vectors(self, indices_BxT: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        return (indices_BxT > 0) * mask_Z[None, :]


@struct.dataclass
class OneHot(Posterior):
    """Independent categories in groups of `size` units; log_probability [B, Z] are those of a unit to be the 1."""

    log_probability: jax.Array
    size: int = struct.field(pytree_node=False)

    def sample(self, key: jax.Array) -> Draw:
        noise_BxZ = by_unit(jax.random.gumbel, key, *self.log_probability.shape)
        z_BxZ = largest(self.log_probability + noise_BxZ, self.size) * self.mask[None, :]
        return Draw(z_BxZ, self.log_prob(z_BxZ))

    def log_prob(self, z_BxZ: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(z_BxZ > 0.5, self.log_probability, 0.0) * self.mask[None, :], axis=1)


@struct.dataclass
class Concrete(Discrete):
    """Categories in groups of `size` units, relaxed in training (Maddison et al. 2017; Jang et al. 2017).

    The relaxed draw is softmax((logits + Gumbel noise) / temperature); with `hard` it is rounded to its category and
    keeps its gradient. The temperature is max(lowest, temperature exp(-rate step)) (Jang et al. 2017, section 4).
    Evaluation draws categories, so that bounds are those of the discrete code; its mean is the most probable one.
    """

    size: int = static_int(2, 65_536)
    temperature: Leaf = leaf_float(above=0)
    rate: Leaf = leaf_float(0)
    lowest: Leaf = leaf_float(above=0)
    hard: bool = static_bool()

    has_posterior: ClassVar[bool] = True
    sampling = True

    @property
    def group(self) -> int:
        return self.size

    @property
    def ranges(self) -> tuple[range, ...]:
        return (range(self.size),)

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        if not isinstance(experiment.prior, Categorical):
            raise InputError(
                f"prior={experiment.prior.choice}: is no prior of categories, which the codes of "
                f"{experiment.model_title} are; use prior=categorical"
            )
        if experiment.bound.has_kl:
            raise InputError(
                f"bound={experiment.bound.name}: needs gradients of drawn codes, which the categories of "
                f"{experiment.model_title} have not; use bound=elbo"
            )

    def start(self, width: int) -> dict[str, jax.Array]:
        return {"step": jnp.zeros(())}

    def __call__(
        self,
        heads: dict[str, jax.Array],
        mask_Z: jax.Array,
        key: jax.Array | None = None,
        statistics: dict[str, jax.Array] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Code:
        logits_BxZ = heads["mean"]
        mean_BxZ = largest(logits_BxZ, self.size) * mask_Z[None, :]
        log_BxZ = jax.nn.log_softmax(grouped(logits_BxZ, self.size), axis=2).reshape(logits_BxZ.shape)
        posterior = OneHot(mean_BxZ, mask_Z, log_BxZ, self.size)
        quantized = Quantized(self.indices(mean_BxZ, mask_Z, {}))
        z_BxZ, draw = mean_BxZ, None
        if statistics is not None and key is not None:
            temperature = jnp.maximum(self.lowest, self.temperature * jnp.exp(-self.rate * statistics["step"]))
            statistics = {"step": statistics["step"] + 1}
            noisy_BxZ = logits_BxZ + by_unit(jax.random.gumbel, key, *logits_BxZ.shape)
            z_BxZ = jax.nn.softmax(grouped(noisy_BxZ / temperature, self.size), axis=2).reshape(logits_BxZ.shape)
            z_BxZ = (straight_through(largest(noisy_BxZ, self.size), z_BxZ) if self.hard else z_BxZ) * mask_Z[None, :]
        elif key is not None:
            draw = posterior.sample(key)
            z_BxZ = draw.z
        return Code(
            z=z_BxZ,
            mean=mean_BxZ,
            mask=mask_Z,
            posterior=posterior,
            draw=draw,
            statistics=statistics,
            quantized=quantized,
        )

    def indices(self, z_BxZ: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        index_BxG = jnp.argmax(grouped(z_BxZ, self.size), axis=2)
        return jnp.where(mask_Z[None, :: self.size] > 0, index_BxG, -1)

    def vectors(self, indices_BxT: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        return jax.nn.one_hot(indices_BxT, self.size).reshape(indices_BxT.shape[0], -1) * mask_Z[None, :]


@struct.dataclass
class Categorical(Prior):
    """All categories of a group are equally probable."""

    choice: ClassVar[str] = "categorical"

    def check(self, experiment: Any) -> None:
        if not isinstance(experiment.model.bottleneck, Concrete):
            raise InputError(
                f"prior=categorical: the codes of {experiment.model_title} are no categories; use "
                "model=concrete_vae, or prior=normal"
            )

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        size = experiment.model.bottleneck.size
        return jnp.full(z_BxZ.shape[:1], -jnp.sum(mask_of(experiment, params)) / size * jnp.log(size))

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
        mask_Z = mask_of(experiment, params)
        score_SxZ = normal_by_unit(key, mask_Z.shape[0], (samples,)).T  # the largest of equal draws is any of them
        return largest(score_SxZ, experiment.model.bottleneck.size) * mask_Z[None, :]

    def kl(self, experiment: Any, params: Any, posterior: Any, label: jax.Array | None = None) -> jax.Array | None:
        """The KL of a group, in equal parts on its units."""
        log_BxGxS = grouped(posterior.log_probability, posterior.size)
        kl_BxG = jnp.sum(jnp.exp(log_BxGxS) * (log_BxGxS + jnp.log(posterior.size)), axis=2)
        return jnp.repeat(kl_BxG / posterior.size, posterior.size, axis=1) * posterior.mask[None, :]


def largest(score_BxZ: jax.Array, size: int) -> jax.Array:
    """1 for the largest unit of each group of `size`, of equal ones the first, and 0 for the others, [B, Z]."""
    return jax.nn.one_hot(jnp.argmax(grouped(score_BxZ, size), axis=2), size).reshape(score_BxZ.shape)


def by_unit(
    draw: Callable[[jax.Array, tuple[int, ...]], jax.Array], key: jax.Array, examples: int, units: int
) -> jax.Array:
    """Draws [B, Z]; those of a unit do not depend on how many others there are."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(units))
    return jax.vmap(lambda key_unit: draw(key_unit, (examples,)), out_axes=1)(keys)
