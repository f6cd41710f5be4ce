"""Codebooks: codes of vectors from a learned table, and the term by which the encoder commits to them."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.models.bottlenecks import Code, Quantized
from aejax.models.codes.discrete import MOST_ENTRIES, Discrete, grouped, straight_through
from aejax.models.objective import Context, Term
from aejax.settings.fields import Leaf, leaf_float, leaf_int, static_choice, static_int


@struct.dataclass
class Codebook(Discrete):
    """Each group of `size` units becomes the nearest of `codes` vectors (van den Oord et al. 2017, eq. 1 and 2).

    All groups share the codebook. With more than one of `levels`, each further level, with a codebook of its own,
    quantizes what the levels before it left over, and the code is their sum (Zeghidour et al. 2021, algorithm 1).

    With `learning=ema` an entry is the mean of the outputs that were assigned to it, with weights that fall by `decay`
    per step (van den Oord et al. 2017, appendix A.1, with Laplace smoothing); with `learning=loss` it descends on the
    second term of eq. 3. In training, an entry that has been idle for `revive` steps is replaced by a random output of
    the batch; all entries start that way.
    """

    codes: int = static_int(2, 65_536)
    size: int = static_int(1, 65_536)
    levels: int = static_int(1, 64)
    learning: str = static_choice("ema", "loss")
    decay: Leaf = leaf_float(0, 0.99999)
    revive: Leaf = leaf_int(1, 10**9)

    sampling = True  # entries are replaced by random outputs

    @property
    def group(self) -> int:
        return self.size

    @property
    def entries(self) -> int:
        return self.codes * self.levels

    @property
    def ranges(self) -> tuple[range, ...]:
        return tuple(range(level * self.codes, (level + 1) * self.codes) for level in range(self.levels))

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        if self.entries > MOST_ENTRIES:
            raise InputError(
                f"model.codes={self.codes}: model.levels={self.levels} codebooks have {self.entries:,} entries, and "
                f"{experiment.model_title} takes at most {MOST_ENTRIES:,}; lower one of the two"
            )
        is_term = any(isinstance(term, Commitment) for term in experiment.model.terms.values())
        if self.learning == "loss" and not is_term:
            raise InputError(
                "model.learning=loss: the codebook learns by the term aejax.models.codes.codebooks.Commitment, "
                "which is not in model.terms; add it, or set model.learning=ema"
            )

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        shape = (self.levels, self.codes, self.size)
        return {"codebook": jax.random.normal(key, shape)} if self.learning == "loss" else {}

    def start(self, width: int) -> dict[str, jax.Array]:
        shape = (self.levels, self.codes, self.size)
        idle_LxK = jnp.full(shape[:2], jnp.float32(self.revive))  # so that the first step replaces all entries
        if self.learning == "loss":
            return {"shift": jnp.zeros(shape), "idle": idle_LxK}  # from where descent left an entry to where it is
        return {"sum": jax.random.normal(jax.random.key(0), shape), "count": jnp.ones(shape[:2]), "idle": idle_LxK}

    def __call__(
        self,
        heads: dict[str, jax.Array],
        mask_Z: jax.Array,
        key: jax.Array | None = None,
        statistics: dict[str, jax.Array] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Code:
        h_BxGxD, mask_G = grouped(heads["mean"], self.size), mask_Z[:: self.size]

        def quantize(carry: Any, inputs: Any) -> Any:
            (rest_BxGxD, z_BxGxD, commitment_B, attraction_B), (state, key_level) = carry, inputs
            fixed_BxGxD = jax.lax.stop_gradient(rest_BxGxD)
            if key_level is not None:
                state = self.revived(state, fixed_BxGxD, mask_G, key_level)
            index_BxG, entry_BxGxD = self.nearest(state, fixed_BxGxD)
            attraction_B += _squared_distance(fixed_BxGxD, entry_BxGxD, mask_G)
            entry_BxGxD = jax.lax.stop_gradient(entry_BxGxD)
            commitment_B += _squared_distance(rest_BxGxD, entry_BxGxD, mask_G)
            if key_level is not None:
                state = self.counted(state, fixed_BxGxD, index_BxG, mask_G)
            carry = rest_BxGxD - entry_BxGxD, z_BxGxD + entry_BxGxD, commitment_B, attraction_B
            return carry, (index_BxG, state)

        keys = None if statistics is None or key is None else jax.random.split(key, self.levels)
        zero_B = jnp.zeros(h_BxGxD.shape[0])
        start = h_BxGxD, jnp.zeros_like(h_BxGxD), zero_B, zero_B
        carry, (index_LxBxG, states) = jax.lax.scan(quantize, start, (variables, keys))
        _, z_BxGxD, commitment_B, attraction_B = carry
        if statistics is not None:
            statistics = {name: states[name] for name in statistics}
        mean_BxZ = z_BxGxD.reshape(heads["mean"].shape) * mask_Z[None, :]
        quantized = Quantized(self._positions(index_LxBxG, mask_G), commitment_B, attraction_B)
        return Code(
            z=straight_through(mean_BxZ, heads["mean"]),
            mean=mean_BxZ,
            mask=mask_Z,
            statistics=statistics,
            quantized=quantized,
        )

    def indices(self, z_BxZ: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        return self({"mean": z_BxZ}, mask_Z, variables=variables).quantized.indices

    def vectors(self, indices_BxT: jax.Array, mask_Z: jax.Array, variables: dict[str, Any]) -> jax.Array:
        index_BxGxL = jnp.maximum(grouped(indices_BxT, self.levels), 0)
        z_BxGxD = jnp.sum(jax.vmap(self.table)(variables).reshape(-1, self.size)[index_BxGxL], axis=2)
        return z_BxGxD.reshape(z_BxGxD.shape[0], -1) * mask_Z[None, :]

    def _positions(self, index_LxBxG: jax.Array, mask_G: jax.Array) -> jax.Array:
        """The indices of each level as those of all entries, the levels of a group side by side, [B, T]."""
        index_BxGxL = jnp.moveaxis(index_LxBxG, 0, 2) + self.codes * jnp.arange(self.levels)[None, None, :]
        index_BxGxL = jnp.where(mask_G[None, :, None] > 0, index_BxGxL, -1)
        return index_BxGxL.reshape(index_BxGxL.shape[0], -1)

    def nearest(self, state: dict[str, jax.Array], h_BxGxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The indices [B, G] of a level's nearest vectors, of equally near ones the first, and these [B, G, D]."""
        table_KxD = self.table(state)
        products_BxGxK = jnp.einsum("bgd,kd->bgk", h_BxGxD, table_KxD, precision="highest")
        index_BxG = jnp.argmin(jnp.sum(table_KxD**2, axis=1)[None, None, :] - 2 * products_BxGxK, axis=2)
        return index_BxG, table_KxD[index_BxG]

    def table(self, state: dict[str, jax.Array]) -> jax.Array:
        """The vectors of a level, [K, D]."""
        if self.learning == "loss":
            return state["codebook"] + state["shift"]
        total = jnp.sum(state["count"])
        smoothed_K = (state["count"] + SMOOTHING) / (total + self.codes * SMOOTHING) * total
        return state["sum"] / smoothed_K[:, None]

    def revived(
        self, state: dict[str, jax.Array], h_BxGxD: jax.Array, mask_G: jax.Array, key: jax.Array
    ) -> dict[str, jax.Array]:
        """The state of a level with new vectors in place of idle ones; the draws do not depend on the width."""
        key_example, key_group = jax.random.split(key)
        example_K = jax.random.randint(key_example, (self.codes,), 0, h_BxGxD.shape[0])
        group_K = jax.random.randint(key_group, (self.codes,), 0, jnp.sum(mask_G).astype(jnp.int32))
        vector_KxD, idle_K = h_BxGxD[example_K, group_K], state["idle"] >= self.revive
        fresh = {"idle": jnp.zeros(self.codes)}
        if self.learning == "loss":
            fresh |= {"shift": vector_KxD - jax.lax.stop_gradient(state["codebook"])}
        else:
            fresh |= {"sum": vector_KxD, "count": jnp.ones(self.codes)}
        return state | {name: _where(idle_K, array, state[name]) for name, array in fresh.items()}

    def counted(
        self, state: dict[str, jax.Array], h_BxGxD: jax.Array, index_BxG: jax.Array, mask_G: jax.Array
    ) -> dict[str, jax.Array]:
        """The state of a level after a batch whose outputs were assigned to these entries."""
        member_BxGxK = jax.nn.one_hot(index_BxG, self.codes) * mask_G[None, :, None]
        count_K = jnp.sum(member_BxGxK, axis=(0, 1))
        after = {"idle": jnp.where(count_K > 0, 0.0, state["idle"] + 1)}
        if self.learning == "ema":
            sum_KxD = jnp.einsum("bgk,bgd->kd", member_BxGxK, h_BxGxD, precision="highest")
            after |= {
                "sum": self.decay * state["sum"] + (1 - self.decay) * sum_KxD,
                "count": self.decay * state["count"] + (1 - self.decay) * count_K,
            }
        return state | after


SMOOTHING = 1e-5  # of the counts of entries


@struct.dataclass
class Commitment(Term):
    """The squared distance of the encoder's outputs to their entries (van den Oord et al. 2017, eq. 3), [B].

    The weight is that of the third term, which moves the encoder. With learning=loss the second, which moves the
    entries, is added with weight 1. With levels it is the sum over them.
    """

    def check(self, experiment: Any) -> None:
        if not isinstance(experiment.model.bottleneck, Codebook):
            raise InputError(
                "model.terms: Commitment needs a bottleneck with a codebook, "
                "such as aejax.models.codes.codebooks.Codebook"
            )

    def __call__(self, context: Context) -> jax.Array:
        return context.outputs.code.quantized.commitment

    def contribution(self, context: Context, mean: jax.Array) -> jax.Array:
        moving = self.weight * mean
        if context.experiment.model.bottleneck.learning == "loss":
            moving += jnp.mean(context.outputs.code.quantized.attraction)
        return moving


def _squared_distance(a_BxGxD: jax.Array, b_BxGxD: jax.Array, mask_G: jax.Array) -> jax.Array:
    return jnp.sum((a_BxGxD - b_BxGxD) ** 2 * mask_G[None, :, None], axis=(1, 2))


def _where(is_new_K: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(is_new_K.reshape(-1, *[1] * (new.ndim - 1)), new, old)
