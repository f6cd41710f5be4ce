"""A folder of images; class folders are labels."""

import dataclasses
import math
from collections import Counter

import numpy as np
from flax import struct

from aejax.base.devices import check_memory
from aejax.base.errors import InputError
from aejax.datasets.cache import kept, own_folder
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.folders import Folder, read_all, refuse_broken
from aejax.datasets.pixels import ENDINGS, GRAY, large_allowed, opened, pixels, resized
from aejax.settings.fields import static_bool, static_choice, static_ints, static_str

KEPT = 2  # raise it when what is kept about decoded images changes
MOST_PIXELS = 2**24  # of an example, 4096 x 4096; one layer of 64 units takes 4 GiB for them


@struct.dataclass
class Images:
    """Images of any size, gray or rgb; conf/data/images.yaml explains the settings."""

    path: str = static_str()
    test_path: str | None = static_str(optional=True)
    color: str = static_choice("auto", "gray", "rgb")
    size: tuple[int, ...] | None = static_ints(1, 2**14, optional=True)
    resize: str = static_choice("crop", "stretch")
    skip_broken: bool = static_bool()

    def load(self):
        """The Dataset, [N, height, width, 1 or 3]."""
        if self.size is not None and len(self.size) != 2:
            raise InputError(f"data.size={list(self.size)}: must be [height,width]")
        if self.size is not None and math.prod(self.size) > MOST_PIXELS:
            raise InputError(
                f"data.size={list(self.size)}: {math.prod(self.size):,} pixels; must be at most {MOST_PIXELS:,}"
            )
        folders = {"train": Folder.read(self.path, ENDINGS)}
        if self.test_path is not None:
            folders["test"] = Folder.read(self.test_path, ENDINGS, "data.test_path")
            if folders["test"].names != folders["train"].names:
                raise InputError(f"data.test_path={self.test_path}: must have the class folders of data.path")
        key = "-".join(
            folder.key(KEPT, self.color, self.size, self.resize, self.skip_broken) for folder in folders.values()
        )
        with large_allowed():
            splits, about = kept([own_folder() / key], lambda: self._read(folders))
        for name, folder in folders.items():
            splits[name] = dataclasses.replace(splits[name], names=folder.named(about["places"][name]))
        warnings = tuple(about["warnings"])
        return Dataset(
            folders["train"].path.name, about["kind"], label_names=folders["train"].names, warnings=warnings, **splits
        )

    def _read(self, folders):
        headers = {name: read_all(folder.files, _header)[0] for name, folder in folders.items()}
        modes = {header[0] for folder_headers in headers.values() for header in folder_headers if header}
        kind = self.color if self.color != "auto" else "gray" if modes <= set(GRAY) else "rgb"
        splits, warnings, places = {}, [], {}
        for name, folder in folders.items():
            key = "data.path" if name == "train" else "data.test_path"
            if self.size is None:
                sizes = Counter(header[1] for header in headers[name] if header)
                if len(sizes) > 1:
                    common = ", ".join(f"{count} of {h} x {w}" for (w, h), count in sizes.most_common(3))
                    raise InputError(
                        f"{key}={folder.path}: images of {len(sizes)} sizes ({common}); set data.size=[height,width]"
                    )
            self._check_size(f"{key}={folder.path}", headers[name], 1 if kind == "gray" else 3)
            images, broken = read_all(folder.files, lambda path: self._pixels(path, kind))
            if broken and not self.skip_broken:
                refuse_broken(folder, broken, "images", key)
            if broken:
                warnings.append(f"{len(broken)} of {len(folder.files)} images cannot be read and are left out")
            whole = [place for place, image in enumerate(images) if image is not None]
            if not whole:
                raise InputError(f"{key}={folder.path}: none of its images can be read")
            places[name] = whole
            labels = None if folder.labels is None else folder.labels[whole]
            splits[name] = Split(np.stack([images[place] for place in whole]), labels)
        return splits, {"kind": kind, "warnings": warnings, "places": places}

    def _check_size(self, setting, headers, channels):
        """Raises InputError if one example, or all of them together, will be too large."""
        sizes = [header[1] for header in headers if header]
        pixels = math.prod(self.size or max(sizes, default=(0, 0)))
        if pixels > MOST_PIXELS:
            raise InputError(f"{setting}: images of {pixels:,} pixels; set data.size, {MOST_PIXELS:,} at most")
        check_memory(
            len(sizes) * pixels * channels,
            f"{setting}: {len(sizes):,} images of {pixels:,} pixels in {channels} channels",
            "fewer, or have a smaller data.size",
        )

    def _pixels(self, path, kind):
        with opened(path, path) as image:
            image = image if self.size is None else resized(image, self.size, self.resize)
            return pixels(image, kind)


def _header(path):
    with opened(path, path) as image:
        return image.mode, image.size
