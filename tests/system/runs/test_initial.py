"""init=RUN: a training that begins with the parameters of a finished run."""

import json
import shutil

import numpy as np
import pytest
from conftest import called, run

import aejax
from aejax.cli.evaluate import main as evaluate
from aejax.cli.train import main
from aejax.datasets.dataset import Dataset
from aejax.runs.folder import Run, flat

DESCENT = ("optim=sgd", "optim.momentum=0", "optim.schedule=constant", "optim.lr=0.01")
PLAIN = (*DESCENT, "net.widths=[8]", "log_points=2", "evaluate.groups=[reconstruction]")
QUICK = (*PLAIN, "figures=false", "track=off")


def distance(first, second):
    """The largest difference between the parameters of two runs; 0 where they have the same bits."""
    pair = [flat(run.params) for run in (first, second)]
    assert pair[0].keys() == pair[1].keys()
    return max(np.abs(pair[0][name] - pair[1][name]).max() for name in pair[0])


def test_ten_steps_and_ten_more_are_twenty(here):
    """Plain gradient descent on full batches keeps nothing but the parameters from one step to the next."""
    whole = run(here / "whole", *PLAIN, "steps=20")
    run(here / "half", *PLAIN, "steps=10")
    rest = run(here / "rest", *PLAIN, "steps=10", "log_points=1", f"init={here / 'half'}")
    assert distance(rest, whole) == 0
    assert rest.metrics == whole.metrics
    assert rest.history[0]["train/loss"] == whole.history[-1]["train/loss"]
    assert rest.record["init"] == {
        "run": Run.read(here / "half").record["id"],
        "name": "ae letters d=2 s=0",
        "parameters": rest.record["init"]["parameters"],
    }
    assert whole.record["init"] is None


@pytest.mark.slow
def test_a_sweep_over_runs_and_code_sizes_trains_each_as_alone(command, tmp_path):
    assert command("-m", "latent_dim=2,3", "steps=4", *QUICK, "hydra.sweep.dir=first")[0] == 0
    words = ("-m", "latent_dim=2", "init=first/0,null", "seed=0,1", "steps=4", *QUICK)
    status, out, err = command(*words, "hydra.sweep.dir=second")
    assert status == 0, err
    assert "4 jobs -> 2 programs of 2 lanes" in out
    alone = run(tmp_path / "alone", *PLAIN, "steps=4", "seed=1", f"init={tmp_path / 'first' / '0'}")
    fresh = run(tmp_path / "fresh", *PLAIN, "steps=4", "seed=1")
    assert distance(Run.read("second/1"), alone) < 1e-5
    assert distance(Run.read("second/3"), fresh) < 1e-5
    assert distance(alone, fresh) > 0.1


@pytest.mark.slow
def test_the_run_is_evaluated_and_loaded_without_the_one_that_it_began_with(command, tmp_path):
    run(tmp_path / "first", *PLAIN, "steps=3")
    second = run(tmp_path / "second", *PLAIN, "steps=3", f"init={tmp_path / 'first'}")
    assert command("steps=3", "init=first", *QUICK, "hydra.run.dir=third")[0] == 0
    shutil.rmtree(tmp_path / "first")
    assert command("third", "groups=[reconstruction]", main=lambda: evaluate())[0] == 0
    assert aejax.load("third").encode(np.zeros((7, 5))).shape == (2,)
    assert distance(second, Run.read("third")) == 0


@pytest.mark.slow
def test_an_own_data_set_of_the_same_form_is_trained_on(here):
    x = np.random.default_rng(0).random((40, 6))
    words = ("net.widths=[4]", "steps=3", "log_points=1", "figures=false", "track=off")
    aejax.train(Dataset(train=x), *words, "hydra.run.dir=first")
    second = aejax.train(Dataset(train=1 - x), *words, "init=first", "optim.lr=1e-30", "hydra.run.dir=second")
    for name, array in flat(Run.read("first").params).items():
        np.testing.assert_allclose(flat(second.params)[name], array, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run and damaged copies of it."""
    folder = tmp_path_factory.mktemp("runs")
    assert called(main, "steps=2", *QUICK, f"hydra.run.dir={folder / 'first'}") == 0
    changes = {"open": {"status": "interrupted"}, "apart": {"status": "diverged"}, "old": {"format": 2}, "cut": {}}
    for name, fields in changes.items():
        shutil.copytree(folder / "first", folder / name)
        record = json.loads((folder / name / "run.json").read_text())
        (folder / name / "run.json").write_text(json.dumps(record | fields))
    (folder / "cut" / "params.safetensors").write_bytes(b"\0" * 20)
    return folder


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("init=none",), "init=none: does not exist"),
        (("init=first", "latent_dim=3"), "that run has latent_dim=2"),
        (("init=first", "model=vae"), "that run has model=ae"),
        (("init=first", "data=emoji"), "that run has data=letters"),
        (("init=first", "net.widths=[8,8]"), "that run has net.widths=[8]"),
        (
            ("init=first", "model=pca", "net.widths=[]"),
            "init=first: model=pca is fitted in closed form",
        ),
        (
            ("init=first", "model=stacked_ae", "steps=8"),
            "init=first: layers that have been trained need no pretraining",
        ),
        (("init=5",), "init=5: must be a folder or null"),
        (("init=open",), "init=open: its status is interrupted; must be completed"),
        (("init=apart",), "init=apart: its status is diverged; must be completed"),
        (("init=old",), "init=old: its files are of format 2, not 3; train it again"),
        (("init=cut",), "init=cut/params.safetensors: "),
    ],
)
def test_a_beginning_that_does_not_fit_is_one_line(runs, monkeypatch, capfd, words, line):
    monkeypatch.chdir(runs)
    status = called(main, "steps=2", *QUICK, *words, "hydra.run.dir=x")
    err = capfd.readouterr().err
    assert status == 2 and err.count("\n") == 1
    assert line in err
    assert not (runs / "x").exists()
