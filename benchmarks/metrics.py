"""Separation metrics on codes as large as MNIST's, beside scikit-learn's: seconds (median of 3), ratio, both results.

Usage: python benchmarks/metrics.py [FOLDER]. The codes are those of a PCA with 10 units of the MNIST files in FOLDER
(train-images-idx3-ubyte.gz and its like), or else 60,000 and 10,000 draws from ten overlapping blobs. The programs are
compiled before; scikit-learn gets all cores where it takes them. Both probes fit the same penalties and choose on the
last 10,000 training codes.
"""

import gzip
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np
from sklearn import metrics as oracle
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from aejax.datasets.form import Form
from aejax.metrics import clusters, separation
from aejax.metrics.neighbors import knn_accuracy
from aejax.metrics.probe import PENALTIES, linear_probe
from aejax.models.principal_components import principal_components

CLASSES, NEIGHBORS, STARTS, VALID = 10, (1, 5, 15), 10, 10_000


def main():
    codes = mnist(Path(sys.argv[1])) if len(sys.argv) > 1 else blobs()
    (fit, y_fit), (score, y_score) = codes
    own = jax.device_put({"fit": fit, "y_fit": y_fit, "z": score, "y": y_score})
    cases = {
        "kNN, k = 1, 5, 15": (
            lambda: np.array(knn_accuracy(own["fit"], own["y_fit"], own["z"], own["y"], CLASSES, NEIGHBORS)),
            lambda: np.array([KNeighborsClassifier(k).fit(fit, y_fit).score(score, y_score) for k in NEIGHBORS]),
        ),
        "the same, scikit-learn with one search on all cores": (
            lambda: np.array(knn_accuracy(own["fit"], own["y_fit"], own["z"], own["y"], CLASSES, NEIGHBORS)),
            lambda: np.array(one_search(fit, y_fit, score, y_score)),
        ),
        "silhouette": (
            lambda: np.array(separation.silhouette(own["z"], own["y"], CLASSES)),
            lambda: np.array(oracle.silhouette_score(score, y_score)),
        ),
        "k-means, 10 starts: NMI, inertia": (
            lambda: own_k_means(own["z"], own["y"]),
            lambda: k_means(score, y_score),
        ),
        "probe: accuracy, penalty": (
            lambda: own_probe(own),
            lambda: probe(fit, y_fit, score, y_score),
        ),
    }
    total = 0.0
    for name, (ours, theirs) in cases.items():
        ours()
        seconds, found = zip(*(timed(each) for each in (ours, theirs)), strict=True)
        if "the same" not in name:
            total += seconds[0]
        print(
            f"{name}: {seconds[0]:.2f} s, scikit-learn {seconds[1]:.2f} s, {seconds[1] / seconds[0]:.1f} times;", *found
        )
    print(f"together {total:.2f} s")


def timed(function):
    spent = []
    for _ in range(3):
        begin = time.perf_counter()
        result = function()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent), result


def one_search(fit, y_fit, score, y_score):
    """All numbers of neighbors from one search by scikit-learn on all cores."""
    model = KNeighborsClassifier(max(NEIGHBORS), algorithm="brute", n_jobs=-1).fit(fit, y_fit)
    label = y_fit[model.kneighbors(score, return_distance=False)]
    votes = [(label[:, :k, None] == np.arange(CLASSES)).sum(axis=1) for k in NEIGHBORS]
    return [(vote.argmax(axis=1) == y_score).mean() for vote in votes]


def own_k_means(z, y):
    cluster, inertia = clusters.k_means(jax.random.key(0), z, CLASSES, STARTS)
    return np.array([clusters.nmi(clusters.contingency(y, cluster, CLASSES, CLASSES)), inertia])


def k_means(z, y):
    model = KMeans(CLASSES, n_init=STARTS, random_state=0).fit(z)
    return np.array([oracle.normalized_mutual_info_score(y, model.labels_), model.inertia_])


def own_probe(own):
    fit, valid = (own["fit"][:-VALID], own["y_fit"][:-VALID]), (own["fit"][-VALID:], own["y_fit"][-VALID:])
    return np.array(linear_probe(fit, valid, (own["z"], own["y"]), CLASSES))


def probe(fit, y_fit, score, y_score):
    mean, std = fit[:-VALID].mean(axis=0), fit[:-VALID].std(axis=0)
    fit, score = (fit - mean) / std, (score - mean) / std
    examples, results = len(fit) - VALID, []
    for penalty in PENALTIES:
        model = LogisticRegression(C=1 / (penalty * examples), max_iter=300).fit(fit[:-VALID], y_fit[:-VALID])
        loss = oracle.log_loss(y_fit[-VALID:], model.predict_proba(fit[-VALID:]))
        results.append((loss, model.score(score, y_score), penalty))
    return np.array(min(results)[1:])


def mnist(folder):
    """PCA codes and labels of the training and the test images."""

    def read(name, offset):
        return np.frombuffer(gzip.decompress((folder / f"{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)

    train, test = (read(f"{part}-images-idx3", 16).reshape(-1, 784) for part in ("train", "t10k"))
    form = Form(folder.name, "gray", (28, 28, 1), len(train), 0, CLASSES, "")
    mean, components = map(np.asarray, principal_components(train, form, 10))
    labels = (read(f"{part}-labels-idx1", 8).astype(np.int32) for part in ("train", "t10k"))
    scaled = (np.asarray(form.scaled(x)) for x in (train, test))
    return [((x - mean) @ components.T, y) for x, y in zip(scaled, labels, strict=True)]


def blobs():
    """Codes and labels drawn from ten normal distributions."""
    rng = np.random.default_rng(0)
    centers = 1.5 * rng.normal(size=(CLASSES, 10))

    def draw(count):
        y = rng.integers(0, CLASSES, count).astype(np.int32)
        return (centers[y] + rng.normal(size=(count, 10))).astype(np.float32), y

    return draw(60_000), draw(10_000)


if __name__ == "__main__":
    main()
