"""What a sweep costs beside the same jobs one by one; ratios are of one run of this script.

    python benchmarks/sweep.py             256 jobs, some 5 minutes on 2 cores
    python benchmarks/sweep.py 1024        with the 1,024 jobs as well, some 10 minutes

Jobs are letters with 16 (64) seeds x 4 code sizes x 4 learning rates, widths 20 and 10, 5,000 full-batch steps;
folders, metrics and offline W&B runs included, no pictures. Both other ways are measured on 8 of the jobs and
extrapolated.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hydra import compose, initialize_config_dir

from aejax.config.explain import CONF

COMMON = ["net.widths=[20,10]", "steps=5000", "figures=false"]
SWEPT = ["latent_dim=2,3,4,8", "optim.lr=0.003,0.005,0.01,0.02"]


def main():
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/cache"
        print("| case | number |\n| --- | --- |")
        joint = timed(folder, "-m", "seed=range(16)", *SWEPT, *COMMON, "hydra.sweep.dir=joint")
        row("256 jobs, jointly", f"{joint:.0f} s")
        seconds, programs = inside(Path(folder) / "joint")
        row("programs compiled for them", programs)
        row("share of the wall time outside training and compiling", f"{1 - seconds / joint:.0%}")
        row("a job composed, read, recorded", f"{beside(folder, 'evaluate.groups=[reconstruction]'):.0f} ms")
        row("composing alone, twice, as Hydra's basic launcher does", f"{2 * composing():.0f} ms")
        row("a job composed, read, recorded and evaluated", f"{beside(folder):.0f} ms")
        eight = [f"latent_dim={2 + number % 2}" for number in range(8)]
        apart = sum(
            timed(folder, *COMMON, f"seed={number}", each, f"hydra.run.dir=apart{number}")
            for number, each in enumerate(eight)
        )
        row("the same jobs each in a fresh process, from 8", f"{apart * 32:.0f} s, {apart * 32 / joint:.0f} times")
        words = ["-m", "hydra/launcher=basic", "seed=range(9)", *COMMON]
        first = timed(folder, *words[:2], "seed=0", *COMMON, "hydra.sweep.dir=first")
        basic = (timed(folder, *words, "hydra.sweep.dir=basic") - first) / 8 * 256
        row("Hydra's basic launcher in one warm process, from 8", f"{basic:.0f} s, {basic / joint:.1f} times")
        if len(sys.argv) > 1:
            large = timed(folder, "-m", "seed=range(64)", *SWEPT, *COMMON, "hydra.sweep.dir=large")
            row("1,024 jobs, jointly", f"{large:.0f} s, {large / joint:.1f} times the 256")
            row("memory at 1,024 jobs, at the most", f"{peak():.1f} GB")


def beside(folder, *words):
    """Milliseconds a job takes beyond training and W&B: what 254 more jobs of one step add to a sweep of two."""
    words = [*words, *COMMON, "steps=1", "track=off"]
    where = Path(folder) / f"beside{len(words)}"
    many, two = (
        timed(folder, "-m", f"seed=range({jobs})", *words, f"hydra.sweep.dir={where}_{jobs}") for jobs in (256, 2)
    )
    return (many - two) / 254 * 1000


def composing(jobs=20):
    """Milliseconds in which Hydra composes a job."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose("config", [], return_hydra_config=True)
        started = time.perf_counter()
        for seed in range(jobs):
            compose("config", [f"seed={seed}", *COMMON], return_hydra_config=True)
    return (time.perf_counter() - started) / jobs * 1000


def row(*cells):
    """Prints one row of the table."""
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def timed(folder, *words):
    """Seconds of a command, which must end well."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "aejax", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def inside(sweep):
    """Seconds of training and compiling, and the number of programs, of a sweep's groups."""
    seconds = [json.loads(path.read_text())["seconds"] for path in sweep.glob("*/run.json")]
    groups = {(each["train"], each["compile"]) for each in seconds}  # the same for all lanes of a group
    return sum(train + compiling for train, compiling in groups), len(groups)


def peak():
    """The largest resident memory of any command so far, in GB."""
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
