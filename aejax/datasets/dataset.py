"""A Dataset: arrays, and what a run's record says about them."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import numpy as np

from aejax.base.errors import InputError
from aejax.datasets.form import Arrays, Form
from aejax.datasets.standardization import Standardization
from aejax.datasets.storage import KINDS, in_parts, kind_of, stored

MOST_VALUES = 1024  # of a factor


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples `x` [N, *shape] (uint8, or float32 for real data) and labels `y` [N] int32 or None.

    `digest` stands for the contents in the fingerprint, if they come from a file that was digested
    before, and `prints` [N] are numbers that are equal where examples are (`splits.prints_of`); None computes them.
    Examples with the same number in `groups` [N] stay in one split. `rows` [N] are the examples' places in the split
    of the source that they come from, None where they are all of it in its order, and `names` [N] their files' names.
    `factors` [N, F] int32 are the values of the factors that made each example, numbered from 0.
    """

    x: np.ndarray
    y: np.ndarray | None = None
    digest: str | None = None
    groups: np.ndarray | None = None
    prints: np.ndarray | None = None
    rows: np.ndarray | None = None
    names: np.ndarray | None = None
    factors: np.ndarray | None = None

    @property
    def index(self) -> np.ndarray:
        """The place [N] of each example in the source, by which it can be found again."""
        return np.arange(len(self.x)) if self.rows is None else self.rows

    @functools.cached_property
    def contents(self) -> str:
        """The SHA-256 of the arrays, or the `digest` that stands for it."""
        if self.digest is not None:
            return self.digest
        digest = hashlib.sha256()
        for array in (self.x, self.y, *(() if self.factors is None else (self.factors,))):
            if array is not None:
                digest.update(repr((array.shape, array.dtype.str)).encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Up to three splits of one kind and shape, each a Split, or the arrays x or (x, y) of one.

    Test and validation examples that are not given are taken out of the training examples later (`Splits`). `kind` is
    binary (stored as 0 and 1), gray or rgb (0 to 255), or real (float32); None infers it from the arrays. `label_names`
    [classes] go with the labels; without names labels may be any values, and their names are these. `factor_names` [F]
    go with the splits' factors. `note` is what a reader of the numbers must know, `license` the origin of the data,
    `warnings` are lines for the user.
    `preprocess` of the training examples, once the splits are made, gives a function that all examples then go through;
    until then real values may be missing (nan). `standardization` is what the values have gone through, if they have.
    `budget` is how many bytes of it a device is to hold.
    """

    name: str = "own"
    kind: str | None = None
    train: Any = None  # a Split, once it is made; may be given as x or (x, y)
    valid: Any = None
    test: Any = None
    label_names: tuple[str, ...] = ()
    note: str = ""
    license: str = ""
    dynamic: bool = False
    normal: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    preprocess: Callable | None = None
    standardization: Standardization | None = None
    budget: int = 2**62
    factor_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.train is None:
            self._refuse("no training examples", "give Dataset(train=…)")
        if self.kind not in (*KINDS, None):
            self._refuse(f"kind {self.kind!r}", f"must be one of {', '.join(KINDS)}")
        converted = {}  # so that splits which are the same array stay so
        for name, split in self.splits.items():
            if id(split) not in converted:
                converted[id(split)] = self._split(name, split)
            object.__setattr__(self, name, converted[id(split)])
        if self.kind is None:
            object.__setattr__(self, "kind", kind_of(self.train.x))
            self._warn_of_fractions()
        self._name_labels()
        for name, split in self.splits.items():
            self._check(name, split)
        if len(self.train.x) < 2:
            self._refuse("one example only", "must be at least two")
        if all((part == self.train.x[:1]).all() for part in in_parts(self.train.x)):
            self._refuse("training examples that are all the same", "must hold more than one value")

    @property
    def splits(self) -> dict[str, Any]:
        """The splits that are not None, by name."""
        named = {name: getattr(self, name) for name in ("train", "valid", "test")}
        return {name: split for name, split in named.items() if split is not None}

    def _refuse(self, problem: str, remedy: str) -> NoReturn:
        raise InputError(f"data {self.name}: {problem}; {remedy}")

    def _split(self, name: str, split: Any) -> Split:
        if not isinstance(split, Split):
            parts = split if isinstance(split, tuple) else (split,)
            if not 1 <= len(parts) <= 2:
                self._refuse(f"{name} is a tuple of {len(parts)}", "give x, or x and y")
            split = Split(*parts)
        if not isinstance(split.x, np.ndarray):
            self._refuse(f"{name} of {type(split.x).__name__}", "must be a numpy array")
        x = stored(split.x, self.kind)
        if x is None:
            self._refuse(f"{name} of {split.x.dtype}", f"must be numbers that fit the kind {self.kind or 'of data'}")
        return split if x is split.x else dataclasses.replace(split, x=x)

    def _warn_of_fractions(self) -> None:
        """Adds a warning if images that may be meant as pixels were taken as real numbers."""
        x = self.train.x
        pixels = {1: "gray", 3: "rgb"}.get(x.shape[3]) if x.ndim == 4 else None
        if self.kind == "real" and pixels and all((part >= 0).all() and (part <= 1).all() for part in in_parts(x)):
            line = f"images of fractions in [0, 1] are taken as real numbers; data.kind={pixels}, "
            line += f'in a program Dataset(kind="{pixels}"), makes them pixels'
            object.__setattr__(self, "warnings", (*self.warnings, line))

    def _name_labels(self) -> None:
        labels: list[Any] = [None if split.y is None else np.asarray(split.y) for split in self.splits.values()]
        if self.label_names or any(y is None or y.dtype.kind not in "iuUb" or y.ndim != 1 for y in labels):
            return
        values = np.unique(np.concatenate(labels))
        object.__setattr__(self, "label_names", tuple(str(value) for value in values.tolist()))
        relabeled = {}
        for name, split in self.splits.items():
            if id(split) not in relabeled:
                relabeled[id(split)] = dataclasses.replace(split, y=np.searchsorted(values, split.y).astype(np.int32))
            object.__setattr__(self, name, relabeled[id(split)])

    def _check(self, name: str, split: Split) -> None:
        x, y = split.x, split.y
        dtype = np.float32 if self.kind == "real" else np.uint8
        if x.dtype != dtype:
            self._refuse(f"{name} of {x.dtype}", f"must be a numpy array of {np.dtype(dtype)}")
        if x.ndim not in (2, 4) or 0 in x.shape or x.shape[1:] != self.train.x.shape[1:]:
            self._refuse(
                f"{name} of shape {list(x.shape)}, training examples of shape {list(self.train.x.shape)}",
                "must be [N, features] or [N, height, width, channels], the same in all splits",
            )
        if x.ndim == 4 and x.shape[3] != (3 if self.kind == "rgb" else 1) and self.kind != "real":
            self._refuse(
                f"{name} with {x.shape[3]} channels", f"must be {3 if self.kind == 'rgb' else 1} for kind {self.kind}"
            )
        if self.kind == "real" and self.preprocess is None and not all(np.isfinite(part).all() for part in in_parts(x)):
            self._refuse(f"{name} with nan or inf", "must be finite")
        if self.kind == "binary" and not self.dynamic and x.max() > 1:
            self._refuse(f"{name} with values up to {x.max()}", "must be 0 or 1 for kind binary")
        if (y is None) != (not self.label_names):
            self._refuse(
                "labels without label_names, or label_names without labels", "give both or neither, in every split"
            )
        if y is not None and (
            not isinstance(y, np.ndarray) or y.dtype != np.int32 or y.shape != x.shape[:1] or y.min() < 0
            or y.max() >= len(self.label_names)
        ):  # fmt: skip
            shape = list(np.shape(y))
            self._refuse(
                f"labels of {name} of shape {shape}", f"must be int32 [{len(x)}] from 0 to {len(self.label_names) - 1}"
            )
        self._check_factors(name, split)

    def _check_factors(self, name: str, split: Split) -> None:
        factors, shape = split.factors, [len(split.x), len(self.factor_names)]
        if (factors is None) != (not self.factor_names):
            self._refuse(
                "factors without factor_names, or factor_names without factors", "give both or neither, in every split"
            )
        if factors is not None and (
            not isinstance(factors, np.ndarray) or factors.dtype != np.int32 or list(factors.shape) != shape
            or factors.min() < 0 or factors.max() >= MOST_VALUES
        ):  # fmt: skip
            problem = f"factors of {name} of shape {list(np.shape(factors))}"
            self._refuse(problem, f"must be int32 {shape} from 0 to {MOST_VALUES - 1}")

    @functools.cached_property
    def form(self) -> Form:
        """The Form of this data set."""
        shape, examples, valid = self.train.x.shape[1:], len(self.train.x), len(self.valid.x) if self.valid else 0
        classes = len(self.label_names)
        assert self.kind is not None, "__post_init__ sets it"
        sizes, ways = (examples, valid, classes), (self.dynamic, self.normal, self._kept is not None)
        return Form(self.name, self.kind, shape, *sizes, self.fingerprint, *ways, self._factor_sizes)

    @property
    def _factor_sizes(self) -> tuple[int, ...]:
        """How many values each factor has; 1 where it is the same in all training or in all test examples."""
        if not self.factor_names or self.test is None:
            return ()
        train_NxF, test_NxF = self.train.factors, self.test.factors
        varies_F = np.logical_and(*(np.ptp(factors, axis=0) > 0 for factors in (train_NxF, test_NxF)))
        size_F = 1 + np.maximum(train_NxF.max(axis=0), test_NxF.max(axis=0))
        return tuple(np.where(varies_F, size_F, 1).tolist())

    @functools.cached_property
    def _kept(self) -> np.ndarray | None:
        """Evenly spread rows of training examples, which evaluation uses if the device cannot hold all; else None."""
        sizes = {id(split.x): split.x.nbytes for split in self.splits.values()}
        if sum(sizes.values()) <= self.budget:
            return None
        left = self.budget - sum(size for key, size in sizes.items() if key != id(self.train.x))
        kept = left // 2 // self.train.x[0].nbytes
        if kept < 2:
            problem = f"data.device_bytes={self.budget}: leaves no room for training examples beside the other splits"
            raise InputError(f"{problem}; raise it, or lower data.validation and data.test")
        return np.linspace(0, len(self.train.x) - 1, min(kept, len(self.train.x))).astype(int)

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change when any example, label or split does."""
        digest = hashlib.sha256(self._heading.encode())
        for name, split in self.splits.items():
            digest.update(f"{name} {split.contents}".encode())
        return digest.hexdigest()[:16]

    @functools.cached_property
    def test_fingerprint(self) -> str:
        """16 hex digits that change when any test example or label does, whatever a model is trained on."""
        return hashlib.sha256(f"{self._heading} {self.test.contents}".encode()).hexdigest()[:16]

    @property
    def _heading(self) -> str:
        """What the fingerprints hold beside the splits."""
        return repr((self.kind, self.label_names, self.dynamic, *((self.factor_names,) if self.factor_names else ())))

    @property
    def described(self) -> dict[str, Any]:
        """The entry `data` of a run's record."""
        form = self.form
        sizes = {"train": form.examples, "valid": form.valid, "test": len(self.test.x)}
        summary: dict[str, Any] = {"name": self.name, "kind": self.kind, "shape": list(form.shape), "examples": sizes}
        summary |= {"fingerprint": form.fingerprint, "test_fingerprint": self.test_fingerprint}
        summary |= {"note": self.note, "license": self.license}
        summary |= {"labels": list(self.label_names), "dynamic": self.dynamic}
        if self.standardization:
            summary["standardized"] = {name: getattr(self.standardization, name).tolist() for name in ("mean", "std")}
        if self._kept is not None:
            summary |= {"streamed": True, "train_examples_in_evaluation": len(self._kept)}
        if self.factor_names:
            summary["factors"] = dict(zip(self.factor_names, form.factors, strict=True))
        summary |= {"normal": [self.label_names[label] for label in self.normal]} if self.normal else {}
        return summary | ({"warnings": list(self.warnings)} if self.warnings else {})

    def arrays(self, mean: bool = False, factors: bool = False) -> Arrays:
        """The data on the device, as Arrays; an array that several splits share is placed once.

        Of streamed training examples it holds those that evaluation uses, and with `mean` the mean of all; the factors
        are there only with `factors`.
        """
        placed = {}

        def place(array: np.ndarray | None, flatten: bool = False) -> Any:
            if array is None:
                return None
            if id(array) not in placed:
                placed[id(array)] = jax.device_put(array.reshape(len(array), -1) if flatten else array)
            return placed[id(array)]

        valid = None if self.valid is None else self.valid.x
        train, y, train_factors = self.train.x, self.train.y, self.train.factors if factors else None
        if self._kept is not None:
            train, y, train_factors = (
                None if array is None else array[self._kept] for array in (train, y, train_factors)
            )
        return Arrays(
            train=place(train, flatten=True),
            valid=place(valid, flatten=True),
            test=place(self.test.x, flatten=True),
            y_train=place(y),
            y_test=place(self.test.y),
            y_valid=place(None if self.valid is None else self.valid.y),
            mean=place(self._mean()) if mean and self._kept is not None else None,
            factors_train=place(train_factors),
            factors_test=place(self.test.factors) if factors else None,
        )

    def _mean(self) -> np.ndarray:
        """The mean [P] of the training examples as stored."""
        total = sum(part.reshape(len(part), -1).sum(axis=0, dtype=np.float64) for part in in_parts(self.train.x))
        return (total / len(self.train.x)).astype(np.float32)
