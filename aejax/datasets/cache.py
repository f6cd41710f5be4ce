"""Decoded arrays, kept on disk and memory-mapped, so that a second start decodes nothing again."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import platformdirs

from aejax.base.files import acquired
from aejax.datasets.dataset import Split
from aejax.datasets.splits import prints_of

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, EOFError)  # or not whole
STALE = 3600  # seconds after which an unfinished folder is taken for that of a process that was killed


def own_folder():
    """The folder in which arrays decoded from a user's own files are kept."""
    return Path(platformdirs.user_cache_dir("aejax", appauthor=False)) / "data"


def kept(places, make):
    """The splits {name: Split} and a dict `about` them, from the first of the folders `places` that holds them.

    Otherwise `make()` makes both, and they are kept in the first folder that can be written; if none can, a line among
    `about["warnings"]` says so.
    """
    for place in places:
        cached = _read(place)
        if cached is not None:
            return cached
    splits, about = make()
    splits = {
        name: Split(split.x, split.y, split.contents, None, prints_of(split.x), factors=split.factors)
        for name, split in splits.items()
    }
    errors = []
    for place in places:
        try:
            _write(place, splits, about)
            return _read(place) or (splits, about)
        except OSError as error:
            errors.append(f"{place}: {error.strerror}")
    warnings = [*about.get("warnings", []), f"the decoded arrays are not kept ({'; '.join(errors)})"]
    return splits, about | {"warnings": warnings}


def _read(place):
    try:
        about = json.loads((place / "about.json").read_text())
        splits, labeled, factored = {}, about.pop("labeled"), about.pop("factored", [])
        for name, digest in about.pop("digests").items():
            x, prints = (_mapped(place / f"{name}.{part}.npy") for part in ("x", "prints"))
            y = _mapped(place / f"{name}.y.npy") if name in labeled else None
            factors = np.array(_mapped(place / f"{name}.factors.npy")) if name in factored else None
            y = None if y is None else np.array(y)
            splits[name] = Split(x, y, digest, None, np.array(prints), factors=factors)
        return splits, about
    except UNREADABLE:
        return None


def _mapped(path):
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _write(place, splits, about):
    """Writes everything under another name, then renames it; a process that comes second finds the same content."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for leftover in place.parent.glob(".part.*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > STALE:
                shutil.rmtree(leftover)
    part = Path(tempfile.mkdtemp(prefix=".part.", dir=place.parent))
    try:
        digests = {}
        for name, split in splits.items():
            digests[name] = split.contents
            for kind in ("x", "y", "prints", "factors"):
                array = getattr(split, kind)
                if array is not None:
                    _synced(part / f"{name}.{kind}.npy", lambda file, array=array: np.save(file, array))
        labeled = [name for name, split in splits.items() if split.y is not None]
        factored = [name for name, split in splits.items() if split.factors is not None]
        text = json.dumps(about | {"digests": digests, "labeled": labeled, "factored": factored}).encode()
        _synced(part / "about.json", lambda file: file.write(text))
        part.chmod(0o755)
        if place.exists() and _read(place) is None:  # else another process was quicker, and its files may be in use
            shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(FileExistsError, OSError):
            os.rename(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _synced(path, write):
    with open(path, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def alone(folder):
    """Locks `folder` so that one process prepares while the others wait; the lock ends with its process.

    A folder that cannot be written is not locked. Raises InputError if the lock file is a link.
    """
    try:
        hold = acquired(folder / ".aejax.lock")
    except OSError:
        yield
        return
    with hold:
        yield
