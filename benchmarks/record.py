"""The record of a benchmark: rows, machine, versions, command and date, as one JSON file."""

import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import traceback

from aejax.base.errors import InputError
from benchmarks import rates
from benchmarks.page import cells
from benchmarks.rows import failed

KEYS = ("name", "command", "quick", "date", "machine", "versions", "rows")
VERSIONS = ("aejax", "jax", "jaxlib", "flax", "optax", "numpy", "hydra-core", "torch", "pythae")


def measured(name, command, quick, folder, measure=rates.measured_apart, **given):
    """Measures a benchmark, prints its rows as they come and writes <name>.json; returns whether it ended well.

    `measure` gives the rates of the machine, before and after; `given` goes to the benchmark. An error becomes a row;
    those before it are kept.
    """
    print(f"# {name}", flush=True)
    rows = []
    load, before = os.getloadavg()[1], measure(quick)  # of 5 minutes, first
    try:
        for row in importlib.import_module(f"benchmarks.{name}").rows(quick, **given):
            rows.append(row)
            print(f"| {' | '.join(cells(row))} |", flush=True)
    except Exception as error:  # the benchmarks that follow may run
        traceback.print_exc(file=sys.stderr)
        rows.append(failed(name, type(error).__name__))
    content = {
        "name": name,
        "command": command,
        "quick": quick,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine()
        | {"load": {"before": load, "after": os.getloadavg()[1]}}
        | {"rates": {"before": before, "after": measure(quick)}},
        "versions": versions(),
        "rows": [row.recorded for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return not any(row.has_failed for row in rows)


def machine():
    """What the machine is: cores that may be used, and their kind."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": cores, "kind": platform.machine(), "system": platform.system()}


def versions():
    """{library: version, or "absent"}, and Python's."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def read(folder, names):
    """The records in a folder, of these names and in their order.

    Raises InputError where there is none, or one is damaged.
    """
    paths = [path for path in (folder / f"{name}.json" for name in names) if path.exists()]
    if not paths:
        raise InputError(f"{folder}: holds no record of a benchmark")
    return [content_of(path) for path in paths]


def content_of(path):
    """The content of a record; raises InputError for a damaged one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged; {error}") from error
    missing = [key for key in KEYS if key not in content] if isinstance(content, dict) else KEYS
    if missing:
        raise InputError(f"{path}: not the record of a benchmark; it lacks {', '.join(missing)}")
    return content
