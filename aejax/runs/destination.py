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
class FolderState:
    """A folder before a run: the `names` in it, and the folders `missing` on the way to it, innermost first."""

    missing: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a job leaves its run: its `folder`; `home`, the folder of its sweep, or its own; the `initial` state of its
    folder; the name of its `sweep`.
    """

    folder: Path
    home: Path
    initial: FolderState = FolderState()
    sweep: str | None = None


def check_folder(path, run_id, settings, key="hydra.run.dir"):
    """The FolderState of `path` before the run with this id and these settings; leaves nothing behind.

    Raises InputError where no run can be written, or where `path` holds a run of another configuration, and NoSpace
    where the disk is full; a finished run needs no space.
    """
    if "\0" in str(path):
        raise InputError(f"{key}: holds a null byte; must be the name of a folder")
    path = Path(path).absolute()
    setting = f"{key}={path}"
    try:
        run = Run.find(path)
        if run and run.record.get("id", run_id) != run_id:
            raise InputError(f"{setting}: holds another run ({_difference(run, settings)}); choose another folder")
        names = tuple(entry.name for entry in path.iterdir()) if path.is_dir() else ()
        if run and run.record.get("status") in FINISHED:
            return FolderState((), names)
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        created = []
        try:
            for folder in reversed(missing):
                folder.mkdir()
                created.append(folder)
            probe = path / f".probe.{os.getpid()}"
            probe.write_bytes(b"x")
            probe.unlink()
            check_space(path, setting)
        finally:
            for folder in reversed(created):
                folder.rmdir()
    except OSError as error:
        kind = NoSpace if is_full(error) else InputError
        raise kind(f"{setting}: cannot be written ({error.strerror}); choose a folder that can be written") from None
    return FolderState(tuple(missing), names)


def _difference(run, settings):
    """How the settings of a run differ from these `settings`, in words."""
    try:
        saved = OmegaConf.to_container(contents.settings(run.path / SETTINGS / "config.yaml"), resolve=True)
    except (OSError, ValueError, OmegaConfBaseException):
        return "its .hydra/config.yaml cannot be read"
    differing = differences(decisive(saved), decisive(settings))
    words = [f"{key}: {old} there, {new} here" for key, (old, new) in differing.items()]
    return "; ".join(words) or "another version, other data, or its .hydra/config.yaml is newer"


def check_space(path, setting):
    """Raises NoSpace where the disk that holds the folder `path` has no space for a run; names the `setting`."""
    free = shutil.disk_usage(path).free
    if free < SPACE:
        raise NoSpace(f"{setting}: no space left, {free / 2**20:.1f} MiB free; a run needs {SPACE / 2**20:.0f} MiB")


def discard(place):
    """Removes what a run that could not begin left in its Place, and nothing that was there before it."""
    for name in {SETTINGS, "wandb", "run.json", LOCK} - set(place.initial.names):
        path = place.folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in place.initial.missing:
        with contextlib.suppress(OSError):  # something else is in it by now
            folder.rmdir()
