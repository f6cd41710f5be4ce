"""Your own data and your own penalty: waves of random frequency, with and without a penalty on correlated code units.

python examples/own_data_and_model.py     half a minute on 2 cores; writes own_data_and_model.png
"""

# %% A penalty is a Term: it sees a step's codes and returns nats per example, or a scalar.
import jax.numpy as jnp
import matplotlib
import numpy as np
from flax import struct

import aejax
from aejax.compare import table
from aejax.data import Dataset
from aejax.models.objective import Term

matplotlib.use("Agg")  # remove this line to see the picture in a notebook
import matplotlib.pyplot as plt


@struct.dataclass
class Decorrelation(Term):
    """The squared covariances between code units, a scalar (Cogswell et al. 2016, eq. 2)."""

    def __call__(self, context):
        z_BxZ = context.outputs.code.z
        centered_BxZ = z_BxZ - jnp.mean(z_BxZ, axis=0)[None, :]
        covariance_ZxZ = centered_BxZ.T @ centered_BxZ / z_BxZ.shape[0]
        return (jnp.sum(covariance_ZxZ**2) - jnp.sum(jnp.diagonal(covariance_ZxZ) ** 2)) / 2


# %% Data: 1,000 waves of random frequency and phase, 40 values each.
random = np.random.default_rng(0)
frequency_Nx1, phase_Nx1 = random.uniform(1, 3, (1000, 1)), random.uniform(0, 2 * np.pi, (1000, 1))
waves_NxT = np.sin(frequency_Nx1 * np.linspace(0, 6, 40) + phase_Nx1)
data = Dataset("waves", train=waves_NxT.astype(np.float32))

# %% Train both models with three seeds. The class is named by its module, which is this script.
term = f"+model.terms.decorrelation={{_target_: {__name__}.Decorrelation, weight: 5}}"
for name, words in {"plain": [], "decorrelated": [term]}.items():
    for seed in range(3):
        common = ["model=ae", "latent_dim=6", f"seed={seed}", "steps=800", "track=off", "figures=false"]
        aejax.train(data, *common, *words, f"hydra.run.dir=own_runs/{name}/{seed}")

# %% Compare: means over seeds with 95 % intervals.
metrics = {"recon/mse": "test error", "code/correlation": "correlation of units"}
means = {name: table([f"own_runs/{name}"], list(metrics)).iloc[0] for name in ("plain", "decorrelated")}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
for axis, (metric, title) in zip(axes, metrics.items(), strict=True):
    for name, row in means.items():
        print(f"{title:<22}{name:<14}{row[metric]:.3g}  [{row[f'{metric} low']:.3g}, {row[f'{metric} high']:.3g}]")
        axis.bar(name, row[metric], yerr=(row[f"{metric} high"] - row[f"{metric} low"]) / 2, capsize=6)
    axis.set(title=title, ylim=(0, None))
figure.savefig("own_data_and_model.png", dpi=110)
print("wrote own_data_and_model.png")
