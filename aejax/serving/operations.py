"""The operations of a run that can be asked for: what each takes and gives, and the check of its fields."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from aejax.base.errors import InputError, near
from aejax.inference import examples
from aejax.inference.trained import Trained

VALUES = 2**21  # numbers that go into or come out of one request


@dataclasses.dataclass(frozen=True)
class Operation:
    """An endpoint: it takes examples `x`, codes `z` or neither, and gives `z`, `x` or `score`."""

    name: str
    takes: str | None
    gives: str
    summary: str
    settings: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all fields that a request may have."""
        return (*((self.takes, "label") if self.takes else ("label",)), *self.settings)


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("encode", "x", "z", "The code of each example: the posterior mean, or a draw.", ("sample", "seed")),
        Operation("decode", "z", "x", "The mean example of each code."),
        Operation("reconstruct", "x", "x", "The mean example of each example's code."),
        Operation("restore", "x", "x", "Noisy examples, which may leave the range of clean ones, reconstructed."),
        Operation("sample", None, "x", "Examples of codes drawn from the prior.", ("count", "seed")),
        Operation("score", "x", "score", "How unusual each example is: the squared error of its reconstruction."),
    )
}


@dataclasses.dataclass(frozen=True)
class Task:
    """A checked request. Tasks of equal `key` can be computed together; rows are those that go in or come out.

    `key` is None for draws, which depend on their place in a batch.
    """

    operation: Operation
    key: Any
    rows: np.ndarray | None
    label: np.ndarray | None
    count: int
    single: bool
    settings: dict[str, Any]

    def run(self, trained: Trained, rows: np.ndarray | None, label: np.ndarray | None) -> np.ndarray:
        """The results for these rows; raises InputError where they are not finite."""
        method = getattr(trained, self.operation.name)
        results = method(*([] if rows is None else [rows]), label=label, **self.settings)
        if not np.isfinite(results).all():
            raise InputError(f"{self.operation.name}: gives nan or inf; these values are too large")
        return results

    def part(self, start: int, stop: int) -> "Task":
        """The task of some of the rows."""
        rows, label = (None if array is None else array[start:stop] for array in (self.rows, self.label))
        return dataclasses.replace(self, rows=rows, label=label, count=min(stop, self.count) - start)


def warming(trained: Trained) -> list[Task]:
    """A task for each program of the run, to compile them."""
    one = {"x": np.zeros((1, *trained.experiment.form.shape), np.uint8), "z": np.zeros((1, trained.latent_dim))}
    names = [name for name in OPERATIONS if name != "sample" or trained.experiment.sampler.is_prior]
    tasks = []
    for operation in (OPERATIONS[name] for name in names):
        fields = {operation.takes: one[operation.takes]} if operation.takes else {}
        label = {"label": 0} if needs_label(trained, operation) else {}
        tasks.append(task(trained, operation, fields | label))
    return tasks


def needs_label(trained: Trained, operation: Operation) -> bool:
    """Whether a request must have a label: codes of a conditional model, and examples unless it infers their labels."""
    is_inferred = operation.takes == "x" and trained.infers_labels
    return operation.takes is not None and trained.experiment.model.is_conditional and not is_inferred


def most_rows(trained: Trained) -> int:
    """How many examples or codes one request may have."""
    return max(1, VALUES // max(trained.experiment.form.pixels, trained.latent_dim))


def task(trained: Trained, operation: Operation, fields: Mapping[str, Any]) -> Task:
    """The Task that the fields of a request ask for; raises InputError for a field that does not fit."""
    for name in fields:
        if name not in operation.fields:
            raise InputError(f"{str(name)[:40]}: no such field; {near(str(name)[:40], operation.fields)}")
    settings = _settings(operation, fields)
    if operation.takes is None:
        if not trained.experiment.sampler.is_prior:
            remedy = "fit a density to codes in Python: run.fit(x).sample(3)"
            raise InputError(f"sample: {trained.run.title} has no prior to draw from; {remedy}")
        count = settings["count"]
        _check_count("count", count, trained)
        label = _label(trained, fields.get("label"), count, in_turn=True)
        return Task(operation, None, None, label, count, False, settings)
    rows, single = _rows(trained, operation, fields)
    given = fields.get("label")
    label = None if given is None and not needs_label(trained, operation) else _label(trained, given, len(rows))
    is_drawn = settings.get("sample", False)
    key = None if is_drawn else (operation.name, rows.dtype.str, label is None)
    return Task(operation, key, rows, label, len(rows), single, settings)


def _rows(trained: Trained, operation: Operation, fields: Mapping[str, Any]) -> tuple[np.ndarray, bool]:
    name, form = str(operation.takes), trained.experiment.form
    if name not in fields:
        raise InputError(f"{name}: is missing; known: {', '.join(operation.fields)}")
    values = fields[name]
    if name == "z":
        checked = examples.codes(values, trained.latent_dim)
        rows = checked.values
    else:
        checked = trained.examples.rows(values, noisy=operation.name == "restore")
        rows = values.astype(values.dtype.newbyteorder("="), copy=False).reshape(len(checked), *form.shape)
    _check_count(name, len(rows), trained)
    return rows, checked.single


def _check_count(name: str, count: int, trained: Trained) -> None:
    most = most_rows(trained)
    if not 1 <= count <= most:
        what = f"{count:,} rows" if name in ("x", "z") else f"{count}"
        raise InputError(f"{name}: {what}; must be from 1 to {most:,} in one request")


def _settings(operation: Operation, fields: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {"seed": 0, "count": 1, "sample": False}
    settings = {name: fields.get(name, defaults[name]) for name in operation.settings}
    for name in ("seed", "count"):
        value = settings.get(name, 0)
        if type(value) is not int or not 0 <= value < 2**32:
            raise InputError(f"{name}={str(value)[:40]}: must be a whole number from 0 to {2**32 - 1}")
    if type(settings.get("sample", False)) is not bool:
        raise InputError(f"sample={str(settings['sample'])[:40]}: must be true or false")
    return settings


def _label(trained: Trained, label: Any, count: int, in_turn: bool = False) -> np.ndarray | None:
    """The number of each label; None for a model that does not look at labels. `in_turn`: all labels by default."""
    if label is None:
        is_drawn = in_turn and trained.experiment.model.is_conditional
        return np.arange(count) % len(trained.labels) if is_drawn else trained.label_numbers(None, count)
    if isinstance(label, str) and label not in trained.labels and label.isascii() and label.isdigit():
        label = int(label[:10])  # a number in a query
    given = label if isinstance(label, list) else [label]
    if not given or set(map(type, given)) not in ({int}, {str}):
        raise InputError("label: must be a name or a number, or a list of names or of numbers")
    return trained.label_numbers(label, count)
