"""A scikit-learn transformer whose features are codes (extra `sklearn`)."""

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset
from aejax.inference.loading import load
from aejax.inference.trained import Trained
from aejax.runs.entry import train

QUIET = ("data.validation=0", "figures=false", "track=off", "log_points=1", "evaluate.groups=[reconstruction]")


class Encoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Codes of rows: `transform` encodes, `inverse_transform` decodes.

    `run` is the folder of a finished run, or an `aejax.load`ed one; without it `fit` trains, on all rows, the `model`
    with `latent_dim` units, this `seed` and further `overrides` as on the command line, and leaves no folder. Rows are
    flat examples, [N, features]. `trained_` is the model, with all that it can do.
    """

    def __init__(
        self,
        run: Trained | Path | str | None = None,
        *,
        model: str = "ae",
        latent_dim: int = 2,
        seed: int = 0,
        overrides: Sequence[str] = (),
    ) -> None:
        self.run = run
        self.model = model
        self.latent_dim = latent_dim
        self.seed = seed
        self.overrides = overrides

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains, or with a `run` loads it; `y` is ignored. Raises InputError where the rows do not fit."""
        X = validate_data(self, X, dtype=(np.float32, np.float64, np.uint8), ensure_min_samples=2)
        if self.run is None:
            self.trained_ = self._trained(X)
        else:
            self.trained_ = self.run if isinstance(self.run, Trained) else load(self.run)
        if self.trained_.experiment.model.is_conditional:
            raise InputError(f"{self.trained_.run.title}: its codes depend on labels, which a transformer has not")
        pixels = self.trained_.experiment.form.pixels
        if X.shape[1] != pixels:
            raise InputError(f"X: {X.shape[1]} features; must be {pixels}, those of {self.run}")
        self._n_features_out = self.trained_.latent_dim
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The codes of rows, [N, latent_dim] float32."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float32, np.float64, np.uint8), reset=False)
        return self.trained_.encode(X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The rows that codes decode to, [N, features] float32."""
        check_is_fitted(self)
        X = np.atleast_2d(X)
        return self.trained_.decode(X).reshape(len(X), -1)

    def _trained(self, X: np.ndarray) -> Trained:
        if isinstance(self.overrides, str):
            raise InputError(f"overrides={self.overrides}: must be a list of texts, such as ['steps=1000']")
        words = [f"model={self.model}", f"latent_dim={self.latent_dim}", f"seed={self.seed}", *QUIET, *self.overrides]
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            left = train(Dataset(train=X, test=X), *words, f"hydra.run.dir={folder}/run")
            if left.record["status"] == "diverged":
                raise InputError(
                    f"Encoder: the training of {left.record['name']} diverged; lower optim.lr in overrides"
                )
            trained = load(f"{folder}/run", trust=True)  # the overrides are the caller's
            return dataclasses.replace(trained, run=trained.run.in_memory("Encoder"))
