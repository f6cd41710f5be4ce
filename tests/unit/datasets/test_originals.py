"""Original files are checked, fetched and prepared as tensorflow-datasets would."""

import functools
import http.server
import io
import os
import sys
import tarfile
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sets import RNG, idx, infos, load, pairs, refused, train_of

from aejax.datasets import originals

pytestmark = pytest.mark.usefixtures("here")


def test_original_files_are_prepared_and_read_whole_whatever_their_order(mnist, tmp_path):
    folder, arrays = mnist
    dataset = load(tmp_path, manual_dir=str(folder.parent))
    assert (dataset.kind, dataset.train.x.shape[1:]) == ("gray", (28, 28, 1))
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


def test_original_files_that_are_others_are_refused(mnist, tmp_path):
    refused("data.manual_dir=/none: lacks t10k-images-idx3-ubyte.gz, t10k-labels", tmp_path / "d", manual_dir="/none")
    other = tmp_path / "other"
    other.mkdir()
    for path in mnist[0].iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "train-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((60, 28, 28), np.uint8)))
    refused(f"{other}/train-images-idx3-ubyte.gz: is not the file", tmp_path / "d", manual_dir=str(other))
    # The files of Fashion-MNIST have the same names; here a folder of them stands for MNIST's.
    refused(f"{other}/train-images-idx3-ubyte.gz: is not the file", tmp_path / "d", manual_dir=str(other))
    assert not (tmp_path / "d").exists()


def test_a_set_that_is_not_prepared_says_how(tmp_path):
    refused(f"data.name=mnist: is not prepared in {tmp_path}; add data.download=true", tmp_path)
    refused("data.name=mnits: no such set; ", tmp_path, name="mnits")
    refused(
        "data.name=svhn_cropped: preparing this set requires TensorFlow", tmp_path, name="svhn_cropped", download=True
    )
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
        refused(f"data.download=true: {base}/t10k-images-idx3-ubyte.gz sent nothing", tmp_path, download=True)
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
        assert pairs(*train_of(load(tmp_path, download=True))) == pairs(*arrays["train"])
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
