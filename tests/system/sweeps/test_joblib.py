"""Hydra's joblib launcher: jobs in processes of their own give the runs that the vmap launcher gives."""

import pytest
from commands import QUICK, sweep

from aejax.runs.folder import Run

pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="hydra-joblib-launcher is not installed")

pytestmark = pytest.mark.slow


WORDS = ["optim=sgd", "optim.clip=null", "model=vae", "noise=flip", "latent_dim=2,3", "figures=false"]
WORDS += [word for word in QUICK if not word.startswith(("track", "figures"))]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same sweep by both, with a rate that is wrong and one that diverges."""
    folder, rates = tmp_path_factory.mktemp("sweeps"), "optim.lr=-1,0.0001,1e30"
    joint = sweep(folder, *WORDS, rates, "hydra.sweep.dir=joint", status=1)
    apart = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=apart"]
    return folder / "joint", folder / "apart", joint, sweep(folder, *WORDS, rates, *apart, status=2)


def test_every_job_is_the_run_that_it_is_among_lanes(both):
    joint, apart, _, _ = both
    for number, status in enumerate([None, "completed", "diverged"] * 2):
        if status is None:
            assert not (joint / str(number)).exists() and not (apart / str(number) / "run.json").exists()
            continue
        ours, theirs = (Run.read(folder / str(number)) for folder in (joint, apart))
        assert ours.record["status"] == theirs.record["status"] == status
        assert ours.record["id"] == theirs.record["id"] == theirs.record["wandb_id"]
        assert ours.metrics.keys() == theirs.metrics.keys()
        for found, expected in zip(ours.history, theirs.history, strict=True):
            assert found == pytest.approx(expected, rel=1e-3, nan_ok=True)
        for name, expected in theirs.metrics.items():
            if name in ("recon/mse", "restore/mse", "elbo", "code/kl"):
                found = ours.metrics[name]
                assert found is expected is None or found == pytest.approx(expected, rel=1e-3), name
        assert list((apart / str(number) / "wandb").glob("offline-run-*/*.wandb"))


def test_a_wrong_job_harms_no_other_and_is_told_at_the_end(both):
    lines = both[3].stderr.splitlines()
    assert lines[-1] == "aejax: optim.lr=-1: must be a number above 0"
    assert "Traceback" not in both[3].stderr


def test_finished_runs_are_not_overwritten(both):
    files = {path: path.read_bytes() for path in both[1].rglob("*.json")}
    again = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=apart", "optim.lr=0.0001"]
    done = sweep(both[1].parent, *WORDS, *again, status=2)
    assert "apart: holds another sweep (there optim.lr=-1,0.0001,1e30, here optim.lr=0.0001)" in done.stderr
    assert {path: path.read_bytes() for path in files} == files
