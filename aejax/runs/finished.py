"""A finished run, checked before it is used."""

from pathlib import Path

from aejax.base.errors import InputError
from aejax.runs.folder import FORMAT, LEDGER, SETTINGS, Run

MODEL = ("params.safetensors", f"{SETTINGS}/config.yaml")  # the files that the model is made from
NAMED = 5  # of a sweep, that an error names


def finished(path: Path | str, files: tuple[str, ...] = MODEL, force: bool = False, option: str = "") -> Run:
    """The completed run in `path`, which has these `files`; raises InputError where there is none.

    `force` takes one that diverged or has not ended, if it has the files; `option` is how a user asks for that.
    """
    _check_no_sweep(Path(path))
    run = Run.read(path)
    if run.format != FORMAT:
        remedy = "train it again with this version" if run.format < FORMAT else "install a newer aejax"
        raise InputError(f"{path}: its files are of format {run.format}, not {FORMAT}; {remedy}")
    status = run.record["status"]
    missing = [name for name in files if not (run.path / name).exists()]
    if status != "completed" and not force:
        remedy = f"; {option} uses the parameters that it has" if option and not missing else ""
        raise InputError(f"{path}: its status is {status}; must be completed{remedy}")
    if missing:
        remedy = "name the complete folder of a run" if status == "completed" else f"its status is {status}"
        raise InputError(f"{path}: holds no {missing[0]}; {remedy}")
    return run


def _check_no_sweep(path: Path) -> None:
    """Raises InputError for the folder of a sweep, which names some of its jobs."""
    if (path / "run.json").exists() or not (path / LEDGER).exists():
        return
    jobs = sorted((folder.parent for folder in path.glob("*/run.json")), key=lambda job: (len(job.name), job.name))
    more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    some = f"{', '.join(map(str, jobs[:NAMED]))}{more}" if jobs else "none has begun"
    raise InputError(f"{path}: is the folder of a sweep; name one of its jobs: {some}")
