"""Is a difference real: intervals, pairs and what is said of them, against scipy, R and drawn data."""

import sys

import numpy as np
import pytest
from conftest import CONF
from made import make_grid, make_sweep
from scipy import stats
from scipy.stats import mstats

import aejax.compare
from aejax.comparison import intervals, pairs
from aejax.comparison.frame import Runs
from aejax.comparison.reading import Entry

sys.path.append(str(CONF.parent))  # where benchmarks/ is
from benchmarks.significance import LAWS, claims

MSE, KNN = "recon/mse", "separation/knn_accuracy"


@pytest.mark.parametrize(
    ("draw", "truth", "share"), [("normal", 0.0, 0.95), ("uniform", 0.5, 0.944), ("exponential", 1.0, 0.895)]
)
def test_intervals_of_8_values_cover_the_truth(draw, truth, share):
    values = getattr(np.random.default_rng(1), draw)(size=(50_000, 8))
    half = intervals.mean_interval(values.mean(axis=1), values.std(axis=1, ddof=1), np.full(len(values), 8))
    assert np.mean(np.abs(values.mean(axis=1) - truth) <= half) == pytest.approx(share, abs=0.005)
    law = {"normal": stats.norm, "uniform": stats.uniform, "exponential": stats.expon}[draw]()
    middle = law.expect(lambda x: x, lb=law.ppf(0.25), ub=law.ppf(0.75), conditional=True)
    found = np.array([intervals.interquartile(each) for each in values[:1000]])
    assert 0.90 <= np.mean(np.abs(found[:, 0] - middle) <= found[:, 1]) <= 0.99


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_intervals_of_few_values_cover_the_truth(n):
    values = np.random.default_rng(n).normal(size=(1000, n))
    half = intervals.mean_interval(values.mean(axis=1), values.std(axis=1, ddof=1), np.full(1000, n))
    assert 0.93 <= np.mean(np.abs(values.mean(axis=1)) <= half) <= 0.97
    found = np.array([intervals.interquartile(each) for each in values])
    assert 0.90 <= np.mean(np.abs(found[:, 0]) <= found[:, 1]) <= 0.99


def test_intervals_equal_scipys():
    values = np.random.default_rng(0).gamma(2.0, size=8)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert intervals.mean_interval(values.mean(), values.std(ddof=1), 8) == pytest.approx((high - low) / 2)
    mean, half = intervals.interquartile(values)
    assert [mean - half, mean + half] == pytest.approx(mstats.trimmed_mean_ci(values, (0.25, 0.25)).tolist())
    assert np.isnan(intervals.mean_interval(1.0, 1.0, 2))
    assert np.isnan(intervals.interquartile(values[:2])[1])


def test_the_paired_test_equals_scipys_and_holm_rs():
    a, b = np.random.default_rng(0).normal(size=(2, 6))
    np.testing.assert_allclose(intervals.paired(a - b), stats.ttest_rel(a, b).pvalue)
    np.testing.assert_allclose(intervals.paired([a - b, [0] * 6, [0.5] * 6])[1:], [1, 2 / 4**6])
    assert np.isnan(intervals.paired([[0.5, 0.4, 0.6]])).all()
    both = np.array([a - b, a + 0.3])
    oracle = [
        stats.permutation_test((each,), lambda x: abs(x.mean()), permutation_type="samples", alternative="greater")
        for each in both
    ]
    np.testing.assert_allclose(intervals.sign_flips(both), [each.pvalue for each in oracle])
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    np.testing.assert_allclose(intervals.holm([0.01, 0.04, np.nan, 0.03, 0.005]), [0.03, 0.06, np.nan, 0.06, 0.02])
    assert intervals.improvement([1, 2, 3], [2, 4], higher=False) == pytest.approx(
        stats.mannwhitneyu([2, 4], [1, 2, 3]).statistic / 6
    )


def entries_of(values_MxS):
    """Entries of models m0, m1, … with a row of errors each, one a seed."""
    found = []
    for model, row in enumerate(values_MxS):
        choices = {"model": f"m{model}", "data": "letters", "noise": "none"}
        for seed, value in enumerate(row):
            told = {"id": f"{model} {seed}", "metrics": {MSE: value}, "choices": choices}
            found.append(Entry(f"{model}/{seed}", "", "completed", settings={"latent_dim": 2, "seed": seed}, **told))
    return found


@pytest.mark.slow
def test_equal_models_are_told_apart_in_5_percent_of_the_cases_at_the_most():
    rng, (first, second) = np.random.default_rng(3), np.triu_indices(10, 1)
    values = rng.normal(size=(20_000, 10, 8)) + rng.normal(size=(20_000, 1, 8))  # seeds have an effect of their own
    differences = values[:, first] - values[:, second]
    p = intervals.paired(differences.reshape(-1, 8)).reshape(-1, 45)
    assert intervals.holm(p[0]).min() == min(1, 45 * p[0].min())
    assert np.mean(45 * p.min(axis=1) < 0.05) <= 0.05
    for place in range(5):  # the same by all of the command's own way
        runs = Runs(entries_of(values[place]))
        found = pairs.compared(runs, runs.rows, [MSE])
        assert len(found) == 45
        np.testing.assert_allclose(found["p_holm"], intervals.holm(p[place]))
        assert (found["verdict"] != "open").sum() == (intervals.holm(p[place]) < 0.05).sum()


@pytest.mark.parametrize("name", LAWS)
def test_equal_models_are_told_apart_in_5_percent_whatever_their_runs_are_drawn_from(name):
    for models, trials in ((2, 4000), (4, 2000)):
        for seeds in (3, 4, 5, 8, 16):
            share = claims(LAWS[name], models, seeds, trials, seed=2)
            assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials), (models, seeds)
            assert seeds > 3 or share == 0


def test_differences_that_are_all_the_same_prove_little():
    equal = Runs(entries_of([[0.0] * 4, [1.0] * 4]))
    [found] = pairs.compared(equal, equal.rows, [MSE]).to_dict("records")
    assert (found["p"], found["verdict"]) == (2 / 4**4, "better")
    few = Runs(entries_of([[0.0] * 3, [1.0] * 3]))
    assert pairs.compared(few, few.rows, [MSE])["verdict"].tolist() == ["n < 4: no claim"]
    many = Runs(entries_of(np.arange(5)[:, None] + np.zeros((1, 4))))
    both = pairs.compared(many, many.rows, [MSE])
    assert set(both["verdict"]) == {"open"}
    assert pairs.verdicts(both, [])[0].startswith(
        "n = 4 can show no difference among 10 comparisons, however large: 5 se"
    )


def test_a_real_difference_is_found_and_few_seeds_make_no_claim():
    noise = np.random.default_rng(0).normal(size=8)
    runs = Runs(entries_of(np.array([noise, noise + 1 + 0.1 * np.random.default_rng(1).normal(size=8)])))
    [found] = pairs.compared(runs, runs.rows, [MSE]).to_dict("records")
    assert (found["a"], found["verdict"], found["n"]) == ("m0", "better", 8)  # less error
    assert found["low"] < -1 < found["high"]
    runs.where(["seed<2"])
    both = pairs.compared(runs, runs.rows, [MSE])
    assert both["verdict"].tolist() == ["n < 4: no claim"] and both["improvement"].isna().all()
    assert pairs.verdicts(both, []) == ["recon/mse: no claim about m0 and m1: fewer than 4 seeds in common"]


def test_what_follows_from_the_model_is_no_hindrance(tmp_path):
    runs = {}
    for seed in range(4):
        runs[f"a{seed}"] = {MSE: 0.1 + 0.01 * seed}, {"model": "ae", "seed": seed}
        runs[f"p{seed}"] = {MSE: 0.2 + 0.011 * seed}, {"model": "pca", "net": "linear", "seed": seed}
    runs = aejax.compare.load(make_sweep(tmp_path / "s", runs))
    assert runs.varying == ["model", "net"]
    both = pairs.compared(runs, runs.rows, [MSE])
    assert both[["a", "b", "verdict"]].to_numpy().tolist() == [["ae", "pca", "better"]]
    assert pairs.compared(runs, runs.rows, [MSE], ["model"])["a"].tolist() == ["ae"]


def test_the_better_model_wins_on_every_data_set(tmp_path):
    runs = aejax.compare.load(make_grid(tmp_path / "s", noises=("none",), dims=(2,), data=("letters", "emoji")))
    both = pairs.compared(runs, runs.rows, [MSE, KNN])
    assert pairs.verdicts(both, pairs.question(runs, runs.rows)[1]) == [
        "recon/mse: ae beats vae on 2 of 2 data sets, loses on 0, open on 0",
        "separation/knn_accuracy: vae beats ae on 2 of 2 data sets, loses on 0, open on 0",
    ]
