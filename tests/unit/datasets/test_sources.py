"""People's own data: arrays and images; and the small sets that come along."""

import os
import pickle

import numpy as np
import pytest
from conftest import job, refused, run
from PIL import Image
from sklearn.datasets import load_digits

from aejax.datasets.sources.images import Images
from aejax.datasets.sources.sensors import FAULTS

pytestmark = pytest.mark.usefixtures("here")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 9, 7), np.uint8)
LABELS = np.arange(30) % 3


# Arrays


def test_arrays_of_an_npz_with_a_test_set(here):
    np.savez("x.npz", x_train=PIXELS, y_train=LABELS + 5, x_test=PIXELS[:4] ^ 1, y_test=LABELS[:4] + 5)
    dataset = job("data=arrays", "data.path=x.npz").dataset
    assert (dataset.name, dataset.kind, dataset.form.shape) == ("x.npz", "gray", (9, 7, 1))
    assert dataset.label_names == ("5", "6", "7")
    np.testing.assert_array_equal(dataset.test.x[..., 0], PIXELS[:4] ^ 1)
    np.testing.assert_array_equal(dataset.test.y, LABELS[:4])
    assert [len(split.x) for split in dataset.splits.values()] == [27, 3, 4]


def test_an_npy_with_labels_stays_on_disk(here):
    np.save("x.npy", RNG.normal(size=(40, 5)).astype(np.float32))
    np.save("y.npy", np.array(["b", "a"] * 20))
    np.save("t.npy", RNG.normal(size=(6, 5)))
    np.save("ty.npy", np.array(["a"] * 6))
    words = ["data.path=x.npy", "data.labels=y.npy", "data.test_path=t.npy", "data.test_labels=ty.npy"]
    dataset = job("data=arrays", *words, "data.validation=0").dataset
    assert isinstance(dataset.train.x, np.memmap)
    assert (dataset.kind, dataset.label_names) == ("real", ("a", "b"))
    assert dataset.train.y.tolist() == [1, 0] * 20
    assert dataset.test.x.dtype == np.float32


@pytest.mark.parametrize(
    ("stored", "kind", "found"),
    [
        (PIXELS > 99, "auto", ("binary", (9, 7, 1))),
        (PIXELS // 128, "auto", ("binary", (9, 7, 1))),
        (PIXELS[..., None].repeat(3, axis=3), "auto", ("rgb", (9, 7, 3))),
        (PIXELS / 255, "gray", ("gray", (9, 7, 1))),
        (PIXELS.astype(int), "gray", ("gray", (9, 7, 1))),
        (PIXELS.reshape(30, 63), "auto", ("gray", (63,))),
        (PIXELS.reshape(30, 3, 3, 7), "auto", ("gray", (63,))),
        (PIXELS.astype(int), "auto", ("real", (9, 7, 1))),
    ],
)
def test_the_kind_of_arrays(here, stored, kind, found):
    np.save("x.npy", stored)
    dataset = job("data=arrays", "data.path=x.npy", f"data.kind={kind}", "data.validation=0").dataset
    assert (dataset.kind, dataset.form.shape) == found
    if found[0] == "gray":
        assert dataset.train.x.dtype == np.uint8
        assert set(map(bytes, dataset.train.x)) <= set(map(bytes, PIXELS))


def test_wrong_arrays_are_refused(here):
    told = "data.path=x.npz: "

    def saved(**arrays):
        np.savez("x.npz", **arrays)
        return ["data=arrays", "data.path=x.npz"]

    refused("data.path=x.npz: is not a file", "data=arrays", "data.path=x.npz")
    real = RNG.normal(size=(30, 4))
    real[3, 2] = np.nan
    refused("data x.npz: train with nan or inf", *saved(x=real))
    refused("data x.npz: train with nan or inf", *saved(x=np.full((4, 2), np.inf)))
    refused(told + "holds Python objects", *saved(x=np.array([[1, "a"]] * 5, dtype=object)))
    refused(told + "[29] labels of [30] train examples", *saved(x=PIXELS, y=LABELS[:29]))
    refused(told + "labels of float64", *saved(x=PIXELS, y=LABELS * 0.5))
    refused("data x.npz: one example only", *saved(x=PIXELS[:1]))
    refused("data x.npz: training examples that are all the same", *saved(x=PIXELS * 0))
    refused("data x.npz: test of shape [5, 7, 9, 1]", *saved(x=PIXELS, x_test=PIXELS[:5].transpose(0, 2, 1)))
    refused(told + "holds a, b; must hold x", *saved(a=PIXELS, b=PIXELS))
    refused(told + "train examples of <U1", *saved(x=np.array([["a"]] * 9)))
    refused(told + "train examples of shape [9]", *saved(x=np.arange(9)))
    refused("data x.npz: train of float64; must be numbers that fit", *saved(x=PIXELS / 9), "data.kind=gray")
    refused("data x.npz: labels without label_names", *saved(x=PIXELS, y=LABELS, x_test=PIXELS))
    path = here / "x.npz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(told, "data=arrays", "data.path=x.npz")
    path.write_bytes(pickle.dumps(PIXELS))
    refused(told + "holds Python objects", "data=arrays", "data.path=x.npz")
    np.save("x.npy", PIXELS)
    (here / "x.npy").write_bytes((here / "x.npy").read_bytes()[:-9])
    refused("data.path=x.npy: cannot be read", "data=arrays", "data.path=x.npy")


# Images


def save_images(folder, images, labels=None, mode=None):
    for index, image in enumerate(images):
        path = folder / ("" if labels is None else f"class{labels[index]}") / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Image.fromarray(image)
        (made.convert(mode) if mode else made).save(path)


def test_a_folder_of_classes(here):
    save_images(here / "pictures", PIXELS, LABELS)
    dataset = job("data=images", "data.path=pictures", "data.validation=0", "data.test=3").dataset
    assert (dataset.name, dataset.kind, dataset.form.shape) == ("pictures", "gray", (9, 7, 1))
    assert dataset.label_names == ("class0", "class1", "class2")
    places = {image.tobytes(): index for index, image in enumerate(PIXELS)}
    for split in dataset.splits.values():
        assert split.y.tolist() == [LABELS[places[image.tobytes()]] for image in split.x]
    again = job("data=images", "data.path=pictures", "data.validation=0", "data.test=3").dataset
    assert again.fingerprint == dataset.fingerprint


def test_a_folder_that_changes_is_read_again(here):
    save_images(here / "pictures", PIXELS)
    first = job("data=images", "data.path=pictures").dataset
    Image.fromarray(255 - PIXELS[0]).save("pictures/000.png")
    os.utime("pictures/000.png", (1, 1))
    assert job("data=images", "data.path=pictures").dataset.fingerprint != first.fingerprint


def test_sizes_and_colors(here):
    colors = RNG.integers(0, 256, (6, 20, 10, 3), np.uint8)
    colors[:, :, :, 0] = np.repeat(np.arange(20, dtype=np.uint8)[:, None], 10, axis=1) * 12
    save_images(here / "mixed", colors)
    save_images(here / "mixed" / "more", [PIXELS[0]], mode="P")
    (here / "mixed" / "more" / "000.png").rename(here / "mixed" / "z.png")
    words = ["data=images", "data.path=mixed", "data.validation=0", "data.test=1", "data.split_seed=3"]
    refused("data.path=mixed: images of 2 sizes (6 of 20 x 10, 1 of 9 x 7)", *words)
    dataset = job(*words, "data.size=[10,10]").dataset
    assert (dataset.kind, dataset.form.shape) == ("rgb", (10, 10, 3))
    cropped = job(*words, "data.size=[10,10]").dataset.train.x
    np.testing.assert_array_equal(cropped[0], colors[0, 5:15])  # the middle, at full size
    stretched = job(*words, "data.size=[10,10]", "data.resize=stretch").dataset.train.x
    assert stretched[0, 0, 0, 0] < 30 and stretched[0, -1, 0, 0] > 200  # all of the ramp
    assert job(*words, "data.size=[10,10]", "data.color=gray").dataset.form.shape == (10, 10, 1)


def test_pixels_that_pillow_would_change(here):
    deep = (PIXELS[0].astype(np.uint16) << 8) | 7
    Image.fromarray(deep).save("deep.png")
    clear = np.dstack([PIXELS[0]] * 3 + [np.where(PIXELS[1] > 127, 255, 0).astype(np.uint8)])
    Image.fromarray(clear).save("clear.png")
    (here / "a").mkdir()
    os.rename("deep.png", "a/deep.png")
    Image.fromarray(PIXELS[2]).save("a/plain.png")
    Image.fromarray(PIXELS[3]).save("a/xother.png")
    gray = Images("a", None, "auto", None, "crop", False).load()
    np.testing.assert_array_equal(gray.train.x[0, ..., 0], PIXELS[0])
    os.rename("clear.png", "a/clear.png")
    rgb = Images("a", None, "auto", None, "crop", False).load()
    np.testing.assert_array_equal(rgb.train.x[0, ..., 1], np.where(PIXELS[1] > 127, PIXELS[0], 0))


def test_a_code_is_traced_to_its_picture(here):
    save_images(here / "p", PIXELS, LABELS)
    (here / "p" / "class0" / "broken.png").write_bytes(b"no image")
    words = ["data=images", "data.path=p", "data.skip_broken=true", "data.test=0.3", "batch_size=null", "steps=1"]
    finished = run(here / "run", *words, "net.widths=[3]", "evaluate.groups=[reconstruction]")
    codes, test = finished.codes, job(*words).dataset.test
    everything = Images("p", None, "auto", None, "crop", True).load().train
    assert len(codes["z"]) == len(test.x) == 9
    np.testing.assert_array_equal(everything.x[codes["index"]], test.x)
    np.testing.assert_array_equal(everything.names[codes["index"]], codes["name"])
    for name, label, pixels in zip(codes["name"], codes["y"], test.x, strict=True):
        with Image.open(here / "p" / str(name)) as picture:
            np.testing.assert_array_equal(np.asarray(picture), pixels[..., 0])
        assert name.split("/")[0] == f"class{label}"


def test_broken_images_are_listed(here):
    save_images(here / "p", PIXELS)
    whole = (here / "p" / "004.png").read_bytes()
    (here / "p" / "004.png").write_bytes(whole[:60])  # truncated
    (here / "p" / "009.png").write_bytes(b"no image")
    refused("data.path=p: 2 of 30 images cannot be read (004.png, 009.png)", "data=images", "data.path=p")
    dataset = job("data=images", "data.path=p", "data.skip_broken=true").dataset
    assert sum(len(split.x) for split in dataset.splits.values()) == 28
    assert dataset.warnings == ("2 of 30 images cannot be read and are left out",)
    again = job("data=images", "data.path=p", "data.skip_broken=true").dataset
    assert again.warnings == dataset.warnings


def test_wrong_folders_are_refused(here):
    refused("data.path=none: is not a folder", "data=images", "data.path=none")
    (here / "empty").mkdir()
    (here / "empty" / "notes.txt").write_text("no image")
    refused("data.path=empty: holds no file of .bmp", "data=images", "data.path=empty")
    save_images(here / "half", PIXELS[:3])
    save_images(here / "half" / "a", PIXELS[3:6])
    refused("data.path=half: 000.png is in no class folder", "data=images", "data.path=half")
    save_images(here / "ok", PIXELS, LABELS)
    save_images(here / "other", PIXELS)
    refused("data.test_path=other: must have the class", "data=images", "data.path=ok", "data.test_path=other")
    refused("data.size=[9]: must be [height,width]", "data=images", "data.path=ok", "data.size=[9]")
    refused("data.path=broken: 1 of 1 images", "data=images", f"data.path={_broken(here)}")


def _broken(here):
    (here / "broken").mkdir()
    (here / "broken" / "a.png").write_bytes(b"")
    return "broken"


# What comes along


def test_digits_are_scikit_learns():
    dataset = job("data=digits").dataset
    assert (dataset.kind, dataset.form.shape) == ("gray", (8, 8, 1))
    assert sum(len(split.x) for split in dataset.splits.values()) == 1797
    found = load_digits()
    places = {
        np.round(image * 255 / 16).astype(np.uint8).tobytes(): y
        for image, y in zip(found.images, found.target, strict=True)
    }
    for split in dataset.splits.values():
        assert [places[image.tobytes()] for image in split.x] == split.y.tolist()
    assert dataset.warnings == ()


def test_sensors_have_normal_training_windows_and_faults_to_find():
    dataset = job("data=sensors", "data.examples=400", "data.test_examples=500").dataset
    assert dataset.form.shape == (192,)
    assert dataset.label_names == FAULTS
    assert set(dataset.train.y) == {0}
    assert np.bincount(dataset.test.y).tolist() == [250, 50, 50, 50, 50, 50]
    mixed = job("data=sensors", "data.examples=400", "data.contamination=0.1", "data.validation=0").dataset
    assert (mixed.train.y > 0).sum() == 40
    # What each fault changes, in the units of the documentation.
    windows = {name: dataset.test.x[dataset.test.y == label].reshape(-1, 6, 32) for label, name in enumerate(FAULTS)}
    strength = {name: x[:, 0].std(axis=1).mean() for name, x in windows.items()}
    assert strength["imbalance"] > 2.3 * strength["normal"]
    rise = {name: (x[:, 4, -8:].mean(axis=1) - x[:, 4, :8].mean(axis=1)).mean() for name, x in windows.items()}
    assert rise["drift"] > 0.4 > 0.1 > abs(rise["normal"])
    still = {name: (np.diff(x, axis=2)[:, :, -8:] == 0).all(axis=2).any(axis=1).mean() for name, x in windows.items()}
    assert still["dropout"] == 1 and still["normal"] == 0
    jump = {name: np.abs(np.diff(x, axis=2)).max(axis=(1, 2)).mean() for name, x in windows.items()}
    assert jump["spike"] > 1.2 > 0.9 > jump["normal"]
    knocks = {name: np.abs(np.diff(x[:, 2], axis=1)).max(axis=1).mean() for name, x in windows.items()}
    assert knocks["bearing"] > 1.5 * knocks["normal"]
    assert job("data=sensors", "data.examples=400", "data.test_examples=500").dataset.fingerprint == dataset.fingerprint


@pytest.mark.slow
def test_one_class_in_training_leaves_no_choice_to_neighbors(here):
    words = ["data=sensors", "data.examples=100", "data.test_examples=60", "steps=2", "log_points=1", "net.widths=[4]"]
    metrics = run(here / "run", *words).metrics
    assert metrics["separation/knn_accuracy"] is None
    assert metrics["separation/silhouette"] is not None
