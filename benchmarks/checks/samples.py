"""Samples, and what the evaluation compares with what: real runs beside numpy, scipy and scikit-learn."""

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist

from aejax.runs.folder import Run

PLAIN = ["track=off", "figures=false", "log_points=1"]
DIGITS = ["data=digits", "model=vae", "latent_dim=8", "net.widths=[64]", "steps=800", "optim.lr=0.003"]


@functools.cache
def kept():
    """A folder that lasts as long as this process."""
    return tempfile.TemporaryDirectory()


def empty():
    """A new folder in it."""
    return Path(tempfile.mkdtemp(dir=kept().name))


def run(*words):
    """The finished Run of a command."""
    folder = empty()
    command = [sys.executable, "-m", "aejax", *PLAIN, *words, f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True, capture_output=True)
    return Run.read(folder)


def rebuilt(finished, *words):
    """The job of the same words, and functions of arrays: mean codes of examples, mean images of codes."""
    import hydra
    import jax

    from aejax.config.explain import CONF
    from aejax.models import autoencoder
    from aejax.runs.job import compose

    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        job = compose([*PLAIN, *words])
    experiment, params = job.experiment, finished.params
    encode = jax.jit(lambda x: autoencoder.encode(experiment, params, x).mean)
    decode = jax.jit(lambda z: experiment.likelihood.mean(autoencoder.decode(experiment, params, z)))
    return job, lambda x: np.asarray(encode(x)), lambda z: np.asarray(decode(z))


def told(**values):
    """Values as text."""
    return ", ".join(f"{name} {value if value is None else round(float(value), 3)}" for name, value in values.items())


def check_sparse_codes_are_sampled_from():
    """Samples of a density of sparse codes are glyphs as often as those that numpy draws from the same Gaussian."""
    words = ["model=sparse_ae", "sampler=gaussian", "evaluate.groups=[generation]"]
    finished = run(*words)
    job, _, decode = rebuilt(finished, *words)
    z, x = finished.codes["z"].astype(float), job.dataset.train.x.reshape(27, -1).astype(float)
    value, vector = np.linalg.eigh(np.cov(z.T, bias=True))
    eps = np.random.default_rng(0).normal(size=(2000, z.shape[1])) * np.sqrt(np.maximum(value, 0))
    images = decode((z.mean(axis=0) + eps @ vector.T).astype(np.float32))
    between = cdist(x, x)[np.triu_indices(27, 1)]
    expected = np.mean(cdist(images, x).min(axis=1) < between[between > 0].min() / 2)
    copies = finished.metrics["generation/glyphs_copies"]
    return told(copies=copies, numpy=expected), copies is not None and abs(copies - expected) < 0.04


def check_draws_are_compared_with_draws():
    """Samples of dynamically binarized digits count as copies, and are as near to test digits, as numpy's draws are."""
    words = [*DIGITS, "data.binarize=dynamic", "evaluate.groups=[generation]"]
    finished, rng = run(*words), np.random.default_rng(0)
    job, encode, decode = rebuilt(finished, *words)
    stored = {name: split.x.reshape(len(split.x), -1) / 255 for name, split in job.dataset.splits.items()}
    train, test = (rng.random(stored[name].shape) < stored[name] for name in ("train", "test"))
    images = decode(rng.normal(size=(len(test), 8)).astype(np.float32))
    restored = decode(encode(test.astype(np.float32)))
    drawn, again = (rng.random(images.shape) < means for means in (images, restored))
    nearest = {name: cdist(x, train, "sqeuclidean").min(axis=1)
               for name, x in (("test", test), ("samples", drawn), ("restored", again))}  # fmt: skip
    threshold = np.quantile(nearest["test"], 0.05)
    copies = {name: np.mean(values < threshold) for name, values in nearest.items()}
    radius = np.sort(cdist(test, test), axis=1)[:, 5]
    precision = np.mean((cdist(drawn, test) <= radius[None]).any(axis=1))
    own = finished.metrics
    close = abs(own["generation/copies"] - copies["samples"]) < 0.04
    close &= abs(own["generation/precision"] - precision) < 0.08 and copies["restored"] <= copies["test"] + 0.02
    measured = {"copies": own["generation/copies"], "precision": own["generation/precision"]}
    return told(**measured, numpy_copies=copies["samples"], of_reconstructions=copies["restored"],
                of_test=copies["test"], numpy_precision=precision), close  # fmt: skip


def check_the_order_of_a_file_does_not_matter():
    """Data sorted by class measure what shuffled ones do: 3 classes of which first rows would lose one."""
    metrics = {}
    for order in ("shuffled", "sorted"):
        rng = np.random.default_rng(0)
        y = np.repeat(np.arange(3), 2000)
        rows = np.arange(6000) if order == "sorted" else rng.permutation(6000)
        splits = {}
        for split in ("train", "test"):
            x = (3 * np.eye(3, 6)[y] + rng.normal(size=(6000, 6))).astype(np.float32)
            splits |= {f"x_{split}": x[rows], f"y_{split}": y[rows]}
        path = empty() / "blobs.npz"
        np.savez(path, **splits)
        words = [f"data.path={path}", "data.validation=0", "evaluate.noise=grid", "steps=300", "net.widths=[16]"]
        words += ["data=arrays", "model=vae", "latent_dim=3", "evaluate.groups=[separation,generation,usefulness]"]
        metrics[order] = run(*words).metrics
    names = ["generation/coverage", "separation/knn_accuracy", "robust/gaussian/0.1/knn_accuracy"]
    names += ["usefulness/probe_accuracy_10_labels", "generation/nearest_train"]
    pairs = {name: (metrics["sorted"][name], metrics["shuffled"][name]) for name in names}
    same = all(None not in pair and abs(pair[0] - pair[1]) < 0.04 for pair in pairs.values())
    return "; ".join(f"{name.split('/')[-1]} {pair[0]}, shuffled {pair[1]}" for name, pair in pairs.items()), same


def check_the_baseline_is_the_net_before_its_first_step():
    """A run's untrained baseline is the separation of a run whose steps change nothing."""
    words = ["net.widths=[16]", "seed=5", "evaluate.groups=[separation]"]
    finished, still = run(*words, "steps=300").metrics, run(*words, "steps=1", "optim.lr=1e-12").metrics
    baseline, before = finished.get("baseline/untrained_knn_accuracy"), still["separation/knn_accuracy"]
    after = finished["separation/knn_accuracy"]
    right = baseline is not None and abs(baseline - before) < 0.002 and after > baseline + 0.1
    return told(baseline=baseline, still=before, trained=after), right


def check_few_labels_are_drawn_often():
    """The probe's accuracy on 10 labels a class is scikit-learn's mean over 100 draws, within twice its interval."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    words = [*DIGITS, "evaluate.groups=[usefulness]"]
    finished, rng = run(*words), np.random.default_rng(0)
    job, encode, _ = rebuilt(finished, *words)
    z, y = {}, {}
    for name, split in job.dataset.splits.items():
        z[name], y[name] = encode(split.x.reshape(len(split.x), -1).astype(np.float32) / 255), split.y
    accuracies = []
    for _ in range(100):
        few, chosen = (np.concatenate([rng.permutation(np.flatnonzero(y[name] == label))[:10] for label in range(10)])
                       for name in ("train", "valid"))  # fmt: skip
        mean, std = z["train"][few].mean(axis=0), z["train"][few].std(axis=0)
        part = {name: (codes - mean) / std for name, codes in z.items()}
        fits = [LogisticRegression(C=1 / (penalty * 100), max_iter=2000).fit(part["train"][few], y["train"][few])
                for penalty in (1e-2, 1e-3, 1e-4, 1e-5)]  # fmt: skip
        loss = [log_loss(y["valid"][chosen], fit.predict_proba(part["valid"][chosen])) for fit in fits]
        accuracies.append(fits[int(np.argmin(loss))].score(part["test"], y["test"]))
    name, expected = "usefulness/probe_accuracy_10_labels", np.mean(accuracies)
    own, half = finished.metrics[name], finished.metrics.get(f"{name}_half_interval")
    right = half is not None and 0 < half < 0.1 and abs(own - expected) < 2 * half
    return told(accuracy=own, half_interval=half, sklearn=expected), right


def check_groups_do_not_depend_on_their_company():
    """neighborhood, separation and probe give alone what they give together."""
    words, groups = ["steps=200", "net.widths=[16]"], ("neighborhood", "separation", "probe")
    together = run(*words, f"evaluate.groups=[{','.join(groups)}]").metrics
    largest = 0.0
    for group in groups:
        for name, value in run(*words, f"evaluate.groups=[{group}]").metrics.items():
            largest = max(largest, abs(value - together[name]))
    return f"largest difference {largest:.2g} of {len(together)} metrics", largest < 1e-6
