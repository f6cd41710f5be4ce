"""The alphabet in two numbers: train on 27 letters, then look at the codes and a reconstruction.

python examples/letters.py     10 seconds on 2 cores; writes letters.png
"""

# %% Train. aejax.train takes a Dataset and the overrides of the command line.
import matplotlib

matplotlib.use("Agg")  # remove this line to see the picture in a notebook
import matplotlib.pyplot as plt

import aejax
from aejax.datasets.sources.letters import Letters

letters = Letters().load()
run = aejax.train(letters, "experiment=letters", "seed=0", "track=off")
print(f"the run's folder: {run.path}")

# %% Metrics: the error, beside that of PCA with two units, and the share of letters without a wrong pixel.
for name in ("recon/mse", "baseline/pca_mse", "recon/exact"):
    print(f"{name:<18}{run.metrics[name]:.2g}")

# %% Codes: two numbers for each letter.
z_NxZ, y_N = run.codes["z"], run.codes["y"]
names = [letters.label_names[label] for label in y_N]
for name, z_Z in list(zip(names, z_NxZ, strict=True))[:3]:
    print(f"{name}: {z_Z[0]:+.2f} {z_Z[1]:+.2f}")

# %% One picture: the codes, and letters above their reconstructions.
figure, (codes, reconstructions) = plt.subplots(1, 2, figsize=(13, 4.5), width_ratios=(1, 1.6), layout="constrained")
codes.scatter(*z_NxZ.T, s=0)
for name, (x, y) in zip(names, z_NxZ, strict=True):
    codes.text(x, y, name, ha="center", va="center", fontsize=13)
codes.set(title="where each letter lies", xlabel="code unit 1", ylabel="code unit 2")
reconstructions.imshow(plt.imread(run.path / "figures" / "reconstructions.png"))
reconstructions.axis("off")
figure.savefig("letters.png", dpi=110)
print("wrote letters.png")
