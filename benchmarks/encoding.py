"""Encoding with a loaded run beside the bare jitted encoder, on 60,000 images of MNIST's size.

    python benchmarks/encoding.py      a minute on 2 cores

Both encode the same bytes by a VAE 784-256-128-32 with random weights: `run.encode` those of an array in memory, the
bare encoder those that are on the device as float32 already. They take turns in one process; seconds are the medians.
The first line is what a new process needs to load the run and to encode one example, its programs compiled before.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES, TURNS = 60_000, 9
WORDS = [
    *("model=vae", "net.widths=[256,128]", "latent_dim=32", "steps=1", "log_points=1", "figures=false", "track=off"),
    "evaluate.groups=[reconstruction]",
]
FIRST = """
import sys, time, numpy as np
from aejax.inference.loading import load
x = np.zeros((28, 28), np.uint8)
start = time.perf_counter()
load(sys.argv[1]).encode(x)
print(time.perf_counter() - start)
"""


def main():
    """Prints the figures."""
    import jax

    import aejax
    from aejax.datasets.dataset import Dataset
    from aejax.models import autoencoder

    x = np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28, 1), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        aejax.train(Dataset(train=x[:256], test=x[:256]), *WORDS, f"hydra.run.dir={path}")
        firsts = [first(path) for _ in range(4)]
        print(f"aejax.load and one example, imports excluded: {statistics.median(firsts[1:]):.2f} s")
        run = aejax.load(path)
    bare = jax.jit(lambda experiment, params, x: autoencoder.encode(experiment, params, x).mean)
    params = jax.device_put(run.params)
    resident = jax.device_put(x.reshape(IMAGES, -1).astype(np.float32) * np.float32(1 / 255))
    sides = {
        "bare encoder": lambda: bare(run.experiment, params, resident).block_until_ready(),
        "run.encode": lambda: run.encode(x),
    }
    results = {name: np.asarray(encode()) for name, encode in sides.items()}  # compiles
    np.testing.assert_allclose(*results.values(), rtol=1e-3, atol=1e-4)
    seconds = {name: [] for name in sides}
    for turn in range(TURNS):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            seconds[name].append(measured(sides[name]))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name}: {value:.3f} s, {IMAGES / value:,.0f} images a second")
    print(f"share of the bare encoder's speed: {medians['bare encoder'] / medians['run.encode']:.2f}")


def first(path):
    """Seconds in which a new process loads a run and encodes one example."""
    done = subprocess.run([sys.executable, "-c", FIRST, path], check=True, capture_output=True, text=True)
    return float(done.stdout)


def measured(encode):
    """The seconds that a call takes."""
    start = time.perf_counter()
    encode()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
