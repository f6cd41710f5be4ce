"""aejax trains and compares autoencoders."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aejax.base.version import VERSION as __version__  # noqa: F401

if TYPE_CHECKING:
    from aejax.datasets.dataset import Dataset
    from aejax.inference.trained import Trained
    from aejax.runs.folder import Run


def train(dataset: "Dataset", *overrides: str) -> "Run":
    """Trains on an `aejax.data.Dataset`; returns the Run: `aejax.train(Dataset(train=x), "model=vae", "seed=3")`."""
    from aejax.runs.entry import train  # imports jax, which --help does not need

    return train(dataset, *overrides)


def load(path: str | Path, force: bool = False) -> "Trained":
    """The trained model of a run's folder or of a zip archive of it: `aejax.load("outputs/…").encode(x)`.

    `force` takes a run that diverged, or that was not finished but has parameters.
    """
    from aejax.inference.loading import load

    return load(path, force)


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
