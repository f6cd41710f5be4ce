"""Steps a second and seconds to compile, of this checkout beside another one, in turns.

    python benchmarks/steps.py ../before       some 5 minutes on 2 cores

Each measurement is a process of its own without a compilation cache; the ratio is that of the medians.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CASES = {
    "ae letters": ["model=ae", "net.widths=[20,10]", "steps=4000", "log_points=4"],
    "vae letters": ["model=vae", "net.widths=[20,10]", "steps=4000", "log_points=4"],
    "ae emoji": ["model=ae", "data=emoji", "data.color=gray", "net.widths=[64,32]", "steps=400", "log_points=4"],
    "vae emoji": ["model=vae", "data=emoji", "data.color=gray", "net.widths=[64,32]", "steps=400", "log_points=4"],
}
TURNS = 5


def main(other):
    """Prints the table."""
    checkouts = {"other": Path(other).resolve(), "this": Path(__file__).resolve().parent.parent}
    print("| case | steps a second, other | this | ratio | seconds to compile, other | this | ratio |")
    print("| --- " * 7 + "|")
    for name, overrides in CASES.items():
        taken = {which: [] for which in checkouts}
        for turn in range(TURNS):
            for which in list(checkouts)[:: 1 if turn % 2 else -1]:
                taken[which].append(measured_apart(checkouts[which], overrides))
        speed, compiling = (
            {which: statistics.median(row[column] for row in rows) for which, rows in taken.items()}
            for column in (0, 1)
        )
        cells = [f"{speed[which]:.0f}" for which in checkouts] + [f"{speed['this'] / speed['other']:.3f}"]
        cells += [f"{compiling[which]:.2f}" for which in checkouts] + [f"{compiling['this'] / compiling['other']:.3f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measured_apart(checkout, overrides):
    """(steps a second, seconds to trace and compile) of a checkout."""
    words = [sys.executable, __file__, "--here", *overrides]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=checkout, env=environment)
    return tuple(map(float, done.stdout.split()))


def measure(overrides):
    """Prints the steps a second of the fastest of four segments, and the seconds to trace and compile."""
    import functools

    import hydra
    import jax
    import numpy as np

    from aejax.config.explain import CONF
    from aejax.runs.job import Job
    from aejax.training import step
    from aejax.training.lanes import Layout

    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", overrides)
    job = Job.read(config, {"model": "", "data": "", "noise": "none"})
    layout = Layout(1, "vmap")
    experiments, data = layout.stack([job.experiment]), layout.share(job.dataset.arrays())
    init = layout.compiled(functools.partial(step.init, width=2), 1, experiments, data)
    length = step.segments(job.experiment)[0]
    segment = functools.partial(step.segment, length=length)
    state = init(experiments, data)
    started = time.perf_counter()
    program = layout.compiled(segment, 2, experiments, state, data, np.int32(0), donate=(1,))
    compiling, fastest = time.perf_counter() - started, float("inf")
    for place in range(4):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(program(experiments, state, data, np.int32(place * length)))
        fastest = min(fastest, time.perf_counter() - started)
    print(length / fastest, compiling)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    measure(sys.argv[2:]) if sys.argv[1] == "--here" else main(sys.argv[1])
