"""What somebody's folder may do, and what a machine cannot hold."""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

WORDS = ["steps=2", "log_points=1", "net.widths=[4]", "track=off", "figures=false", "evaluate.groups=[reconstruction]"]
HOSTILE = [
    "hydra.sweep.subdir=../X", "hydra.sweep.subdir={top}/X",
    "hydra.output_subdir=../../X", "hydra.output_subdir={top}/X",
    "hydra.job.name=../../X", "hydra/job_logging=default", "hydra.job.env_set.A=b", "hydra.searchpath=[file://{top}]",
    "+hydra.callbacks.x._target_=os.getcwd", "hydra/launcher=basic", "model=../../../../../../../../../..{top}/evil",
    "--experimental-rerun={top}/x.pkl",
]  # fmt: skip


def check_foreign_folders():
    """A resume of somebody's folder writes below it and nowhere else, whatever word its record holds."""
    written, statuses = [], set()
    with tempfile.TemporaryDirectory() as top:
        for number, word in enumerate(HOSTILE):
            folder = Path(top) / f"place{number}" / "F"
            folder.mkdir(parents=True)
            overrides = {"task": [word.format(top=top), *WORDS, "seed=0,1"], "hydra": []}
            if word.startswith("hydra"):
                overrides = {"task": [*WORDS, "seed=0,1"], "hydra": [word.format(top=top)]}
            runtime = {"cwd": top, "config_sources": []}
            record = {"hydra": {"mode": "MULTIRUN", "overrides": overrides, "runtime": runtime}}
            (folder / "multirun.yaml").write_text(yaml.safe_dump(record))
            before = outside(top, folder)
            done = subprocess.run([sys.executable, "-m", "aejax.resume", folder], cwd=top, capture_output=True)
            statuses.add(done.returncode)
            written += [word] if outside(top, folder) != before else []
    return f"{len(HOSTILE)} records, {len(written)} wrote outside, exit statuses {sorted(statuses)}", (
        not written and statuses == {2}
    )


def outside(top, folder):
    """What there is in `top` but in `folder`."""
    return {path for path in Path(top).rglob("*") if folder not in (path, *path.parents)}


def check_sizes():
    """What the machine cannot hold is refused in one line with the numbers, and leaves nothing."""
    lines = []
    with tempfile.TemporaryDirectory() as top:
        for word in (f"net.widths=[{','.join(['65536'] * 12)}]", "latent_dim=10000000", "net.widths=[1000000]"):
            command = [sys.executable, "-m", "aejax", *WORDS[:2], *WORDS[3:], word, "hydra.run.dir=r"]
            done = subprocess.run(command, cwd=top, capture_output=True, text=True)
            lines.append((done.returncode, done.stderr.count("\n"), (Path(top) / "r").exists(), done.stderr.strip()))
    return lines[0][3][:90], all(line[:3] == (2, 1, False) for line in lines) and "at the least" in lines[0][3]
