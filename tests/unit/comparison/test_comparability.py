"""What may be compared with what: likelihoods, data, protocols, code sizes; and which way each metric is better."""

import json

import numpy as np
import pytest
from made import make_sweep

import aejax.compare
from aejax.comparison import pairs, summary
from aejax.comparison.comparability import DEPENDENTS, problem
from aejax.evaluation.protocol import PROTOCOL
from aejax.metrics.lookup import better, metric

MSE = "recon/mse"


def two(folder, metric, first, second, seeds=5):
    """A sweep of a and b that differ by 1 in a metric; `first` and `second` are (fields of run.json, settings)."""
    runs = {}
    for place, (record, settings) in enumerate((first, second)):
        for seed in range(seeds):
            value = place + 0.01 * np.random.default_rng([seed, place]).normal()
            metrics = {metric: value, MSE: value}
            runs[f"{place}{seed}"] = metrics, {"seed": seed, "model": "ab"[place], "record": record} | settings
    return aejax.compare.load(make_sweep(folder, runs))


def judged(runs, metric, asked=("model",)):
    """The verdict on the first pair, its difference, and why they are not comparable."""
    row = pairs.compared(runs, runs.rows, [metric], list(asked)).iloc[0]
    return row["verdict"], row["difference"], row["reason"]


BINARY, GRAY = {"data": {"kind": "binary"}}, {"data": {"kind": "gray"}}


@pytest.mark.parametrize("metric", ["elbo", "nll", "likelihood/bits_per_dim"])
def test_densities_of_other_likelihoods_are_not_compared(metric, tmp_path):
    runs = two(
        tmp_path / "s", metric, (BINARY | {"likelihood": "bernoulli"}, {}), (BINARY | {"likelihood": "gaussian"}, {})
    )
    verdict, difference, reason = judged(runs, metric)
    assert verdict == "not comparable" and np.isnan(difference)
    assert reason == "different likelihood: bernoulli of binary data against gaussian of binary data"
    assert judged(runs, MSE)[0] == "better"
    both = pairs.compared(runs, runs.rows, [metric, MSE])
    told = pairs.verdicts(both, [])
    assert [line for line in told if "not comparable" in line] == [f"{metric}: not comparable for a and b: {reason}"]
    assert not any("beats" in line and line.startswith(metric) for line in told)
    table = summary.summarize(runs, ["model"], [metric, MSE])
    assert {name for _, name in summary.best(runs, table, ["model"], [], [metric, MSE])} == {MSE}
    together = summary.summarize(runs, ["data"], [metric, MSE])
    assert np.isnan(together[metric][0]) and together[MSE][0] == pytest.approx(0.5, abs=0.1)
    assert f"{metric}: no mean of 1 of 1 rows, whose runs have {reason}" in summary.notes(runs, ["data"], [metric, MSE])


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ((GRAY | {"likelihood": "gaussian"}, {}), (GRAY | {"likelihood": "learned"}, {}), True),
        ((GRAY | {"likelihood": "gaussian"}, {}), (GRAY | {"likelihood": "bernoulli"}, {}), False),
        ((BINARY, {"likelihood": "auto"}), (BINARY, {"likelihood": "bernoulli"}), True),  # of an older version
        ((GRAY, {"likelihood": "auto"}), (GRAY, {"likelihood": "bernoulli"}), False),
        ((GRAY, {"likelihood": "auto"}), (GRAY, {"likelihood": "linear"}), True),
    ],
)
def test_a_density_problem_is_a_family_and_a_kind_of_data(first, second, same, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("made").GROUPS, "likelihood", "auto")
        runs = two(tmp_path / "s", "elbo", first, second)
    assert (judged(runs, "elbo")[0] != "not comparable") is same


def test_other_data_are_not_compared(tmp_path):
    runs = two(tmp_path / "s", MSE, ({"data": {"fingerprint": "1"}}, {}), ({"data": {"fingerprint": "2"}}, {}))
    assert judged(runs, MSE)[2] == "different data: letters (1) against letters (2)"
    tests = [({"data": {"fingerprint": each, "test_fingerprint": "t"}}, {}) for each in "12"]
    runs = two(tmp_path / "t", MSE, *tests)  # other training examples, as with data.limit
    assert judged(runs, MSE)[0] == "better"
    runs = two(tmp_path / "v", "valid/mse", *tests)
    assert judged(runs, "valid/mse")[0] == "not comparable"


@pytest.mark.parametrize("metric", ["nll", MSE, "separation/knn_accuracy"])
def test_a_model_that_sees_labels_is_not_compared_with_one_that_does_not(metric, tmp_path):
    label, none, absent = ({}, {"model.condition": "label"}), ({}, {"model.condition": "none"}), ({}, {})
    reason = "different condition: label against none"
    assert judged(two(tmp_path / "one", metric, label, none), metric)[::2] == ("not comparable", reason)
    assert judged(two(tmp_path / "without", metric, label, absent), metric)[::2] == ("not comparable", reason)
    assert judged(two(tmp_path / "same", metric, label, label), metric)[0] != "not comparable"
    assert judged(two(tmp_path / "neither", metric, none, absent), metric)[0] != "not comparable"
    both = two(tmp_path / "baseline", "baseline/mean_mse", label, none)
    assert judged(both, "baseline/mean_mse")[0] != "not comparable"


def test_a_protocol_blocks_the_metrics_that_depend_on_it(tmp_path):
    def protocols(name, **fields):
        usual = {"nll_samples": 500, "elbo_samples": 16, "knn_neighbors": [1, 5], "binarize": "none"}
        return two(tmp_path / name, "nll", *(({"protocol": each}, {}) for each in (usual, usual | fields)))

    runs = protocols("samples", nll_samples=5000)
    assert judged(runs, "nll")[2] == "different protocol.nll_samples: 500 against 5000"
    assert judged(runs, MSE)[0] == "better"
    assert judged(protocols("groups", groups=["elbo"]), "nll")[0] == "better"
    for name in ("binarize", "of_a_later_version"):
        runs = protocols(name, **{name: "static"})
        assert {judged(runs, metric)[0] for metric in ("nll", MSE)} == {"not comparable"}


def test_mixed_protocols_are_told_with_the_fields_that_differ(tmp_path):
    def warning(name, *protocols):
        runs = two(tmp_path / name, MSE, *(({"protocol": each}, {}) for each in protocols))
        return [line for line in summary.notes(runs, runs.rows) if "protocols" in line]

    usual = {"knn_neighbors": [1, 5], "nll_samples": 500, "groups": ["elbo"]}
    [told] = warning("some", usual, usual | {"groups": ["nll"], "elbo_samples": 16})
    assert told.startswith("warning: protocols of evaluation are mixed, in groups, elbo_samples: as ")
    assert warning("same", usual, dict(reversed(usual.items()))) == []
    assert "in a, b, c, d, e, f and 2 more: as" in warning("none", dict.fromkeys("abcdefgh", 1), {})[0]


def test_an_nll_that_was_added_later_has_its_own_samples(tmp_path):
    protocol = {"groups": ["elbo"], "nll_samples": 500}
    again = [{"groups": ["nll"], "nll_samples": 5000}]
    runs = two(
        tmp_path / "s", "nll", ({"protocol": protocol, "evaluated_again": again}, {}), ({"protocol": protocol}, {})
    )
    assert "nll_samples: 5000 against 500" in judged(runs, "nll")[2]


def test_what_depends_on_the_code_size_is_not_compared_across_sizes(tmp_path):
    runs = two(tmp_path / "s", "separation/silhouette", ({}, {}), ({}, {"latent_dim": 4}))
    assert judged(runs, "separation/silhouette", ["latent_dim"])[2] == "different latent_dim: 2 against 4"
    assert judged(runs, MSE, ["latent_dim"])[0] == "better"


def test_the_same_noise_is_restored(tmp_path):
    flip = {"noise": "flip", "noise__level": 0.1}
    runs = two(tmp_path / "s", "restore/mse", ({}, flip), ({}, flip | {"noise__level": 0.2}))
    assert judged(runs, "restore/mse", ["noise.level"])[2] == "different noise: flip level=0.1 against flip level=0.2"


def test_each_field_of_the_protocol_names_the_metrics_that_it_shapes():
    fields = {f"protocol.{name}" for name in (*PROTOCOL, "groups", "noise", "nll_samples")}
    assert fields == {name for name in DEPENDENTS if name.startswith("protocol.")}


def test_what_is_not_comparable_is_null_in_json_with_its_reason_told_once(tmp_path, told):
    two(tmp_path / "s", "elbo", (BINARY | {"likelihood": "bernoulli"}, {}), (BINARY | {"likelihood": "learned"}, {}))
    found = json.loads(told(tmp_path / "s", "--metrics", "elbo", "--json")[1])
    [row] = found["comparisons"]
    assert [row[name] for name in ("difference", "low", "high", "p", "p_holm", "improvement")] == [None] * 6
    assert told(tmp_path / "s", "--metrics", "elbo")[1].count("bernoulli of binary data against") == 1


def test_a_problem_is_the_same_for_equal_aspects():
    aspects = (("data", "letters"), ("likelihood", "bernoulli"), ("protocol.elbo_samples", "16"))
    assert problem(aspects, MSE) == (("data", "letters"),)
    assert problem(aspects, "elbo") == aspects


def test_metrics_are_better_when_larger_when_smaller_or_neither():
    neutral = ["baseline/pca_mse", "baseline/untrained_knn_accuracy", "code/kl", "usefulness/pixels_accuracy",
               "generation/nearest_train", "interpolation/length"]  # fmt: skip
    baselines = (
        "input_mse",
        "median_mse",
        "posterior_mse",
        "nearest_mse",
        "nearest_exact",
        "nearest_at_most_one_wrong",
    )
    neutral += [f"robust/flip/0.1/{name}" for name in baselines]
    assert [metric(name).better for name in neutral] == [0] * len(neutral)
    assert metric("somebody/mse") is None and better("somebody/mse") == 0
    up = ["anomaly/auroc", "anomaly/elbo_average_precision", "anomaly/code_f1", "recon/r2", "recon/psnr", "elbo",
          "separation/knn1_accuracy", "separation/knn15_accuracy", "separation/cluster_accuracy",
          "usefulness/codes_accuracy", "usefulness/probe_accuracy_10_labels", "generation/coverage",
          *(f"robust/flip/0.1/{name}" for name in ("exact", "at_most_one_wrong", "knn_accuracy"))]  # fmt: skip
    down = ["anomaly/fpr", "likelihood/bits_per_dim", "nll", "generation/prior_mmd2", "valid/mse",
            "robust/flip/0.1/mse", "separation/davies_bouldin", "cross_data/emoji_mse"]  # fmt: skip
    assert {name: better(name) for name in (*up, *down)} == dict.fromkeys(up, 1) | dict.fromkeys(down, -1)
