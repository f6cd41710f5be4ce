"""What aejax promises of single runs, each measured by the command a user would type; prints the README's table.

    python benchmarks/targets.py      some 4 minutes on 2 cores

Seconds are those of a whole process by the wall clock: the median of the runs, or of three where a time is the target.
The first run of the main command is given an empty folder for compiled programs.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aejax.datasets.sources.emoji import Emoji
from aejax.datasets.sources.letters import Letters
from aejax.runs.folder import Run


def main():
    with tempfile.TemporaryDirectory() as folder:
        measure = Measure(Path(folder))
        print("| case | number | command | seconds |\n| --- | --- | --- | --- |", flush=True)
        for row in rows(measure):
            print(f"| {' | '.join(row)} |", flush=True)


def rows(measure):
    seeds = [measure(f"experiment=letters seed={seed}") for seed in range(16)]
    exact = sum(run.metrics["recon/pixel_errors_max"] == 0 for run, _ in seeds)
    yield (
        "27 letters through a 2-D code, no wrong pixel",
        f"{exact} of 16 seeds",
        "`experiment=letters seed=0` … `15`",
        seconds(seeds),
    )
    for level, best in ((0.10, 0.975), (0.15, 0.927)):
        words = f"experiment=letters_denoise noise.level={level}"
        run, took = measure(words)
        restored = f"{run.metrics['restore/at_most_one_wrong']:.4f} (best possible: {best})"
        case = f"letters with {level:.0%} flips, restored with at most one wrong pixel"
        yield case, restored, f"`{words}`", f"{took:.1f}"
    for units, pca in ((2, 0.0270), (8, 0.0154)):
        words = f"model=vae data=emoji latent_dim={units}"
        run, took = measure(words)
        number = f"{run.metrics['recon/mse']:.5f} (PCA: {pca:.4f})"
        yield f"emoji, rgb, VAE with {units} units: `recon/mse`", number, f"`{words}`", f"{took:.1f}"
    yield pca_against_numpy(measure)
    yield twice(measure)
    yield quick(["--help"])
    yield quick(["--cfg", "job"])
    empty = {"JAX_COMPILATION_CACHE_DIR": str(measure.folder / "empty")}
    _, first = measure("model=vae data=emoji", whole=True, **empty)
    yield "the main command, first time", "pictures and offline W&B included", "`model=vae data=emoji`", f"{first:.1f}"
    later = [measure("model=vae data=emoji", whole=True, **empty) for _ in range(3)]
    yield "the main command, later", "the same", "`model=vae data=emoji`", seconds(later)


class Measure:
    """Runs commands in a folder of its own: Measure(folder)(words) gives the Run and its seconds."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0

    def __call__(self, words, whole=False, **environment):
        self.count += 1
        path = self.folder / f"run{self.count}"
        words = [*words.split(), f"hydra.run.dir={path}"] + ([] if whole else ["figures=false", "track=off"])
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "aejax", *words],
            cwd=self.folder,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return Run.read(path), time.perf_counter() - started


def seconds(measured):
    return f"{statistics.median(took for _, took in measured):.1f}"


def pca_against_numpy(measure):
    """The largest difference of recon/mse from a PCA in numpy, in float64, over data sets and code sizes."""
    worst, took = 0.0, []
    sets = {"data=letters": Letters(), "data=emoji": Emoji("rgb"), "data=emoji data.color=gray": Emoji("gray")}
    for words, source in sets.items():
        dataset = source.load()
        x_NxP = dataset.test.x.reshape(len(dataset.test.x), -1) / (1.0 if dataset.kind == "binary" else 255.0)
        centered_NxP = x_NxP - x_NxP.mean(axis=0)
        variances = np.sort(np.linalg.eigvalsh(centered_NxP.T @ centered_NxP / x_NxP.size))[::-1]
        for units in (2, 8, 32):
            run, each = measure(f"model=pca {words} latent_dim={units}")
            took.append((run, each))
            worst = max(worst, abs(run.metrics["recon/mse"] - variances[units:].sum()))
    return "PCA against numpy's, letters and emoji", f"differ by at most {worst:.0e}", "`model=pca …`", seconds(took)


def twice(measure):
    runs = [measure("model=vae data=emoji noise=gaussian") for _ in range(2)]
    names = ("metrics.json", "history.csv", "codes.npz", "params.safetensors")
    same = all(len({(run.path / name).read_bytes() for run, _ in runs}) == 1 for name in names)
    return "the same command twice", "identical files" if same else "DIFFERENT", "`model=vae …`", seconds(runs)


def quick(words):
    took = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "aejax", *words], check=True, stdout=subprocess.DEVNULL)
        took.append((None, time.perf_counter() - started))
    return f"`{' '.join(words)}`", "JAX is not imported", f"`{' '.join(words)}`", seconds(took)


if __name__ == "__main__":
    main()
