"""vmap or map? Milliseconds a lane of a training, by size of the net; justifies `SMALL` in aejax/training/lanes.py.

    python -m benchmarks.lanes       some 3 minutes on 2 cores

Every case runs in a process of its own and trains the stack twice; the quicker time counts.
"""

import os
import subprocess
import sys

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
    words = [sys.executable, "-m", "benchmarks.lanes", how, str(devices), str(lanes), *overrides]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()


def measure(how, devices, lanes, overrides):
    """Prints the parameters of a lane and its milliseconds."""
    import jax

    from aejax.training.lanes import Layout
    from benchmarks.training import Program, composed

    jax.config.update("jax_num_cpu_devices", devices)
    job, took = composed(["model=vae", *overrides]), []
    for _ in range(2):
        program = Program(job, Layout(lanes, how))
        parameters = program.parameters
        took.append(sum(program.seconds()))
    print(f"{parameters} {min(took) / lanes * 1e3:.0f}")


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]) if len(sys.argv) > 1 else main()
