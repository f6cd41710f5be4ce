"""Commands that benchmarks run, each in a process of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def aejax(folder, *words, **environment):
    """Runs `python -m aejax` with these words in a folder; returns its seconds, by the wall clock."""
    return python(folder, "-m", "aejax", *words, **environment)


def python(folder, *words, **environment):
    """Runs Python with these words in a folder; returns its seconds, by the wall clock. A failure is raised."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        **{"cwd": folder, "env": os.environ | environment, "text": True},
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "check": False},
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return time.perf_counter() - started


def peak(folder, *words, **environment):
    """Runs `python -m aejax` with these words in a folder; returns the largest memory of the process in bytes."""
    command = [sys.executable, "-m", "aejax", *words]
    with open(Path(folder, "peak.log"), "w") as log:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: {Path(folder, 'peak.log').read_text().strip()}")
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def seconds_of(run):
    """Where the seconds of a run went, {stage: seconds}, as its run.json says."""
    return json.loads(Path(run, "run.json").read_text())["seconds"]
