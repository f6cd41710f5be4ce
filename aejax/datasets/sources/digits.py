"""1,797 handwritten digits, 8 x 8, that scikit-learn brings with it: real handwriting without a download."""

import numpy as np
from flax import struct

from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset, Split


@struct.dataclass
class Digits:
    """The test set of the UCI handwritten digits (Alpaydin & Kaynak 1998), 17 gray levels."""

    def load(self):
        """The Dataset, gray, [1797, 8, 8, 1]."""
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise InputError("data=digits: requires scikit-learn: pip install 'aejax[sklearn]'") from None
        digits = load_digits()
        x = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        split = Split(x, digits.target.astype(np.int32))
        names = tuple(str(name) for name in digits.target_names)
        return Dataset("digits", "gray", split, label_names=names, license="UCI Machine Learning Repository, CC BY 4.0")
