"""The folder that a run is to be written to: checked before it begins, and cleaned where it does not."""

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.base.errors import InputError, NoSpace, is_full
from aejax.base.files import LOCK
from aejax.runs import contents
from aejax.runs.folder import FINISHED, SETTINGS, Run
from aejax.settings.configuration import differences
from aejax.training.experiment import decisive

SPACE = 16 * 2**20  # bytes that a run needs beside its parameters: pictures, W&B files


@dataclasses.dataclass(frozen=True)
class Before:
    """What there was before a run: the folders `missing` for it, innermost first, and the names in its own."""

    missing: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a job leaves its run: its `folder`; `home`, that of its sweep or its own; what there was `before`; the name
    of its sweep.
    """

    folder: Path
    home: Path
    before: Before = Before()
    sweep: str | None = None


def check_folder(path, run_id, settings, key="hydra.run.dir"):
    """What there is Before the run with this id and these settings in `path`; leaves nothing behind.

    Raises InputError where no run can be written, or where there is one of another configuration; a finished one needs
    no space.
    """
    if "\0" in str(path):
        raise InputError(f"{key}: holds a null byte; must be the name of a folder")
    path = Path(path).absolute()
    told = f"{key}={path}"
    try:
        found = Run.found(path)
        if found and found.record.get("id", run_id) != run_id:
            raise InputError(f"{told}: holds another run ({_difference(found, settings)}); choose another folder")
        names = tuple(each.name for each in path.iterdir()) if path.is_dir() else ()
        if found and found.record.get("status") in FINISHED:
            return Before((), names)
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        made = []
        try:
            for folder in reversed(missing):
                folder.mkdir()
                made.append(folder)
            probe = path / f".probe.{os.getpid()}"
            probe.write_bytes(b"x")
            probe.unlink()
            check_space(path, told)
        finally:
            for folder in reversed(made):
                folder.rmdir()
    except OSError as error:
        kind = NoSpace if is_full(error) else InputError
        raise kind(f"{told}: cannot be written ({error.strerror}); must be a folder that can") from None
    return Before(tuple(missing), names)


def _difference(run, settings):
    """In words, what a run differs in from one with these `settings`."""
    try:
        there = OmegaConf.to_container(contents.config(run.path / SETTINGS / "config.yaml"), resolve=True)
    except (OSError, ValueError, OmegaConfBaseException):
        return "its .hydra/config.yaml cannot be read"
    differing = differences(decisive(there), decisive(settings))
    words = [f"{key}: {there} there, {here} here" for key, (there, here) in differing.items()]
    return "; ".join(words) or "another version, other data, or its .hydra/config.yaml is newer"


def check_space(path, told):
    """Raises NoSpace where the disk that holds the folder `path` has no space for a run; `told` begins the line."""
    free = shutil.disk_usage(path).free
    if free < SPACE:
        raise NoSpace(f"{told}: no space left, {free / 2**20:.1f} MiB; must have {SPACE / 2**20:.0f} MiB")


def discard(place):
    """Removes what a run that has not begun left in its Place, and nothing that was there before."""
    for name in {SETTINGS, "wandb", "run.json", LOCK} - set(place.before.names):
        path = place.folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in place.before.missing:
        with contextlib.suppress(OSError):  # something else is in it by now
            folder.rmdir()
