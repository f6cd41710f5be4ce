"""Any set of tensorflow-datasets with an image or an array feature, read without TensorFlow.

What is prepared is read from array_record, decoded once, and kept beside the prepared set.
"""

import contextlib
import hashlib
import importlib.util
import io
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
from flax import struct

from aejax.base.confinement import check_outside, check_trusted, is_below, is_confined
from aejax.base.devices import check_memory
from aejax.base.errors import InputError, near
from aejax.compat import tfds_compat
from aejax.datasets import originals
from aejax.datasets.cache import alone, kept, own_folder
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.pixels import decoded, kind_of_image
from aejax.datasets.storage import KINDS, stored
from aejax.settings.fields import static_bool, static_choice, static_list, static_str

CLASSES = "tensorflow_datasets.core.features."  # of features; tensorflow-datasets would import any module
NAME = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)?(:[\d*]+(\.[\d*]+)*)?")
VERSION = re.compile(r"\d+\.\d+\.\d+")
PART = 1000  # examples read at a time, so that memory holds the arrays once
DECODING = 1  # raise it when the same files are decoded to different arrays


@struct.dataclass
class Tfds:
    """A set by its name, as mnist, emnist/letters or cifar10:3.0.2; conf/data/tfds.yaml explains the settings."""

    name: str = static_str()
    split: str = static_str()
    test_split: str | None = static_str(optional=True)
    feature: str = static_str()
    label: str | None = static_str(optional=True)
    kind: str = static_choice("auto", *KINDS)
    dir: str | None = static_str(optional=True)
    manual_dir: str | None = static_str(optional=True)
    download: bool = static_bool()
    factors: tuple[str, ...] | None = static_list(optional=True)

    def load(self):
        """The Dataset: images [N, H, W, 1 or 3] or vectors [N, features]."""
        if not NAME.fullmatch(self.name):
            raise InputError(
                f"data.name={self.name}: must be a set's name, such as mnist, emnist/letters or cifar10:3.0.2"
            )
        root, default_root = root_of(self.dir), root_of(None)
        folder = prepared_folder(root, self.name)
        if folder is None:
            folder = self._prepared(root)
        check_outside(folder, "data.dir", default_root)
        key = self._key(folder)
        places = [folder / "aejax" / key, own_folder() / key]
        if is_confined() and not is_below(places[0], default_root):  # elsewhere nothing is written
            places = places[1:]
        splits, about = kept(places, lambda: self._decoded(folder))
        return Dataset(
            self.name,
            about["kind"],
            label_names=tuple(about["label_names"]),
            license=about["license"],
            factor_names=tuple(name.removeprefix("label_") for name in self.factors or ()),
            warnings=tuple(about.get("warnings", ())),
            **splits,
        )

    @property
    def _manual_dir(self):
        return None if self.manual_dir is None else Path(self.manual_dir).expanduser()

    def _key(self, folder):
        """16 hex digits that change when a prepared file or a setting changes."""
        settings = (self.split, self.test_split, self.feature, self.label) + (self.kind,) * (self.kind != "auto")
        settings += (self.factors,) * (self.factors is not None)
        digest = hashlib.sha256(repr((DECODING, *settings)).encode())
        for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
            state = path.stat()
            digest.update(repr((path.name, state.st_size, state.st_mtime_ns)).encode())
        return digest.hexdigest()[:16]

    def _prepared(self, root):
        """The folder of the prepared set, which is prepared first if the settings ask for it."""
        tfds = _library()
        base = re.split("[/:]", self.name)[0]
        try:
            builder_class = tfds.builder_cls(base)
        except tfds.core.DatasetNotFoundError:
            raise InputError(f"data.name={self.name}: no such set; {near(base, _similar(tfds, base))}") from None
        if self.manual_dir is None and not self.download:
            raise InputError(
                f"data.name={self.name}: is not prepared in {root}; add data.download=true, or data.manual_dir=FOLDER "
                "with its original files, once"
            )
        how = "data.download=true" if self.manual_dir is None else f"data.manual_dir={self.manual_dir}"
        check_trusted(f"{how}: prepares {self.name} in {root}")
        if base not in originals.KNOWN and importlib.util.find_spec("tensorflow") is None:
            raise InputError(
                f"data.name={self.name}: preparing this set requires TensorFlow: pip install 'aejax[tensorflow]'"
            )
        files = None
        if base in originals.KNOWN:  # before anything is made
            files = originals.gathered(builder_class, base, root, self._manual_dir, self.download)
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"data.dir={root}: cannot be created ({error.strerror}); choose another folder") from None
        with alone(root):
            if prepared_folder(root, self.name) is None:  # nobody else has prepared it meanwhile
                if files:
                    originals.prepare(builder_class, base, root, files)
                else:
                    self._prepare_with_tensorflow(tfds, root)
        return prepared_folder(root, self.name) or Path(tfds.builder(self.name, data_dir=str(root)).data_dir)

    def _prepare_with_tensorflow(self, tfds, root):
        builder = tfds.builder(self.name, data_dir=str(root), file_format="array_record")
        if self.manual_dir is None:
            for url in list(tfds_compat.registered_files(builder))[:1]:
                originals.reach(url).close()  # tensorflow-datasets would try for minutes
        config = tfds.download.DownloadConfig(manual_dir=self._manual_dir, force_checksums_validation=True)
        downloads = root / "downloads" / "aejax" / builder.name  # of its own: several sets name their files alike
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare(download_dir=str(downloads), download_config=config)
        except tfds.download.NonMatchingChecksumError as error:
            raise InputError(f"data.name={self.name}: not the registered files: {error}") from None

    def _decoded(self, folder):
        """The splits {name: Split} of the prepared set in `folder`, and a dict about them."""
        try:
            form = tfds_compat.file_format(folder)
        except ValueError:
            problem = f"{folder / 'dataset_info.json'} cannot be read; remove {folder} to prepare the data again"
            raise InputError(f"data.name={self.name}: {problem}") from None
        if form != "array_record":  # others need TensorFlow, and parquet loses rows
            raise InputError(
                f"data.name={self.name}: is prepared in {folder} as {form}, not array_record; choose another data.dir"
            )
        tfds = _library()
        check_features(folder)
        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        wanted = [("feature", self.feature)] + [("label", self.label)] * (self.label is not None)
        wanted += [("factors", str(name)) for name in self.factors or ()]
        for key, name in wanted:
            if name not in features:
                raise InputError(f"data.{key}={name}: no such feature of {self.name}; {near(name, features)}")
            if key == "factors" and not hasattr(features[name], "num_classes"):
                raise InputError(f"data.factors: {name} of {self.name} is no class label; list features that are")
        names = getattr(features[self.label], "names", None) if self.label else None
        skipped = None
        if isinstance(features[self.feature], tfds.features.Image):  # Pillow is quicker
            skipped = {self.feature: tfds.decode.SkipDecoding()}
            if self.kind == "real":
                problem = (
                    f"data.kind=real: must be auto, gray, rgb or binary, because {self.feature} is an encoded image; "
                )
                raise InputError(problem + "for other kinds use data.binarize or data.standardize")
        splits, kind = {}, None if self.kind == "auto" else self.kind
        for key, name, which in (("train", self.split, "split"), ("test", self.test_split, "test_split")):
            if name is None:
                continue
            if name.split("[")[0] not in builder.info.splits:
                known = near(name.split("[")[0], builder.info.splits)
                raise InputError(f"data.{which}={name}: no such split of {self.name}; {known}")
            source = self._source(builder, name, which, skipped)
            if skipped and kind is None:
                kind = kind_of_image(source[0][self.feature])
            image_kind = "gray" if kind == "binary" else kind  # of values 0 and 1, which the Dataset checks
            x, labels, factors = self._read(source, name, partial(decoded, kind=image_kind) if skipped else np.ravel)
            x = x if skipped else stored(x, kind)
            if x is None:
                feature_class = type(features[self.feature]).__name__
                allowed = "an image or numbers" + f" that fit data.kind={kind}" * (kind is not None)
                raise InputError(f"data.feature={self.feature}: is of kind {feature_class}; must be {allowed}")
            splits[key] = Split(x, labels, factors=factors)
        dataset = Dataset(
            self.name, kind, label_names=tuple(names or ()), factor_names=tuple(self.factors or ()), **splits
        )
        license = tfds_compat.license(builder.info)
        return dataset.splits, {"kind": dataset.kind, "label_names": dataset.label_names, "license": license}

    def _source(self, builder, name, which, decoders):
        """The examples of a split, or of a part of it such as train[:10%]."""
        try:
            if builder.info.splits[name].num_examples > 0:
                return builder.as_data_source(split=name, decoders=decoders)
            problem = "has no examples"
        except ValueError as error:  # tensorflow-datasets explains in the last line
            problem = str(error).splitlines()[-1].rstrip(".")
        raise InputError(f"data.{which}={name}: {problem}; must be a split or a part of one, such as train[:10%]")

    def _read(self, source, split, read):
        """The values [N, ...] of the feature, each as `read` returns it, labels [N] and factors [N, F], or None.

        A part is read at a time.
        """
        x, labels, factors = None, [], []
        for start in range(0, len(source), PART):
            for record in source.__getitems__(range(start, min(start + PART, len(source)))):
                value = read(record[self.feature])
                if x is None:
                    subject = f"data.name={self.name}: {len(source):,} examples of {list(value.shape)}"
                    check_memory(len(source) * value.nbytes, subject, "fewer, such as data.split=train[:10%]")
                    x = np.empty((len(source), *value.shape), value.dtype)
                if value.shape != x.shape[1:]:
                    sizes = " and ".join(" x ".join(map(str, shape[:2])) for shape in (x.shape[1:], value.shape))
                    raise InputError(f"data.name={self.name}: {split} has examples of {sizes}; all must have one size")
                x[len(labels)] = value
                labels.append(0 if self.label is None else record[self.label])
                factors.append([record[name] for name in self.factors or ()])
        if len(labels) != len(source):
            count = f"{len(labels)} of {len(source)} examples"
            raise InputError(f"data.name={self.name}: {split} has only {count}; prepare the data again")
        factors = None if self.factors is None else np.array(factors, np.int32)
        return x, None if self.label is None else np.array(labels, np.int32), factors


def root_of(folder):
    """The folder of prepared sets: `folder`, TFDS_DATA_DIR, or the default of tensorflow-datasets."""
    return Path(folder or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared_folder(root, name):
    """The folder of the newest prepared version of a set, None without one."""
    name, _, version = name.partition(":")
    folders = [
        folder
        for folder in (root / name).glob(version or "*")
        if VERSION.fullmatch(folder.name) and (folder / "dataset_info.json").is_file()
    ]
    return max(folders, key=lambda folder: [int(part) for part in folder.name.split(".")], default=None)


def check_features(folder):
    """Raises InputError if the features of a prepared set name a class from outside tensorflow-datasets."""
    path = folder / "features.json"
    try:
        classes = tfds_compat.feature_classes(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); prepare the data again") from None
    for name in classes:
        if not re.fullmatch(re.escape(CLASSES) + r"\w+\.\w+", name):
            raise InputError(f"{path}: names the class {name}; only classes of {CLASSES}* are run")


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
