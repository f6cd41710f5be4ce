"""The scikit-learn transformer, by scikit-learn's own means."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import aejax
from aejax.base.errors import InputError

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
FEW = ("steps=300", "net.widths=[32]")


@pytest.fixture(scope="module")
def encoder():
    return aejax.Encoder(model="ae", latent_dim=8, overrides=FEW).fit(X)


def test_it_trains_transforms_and_leaves_no_folder(encoder, here, capfd):
    fresh = clone(encoder).fit(X)
    assert list(here.iterdir()) == [] and capfd.readouterr().out == ""
    z = fresh.transform(X)
    assert z.shape == (len(X), 8) and z.dtype == np.float32
    np.testing.assert_array_equal(z, encoder.transform(X))  # the same seed
    error = ((fresh.inverse_transform(z) - X) ** 2).mean()
    assert error < 0.5 * X.var(axis=0).mean()
    assert list(fresh.get_feature_names_out()) == [f"encoder{unit}" for unit in range(8)]
    assert fresh.trained_.traverse(steps=3).shape == (3, 3, 64)  # by the test codes, though the folder is gone
    assert repr(fresh.trained_) == "<Trained ae own d=8 s=0 (Encoder)>"


@pytest.mark.slow
def test_it_works_in_a_pipeline_and_a_grid_search(encoder):
    pipeline = make_pipeline(
        aejax.Encoder(overrides=("steps=100", "net.widths=[16]")), LogisticRegression(max_iter=500)
    )
    search = GridSearchCV(pipeline, {"encoder__latent_dim": [1, 6]}, cv=2, error_score="raise").fit(X[:300], Y[:300])
    assert search.best_params_ == {"encoder__latent_dim": 6}
    assert make_pipeline(encoder, LogisticRegression(max_iter=500)).fit(X, Y).score(X, Y) > 0.8


def test_it_takes_a_run_and_can_be_pickled(encoder):
    taken = aejax.Encoder(encoder.trained_).fit(X)
    np.testing.assert_array_equal(taken.transform(X), encoder.transform(X))
    read = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(read.transform(X[:5]), encoder.transform(X[:5]))


def test_rows_that_do_not_fit_are_refused(encoder):
    with pytest.raises(InputError, match="X: 10 features; must be 64"):
        aejax.Encoder(encoder.trained_).fit(X[:, :10])
    with pytest.raises(ValueError, match="X has 10 features, but Encoder is expecting 64"):
        encoder.transform(X[:, :10])
    with pytest.raises(InputError, match="model=aee"):
        aejax.Encoder(model="aee").fit(X)
