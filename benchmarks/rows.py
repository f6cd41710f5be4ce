"""A row of a benchmark: what was measured, beside what, and whether the target is reached."""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import Spread

FAILED = "failed: "  # begins the note of a case that could not be measured
SIGN = "row: "  # before each row on the standard output of a process that measures; libraries print there, too
APART = "import json, sys; from benchmarks.rows import tell; tell(sys.argv[1], json.loads(sys.argv[2]))"


@dataclasses.dataclass(frozen=True)
class Row:
    """A case: `ours` beside `other`, medians in `unit`, and the Spread of their ratio over the rounds.

    The `target` is of the ratio, or of `ours` where there is none; it is a lower bound, or an upper one if `at_most`.
    A case that was not measured has a `note` that says why.
    """

    case: str
    against: str = ""
    unit: str = ""
    ours: float | None = None
    other: float | None = None
    ratio: Spread | None = None
    target: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def reached(self):
        """Whether the target is reached; None if there is none, or nothing was measured."""
        value = self.ours if self.ratio is None else self.ratio.median
        if self.target is None or value is None:
            return None
        return value <= self.target if self.at_most else value >= self.target

    @property
    def has_failed(self):
        """Whether it could not be measured."""
        return self.note.startswith(FAILED)

    @property
    def recorded(self):
        """The row as JSON holds it."""
        return dataclasses.asdict(self) | {"reached": self.reached}

    @classmethod
    def read(cls, record):
        """The row of a record."""
        fields = {name: value for name, value in record.items() if name != "reached"}
        return cls(**fields | {"ratio": record["ratio"] and Spread(**record["ratio"])})


def absent(case, against, why):
    """The row of a case that is not measured."""
    return Row(case, against, note=f"not measured: {why}")


def failed(case, why):
    """The row of a case that could not be measured."""
    return Row(case, note=f"{FAILED}{why}")


def apart(function, *arguments, **environment):
    """The rows that `function`, as module:name, yields of these arguments in a process of its own, as they come.

    If the process fails, a row says so, and the cases that follow can be measured.
    """
    words = [sys.executable, "-c", APART, function, json.dumps(arguments)]
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    own = os.environ | {"PYTHONPATH": paths} | environment
    process = subprocess.Popen(words, env=own, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if line.startswith(SIGN):
                yield Row.read(json.loads(line.removeprefix(SIGN)))
    finally:
        process.stdout.close()
        status = process.wait()
    if status:
        yield failed(", ".join(map(str, arguments)), f"exit status {status}")


def tell(function, arguments):
    """Prints the rows of a function, for `apart`."""
    module, name = function.split(":")
    for row in getattr(importlib.import_module(module), name)(*arguments):
        print(f"{SIGN}{json.dumps(row.recorded)}", flush=True)
