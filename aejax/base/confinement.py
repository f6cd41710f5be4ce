"""Limits on a command from somebody else's folder: it writes only below it, runs only aejax's code, uses no network.

The user's own caches (decoded data, compiled programs) stay in use: nothing in a folder can change where they are.
"""

import contextlib
import os
import sys
from pathlib import Path

from aejax.base.errors import InputError
from aejax.compat import wandb_compat

OWN = ("aejax",)  # modules whose classes such a command may name
WAY_OUT = "keep it inside, or add --trust"

# Resolved; None: this process is not confined. A ContextVar would not reach the threads of a pool.
_folders: tuple[Path, ...] | None = None


class NotTrusted(InputError):
    """A folder asks for something that needs --trust."""


@contextlib.contextmanager
def confined(*folders):
    """Within this context the process writes only below `folders` and imports nothing from them; not reentrant."""
    global _folders
    _folders, before = tuple(_resolved(folder) for folder in folders), list(sys.path)
    places = [entry or os.getcwd() for entry in before]  # '' would follow the process to the recorded folder
    sys.path[:] = [place for place in places if _is_own(place) or not is_inside(place)]
    try:
        yield
    finally:
        _folders, sys.path[:] = None, before


def is_confined():
    """Whether the configuration came with somebody's folder and is not trusted."""
    return _folders is not None


def is_inside(path):
    """Whether the process may write to `path`, links resolved: always, unless it is confined."""
    return _folders is None or any(_resolved(path).is_relative_to(folder) for folder in _folders)


def can_enter(path):
    """Whether a command may change to `path`, a recorded folder: not to one that came with the record."""
    return os.path.isdir(path) and (_folders is None or not is_inside(path))


def check_inside(path, key):
    """Raises NotTrusted where `path`, which the setting `key` names, may not be written."""
    if _folders is not None and "${" in str(path):  # Hydra resolves some places twice
        raise NotTrusted(f"{key}={path}: has ${{ in it; write the place out, or add --trust")
    if not is_inside(path):
        raise NotTrusted(f"{key}={path}: is outside of {_folders[0]}; {WAY_OUT}")


def check_places(folder, subfolder, key):
    """Raises NotTrusted where a job's `folder`, which `key` names, or Hydra's `subfolder` of it may not be written."""
    check_inside(folder, key)
    if subfolder:
        check_inside(Path(folder) / subfolder, "hydra.output_subdir")


def check_outside(path, key, exempt):
    """Raises NotTrusted where `path`, which the setting `key` names, came with the folder, unless it is in `exempt`."""
    if _folders is not None and is_inside(path) and not is_below(path, exempt):
        raise NotTrusted(f"{key}={path}: came with {_folders[0]}; use one elsewhere, or add --trust")


def is_below(path, folder):
    """Whether `path` is `folder` or in it, links resolved."""
    return _resolved(path).is_relative_to(_resolved(folder))


def check_links(folder):
    """Raises NotTrusted where a link in or below `folder` leads out of it."""
    top = _resolved(folder)
    for place, folders, files in os.walk(top):
        for path in (Path(place, name) for name in folders + files):
            if path.is_symlink() and not (
                _resolved(path).is_relative_to(top) or wandb_compat.is_log_link(path.relative_to(top))
            ):
                raise NotTrusted(f"{path}: is a link to {_resolved(path)}, outside of {top}; {WAY_OUT}")


def check_trusted(action):
    """Raises NotTrusted if the process is confined; `action` names a setting and what it would do."""
    if is_confined():
        raise NotTrusted(f"{action}, as {_folders[0]} asks; add --trust to allow it")


def _is_own(place):
    """Whether `place` belongs to this Python or to aejax, where these lie below a confined folder themselves."""
    folders = (_resolved(folder) for folder in (sys.prefix, sys.base_prefix, Path(__file__).parents[1]))
    return any(is_inside(folder) and _resolved(place).is_relative_to(folder) for folder in folders)


def _resolved(path):
    return Path(os.path.realpath(path))  # Path.resolve raises on circular links
