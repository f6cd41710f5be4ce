"""How well code units stand for the factors that made the examples, one unit for one factor.

Codes z [N, Z] come with factors [N, F] int32, whose values are numbered from 0; `sizes` are how many values each has,
two at least. `fit` and `score` are pairs of both. Units that do not vary, such as masked ones, take no part, and the
random draws do not depend on the number of units. Every score is nan without a unit that varies.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from aejax.metrics.boosting import boosted
from aejax.metrics.code import live_units
from aejax.metrics.probe import linear_probe, regression

Known = tuple[jax.Array, jax.Array]  # z_NxZ and factors_NxF
BINS = 20  # of equal width between the extremes of a unit
RANGE = 1 / 20  # of the largest range of a unit: InfoMEC leaves out units of a smaller one
PENALTY = 1e-5  # L2 of InfoE's regression, which keeps it finite where a factor is told without error


@functools.partial(jax.jit, static_argnames="sizes")
def mutual_information(z_NxZ: jax.Array, factors_NxF: jax.Array, sizes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Mutual information [Z, F] of binned units and factors, and the factors' entropies [F], in nats.

    From the frequencies in BINS bins, so it is biased upward by about (BINS - 1)(values - 1) / 2N.
    """
    member_NxV = _members(factors_NxF, sizes)
    share_V = jnp.mean(member_NxV, axis=0)
    live_Z = live_units(z_NxZ)

    entropy_F = jnp.stack([_entropy(share_V[place], 0) for place in _places(sizes)])

    def of_unit(bin_N: jax.Array) -> jax.Array:
        bin_NxB = jax.nn.one_hot(bin_N, BINS)
        joint_BxV = bin_NxB.T @ member_NxV / z_NxZ.shape[0]
        joint_F = jnp.stack([_entropy(joint_BxV[:, place].ravel(), 0) for place in _places(sizes)])
        return jnp.maximum(_entropy(jnp.mean(bin_NxB, axis=0), 0) + entropy_F - joint_F, 0)

    information_ZxF = lax.map(of_unit, _binned(z_NxZ, z_NxZ).T)
    return jnp.where(live_Z[:, None], information_ZxF, 0), entropy_F


@functools.partial(jax.jit, static_argnames="sizes")
def informations(z_NxZ: jax.Array, factors_NxF: jax.Array, sizes: tuple[int, ...]) -> dict[str, jax.Array]:
    """What follows from the mutual information: {"mig", "modularity", "info_m", "info_c"}, each at most 1.

    MIG: the largest information about a factor less the second largest, over the factor's entropy, mean over factors
    (Chen et al. 2018, eq. 6). Modularity: 1 less the squared information of a unit about other factors than its main
    one, over that about its main one times F - 1, mean over units (Ridgeway & Mozer 2018). InfoM and InfoC: the
    largest share of a unit's information that is about one factor, of a factor's that is in one unit, scaled so that
    equal shares give 0 (Hsu et al. 2023), binned instead of by nearest neighbors.
    """
    information_ZxF, entropy_F = mutual_information(z_NxZ, factors_NxF, sizes)
    factors, live_Z = len(sizes), live_units(z_NxZ)
    first_F, second_F = _two_largest(information_ZxF)
    main_Z = jnp.max(information_ZxF, axis=1)
    others_Z = jnp.sum(information_ZxF**2, axis=1) - main_Z**2
    template_Z = 1 - others_Z / (jnp.where(main_Z > 0, main_Z, 1) ** 2 * (factors - 1))

    range_Z = jnp.ptp(z_NxZ, axis=0)
    active_Z = live_Z & (range_Z > RANGE * jnp.max(range_Z))
    active = jnp.sum(active_Z)
    normalized_ZxF = jnp.where(active_Z[:, None], information_ZxF / entropy_F[None, :], 0)
    share_Z = _largest_share(normalized_ZxF, 1, 1 / factors)
    share_F = _largest_share(normalized_ZxF, 0, 1 / active)
    compact = (jnp.mean(share_F) - 1 / active) / jnp.where(active > 1, 1 - 1 / active, 1)
    scores = {
        "mig": jnp.mean((first_F - second_F) / entropy_F),
        "modularity": _mean(jnp.where(main_Z > 0, template_Z, 0), live_Z),
        "info_m": (_mean(share_Z, active_Z) - 1 / factors) / (1 - 1 / factors),
        "info_c": jnp.where(active > 1, compact, 1.0),
    }
    return {name: _if_any(live_Z, value) for name, value in scores.items()}


@functools.partial(jax.jit, static_argnames="sizes")
def info_e(fit: Known, score: Known, sizes: tuple[int, ...]) -> jax.Array:
    """InfoE: the share of each factor's entropy that a logistic regression on all units takes away, mean over factors.

    0 to 1 (Hsu et al. 2023). Fitted on `fit` with hardly a penalty; cross-entropies are those of `score`,
    without units by the frequencies in `fit`.
    """
    mean_Z, live_Z = jnp.mean(fit[0], axis=0), live_units(fit[0])
    scale_Z = jnp.where(live_Z, 1 / jnp.where(live_Z, jnp.std(fit[0], axis=0), 1), 0)
    x_QxN, x_QxM = (
        jnp.concatenate([(z - mean_Z[None, :]) * scale_Z[None, :], jnp.ones((z.shape[0], 1))], axis=1).T
        for z in (fit[0], score[0])
    )
    values = max(sizes)

    def explained(labels: tuple[jax.Array, jax.Array]) -> jax.Array:
        y_N, y_M = labels
        weights_VxQ = regression(x_QxN, y_N, jnp.zeros((values, x_QxN.shape[0])), PENALTY)
        count_V = jnp.sum(jax.nn.one_hot(y_N, values), axis=0)
        null_V = jnp.log(jnp.maximum(count_V, 0.5) / y_N.shape[0])  # a value that `fit` lacks is not impossible
        log_p_VxM = jax.nn.log_softmax(weights_VxQ @ x_QxM, axis=0)
        told = -jnp.mean(jnp.take_along_axis(log_p_VxM, y_M[None, :], axis=0))
        untold = -jnp.mean(null_V[y_M])
        return jnp.clip(1 - told / untold, 0, 1)

    return _if_any(live_Z, jnp.mean(lax.map(explained, (fit[1].T, score[1].T))))


@functools.partial(jax.jit, static_argnames="sizes")
def sap(fit: Known, score: Known, sizes: tuple[int, ...]) -> jax.Array:
    """SAP: how much better the best unit alone tells a factor than the second best, mean over factors, 0 to 1.

    Kumar et al. 2018, section 3, with all factors categorical: the balanced accuracy of thresholds, which here bound
    the BINS bins of a unit; the commonest value of a bin, each value weighted alike, is read off `fit`. Units that do
    not vary score 0.
    """
    member_MxV, member_NxV = _members(fit[1], sizes), _members(score[1], sizes)
    even_V, size_V = jnp.maximum(jnp.sum(member_MxV, axis=0), 1), jnp.sum(member_NxV, axis=0)

    def of_unit(bins: tuple[jax.Array, jax.Array]) -> jax.Array:
        share_BxV = jax.nn.one_hot(bins[0], BINS).T @ member_MxV / even_V[None, :]
        count_BxV = jax.nn.one_hot(bins[1], BINS).T @ member_NxV
        accuracies = []
        for place in _places(sizes):
            right_BxV = jax.nn.one_hot(jnp.argmax(share_BxV[:, place], axis=1), place.stop - place.start)
            recall_V = jnp.sum(right_BxV * count_BxV[:, place], axis=0) / jnp.maximum(size_V[place], 1)
            accuracies.append(jnp.sum(recall_V) / jnp.sum(size_V[place] > 0))
        return jnp.stack(accuracies)

    live_Z = live_units(fit[0])
    accuracy_ZxF = lax.map(of_unit, (_binned(fit[0], fit[0]).T, _binned(score[0], fit[0]).T))
    first_F, second_F = _two_largest(jnp.where(live_Z[:, None], accuracy_ZxF, 0))
    return _if_any(live_Z, jnp.mean(first_F - second_F))


@functools.partial(jax.jit, static_argnames="sizes")
def dci(fit: Known, score: Known, sizes: tuple[int, ...]) -> dict[str, jax.Array]:
    """{"dci_disentanglement", "dci_completeness", "dci_informativeness"}, 0 to 1 (Eastwood & Williams 2018, section 2).

    Importances are those of gradient boosted trees (`boosting`), for each factor divided by their sum. Disentanglement:
    1 less the entropy of a unit's importances for factors, units weighted by their importance; completeness: 1 less
    that of a factor's importances of units; informativeness: the accuracy of the trees on `score`. Entropies are over
    their largest values, log F and the log of the number of units that vary.
    """
    live_Z, factors = live_units(fit[0]), len(sizes)
    fit_z_MxZ, z_NxZ = (jnp.where(live_Z[None, :], z, 0) for z in (fit[0], score[0]))

    def of_factor(labels: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return boosted((fit_z_MxZ, labels[0]), (z_NxZ, labels[1]), max(sizes))

    importance_FxZ, accuracy_F = lax.map(of_factor, (fit[1].T, score[1].T))
    even_Zx1 = live_Z[:, None] / jnp.maximum(jnp.sum(live_Z), 1)  # of a factor that no split tells anything about
    importance_ZxF = jnp.where(jnp.sum(importance_FxZ, axis=1)[None, :] > 0, _shares(importance_FxZ.T, 0), even_Zx1)
    unit_Z = _shares(jnp.sum(importance_ZxF, axis=1), 0)
    live = jnp.sum(live_Z)
    by_unit_Z = 1 - _entropy(_shares(importance_ZxF, 1), axis=1) / jnp.log(factors)
    by_factor_F = 1 - _entropy(importance_ZxF, axis=0) / jnp.log(jnp.maximum(live, 2))
    scores = {
        "dci_disentanglement": jnp.sum(unit_Z * by_unit_Z),
        "dci_completeness": jnp.where(live > 1, jnp.mean(by_factor_F), 1.0),
        "dci_informativeness": jnp.mean(accuracy_F),
    }
    return {name: _if_any(live_Z, value) for name, value in scores.items()}


@functools.partial(jax.jit, static_argnames=("votes", "group"))
def factor_vae(key: jax.Array, fit: Known, score: Known, votes: int, group: int) -> jax.Array:
    """The FactorVAE score: how often the unit that varies least tells which factor is fixed (Kim & Mnih 2018, sec. 4).

    For each of `votes`, `group` examples share the value of a random factor; the vote goes to the unit with the
    smallest variance among them over that of all. Each unit stands for the factor that most of its votes in `fit` come
    from; the score is the accuracy on `score`, 1 / F by chance, 1 at most.
    """
    live_Z = live_units(fit[0])
    variance_Z = jnp.where(live_Z, jnp.var(fit[0], axis=0), 1)
    factors = fit[1].shape[1]

    def voted(key: jax.Array, known: Known) -> tuple[jax.Array, jax.Array]:
        factor_D, row_DxG = _sharing(key, known[1], votes, group)
        within_DxZ = lax.map(lambda row_G: jnp.var(known[0][row_G], axis=0), row_DxG)
        return jnp.argmin(jnp.where(live_Z[None, :], within_DxZ / variance_Z[None, :], jnp.inf), axis=1), factor_D

    key_fit, key_score = jax.random.split(key)
    unit_D, factor_D = voted(key_fit, fit)
    count_ZxF = jnp.zeros((fit[0].shape[1], factors)).at[unit_D, factor_D].add(1)
    unit_D, factor_D = voted(key_score, score)
    return _if_any(live_Z, jnp.mean(jnp.argmax(count_ZxF, axis=1)[unit_D] == factor_D))


@functools.partial(jax.jit, static_argnames=("votes", "group"))
def beta_vae(key: jax.Array, fit: Known, score: Known, votes: int, group: int) -> jax.Array:
    """The BetaVAE score: how often a linear classifier tells which factor is fixed (Higgins et al. 2017, section 3).

    Each of `votes` examples for the classifier is the mean absolute difference of `group` pairs of codes, the two of a
    pair sharing the value of one random factor. Fitted and its penalty chosen on draws from `fit`, scored on draws from
    `score`; 1 / F by chance, 1 at most.
    """
    live_Z = live_units(fit[0])

    def differences(key: jax.Array, known: Known, count: int) -> tuple[jax.Array, jax.Array]:
        key_first, key_second = jax.random.split(key)
        factor_D = jax.random.randint(key_first, (count,), 0, known[1].shape[1])
        row_DxG, other_DxG = _pairs(key_second, known[1], factor_D, group)

        def mean_difference(rows: tuple[jax.Array, jax.Array]) -> jax.Array:
            return jnp.mean(jnp.abs(known[0][rows[0]] - known[0][rows[1]]), axis=0)

        return jnp.where(live_Z[None, :], lax.map(mean_difference, (row_DxG, other_DxG)), 0), factor_D

    keys = jax.random.split(key, 3)
    parts = [
        differences(key, known, count)
        for key, known, count in zip(keys, (fit, fit, score), (votes, max(1, votes // 4), votes), strict=True)
    ]
    return _if_any(live_Z, linear_probe(*parts, fit[1].shape[1])[0])


def _sharing(key: jax.Array, factors_NxF: jax.Array, draws: int, group: int) -> tuple[jax.Array, jax.Array]:
    """A random factor of each draw [D], and rows [D, group] of examples that share its value, a random one."""
    key_factor, key_row, key_group = jax.random.split(key, 3)
    factor_D = jax.random.randint(key_factor, (draws,), 0, factors_NxF.shape[1])
    row_D = jax.random.randint(key_row, (draws,), 0, factors_NxF.shape[0])
    return factor_D, _partners(key_group, factors_NxF, factor_D[:, None], jnp.tile(row_D[:, None], (1, group)))


def _pairs(key: jax.Array, factors_NxF: jax.Array, factor_D: jax.Array, group: int) -> tuple[jax.Array, jax.Array]:
    """Rows [D, group] of random examples, and those of as many others that share the value of the draw's factor."""
    key_row, key_partner = jax.random.split(key)
    row_DxG = jax.random.randint(key_row, (factor_D.shape[0], group), 0, factors_NxF.shape[0])
    return row_DxG, _partners(key_partner, factors_NxF, factor_D[:, None], row_DxG)


def _partners(key: jax.Array, factors_NxF: jax.Array, factor_Dx1: jax.Array, row_DxG: jax.Array) -> jax.Array:
    """For each row [D, G] that of a random example, perhaps itself, with the same value of the factor."""
    order_NxF = jnp.argsort(factors_NxF, axis=0, stable=True)
    ascending_NxF = jnp.take_along_axis(factors_NxF, order_NxF, axis=0)
    begin_FxN, end_FxN = (
        jax.vmap(functools.partial(jnp.searchsorted, side=side))(ascending_NxF.T, factors_NxF.T)
        for side in ("left", "right")
    )
    begin_DxG, end_DxG = begin_FxN[factor_Dx1, row_DxG], end_FxN[factor_Dx1, row_DxG]
    place_DxG = begin_DxG + jnp.floor(jax.random.uniform(key, row_DxG.shape) * (end_DxG - begin_DxG)).astype(jnp.int32)
    return order_NxF[jnp.minimum(place_DxG, end_DxG - 1), factor_Dx1]


def _binned(z_NxZ: jax.Array, range_MxZ: jax.Array) -> jax.Array:
    """The bin of each unit's value among BINS of equal width over the values in range_MxZ, [N, Z]."""
    low_Z, width_Z = jnp.min(range_MxZ, axis=0), jnp.ptp(range_MxZ, axis=0)
    place_NxZ = (z_NxZ - low_Z[None, :]) / jnp.where(width_Z > 0, width_Z, 1)[None, :]
    return jnp.clip(jnp.floor(place_NxZ * BINS), 0, BINS - 1).astype(jnp.int32)


def _members(factors_NxF: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    """One-hot values of all factors side by side, [N, sum of sizes]."""
    return jnp.concatenate([jax.nn.one_hot(factors_NxF[:, k], size) for k, size in enumerate(sizes)], axis=1)


def _places(sizes: tuple[int, ...]) -> list[slice]:
    """Where each factor's values are in `_members`."""
    return [slice(sum(sizes[:place]), sum(sizes[: place + 1])) for place in range(len(sizes))]


def _two_largest(values_ZxF: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest and the second largest of each column; without a second row that is 0."""
    two_FxK = lax.top_k(jnp.pad(values_ZxF, ((0, 1), (0, 0))).T, 2)[0]
    return two_FxK[:, 0], two_FxK[:, 1]


def _largest_share(values: jax.Array, axis: int, even: Any) -> jax.Array:
    """The largest value along `axis` over the sum; `even` where all are 0."""
    total = jnp.sum(values, axis=axis)
    return jnp.where(total > 0, jnp.max(values, axis=axis) / jnp.where(total > 0, total, 1), even)


def _shares(values: jax.Array, axis: int) -> jax.Array:
    """Values over their sum along `axis`, 0 where that is 0."""
    total = jnp.sum(values, axis=axis, keepdims=True)
    return values / jnp.where(total > 0, total, 1)


def _entropy(share: jax.Array, axis: int) -> jax.Array:
    return -jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1)), 0), axis=axis)


def _mean(values_Z: jax.Array, chosen_Z: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(chosen_Z, values_Z, 0)) / jnp.maximum(jnp.sum(chosen_Z), 1)


def _if_any(live_Z: jax.Array, value: jax.Array) -> jax.Array:
    return jnp.where(jnp.any(live_Z), value, jnp.nan)
