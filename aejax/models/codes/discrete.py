"""Discrete codes: what they have in common, and units that are rounded to a few levels."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from aejax.base.errors import InputError
from aejax.models.bottlenecks import Bottleneck, Code, Quantized
from aejax.settings.fields import static_ints

MOST_ENTRIES = 2**20  # of a codebook


@struct.dataclass
class Discrete(Bottleneck):
    """The base: a code has T positions, each of which holds one of finitely many values.

    A position belongs to a group of units, and `latent_dim` is a multiple of their number; lanes may differ in the
    number of groups.
    """

    is_discrete: ClassVar[bool] = True
    group_setting: ClassVar[str] = "size"  # the setting of the model that the number of units in a group follows from

    @property
    def group(self) -> int:
        """The number of units in a group."""
        raise NotImplementedError

    @property
    def ranges(self) -> tuple[range, ...]:
        """The indices that each position of a group may have."""
        raise NotImplementedError

    def check(self, experiment: Any) -> None:
        if experiment.latent_dim % self.group:
            raise InputError(
                f"latent_dim={experiment.latent_dim}: must be a multiple of {self.group}, the units of a group "
                f"(model.{self.group_setting})"
            )

    def trim_statistics(self, statistics: dict[str, jax.Array], latent_dim: int) -> dict[str, jax.Array]:
        return statistics  # of codebooks, which all units share

    def indices(self, z_BxZ: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        """The indices [B, T] of the codes nearest to z_BxZ, -1 at masked positions."""
        raise NotImplementedError

    def vectors(self, indices_BxT: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        """The codes [B, Z] with these indices; the inverse of `indices`."""
        raise NotImplementedError

    def snapped(self, z_BxZ: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        return self.vectors(self.indices(z_BxZ, mask_Z, variables), mask_Z, variables)


def grouped(array_BxZ: jax.Array, size: int) -> jax.Array:
    """Groups of `size` units, [B, G, size]."""
    return array_BxZ.reshape(array_BxZ.shape[0], -1, size)


def straight_through(value: jax.Array, h: jax.Array) -> jax.Array:
    """The `value`, with the gradient of h (Bengio et al. 2013, section 4)."""
    return jax.lax.stop_gradient(value) + (h - jax.lax.stop_gradient(h))


@struct.dataclass
class FiniteScalar(Discrete):
    """Finite scalar quantization: each unit is bounded and rounded to a few levels (Mentzer et al. 2024, section 3.1).

    `levels` are those of the units of a group in turn; all combinations of them are its codebook, which is not learned.
    """

    levels: tuple[int, ...] = static_ints(2, 1000)

    group_setting: ClassVar[str] = "levels"

    @property
    def group(self) -> int:
        return len(self.levels)

    @property
    def entries(self) -> int:
        return math.prod(self.levels)

    @property
    def ranges(self) -> tuple[range, ...]:
        return (range(self.entries),)

    def check(self, experiment: Any) -> None:
        if not self.levels:
            raise InputError("model.levels=[]: must name the levels of one unit at least, as [8,5,5,5]")
        super().check(experiment)
        if self.entries > MOST_ENTRIES:
            raise InputError(
                f"model.levels={list(self.levels)}: have {self.entries:,} combinations, and {experiment.model_title} "
                f"takes at most {MOST_ENTRIES:,}; use lower or fewer levels, as [8,5,5,5]"
            )

    def __call__(
        self,
        heads: dict[str, jax.Array],
        mask_Z: jax.Array,
        key: jax.Array | None = None,
        statistics: dict[str, jax.Array] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Code:
        half_Z = self._levels(mask_Z) // 2
        bounded_BxZ = self._bounded(heads["mean"]) / half_Z[None, :] * mask_Z[None, :]
        index_BxT = self.indices(jax.lax.stop_gradient(bounded_BxZ), mask_Z, {})
        mean_BxZ = self.vectors(index_BxT, mask_Z, {})
        z_BxZ = straight_through(mean_BxZ, bounded_BxZ)
        return Code(z=z_BxZ, mean=mean_BxZ, mask=mask_Z, statistics=statistics, quantized=Quantized(index_BxT))

    def indices(self, z_BxZ: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        levels_Z = self._levels(mask_Z)
        digit_BxZ = jnp.round(z_BxZ * (levels_Z // 2)[None, :]) + (levels_Z // 2)[None, :]
        digit_BxZ = jnp.clip(digit_BxZ, 0, (levels_Z - 1)[None, :]).astype(jnp.int32)
        index_BxG = jnp.sum(grouped(digit_BxZ, self.group) * self._places()[None, None, :], axis=2)
        return jnp.where(mask_Z[None, :: self.group] > 0, index_BxG, -1)

    def vectors(self, indices_BxT: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        levels_D, half_Z = np.array(self.levels), self._levels(mask_Z) // 2
        digit_BxGxD = jnp.maximum(indices_BxT, 0)[:, :, None] // self._places()[None, None, :] % levels_D[None, None, :]
        digit_BxZ = digit_BxGxD.reshape(indices_BxT.shape[0], -1)
        return (digit_BxZ - half_Z[None, :]) / half_Z[None, :] * mask_Z[None, :]

    def _bounded(self, h_BxZ: jax.Array) -> jax.Array:
        """h_BxZ between the lowest and the highest level of each unit, which are whole numbers; 0 stays 0."""
        levels_Z = self._levels(h_BxZ[0])
        reach_Z = (levels_Z - 1) * (1 + MARGIN) / 2
        offset_Z = np.where(levels_Z % 2, 0.0, 0.5)  # an even number of levels is not symmetric around 0
        shift_Z = np.arctanh(offset_Z / reach_Z)
        return jnp.tanh(h_BxZ + shift_Z[None, :]) * reach_Z[None, :] - offset_Z[None, :]

    def _levels(self, unit_Z: jax.Array) -> np.ndarray:
        return np.resize(self.levels, unit_Z.shape[0])

    def _places(self) -> np.ndarray:
        """What a step of each unit of a group adds to the index, [D]."""
        return np.cumprod([1, *self.levels[:-1]])


MARGIN = 1e-3  # by which the range of a bounded unit exceeds that of its levels
