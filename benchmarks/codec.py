"""Bits a pixel and error of compressed files, beside PNG and principal components at the same rate: a Markdown table.

Usage: python benchmarks/codec.py [FOLDER]. An ae and a vae learn the 96 emoji, which are also what is compressed,
and, with the FOLDER of the four original files, 10,000 images of MNIST for 10 epochs; then its 10,000 test images are
compressed. Errors are mean squared, of images from 0 to 1. Principal components are fitted to the compressed images
themselves, have the same quantizer and coder, and get as many bytes. Runs stay in the working folder, in
compression_runs/; those that are there are used again. A quarter of an hour on 2 cores.
"""

import subprocess
import sys
import time
from pathlib import Path

import hydra

import aejax
from aejax.compression.report import report
from aejax.config.explain import CONF
from aejax.runs.job import compose

QUICK = ["figures=false", "track=off", "evaluate.groups=[reconstruction]"]
EMOJI = ["data=emoji", "latent_dim=16", "steps=2000"]
MNIST = ["data=mnist", "data.limit=10000", "latent_dim=32", "net.widths=[256,128]", "epochs=10"]
HEAD = ("data", "model", "setting", "bits", "mse", "PCA: mse (components)", "PNG: bits", "seconds, there and back")


def main():
    sets = {"emoji": (EMOJI, ({"bits": 0.15}, {}, {"lossless": True}))}
    if len(sys.argv) > 1:
        words = [*MNIST, f"data.manual_dir={sys.argv[1]}"]
        sets["mnist"] = words, ({"bits": 0.05}, {"bits": 0.1}, {}, {"lossless": True})
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD))
    for name, (words, settings) in sets.items():
        for model in ("ae", "vae"):
            run, x = trained(f"compression_runs/{model}_{name}", [f"model={model}", *words, *QUICK])
            for setting in settings:
                print("| " + " | ".join([name, model, *row(run, x, setting)]) + " |", flush=True)


def trained(folder, words):
    """The run in a folder, trained where it is not there, and its test examples."""
    if not Path(folder).exists():
        command = [sys.executable, "-m", "aejax", *words, f"hydra.run.dir={folder}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return aejax.load(folder), compose(words).dataset.test.x


def row(run, x, setting):
    begin = time.perf_counter()
    data = aejax.compress(run, x, **setting)
    middle = time.perf_counter()
    aejax.decompress(run, data)
    seconds = middle - begin, time.perf_counter() - middle
    figures = report(run, x, data)
    pca = figures["pca"]
    return (
        ", ".join(f"{key}={value}" for key, value in setting.items()) or "default",
        f"{figures['bits']:.3f}",
        f"{figures['mse']:.5f}",
        f"{pca['mse']:.5f} ({pca['components']})" if pca else "",
        f"{figures['png']['bits']:.3f} ({figures['png']['how']})",
        f"{seconds[0]:.1f}, {seconds[1]:.1f}",
    )


if __name__ == "__main__":
    main()
