"""Who trains, validates and tests: disjoint, stratified, the same whatever else is asked."""

import dataclasses

import numpy as np
import pytest
from conftest import evaluated, job, trained
from flax import struct

from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.splits import Splits, drawn, hashed, lowest
from aejax.training.experiment import run_id


def splits(**changed):
    settings = {"validation": 0.1, "test": 0.2, "split_seed": 0, "limit": None, "classes": None, "binarize": "none"}
    settings |= {"normal": None, "device_bytes": None, "test_limit": None, "standardize": False}
    return Splits(**settings | changed)


def examples(count=1000, classes=4):
    """Examples whose first two values are their index, with labels of very different frequency."""
    index = np.arange(count)
    x = np.stack([index % 256, index // 256, index % 7 * 30, 255 - index % 200], axis=1).astype(np.uint8)
    y = np.minimum(np.random.default_rng(0).geometric(0.4, count) - 1, classes - 1).astype(np.int32)
    return Split(x, y)


def indices(split):
    return (split.x[:, :2] @ np.array([1, 256])).tolist()


@pytest.fixture(scope="module")
def dataset():
    return Dataset("numbered", "gray", examples(), label_names=("a", "b", "c", "d"))


def test_the_hash_is_splitmix64():
    # The first outputs of the reference implementation for the seed 0 (Vigna, splitmix64.c).
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    golden = 0x9E3779B97F4A7C15

    def mixed(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    assert [mixed(step * golden % 2**64) for step in (1, 2, 3)] == first
    for seed in (0, 5, 2**32 - 1):
        start = mixed((seed + golden) % 2**64)
        expected = [mixed((start + (index + 1) * golden) % 2**64) for index in range(50)]
        assert hashed(np.arange(50), seed).tolist() == expected


def test_the_splits_are_disjoint_complete_and_stratified(dataset):
    made = splits()(dataset)
    parts = [indices(split) for split in (made.train, made.valid, made.test)]
    assert sorted(index for part in parts for index in part) == list(range(1000))
    assert [len(part) for part in parts] == [720, 80, 200]
    whole = np.bincount(dataset.train.y)
    for split, share in ((made.train, 0.72), (made.valid, 0.08), (made.test, 0.2)):
        assert np.abs(np.bincount(split.y) - share * whole).max() < 2
        np.testing.assert_array_equal(split.y, dataset.train.y[indices(split)])


def test_a_split_does_not_depend_on_the_others_nor_on_the_training_seed(dataset):
    base = splits()(dataset)
    assert indices(splits(validation=0.3)(dataset).test) == indices(base.test)
    assert indices(splits(limit=50)(dataset).valid) == indices(base.valid)
    assert indices(splits(split_seed=1)(dataset).test) != indices(base.test)
    few, more = (set(indices(splits(limit=limit)(dataset).train)) for limit in (50, 200))
    assert len(few) == 50 and few < more < set(indices(base.train))
    assert splits()(dataset).fingerprint == base.fingerprint != splits(split_seed=1)(dataset).fingerprint


def test_a_limited_test_set_is_stratified_and_changes_nothing_else(dataset):
    base, made = splits()(dataset), splits(test_limit=40)(dataset)
    assert len(made.test.x) == 40
    for name in ("train", "valid"):
        assert indices(made.splits[name]) == indices(base.splits[name])
    share = np.bincount(base.test.y, minlength=4) * 40 / len(base.test.y)
    assert np.abs(np.bincount(made.test.y, minlength=4) - share).max() < 1
    np.testing.assert_array_equal(made.test.y, dataset.train.y[indices(made.test)])
    fewer = set(indices(splits(test_limit=20)(dataset).test))
    assert len(fewer) == 20 and fewer < set(indices(made.test)) < set(indices(base.test))
    assert indices(splits(test_limit=40, limit=50)(dataset).test) == indices(made.test)
    assert indices(splits(test_limit=40, split_seed=1)(dataset).test) != indices(made.test)
    assert made.fingerprint != base.fingerprint == splits(test_limit=200)(dataset).fingerprint
    assert made.described["examples"] == {"train": 720, "valid": 80, "test": 40}


def test_a_test_set_of_the_source_s_own_is_limited_too(dataset):
    other = Split(dataset.train.x[::-1].copy(), dataset.train.y[::-1].copy())
    made = splits(test_limit=100)(Dataset("own", "gray", dataset.train, other, other, dataset.label_names))
    assert made.valid is other and len(made.test.x) == 100 and made.train is dataset.train


def test_a_test_set_that_is_the_training_set_is_not_limited():
    letters = job("data=letters").dataset
    assert splits(test_limit=27)(letters).test is splits()(letters).train
    told = r"^data\.test_limit=9: must be null, because the 27 test examples of letters are its training examples$"
    with pytest.raises(InputError, match=told):
        splits(test_limit=9)(letters)


def test_a_limited_test_set_makes_another_run():
    whole, few = job("data=digits"), job("data=digits", "data.test_limit=30")
    assert (len(whole.dataset.arrays().test), len(few.dataset.arrays().test)) == (180, 30)
    assert np.bincount(few.dataset.test.y).tolist() == [3] * 10
    assert few.run_id != whole.run_id


def test_shares_and_counts(dataset):
    made = splits(validation=7, test=50)(dataset)
    assert [len(split.x) for split in made.splits.values()] == [943, 7, 50]
    assert made.form.valid == 7
    made = splits(validation=0)(dataset)
    assert made.valid is None and made.form.valid == 0
    assert len(made.train.x) == 800


def test_a_test_set_and_a_validation_set_that_a_source_has_stay_what_they_are(dataset):
    other = Split(dataset.train.x[::-1].copy(), dataset.train.y[::-1].copy())
    made = splits()(Dataset("own", "gray", dataset.train, other, other, dataset.label_names))
    assert made.test is made.valid is other
    assert made.train is dataset.train


def test_labels_that_are_kept_are_renumbered_in_the_order_asked(dataset):
    made = splits(classes=(2, "a"))(dataset)
    assert made.label_names == ("c", "a")
    for split in made.splits.values():
        np.testing.assert_array_equal(np.array([2, 0])[split.y], dataset.train.y[indices(split)])
    kept = np.isin(dataset.train.y, [0, 2]).sum()
    assert sum(len(split.x) for split in made.splits.values()) == kept


def test_groups_stay_together():
    x = np.random.default_rng(0).integers(0, 256, (300, 4)).astype(np.uint8)
    groups = np.arange(300) // 7
    rows = lowest(np.arange(300), Split(x, groups=groups), 60, 0)
    assert 60 <= len(rows) < 67
    assert not set(groups[rows]) & set(np.delete(groups, rows))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"validation": 1.5}, r"^data\.validation=1\.5: must be a share below 1 or a whole number"),
        ({"validation": 999}, r"^data\.validation=999: takes 999 of 800 training examples; must be .* 1 to 798"),
        ({"validation": 0.0001}, r"^data\.validation=0\.0001: takes 0 of 800"),
        ({"test": 0}, r"^data\.test=0: takes 0 of 1000 training examples"),
        ({"classes": (7,)}, r"^data\.classes=\[7\]: no label 7; known: a, b, c, d$"),
        ({"classes": ("aa",)}, r"^data\.classes=\['aa'\]: no label aa; did you mean a\?"),
    ],
)
def test_splits_that_cannot_be_made_are_told(dataset, changed, told):
    with pytest.raises(InputError, match=told):
        splits(**changed)(dataset)


def test_only_gray_data_are_binarized():
    with pytest.raises(InputError, match=r"^data\.binarize=static: must be none, because the data are binary$"):
        splits(binarize="static")(job("data=letters").dataset)


def test_binarized_pixels(dataset):
    plain = splits()(dataset)
    hard = splits(binarize="threshold")(dataset)
    np.testing.assert_array_equal(hard.train.x, plain.train.x >= 128)
    assert hard.kind == "binary" and hard.form.scaled(np.uint8(1)) == 1

    static = splits(binarize="static")(dataset)
    assert set(np.unique(static.train.x)) == {0, 1}
    few = splits(binarize="static", limit=30)(dataset)
    place = [indices(plain.train).index(index) for index in indices(splits(limit=30)(dataset).train)]
    np.testing.assert_array_equal(few.train.x, static.train.x[place])  # the draws of an example are its own

    dynamic = splits(binarize="dynamic")(dataset)
    np.testing.assert_array_equal(dynamic.train.x, plain.train.x)
    np.testing.assert_array_equal(dynamic.test.x, 255 * static.test.x)
    assert dynamic.form.dynamic and dynamic.kind == "binary"
    assert len({each.fingerprint for each in (plain, hard, static, dynamic)}) == 4


def test_a_pixel_is_1_with_the_probability_of_its_intensity():
    x = np.tile(np.arange(256, dtype=np.uint8), (20_000, 1))
    share = drawn(x, np.arange(20_000), 0).mean(axis=0)
    assert share[0] == 0 and share[255] == 1
    assert np.abs(share - np.arange(256) / 255).max() < 5 * 0.5 / np.sqrt(20_000)


@struct.dataclass
class Ramps:
    """Gray vectors of five values with one strong component."""

    def load(self):
        ramp = np.linspace(0, 255, 1000)
        noise = np.random.default_rng(0).uniform(0, 60, 1000)
        return Dataset("ramps", "gray", np.stack([ramp, ramp, 255 - ramp, noise, noise], axis=1).astype(np.uint8))


@pytest.mark.slow
def test_dynamic_binarization_draws_anew_at_each_step():
    """PCA of what is drawn, from its covariance in expectation, against PCA of many draws."""
    chosen = [f"data._target_={__name__}.Ramps", "data.binarize=dynamic"]
    pca = job("model=pca", "latent_dim=1", "likelihood=linear", "evaluate.groups=[reconstruction,baselines]", *chosen)
    metrics = evaluated(trained(pca)[0], pca)[0]
    probability = pca.dataset.train.x / 255
    draws = np.random.default_rng(0).random((400, *probability.shape)) < probability
    flat = draws.reshape(-1, 5)
    basis = np.linalg.eigh(np.cov(flat.T))[1][:, -1:]
    centered = pca.dataset.test.x / 255 - flat.mean(axis=0)
    expected = ((centered - centered @ basis @ basis.T) ** 2).mean()
    assert metrics["recon/mse"][0] == pytest.approx(expected, rel=2e-3)
    assert metrics["baseline/pca_mse"][0] == pytest.approx(metrics["recon/mse"][0], rel=1e-4)

    # With one full batch a step and no movement, each logged loss is that of another draw.
    still = job("model=ae", *chosen, "optim=sgd", "optim.lr=1e-30", "steps=6", "log_points=6", "batch_size=810")
    losses = [float(row["train/loss"][0]) for row in trained(still)[1]]
    assert len(set(losses)) == 6
    assert still.experiment.likelihood.__class__.__name__ == "Bernoulli"


def test_examples_in_two_splits_are_counted():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (5000, 13)).astype(np.uint8)
    test = rng.integers(0, 256, (40, 13)).astype(np.uint8)
    test[:3] = x[[7, 7, 4999]]
    made = splits(validation=0)(Dataset("twins", "gray", x, test=test))
    assert made.warnings == ("3 of 40 test examples are training examples too",)
    assert made.described["warnings"] == list(made.warnings)
    x[100:200] = x[0]
    made = splits(validation=0.5, test=0.1)(Dataset("own", "gray", x))
    assert [line.split(" of ")[1] for line in made.warnings] == [
        "500 test examples are validation examples too",
        "500 test examples are training examples too",
        "2,250 validation examples are training examples too",
    ]


def test_near_twins_are_no_twins():
    x = np.zeros((2, 24), np.uint8)
    x[1, [7, 15]] = 128  # the highest bits of two words, which a plain sum would lose
    assert splits(validation=0)(Dataset("near", "gray", x, test=x[1:] ^ 1)).warnings == ()
    assert splits(validation=0)(Dataset("near", "gray", np.repeat(x, 2, axis=0), test=x[:1])).warnings


def test_letters_are_the_same_in_all_splits_and_no_duplicates_are_told():
    assert job("data=letters").dataset.warnings == ()


def test_a_limit_leaves_a_test_on_the_training_examples_whole():
    whole, few = job("data=letters").dataset, job("data=letters", "data.limit=9").dataset
    assert few.valid is few.test and len(few.train.x) == 9
    np.testing.assert_array_equal(few.test.x, whole.test.x)
    known = {letter.tobytes() for letter in whole.test.x}
    assert all(letter.tobytes() in known for letter in few.train.x)
    assert few.warnings == ("9 of 27 test examples are training examples too",
                            "9 of 27 validation examples are training examples too")  # fmt: skip


def test_where_the_data_lie_is_no_part_of_a_runs_identity():
    settings = {"seed": 1, "data": {"dir": "a", "limit": 3}}
    assert run_id(settings, "f", "1") == run_id({"seed": 1, "data": {"dir": "b", "limit": 3}}, "f", "1")
    assert run_id(settings, "f", "1") != run_id({"seed": 1, "data": {"dir": "a", "limit": 4}}, "f", "1")


def test_normal_labels_train_and_validate_and_the_test_keeps_all(dataset):
    whole, normal = splits()(dataset), splits(normal=("b", 3))(dataset)
    np.testing.assert_array_equal(normal.test.x, whole.test.x)
    np.testing.assert_array_equal(normal.test.y, whole.test.y)
    assert normal.form.normal == (1, 3) and whole.form.normal == ()
    for name in ("train", "valid"):
        assert set(normal.splits[name].y.tolist()) == {1, 3}
    others = np.isin(np.concatenate([whole.train.y, whole.valid.y]), (1, 3)).sum()
    assert len(normal.train.y) + len(normal.valid.y) == others
    kept = splits(normal=(3,), classes=(3, 1))(dataset)
    assert kept.form.normal == (0,) and set(kept.train.y.tolist()) == {0}


@pytest.mark.parametrize("changed", [{}, {"limit": 40, "classes": (2, 0)}, {"binarize": "dynamic"}, {"validation": 0}])
def test_examples_know_their_rows_in_the_source(dataset, changed):
    names = np.array([f"{row}.png" for row in range(1000)])
    named = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, names=names))
    for name, split in splits(**changed)(named).splits.items():
        if changed.get("binarize") is None or name == "train":  # else pixels are drawn
            assert split.index.tolist() == indices(split)
        assert split.names.tolist() == [f"{row}.png" for row in split.index]
    assert dataset.train.index.tolist() == list(range(1000))


def test_standardized_examples_keep_their_rows(dataset):
    values = Split(dataset.train.x.astype(np.float32), dataset.train.y)
    source = Dataset(
        "real", "real", values, label_names=dataset.label_names, preprocess=lambda x: lambda each: each - 1
    )
    for split in splits()(source).splits.values():
        assert split.index.tolist() == indices(Split(split.x + 1))
