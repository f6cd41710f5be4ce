"""Real data: standardized where asked for, a warning where they are far from unit scale, and what is said of them."""

import io

import numpy as np
import pytest
from conftest import job
from rich.console import Console
from sklearn.preprocessing import StandardScaler

from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset
from aejax.datasets.standardization import Standardization, scale_warning
from aejax.runs.console import ConsoleReport

pytestmark = pytest.mark.usefixtures("here")
RNG = np.random.default_rng(0)
FAR = (RNG.normal(size=(5000, 6)) * [10, 0.02, 3, 1, 40, 0] + [50, 0, -3, 9, 0, 7]).astype(np.float32)
QUICK = ["steps=3", "log_points=1", "net.widths=[4]", "figures=false", "track=off", "evaluate.groups=[reconstruction]"]


def test_standardization_is_scikit_learns():
    """Of more examples than are looked at at a time; the last feature is constant, but for rounding."""
    x = FAR.copy()
    x[:, 5] = 0.1 * np.float32(7) + np.where(np.arange(5000) % 2, np.float32(1e-8), 0)
    apply = Standardization.of(x[:4500])
    scaler = StandardScaler().fit(x[:4500, :5].astype(np.float64))
    np.testing.assert_allclose(apply(x)[:, :5], scaler.transform(x[:, :5]), rtol=1e-5, atol=1e-5)
    assert np.abs(apply(x)[:, 5]).max() < 1e-6
    assert apply(x).dtype == np.float32


def test_images_are_standardized_by_channel():
    x = RNG.integers(0, 256, (50, 4, 3, 3), np.uint8) // np.array([1, 4, 16], np.uint8)
    made = Standardization.of(x)(x)
    np.testing.assert_allclose(made.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(made.std(axis=(0, 1, 2)), 1, atol=1e-6)
    flat = x.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(made.reshape(-1, 3), (flat - flat.mean(axis=0)) / flat.std(axis=0), atol=1e-6)


@pytest.mark.parametrize("data", ["data=digits", "data=letters", "data=emoji", "data=sensors data.examples=300"])
def test_every_source_can_be_standardized(data):
    plain, made = (job(*data.split(), *more).dataset for more in ([], ["data.standardize=true"]))
    assert (made.kind, made.train.x.dtype, made.form.shape) == ("real", np.float32, plain.form.shape)
    axes = tuple(range(made.train.x.ndim - 1))
    std = made.train.x.std(axis=axes, dtype=np.float64)
    np.testing.assert_allclose(made.train.x.mean(axis=axes, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(std[std > 0], 1, atol=1e-5)
    assert made.warnings == plain.warnings == ()
    assert len(made.described["standardized"]["mean"]) == made.form.shape[-1]
    assert "standardized" not in plain.described
    assert made.fingerprint != plain.fingerprint
    assert (made.test is made.train) == (plain.test is plain.train)


def test_standardization_and_binarization_exclude_each_other():
    with pytest.raises(InputError, match=r"^data\.standardize=true: must be false, because data\.binarize=static$"):
        job("data=digits", "data.binarize=static", "data.standardize=true")


@pytest.mark.parametrize(
    ("scale", "offset", "is_far"), [(1, 0, False), (0.3, 0.5, False), (2.5, 4, False), (10.5, 0, True), (0.03, 0, True)]
)
def test_real_data_far_from_unit_scale_are_told(scale, offset, is_far):
    x = (RNG.normal(size=(6000, 3)) * scale + offset).astype(np.float32)
    line = scale_warning(x)
    assert (line is not None) is is_far
    if line:
        assert f"standard deviation {x.std(dtype=np.float64):.3g}," in line and "data.standardize=true" in line
        assert f"from {x.min():.3g} to {x.max():.3g}" in line


def test_an_offset_alone_is_told():
    x = RNG.normal(size=(100, 3)).astype(np.float32)
    assert scale_warning(x + 8) is None
    assert "mean -11" in scale_warning(x - 11 - x.mean())


def first_line(*jobs):
    out = io.StringIO()
    ConsoleReport(Console(file=out, soft_wrap=True)).data(jobs)
    return out.getvalue()


@pytest.mark.parametrize(
    ("words", "told", "warned"),
    [
        ([], "kind real, likelihood gaussian", True),
        (["data.kind=real"], "kind real, likelihood gaussian", False),
        (["data.kind=gray"], "kind gray, likelihood gaussian", False),
        (["data.kind=gray", "likelihood=bernoulli"], "kind gray, likelihood bernoulli", False),
        (["data.kind=real", "data.standardize=true"], "kind real, standardized, likelihood gaussian", False),
    ],
)
def test_the_first_line_says_what_images_of_fractions_are_taken_for(here, capfd, words, told, warned):
    np.save("x.npy", RNG.random((40, 8, 7)))
    line = first_line(job("data=arrays", "data.path=x.npy", *words))
    assert line == f"data x.npy: 32 train, 4 valid, 4 test examples of 8x7x1, {told}\n"
    err = capfd.readouterr()[1]
    assert ("data.kind=gray" in err) is warned and err.count("\n") == warned


def test_a_program_is_told_of_fractions_too():
    x = RNG.random((40, 6, 6, 3))
    assert 'Dataset(kind="rgb")' in Dataset(train=x).warnings[0]
    assert Dataset(train=x, kind="rgb").warnings == Dataset(train=2 * x).warnings == ()
    assert Dataset(train=x.reshape(40, -1)).warnings == ()  # no images


def test_the_first_line_has_all_likelihoods_of_a_data_set():
    words = ["data=digits", "data.binarize=dynamic"]
    loaded = {}  # the data, which are the same
    jobs = [job(*words, loaded=loaded), job(*words, "likelihood=learned", loaded=loaded)]
    told = "data digits: 1,455 train, 162 valid, 180 test examples of 8x8x1, kind binary, drawn at each step, "
    assert first_line(*jobs) == told + "likelihood bernoulli or learned\n"
