"""A data set of vectors that tests name by `data._target_=blobs.Blobs`."""

import numpy as np
from flax import struct

from aejax.datasets.dataset import Dataset, Split


@struct.dataclass
class Blobs:
    """Three labeled blobs of vectors; each split has a shift of its own, so that mixing them up shows."""

    def load(self):
        rng = np.random.default_rng(1)

        def split(count, shift):
            y = rng.integers(0, 3, count).astype(np.int32)
            centers = 2 * np.eye(3, 6)
            return Split((centers[y] + rng.normal(size=(count, 6)) + shift).astype(np.float32), y)

        return Dataset("blobs", "real", split(200, 0.0), split(80, 1.0), split(90, 0.3), ("a", "b", "c"))
