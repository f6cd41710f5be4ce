"""Sets of tensorflow-datasets without TensorFlow: small ones in the original formats, and the real ones where they are.

AEJAX_ORIGINALS may name a folder that holds the original files of MNIST and Fashion-MNIST in mnist/ and fashion_mnist/.
"""

import errno
import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import job, stack, trained
from PIL import Image

from aejax import model
from aejax.data import cache, originals
from aejax.data.tfds import Tfds
from aejax.errors import InputError

RNG = np.random.default_rng(0)
COUNTS = {"train": 60, "t10k": 20}
ORIGINALS = os.environ.get("AEJAX_ORIGINALS")


def idx(array):
    return gzip.compress(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def infos(folder, base):
    """What tensorflow-datasets registers of files, made of the files of a folder."""
    return {
        f"{base}/{path.name}": SimpleNamespace(
            filename=path.name, checksum=hashlib.sha256(path.read_bytes()).hexdigest(), size=path.stat().st_size
        )
        for path in sorted(folder.iterdir())
    }


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder mnist/ of files like MNIST's, and the images and labels by split."""
    folder, arrays = tmp_path_factory.mktemp("originals") / "mnist", {}
    folder.mkdir()
    for split, count in COUNTS.items():
        x, y = RNG.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(idx(x))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(idx(y))
        arrays[split] = x, y
    return folder, arrays


@pytest.fixture
def mnist(digits, monkeypatch):
    """tensorflow-datasets takes these files for MNIST's."""
    monkeypatch.setattr(tfds.builder_cls("mnist"), "url_infos", infos(digits[0], "http://localhost:1"))
    return digits


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def load(root, name="mnist", **changed):
    settings = {"split": "train", "test_split": "test", "feature": "image", "label": "label", "manual_dir": None}
    return Tfds(name=name, dir=str(root), **settings | {"download": False} | changed).load()


def pairs(x, y):
    return sorted((image.tobytes(), int(label)) for image, label in zip(x, y, strict=True))


def test_original_files_are_prepared_and_read_whole_whatever_their_order(mnist, tmp_path):
    folder, arrays = mnist
    dataset = load(tmp_path, manual_dir=str(folder.parent))
    assert (dataset.kind, dataset.train.x.shape[1:]) == ("grey", (28, 28, 1))
    assert dataset.label_names == tuple("0123456789")
    # Prepared sets are in the order of a hash, so that nothing may rely on that of the files.
    for split, name in ((dataset.train, "train"), (dataset.test, "t10k")):
        assert pairs(split.x, split.y) == pairs(*arrays[name])
        assert not np.array_equal(split.x[..., 0], arrays[name][0])
    prepared = tmp_path / "mnist" / "3.0.1"
    assert list(prepared.glob("*.array_record*")) and not list(prepared.glob("*.tfrecord*"))
    plain = tfds.data_source("mnist", data_dir=str(tmp_path), split="test", download=False)  # as others read it
    assert pairs(*zip(*((each["image"], each["label"]) for each in plain), strict=True)) == pairs(*arrays["t10k"])
    assert "tensorflow" not in sys.modules


def test_a_second_start_maps_the_decoded_arrays_and_imports_nothing(mnist, tmp_path):
    first = load(tmp_path, manual_dir=str(mnist[0].parent))
    script = (
        "import sys, time; from aejax.data.tfds import Tfds\n"
        f"dataset = Tfds('mnist', 'train', 'test', 'image', 'label', {str(tmp_path)!r}, None, False).load()\n"
        "assert not {'tensorflow_datasets', 'tensorflow'} & set(sys.modules)\n"
        "print(type(dataset.train.x).__name__, dataset.train.x.dtype, dataset.train.contents, dataset.test.contents)"
    )
    started = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = {each.communicate(timeout=120)[0] for each in started}
    assert told == {f"memmap uint8 {first.train.contents} {first.test.contents}\n"}


def test_many_processes_prepare_and_cache_once(digits, tmp_path):
    script = (
        "import sys, tensorflow_datasets as tfds; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path; from test_tfds import infos, load\n"
        f"tfds.builder_cls('mnist').url_infos = infos(Path({str(digits[0])!r}), 'http://localhost:1')\n"
        f"print(load({str(tmp_path)!r}, manual_dir={str(digits[0])!r}).train.contents)"
    )
    words = [sys.executable, "-c", script]
    where = {"cwd": Path(__file__).parents[1], "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
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
    assert pairs(*load_split(load(tmp_path))) == pairs(*arrays["train"])
    half = load(tmp_path, split="train[:50%]", test_split=None)
    assert half.test is None and len(half.train.x) == 30
    record = next((tmp_path / "mnist" / "3.0.1").glob("*train*"))
    os.utime(record, (1, 1))
    load(tmp_path)
    assert len(list((tmp_path / "mnist" / "3.0.1" / "aejax").iterdir())) == 3


def load_split(dataset):
    return dataset.train.x, dataset.train.y


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


def refused(told, *arguments, **changed):
    with pytest.raises(InputError) as caught:
        load(*arguments, **changed)
    assert str(caught.value).startswith(told), caught.value


def test_original_files_that_are_others_are_refused(mnist, tmp_path):
    refused("data.manual_dir=/none: t10k-images-idx3-ubyte.gz, t10k-labels", tmp_path / "d", manual_dir="/none")
    other = tmp_path / "other"
    other.mkdir()
    for path in mnist[0].iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "train-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((60, 28, 28), np.uint8)))
    refused(f"{other}/train-images-idx3-ubyte.gz: is another file", tmp_path / "d", manual_dir=str(other))
    # The files of Fashion-MNIST have the same names; here a folder of them stands for MNIST's.
    refused(f"{other}/train-images-idx3-ubyte.gz: is another file", tmp_path / "d", manual_dir=str(other))
    assert not (tmp_path / "d").exists()


def test_a_set_that_is_not_prepared_says_how(tmp_path):
    refused(f"data.name=mnist: is not prepared in {tmp_path}; must be there, or prepared by", tmp_path)
    refused("data.name=mnits: no such set; ", tmp_path, name="mnits")
    refused("data.name=svhn_cropped: preparing this set needs TensorFlow", tmp_path, name="svhn_cropped", download=True)
    assert not list(tmp_path.iterdir())


def test_a_download_without_a_network_is_told_soon(mnist, tmp_path):
    started = time.perf_counter()
    refused("data.download=true: http://localhost:1/t10k", tmp_path, download=True)
    assert time.perf_counter() - started < 20
    assert not list(tmp_path.iterdir())


def test_a_host_that_falls_silent_is_told(mnist, tmp_path, monkeypatch):
    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "99")
            self.end_headers()
            self.wfile.flush()
            time.sleep(1)

        def log_message(self, *words):
            pass

    monkeypatch.setattr(originals, "TIMEOUT", 0.2)
    with served(Silent) as base:
        monkeypatch.setattr(tfds.builder_cls("mnist"), "url_infos", infos(mnist[0], base))
        refused(f"data.download=true: {base}/t10k-images-idx3-ubyte.gz fell silent", tmp_path, download=True)
    assert not list(tmp_path.iterdir())


def test_a_download_is_checked_and_goes_to_a_folder_of_its_own(mnist, tmp_path, monkeypatch):
    folder, arrays = mnist
    handler = functools.partial(Quiet, directory=str(folder))
    with served(handler) as base:
        right = infos(folder, base)
        wrong = right | {next(iter(right)): SimpleNamespace(filename="t10k-images-idx3-ubyte.gz", checksum="0", size=1)}
        monkeypatch.setattr(tfds.builder_cls("mnist"), "url_infos", wrong)
        refused(f"{tmp_path}/downloads/aejax/mnist/.{os.getpid()}.t10k-images", tmp_path, download=True)
        assert not list(tmp_path.iterdir())
        monkeypatch.setattr(tfds.builder_cls("mnist"), "url_infos", right)
        assert pairs(*load_split(load(tmp_path, download=True))) == pairs(*arrays["train"])
    assert len(list((tmp_path / "downloads" / "aejax" / "mnist").iterdir())) == 4


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


class served:
    """A server on this machine, and its address."""

    def __init__(self, handler):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_a_set_prepared_in_another_format_is_refused(mnist, tmp_path):
    load(tmp_path, manual_dir=str(mnist[0]))
    info = tmp_path / "mnist" / "3.0.1" / "dataset_info.json"
    for form in ("parquet", "tfrecord"):  # one loses rows, the other needs TensorFlow
        info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": form}))
        refused(f"data.name=mnist: is prepared in {info.parent} as {form}; must be array_record", tmp_path)


def test_features_and_splits_that_are_not_there_are_told(mnist, tmp_path):
    load(tmp_path, manual_dir=str(mnist[0]))
    refused("data.feature=imag: no such feature of mnist; did you mean image?", tmp_path, feature="imag")
    refused("data.label=lable: no such feature of mnist; did you mean label?", tmp_path, label="lable")
    refused("data.split=trane: no such split of mnist; did you mean train?", tmp_path, split="trane")
    refused("data.test_split=valid: no such split of mnist; known: test, train", tmp_path, test_split="valid")


class Vectors(tfds.core.GeneratorBasedBuilder):
    """A set with an array feature and without labels."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        wave = tfds.features.Tensor(shape=(3, 4), dtype=np.float32)
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"wave": wave}))

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(30):
            yield index, {"wave": np.full((3, 4), index, np.float32)}


def test_an_array_feature_becomes_vectors(tmp_path, capfd):
    Vectors(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    dataset = load(tmp_path, name="vectors", feature="wave", label=None, test_split=None)
    assert (dataset.kind, dataset.train.x.shape, dataset.train.y) == ("real", (30, 12), None)
    assert sorted(dataset.train.x[:, 5]) == list(range(30))


def test_cifar_is_prepared_from_its_binary_archive(tmp_path, monkeypatch):
    folder, arrays = tmp_path / "cifar10", {}
    folder.mkdir()
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
        names = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
        for name in names:
            records = RNG.integers(0, 256, (4, 3073), np.uint8)
            records[:, 0] %= 10
            arrays[name] = records
            add(tar, f"{name}.bin", records.tobytes())
        add(tar, "batches.meta.txt", "\n".join([f"thing{label}" for label in range(10)] + [""]).encode())
    monkeypatch.setattr(tfds.builder_cls("cifar10"), "url_infos", infos(folder, "http://localhost:1"))
    dataset = load(tmp_path / "sets", name="cifar10", manual_dir=str(tmp_path))
    assert (dataset.kind, dataset.train.x.shape) == ("rgb", (20, 32, 32, 3))
    assert dataset.label_names == tuple(f"thing{label}" for label in range(10))
    planes = [(dataset.train, names[:5]), (dataset.test, names[5:])]
    for split, batches in planes:
        records = np.concatenate([arrays[name] for name in batches])
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        assert pairs(split.x, split.y) == pairs(images, records[:, 0])


def add(tar, name, content):
    info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("shape", [(5, 7, 1), (5, 7, 3)])
def test_png_is_what_pillow_reads(shape):
    pixels = RNG.integers(0, 256, shape, np.uint8)
    read = np.asarray(Image.open(io.BytesIO(originals.png(pixels))))
    np.testing.assert_array_equal(read.reshape(shape), pixels)


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
        return ((model.reconstruct(experiment, params, test_NxP) - test_NxP) ** 2).mean()

    found = mse(stack([each.experiment for each in jobs]), state.params)
    np.testing.assert_allclose(found, PCA[name], atol=5.1e-6)
