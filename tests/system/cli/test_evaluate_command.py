"""python -m aejax.evaluate: finished runs are measured again."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from conftest import called, forget, state_of

from aejax.base.errors import InputError
from aejax.cli import evaluate, train
from aejax.runs.folder import FORMAT, Run
from aejax.runs.reproduction import is_close

WORDS = ["model=vae", "net.widths=[12]", "steps=30", "log_points=2", "track=off", "figures=false"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two runs, of letters and of the same letters with other codes, as the command leaves them."""
    place = tmp_path_factory.mktemp("runs")
    for name, words in (("a", ["seed=0"]), ("b", ["seed=1"])):
        assert called(train.main, *WORDS, *words, f"hydra.run.dir={place / name}") == 0
    return place


@pytest.fixture
def again(finished, tmp_path, capfd):
    """Copies of the two runs, and a way to evaluate folders: exit status, stdout, stderr."""
    for name in ("a", "b"):
        shutil.copytree(finished / name, tmp_path / name)

    def run(*words):
        capfd.readouterr()
        return called(evaluate.main, *map(str, words)), *capfd.readouterr()

    return tmp_path, run


@pytest.mark.slow
def test_new_metrics_are_added_and_nothing_else_changes(again):
    place, evaluate = again
    before = {name: Run.read(place / name).metrics for name in ("a", "b")}
    status, out, err = evaluate(place / "a", place / "b", "groups=[clusters,nll,separation]", "samples=10", "noise=own")
    assert (status, err) == (0, "")
    assert "recorded value is kept" not in out
    for name in ("a", "b"):
        run = Run.read(place / name)
        new = {"nll", "likelihood/bits_per_dim", *(f"separation/{each}" for each in ("nmi", "ari", "cluster_accuracy"))}
        assert run.metrics.keys() - before[name].keys() == new
        assert before[name].items() <= run.metrics.items()
        assert run.metrics["nll"] < -before[name]["elbo"] + 0.5
        assert run.record["evaluated_again"][0]["groups"] == ["separation", "clusters", "nll"]
    assert Run.read(place / "a").metrics["nll"] != Run.read(place / "b").metrics["nll"]


def test_memory_that_is_used_up_is_told_in_one_line(again, monkeypatch):
    def full(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 36668824720 bytes.\nMore")

    place, evaluate = again
    before = state_of(place)
    monkeypatch.setattr("aejax.runs.reproduction.measured", full)
    status, _, err = evaluate(place / "a", "groups=[elbo]")
    told = "aejax: takes more memory than there is (Out of memory allocating 36668824720 bytes); reduce groups, "
    assert (status, err.count("\n")) == (2, 1) and err.startswith(told)
    assert state_of(place) == before


@pytest.mark.slow
def test_a_name_that_cannot_be_encoded_stays_as_it_was(again):
    place, evaluate = again
    _set(place / "a" / "run.json", name="a\ud800")
    status, _, err = evaluate(place / "a", "groups=[elbo]")
    assert (status, err) == (0, "")
    record = json.loads((place / "a" / "run.json").read_text())
    assert record["name"] == "a\ud800" and len(record["evaluated_again"]) == 1


@pytest.mark.slow
def test_a_run_that_diverged_is_evaluated_by_force(again):
    place, evaluate = again
    _set(place / "a" / "run.json", status="diverged")
    status, out, err = evaluate(place / "a", "groups=[elbo]", "--force")
    assert (status, err) == (0, "") and "metrics added" in out


def test_the_name_of_a_folder_that_cannot_be_is_that_of_none(finished, tmp_path, monkeypatch):
    shutil.copytree(finished / "a", tmp_path / "a")
    path = tmp_path / "a" / ".hydra" / "hydra.yaml"
    path.write_text(re.sub("cwd: .*", f"cwd: {'a' * 5000}", path.read_text()))
    read = lambda: evaluate.read_runs([tmp_path / "a"], evaluate.protocol_settings([]), False)  # noqa: E731
    assert read()[0].run.path == tmp_path / "a"
    path.write_text(re.sub("cwd: .*", f"cwd: {tmp_path}", path.read_text()))
    monkeypatch.setattr("os.chdir", lambda _: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(InputError, match=r"a: was started in .*, which cannot be entered \(Permission denied\)"):
        read()


def test_neither_file_is_written_where_one_cannot_be(finished, tmp_path):
    shutil.copytree(finished / "a", tmp_path / "a")
    run, before = Run.read(tmp_path / "a"), (tmp_path / "a" / "metrics.json").read_bytes()
    with pytest.raises(TypeError):
        run.write_again({"recon/mse": 1.0}, evaluation={"x": object()})
    assert (tmp_path / "a" / "metrics.json").read_bytes() == before


def change(run, **metrics):
    """Writes other values of metrics, whose slashes are double underlines, into metrics.json."""
    changed = {name.replace("__", "/"): value for name, value in metrics.items()}
    (run / "metrics.json").write_text(json.dumps(Run(run).metrics | changed))


def scramble(run):
    """What safetensors 0.8 made of a slice of columns: the rows of the buffer beneath."""
    made = Run(run)
    params = made.params
    kernel = params["to_code"]["mean"]["kernel"]
    wide = np.hstack([kernel, np.zeros_like(kernel)])
    params["to_code"]["mean"]["kernel"] = wide.ravel()[: kernel.size].reshape(kernel.shape)
    made.write_params(params)


def move_codes(run):
    """Adds a half to every code."""
    made = Run(run)
    made.write_codes(made.codes["z"] + np.float32(0.5), made.codes["y"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda run: change(run, recon__mse=7.0), "recon/mse is 7.0 there and 0."),
        (lambda run: change(run, elbo=None), "elbo is None there and -"),
        (lambda run: change(run, separation__knn_accuracy=0.0), "separation/knn_accuracy is 0.0 there and 0."),
        (move_codes, "codes are up to 0.5 apart where their standard deviation is"),
        (scramble, "codes are up to 0."),
    ],
)
def test_nothing_is_added_to_a_run_that_does_not_give_its_own_numbers(again, spoil, told):
    place, evaluate = again
    spoil(place / "a")
    before = {path: path.read_bytes() for path in (place / "a").rglob("*") if path.is_file()}
    status, out, err = evaluate(place / "a", place / "b", "groups=[clusters]", "noise=own")
    assert status == 1
    assert err.count("\n") == 1 and "format 1" not in err
    assert f"({place / 'a'}): its parameters do not reproduce its metrics, so nothing is added: " in err
    assert told in err
    assert before == {path: path.read_bytes() for path in (place / "a").rglob("*") if path.is_file()}
    assert str(place / "a") not in out and "separation/nmi" in Run.read(place / "b").metrics  # the others are measured


@pytest.mark.parametrize("number", [None, FORMAT - 1, FORMAT + 1])
def test_a_run_of_another_format_is_refused(again, number):
    place, evaluate = again
    record = Run.read(place / "a").record
    record.pop("format")
    (place / "a" / "run.json").write_text(json.dumps(record | ({"format": number} if number else {})))
    status, _, err = evaluate(place / "a", "groups=[clusters]", "noise=own")
    assert (status, err.count("\n")) == (2, 1)
    remedy = "install a newer aejax" if number == FORMAT + 1 else "train it again with this version"
    assert f"a: its files are of format {number or 1}, not {FORMAT}; {remedy}" in err


def test_small_differences_of_another_device_are_no_others():
    close = [
        ("recon/mse", 0.1, 0.1005),
        ("elbo", -90.0, -90.5),
        ("recon/exact", 0.9, 0.92),
        ("code/active_units", 3, 2),
    ]
    apart = [("recon/mse", 0.1, 0.11), ("elbo", None, -90.0), ("recon/exact", 0.9, 0.5), ("code/active_units", 3, 1)]
    assert [is_close(*each, same=False) for each in close] == [True] * 4
    assert [is_close(*each, same=False) for each in apart] == [False] * 4


def test_on_the_same_device_only_rounding_may_differ():
    close = [
        ("recon/mse", 1.195e-9, 1.2e-9),
        ("recon/psnr", 89.98, 89.97),
        ("separation/knn_accuracy", 0.697, 0.6982),
        ("code/collapsed", 0, 0),
    ]
    apart = [
        ("recon/mse", 1.195e-9, 9e-6),
        ("recon/mse", 1e-5, 1.5e-5),
        ("recon/psnr", 89.98, 88.9),
        ("recon/exact", 1.0, 0.93),
        ("separation/knn_accuracy", 0.697, 0.77),
        ("code/collapsed", 0, 1),
        ("elbo", -90.0, -90.5),
    ]
    assert [is_close(*each, same=True) for each in close] == [True] * len(close)
    assert [is_close(*each, same=True) for each in apart] == [False] * len(apart)


@pytest.mark.slow
def test_errors_across_runs_are_those_of_their_own_data(again):
    place, evaluate = again
    assert (
        called(
            train.main,
            *WORDS,
            "data.classes=[a,b,c]",
            "evaluate.groups=[reconstruction]",
            f"hydra.run.dir={place / 'few'}",
        )
        == 0
    )
    status, out, _ = evaluate(place / "a", place / "few", "groups=[reconstruction]", "noise=own", "--across")
    runs = [Run.read(place / name) for name in ("a", "few")]
    keys = [f"letters-{run.record['data']['fingerprint'][:8]}" for run in runs]
    assert status == 0 and keys[0] != keys[1]
    assert f"{keys[1]}: 3 examples, labels a, b, c" in out
    for run, key, other in zip(runs, keys, keys[::-1], strict=True):
        assert run.metrics[f"cross_data/{key}_mse"] == pytest.approx(run.metrics["recon/mse"], rel=1e-5)
        assert run.metrics[f"cross_data/{other}_mse"] != run.metrics[f"cross_data/{key}_mse"]
        assert run.record["evaluation"]["cross_data"].keys() == set(keys)
    assert runs[0].record["evaluation"]["cross_data"][keys[1]]["labels"] == ["a", "b", "c"]


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

    def diverged(run):
        _set(run / "run.json", status="diverged")

    def older(run):
        _set(run / "run.json", versions={"aejax": "0.0.1"})

    def evaluated_otherwise(run):
        _set(run / "run.json", evaluation=[1, 2])

    def newer(run):
        _set(run / "run.json", format=99)

    def other_shapes(run):
        made = Run(run)
        params = made.params
        params["encoder"]["Dense_0"]["kernel"] = params["encoder"]["Dense_0"]["kernel"][:, :3]
        made.write_params(params)

    def fewer_codes(run):
        made = Run(run)
        made.write_codes(made.codes["z"][:5])

    def no_codes(run):
        (run / "codes.npz").unlink()

    def other_data(run):
        _set(run / "run.json", data={"fingerprint": "0" * 16})

    def foreign(run):
        path = run / ".hydra" / "config.yaml"
        path.write_text(path.read_text().replace("aejax.models.noise.Clean", "os.Clean"))

    def before_all(run):
        _set(run / "run.json", format=-5)

    def no_source(run):
        path = run / ".hydra" / "config.yaml"
        own = "_target_: aejax.training.checkpoint.Checkpoint\n  path: x\n  ids: [a]\n  seconds: 1\n  saved: 1"
        path.write_text(path.read_text().replace("_target_: aejax.datasets.sources.letters.Letters", own))

    def deep(run):
        (run / ".hydra" / "config.yaml").write_text("a: " + "[" * 5000)

    def deep_choices(run):
        (run / ".hydra" / "hydra.yaml").write_text("a: " + "[" * 5000)

    def numbered_choices(run):
        (run / ".hydra" / "hydra.yaml").write_text("hydra:\n  runtime:\n    choices:\n      3: x\n    cwd: x\n")

    def other_choices(run):
        (run / ".hydra" / "hydra.yaml").write_text("hydra: {runtime: {choices: {3: 4}, cwd: x}}")

    return locals()[name]


@pytest.mark.parametrize(
    "broken, told",
    [
        ("missing", "holds no params.safetensors; name the complete folder of a run"),
        ("damaged", "params.safetensors: cannot be read"),
        ("unfinished", "its status is running; must be completed"),
        ("diverged", "its status is diverged; must be completed; --force uses the parameters that it has"),
        ("older", "was trained with aejax 0.0.1; evaluate it with that version"),
        ("evaluated_otherwise", "run.json: cannot be read (evaluation is [1, 2]; must be a mapping)"),
        ("newer", "its files are of format 99, not 3; install a newer aejax"),
        ("other_shapes", "encoder.Dense_0.kernel is [35, 3]; must be [35, 12]"),
        ("fewer_codes", "codes.npz: z is [5, 2]; must be [27, 2]"),
        ("no_codes", "holds no codes.npz; name the complete folder of a run"),
        ("other_data", "its data have changed"),
        ("foreign", "only classes of aejax are trusted here"),
        ("before_all", "run.json: cannot be read (format is -5; must be at least 1)"),
        ("no_source", "a: data._target_=aejax.training.checkpoint.Checkpoint: must name a class of aejax.datasets"),
        ("deep", "config.yaml: cannot be read (more than 60 mappings and lists are nested)"),
        ("deep_choices", "a: its .hydra cannot be read (hydra.yaml lists no choices)"),
        ("numbered_choices", "hydra.yaml: cannot be read (choices has the group 3, which is no string)"),
        ("other_choices", "a: its .hydra cannot be read (hydra.yaml lists no choices)"),
    ],
)
def test_a_run_that_cannot_be_evaluated_gets_one_line_and_stays_as_it_is(again, broken, told):
    place, evaluate = again
    _break(broken)(place / "a")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    status, out, err = evaluate(place / "b", place / "a", "groups=[elbo]")
    assert status == 2 and told in err and err.count("\n") == 1 and not out
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "words, told",
    [
        (["groups=[knn]"], "must be a list of some of reconstruction, restoration"),
        (["waht=[elbo]"], "waht=[elbo]: no such setting; known: groups, noise, samples"),
        (["samples=0"], "samples=0: must be a whole number at least 1"),
        (["groups=[anomaly]"], "data.normal=null: must list the normal labels"),
    ],
)
def test_wrong_settings_get_one_line(again, words, told):
    place, evaluate = again
    status, _, err = evaluate(place / "a", *words)
    assert status == 2 and told in err and err.count("\n") == 1


def test_groups_that_are_named_come_without_the_grid_of_noise():
    asked = {
        (): "grid",
        ("samples=10",): "grid",
        ("groups=[reconstruction]",): "own",
        ("groups=[nll]", "noise=grid"): "grid",
        ("noise=own",): "own",
    }
    for words, noise in asked.items():
        forget()
        assert evaluate.protocol_settings(list(words))["noise"] == noise, words


def test_a_folder_without_a_run_gets_one_line(again):
    place, evaluate = again
    status, _, err = evaluate(place / "none")
    assert status == 2 and "none: does not exist" in err
    assert evaluate("groups=[elbo]")[0] == 2


@pytest.mark.slow
def test_usefulness_compares_codes_with_pixels_and_pca(again):
    place, evaluate = again
    assert evaluate(place / "a", "groups=[probe,usefulness]", "noise=own")[0] == 0
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
