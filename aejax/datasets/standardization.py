"""Values of unit scale: mean and standard deviation of training examples, and a warning if data are far from it."""

import dataclasses

import numpy as np

from aejax.datasets.storage import in_parts

SPREAD = 0.1, 3.0  # standard deviations of real data that train well as they are
OFFSET = 10.0  # their mean at the most
CONSTANT = 1e-7  # of the mean: a smaller standard deviation is rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Standardization:
    """Examples [N, *shape] -> float32, less the `mean` and over the `std` of each feature or channel, float64."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, train_x):
        """The one that gives these training examples mean 0 and standard deviation 1.

        Each feature of vectors [N, F] and each channel of images [N, H, W, C] has its own; a constant one becomes 0.
        """
        mean, std = _moments(train_x, tuple(range(train_x.ndim - 1)))
        return cls(mean, np.where(std > CONSTANT * np.maximum(np.abs(mean), 1e-30), std, 1.0))

    def __call__(self, x):
        standardized = np.empty(x.shape, np.float32)
        start = 0
        for part in in_parts(x):
            standardized[start : start + len(part)] = (part - self.mean) / self.std
            start += len(part)
        return standardized

    def undone(self, x):
        """Standardized examples in their own unit, float32."""
        return (x * self.std + self.mean).astype(np.float32)


def scale_warning(train_x):
    """One line if real training examples are far from unit scale, else None."""
    mean, std = _moments(train_x, None)
    if SPREAD[0] <= std <= SPREAD[1] and abs(mean) <= OFFSET:
        return None
    low, high = min(part.min() for part in in_parts(train_x)), max(part.max() for part in in_parts(train_x))
    return (
        f"values from {low:.3g} to {high:.3g}, mean {mean:.3g}, standard deviation {std:.3g}, are far from unit scale, "
        "where likelihoods and learning rates fit; data.standardize=true brings them there"
    )


def _moments(x, axes):
    """Mean and standard deviation over `axes`, None for all, float64, a part of the examples at a time."""
    share = x.size if axes is None else x.size // x.shape[-1]
    mean = sum(part.sum(axis=axes, dtype=np.float64) for part in in_parts(x)) / share
    squares = sum(((part - mean) ** 2).sum(axis=axes, dtype=np.float64) for part in in_parts(x))
    return mean, np.sqrt(squares / share)
