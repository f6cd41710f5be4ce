"""One training as a PyTorch script does it: reads examples, trains, evaluates, leaves the files that a run leaves.

python benchmarks/torch_script.py EXAMPLES.npy FOLDER [--seed 0] [--latent-dim 2] [--lr 0.005] [--steps 5000]
                                  [--picture]

EXAMPLES are zeros and ones, [N, P]. The network is P-20-10-code-10-20-P with GELU, as `net.widths=[20,10]` has it; the
batch is all examples. FOLDER gets config.json, history.csv (100 rows), metrics.json, codes.npz, params.pt, an offline
W&B run where wandb is installed, and with --picture reconstructions.png.
"""

import argparse
import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

ROWS = 100  # of the history


def main():
    """Trains and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latent-dim", type=int, default=2)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--picture", action="store_true")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    config = {name: value for name, value in vars(asked).items() if name not in ("examples", "folder")}
    (asked.folder / "config.json").write_text(json.dumps(config, indent=2))
    torch.set_num_threads(1)  # quicker for a net this small, and on two cores two scripts fit beside each other
    torch.manual_seed(asked.seed)
    x_NxP = torch.from_numpy(np.load(asked.examples)).float()
    encoder, decoder = network(x_NxP.shape[1], asked.latent_dim)
    with_wandb = importlib.util.find_spec("wandb") is not None
    run = started(asked.folder, config) if with_wandb else None
    history = trained(encoder, decoder, x_NxP, asked, run)
    with torch.no_grad():
        z_NxZ = encoder(x_NxP)
        mean_NxP = decoder(z_NxZ).sigmoid()
    record(asked, history, encoder, decoder, x_NxP, z_NxZ, mean_NxP, run)


def network(pixels, units):
    """Encoder and decoder."""
    gelu = lambda: nn.GELU("tanh")  # noqa: E731
    encoder = nn.Sequential(nn.Linear(pixels, 20), gelu(), nn.Linear(20, 10), gelu(), nn.Linear(10, units))
    decoder = nn.Sequential(nn.Linear(units, 10), gelu(), nn.Linear(10, 20), gelu(), nn.Linear(20, pixels))
    return encoder, decoder


def started(folder, config):
    """An offline W&B run."""
    import wandb

    settings = wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_meta=True, disable_git=True)
    return wandb.init(mode="offline", project="letters", dir=folder, config=config, settings=settings)


def trained(encoder, decoder, x_NxP, asked, run):
    """Trains in place; the history, rows (step, mean loss since the row before)."""
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=asked.lr)
    every, history, total = max(1, asked.steps // ROWS), [], 0.0
    for step in range(1, asked.steps + 1):
        logits_NxP = decoder(encoder(x_NxP))
        loss = binary_cross_entropy_with_logits(logits_NxP, x_NxP, reduction="sum") / len(x_NxP)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total = total + loss.detach()
        if step % every == 0:
            history.append((step, float(total) / every))
            total = 0.0
            if run:
                run.log({"train/loss": history[-1][1]}, step=step)
    return history


def record(asked, history, encoder, decoder, x_NxP, z_NxZ, mean_NxP, run):
    """Writes the files."""
    wrong_N = ((mean_NxP > 0.5) != (x_NxP > 0.5)).sum(dim=1)
    metrics = {
        "recon/mse": float(((mean_NxP - x_NxP) ** 2).mean()),
        "recon/pixel_errors": float(wrong_N.float().mean()),
        "recon/pixel_errors_max": int(wrong_N.max()),
        "code/std": z_NxZ.std(dim=0).tolist(),
    }
    (asked.folder / "metrics.json").write_text(json.dumps(metrics, indent=2))
    with open(asked.folder / "history.csv", "w", newline="") as file:
        csv.writer(file).writerows([("step", "train/loss"), *history])
    np.savez(asked.folder / "codes.npz", z=z_NxZ.numpy())
    torch.save({"encoder": encoder.state_dict(), "decoder": decoder.state_dict()}, asked.folder / "params.pt")
    if asked.picture:
        drawn(asked.folder / "reconstructions.png", x_NxP, mean_NxP)
    if run:
        run.summary.update(metrics)
        run.finish()


def drawn(path, x_NxP, mean_NxP):
    """Letters of 7 x 5 pixels above their reconstructions, as a picture."""
    from matplotlib import image

    rows = [np.concatenate(list(each.numpy().reshape(-1, 7, 5)), axis=1) for each in (x_NxP, mean_NxP)]
    image.imsave(path, np.concatenate(rows), cmap="gray_r", vmin=0, vmax=1)


if __name__ == "__main__":
    main()
