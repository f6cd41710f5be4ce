"""MNIST through a code of two numbers, and the map that its decoder draws.

python examples/mnist_map.py FOLDER     less than a minute on 2 cores; writes mnist_map.png

FOLDER, or the environment variable MNIST_DIR, holds the four original files (train-images-idx3-ubyte.gz, …). Without
it, the script uses the 8 x 8 digits of scikit-learn.
"""

# %% Choose the data.
import os
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")  # remove this line to see the picture in a notebook
import matplotlib.pyplot as plt

from aejax.runs.folder import Run

folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MNIST_DIR")
if folder:
    data = ["data=mnist", f"data.manual_dir={folder}", "data.limit=20000", "epochs=10"]
else:
    print("no folder with MNIST was given: using data=digits, 8 x 8 pixels, instead")
    data = ["data=digits", "epochs=200"]

# %% Train by the command; the run goes to the folder mnist_map, and a second call finds it there.
words = ["-m", "aejax", *data, "model=vae", "latent_dim=2", "model.beta=0.5", "track=off", "hydra.run.dir=mnist_map"]
print("python", *words, flush=True)
subprocess.run([sys.executable, *words], check=True)
run = Run.read("mnist_map")

# %% How well do two numbers separate the digits?
print(f"5-NN accuracy of the codes: {run.metrics['separation/knn_accuracy']:.3f}, "
      f"of an untrained net: {run.metrics['baseline/untrained_knn_accuracy']:.3f}")  # fmt: skip
print(f"test error: {run.metrics['recon/mse']:.4f}, of PCA with two units: {run.metrics['baseline/pca_mse']:.4f}")

# %% One picture: the test codes by digit, and what the decoder draws across the plane.
figure, (codes, decoded) = plt.subplots(1, 2, figsize=(12, 5.5), layout="constrained")
points = codes.scatter(*run.codes["z"].T, c=run.codes["y"], cmap="tab10", s=4)
figure.colorbar(points, ax=codes, label="digit")
codes.set(title="test codes", xlabel="code unit 1", ylabel="code unit 2")
decoded.imshow(plt.imread(run.path / "figures" / "grid.png"))
decoded.axis("off")
figure.savefig("mnist_map.png", dpi=110)
print("wrote mnist_map.png")
