"""W&B: offline files hold what the run holds; online, a server that is missing or lost harms nothing."""

import json
import os
import subprocess
import sys
import time

import pytest
from wandb_server import Server

from aejax.runs.folder import Run
from aejax.runs.mirror import Mirror

QUICK = ["steps=20", "log_points=4", "net.widths=[5]", "figures=false", "hydra.run.dir=run"]
QUICK += ["evaluate.groups=[reconstruction]"]
SECRET = "0123456789abcdef0123456789abcdef01234567"


def aejax(folder, *words, **environment):
    words = [sys.executable, "-m", "aejax", *words]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def records(path, kind):
    """Records of one kind in an offline run, read back by W&B's own reader."""
    wandb = os.path.join(os.path.dirname(sys.executable), "wandb")
    words = [wandb, "leet", "inspect", "--json", str(path)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return [record[kind] for record in map(json.loads, told.splitlines()) if record["type"] == kind]


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offline")
    words = [word for word in QUICK if word != "figures=false"]
    running = aejax(folder, "model=vae", "track.artifact=true", *words)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (0, "")
    assert "wandb" not in out.lower()
    return Run.read(folder / "run")


@pytest.mark.slow
def test_the_offline_file_holds_the_history(offline):
    [path] = offline.path.glob("wandb/offline-run-*/*.wandb")
    rows = [record for record in records(path, "history") if "train/loss" in json.dumps(record)]
    history = offline.history
    assert len(rows) == len(history) == 4
    for found, expected in zip(rows, history, strict=True):
        text = json.dumps(found)
        for name, value in expected.items():
            assert (name if name != "step" else "_step") in text
            assert json.dumps(value if name != "step" else int(value)) in text, (name, value, found)


@pytest.mark.slow
def test_the_offline_run_holds_config_summary_pictures_codes_and_parameters(offline):
    [path] = offline.path.glob("wandb/offline-run-*/*.wandb")
    text = json.dumps(records(path, "run"))
    assert f'"run_id": "{offline.record["id"]}"' in text
    assert '"beta": 1' in text  # nested: model.beta
    assert '"display_name": "vae letters d=2 s=0"' in text
    summary = json.dumps(records(path, "summary"))
    for name, value in offline.metrics.items():
        assert name in summary, name
        assert value is None or json.dumps(value).rstrip("0").rstrip(".") in summary, (name, value)
    media = [each.name for each in path.parent.rglob("*") if each.is_file()]
    for figure in (offline.path / "figures").glob("*.png"):
        assert any(name.startswith(figure.stem) and name.endswith(".png") for name in media), figure.stem
    [table] = [json.loads(each.read_text()) for each in path.parent.rglob("*.table.json")]
    assert table["columns"] == ["index", "label", "z0", "z1"]
    assert [row[:2] for row in table["data"][:3]] == [[0, "a"], [1, "b"], [2, "c"]]
    assert [row[2:] for row in table["data"]] == offline.codes["z"].tolist()
    assert "params-" in json.dumps(records(path, "artifact"))


@pytest.mark.slow
def test_online_without_a_key_is_told_at_once(tmp_path):
    running = aejax(tmp_path, "track=online", *QUICK)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err.count("\n")) == (2, 1)
    assert err.startswith("aejax: track=online: No API key configured")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_online_with_the_server_out_of_reach_is_told_long_before_wandb_gives_up(tmp_path):
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": SECRET}
    running = aejax(tmp_path, "track=online", "track.timeout=3", *QUICK, **nowhere)
    _, err = running.communicate(timeout=60)  # W&B's own limit is 100 s
    assert (running.returncode, err.count("\n")) == (2, 1)
    assert err.startswith("aejax: track=online: Timed out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_online_sends_every_row_and_keeps_the_key_out_of_the_folder(tmp_path):
    with Server() as server:
        running = aejax(tmp_path, "track=online", *QUICK, WANDB_BASE_URL=server.url, WANDB_API_KEY=SECRET)
        _, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (0, "")
    run = Run.read(tmp_path / "run")
    sent = [row for row in server.rows if "train/loss" in row]
    assert [row["_step"] for row in sent] == [row["step"] for row in run.history]
    assert [row["train/loss"] for row in sent] == [row["train/loss"] for row in run.history]
    assert "wandb_lost" not in run.record
    for path in run.path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_server_that_is_lost_ends_nothing(tmp_path):
    with Server() as server:
        words = ["track=online", "track.finish_timeout=1", *QUICK, "steps=3000", "log_points=100"]
        running = aejax(tmp_path, *words, WANDB_BASE_URL=server.url, WANDB_API_KEY=SECRET)
        for _ in range(600):
            time.sleep(0.05)
            if server.requests:
                break
        path = tmp_path / "run" / "run.json"
        while not path.exists():  # the run has begun
            time.sleep(0.02)
        server.answering = False
        out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    assert "W&B has not all of it" in out
    run = Run.read(tmp_path / "run")
    assert run.record["status"] == "completed"
    assert run.record["wandb_lost"] == "no answer within 1 s"
    assert run.record["seconds"]["track"] < 15
    assert len(run.history) == 100


def test_wandb_that_dies_ends_nothing():
    class Dead:
        id = "x"

        def log(self, *_, **__):
            raise ConnectionResetError("Connection lost")

    mirror = Mirror(Dead(), None)
    mirror.log({"step": 1, "train/loss": 2.0})
    mirror.finish()
    assert mirror.lost == "Connection lost"
