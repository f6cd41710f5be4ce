"""Samples and rows of the evaluation: degenerate codes, like compared with like, no part of a file left out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, run, trained
from flax import struct

from aejax.datasets.dataset import Dataset, Split
from aejax.evaluation import annotations, encoding, sampling, separation
from aejax.evaluation.generation import generation
from aejax.evaluation.sampling import Sampler
from aejax.metrics.generation import novelty
from aejax.models import autoencoder
from aejax.models.likelihoods import Bernoulli, Gaussian, Learned
from aejax.settings.fields import static_choice
from aejax.training import step
from aejax.training.lanes import lane

RNG = np.random.default_rng(0)
SPREAD = RNG.normal(size=(27, 5)) * [1, 0.5, 2, 1, 3] + 4
CODES = {
    "more units than directions": 5 + RNG.normal(size=(27, 2)) @ RNG.normal(size=(2, 64)),
    "copies of a unit": SPREAD[:, [0, 1, 1, 1, 2]],
    "idle units": SPREAD * [1, 0, 0, 1, 0],
    "one code": np.full((27, 5), 1234.567),
    "nothing": np.zeros((27, 5)),
    "regular": SPREAD,
}


@pytest.mark.parametrize("case", CODES)
def test_the_root_of_a_covariance_is_cholesky_s_with_a_floor(case):
    z = np.asarray(CODES[case], np.float32)
    units = z.shape[1]
    padded, mask = np.pad(z, ((0, 0), (0, 1))), np.append(np.ones(units), 0).astype(np.float32)
    mean, factor = map(np.asarray, jax.jit(sampling.gaussian)(padded, np.ones(len(z)), mask))
    covariance = np.cov(z.T.astype(float), bias=True)
    floor = sampling.REGULAR * np.trace(covariance) / units
    np.testing.assert_allclose(mean[:units], z.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert np.isfinite(factor).all() and (np.diagonal(factor) > 0).all() and not np.triu(factor, 1).any()
    assert factor[units, units] == pytest.approx(1)
    tolerance = 3e-6 * np.trace(covariance) + 1e-6
    np.testing.assert_allclose(factor[:units, :units] @ factor[:units, :units].T, covariance, atol=tolerance)
    if case == "regular":
        expected = np.linalg.cholesky(covariance + floor * np.eye(units))
        np.testing.assert_allclose(factor[:units, :units], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["more units than directions", "one code"])
def test_a_mixture_of_degenerate_codes_is_finite(case):
    z = np.asarray(CODES[case], np.float32)
    fit = jax.jit(sampling.mixture, static_argnums=3)(jax.random.key(0), z, np.ones(z.shape[1], np.float32), 3)
    assert all(np.isfinite(part).all() for part in fit)
    assert jnp.exp(fit[0]).sum() == pytest.approx(1, rel=1e-4)


@pytest.mark.slow
def test_samples_that_are_not_finite_give_no_number():
    each = job("model=vae", "net.widths=[8]", "steps=2", "log_points=1", "evaluate.groups=[generation]")
    state, _ = trained(each)
    bias = state.params["from_code"]["bias"]
    broken = state.params | {"from_code": state.params["from_code"] | {"bias": jnp.full_like(bias, jnp.nan)}}
    metrics, z, _ = (lane(part, 0) for part in evaluated(state.replace(params=broken), each))
    of_samples = {name for name in metrics if name.startswith("generation/") and "/prior_" not in name}
    assert len(of_samples) == 11
    assert all(np.isnan(metrics[name]) for name in [*of_samples, "interpolation/length"])
    assert metrics["generation/prior_p"] > 0  # the posterior is as it was
    reasons = annotations.absent(each.experiment, each.dataset, metrics, z)
    assert {reasons[name] for name in of_samples} == {"the samples are not finite"}


@struct.dataclass
class Reconstructions(Sampler):
    """Codes of test examples instead of samples."""

    def codes(self, experiment, params, data, key, samples, label_S=None):
        return encoding.codes(experiment, params, experiment.form.scaled(data.test)[:samples])


DIGITS = ["data=digits", "model=vae", "latent_dim=8", "net.widths=[64]", "steps=400", "log_points=1", "optim.lr=0.003"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["data.binarize=dynamic"]]
    + [pytest.param(each, marks=pytest.mark.slow)
       for each in ([], ["data.binarize=threshold"], ["likelihood=bernoulli"], ["likelihood=learned"])],
)  # fmt: skip
def test_reconstructions_of_test_images_are_no_copies(words):
    """No more of them than of the test images themselves, of which 5 % are the nearest to training images."""
    each = job(*DIGITS, *words)
    params, data = lane(trained(each)[0].params, 0), each.dataset.arrays()
    sampler = Reconstructions()
    metrics = jax.jit(generation)(each.experiment.replace(sampler=sampler), params, data)
    hidden = each.experiment.likelihood.is_density  # whose variance is more than the distance of digits to the nearest
    assert np.isnan(metrics["copies"]) if hidden else metrics["copies"] <= 0.05
    assert 0.2 < metrics["density"] < 1.6  # means of binary pixels are in ten times as many balls as examples are
    if words:  # where a Gaussian has a stated variance, it is more than the error
        assert metrics["precision"] > 0.75


def test_copies_are_counted_only_where_an_exact_copy_would_count():
    rng = np.random.default_rng(0)
    train, test, new = (rng.random((200, 64)).astype(np.float32) for _ in range(3))
    for deviation, drawn, expected in ((0.05, train, 1.0), (0.05, new, 0.0), (1.0, train, np.nan), (1.0, new, np.nan)):
        samples, exact = (x + deviation * rng.normal(size=x.shape).astype(np.float32) for x in (drawn, train))
        copies = novelty(train, test, samples, exact)["copies"]
        np.testing.assert_allclose(copies, expected, atol=0.1)


def test_draws_of_a_likelihood_have_its_moments():
    logits = np.array([-2.0, 0.0, 1.0], np.float32)
    many = np.tile(logits, (40_000, 1))
    mean = 1 / (1 + np.exp(-logits))
    learned = Learned(np.float32(0.03), "sigmoid", np.float32(1e-4), "pixel")
    log_variance = {"log_variance": np.log(np.array([0.01, 0.04, 0.09], np.float32))}
    variance = np.exp(log_variance["log_variance"]) + 1e-4  # log floor + softplus(a - log floor)
    for likelihood, own, expected in (
        (Bernoulli(), {}, mean * (1 - mean)),
        (Gaussian(np.float32(0.04), "sigmoid"), {}, np.full(3, 0.04)),
        (learned, log_variance, variance),
    ):
        x = np.asarray(likelihood.draw(jax.random.key(0), many, own))
        np.testing.assert_allclose(x.mean(axis=0), mean, atol=0.01)
        np.testing.assert_allclose(x.var(axis=0), expected, rtol=0.05)
        assert np.isin(x, (0, 1)).all() != likelihood.is_density


@pytest.mark.parametrize("order", ["sorted", "in turn"])
def test_the_rows_that_are_picked_are_of_all_classes(order):
    y = np.repeat(np.arange(10), 1000) if order == "sorted" else np.tile(np.arange(10), 1000)
    counts = np.bincount(encoding.picked(y, 2000), minlength=10)
    assert counts.sum() == 2000 and counts.min() > 150
    few = encoding.picked(y, 101)
    assert (few[1:] != few[:-1]).mean() > 0.8  # so that lines between them lead from class to class
    assert encoding.picked(y, 10_000) is y


@struct.dataclass
class Sorted:
    """Three blobs of vectors in the order of their classes, or shuffled, of 300, 90 and 30 training examples."""

    order: str = static_choice("sorted", "shuffled")

    def load(self):
        rng = np.random.default_rng(1)
        y = np.repeat(np.arange(3), (300, 90, 30)).astype(np.int32)
        x = (3 * np.eye(3, 6)[y] + rng.normal(size=(420, 6))).astype(np.float32)
        rows = np.arange(420) if self.order == "sorted" else rng.permutation(420)
        split = Split(x[rows], y[rows])
        return Dataset("sorted", "real", split, split, split, ("a", "b", "c"))


@pytest.mark.slow
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_without_validation_a_tenth_of_each_class_is_chosen_on(order):
    words = [f"data._target_={__name__}.Sorted", f"+data.order={order}", "data.validation=0", "net.widths=[4]"]
    each = job(*words, "steps=2", "log_points=1")
    params, data = lane(trained(each)[0].params, 0), each.dataset.arrays()
    known = jax.device_get(jax.jit(encoding.labeled)(each.experiment, params, data))
    assert np.bincount(known["valid"][1]).tolist() == [30, 9, 3]
    assert np.bincount(known["train"][1]).tolist() == [270, 81, 27]
    z = np.asarray(jax.jit(autoencoder.encode)(each.experiment, params, each.dataset.train.x).mean)
    there = np.concatenate([known["train"][0], known["valid"][0]])
    np.testing.assert_allclose(np.sort(there, axis=0), np.sort(z, axis=0), rtol=1e-5, atol=1e-6)
    for label in range(3):  # the codes are still those of their labels
        own = np.concatenate([known[name][0][known[name][1] == label] for name in ("train", "valid")])
        np.testing.assert_allclose(own.mean(axis=0), z[each.dataset.train.y == label].mean(axis=0), rtol=1e-4)


def test_label_efficiency_is_the_mean_of_draws_with_its_interval(monkeypatch):
    """What a probe sees: so many labels of each class, another draw each time, and no more labels to choose on."""
    y = np.repeat(np.arange(3), (300, 90, 30)).astype(np.int32)
    number = np.arange(420, dtype=np.float32)
    seen = []

    def probe(fit, valid, score, classes):
        seen.append((len(fit[0]), len(valid[0])))
        jax.debug.callback(lambda *parts: draws.append(parts), fit[0][:, 0], fit[1])
        return jnp.mean(fit[0][:, 0]), None

    draws = []
    monkeypatch.setattr(separation, "linear_probe", probe)
    known = {"train": (number[:, None], y), "valid": (number[:200, None], y[:200]), "score": (number[:, None], y)}
    form = dataclasses.make_dataclass("Form", ["classes"])(3)
    experiment = dataclasses.make_dataclass("Made", ["form"])(form)
    metrics = jax.device_get(jax.jit(lambda known: separation.label_efficiency(experiment, known))(known))
    assert seen == [(3, 3), (30, 30), (300, 200)]
    jax.effects_barrier()
    values = {labels: [] for labels in (1, 10)}
    for rows, labels in draws:
        if len(rows) <= 30:
            assert np.bincount(labels).tolist() == [len(rows) // 3] * 3 and len(set(rows.tolist())) == len(rows)
            values[len(rows) // 3].append(float(rows.mean()))
    for labels, means in values.items():
        assert len(set(means)) == 10
        name = f"probe_accuracy_{labels}_labels"
        assert metrics[name] == pytest.approx(np.mean(means), rel=1e-5)
        expected = 2.2622 * np.std(means, ddof=1) / np.sqrt(10)  # Student's quantile, of a table
        assert metrics[f"{name}_half_interval"] == pytest.approx(expected, rel=1e-3)
    assert np.isnan(metrics["probe_accuracy_100_labels"])
    assert np.isnan(metrics["probe_accuracy_100_labels_half_interval"])


ALONE = ["net.widths=[8]", "steps=30", "log_points=1", "model=vae", "noise=flip"]
GROUPS = [
    "reconstruction",
    "restoration",
    "baselines",
    "code",
    "separation",
    "elbo",
    "probe",
    "clusters",
    "neighborhood",
]
GROUPS += ["nll", "generation", "usefulness"]


def by_group(groups):
    """The metrics of each group asked for alone, and of all of them together, for one training."""
    each = [job(*ALONE, f"evaluate.groups=[{what}]", "evaluate.samples=3") for what in (*groups, ",".join(groups))]
    state, _ = trained(each[0])
    *apart, together = (lane(evaluated(state, one)[0], 0) for one in each)
    return apart, together


@pytest.mark.slow
@pytest.mark.parametrize(
    "groups", [["code", "separation"], pytest.param(GROUPS, marks=pytest.mark.slow)], ids=["two", "all"]
)
def test_no_group_depends_on_which_others_are_asked_for(groups):
    apart, together = by_group(groups)
    assert set().union(*apart) == set(together)
    for group, metrics in zip(groups, apart, strict=True):
        assert metrics, group
        for name, value in metrics.items():
            rounding = 1e-3 if group == "usefulness" else 1e-6  # an example on the border of two classes
            np.testing.assert_allclose(value, together[name], rtol=1e-6, atol=rounding, err_msg=f"{name} of {group}")


@pytest.mark.slow
def test_the_baseline_is_the_separation_before_the_first_step():
    words = ["net.widths=[8]", "steps=300", "log_points=1", "evaluate.groups=[separation]", "seed=3"]
    each = job(*words)
    state, _ = trained(each, width=4)  # of four units two are masked
    begun = step.init(each.experiment, each.dataset.arrays(), 4)
    before = lane(evaluated(jax.tree.map(lambda leaf: leaf[None], begun), each)[0], 0)
    after = lane(evaluated(state, each)[0], 0)
    baseline = [name for name in after if name.startswith("baseline/untrained_")]
    assert len(baseline) == 4
    for name in baseline:
        own = name.replace("baseline/untrained_", "separation/")
        np.testing.assert_allclose([after[name], before[name]], before[own], rtol=1e-5, err_msg=name)
    assert after["separation/knn_accuracy"] > 1.3 * after["baseline/untrained_knn_accuracy"]


@pytest.mark.slow
def test_the_baseline_of_principal_components_is_a_random_projection():
    each = job("model=pca", "evaluate.groups=[separation]", "seed=1")
    state, _ = trained(each)
    start = autoencoder.init(each.experiment, 2)
    metrics = lane(evaluated(state, each)[0], 0)
    random = lane(evaluated(state.replace(params=jax.tree.map(lambda leaf: leaf[None], start)), each)[0], 0)
    name = "baseline/untrained_knn_accuracy"
    assert metrics[name] == pytest.approx(random["separation/knn_accuracy"], abs=1e-5)
    assert metrics[name] != pytest.approx(metrics["separation/knn_accuracy"], abs=0.01)


def test_data_without_labels_have_no_baseline():
    each = job("evaluate.groups=[separation]", "net.widths=[8]")
    unlabeled = dataclasses.replace(each.dataset, label_names=(), **{
        name: Split(split.x) for name, split in each.dataset.splits.items()})  # fmt: skip
    reasons = annotations.absent(each.experiment, unlabeled, {}, np.zeros((27, 2)))
    assert reasons["baseline/untrained_knn_accuracy"] == "the data have no labels"


@pytest.mark.slow
def test_a_model_without_a_prior_has_pictures_and_metrics_of_its_samples(tmp_path):
    finished = run(
        tmp_path,
        "net.widths=[8]",
        "steps=200",
        "log_points=1",
        "latent_dim=3",
        "evaluate.groups=[reconstruction,generation]",
        "figures=true",
    )
    assert (tmp_path / "figures" / "samples.png").stat().st_size > 5000
    assert 0 <= finished.metrics["generation/glyphs_valid_new"] <= 1
    assert finished.metrics["generation/prior_p"] is None
