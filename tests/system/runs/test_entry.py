"""aejax.train: a Dataset of a program and overrides -> a run."""

import logging
import os
import shutil
import sys

import jax
import numpy as np
import pytest
import wandb
from conftest import state_of
from omegaconf import OmegaConf

import aejax
from aejax.base.errors import InputError
from aejax.cli.resume import command_of
from aejax.datasets.dataset import Dataset

RNG = np.random.default_rng(0)


def test_a_data_set_of_ones_own_is_trained_on(here, capsys):
    x = RNG.random((60, 5))
    y = np.array(["up", "down"] * 30)
    words = ["model=vae", "steps=3", "log_points=1", "net.widths=[4]", "figures=false", "track=off"]
    left = aejax.train(Dataset(train=(x, y)), *words, "data.limit=20", "hydra.run.dir=run")
    assert capsys.readouterr()[0].startswith("data own: 20 train, 5 valid, 6 test examples of 5, kind real, likelihood")
    assert left.record["data"]["examples"] == {"train": 20, "valid": 5, "test": 6}
    assert left.record["data"]["name"] == "own"
    assert left.codes["y"].shape == (6,)
    assert (here / "run" / "metrics.json").exists()
    other = aejax.train(Dataset(name="mine", train=x, test=x[:7]), *words)
    assert "_vae_mine" in other.path.name
    assert other.record["data"]["examples"] == {"train": 54, "valid": 6, "test": 7}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data=emoji"], "data=emoji: cannot be combined with a Dataset"),
        (["latent_dim=0"], "latent_dim=0: must be a whole number"),
        (["modl=vae"], "modl: no such key; did you mean model"),
        (["data.validation=99"], "data.validation=99: takes 99 of"),
    ],
)
def test_a_wrong_override_of_the_python_entry_is_told(here, words, told):
    with pytest.raises(InputError) as caught:
        aejax.train(Dataset(train=RNG.random((60, 5))), *words)
    assert str(caught.value).startswith(told)
    assert not list(here.iterdir())


@pytest.mark.slow
def test_the_record_says_that_the_data_were_a_programs(here):
    words = ["steps=3", "log_points=1", "net.widths=[4]", "figures=false", "track=off", "hydra.run.dir=run"]
    dataset = Dataset(train=RNG.random((60, 5)))
    left = aejax.train(dataset, *words)
    settings = OmegaConf.load(here / "run" / ".hydra" / "config.yaml")
    assert "_target_" not in settings.data and settings.steps == 3
    with pytest.raises(InputError, match="trained on a Dataset passed from Python; only that program can resume it"):
        command_of(here / "run")
    assert aejax.train(dataset, *words).record == left.record  # it was finished


@pytest.mark.slow
def test_the_process_is_afterwards_as_it_was(here, monkeypatch, request):
    """Else W&B runs of the user's own write into the run's folder, and JAX keeps his programs in aejax's cache."""
    wandb.teardown()  # W&B resolves its paths where its process began, which may be another test's folder
    monkeypatch.delenv("WANDB_DATA_DIR")
    cache = "jax_persistent_cache_min_compile_time_secs"
    kept = getattr(jax.config, cache)
    request.addfinalizer(lambda: jax.config.update(cache, kept))
    jax.config.update(cache, 7.0)
    logging.getLogger("wandb").setLevel(logging.INFO)
    before, hooks = dict(os.environ), (sys.exit, sys.excepthook)
    words = ["steps=3", "log_points=1", "net.widths=[4]", "figures=false", "hydra.run.dir=run"]
    left = aejax.train(Dataset(train=RNG.random((60, 5))), *words, "evaluate.groups=[reconstruction]", "track=offline")
    assert "wandb_lost" not in left.record, left.record["wandb_lost"]
    assert list(left.path.glob("wandb/offline-run-*/*.wandb"))
    assert dict(os.environ) == before and (sys.exit, sys.excepthook) == hooks
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 7.0
    assert logging.getLogger("wandb").level == logging.INFO
    shutil.rmtree("run")
    own = wandb.init(mode="offline", project="mine", settings=wandb.Settings(silent=True))
    own.log({"table": wandb.Table(columns=["a"], data=[[1]])})
    own.finish()
    assert list(here.glob("wandb/offline-run-*/*.wandb")) and not (here / "run").exists()


def test_a_wandb_that_began_in_another_folder_writes_into_the_run(here, monkeypatch):
    """W&B's process resolves a relative path in the working directory that it began in."""
    wandb.teardown()
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    wandb.init(mode="offline", project="mine", settings=wandb.Settings(silent=True)).finish()
    monkeypatch.chdir(here)
    words = ["steps=3", "log_points=1", "net.widths=[4]", "figures=false", "hydra.run.dir=run"]
    left = aejax.train(Dataset(train=RNG.random((60, 5))), *words, "evaluate.groups=[reconstruction]", "track=offline")
    assert "wandb_lost" not in left.record, left.record["wandb_lost"]
    assert list(left.path.glob("wandb/offline-run-*/*.wandb"))


def test_a_finished_run_is_not_cleared(here):
    words = ["steps=3", "log_points=1", "net.widths=[4]", "figures=false", "track=off", "hydra.run.dir=run"]
    left = aejax.train(Dataset(train=RNG.random((60, 5))), *words, "evaluate.groups=[reconstruction]")
    files = state_of(left.path)
    with pytest.raises(InputError, match="run: holds a finished run; choose another folder"):
        left.clear()
    assert state_of(left.path) == files
