"""96 emoji, 12 x 12, made from Noto Color Emoji; assets/NOTICE.txt says how and under which license."""

from importlib import resources

import numpy as np
from flax import struct

from aejax.datasets.dataset import Dataset, Split
from aejax.settings.fields import static_choice


@struct.dataclass
class Emoji:
    """Faces in color or gray; training, validation and test examples are the same 96 glyphs."""

    color: str = static_choice("rgb", "gray")

    def load(self):
        """The Dataset, rgb [96, 12, 12, 3] or gray [96, 12, 12, 1]."""
        with resources.files("aejax.datasets").joinpath("assets/emoji_12x12.npz").open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            pixels, names = stored[self.color].reshape(96, 12, 12, -1), stored["name"].tolist()
        split = Split(pixels, np.arange(len(names), dtype=np.int32))
        note = "training, validation and test examples are the same 96 glyphs, of which data.limit trains a part"
        license = "made from Noto Color Emoji, (c) Google: font OFL-1.1, images Apache-2.0"
        return Dataset("emoji", self.color, split, split, split, tuple(names), note, license)
