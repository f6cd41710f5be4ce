"""sweeps/wandb: W&B's own client creates the sweep and runs its agent, against a stand-in for the server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import CONF
from wandb_server import Server

from aejax.runs.folder import Run

SECRET = "0123456789abcdef0123456789abcdef01234567"
QUICK = ["steps=20", "log_points=4", "net.widths=[5]"]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((CONF.parent / "sweeps" / "wandb").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_agent_runs_what_the_controller_asks_for(path, tmp_path):
    asked = yaml.safe_load(path.read_text())
    asked["command"][-1:-1] = QUICK
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump(asked))
    folder = Path(sys.executable).parent
    with Server() as server:
        environment = os.environ | {
            "WANDB_BASE_URL": server.url,
            "WANDB_API_KEY": SECRET,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(CONF.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }

        def wandb(*words):
            words = [sys.executable, "-m", "wandb", *words]
            return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

        made = wandb("sweep", "asked.yaml")
        assert made.returncode == 0 and "wandb agent someone/aejax/asked" in made.stderr, made.stderr
        agent = wandb("agent", "someone/aejax/asked")
        assert agent.returncode == 0, agent.stderr
    assert server.config["command"] == asked["command"]
    runs = [Run.read(each.parent) for each in sorted(tmp_path.glob("outputs/*/*/run.json"))]
    assert [run.record["wandb_id"] for run in runs] == ["asked-min", "asked-max"], agent.stderr
    for run, end in zip(runs, ("min", "max"), strict=True):
        config = yaml.safe_load((run.path / ".hydra" / "config.yaml").read_text())
        assert run.record["status"] == "completed"
        for name, within in asked["parameters"].items():
            found = config
            for part in name.split("."):
                found = found[part]
            assert found == within[end], name
    started = {each["name"]: each for each in server.buckets if each.get("sweep")}
    assert started.keys() == {"asked-min", "asked-max"}
    assert {each["sweep"] for each in started.values()} == {"asked"}
    metric = asked["metric"]["name"]
    sent = [row[metric] for row in server.rows if metric in row]
    assert sent == [row[metric] for run in runs for row in run.history]
