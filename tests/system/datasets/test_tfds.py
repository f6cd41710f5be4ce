"""Sets of tensorflow-datasets without TensorFlow: small ones, and the real ones where they are.

AEJAX_ORIGINALS may name a folder that holds the original files of MNIST and Fashion-MNIST in mnist/ and fashion_mnist/.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import called, job, stack, trained
from sets import load, pairs, refused, train_of

from aejax.base.confinement import confined
from aejax.base.errors import InputError
from aejax.cli.train import main
from aejax.datasets import cache, originals
from aejax.datasets.dataset import Split
from aejax.models import autoencoder

ORIGINALS = os.environ.get("AEJAX_ORIGINALS")

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.slow
def test_a_second_start_maps_the_decoded_arrays_and_imports_nothing(mnist, tmp_path):
    first = load(tmp_path, manual_dir=str(mnist[0].parent))
    script = (
        "import sys, time; from aejax.datasets.sources.tfds import Tfds\n"
        "names = 'mnist', 'train', 'test', 'image', 'label', 'auto'\n"
        f"dataset = Tfds(*names, {str(tmp_path)!r}, None, False, None).load()\n"
        "assert not {'tensorflow_datasets', 'tensorflow'} & set(sys.modules)\n"
        "print(type(dataset.train.x).__name__, dataset.train.x.dtype, dataset.train.contents, dataset.test.contents)"
    )
    started = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = {each.communicate(timeout=120)[0] for each in started}
    assert told == {f"memmap uint8 {first.train.contents} {first.test.contents}\n"}


@pytest.mark.slow
def test_many_processes_prepare_and_cache_once(digits, tmp_path):
    script = (
        "import sys, tensorflow_datasets as tfds; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path; from sets import infos, load\n"
        f"tfds.builder_cls('mnist').url_infos = infos(Path({str(digits[0])!r}), 'http://localhost:1')\n"
        f"print(load({str(tmp_path)!r}, manual_dir={str(digits[0])!r}).train.contents)"
    )
    words = [sys.executable, "-c", script]
    where = {"cwd": Path(__file__).parents[3], "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(words, **where) for _ in range(3)]
    ended = [(*each.communicate(timeout=180), each.returncode) for each in started]
    assert len(set(ended)) == 1, ended
    assert ended[0][1:] == ("", 0)
    assert len(list((tmp_path / "mnist" / "3.0.1" / "aejax").iterdir())) == 1


def test_another_state_of_the_prepared_set_is_decoded_again(mnist, tmp_path):
    folder, arrays = mnist
    load(tmp_path, manual_dir=str(folder))
    [kept] = (tmp_path / "mnist" / "3.0.1" / "aejax").iterdir()
    (kept / "train.x.npy").write_bytes((kept / "train.x.npy").read_bytes()[:999])  # as no crash could leave it
    assert pairs(*train_of(load(tmp_path))) == pairs(*arrays["train"])
    half = load(tmp_path, split="train[:50%]", test_split=None)
    assert half.test is None and len(half.train.x) == 30
    record = next((tmp_path / "mnist" / "3.0.1").glob("*train*"))
    os.utime(record, (1, 1))
    load(tmp_path)
    assert len(list((tmp_path / "mnist" / "3.0.1" / "aejax").iterdir())) == 3


def test_what_another_process_has_kept_meanwhile_is_left_to_its_readers(tmp_path):
    place, splits = tmp_path / "kept", {"train": Split(np.ones((4, 3), np.float32), np.arange(4, dtype=np.int32))}
    first = []

    def make():
        cache.kept([place], lambda: (splits, {}))  # the other one
        first.extend(sorted((path.name, path.stat().st_ino) for path in place.iterdir()))
        return splits, {}

    found, _ = cache.kept([place], make)
    assert isinstance(found["train"].x, np.memmap) and found["train"].y.tolist() == [0, 1, 2, 3]
    assert first and sorted((path.name, path.stat().st_ino) for path in place.iterdir()) == first
    (place / "train.y.npy").unlink()
    assert cache.kept([place], lambda: (splits, {}))[0]["train"].y.tolist() == [0, 1, 2, 3]
    assert (place / "train.y.npy").exists()


def test_a_disk_that_is_full_keeps_nothing_and_the_run_goes_on(mnist, tmp_path, monkeypatch):
    def full(file, array):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    whole = load(tmp_path, manual_dir=str(mnist[0]))
    [kept] = (tmp_path / "mnist" / "3.0.1" / "aejax").iterdir()
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()
    monkeypatch.setattr(cache.np, "save", full)
    dataset = load(tmp_path)
    assert "No space left on device" in dataset.warnings[0]
    assert (dataset.train.contents, dataset.test.contents) == (whole.train.contents, whole.test.contents)
    assert not list(kept.parent.iterdir())
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_prepared_set_that_cannot_be_written_beside_is_kept_elsewhere(mnist, tmp_path):
    load(tmp_path, manual_dir=str(mnist[0]))
    folder = tmp_path / "mnist" / "3.0.1" / "aejax"
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    folder.write_text("in the way")
    dataset = load(tmp_path)
    assert dataset.warnings == () and isinstance(dataset.train.x, np.memmap)
    assert str(tmp_path / "cache") in str(dataset.train.x.filename)


def test_sets_are_read_a_part_at_a_time(mnist, tmp_path, monkeypatch):
    monkeypatch.setattr("aejax.datasets.sources.tfds.PART", 7)  # of 60 and 20 examples
    dataset = load(tmp_path, manual_dir=str(mnist[0]))
    assert pairs(*train_of(dataset)) == pairs(*mnist[1]["train"])
    assert pairs(dataset.test.x, dataset.test.y) == pairs(*mnist[1]["t10k"])


def test_one_command_prepares_a_set_of_its_original_files_and_trains(mnist, here, capfd, monkeypatch):
    monkeypatch.setenv("HOME", str(mnist[0].parents[1]))
    words = ["data=mnist", "data.dir=sets", f"data.manual_dir='~/{mnist[0].parent.name}'", "data.test_limit=10"]
    words += ["steps=3", "log_points=1", "net.widths=[4]", "figures=false", "track=off", "hydra.run.dir=run"]
    assert called(main, *words, "evaluate.groups=[reconstruction]") == 0
    told = "data mnist: 54 train, 6 valid, 10 test examples of 28x28x1, kind gray, likelihood gaussian\n"
    assert capfd.readouterr()[0].startswith(told)
    places = {image.tobytes(): int(label) for image, label in zip(*mnist[1]["t10k"], strict=True)}
    left = job(*words[:2], "data.test_limit=10").dataset  # without the original files
    assert [places[image.tobytes()] for image in left.test.x] == left.test.y.tolist()
    assert left.fingerprint == json.loads((here / "run" / "run.json").read_text())["data"]["fingerprint"]


def test_a_folder_that_takes_no_prepared_set_is_told(mnist, here):
    (here / "file").write_text("in the way")
    refused("data.dir=file/sets: cannot be created (Not a directory)", "file/sets", manual_dir=str(mnist[0]))


def test_a_set_prepared_in_another_format_is_refused(mnist, tmp_path):
    load(tmp_path, manual_dir=str(mnist[0]))
    info = tmp_path / "mnist" / "3.0.1" / "dataset_info.json"
    for form in ("parquet", "tfrecord"):  # one loses rows, the other needs TensorFlow
        info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": form}))
        refused(f"data.name=mnist: is prepared in {info.parent} as {form}, not array_record", tmp_path)


def test_features_and_splits_that_are_not_there_are_told(mnist, tmp_path):
    load(tmp_path, manual_dir=str(mnist[0]))
    refused("data.feature=imag: no such feature of mnist; did you mean image?", tmp_path, feature="imag")
    refused("data.label=lable: no such feature of mnist; did you mean label?", tmp_path, label="lable")
    refused("data.split=trane: no such split of mnist; did you mean train?", tmp_path, split="trane")
    for split in ("train[:0]", "train[90%:10%]"):
        refused(f"data.split={split}: has no examples; must be a split or a part", tmp_path, split=split)
    refused("data.split=train[99:]: Requested slice [99:60] incompatible with 60", tmp_path, split="train[99:]")
    refused("data.split=train[abc]: Unrecognized split format: 'train[abc]'", tmp_path, split="train[abc]")
    refused("data.test_split=valid: no such split of mnist; known: test, train", tmp_path, test_split="valid")


class Vectors(tfds.core.GeneratorBasedBuilder):
    """A set with an array feature and without labels."""

    VERSION = tfds.core.Version("1.0.0")
    VALUE = 1

    def _info(self):
        wave = tfds.features.Tensor(shape=(3, 4), dtype=np.float32)
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"wave": wave}))

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(30):
            yield index, {"wave": np.full((3, 4), index * self.VALUE, np.float32)}


def test_the_kind_of_a_set_can_be_chosen(mnist, tmp_path, capfd):
    load(tmp_path, manual_dir=str(mnist[0]))
    assert load(tmp_path, kind="rgb").form.shape == (28, 28, 3)
    assert load(tmp_path).form.shape == (28, 28, 1)
    refused(
        "data.kind=real: must be auto, gray, rgb or binary, because image is an encoded image", tmp_path, kind="real"
    )
    Vectors(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    words = {"name": "vectors", "feature": "wave", "label": None, "test_split": None}
    gray = load(tmp_path, kind="gray", **words)
    assert (gray.kind, sorted(gray.train.x[:, 5].tolist())) == ("gray", list(range(30)))
    told = "data.feature=wave: is of kind Tensor; must be an image or numbers that fit data.kind=binary"
    Vectors.VALUE = 0.5
    Vectors(data_dir=str(tmp_path / "halves"), file_format="array_record").download_and_prepare()
    Vectors.VALUE = 1
    refused(told, tmp_path / "halves", kind="binary", **words)


class Pictures(tfds.core.GeneratorBasedBuilder):
    """A set of images of two sizes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(None, None, 1))})
        )

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(6):
            yield index, {"image": originals.png(np.zeros((4 + index // 3, 5, 1), np.uint8))}


class Sprites(tfds.core.GeneratorBasedBuilder):
    """A set made as dSprites is: images of 0 and 1, class labels of their factors, one split."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(4, 4, 1)), "value_x": tfds.features.Scalar(np.float32)}
        features |= {"label_shape": tfds.features.ClassLabel(num_classes=2)}
        features |= {"label_x": tfds.features.ClassLabel(num_classes=4)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index, (shape, x) in enumerate(np.ndindex(2, 4)):
            image = np.zeros((4, 4, 1), np.uint8)
            image[: 1 + shape, x] = 1
            yield index, {"image": originals.png(image), "label_shape": shape, "label_x": x, "value_x": x / 3}


def test_factors_of_a_set_are_read_with_its_examples_and_kept(tmp_path, capfd):
    Sprites(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    words = {"name": "sprites", "label": "label_shape", "test_split": None, "kind": "binary"}
    first, second = (load(tmp_path, factors=("label_shape", "label_x"), **words) for _ in range(2))
    assert isinstance(second.train.x, np.memmap) and first.fingerprint == second.fingerprint
    for dataset in (first, second):
        assert (dataset.kind, dataset.factor_names) == ("binary", ("shape", "x"))
        x, factors = dataset.train.x[..., 0], dataset.train.factors
        assert sorted(map(tuple, factors.tolist())) == list(np.ndindex(2, 4))
        np.testing.assert_array_equal(x.sum(axis=(1, 2)), factors[:, 0] + 1)
        np.testing.assert_array_equal(x[:, 0].argmax(axis=1), factors[:, 1])
        np.testing.assert_array_equal(dataset.train.y, factors[:, 0])
    assert load(tmp_path, **words).fingerprint != first.fingerprint
    told = "data.factors=label_y: no such feature of sprites; did you mean label_x or"
    refused(told, tmp_path, factors=("label_y",), **words)
    told = "data.factors: value_x of sprites is no class label; list features that are"
    refused(told, tmp_path, factors=("value_x",), **words)


def test_images_of_two_sizes_are_refused(tmp_path, capfd):
    Pictures(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    with pytest.raises(
        InputError, match=r"data.name=pictures: train has examples of [45] x 5 and [45] x 5; all must have one size"
    ):
        load(tmp_path, name="pictures", label=None, test_split=None)


def test_an_array_feature_becomes_vectors(tmp_path, capfd):
    Vectors(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    dataset = load(tmp_path, name="vectors", feature="wave", label=None, test_split=None)
    assert (dataset.kind, dataset.train.x.shape, dataset.train.y) == ("real", (30, 12), None)
    assert sorted(dataset.train.x[:, 5]) == list(range(30))


def hostile(features):
    """Ways in which features.json may name a class that tensorflow-datasets would import."""
    inner = features["featuresDict"]["features"]["wave"]
    yield features | {"pythonClassName": "evil.payload.X"}
    yield {key: value for key, value in features.items() if key != "pythonClassName"} | {"python_class_name": "evil.X"}
    yield features | {"featuresDict": {"features": {"wave": inner | {"pythonClassName": "evil.X"}}}}
    yield {"type": "evil.X", "content": {}}
    yield {
        "type": features["pythonClassName"],
        "content": json.dumps({"features": {"wave": {"pythonClassName": "e.X"}}}),
    }
    yield features | {"pythonClassName": "tensorflow_datasets.core.features.features_dict.evil.X"}


def test_a_prepared_set_names_no_class_whose_code_would_run(tmp_path, capfd, monkeypatch):
    Vectors(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    path = tmp_path / "vectors" / "1.0.0" / "features.json"
    features = json.loads(path.read_text())
    monkeypatch.setattr("aejax.datasets.sources.tfds._library", lambda: tfds)
    monkeypatch.setattr(tfds, "builder_from_directory", lambda *_: pytest.fail("was read"))
    for each in hostile(features):
        path.write_text(json.dumps(each))
        with pytest.raises(
            InputError, match=r"features.json: names the class .*X; only classes of tensorflow_datasets"
        ):
            load(tmp_path, name="vectors", feature="wave", label=None, test_split=None)
    for text in ("", "{", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(InputError, match=r"features.json: cannot be read \("):
            load(tmp_path, name="vectors", feature="wave", label=None, test_split=None)


def test_a_name_of_a_set_is_no_place(tmp_path):
    for name in (
        "/etc",
        "../mnist",
        "a/../../b",
        "mnist/..",
        ".",
        "",
        "a/b/c",
        "mnist:../x",
        "${oc.env:PWD}",
        "mnist\n",
    ):
        refused(f"data.name={name}: must be a set's name", tmp_path, name=name)
    for name in ("mnist", "wiki/2019-01.en", "cifar10:3.0.2", "emnist/letters:3.*.*"):
        with pytest.raises(InputError, match=r"no such set|is not prepared"):
            load(tmp_path, name=name)


def test_a_confined_command_reads_no_set_of_the_folder_and_writes_only_to_the_users_own(tmp_path, capfd, monkeypatch):
    words = {"name": "vectors", "feature": "wave", "label": None, "test_split": None}
    for name in ("F", "beside", "own"):
        Vectors(data_dir=str(tmp_path / name), file_format="array_record").download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "own"))
    (tmp_path / "link").symlink_to("F")
    (tmp_path / "inner").mkdir()
    with confined(tmp_path / "F", tmp_path / "inner"):
        for name in ("F", "link"):
            refused(
                f"data.dir={tmp_path}/{name}/vectors/1.0.0: came with {tmp_path}/F; use one", tmp_path / name, **words
            )
        for name, kept in (("beside", False), ("own", True)):
            assert len(load(tmp_path / name, **words).train.x) == 30
            assert (tmp_path / name / "vectors" / "1.0.0" / "aejax").exists() is kept
    assert len(load(tmp_path / "F", **words).train.x) == 30


# The real ones

REAL = {
    "mnist": (0.13066, 0.30811, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
    "fashion_mnist": (0.28604, None, [6000] * 10),
}
PCA = {"mnist": [0.05567, 0.03407, 0.01769, 0.00905], "fashion_mnist": [0.04610, 0.02435, 0.01562, 0.01037]}


@pytest.mark.slow
@pytest.mark.skipif(ORIGINALS is None, reason="AEJAX_ORIGINALS names no folder of original files of MNIST")
@pytest.mark.parametrize("name", REAL)
def test_the_real_ones_have_the_published_numbers(name, tmp_path):
    mean, std, counts = REAL[name]
    words = [f"data={name}", f"data.dir={tmp_path}", f"data.manual_dir={ORIGINALS}", "data.validation=0", "model=pca"]
    jobs = [job(*words, f"latent_dim={units}") for units in (2, 10, 30, 64)]
    dataset = jobs[0].dataset
    assert dataset.train.x.mean() / 255 == pytest.approx(mean, abs=1e-5)
    assert std is None or dataset.train.x.std() / 255 == pytest.approx(std, abs=1e-5)
    assert np.bincount(dataset.train.y).tolist() == counts
    state, _ = trained(*jobs)
    test_NxP = jobs[0].experiment.form.scaled(dataset.arrays().test)

    @jax.jit
    @jax.vmap
    def mse(experiment, params):
        return ((autoencoder.reconstruct(experiment, params, test_NxP) - test_NxP) ** 2).mean()

    found = mse(stack([each.experiment for each in jobs]), state.params)
    np.testing.assert_allclose(found, PCA[name], atol=5.1e-6)
