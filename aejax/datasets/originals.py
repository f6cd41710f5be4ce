"""Original files of standard sets -> prepared TFDS sets, without TensorFlow: the MNIST family and CIFAR-10."""

import contextlib
import gzip
import hashlib
import io
import math
import os
import struct
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np

from aejax.base.errors import InputError
from aejax.compat import tfds_compat

TIMEOUT = 10  # seconds that a download host may stay silent
IDX = ("mnist", "fashion_mnist", "kmnist")
CIFAR = ("cifar10",)
KNOWN = IDX + CIFAR


def gathered(builder_class, name, root, manual_dir, download):
    """The original files {name: path}, each with the registered checksum, the user's or downloaded ones.

    The user's are looked for in `manual_dir`/NAME and in `manual_dir`; downloads go to a folder per set, because
    several sets name their files alike. Raises InputError if a file is missing, different, or out of reach.
    """
    infos = {Path(info.filename).name: (url, info) for url, info in tfds_compat.registered_files(builder_class).items()}
    if manual_dir is not None:
        folder = Path(manual_dir) / name
        folder = folder if folder.is_dir() else Path(manual_dir)
        missing = [file for file in infos if not (folder / file).is_file()]
        if missing:
            raise InputError(f"data.manual_dir={manual_dir}: lacks {', '.join(missing)}, original files of {name}")
        for file, (_, info) in infos.items():
            _checked(folder / file, info)
        return {file: folder / file for file in infos}
    assert download
    folder = root / "downloads" / "aejax" / name
    for file, (url, info) in infos.items():
        if not (folder / file).is_file():
            _download(url, folder / file, info)
    return {file: folder / file for file in infos}


def _checked(path, info):
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != info.checksum:
        raise InputError(
            f"{path}: is not the file that tensorflow-datasets registers; its sha256 must be {info.checksum}"
        )


def reach(url):
    """Opens a url; raises InputError if nothing answers within TIMEOUT seconds."""
    try:
        return urllib.request.urlopen(url, timeout=TIMEOUT)
    except (OSError, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        raise InputError(
            f"data.download=true: {url} cannot be reached ({reason}); check the network, "
            "or give data.manual_dir a folder with the files"
        ) from None


def _download(url, path, info):
    """Downloads a file with the registered checksum to `path`; leaves nothing behind if that fails."""
    missing = [folder for folder in path.parents if not folder.exists()]
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with reach(url) as source:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as file:
                while octets := source.read(1 << 20):
                    file.write(octets)
        _checked(part, info)
        os.replace(part, path)
    except (InputError, OSError) as error:
        part.unlink(missing_ok=True)
        for folder in missing:
            with contextlib.suppress(OSError):  # not empty, or not made
                folder.rmdir()
        if isinstance(error, TimeoutError):
            raise InputError(f"data.download=true: {url} sent nothing for {TIMEOUT} s") from None
        raise


def prepare(builder_class, name, root, files):
    """Writes the prepared set, as array_record, where tensorflow-datasets would."""
    with tfds_compat.unregistered():

        class Prepared(builder_class):
            """The registered set, with its files read without TensorFlow."""

            def _split_generators(self, manager):
                if name in IDX:
                    return {"train": _idx_examples(files, "train"), "test": _idx_examples(files, "t10k")}
                archive = next(iter(files.values()))
                self.info.features["label"].names = _cifar_names(archive)
                return {split: _cifar_examples(archive, split) for split in ("train", "test")}

            def _generate_examples(self):
                raise NotImplementedError

    Prepared.name = name
    builder = Prepared(data_dir=str(root), file_format="array_record")
    with contextlib.redirect_stdout(io.StringIO()):  # tensorflow-datasets prints its progress
        builder.download_and_prepare()


def _idx_examples(files, start):
    images, labels = (_idx(files[f"{start}-{kind}-ubyte.gz"]) for kind in ("images-idx3", "labels-idx1"))
    for index, (image_HxW, label) in enumerate(zip(images, labels, strict=True)):
        yield index, {"image": png(image_HxW[..., None]), "label": int(label)}


def _idx(path):
    """The items of an IDX file, one after another: two zeros, type 8, number of axes, their sizes, the bytes."""
    with gzip.open(path) as file:
        axes = file.read(4)[3]
        count, *shape = struct.unpack(f">{axes}I", file.read(4 * axes))
        for _ in range(count):
            yield np.frombuffer(file.read(math.prod(shape)), np.uint8).reshape(shape)


def _cifar_names(archive):
    with tarfile.open(archive) as tar:
        return tar.extractfile("cifar-10-batches-bin/batches.meta.txt").read().decode().split()


def _cifar_examples(archive, split):
    """Records of a label and 3 x 32 x 32 bytes, of the binary version."""
    batches = [f"data_batch_{number}" for number in range(1, 6)] if split == "train" else ["test_batch"]
    with tarfile.open(archive) as tar:
        octets = [tar.extractfile(f"cifar-10-batches-bin/{batch}.bin").read() for batch in batches]
    records_NxR = np.frombuffer(b"".join(octets), np.uint8).reshape(-1, 3073)
    for index, record_R in enumerate(records_NxR):
        image = record_R[1:].reshape(3, 32, 32).transpose(1, 2, 0)
        yield index, {"id": f"{split}_{index:05d}", "image": png(image), "label": int(record_R[0])}


def png(image_HxWxC):
    """An image of one or three channels as PNG, not compressed: array_record does that."""
    # Pillow takes 46 us for an MNIST image instead of 6, and preparing MNIST 7.4 s of a core instead of 3.9.
    height, width, channels = image_HxWxC.shape
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # the first byte of a line says that it is not filtered
    lines[:, 1:] = image_HxWxC.reshape(height, -1)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines.tobytes(), 0)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
