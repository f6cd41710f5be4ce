"""PyTorch beside shortened published results: what is recorded, what counts, and the command.

Training needs PyTorch, of the extra `bench`; reading its records does not.
"""

import json

import pandas as pd
import pytest
from counterparts import torch as torch
from made import make_run

from aejax.base.errors import InputError
from aejax.comparison import tables
from benchmarks import published, reference_results, references, torch_references
from benchmarks.reference_results import Mean, Result


def test_a_training_is_recorded_once_beside_a_run_and_measured_as_the_run(torch, command, tmp_path, monkeypatch):
    words = ["data=digits", "steps=300", "log_points=3", "model=ae", "net.widths=[32]", "latent_dim=8", "figures=false"]
    status, _, errors = command(*words, "evaluate.groups=[reconstruction]", "track=off", "hydra.run.dir=one")
    assert not status, errors
    folder = tmp_path / "one"
    torch_references.train_beside([folder])
    left = torch_references.record_of(folder)
    ours = json.loads((folder / "metrics.json").read_text())
    assert left["metrics"].keys() == ours.keys() and left["steps"] == 300 and left["versions"]["torch"]
    assert left["metrics"]["recon/mse"] != ours["recon/mse"]
    assert left["metrics"]["recon/mse"] == pytest.approx(ours["recon/mse"], rel=0.15)  # far below the mean image's

    monkeypatch.setattr(torch_references, "recorded_training", None)  # would not be called again
    torch_references.train_beside([folder])
    for word, line in (
        ("steps=3", "steps=3: all but the place of the data is the run's; "),
        ("data.limit=3", "data.limit=3: all but the place of the data is the run's; "),
    ):
        with pytest.raises(InputError) as caught:
            torch_references.saved_run(folder, [word])
        assert str(caught.value).startswith(line)


def test_the_place_of_the_data_may_be_another_one(torch, command, tmp_path, monkeypatch):
    """A relative one starts where the command does."""
    status, _, errors = command("data=digits", "steps=2", "figures=false", "track=off", "hydra.run.dir=one")
    assert not status, errors
    seen = []
    monkeypatch.setattr("aejax.runs.recorded.Recorded.job", lambda own, loaded: seen.append(own.config.data))
    for words in (["data.dir=there"], ["data.dir=null", "data.download=true"]):
        with pytest.raises(AttributeError):
            torch_references.saved_run(tmp_path / "one", words)
    assert seen[0].dir == str(tmp_path / "there")
    assert seen[1].dir is None and seen[1].download is True


def sweep(folder, values, torch_values, seconds=60.0, **settings):
    """A made-up sweep of case 4 with `values` {seed: recon/sse} and records of PyTorch for some of these seeds."""
    for seed, value in values.items():
        run = folder / "deep_relu" / str(seed)
        record = {"seconds": {"train": seconds}, "lanes": {"count": 3}}
        made = make_run(run, {"recon/sse": value}, record=record, seed=seed, data="mnist", epochs=4, **settings)
        if seed in torch_values:
            content = {"run": made.record["id"], "metrics": {"recon/sse": torch_values[seed]}}
            (run / "torch.json").write_text(json.dumps(content))
    overrides = ["+sweep=references/deep_relu", "track=off"]
    (folder / "deep_relu" / "sweep.json").write_text(json.dumps({"overrides": overrides}))


def cells_of(folder, case):
    """{column: cell} of the first row of a case."""
    lines = list(references.table(references.results([folder])))
    header, row = lines[0], next(line for line in lines if line.startswith(f"| {case} |"))
    return dict(zip(*([cell.strip() for cell in line.strip("|").split("|")] for line in (header, row)), strict=True))


@pytest.mark.parametrize(
    ("values", "cell", "verdict"),
    [
        ({0: 4.5, 1: 4.6, 2: 4.7}, "4.600 ± 0.248", "as PyTorch in the same steps"),
        ({0: 4.0, 1: 4.1, 2: 4.2}, "4.100 ± 0.248", "worse than PyTorch in the same steps"),
        ({0: 5.0, 1: 5.1, 2: 5.2}, "5.100 ± 0.248", "better than PyTorch in the same steps"),
        ({0: 5.0, 1: 5.1}, "5.050 (2 of 3 seeds)", ""),
        ({}, "not measured yet", ""),
    ],
)
def test_a_shortened_result_stands_beside_pytorch_s_of_the_same_steps(tmp_path, values, cell, verdict):
    sweep(tmp_path, {0: 4.55, 1: 4.6, 2: 4.65}, values)
    cells = cells_of(tmp_path, "4")
    assert cells["ours"] == "4.600 ± 0.124" and cells["PyTorch, same steps"] == cell
    parts = ["worse: shortened", *[verdict] * bool(verdict), published.CASES["deep_relu"].why]
    assert cells["verdict"] == "; ".join(parts)


def test_a_record_of_another_run_counts_for_none(tmp_path):
    sweep(tmp_path, {0: 4.55, 1: 4.6, 2: 4.65}, {0: 4.5, 1: 4.6, 2: 4.7})
    path = tmp_path / "deep_relu" / "0" / "torch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"run": "trained again"}))
    assert torch_references.record_of(path.parent) is None
    assert cells_of(tmp_path, "4")["PyTorch, same steps"] == "4.650 (2 of 3 seeds)"


@pytest.mark.parametrize(
    ("metric", "value", "verdict"),
    [
        ("likelihood/rate", 7.5, "above PyTorch"),
        ("likelihood/rate", 6.5, "below PyTorch"),
        ("elbo", 7.5, "better than"),
    ],
)
def test_a_result_beside_pytorch_s_follows_the_direction_of_its_metric(metric, value, verdict):
    case = published.Case("0", "paper", "setting", (), full="epochs=9")
    number = published.Number("", metric, f"{value:.1f}")
    result = Result(case, number, value, 0.1, 3, "", 1.0, "", Mean(7.0, 0.1, 3))
    assert result.verdict.startswith(f"reached; {verdict}")
    full = Result(case, number, value, 0.1, 3, "", 1.0, "epochs=9", Mean(7.0, 0.1, 3))
    assert full.verdict == "reached" and references.shown_torch(full) == ""


def test_the_mean_over_digits_of_a_seed_needs_the_records_of_all(tmp_path):
    sweep(tmp_path, {0: 4.5, 1: 4.6}, {0: 4.4, 1: 4.7})
    runs = tables.load([tmp_path]).completed
    twice = pd.concat([runs, runs.assign(path=[str(make_digit(tmp_path, seed)) for seed in runs["seed"]])])
    mean = reference_results.torch_mean(twice.reset_index(drop=True), "recon/sse")
    assert mean.seeds == 1 and mean.value == pytest.approx((4.4 + 2.0) / 2)


def make_digit(folder, seed):
    """Another run of a seed, of which that of seed 0 has a record."""
    made = make_run(folder / "more" / str(seed), {"recon/sse": 1.0}, seed=seed, record={"digit": 1})
    if seed == 0:
        content = {"run": made.record["id"], "metrics": {"recon/sse": 2.0}}
        (made.path / "torch.json").write_text(json.dumps(content))
    return made.path


def test_the_command_trains_beside_shortened_runs_that_are_completed(tmp_path, monkeypatch):
    sweep(tmp_path, {0: 4.5, 1: 4.6}, {})
    make_run(tmp_path / "deep_relu" / "2", {}, status="running", seed=2, data="mnist", epochs=4)
    called = []
    monkeypatch.setattr(references, "train_beside", lambda folders, words: called.append((folders, words)))
    references.main(["torch", str(tmp_path), "data.dir=there"])
    assert called == [([tmp_path / "deep_relu" / "0", tmp_path / "deep_relu" / "1"], ["data.dir=there"])]

    words = ["+sweep=references/deep_relu", *published.CASES["deep_relu"].full.split()]
    (tmp_path / "deep_relu" / "sweep.json").write_text(json.dumps({"overrides": words}))
    assert reference_results.shortened_runs([tmp_path]) == []


def test_the_place_of_the_data_is_the_only_setting_whether_there_is_a_run_or_not(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        references.main(["torch", str(tmp_path), "epochs=3"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(
        "aejax: epochs=3: all but the place of the data is the run's; known: data."
    )


def test_first_seeds_come_first_and_short_runs_before_long_ones(tmp_path):
    sweep(tmp_path / "long", {0: 4.5, 1: 4.6}, {}, seconds=90.0)
    sweep(tmp_path / "short", {0: 4.5, 1: 4.6}, {}, seconds=30.0)
    folders = [folder / "deep_relu" / seed for folder in (tmp_path / "long", tmp_path / "short") for seed in "10"]
    ordered = sorted(folders, key=torch_references.turn)
    names = [(folder.parts[-3], folder.name) for folder in ordered]
    assert names == [("short", "0"), ("long", "0"), ("short", "1"), ("long", "1")]


def test_without_pytorch_one_line_says_so(tmp_path, monkeypatch, capsys):
    sweep(tmp_path, {0: 4.5}, {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        references.main(["torch", str(tmp_path)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "aejax: torch is not installed; pip install -e '.[bench]'\n"
