"""python -m aejax.evaluate: finished runs are measured again."""

import json
import shutil

import numpy as np
import pytest
from conftest import called

from aejax import command, reevaluation
from aejax.runs import Run

WORDS = ["model=vae", "net.widths=[12]", "steps=30", "log_points=2", "track=off", "figures=false"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two runs, of letters and of the same letters with other codes, as the command leaves them."""
    place = tmp_path_factory.mktemp("runs")
    for name, words in (("a", ["seed=0"]), ("b", ["seed=1"])):
        assert called(command.main, *WORDS, *words, f"hydra.run.dir={place / name}") == 0
    return place


@pytest.fixture
def again(finished, tmp_path, capfd):
    """Copies of the two runs, and a way to evaluate folders: exit status, stdout, stderr."""
    for name in ("a", "b"):
        shutil.copytree(finished / name, tmp_path / name)

    def run(*words):
        capfd.readouterr()
        return called(reevaluation.main, *map(str, words)), *capfd.readouterr()

    return tmp_path, run


def test_new_metrics_are_added_and_nothing_else_changes(again):
    place, evaluate = again
    before = {name: Run.read(place / name).metrics for name in ("a", "b")}
    status, out, err = evaluate(place / "a", place / "b", "what=[clusters,nll,separation]", "samples=10", "noise=own")
    assert (status, err) == (0, "")
    assert "stays as it is" not in out
    for name in ("a", "b"):
        run = Run.read(place / name)
        new = {"nll", "likelihood/bits_per_dim", *(f"separation/{each}" for each in ("nmi", "ari", "cluster_accuracy"))}
        assert run.metrics.keys() - before[name].keys() == new
        assert before[name].items() <= run.metrics.items()
        assert run.metrics["nll"] < -before[name]["elbo"] + 0.5
        assert run.record["evaluated_again"][0]["what"] == ["separation", "clusters", "nll"]
    assert Run.read(place / "a").metrics["nll"] != Run.read(place / "b").metrics["nll"]


def test_what_differs_is_told_and_stays(again):
    place, evaluate = again
    metrics = json.loads((place / "a" / "metrics.json").read_text())
    (place / "a" / "metrics.json").write_text(json.dumps(metrics | {"recon/mse": 7.0}))
    status, out, _ = evaluate(place / "a", "what=[reconstruction]", "noise=own")
    assert status == 0
    assert "recon/mse is 7.0 there and 0." in out
    assert Run.read(place / "a").metrics["recon/mse"] == 7.0


def test_errors_across_runs_are_those_of_their_own_data(again):
    place, evaluate = again
    status, out, _ = evaluate(place / "a", "what=[reconstruction]", "noise=own", "--across")
    metrics = Run.read(place / "a").metrics
    assert status == 0 and "test examples of letters" in out
    assert metrics["specificity/letters_mse"] == pytest.approx(metrics["recon/mse"], rel=1e-5)


def _set(path, **fields):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | fields))


def _break(name):
    def missing(run):
        (run / "params.safetensors").unlink()

    def damaged(run):
        (run / "params.safetensors").write_bytes(b"x" * 40)

    def unfinished(run):
        _set(run / "run.json", status="running")

    def older(run):
        _set(run / "run.json", versions={"aejax": "0.0.1"})

    def other_data(run):
        _set(run / "run.json", data={"fingerprint": "0" * 16})

    def foreign(run):
        path = run / ".hydra" / "config.yaml"
        path.write_text(path.read_text().replace("aejax.noise.Clean", "os.Clean"))

    return locals()[name]


@pytest.mark.parametrize(
    "broken, told",
    [
        ("missing", "holds no params.safetensors; must be the whole folder of a run"),
        ("damaged", "params.safetensors: cannot be read"),
        ("unfinished", "its status is running; must be completed or diverged"),
        ("older", "is of aejax 0.0.1; must be of"),
        ("other_data", "its data are no longer what they were"),
        ("foreign", "only classes of aejax are trusted here"),
    ],
)
def test_a_run_that_cannot_be_evaluated_gets_one_line_and_stays_as_it_is(again, broken, told):
    place, evaluate = again
    _break(broken)(place / "a")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    status, out, err = evaluate(place / "b", place / "a", "what=[elbo]")
    assert status == 2 and told in err and err.count("\n") == 1 and not out
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "words, told",
    [
        (["what=[knn]"], "must be a list of some of reconstruction, restoration"),
        (["waht=[elbo]"], "waht=[elbo]: no such setting; must be one of noise, samples, what"),
        (["samples=0"], "samples=0: must be a whole number at least 1"),
        (["what=[anomaly]"], "data.normal=null: must list the normal labels"),
    ],
)
def test_wrong_settings_get_one_line(again, words, told):
    place, evaluate = again
    status, _, err = evaluate(place / "a", *words)
    assert status == 2 and told in err and err.count("\n") == 1


def test_a_folder_without_a_run_gets_one_line(again):
    place, evaluate = again
    status, _, err = evaluate(place / "none")
    assert status == 2 and "holds no run that can be read" in err
    assert evaluate("what=[elbo]")[0] == 2


@pytest.mark.slow
def test_usefulness_compares_codes_with_pixels_and_pca(again):
    place, evaluate = again
    assert evaluate(place / "a", "what=[probe,usefulness]", "noise=own")[0] == 0
    run = Run.read(place / "a")
    found = run.record["evaluation"]["usefulness"]
    assert {name: values["bytes"] for name, values in found.items()} == {"codes": 8, "pixels": 35, "pca": 8}
    assert all(values["seconds"] > 0 for values in found.values())
    assert run.metrics["usefulness/codes_accuracy"] == pytest.approx(
        run.metrics["separation/probe_accuracy"], abs=0.003
    )
    assert run.metrics["usefulness/pixels_accuracy"] > run.metrics["usefulness/codes_accuracy"]
    few = [run.metrics[f"usefulness/probe_accuracy_{labels}_labels"] for labels in (1, 10)]
    assert few[0] < few[1]
    assert run.metrics["usefulness/probe_accuracy_100_labels"] is None
    assert run.record["evaluation"]["absent"]["usefulness/probe_accuracy_100_labels"].startswith("a class has fewer")
    assert np.isfinite(few).all()
