"""Which examples train, validate and test: the same for every source, run and seed.

An example's place is decided by a hash of its index in the source and `split_seed`: those with the smallest hashes of
each class test (where the source has no test set of its own), the next validate, the next train. So validation does
not depend on `limit`, nor the test on `limit` or `validation`. `test_limit` keeps those with the smallest hashes of
each class.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import numpy as np
from flax import struct

from aejax.base.devices import check_memory, memory
from aejax.base.errors import InputError, near
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.standardization import Standardization, scale_warning
from aejax.datasets.storage import in_parts
from aejax.settings.fields import static_bool, static_choice, static_float, static_int, static_list

WHITE = 128  # uint8 values from here on are 1 with binarize=threshold
DRAWN = 1024  # examples that are binarized from one stream of draws


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The examples at `rows` of a source's split; `stream` numbers that split for the draws that binarize it."""

    whole: Split
    rows: np.ndarray
    stream: int

    @property
    def x(self) -> np.ndarray:
        """The examples as stored, without a copy if they are the whole split."""
        return self.whole.x if len(self.rows) == len(self.whole.x) else self.whole.x[self.rows]

    def of(self, labels: Sequence[int]) -> Self:
        """The examples with these labels, of a split that has labels."""
        y = self.whole.y
        assert y is not None
        return dataclasses.replace(self, rows=self.rows[np.isin(y[self.rows], labels)])

    def cut(self, taken: int, seed: int) -> tuple[Self, Self]:
        """Two parts: `taken` examples, stratified, and the others."""
        rows = lowest(self.rows, self.whole, taken, seed)
        others = np.setdiff1d(self.rows, rows, assume_unique=True)
        return dataclasses.replace(self, rows=rows), dataclasses.replace(self, rows=others)


@struct.dataclass
class Splits:
    """The settings that all sources share; conf/config.yaml explains them."""

    validation: float = static_float(0)
    test: float = static_float(0)
    split_seed: int = static_int(0, 2**32 - 1)
    device_bytes: int | None = static_int(1, 2**62, optional=True)
    limit: int | None = static_int(2, optional=True)
    test_limit: int | None = static_int(2, optional=True)
    classes: tuple | None = static_list(optional=True)
    normal: tuple | None = static_list(optional=True)
    binarize: str = static_choice("none", "threshold", "static", "dynamic")
    standardize: bool = static_bool()

    def __call__(self, dataset: Dataset) -> Dataset:
        """The Dataset with the splits that a job is to use; raises InputError if they cannot be made."""
        if self.standardize and self.binarize != "none":
            raise InputError(f"data.standardize=true: must be false, because data.binarize={self.binarize}")
        if self.binarize != "none" and dataset.kind != "gray":
            raise InputError(f"data.binarize={self.binarize}: must be none, because the data are {dataset.kind}")
        labels, normal = (self._labels(dataset, key) for key in ("classes", "normal"))
        if labels is not None and normal is not None and set(normal) - set(labels):
            raise InputError(
                f"data.normal={list(self.normal or ())}: must be among data.classes={list(self.classes or ())}"
            )
        part_by_split: dict[int, Part] = {}  # the same array stays one Part
        for stream, split in enumerate(dataset.splits.values()):
            rows = np.arange(len(split.x)) if labels is None else np.flatnonzero(np.isin(split.y, labels))
            part_by_split.setdefault(id(split), Part(split, rows, stream))
        parts = {name: part_by_split[id(split)] for name, split in dataset.splits.items()}
        if self.validation == 0:
            parts.pop("valid", None)
        elif normal is not None and "valid" in parts:
            parts["valid"] = parts["valid"].of(normal)
        for name, key, share in (("test", "test", self.test), ("valid", "validation", self.validation)):
            if normal is not None and name == "valid":  # the test keeps what is not normal
                parts["train"] = parts["train"].of(normal)
            if name not in parts and (share or name == "test"):
                taken = self._taken(key, share, len(parts["train"].rows))
                parts[name], parts["train"] = parts["train"].cut(taken, self.split_seed)
                if len(parts["train"].rows) < 2:
                    raise InputError(f"data.{key}={share}: leaves fewer than two training examples")
        whole = parts["train"]
        if self.limit is not None and self.limit < len(whole.rows):
            parts["train"], _ = whole.cut(self.limit, self.split_seed)  # others of the same examples stay whole
        parts["test"] = self._limited_test(dataset, parts)
        for name, part in parts.items():
            if not len(part.rows):
                raise InputError(f"data.classes={list(self.classes or ())}: leaves no {name} examples")
        copied = [part for part in set(parts.values()) if len(part.rows) < len(part.whole.x)]
        needed = sum(len(part.rows) * part.whole.x[0].nbytes for part in copied)
        check_memory(needed, f"data {dataset.name}: {sum(len(part.rows) for part in copied):,} examples", "fewer, by "
                     "data.limit and data.test_limit")  # fmt: skip
        splits = {id(part): self._split(part, part is parts["train"], labels) for part in parts.values()}
        if dataset.preprocess is not None:
            splits = _applied(dataset.preprocess, splits, parts)
        kind, warnings = dataset.kind if self.binarize == "none" else "binary", dataset.warnings
        standardization = None
        if self.standardize:
            standardization = Standardization.of(splits[id(parts["train"])].x)
            splits, kind = _applied(lambda _: standardization, splits, parts), "real"
        elif kind == "real" and (line := scale_warning(splits[id(parts["train"])].x)):
            warnings = (*warnings, line)
        named: dict[str, Any] = {"valid": None} | {name: splits[id(part)] for name, part in parts.items()}
        return dataclasses.replace(
            dataset,
            kind=kind,
            **named,
            label_names=tuple(dataset.label_names[label] for label in labels) if labels else dataset.label_names,
            dynamic=self.binarize == "dynamic",
            normal=self._normal(normal, labels, splits[id(parts["test"])].y),
            preprocess=None,
            standardization=standardization,
            # Each device holds a copy of the data; the other half is for the lanes.
            budget=memory() // len(jax.devices()) // 2 if self.device_bytes is None else self.device_bytes,
            warnings=(*warnings, *duplicates(parts)),
        )

    def _limited_test(self, dataset: Dataset, parts: dict[str, Part]) -> Part:
        """The Part that tests, of `test_limit` examples at the most."""
        test = parts["test"]
        if self.test_limit is None or self.test_limit >= len(test.rows):
            return test
        if test is parts["train"]:
            raise InputError(
                f"data.test_limit={self.test_limit}: must be null, because the {len(test.rows)} test examples of "
                f"{dataset.name} are its training examples"
            )
        return test.cut(self.test_limit, self.split_seed)[0]

    def _labels(self, dataset: Dataset, key: str) -> list[int] | None:
        """The numbers of the labels that the setting `key` lists, None if it is null."""
        entries = getattr(self, key)
        if entries is None:
            return None
        numbers = {name: label for label, name in enumerate(dataset.label_names)}
        labels = []
        for entry in entries:
            label = entry if isinstance(entry, int) else numbers.get(entry, -1)
            if not 0 <= label < len(numbers):
                raise InputError(f"data.{key}={list(entries)}: no label {entry}; {near(entry, numbers)}")
            labels.append(label)
        return labels

    def _normal(self, normal: list[int] | None, labels: list[int] | None, y_test: Any) -> tuple[int, ...]:
        """The normal labels as they are numbered among those that are kept."""
        if normal is None:
            return ()
        numbers = tuple(sorted(set(normal) if labels is None else map(labels.index, set(normal))))
        if np.isin(y_test, numbers).all() or not np.isin(y_test, numbers).any():
            raise InputError(
                f"data.normal={list(self.normal or ())}: must leave test examples of both kinds, normal and not"
            )
        return numbers

    def _taken(self, key: str, share: float, examples: int) -> int:
        """How many of so many training `examples` the setting takes out; raises InputError if too many or none."""
        if share >= 1 and share != int(share):
            raise InputError(f"data.{key}={share}: must be a share below 1 or a whole number of examples")
        taken = int(share) if share >= 1 else round(share * examples)
        if not 1 <= taken <= examples - 2:
            allowed = f"a share or a number that takes 1 to {examples - 2}" if examples > 2 else "0"
            raise InputError(f"data.{key}={share}: takes {taken} of {examples} training examples; must be {allowed}")
        return taken

    def _split(self, part: Part, training: bool, labels: list[int] | None) -> Split:
        whole, y = part.whole, part.whole.y
        if self.binarize == "none" and labels is None and len(part.rows) == len(whole.x):
            return whole
        if self.binarize == "none" or (self.binarize == "dynamic" and training):
            x = part.x
        elif self.binarize == "threshold":
            x = (part.x >= WHITE).view(np.uint8)
        else:
            x = drawn(whole.x, part.rows, part.stream) * np.uint8(255 if self.binarize == "dynamic" else 1)
        if y is not None:
            y = y[part.rows]
            y = y if labels is None else (y[:, None] == np.array(labels)).argmax(axis=1).astype(np.int32)
        digest = None
        if whole.digest is not None:  # the recipe identifies the result as well as its bytes would
            recipe = repr((whole.digest, self.binarize, training, labels, part.stream)).encode()
            digest = hashlib.sha256(recipe + part.rows.tobytes()).hexdigest()
        names, factors = (None if array is None else array[part.rows] for array in (whole.names, whole.factors))
        return Split(x, y, digest, rows=whole.index[part.rows], names=names, factors=factors)


def _applied(preprocess: Callable, splits: dict[int, Split], parts: dict[str, Part]) -> dict[int, Split]:
    """The splits {id of Part: Split} after the function that `preprocess` makes from the training examples."""
    apply = preprocess(splits[id(parts["train"])].x)
    fitted = {"digest": None, "groups": None, "prints": None}  # of what the examples were before
    return {key: dataclasses.replace(split, x=apply(split.x), **fitted) for key, split in splits.items()}


def hashed(rows_N: np.ndarray, seed: int) -> np.ndarray:
    """A hash of each index, uint64: splitmix64 (Steele et al. 2014) of the index and the seed."""

    def mixed(z: np.ndarray) -> np.ndarray:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    golden = np.uint64(0x9E3779B97F4A7C15)
    start = mixed(np.array([seed], np.uint64) + golden)
    return mixed(start + (rows_N.astype(np.uint64) + np.uint64(1)) * golden)


def lowest(rows_N: np.ndarray, split: Split, taken: int, seed: int) -> np.ndarray:
    """The `taken` rows with the smallest hashes, in ascending order; with labels the same share of each class.

    What the shares leave over goes to the classes with the largest remainders. Groups are hashed instead of rows, and
    taken whole, so that it may be some rows more.
    """
    units_N = rows_N if split.groups is None else split.groups[rows_N]
    order = rows_N[np.argsort(hashed(units_N, seed), kind="stable")]
    if split.groups is None:
        return np.sort(_share(order, split.y, taken))
    begun = split.groups[_share(order, split.y, taken)]
    return rows_N[np.isin(units_N, begun)]


def _share(order: np.ndarray, y: np.ndarray | None, taken: int) -> np.ndarray:
    """The first `taken` rows of `order`, or as many of each class as is its share."""
    if y is None:
        return order[:taken]
    label_N = y[order]
    share_C = np.bincount(label_N) * taken / len(order)
    quota_C = np.floor(share_C).astype(int)
    quota_C[np.argsort(quota_C - share_C, kind="stable")[: taken - quota_C.sum()]] += 1
    return np.concatenate([order[label_N == label][:quota] for label, quota in enumerate(quota_C)])


def drawn(x: np.ndarray, rows: np.ndarray, stream: int) -> np.ndarray:
    """Bernoulli draws of uint8 intensities at `rows`, 0 or 1; an example's draws do not depend on the other rows."""
    parts = []
    for start, part in zip(range(0, len(x), DRAWN), in_parts(x, DRAWN), strict=True):
        chunk_rows = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + DRAWN)] - start
        if len(chunk_rows):
            draws = np.random.Generator(np.random.Philox(key=[stream, start])).integers(0, 255, part.shape, np.uint8)
            parts.append((draws[chunk_rows] < part[chunk_rows]).view(np.uint8))
    return np.concatenate(parts)


def duplicates(parts: dict[str, Part]) -> list[str]:
    """A line for each pair of different splits that have examples in common."""
    prints = {}
    for part in parts.values():
        if id(part.whole) not in prints:
            prints[id(part.whole)] = prints_of(part.whole.x) if part.whole.prints is None else part.whole.prints
    all_N = np.sort(np.concatenate([prints[id(part.whole)][part.rows] for part in set(parts.values())]))
    if not (all_N[1:] == all_N[:-1]).any():
        return []
    roles = {"test": "test", "valid": "validation", "train": "training"}
    lines = []
    for first, second in itertools.combinations([name for name in roles if name in parts], 2):
        part, among = parts[first], parts[second]
        if part is among:
            continue
        part_prints, among_prints = prints[id(part.whole)][part.rows], prints[id(among.whole)][among.rows]
        common = (
            np.intersect1d(part_prints, among_prints) if np.isin(part_prints, among_prints).any() else part_prints[:0]
        )
        same = {among.whole.x[row].tobytes() for row in among.rows[np.isin(among_prints, common)]}
        count = sum(part.whole.x[row].tobytes() in same for row in part.rows[np.isin(part_prints, common)])
        if count:
            lines.append(f"{count:,} of {len(part.rows):,} {roles[first]} examples are {roles[second]} examples too")
    return lines


def prints_of(x: np.ndarray) -> np.ndarray:
    """A number for each example, uint64, equal for equal examples and rarely for others."""
    width = x[0].nbytes
    factors = hashed(np.arange(-(-width // 8)), 0) | np.uint64(1)
    prints = []
    for part in in_parts(x):
        octets = np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint8)
        if width % 8:
            octets = np.pad(octets, ((0, 0), (0, -width % 8)))
        prints.append(np.einsum("nw,w->n", octets.view(np.uint64), factors))
    return np.concatenate(prints)
