"""Objectives, likelihoods, nets, principal components and baselines: real trainings beside independent oracles."""

import tempfile
from pathlib import Path

import jax
import numpy as np
from scipy.special import softmax

import aejax
from aejax.datasets.dataset import Dataset
from aejax.datasets.sources.emoji import Emoji
from aejax.datasets.sources.letters import Letters


def _run(dataset, *overrides):
    """The Run that a training of this Dataset leaves, without pictures and W&B, in a folder that the process keeps."""
    folder = tempfile.mkdtemp(prefix="aejax-check-")
    words = ["figures=false", "track=off", f"hydra.run.dir={Path(folder) / 'run'}"]
    return aejax.train(dataset, *words, *overrides)


def _letters():
    return Letters().load()


def _gray_emoji():
    return Emoji(color="gray").load()


def _absent(run):
    return run.record["evaluation"]["absent"]


def check_annealing_counts_joint_steps():
    """After layerwise pretraining, annealing rises from 0 at the first joint step."""
    words = ["model=vae", "pretrain=greedy", "net.widths=[8]", "model.anneal=0.5", "steps=80", "log_points=80"]
    rows = _run(_letters(), *words, "evaluate.groups=[reconstruction]").history[40:]
    weights = [(row["train/loss"] - row["train/reconstruction"]) / row["train/kl"] for row in rows]
    expected = np.minimum(1, np.arange(40) / 20)
    error = float(np.abs(np.array(weights) - expected).max())
    return f"weights {weights[0]:.2f}, {weights[10]:.2f}, {weights[20]:.2f}; largest error {error:.1g}", error < 0.02


def check_bits_per_dimension():
    """Bits a dimension are -log2 of the density less 8 bits under a Gaussian of bytes, and null under a Bernoulli."""
    words = ["model=vae", "net.widths=[8]", "steps=50", "log_points=1", "evaluate.groups=[nll]", "evaluate.samples=4"]
    gaussian = _run(_gray_emoji(), *words, "likelihood=gaussian").metrics
    bernoulli = _run(_gray_emoji(), *words, "likelihood=bernoulli")
    name = "likelihood/bits_per_dim"
    expected = gaussian["nll"] / (144 * np.log(2)) + 8
    measured = f"gaussian {gaussian[name]:.4f} of {expected:.4f}, bernoulli {bernoulli.metrics[name]}"
    return measured, abs(gaussian[name] - expected) < 1e-4 and bernoulli.metrics[name] is None


def check_components_beyond_the_rank():
    """PCA has no components beyond the rank of its training examples, and its floor is numpy's."""
    rng = np.random.default_rng(0)
    train = np.repeat(rng.random((8, 30)), 6, axis=0).astype(np.float32)
    test = rng.random((40, 30)).astype(np.float32)
    dataset = Dataset(name="repeated", train=train, test=test)
    words = ["model=pca", "latent_dim=20", "data.validation=0", "evaluate.groups=[reconstruction,baselines]"]
    metrics = _run(dataset, *words).metrics
    mean = train.astype(float).mean(axis=0)
    basis = np.linalg.svd(train - mean)[2][:7]
    expected = float(np.mean((test - mean - (test - mean) @ basis.T @ basis) ** 2))
    measured = f"recon/mse {metrics['recon/mse']:.5f}, floor {metrics['baseline/pca_mse']:.5f}, numpy {expected:.5f}"
    return measured, max(abs(metrics[name] - expected) for name in ("recon/mse", "baseline/pca_mse")) < 1e-5


def check_the_loss_of_pca_of_drawn_pixels():
    """The loss of PCA on pixels that are drawn at each step is its mean over draws."""
    dataset = _gray_emoji()
    words = ["model=pca", "latent_dim=4", "data.binarize=dynamic", "evaluate.groups=[reconstruction]"]
    run = _run(dataset, *words)
    layer = run.params["from_code"]
    kernel, mean = np.asarray(layer["kernel"], float), np.asarray(layer["bias"], float)
    probabilities = dataset.train.x.reshape(-1, 144) / 255
    draws = np.random.default_rng(0).random((200, *probabilities.shape)) < probabilities
    apart = draws.reshape(-1, 144) - mean
    squared = ((apart - apart @ kernel.T @ kernel) ** 2).sum(axis=1).mean()
    expected = 0.5 * (squared / 0.03 + 144 * np.log(2 * np.pi * 0.03))
    loss = run.history[-1]["train/loss"]
    return f"train/loss {loss:.3f}, of 200 draws {expected:.3f}", abs(loss - expected) < 2e-3 * abs(expected)


def check_a_kernel_of_any_side():
    """An encoder of kernel 3 and stride 2 is lax's convolution of 3 x 3 weights: codes from disk are the oracle's."""
    dataset = _letters()
    words = ["net=conv", "net.kernel=3", "net.stride=2", "net.widths=[5]", "steps=50", "log_points=1"]
    run = _run(dataset, *words, "evaluate.groups=[reconstruction]")
    params, x = run.params, dataset.test.x.astype(np.float32).reshape(-1, 7, 5, 1)
    layer = params["encoder"]["Convolution_0"]["Dense_0"]
    weights, kernel, begin = np.asarray(layer["kernel"]), np.zeros((3, 3, 1, 5), np.float32), 0
    for row in (slice(0, 2), slice(2, 3)):
        for column in (slice(0, 2), slice(2, 3)):
            shape = kernel[row, column].shape
            end = begin + int(np.prod(shape[:3]))
            kernel[row, column], begin = weights[begin:end].reshape(shape), end
    seen = x - np.asarray(params["running"]["center"]).reshape(7, 5, 1)
    maps = jax.lax.conv_general_dilated(seen, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    hidden = np.asarray(jax.nn.gelu(maps + np.asarray(layer["bias"]))).reshape(len(x), -1)
    head = params["to_code"]["mean"]
    error = float(np.abs(hidden @ head["kernel"] + head["bias"] - run.codes["z"]).max())
    return f"{len(weights)} weights a map, largest difference of a code {error:.1g}", len(weights) == 9 and error < 1e-4


def check_the_posterior_mean_over_glyphs():
    """The floor of restoring flipped letters is the posterior mean's error, and the run is not below it."""
    words = ["noise=flip", "noise.level=0.1", "steps=1500", "log_points=1", "latent_dim=8", "evaluate.noise=grid"]
    metrics = _run(_letters(), *words, "evaluate.groups=[restoration]").metrics
    glyphs = _letters().train.x.reshape(27, 35).astype(float)
    clean = np.tile(glyphs, (2000, 1))
    noisy = np.abs(clean - (np.random.default_rng(0).random(clean.shape) < 0.1))
    distance = noisy.sum(axis=1)[:, None] + glyphs.sum(axis=1)[None] - 2 * noisy @ glyphs.T
    expected = float(np.mean((softmax(distance * np.log(0.1 / 0.9), axis=1) @ glyphs - clean) ** 2))
    floor, reached = (metrics.get(f"robust/flip/0.1/{name}", np.nan) for name in ("posterior_mse", "mse"))
    measured = f"posterior {floor:.5f}, by other draws {expected:.5f}, the run {reached:.5f}"
    return measured, abs(floor - expected) < 0.1 * expected and reached >= floor


def check_a_limit_leaves_the_test_whole():
    """A limit on letters trains fewer glyphs and tests all of them."""
    run = _run(_letters(), "data.limit=10", "steps=50", "log_points=1", "evaluate.groups=[reconstruction,separation]")
    sizes, nearest = run.record["data"]["examples"], run.metrics["separation/knn1_accuracy"]
    return f"{sizes}, 1-NN {nearest:.3f}", (sizes["train"], sizes["test"]) == (10, 27) and nearest <= 10 / 27 + 1e-6


def check_untrained_is_not_collapsed():
    """A code that carries nats before the decoder has learned to use it is not told to have collapsed."""
    words = ["model=vae", "latent_dim=8", "net.widths=[8]", "optim.lr=1e-6", "steps=10", "log_points=1"]
    run = _run(_letters(), *words, "evaluate.groups=[reconstruction,code]")
    remarks, nats = run.record["evaluation"].get("remarks", []), run.metrics["code/kl"]
    told = any("collapse" in remark for remark in remarks) or bool(run.metrics["code/collapsed"])
    return f"{nats:.2f} nats, {len(remarks)} remarks, collapse {told}", nats > 0.1 and not told


def check_psnr_of_real_data():
    """PSNR is null for real data, with a reason."""
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    run = _run(Dataset(name="real", train=x), "net.widths=[4]", "steps=5", "evaluate.groups=[reconstruction]")
    psnr = run.metrics["recon/psnr"]
    return f"{psnr}, {_absent(run).get('recon/psnr')}", psnr is None and bool(_absent(run).get("recon/psnr"))


def check_fisher_ratio_of_tight_classes():
    """Fisher's ratio keeps a direction in which classes are tight: that of the codes on disk, in float64."""
    rng = np.random.default_rng(0)
    y = np.arange(600) % 4
    x = np.stack([y + 2e-4 * rng.normal(size=600), rng.normal(size=600)], axis=1).astype(np.float32)
    dataset = Dataset(name="tight", train=(x, y), test=(x[:300], y[:300]))
    run = _run(dataset, "model=pca", "latent_dim=2", "evaluate.groups=[separation]")
    z, y = run.codes["z"].astype(float), run.codes["y"]
    means = np.array([z[y == label].mean(axis=0) for label in range(4)])
    apart, between = z - means[y], (means - z.mean(axis=0)) * np.sqrt(np.bincount(y))[:, None]
    expected = float(np.trace(np.linalg.solve(apart.T @ apart, between.T @ between)))
    measured = run.metrics["separation/fisher_ratio"]
    return f"{measured:.4g} of {expected:.4g}", abs(measured - expected) < 0.02 * expected


def check_l1_counts_the_weights():
    """The L1 term that is reported is that of the codes and weights on disk, with weights of length 1."""
    words = ["model=l1_ae", "net=linear", "latent_dim=16", "steps=600", "log_points=600"]
    run = _run(_letters(), *words, "evaluate.groups=[reconstruction]")
    lengths = np.linalg.norm(np.asarray(run.params["from_code"]["kernel"], float), axis=1)
    expected = float((np.abs(run.codes["z"]) @ lengths).mean())
    reported = run.history[-1]["train/l1"]
    return f"{reported:.3f} of {expected:.3f}", abs(reported - expected) < 0.02 * expected
