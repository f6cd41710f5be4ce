"""Comparisons in W&B, against a stand-in for its server."""

import json
import os
import subprocess
import sys
import time

import pytest
from made import make_grid
from wandb_server import Server

from aejax.runs.folder import Run

pytest.importorskip("wandb_workspaces", reason="the extra wandb is not installed")
SECRET = "0123456789abcdef0123456789abcdef01234567"
PROJECT = "someone/aejax"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return make_grid(tmp_path_factory.mktemp("grid") / "sweep", seeds=5)


def compare(url, *words):
    environment = os.environ | {"WANDB_BASE_URL": url, "WANDB_API_KEY": SECRET}
    words = [sys.executable, "-m", "aejax.compare", *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)


def found_in(node, kind):
    """All that is called `kind` in a specification, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == kind:
                yield value
            yield from found_in(value, kind)
    elif isinstance(node, list):
        for each in node:
            yield from found_in(each, kind)


def test_a_workspace_and_a_report_are_saved(grid):
    with Server() as server:
        done = compare(server.url, grid, "--wandb-workspace", PROJECT, "--wandb-report", PROJECT)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"W&B workspace: {server.url}/someone/aejax?nw=" in done.stdout
    assert f"W&B report: {server.url}/someone/aejax/reports/" in done.stdout
    workspace, report = server.views
    assert (workspace["type"], report["type"]) == ("project-view", "runs")
    assert {view["entityName"] for view in server.views} == {"someone"}
    for view in server.views:
        kinds = set(found_in(view["spec"], "viewType"))
        assert {"Scatter Plot", "Parallel Coordinates Plot", "Run History Line Plot", "Media Browser"} <= kinds
        text = json.dumps(view["spec"])
        for name in ("summary:recon/mse", "summary:separation/knn_accuracy", "valid/mse", "figures/reconstructions"):
            assert name in text, name
        assert "choices.model" in text and "latent_dim" in text
    text = json.dumps(report["spec"], ensure_ascii=False)
    assert "| ae | flip | 2 |" in text
    assert "recon/mse: ae beats vae on 4 of 4 combinations of noise, latent_dim" in text
    assert SECRET not in json.dumps(server.views)


def test_runs_are_read_from_the_server(grid):
    names = [("finished", 0.1), ("finished", 0.2), ("finished", 0.3), ("failed", 0.9), ("running", 0.9)]
    with Server() as server:
        for seed, (state, error) in enumerate(names):
            config = {
                "seed": seed,
                "latent_dim": 2,
                "model": {"beta": 1.0},
                "choices": {"model": "vae", "data": "emoji"},
            }
            summary = {"recon/mse": error, "_step": 9, "train/loss": 1.0, "figures/codes": {"_type": "image-file"}}
            told = {"id": f"r{seed}", "name": f"vae s={seed}", "state": state, "config": config, "summary": summary}
            server.runs.append(told)
        done = compare(server.url, "--wandb", PROJECT, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    [row] = told["rows"]
    assert (row["model"], told["in_all_runs"]["data"], row["n"], row["missing"]) == ("vae", "emoji", 3, 2)
    assert row["recon/mse"]["mean"] == pytest.approx(0.2)
    assert told["runs"] == {"completed": 3, "failed": 1, "running": 1}


def test_a_server_or_a_project_that_is_not_there_is_told_in_one_line(grid):
    began = time.monotonic()
    done = compare("http://127.0.0.1:9", grid, "--wandb-workspace", PROJECT)
    assert done.returncode == 2
    assert done.stderr.startswith(f"aejax: --wandb-workspace {PROJECT}: ") and done.stderr.count("\n") == 1
    assert time.monotonic() - began < 90


def test_a_sweep_that_was_logged_offline_is_uploaded_by_one_command(tmp_path):
    words = ["seed=0,1", "steps=20", "log_points=4", "net.widths=[5]", "figures=false", "hydra.sweep.dir=sweep"]
    subprocess.run([sys.executable, "-m", "aejax", "-m", *words], cwd=tmp_path, check=True, capture_output=True)
    with Server() as server:
        environment = os.environ | {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": SECRET}
        paths = sorted((tmp_path / "sweep").glob("wandb/offline-run-*"))
        words = [os.path.join(os.path.dirname(sys.executable), "wandb"), "sync", *map(str, paths)]
        if not os.path.exists(words[0]):
            words[:1] = [sys.executable, "-m", "wandb"]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    losses = [row["train/loss"] for row in server.rows if "train/loss" in row]
    expected = [row["train/loss"] for number in "01" for row in Run.read(tmp_path / "sweep" / number).history]
    assert sorted(losses) == sorted(expected) and len(losses) == 8
