"""The table of metrics: what is computed has a row, every row is computed, and what is derived from it."""

import importlib.util
import json
import math
import subprocess
import sys

import pytest
from conftest import CONF, called, job, refused, run
from made import make_run, make_sweep

from aejax.cli import evaluate, train
from aejax.comparison.comparability import DATA, DEPENDENTS, GIVEN, problem
from aejax.comparison.reading import read
from aejax.evaluation import annotations
from aejax.evaluation.protocol import GROUPS, PROTOCOL
from aejax.metrics.lookup import better, metric, renamed, row_of
from aejax.metrics.metric import BESIDE
from aejax.metrics.table import METRICS
from aejax.runs.folder import Run

WORDS = ["model=vae", "net.widths=[4]", "steps=2", "log_points=1"]
JOBS = (  # that compute all metrics between them
    ["noise=flip", "likelihood=learned", "evaluate=full", "evaluate.samples=2"],
    ["data=digits", "likelihood=bernoulli", "evaluate.groups=[generation,usefulness]"],
    ["data=shapes", "data.examples=200", "evaluate.groups=[disentanglement]"],
    ["data=digits", "model=m2_vae", "evaluate.groups=[separation]"],
    ["data=digits", "task=anomaly", "data.normal=[0,1,2,3,4]", "evaluate.groups=[nll,anomaly]", "evaluate.samples=2"],
)


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """All metrics of these jobs, their histories, and `aejax.evaluate --across --udr`: {name: its finite values}."""
    place, values = tmp_path_factory.mktemp("runs"), {}
    runs = [run(place / str(number), *WORDS, *words) for number, words in enumerate(JOBS)]
    runs.append(run(place / "codebook", "model=vq_vae", *WORDS[1:], "evaluate.groups=[code]"))
    runs.append(run(place / "levels", "model=ladder_vae", *WORDS[1:], "evaluate.groups=[code]"))
    letters = [place / f"letters{seed}" for seed in range(2)]
    for seed, folder in enumerate(letters):  # whose plain autoencoders have informative units from the first step on
        words = [*WORDS[1:], f"seed={seed}", f"hydra.run.dir={folder}", "track=off", "figures=false"]
        assert called(train.main, *words) == 0
    assert called(evaluate.main, *map(str, letters), "--across", "--udr", "groups=[usefulness]") == 0
    runs.append(Run.read(letters[0]))
    for each in runs:
        last = {name: value for name, value in each.history[-1].items() if name != "step"}
        for name, value in [*each.metrics.items(), *last.items()]:
            values.setdefault(name, []).extend([] if value is None or math.isnan(value) else [value])
    return values


@pytest.mark.slow
def test_every_metric_that_is_computed_has_a_row(computed):
    assert [name for name in computed if row_of(name) is None] == []


@pytest.mark.slow
def test_every_row_is_computed(computed):
    rows = {row_of(name) for name, values in computed.items() if values}
    assert [row.name for row in METRICS if row not in rows] == []


@pytest.mark.slow
def test_values_lie_in_the_range_of_their_row(computed):
    def is_inside(value, low, high, slack=1e-5):
        return low - slack <= value <= high + slack

    ranges = {row.name: row.range for row in map(metric, computed) if row}
    assert [(name, value) for name in ranges for value in computed[name] if not is_inside(value, *ranges[name])] == []


def test_each_row_uses_words_that_are_known():
    assert len({row.name for row in METRICS}) == len(METRICS)
    known = annotations.VOIDING.keys() | annotations.BEFOREHAND.keys() | annotations.AFTERWARDS.keys()
    assert {annotations.parted(need)[0] for row in METRICS for need in row.needs} == known
    assert {row.group for row in METRICS} == {*GROUPS, *BESIDE}
    assert {row.agreement for row in METRICS} == {"exact", "root", "smooth", "share", "loose"}
    fields = {f"protocol.{name}" for name in (*PROTOCOL, "nll_samples")}
    assert {each for row in METRICS for each in row.depends if each.startswith("protocol.")} == fields
    former = [row.formerly for row in METRICS if row.formerly]
    assert len(set(former)) == len(former) and not {*former} & {row.name for row in METRICS}


def test_a_family_is_found_by_the_names_of_its_members():
    assert metric("robust/flip/0.1/nearest_exact").better == 0 and metric("robust/flip/0.1/exact").better == 1
    assert metric("cross_data/a/b-0123abcd_mse").name == "cross_data/a/b-0123abcd_mse"
    assert metric("train/kl").group == "training" and metric("train/kl/more") is None
    assert metric("restore/psnr").needs == ("a peak",) and "noise" in metric("restore/psnr").depends
    needs = ("labels", "two training classes", "15 training examples")
    assert metric("baseline/untrained_knn15_accuracy").needs == needs


def test_a_metric_without_a_row_is_neutral_and_compared_as_all_of_its_namespace():
    assert metric("mine/accuracy") is None and better("mine/accuracy") == 0
    aspects = tuple((name, "1") for name in (*DEPENDENTS, "protocol.of_a_later_version"))
    later = ("protocol.of_a_later_version", "1")
    assert {*problem(aspects, "mine/accuracy")} == {(DATA, "1"), (GIVEN, "1"), later}
    copies = {f"protocol.separation_{name}" for name in ("copies", "flip", "std")}
    assert {name for name, _ in problem(aspects, "separation/mine")} == {DATA, GIVEN, later[0], *copies}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("floor/mean_mse", "baseline/mean_mse"),
        ("floor/pca_mse", "baseline/pca_mse"),
        ("recon/explained", "recon/r2"),
        ("restore/explained", "restore/r2"),
        ("anomaly/found", "anomaly/tpr"),
        ("anomaly/elbo_false_alarms", "anomaly/elbo_fpr"),
        ("specificity/emoji-0123abcd_mse", "cross_data/emoji-0123abcd_mse"),
        ("recon/mse", None),
        ("mine/explained", None),
    ],
)
def test_a_former_name_leads_to_the_present_one(old, new):
    assert renamed(old) == new


def test_runs_of_an_older_format_are_compared_by_the_present_names(tmp_path):
    metrics = {"recon/mse": 0.1, "floor/pca_mse": 0.2, "anomaly/found": 0.3, "mine/found": 0.4}
    for name, record in (("two", {"format": 2}), ("one", {}), ("three", {"format": 3})):
        make_run(tmp_path / name, metrics, record=record)
    one, three, two = (read([tmp_path / name])[0].metrics for name in ("one", "three", "two"))
    present = {"recon/mse": 0.1, "baseline/pca_mse": 0.2, "anomaly/tpr": 0.3, "mine/found": 0.4}
    assert {name: one[name] for name in present} == {name: two[name] for name in present} == present
    assert metrics.items() <= three.items()


def test_a_former_name_is_refused_with_the_present_one(tmp_path, told):
    sweep = make_sweep(tmp_path / "s", {str(seed): ({"baseline/pca_mse": 0.1}, {"seed": seed}) for seed in range(2)})
    for words, line in (
        (["--metrics", "floor/pca_mse"], "--metrics floor/pca_mse: no such metric; it is now baseline/pca_mse"),
        (["floor/pca_mse<1"], "floor/pca_mse<1: no such metric; floor/pca_mse is now baseline/pca_mse"),
        (["--sort", "-floor/pca_mse"], "--sort -floor/pca_mse: no such column; floor/pca_mse is now baseline/pca_mse"),
    ):
        words = [f"{words[0]}={words[1]}"] if words[0] == "--sort" else words
        status, out, err = told(sweep, *words)
        assert (status, out) == (2, "") and err.strip().endswith(line) and err.count("\n") == 1
    refused("objective=floor/pca_mse: no such metric; it is now baseline/pca_mse", "objective=floor/pca_mse")
    refused("objective=recon/msee: no such metric; did you mean recon/mse", "objective=recon/msee")
    for known in ("train/rate", "robust/flip/0.1/mse", "likelihood/variance"):
        assert job(f"objective={known}").objective == known


def test_anomalies_are_compared_unless_other_metrics_are_named(tmp_path, told):
    runs = {}
    for model, score in (("ae", 0.7), ("vae", 0.9)):
        for seed in range(4):
            metrics = {"recon/mse": 0.1, "anomaly/auroc": score + 0.001 * seed, "baseline/pca_mse": 0.05}
            runs[f"{model}{seed}"] = metrics, {"model": model, "seed": seed}
    status, out, _ = told(make_sweep(tmp_path / "s", runs), "--json")
    shown = json.loads(out)
    assert status == 0 and [row["metric"] for row in shown["comparisons"]] == ["recon/mse", "anomaly/auroc"]
    assert shown["comparisons"][1]["verdict"] == "worse"  # ae, the first of the two


def test_the_page_has_the_table():
    spec = importlib.util.spec_from_file_location("docs_metrics", CONF.parent / "docs" / "metrics.py")
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    assert docs.PAGE.read_text() == docs.page(), "python docs/metrics.py"


def test_the_table_needs_neither_jax_nor_numpy():
    script = "import sys, aejax.metrics.lookup; sys.exit(bool({'jax', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
