"""Sweeps of which something is wrong: one line for the whole, or the others go on."""

import os
import shutil

import pytest

from aejax.runs.folder import Run

QUICK = ["steps=40", "log_points=8", "net.widths=[5]", "figures=false", "evaluate.groups=[reconstruction]", "track=off"]


def test_a_job_without_its_objective_fails_alone(command, tmp_path):
    status, out, _ = command("-m", "objective=recon/mse,nonsense", "seed=1", *QUICK, "hydra.sweep.dir=s")
    assert status == 1
    assert "1 completed, 1 failed" in out and "objective=nonsense: no such metric" in out


def test_a_batch_without_a_valid_job_does_not_end_the_sweep(command):
    status, out, _ = command("-m", "latent_dim=0,2", *QUICK, "hydra.sweeper.max_batch_size=1", "hydra.sweep.dir=s")
    assert status == 1
    assert "latent_dim=0: must be a whole number" in out and Run.read("s/1").record["status"] == "completed"


def test_a_job_whose_choice_is_no_text_fails_alone(command):
    status, out, _ = command("-m", "model=ae,2", *QUICK, "hydra.sweep.dir=s")
    assert (status, "1 completed, 1 failed" in out) == (1, True)
    assert "model=2: no such choice; known: adversarial_ae, ae" in out
    status, out, err = command("-m", "data=letters,digits", "model=2")
    assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith(
        "aejax: model=2: no such choice; known: adversarial_ae, ae"
    )


def test_glob_is_counted_as_hydra_counts_it(command, tmp_path):
    status, out, _ = command("-m", "noise=glob(f*)", *QUICK, "hydra.sweep.dir=s")
    assert (status, "1 job -> 1 program" in out) == (0, True)


WRONG = {
    "net=conv net.tied=true seed=1,2": "net.tied: no such key; only with net=deep|linear|mlp; --cfg",
    "model.growth=0.1,0.2": "model.growth: no such key; it is now model.capacity_warmup; ",
    "latent_dim=0,-1": "latent_dim=0: must be ",
    "seed=range(0)": "seed=range(0): makes no job; a sweep has 1 to 10,000",
    "seed=range(10001)": "seed=range(10001): makes more than 10,000 jobs; a sweep has 1 to 10,000",
    "seed=range(101) latent_dim=range(1,101)": "latent_dim=range(1,101): makes more than 10,000 jobs",
    "hydra.sweep.dir='a\0b'": "hydra.sweep.dir: holds a null byte; must be the name of a folder",
    "hydra.sweep.dir=file": "hydra.sweep.dir=file: is a file; must be a folder",
    "hydra.sweep.dir=file/a": "hydra.sweep.dir=file/a: file is a file; must be a folder",
    "epochs=1,2 steps=4": "steps=4 epochs=1,2: give one of the two, or epochs=null to count steps",
    "+sweep=mnist_lr steps=4": "steps=4 epochs=10: give one of the two, or epochs=null to count steps",
    "seed=1,2 hydra.launcher=2": "hydra.launcher=2: must be a mapping of settings with a _target_",
    "seed=1,2 hydra.launcher._target_=os.getcwd": "hydra.launcher._target_=os.getcwd: no such plugin; known: ",
    "seed=0,1 hydra.sweep.subdir=.": "hydra.sweep.subdir=.: the sweep itself and job 0 (seed=0) have the folder ",
    "seed=0 hydra.sweep.subdir=a/..": "hydra.sweep.subdir=a/..: the sweep itself and job 0 (seed=0) have the folder ",
    "seed=0,1 hydra.sweep.subdir=a": "hydra.sweep.subdir=a: job 0 (seed=0) and job 1 (seed=1) have the folder ",
    "seed=0,1 hydra.sweep.dir=s/t hydra.sweep.subdir=${latent_dim}": "hydra.sweep.subdir=${latent_dim}: job 0 (seed=0)",
    "hydra.verbose=true,false": "Sweeping over Hydra's configuration is not supported",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_sweep_gets_one_line_and_leaves_nothing(command, tmp_path, words):
    (tmp_path / "file").write_text("mine")
    status, out, err = command("-m", *words.split())
    assert err.startswith(f"aejax: {WRONG[words]}")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_fuller_disk_ends_no_other_program_half(command, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10, 9, 1)

    def filled(path):
        return usage if os.path.exists("s/1/run.json") else shutil._ntuple_diskusage(2**40, 0, 2**40)

    monkeypatch.setattr("aejax.runs.destination.shutil.disk_usage", filled)
    status, _, err = command("-m", "model=ae,vae", "seed=0,1", *QUICK, "hydra.sweep.dir=s")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith(
        "aejax: no space left on the disk (s: no space left, 0.0 MiB free; a run needs 16 MiB); 2 of 4 runs"
    )
    assert sorted(path.name for path in (tmp_path / "s").glob("[0-9]")) == ["0", "1"]
