"""aejax trains and compares autoencoders."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aejax.base.errors import InputError  # noqa: F401
from aejax.base.version import VERSION as __version__  # noqa: F401

if TYPE_CHECKING:
    import numpy as np

    from aejax.datasets.dataset import Dataset
    from aejax.inference.trained import Trained
    from aejax.runs.folder import Run


def train(dataset: "Dataset", *overrides: str) -> "Run":
    """Trains on an `aejax.data.Dataset`; returns the Run: `aejax.train(Dataset(train=x), "model=vae", "seed=3")`."""
    from aejax.runs.entry import train  # imports jax, which --help does not need

    return train(dataset, *overrides)


def load(path: str | Path, force: bool = False, trust: bool = False) -> "Trained":
    """The trained model of a run's folder or of a zip archive of it: `aejax.load("outputs/…").encode(x)`.

    `force` takes a run that diverged, or that was not finished but has parameters; `trust`, one whose configuration
    names classes outside of aejax: your own models.
    """
    from aejax.inference.loading import load

    return load(path, force, trust)


def compress(run: "Trained", x: Any, lossless: bool = False, bits: float | None = None, label: Any = None) -> bytes:
    """A file of examples as quantized codes of a loaded run, by default of nearly the error of its reconstructions.

    `lossless` adds what these lack; `bits` is the rate of the file in bits a pixel. Needs the extra `compression`.
    """
    from aejax.compression.compression import compress

    return compress(run, x, lossless, bits, label)


def decompress(run: "Trained", data: bytes) -> "np.ndarray":
    """The examples of a file of `compress`, by the same run."""
    from aejax.compression.compression import decompress

    return decompress(run, data)


def __getattr__(name: str) -> Any:
    if name == "Encoder":
        try:
            from aejax.inference.transformer import Encoder
        except ModuleNotFoundError as error:
            if error.name != "sklearn":
                raise
            raise ImportError("aejax.Encoder needs scikit-learn: pip install aejax[sklearn]") from None
        return Encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Where Hydra looks for plugins: a namespace package, in a checkout, an editable install and a wheel alike.
_PLUGINS = str(Path(__file__).parent / "_plugins")
if _PLUGINS not in sys.path:
    sys.path.append(_PLUGINS)
