"""Scores of disentanglement against numpy and scikit-learn, and codes whose scores are known."""

import functools

import jax
import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.stats import entropy, ortho_group, spearmanr
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, mutual_info_score
from sklearn.preprocessing import StandardScaler

from aejax.metrics import disentanglement as metrics
from aejax.metrics.boosting import boosted
from aejax.metrics.udr import udr

SIZES = (3, 6, 8, 4)
KEY = jax.random.key(0)
VOTES, GROUP = 400, 64


def drawn(count, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, count) for size in SIZES], axis=1).astype(np.int32)


FIT, SCORE = drawn(3000, 0), drawn(2000, 1)


def codes(kind, factors, seed):
    """Codes [N, 4]: the factors, all turned into each other, or noise."""
    perfect = factors / np.array(SIZES) - 0.4
    noise = np.random.default_rng(seed).normal(size=perfect.shape)
    turned = perfect @ hadamard(4) / 2 + 0.02 * noise  # every unit holds as much of every factor
    return {"perfect": perfect, "turned": turned, "noise": noise}[kind].astype(np.float32)


@functools.cache
def known(kind):
    return (codes(kind, FIT, 2), FIT), (codes(kind, SCORE, 4), SCORE)


LIGHT = ("mig", "modularity", "info_m", "info_c", "sap", "factor_vae")
HEAVY = ("dci_disentanglement", "dci_completeness", "dci_informativeness", "info_e", "beta_vae")  # compile for seconds
WEIGHTS = [LIGHT, pytest.param(HEAVY, marks=pytest.mark.slow)]


@functools.cache
def scores(kind, names, masked=3):
    """The scores LIGHT or HEAVY of codes that have so many masked units beside the others."""
    fit, score = ((np.pad(z, ((0, 0), (0, masked))), factors) for z, factors in known(kind))
    if names is LIGHT:
        result = metrics.informations(*score, SIZES) | {"sap": metrics.sap(fit, score, SIZES)}
        result["factor_vae"] = metrics.factor_vae(KEY, fit, score, votes=VOTES, group=GROUP)
    else:
        result = metrics.dci(fit, score, SIZES) | {"info_e": metrics.info_e(fit, score, SIZES)}
        result["beta_vae"] = metrics.beta_vae(KEY, fit, score, votes=VOTES, group=GROUP)
    assert result.keys() == set(names)
    return {name: float(value) for name, value in result.items()}


@pytest.mark.parametrize("names", WEIGHTS)
def test_codes_that_are_the_factors_are_perfect(names):
    for name, value in scores("perfect", names).items():
        if name == "sap":  # the second best unit tells as much as chance
            assert value == pytest.approx(1 - np.mean([1 / size for size in SIZES]), abs=0.03)
        elif name == "info_e":  # values in the middle are not told without error by a linear map
            assert value > 0.95
        else:
            assert value == pytest.approx(1, abs=0.03), name


@pytest.mark.parametrize("names", WEIGHTS)
def test_noise_scores_as_chance(names):
    chance = {"factor_vae": 0.25, "beta_vae": 0.25, "dci_informativeness": np.mean([1 / size for size in SIZES])}
    for name, value in scores("noise", names).items():
        if name in ("info_m", "info_c"):  # information is biased the more, the more values a factor has
            assert value < 0.4, name
        elif name != "modularity":
            assert value == pytest.approx(chance.get(name, 0), abs=0.07), name


@pytest.mark.parametrize("names", WEIGHTS)
def test_turned_codes_score_lower_but_inform_as_much(names):
    turned, perfect = scores("turned", names), scores("perfect", names)
    for name in set(names) - {"dci_informativeness", "info_e", "beta_vae"}:
        assert turned[name] < perfect[name] - 0.3, name
    if names is HEAVY:
        assert turned["info_e"] > 0.8


@pytest.mark.parametrize("names", WEIGHTS)
def test_masked_units_take_no_part(names):
    assert scores("turned", names) == pytest.approx(scores("turned", names, masked=0), abs=1e-5)


@pytest.mark.slow
def test_the_scores_of_constant_codes_are_none():
    z = np.ones((100, 2), np.float32)
    known = (z, FIT[:100])
    values = [*metrics.informations(*known, SIZES).values(), *metrics.dci(known, known, SIZES).values()]
    values += [metrics.sap(known, known, SIZES), metrics.info_e(known, known, SIZES)]
    values += [metrics.factor_vae(KEY, known, known, 20, 8), metrics.beta_vae(KEY, known, known, 20, 8)]
    assert np.isnan(values).all()


def information(z, factors):
    """Mutual information [Z, F] by numpy's histogram and scikit-learn."""
    result = np.zeros((z.shape[1], factors.shape[1]))
    for unit, values in enumerate(z.T):
        edges = np.histogram_bin_edges(values.astype(np.float64), 20)
        place = np.clip(np.digitize(values, edges[1:-1]), 0, 19)
        result[unit] = [mutual_info_score(place, column) for column in factors.T]
    return result, np.array([mutual_info_score(column, column) for column in factors.T])


def mixed(seed=5):
    """Codes [N, 5] of which some units mix factors: to fit, to score."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(4, 5)) * (rng.random((4, 5)) < 0.6)
    return tuple(
        (((factors / np.array(SIZES)) @ mixing + 0.1 * rng.normal(size=(len(factors), 5))).astype(np.float32), factors)
        for factors in (FIT, SCORE)
    )


def test_what_follows_from_the_mutual_information_equals_loops_over_units_and_factors():
    z, factors = mixed()[1]
    expected, entropies = information(z, factors)
    found, found_entropies = metrics.mutual_information(z, factors, SIZES)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(found_entropies, entropies, rtol=1e-5)
    gaps = [(np.sort(column)[-1] - np.sort(column)[-2]) / h for column, h in zip(expected.T, entropies, strict=True)]
    deviations = []
    for row in expected:
        best = row.argmax()
        others = [value**2 for place, value in enumerate(row) if place != best]
        deviations.append(sum(others) / (row[best] ** 2 * (len(row) - 1)))
    normalized = expected / entropies
    ratio_m = np.mean([row.max() / row.sum() for row in normalized])
    ratio_c = np.mean([column.max() / column.sum() for column in normalized.T])
    named = {"mig": np.mean(gaps), "modularity": 1 - np.mean(deviations)}
    named |= {"info_m": (ratio_m - 1 / 4) / (3 / 4), "info_c": (ratio_c - 1 / 5) / (4 / 5)}
    found = metrics.informations(z, factors, SIZES)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(named, abs=2e-3)


def test_units_of_a_small_range_are_not_active_in_info_m_and_info_c():
    z, factors = mixed()[1]
    wide = np.concatenate([z, 0.03 * np.random.default_rng(0).uniform(0, np.ptp(z, 0).max(), (len(z), 2))], axis=1)
    found = metrics.informations(wide.astype(np.float32), factors, SIZES)
    expected = metrics.informations(z, factors, SIZES)
    for name in ("info_m", "info_c"):
        assert float(found[name]) == pytest.approx(float(expected[name]), abs=1e-5)


def test_sap_is_the_gap_of_the_balanced_accuracies_of_the_bins_of_one_unit():
    (fit, score), gaps = mixed(), []
    for factor, size in enumerate(SIZES):
        accuracies = []
        for unit in range(5):
            edges = np.histogram_bin_edges(fit[0][:, unit].astype(np.float64), 20)
            place, test_place = (np.clip(np.digitize(z[:, unit], edges[1:-1]), 0, 19) for z in (fit[0], score[0]))
            share = np.array([np.bincount(place[FIT[:, factor] == v], minlength=20) for v in range(size)], float)
            share /= share.sum(axis=1, keepdims=True)
            accuracies.append(balanced_accuracy_score(SCORE[:, factor], share.argmax(axis=0)[test_place]))
        gaps.append(np.diff(np.sort(accuracies)[-2:])[0])
    assert float(metrics.sap(fit, score, SIZES)) == pytest.approx(np.mean(gaps), abs=2e-3)


@pytest.mark.slow
def test_info_e_equals_that_of_a_logistic_regression():
    (fit, score), shares = mixed(), []
    scaler = StandardScaler().fit(fit[0])
    for factor in range(4):
        model = LogisticRegression(C=1e5 / len(FIT), max_iter=2000, tol=1e-6)
        model.fit(scaler.transform(fit[0]), FIT[:, factor])
        told = log_loss(SCORE[:, factor], model.predict_proba(scaler.transform(score[0])))
        frequency = np.bincount(FIT[:, factor]) / len(FIT)
        shares.append(1 - told / -np.log(frequency[SCORE[:, factor]]).mean())
    assert float(metrics.info_e(fit, score, SIZES)) == pytest.approx(np.mean(shares), abs=2e-3)


@pytest.mark.slow
def test_boosted_trees_are_as_accurate_as_those_of_scikit_learn_and_find_the_same_units():
    fit, score = (tuple(array[:1200] for array in part) for part in mixed())
    theirs, accuracy = [], []
    for factor in range(4):
        model = GradientBoostingClassifier(n_estimators=25, learning_rate=0.3, max_depth=3, random_state=0)
        model.fit(fit[0], fit[1][:, factor])
        theirs.append(model.feature_importances_)
        accuracy.append(model.score(score[0], score[1][:, factor]))
        importance, right = boosted((fit[0], fit[1][:, factor]), (score[0], score[1][:, factor]), 8)
        np.testing.assert_allclose(importance / importance.sum(), theirs[-1], atol=0.12)
        assert float(right) == pytest.approx(accuracy[-1], abs=0.06)
    importance_ZxF = np.array(theirs).T
    weight = importance_ZxF.sum(axis=1) / importance_ZxF.sum()
    by_unit, by_factor = (1 - entropy(importance_ZxF, axis=axis) / np.log(base) for axis, base in ((1, 4), (0, 5)))
    found = metrics.dci(fit, score, SIZES)
    assert float(found["dci_disentanglement"]) == pytest.approx(weight @ by_unit, abs=0.08)
    assert float(found["dci_completeness"]) == pytest.approx(by_factor.mean(), abs=0.08)
    assert float(found["dci_informativeness"]) == pytest.approx(np.mean(accuracy), abs=0.05)


def test_one_tree_is_the_best_split_by_all_thresholds():
    """A tree of one level: the decrease of the gradients' squared error, tried at every value of every unit."""
    rng = np.random.default_rng(0)
    z, y = rng.integers(0, 9, (300, 3)).astype(np.float32), rng.integers(0, 2, 300).astype(np.int32)
    y = np.where(z[:, 1] > 5, 1 - y // 2, y).astype(np.int32)
    gradient = np.eye(2)[y] - np.bincount(y) / 300
    best = (0, None)
    for unit in range(3):
        for value in range(9):
            below = z[:, unit] <= value
            gain = sum((gradient[rows].sum(axis=0) ** 2).sum() / (rows.sum() + 1) for rows in (below, ~below))
            gain -= (gradient.sum(axis=0) ** 2).sum() / 301
            best = max(best, (gain, unit))
    importance, _ = boosted((z, y), (z, y), 2, rounds=1, depth=1)
    assert np.argmax(importance) == best[1] and np.sum(importance) == pytest.approx(best[0], rel=1e-4)


def voted(z, factors, rng, group, draws=1500):
    """The unit that varies least and the factor that is fixed, of draws by numpy."""
    result, rows_of = [], [[np.flatnonzero(column == value) for value in range(8)] for column in factors.T]
    for _ in range(draws):
        factor = rng.integers(4)
        rows = rng.choice(rows_of[factor][factors[rng.integers(len(factors)), factor]], group)
        result.append((np.argmin(z[rows].var(axis=0) / z.var(axis=0)), factor))
    return np.array(result)


def test_the_factor_vae_score_equals_that_of_draws_by_numpy():
    (fit, score), rng = mixed(), np.random.default_rng(0)
    votes = np.zeros((5, 4))
    np.add.at(votes, tuple(voted(*fit, rng, 6).T), 1)
    units, factors = voted(*score, rng, 6).T
    expected = (votes.argmax(axis=1)[units] == factors).mean()
    assert 0.3 < expected < 0.97
    found = metrics.factor_vae(KEY, fit, score, votes=2000, group=6)
    assert float(found) == pytest.approx(expected, abs=0.04)


@pytest.mark.slow
def test_the_beta_vae_score_equals_that_of_a_logistic_regression_on_draws_by_numpy():
    (fit, score), rng = known("turned"), np.random.default_rng(0)

    def differences(z, factors, draws=1500):
        result = []
        for _ in range(draws):
            factor = rng.integers(4)
            first = rng.integers(len(z), size=GROUP)
            second = [rng.choice(np.flatnonzero(factors[:, factor] == v)) for v in factors[first, factor]]
            result.append((np.abs(z[first] - z[second]).mean(axis=0), factor))
        return np.array([each for each, _ in result]), np.array([factor for _, factor in result])

    fewer = tuple(part[:600] for part in fit), tuple(part[:600] for part in score)
    (x, y), (x_test, y_test) = (differences(*part) for part in fewer)
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=10, max_iter=1000).fit(scaler.transform(x), y)
    expected = model.score(scaler.transform(x_test), y_test)
    found = metrics.beta_vae(KEY, *fewer, votes=1500, group=GROUP)
    assert float(found) == pytest.approx(expected, abs=0.05)


def test_udr_is_one_for_the_same_units_in_another_order_and_falls_as_they_mix():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(800, 4)).astype(np.float32)
    same = np.stack([z, np.exp(z[:, [2, 0, 3, 1]]), -z[:, ::-1]])
    live = np.ones((3, 4), bool)
    cross = np.abs(spearmanr(z)[0])
    assert np.asarray(udr(same, live)) == pytest.approx(np.full(3, (1 / cross.sum(axis=0)).mean()), rel=1e-4)
    turned = np.stack([z, z @ ortho_group.rvs(4, random_state=0), z @ ortho_group.rvs(4, random_state=1)])
    assert np.all(udr(turned.astype(np.float32), live) < 0.6)


def test_udr_equals_loops_over_pairs_and_leaves_out_units_that_are_not_informative():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(500, 3))
    runs = np.stack([base @ rng.normal(size=(3, 3)) for _ in range(4)]).round(1).astype(np.float32)  # with ties
    live = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]], bool)
    expected = np.full((4, 4), np.nan)
    for i in range(4):
        for j in range(4):
            if i == j or not live[i].any():
                continue
            total = 0.0
            a, b = (np.flatnonzero(live[k]) for k in (i, j))
            r = np.abs([[spearmanr(runs[i][:, u], runs[j][:, v])[0] for v in b] for u in a]).reshape(len(a), len(b))
            if r.size:
                total = (r.max(axis=0) ** 2 / r.sum(axis=0)).sum() + (r.max(axis=1) ** 2 / r.sum(axis=1)).sum()
            expected[i, j] = total / (len(a) + len(b))
    found = np.asarray(udr(runs, live))
    assert found[:3] == pytest.approx(np.nanmedian(expected[:3], axis=1), rel=1e-4)
    assert np.isnan(found[3])
    wide = np.pad(runs, ((0, 0), (0, 0), (0, 2))), np.pad(live, ((0, 0), (0, 2)))
    np.testing.assert_allclose(udr(*wide), found, rtol=1e-5)
