"""Any set of tensorflow-datasets with an image or an array feature, read without TensorFlow.

What is prepared is read from array_record, decoded once, and kept beside the prepared set.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
from pathlib import Path

import numpy as np
from flax import struct

from aejax.data import originals
from aejax.data.cache import alone, kept, own_folder
from aejax.data.dataset import Dataset, Split
from aejax.data.pixels import as_pixels
from aejax.data.storage import stored
from aejax.errors import InputError, near
from aejax.settings import flag, words

VERSION = re.compile(r"\d+\.\d+\.\d+")
DECODING = 1  # raise it where the same files are decoded to other arrays


@struct.dataclass
class Tfds:
    """A set by its name, as mnist, emnist/letters or cifar10:3.0.2; conf/data/tfds.yaml explains the settings."""

    name: str = words()
    split: str = words()
    test_split: str | None = words(optional=True)
    feature: str = words()
    label: str | None = words(optional=True)
    dir: str | None = words(optional=True)
    manual_dir: str | None = words(optional=True)
    download: bool = flag()

    def load(self):
        """The Dataset: images [N, H, W, 1 or 3] or vectors [N, features]."""
        root = root_of(self.dir)
        folder = prepared_folder(root, self.name)
        if folder is None:
            folder = self._prepared(root)
        key = self._key(folder)
        places = [folder / "aejax" / key, own_folder() / key]
        splits, told = kept(places, lambda: self._decoded(folder))
        return Dataset(
            self.name,
            told["kind"],
            label_names=tuple(told["label_names"]),
            licence=told["licence"],
            warnings=tuple(told.get("warnings", ())),
            **splits,
        )

    def _key(self, folder):
        """Of the prepared files and of what is asked of them."""
        digest = hashlib.sha256(repr((DECODING, self.split, self.test_split, self.feature, self.label)).encode())
        for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
            state = path.stat()
            digest.update(repr((path.name, state.st_size, state.st_mtime_ns)).encode())
        return digest.hexdigest()[:16]

    def _prepared(self, root):
        """The folder of the prepared set, prepared first where that was asked for."""
        tfds = _library()
        base = re.split("[/:]", self.name)[0]
        try:
            builder_class = tfds.builder_cls(base)
        except tfds.core.registered.DatasetNotFoundError:
            raise InputError(f"data.name={self.name}: no such set; {near(base, _similar(tfds, base))}") from None
        if self.manual_dir is None and not self.download:
            raise InputError(
                f"data.name={self.name}: is not prepared in {root}; must be there, or prepared by "
                "python -m aejax.data prepare with data.download=true, "
                "or with data.manual_dir=FOLDER of its original files"
            )
        if base not in originals.KNOWN and importlib.util.find_spec("tensorflow") is None:
            raise InputError(
                f"data.name={self.name}: preparing this set needs TensorFlow; must have pip install 'aejax[tensorflow]'"
            )
        files = None
        if base in originals.KNOWN:  # before anything is made
            files = originals.gathered(builder_class, base, root, self.manual_dir, self.download)
        root.mkdir(parents=True, exist_ok=True)
        with alone(root):
            if prepared_folder(root, self.name) is None:  # nobody else has prepared it meanwhile
                if files:
                    originals.prepare(tfds, builder_class, base, root, files)
                else:
                    self._prepare_with_tensorflow(tfds, root)
        return prepared_folder(root, self.name) or Path(tfds.builder(self.name, data_dir=str(root)).data_dir)

    def _prepare_with_tensorflow(self, tfds, root):
        builder = tfds.builder(self.name, data_dir=str(root), file_format="array_record")
        if self.manual_dir is None:
            for url in list(builder.url_infos or {})[:1]:
                originals.reach(url).close()  # tensorflow-datasets would try for minutes
        config = tfds.download.DownloadConfig(manual_dir=self.manual_dir, force_checksums_validation=True)
        downloads = root / "downloads" / "aejax" / builder.name  # of its own: several sets name their files alike
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare(download_dir=str(downloads), download_config=config)
        except tfds.download.NonMatchingChecksumError as error:
            raise InputError(f"data.name={self.name}: {error}; must be the registered files") from None

    def _decoded(self, folder):
        """The splits, and what goes with them, of the prepared set in `folder`."""
        form = json.loads((folder / "dataset_info.json").read_text()).get("fileFormat")
        if form != "array_record":  # others need TensorFlow, and parquet loses rows
            raise InputError(f"data.name={self.name}: is prepared in {folder} as {form}; must be array_record")
        tfds = _library()
        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        wanted = [self.feature] + ([] if self.label is None else [self.label])
        for key, name in zip(("feature", "label"), wanted, strict=False):
            if name not in features:
                raise InputError(f"data.{key}={name}: no such feature of {self.name}; {near(name, features)}")
        names = getattr(features[self.label], "names", None) if self.label else None
        read, splits = {}, {}
        for key, name, which in (("train", self.split, "split"), ("test", self.test_split, "test_split")):
            if name is not None:
                base = name.split("[")[0]
                if base not in builder.info.splits:
                    known = near(base, builder.info.splits)
                    raise InputError(f"data.{which}={name}: no such split of {self.name}; {known}")
                read[key] = self._read(tfds, builder, name)
        kinds = set()
        for key, (values, labels) in read.items():
            if isinstance(features[self.feature], tfds.features.Image):
                x, kind = as_pixels(values, f"data.name={self.name}")
            else:
                x, kind = stored(np.stack(values).reshape(len(values), -1)), None
            if x is None:
                kind = type(features[self.feature]).__name__
                raise InputError(f"data.feature={self.feature}: is of kind {kind}; must be an image or numbers")
            kinds.add(kind)
            splits[key] = Split(x, labels)
        made = Dataset(self.name, kinds.pop(), label_names=tuple(names or ()), **splits)
        licence = str(builder.info.redistribution_info.license or builder.info.homepage or "")
        return made.splits, {"kind": made.kind, "label_names": made.label_names, "licence": licence}

    def _read(self, tfds, builder, split):
        image = isinstance(builder.info.features[self.feature], tfds.features.Image)
        decoders = {self.feature: tfds.decode.SkipDecoding()} if image else None  # Pillow is quicker
        source = builder.as_data_source(split=split, decoders=decoders)
        records = source.__getitems__(range(len(source)))
        if len(records) != len(source) or not records:
            found = f"{len(records)} of {len(source)} examples"
            raise InputError(f"data.name={self.name}: {split} has {found}; must be whole")
        labels = None if self.label is None else np.array([record[self.label] for record in records], np.int32)
        return [record[self.feature] for record in records], labels


def root_of(folder):
    """Where sets are prepared: the folder that is given, TFDS_DATA_DIR, or the one that tensorflow-datasets takes."""
    return Path(folder or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared_folder(root, name):
    """The newest prepared version of a set, None where there is none."""
    name, _, version = name.partition(":")
    found = [
        folder
        for folder in (root / name).glob(version or "*")
        if VERSION.fullmatch(folder.name) and (folder / "dataset_info.json").is_file()
    ]
    return max(found, key=lambda folder: [int(part) for part in folder.name.split(".")], default=None)


def _library():
    """tensorflow-datasets, which takes a third of a second to import, made silent."""
    import absl.logging
    import tensorflow_datasets as tfds

    absl.logging.set_verbosity(absl.logging.ERROR)
    tfds.disable_progress_bar()
    return tfds


def _similar(tfds, name):
    """The names of registered sets that share a beginning with `name`; all of them would fill a screen."""
    return [known for known in tfds.list_builders(with_community_datasets=False) if known[:3] == name[:3]]
