"""The run folder: the only reader and writer of it. Every file is whole or not there."""

import contextlib
import csv
import dataclasses
import fcntl
import io
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
from safetensors import numpy as safetensors

from aejax.errors import InputError

FINISHED = ("completed", "diverged")
FILES = ("run.json", "metrics.json", "history.csv", "params.safetensors", "codes.npz")
MODULES = ("encoder", "to_code", "from_code", "decoder")
LOCK = ".lock"
SPACE = 16 * 2**20  # bytes that a run needs beside its parameters: pictures, W&B files


class Run:
    """One run's folder; `record` is what run.json holds."""

    def __init__(self, path):
        self.path = Path(path)
        self.record = {}

    @classmethod
    def read(cls, path):
        """The run that `path` holds; raises InputError where there is none."""
        run = cls(path)
        try:
            run.record = json.loads((run.path / "run.json").read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: holds no run that can be read ({error})") from None
        return run

    def note(self, **fields):
        """Adds fields to run.json."""
        self.record |= fields
        self._write("run.json", json.dumps(self.record, indent=2, ensure_ascii=False) + "\n")

    @property
    def metrics(self):
        """metrics.json: {name: a finite number or None}."""
        return json.loads((self.path / "metrics.json").read_text())

    def write_metrics(self, metrics):
        """Writes metrics.json; numbers that are not finite become null."""
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        self._write("metrics.json", json.dumps(finite, indent=2) + "\n")

    @property
    def history(self):
        """history.csv: one dict of floats a log point."""
        with open(self.path / "history.csv", newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    def write_history(self, rows):
        """Writes history.csv, one row a log point; nan and inf stay as they are."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["step"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self._write("history.csv", text.getvalue())

    @property
    def params(self):
        """params.safetensors as a dict by module and layer."""
        tree = {name: {} for name in MODULES}  # some have no parameters
        for name, array in safetensors.load((self.path / "params.safetensors").read_bytes()).items():
            *modules, leaf = name.split(".")
            node = tree
            for module in modules:
                node = node.setdefault(module, {})
            node[leaf] = array
        return tree

    def write_params(self, params):
        """Writes params.safetensors; names are module.layer.leaf."""
        self._write("params.safetensors", safetensors.save(flat(params)))

    @property
    def codes(self):
        """codes.npz: z [N, latent_dim], index [N] and, where there are labels, y [N]."""
        with np.load(self.path / "codes.npz", allow_pickle=False) as file:
            return dict(file)

    def write_codes(self, z_NxZ, y_N=None):
        """Writes codes.npz."""
        arrays = {"z": z_NxZ, "index": np.arange(len(z_NxZ))} | ({} if y_N is None else {"y": y_N})
        data = io.BytesIO()
        np.savez(data, **arrays)
        self._write("codes.npz", data.getvalue())

    def write_figure(self, name, png):
        """Writes figures/<name>.png."""
        self._write(f"figures/{name}.png", png)

    def _write(self, name, content):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with open(part, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            if error.errno and not error.filename:
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise
        finally:
            part.unlink(missing_ok=True)

    def copy(self, path):
        """A Run in `path` with the files of this finished one; its record says whose they are."""
        other = Run(path)
        for name in (*FILES[1:], *(f"figures/{each.name}" for each in (self.path / "figures").glob("*.png"))):
            if (self.path / name).exists():
                other._write(name, (self.path / name).read_bytes())
        other.note(**self.record, same_as=str(self.path))
        return other

    def clear(self):
        """Removes what an unfinished run left here."""
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        for picture in (self.path / "figures").glob("*.png"):
            picture.unlink()


def flat(params, prefix=""):
    """A dict of dicts of arrays as {"module.layer.leaf": array}."""
    arrays = {}
    for name, node in params.items():
        arrays |= flat(node, f"{prefix}{name}.") if isinstance(node, dict) else {f"{prefix}{name}": np.asarray(node)}
    return arrays


@contextlib.contextmanager
def locked(path):
    """Keeps other processes out of the folder `path` of a run or a sweep; raises InputError where one is at work in it.

    The lock dies with its owner.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    with open(path / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path}: another process is at work in it; must be another folder") from None
        try:
            yield
        finally:
            (path / LOCK).unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class Before:
    """What there was before a run: the folders `missing` for it, innermost first, and the names in its own."""

    missing: tuple[Path, ...]
    names: tuple[str, ...]


def check_folder(path, key="hydra.run.dir"):
    """What there is Before a run in `path`; leaves nothing behind.

    Raises InputError where no run can be written.
    """
    path = Path(path).absolute()
    told = f"{key}={path}"
    try:
        if (path / "run.json").exists() and Run.read(path).record.get("status") in FINISHED:
            raise InputError(f"{told}: holds a finished run; must be a new folder")
        names = tuple(each.name for each in path.iterdir()) if path.is_dir() else ()
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        made = []
        try:
            for folder in reversed(missing):
                folder.mkdir()
                made.append(folder)
            probe = path / f".probe.{os.getpid()}"
            probe.write_bytes(b"x")
            probe.unlink()
            free = shutil.disk_usage(path).free
        finally:
            for folder in reversed(made):
                folder.rmdir()
    except OSError as error:
        raise InputError(f"{told}: cannot be written ({error.strerror}); must be a folder that can") from None
    if free < SPACE:
        raise InputError(f"{told}: no space left, {free / 2**20:.1f} MiB; must have {SPACE / 2**20:.0f} MiB")
    return Before(tuple(missing), names)


def discard(path, before):
    """Removes what a run that has not begun left in `path`, and nothing that was there `before`."""
    path = Path(path)
    for name in {".hydra", "wandb", "run.json", LOCK} - set(before.names):
        if (path / name).is_dir():
            shutil.rmtree(path / name, ignore_errors=True)
        else:
            (path / name).unlink(missing_ok=True)
    for folder in before.missing:
        with contextlib.suppress(OSError):  # something else is in it by now
            folder.rmdir()
