"""A finished run, checked before it is used."""

from pathlib import Path

from aejax.base.errors import InputError
from aejax.runs.folder import FINISHED, FORMAT, SETTINGS, Run

MODEL = ("params.safetensors", f"{SETTINGS}/config.yaml")  # the files that the model is made from


def finished(path: Path | str, files: tuple[str, ...] = MODEL, force: bool = False) -> Run:
    """The run in `path`, which has ended and has these `files`; raises InputError where it has not, or is unknown.

    `force` takes one that has not ended, if it has the files.
    """
    run = Run.read(path)
    if run.format != FORMAT:
        remedy = "train it again with this version" if run.format < FORMAT else "install a newer aejax"
        raise InputError(f"{path}: its files are of format {run.format}, not {FORMAT}; {remedy}")
    status = run.record["status"]
    if status not in FINISHED and not force:
        raise InputError(f"{path}: its status is {status}; must be {' or '.join(FINISHED)}")
    for name in files:
        if not (run.path / name).exists():
            remedy = "name the complete folder of a run" if status in FINISHED else f"its status is {status}"
            raise InputError(f"{path}: holds no {name}; {remedy}")
    return run
