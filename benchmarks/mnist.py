"""What models reach on MNIST and Fashion-MNIST, beside published numbers, baselines and each other.

    python benchmarks/mnist.py DIR                  trains what is missing in DIR, two hours on 2 busy cores, and prints
    python benchmarks/mnist.py DIR deep_ae vae      these rows only

Needs the sets prepared (python -m aejax.data prepare data=mnist data.manual_dir=FOLDER). Runs that are finished in DIR
are taken as they are.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.linalg import subspace_angles

from aejax.runs.folder import Run

COMMON = ["figures=false", "track=off", "log_points=10"]


def main():
    folder, chosen = Path(sys.argv[1]), sys.argv[2:] or list(ROWS)
    print("| case | reached | beside |\n| --- | --- | --- |", flush=True)
    for name in chosen:
        words, told = ROWS[name]
        places = enumerate(words.items())
        runs = {key: trained(folder / name / str(place), each) for place, (key, each) in places}
        for row in told(runs):
            print(f"| {' | '.join(row)} |", flush=True)


def trained(folder, words):
    """The Run of a command, trained unless it is there."""
    words = [sys.executable, "-m", "aejax", *words.split(), *COMMON, f"hydra.run.dir={folder}"]
    if subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(words)}")
    return Run.read(folder)


def linear(runs):
    own, pca = runs["linear_ae"], runs["pca"]
    angle = subspace_angles(own.params["from_code"]["kernel"].T, pca.params["from_code"]["kernel"].T).max()
    yield ("linear_ae d=30: largest angle to PCA's subspace", f"{angle:.4f} rad", "at most 0.05")
    yield ("linear_ae d=30: test MSE", mse(own), f"PCA {mse(pca)}")


def errors(beside):
    def rows(runs):
        for name, run in runs.items():
            yield (f"{name}: test MSE, summed over an image", f"{mse(run)}, {run.metrics['recon/sse']:.2f}", beside)

    return rows


def convolutions(runs):
    for data in SETS:
        conv, dense = (runs[f"{model} {data}"] for model in ("conv_ae", "ae"))
        sizes = [f"{mse(run)} ({run.record['parameters']:,} parameters)" for run in (conv, dense)]
        yield (f"conv_ae d=32, {data}: test MSE", sizes[0], f"ae {sizes[1]}")


def rate(runs):
    for name, run in runs.items():
        yield (f"{name}: mean activation", f"{run.codes['z'].mean():.4f}", f"target {run.settings['model']['rho']}")


def probes(beside):
    def rows(runs):
        for name, run in runs.items():
            wrong = f"{1 - run.metrics['separation/probe_accuracy']:.2%}"
            dead = f"{run.metrics['code/dead_units']} dead units"
            yield (f"{name}: linear probe's test error", f"{wrong}, {dead}", beside)

    return rows


def denoising(runs):
    for name, run in runs.items():
        at = f"robust/{name}/0.3"
        own, noisy, median = (-10 * np.log10(run.metrics[f"{at}/{each}mse"]) for each in ("", "input_", "median_"))
        beside = f"noisy input {noisy:.1f}, median filter {median:.1f}"
        yield (f"ae trained on {name} 0.3: PSNR of what it restores, dB", f"{own:.1f}", beside)


def bounds(beside):
    def rows(runs):
        for name, run in runs.items():
            names = {"elbo": "elbo", "likelihood/rate": "rate", "nll": "nll"}
            found = {told: run.metrics[each] for each, told in names.items() if each in run.metrics}
            yield (f"{name}: nats", ", ".join(f"{each} {value:.2f}" for each, value in found.items()), beside)

    return rows


def anomalies(runs):
    scores = [run.metrics["anomaly/auroc"] for run in runs.values()]
    yield ("conv_ae, one digit normal: mean AUROC", f"{np.mean(scores):.3f}", "0.90 (reference 12), Deep SVDD 0.948")
    yield ("each digit, from 0 on", ", ".join(f"{score:.3f}" for score in scores), "0: at least 0.98")


def mse(run):
    return f"{run.metrics['recon/mse']:.5f}"


CLEAN = "evaluate.groups=[reconstruction]"
PROBED = "evaluate.groups=[reconstruction,code,probe]"
SETS = ("mnist", "fashion_mnist")
STACK = f"model=stacked_ae data=mnist data.limit=10000 net.widths=[1000,1000] latent_dim=1000 epochs=30 {PROBED}"
ROWS = {  # name: commands of the runs, what is told of them
    "linear": (
        {
            "pca": f"model=pca data=mnist latent_dim=30 {CLEAN}",
            "linear_ae": f"model=linear_ae data=mnist latent_dim=30 epochs=40 {CLEAN}",
        },
        linear,
    ),
    "ae": (
        {"ae 784-256-128-32": f"model=ae data=mnist net.widths=[256,128] latent_dim=32 epochs=30 {CLEAN}"},
        errors("0.0055; PCA .01683"),
    ),
    "deep_ae": (
        {"deep_ae d=30": f"model=deep_ae data=mnist data.validation=1000 latent_dim=30 epochs=30 {CLEAN}"},
        errors("summed 3.00, 2.65 (references 3, 4)"),
    ),
    "rbm_ae": (
        {"rbm_ae d=30": f"model=rbm_ae data=mnist latent_dim=30 epochs=50 {CLEAN}"},
        errors("summed 3.00 (reference 3)"),
    ),
    "vae": (
        {
            "vae 784-500-20, static": "model=vae data=mnist data.binarize=static net.widths=[500] latent_dim=20 "
            "epochs=30 evaluate.groups=[reconstruction,elbo]"
        },
        bounds("-elbo 107.05 (reference 5)"),
    ),
    "vae2": (
        {
            "vae 784-256-128-2, dynamic": "model=vae data=mnist data.binarize=dynamic net.widths=[256,128] "
            "latent_dim=2 epochs=50 optim.lr=0.002 evaluate.groups=[reconstruction,elbo,nll]"
        },
        bounds("-nll -135.7, rate 7.2 (reference 9)"),
    ),
    "topk": (
        {
            "topk_ae 784-1000, k=25": "model=topk_ae data=mnist net.widths=[] net.tied=true latent_dim=1000 model.k=25 "
            f"epochs=30 {PROBED}"
        },
        probes("2.0 %; 1.35 % (reference 14)"),
    ),
    "sparse": (
        {
            f"sparse_ae 784-196, rho={rho}": f"model=sparse_ae data=mnist net.widths=[] latent_dim=196 epochs=20 "
            f"model.rho={rho} model.weight=100 {CLEAN}"
            for rho in (0.05, 0.1)
        },
        rate,
    ),
    "denoising": (
        {
            noise: f"model=ae data=mnist net.widths=[512,256] latent_dim=64 epochs=20 noise={noise} noise.level=0.3 "
            f"evaluate.noise=grid {CLEAN}"
            for noise in ("gaussian", "salt_pepper")
        },
        denoising,
    ),
    "stacked": (
        {
            "stacked_ae": STACK,
            "stacked denoising": f"{STACK} noise=masking noise.level=0.25 pretrain.corruption=0.25",
        },
        probes("3.46 %, denoising 2.84 % after fine-tuning on labels (reference 13)"),
    ),
    "conv": (
        {
            f"{model} {data}": f"model={model} data={data} latent_dim=32 epochs=10 {CLEAN}{widths}"
            for data in SETS
            for model, widths in (("conv_ae", ""), ("ae", " net.widths=[256,128]"))
        },
        convolutions,
    ),
    "anomaly": (
        {
            str(digit): f"task=anomaly model=conv_ae data=mnist data.normal=[{digit}] latent_dim=16 epochs=30"
            for digit in range(10)
        },
        anomalies,
    ),
}


if __name__ == "__main__":
    main()
