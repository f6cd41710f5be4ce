"""Published and measured numbers that the metrics alone must reach: PCA codes, and k-means of raw pixels.

Usage: python benchmarks/floors.py FOLDER [FOLDER...], each with train-images-idx3-ubyte.gz and its like. Prints kNN
accuracy (k = 1, 5; fitted on 60,000 PCA codes) and the silhouette of 5,000 test codes at 2, 10 and 32 units;
then accuracy and NMI of k-means, best of 10 starts, of all 70,000 raw images.
"""

import gzip
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from aejax.datasets.form import Form
from aejax.evaluation.encoding import picked
from aejax.evaluation.protocol import SCORED
from aejax.metrics import clusters, separation
from aejax.metrics.neighbors import knn_accuracy
from aejax.models.principal_components import principal_components


def main():
    for folder in map(Path, sys.argv[1:]):
        (train, y_train), (test, y_test) = (read(folder, part) for part in ("train", "t10k"))
        form = Form(folder.name, "gray", (28, 28, 1), len(train), 0, 10, "")
        mean, components = principal_components(train, form, 32)
        x_train, x_test = form.scaled(train), form.scaled(test)
        for units in (2, 10, 32):
            fit, z = ((x - mean) @ components[:units].T for x in (x_train, x_test))
            one, five = (float(each) for each in knn_accuracy(fit, y_train, z, y_test, 10, (1, 5)))
            found = float(separation.silhouette(picked(z, SCORED), picked(y_test, SCORED), 10))
            print(f"{folder.name} d={units}: 1-NN {one:.4f}, 5-NN {five:.4f}, silhouette {found:.3f}", flush=True)
        x, y = jnp.concatenate([x_train, x_test]), jnp.concatenate([y_train, y_test])
        cluster, _ = clusters.k_means(jax.random.key(0), x, 10, 10)
        counts = clusters.contingency(y, cluster, 10, 10)
        accuracy, nmi = float(clusters.accuracy(counts)), float(clusters.nmi(counts))
        print(f"{folder.name} raw pixels, k-means: accuracy {accuracy:.3f}, NMI {nmi:.3f}", flush=True)


def read(folder, part):
    """Images [N, 784] uint8 and labels [N] int32."""

    def values(name, offset):
        return np.frombuffer(
            gzip.decompress((folder / f"{part}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset
        )

    return jnp.array(values("images-idx3", 16).reshape(-1, 784)), jnp.array(values("labels-idx1", 8).astype(np.int32))


if __name__ == "__main__":
    main()
