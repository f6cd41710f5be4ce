"""Folders of a user's files, with class folders as labels."""

import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from aejax.base.errors import InputError

SHOWN = 5  # broken files that an error names


@dataclasses.dataclass(frozen=True)
class Folder:
    """The `files` with one of the endings below a folder, sorted, their labels [N] int32 or None, and these' names."""

    path: Path
    files: tuple[Path, ...]
    labels: np.ndarray | None
    names: tuple[str, ...]

    @classmethod
    def read(cls, path, endings, key="data.path"):
        """The Folder at `path`; raises InputError if it holds no such file, or class folders for some files only."""
        path, kinds = Path(path).expanduser(), ", ".join(endings)
        if not path.is_dir():
            raise InputError(f"{key}={path}: is not a folder; must be one with files of {kinds}")
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in endings and file.is_file())
        if not files:
            raise InputError(
                f"{key}={path}: holds no file of {kinds}; must hold some, in one folder per class if they are labeled"
            )
        classes = [file.relative_to(path).parts[0] if file.parent != path else None for file in files]
        names = sorted({name for name in classes if name is not None})
        if not names:
            return cls(path, tuple(files), None, ())
        if None in classes:
            raise InputError(
                f"{key}={path}: {files[classes.index(None)].name} is in no class folder; all must be, or none"
            )
        numbers = {name: label for label, name in enumerate(names)}
        return cls(path, tuple(files), np.array([numbers[name] for name in classes], np.int32), tuple(names))

    def named(self, places):
        """The names of the files at `places`, relative to the folder, an array of texts."""
        return np.array([self.files[place].relative_to(self.path).as_posix() for place in places])

    def key(self, *settings):
        """16 hex digits that change when a file or one of these `settings` changes."""
        digest = hashlib.sha256(repr((str(self.path.absolute()), settings)).encode())
        for file in self.files:
            state = file.stat()
            digest.update(repr((str(file), state.st_size, state.st_mtime_ns)).encode())
        return digest.hexdigest()[:16]


def read_all(files, read):
    """What `read` returns for each file, None for one that it cannot read, and a list of those; on a thread per core.

    Passes on the InputError of `read`, for a file that is intact but cannot be used.
    """

    def attempt(path):
        try:
            return read(path)
        except InputError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError):
            return None

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(attempt, files))
    return results, [path for path, result in zip(files, results, strict=True) if result is None]


def refuse_broken(folder, broken, noun, key="data.path"):
    """Raises InputError that names some of the broken files and counts all; `noun` is images or files."""
    named = ", ".join(str(path.relative_to(folder.path)) for path in broken[:SHOWN])
    rest = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
    raise InputError(
        f"{key}={folder.path}: {len(broken)} of {len(folder.files)} {noun} cannot be read ({named}{rest}); "
        "repair them, or leave them out with data.skip_broken=true"
    )
