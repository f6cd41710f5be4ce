"""python -m aejax.share RUN OUT.zip: packs a finished run as one file for somebody else."""

import argparse
from pathlib import Path

from aejax.base.errors import InputError
from aejax.base.files import write_whole
from aejax.cli.parsing import Parser, reported

USE = """The archive holds the parameters, codes, metrics, history, pictures and settings of the run. It leaves out
W&B's files, checkpoints, absolute paths, names of user and computer, and what looks like a password or a key.

read it:  aejax.load("OUT.zip")"""
MOST_JOBS = 5  # of a sweep, that an error names


def main(words=None):
    """The command; exit status 0, or 2 for a wrong input."""
    parser = Parser(
        prog="python -m aejax.share",
        description=__doc__,
        epilog=USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run")
    parser.add_argument("out", metavar="OUT.zip", help="the archive to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.zip if it exists")
    parser.add_argument("--force", action="store_true", help="also a run that diverged or was not finished")
    options = parser.parse_args(words)
    with reported(options.out):
        share(Path(options.run), Path(options.out), options.overwrite, options.force)


def share(path, out, overwrite=False, force=False):
    """Writes the zip archive `out` of the run in the folder `path`, and prints its size; raises InputError."""
    from aejax.runs.finished import finished
    from aejax.runs.sharing import shared, zipped

    _check_out(path, out, overwrite)
    if not path.is_dir():
        raise InputError(f"{path}: must be the folder of a run")
    _check_no_sweep(path)
    run = finished(path, force=force)
    if run.record["status"] == "diverged" and not force:
        raise InputError(f"{path}: diverged; --force shares its last finite parameters")
    files = shared(run)
    content = zipped(files)
    write_whole(out, content)
    print(f"{out}: {len(files)} files, {len(content):,} bytes")


def _check_out(path, out, overwrite):
    if out.suffix != ".zip":
        raise InputError(f"{out}: must end with .zip")
    if out.is_dir() or (out.exists() and not out.is_file()):
        raise InputError(f"{out}: is no file; choose another name")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists; --overwrite replaces it")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist")


def _check_no_sweep(path):
    """Raises InputError for the folder of a sweep, which names some of its jobs."""
    from aejax.runs.folder import LEDGER

    if (path / "run.json").exists() or not (path / LEDGER).exists():
        return
    jobs = sorted((folder.parent for folder in path.glob("*/run.json")), key=lambda job: (len(job.name), job.name))
    some = ", ".join(map(str, jobs[:MOST_JOBS])) + (
        f" and {len(jobs) - MOST_JOBS} more" if len(jobs) > MOST_JOBS else ""
    )
    raise InputError(f"{path}: is the folder of a sweep; share one of its jobs: {some or 'none has begun'}")
