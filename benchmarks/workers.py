"""A sweep by workers on a Slurm of this machine beside the same sweep in one process; ratios are of one run.

    python -m benchmarks.workers             some 10 minutes on 2 cores, as root on Debian
    python -m benchmarks.workers 500         runs of so many steps instead of 2,000

256 letters runs as four programs: ae and vae, with and without noise, 64 seeds each. Slurm has two slots
of one core. What others do, one Slurm job a run, is measured on 8 of the runs and extrapolated. The compiled programs
are there before all three.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import slurm

STEPS = sys.argv[1] if len(sys.argv) > 1 else "2000"
COMMON = [f"steps={STEPS}", "log_points=10", "figures=false", "track=off", "evaluate.groups=[reconstruction]"]
JOBS = ["model=ae,vae", "noise=none,flip", "seed=range(64)", *COMMON]
SLURM = ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1"]
SINGLE = 8  # runs of one Slurm job each
TIMES = 5  # of a worker's start
IMPORTS = "import aejax.sweeps.worker, aejax.runs.group, aejax.runs.job"


def main():
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder, slurm.running() as variables:
        variables |= {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        timed(folder, variables, "-m", "aejax", "-m", *JOBS, "hydra.sweep.dir=first")  # fills the cache
        timed(folder, variables, "-m", "aejax", "-m", *JOBS, *SLURM, "hydra.sweep.dir=second")
        print("| case | number |\n| --- | --- |", flush=True)
        start, imports = worker_start(Path(folder), variables)
        print(f"| a worker of two runs of 2 steps, beyond its imports of {imports:.1f} s | {start:.1f} s |", flush=True)
        here = timed(folder, variables, "-m", "aejax", "-m", *JOBS, "hydra.sweep.dir=here")
        print(f"| 256 runs as 4 programs in one process | {here:.0f} s |", flush=True)
        there = timed(folder, variables, "-m", "aejax", "-m", *JOBS, *SLURM, "hydra.sweep.dir=there")
        print(f"| the same by workers on Slurm, 2 slots | {there:.0f} s, {there / here:.2f} times |", flush=True)
        apart = one_job_a_run(Path(folder), variables) * 256 / SINGLE
        print(f"| one Slurm job a run, from {SINGLE} | {apart:.0f} s, {apart / there:.0f} times that of the workers |")


def timed(folder, variables, *words):
    """The seconds of a Python process."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, env=variables, check=True, capture_output=True)
    return time.perf_counter() - begun


def one_job_a_run(folder, variables):
    """The seconds of some of the runs, each a Slurm job of its own that submitit starts; two of them fill the cache."""
    code = (
        "import json, subprocess, submitit, sys\n"
        "executor = submitit.AutoExecutor('logs', cluster='slurm')\n"
        "executor.update_parameters(timeout_min=30, cpus_per_task=1)\n"
        "with executor.batch():\n"
        "    jobs = [executor.submit(subprocess.check_call, words) for words in json.loads(sys.argv[1])]\n"
        "[job.result() for job in jobs]\n"
    )
    seconds = []
    for first in ("before", "run"):
        command = [sys.executable, "-m", "aejax", *COMMON]
        words = [
            [*command, f"model={('ae', 'vae')[place % 2]}", f"seed={place}", f"hydra.run.dir={folder}/{first}{place}"]
            for place in range(2 if first == "before" else SINGLE)
        ]
        seconds.append(timed(folder, variables, "-c", code, json.dumps(words)))
    return seconds[-1]


def worker_start(folder, variables):
    """The seconds of a worker whose program is compiled and short, less those of its imports, and these; medians."""
    words = ["model=ae", "seed=0,1", *COMMON, "steps=2", "log_points=1", "hydra.sweep.dir=short"]
    timed(folder, variables, "-m", "aejax", "-m", *words)
    workers, imports = [], []
    for _ in range(TIMES):
        for name in ("run.json", "metrics.json"):
            for number in "01":
                (folder / "short" / number / name).unlink()
        workers.append(timed(folder, variables, "-m", "aejax.worker", "short", "1"))
        imports.append(timed(folder, variables, "-c", IMPORTS))
    return statistics.median(workers) - statistics.median(imports), statistics.median(imports)


if __name__ == "__main__":
    main()
