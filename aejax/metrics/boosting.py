"""Gradient boosting on binned codes, by histograms: which code units predict a label, and how well."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

Codes = tuple[jax.Array, jax.Array]  # z_NxZ and the labels y_N
BINS = 32  # quantiles of the fitted codes, between which trees may split
RIDGE = 1.0  # examples of gradient zero that each leaf has in addition
LARGEST = 4.0  # step of a leaf, before the learning rate
NEVER = -30.0  # logit of a label that no fitted example has


@functools.partial(jax.jit, static_argnames=("classes", "rounds", "depth", "rate"))
def boosted(
    fit: Codes, score: Codes, classes: int, rounds: int = 30, depth: int = 3, rate: float = 0.3
) -> tuple[jax.Array, jax.Array]:
    """The importance of each unit [Z], at least 0, and the share of `score` that boosted trees on `fit` label right.

    Multinomial boosting (Friedman 2001, algorithm 6) of `rounds` trees at the learning rate `rate`. A tree splits all
    leaves of a level at the same unit and threshold (Prokhorenkova et al. 2018) and predicts all classes at once. The
    importance is the sum of the decreases of the gradients' squared error that the unit's splits bring.
    """
    edge_KxZ = jnp.quantile(fit[0], jnp.arange(1, BINS) / BINS, axis=0)
    examples = fit[0].shape[0]
    z_MxZ = jnp.concatenate([fit[0], score[0]])  # those that are scored follow, without a say in the trees
    bin_ZxM = jax.vmap(functools.partial(jnp.searchsorted, side="left"))(edge_KxZ.T, z_MxZ.T)
    member_NxV = jax.nn.one_hot(fit[1], classes)
    share_V = jnp.mean(member_NxV, axis=0)
    start_V = jnp.where(share_V > 0, jnp.log(jnp.maximum(share_V, jnp.finfo(jnp.float32).tiny)), NEVER)

    def grown(gradient_NxV: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The leaf [M] of each example in the next tree, and the gain [Z] of its splits by unit."""
        leaf_M, gain_Z = jnp.zeros(z_MxZ.shape[0], jnp.int32), jnp.zeros(z_MxZ.shape[1])
        entry_NxW = jnp.concatenate([gradient_NxV, jnp.ones((examples, 1))], axis=1)  # gradients and a count
        for level in range(depth):
            leaves = 2**level
            leaf_NxL = jax.nn.one_hot(leaf_M[:examples], leaves)
            by_leaf_NxLW = (leaf_NxL[:, :, None] * entry_NxW[:, None, :]).reshape(examples, -1)

            def split_gain(bin_N: jax.Array, by_leaf_NxLW: jax.Array = by_leaf_NxLW, leaves: int = leaves) -> jax.Array:
                with jax.default_matmul_precision("highest"):
                    histogram = jax.nn.one_hot(bin_N, BINS).T @ by_leaf_NxLW
                below_KxLxW = jnp.cumsum(histogram, axis=0).reshape(BINS, leaves, -1)
                total_1xLxW = below_KxLxW[-1:]
                gain_KxL = _score(below_KxLxW) + _score(total_1xLxW - below_KxLxW) - _score(total_1xLxW)
                return jnp.sum(gain_KxL, axis=1)

            gain_ZxK = lax.map(split_gain, bin_ZxM[:, :examples])
            best = jnp.argmax(gain_ZxK)
            unit, threshold = best // BINS, best % BINS
            gain_Z = gain_Z.at[unit].add(jnp.maximum(gain_ZxK.ravel()[best], 0))
            leaf_M = 2 * leaf_M + (bin_ZxM[unit] > threshold)
        return leaf_M, gain_Z

    def one_round(logit_MxV: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        p_NxV = jax.nn.softmax(logit_MxV[:examples], axis=1)
        gradient_NxV = member_NxV - p_NxV
        leaf_M, gain_Z = grown(gradient_NxV)
        leaf_NxL = jax.nn.one_hot(leaf_M[:examples], 2**depth)
        with jax.default_matmul_precision("highest"):
            first_LxV, second_LxV = leaf_NxL.T @ gradient_NxV, leaf_NxL.T @ (p_NxV * (1 - p_NxV))
        step_LxV = jnp.clip((classes - 1) / classes * first_LxV / (second_LxV + RIDGE), -LARGEST, LARGEST)
        return logit_MxV + rate * step_LxV[leaf_M], gain_Z

    logit_MxV = jnp.broadcast_to(start_V[None, :], (z_MxZ.shape[0], classes))
    logit_MxV, gain_RxZ = lax.scan(one_round, logit_MxV, None, rounds)
    right = jnp.mean(jnp.argmax(logit_MxV[examples:], axis=1) == score[1])
    return jnp.sum(gain_RxZ, axis=0), right


def _score(sums: jax.Array) -> jax.Array:
    """How much the squared error of the gradients [..., V + 1] of a leaf falls by their mean; the last is the count."""
    return jnp.sum(sums[..., :-1] ** 2, axis=-1) / (sums[..., -1] + RIDGE)
