"""vmap or map? Milliseconds a lane of a training, by size of the net; justifies `SMALL` in aejax/training/lanes.py.

    python benchmarks/lanes.py       some 3 minutes on 2 cores

Every case runs in a process of its own and trains the stack twice; the quicker time counts.
"""

import os
import subprocess
import sys
import time

CASES = {
    "letters 20-10, 2,000 steps": ["net.widths=[20,10]", "steps=2000", "log_points=10"],
    "letters 128-64, 1,000 steps": ["net.widths=[128,64]", "steps=1000", "log_points=10"],
    "emoji gray 64-32, 600 steps": ["data=emoji", "data.color=gray", "net.widths=[64,32]", "steps=600", "log_points=6"],
    "emoji rgb 128-64, 300 steps": ["data=emoji", "net.widths=[128,64]", "steps=300", "log_points=3"],
    "emoji rgb 512-256, 60 steps": ["data=emoji", "net.widths=[512,256]", "steps=60", "log_points=3"],
}
WAYS = [("map", 1), ("vmap", 1), ("map", 2), ("vmap", 2)]
LANES = (4, 16)


def main():
    """Prints the table."""
    print("| model=vae | parameters | lanes | " + " | ".join(f"{how}, {n} device(s)" for how, n in WAYS) + " |")
    print("| --- " * (3 + len(WAYS)) + "|")
    for name, overrides in CASES.items():
        for lanes in LANES:
            told = [measured_apart(how, devices, lanes, overrides) for how, devices in WAYS]
            row = [name, told[0][0], str(lanes), *(milliseconds for _, milliseconds in told)]
            print(f"| {' | '.join(row)} |", flush=True)


def measured_apart(how, devices, lanes, overrides):
    """The parameters of a lane and its milliseconds, as texts, measured in a process of its own."""
    words = [sys.executable, __file__, how, str(devices), str(lanes), *overrides]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()


def measure(how, devices, lanes, overrides):
    """Prints the parameters of a lane and its milliseconds."""
    import functools

    import hydra
    import jax
    import numpy as np

    from aejax.config.explain import CONF
    from aejax.runs.job import Job
    from aejax.training import step
    from aejax.training.lanes import Layout

    jax.config.update("jax_num_cpu_devices", devices)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", ["model=vae", *overrides])
    job = Job.read(config, {"model": "vae", "data": "", "noise": "none"})
    layout = Layout(lanes, how)
    experiments = layout.stack([job.experiment.replace(seed=np.uint32(seed)) for seed in range(lanes)])
    data = layout.share(job.dataset.arrays())
    init = layout.compiled(functools.partial(step.init, width=2), 1, experiments, data)
    lengths = step.segments(job.experiment)
    segment = functools.partial(step.segment, length=lengths[0])
    program = layout.compiled(segment, 2, experiments, init(experiments, data), data, np.int32(0), donate=(1,))
    took = []
    for _ in range(2):
        state, at = init(experiments, data), 0
        jax.block_until_ready(state)
        started = time.perf_counter()
        for length in lengths:
            state, _ = program(experiments, state, data, np.int32(at))
            at += length
        jax.block_until_ready(state)
        took.append(time.perf_counter() - started)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params)) // state.alive.size
    print(f"{parameters} {min(took) / lanes * 1e3:.0f}")


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]) if len(sys.argv) > 1 else main()
