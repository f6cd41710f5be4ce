"""What grows with the number of jobs of a sweep: time and memory of planning and training, files, the comparison.

    python -m benchmarks.scale                  104, 1,000 and 10,000 jobs of two steps; some 15 minutes on 2 cores
    python -m benchmarks.scale 104 1000  so many, multiples of 8

Letters, two models, four code sizes and so many seeds, without W&B and pictures; 100 jobs with W&B beside that. A
job's planning is what each adds beyond the first hundred until the first program begins: composed, checked, grouped,
noted. The last row is computed: hundred sweeps as large as the largest.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMON = ["steps=2", "log_points=1", "figures=false", "evaluate.groups=[reconstruction]", "net.widths=[5]"]
SWEPT = ["model=ae,vae", "latent_dim=2,3,4,5"]
FEWEST, MOST, SWEEPS = 104, 10_000, 100
HEAD = ("jobs", "planning a job", "whole sweep", "memory", "folder", "files", "compare, first", "again", "memory")


def main():
    """Prints the table."""
    counts = [int(word) for word in sys.argv[1:]] or [FEWEST, 1000, MOST]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/cache"
        swept(folder, FEWEST, "before", "track=off")  # compiles
        few, *_ = swept(folder, FEWEST, "few", "track=off")
        row(HEAD)
        row(["---"] * len(HEAD))
        for count in counts:
            planning, whole, memory, size, files, first, again, read = of(folder, count)
            each = f"{1000 * (planning - few) / (count - FEWEST):.1f} ms" if count >= 9 * FEWEST else "-"
            took = f"{whole:.0f} s", f"{memory:.2f} GB", f"{size / 1e6:.1f} MB", f"{files:,}"
            row((f"{count:,}", each, *took, f"{first:.1f} s", f"{again:.1f} s", f"{read:.2f} GB"))
        took = (
            f"{SWEEPS * whole / 3600:.1f} h",
            f"{memory:.2f} GB",
            f"{SWEEPS * size / 1e9:.1f} GB",
            f"{SWEEPS * files:,}",
        )
        compared = f"{SWEEPS * first:.0f} s", f"{SWEEPS * again:.0f} s", f"{SWEEPS * read:.0f} GB"
        row((f"{SWEEPS * count:,}, computed", each, *took, *compared))
        print(f"\nW&B, offline: {with_wandb(folder)} a job, of {FEWEST} jobs")


def of(folder, count):
    """What a sweep of `count` jobs takes, and the comparison of its runs."""
    planning, whole, memory = swept(folder, count, f"s{count}", "track=off")
    sizes = [path.lstat().st_size for path in Path(folder, f"s{count}").rglob("*") if path.is_file()]
    command = [sys.executable, "-m", "aejax.compare", f"s{count}"]
    (first, read), (again, _) = (watched(command, folder, f"compare{turn}") for turn in range(2))
    return planning, whole, memory, sum(sizes), len(sizes), first, again, read


def with_wandb(folder):
    """What W&B's files add to a job."""
    _, without, _ = swept(folder, FEWEST, "off", "track=off")
    _, tracked, _ = swept(folder, FEWEST, "tracked", "track=offline")
    files = [path for path in Path(folder, "tracked").rglob("*") if path.is_file() and "wandb" in path.parts]
    size = sum(path.stat().st_size for path in files)
    seconds = 1000 * (tracked - without) / FEWEST
    return f"{seconds:.0f} ms, {len(files) / FEWEST:.0f} files and {size / FEWEST / 1000:.0f} kB"


def row(cells):
    """Prints one row of a table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def swept(folder, count, name, *words):
    """Seconds until the first program of a sweep of `count` jobs begins, those of the whole, and its memory in GB."""
    seeds = f"seed=range({count // 8})"
    command = [sys.executable, "-m", "aejax", "-m", *SWEPT, seeds, *COMMON, *words, f"hydra.sweep.dir={name}"]
    whole, memory = watched(command, folder, name)
    lines = Path(folder, f"{name}.log").read_text().splitlines()
    planned = next(float(line.split()[0]) for line in lines if re.search(r" jobs -> \d+ programs", line))
    return planned, whole, memory


def watched(command, folder, name):
    """The seconds and the peak memory in GB of a process; each of its lines goes to NAME.log behind its second."""
    begun = time.perf_counter()
    with open(Path(folder, f"{name}.log"), "w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            log.write(f"{time.perf_counter() - begun:.3f} {line}")
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(Path(folder, f"{name}.log").read_text())
    return time.perf_counter() - begun, used.ru_maxrss / 2**20


if __name__ == "__main__":
    main()
