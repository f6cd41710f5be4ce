"""python -m aejax.share RUN OUT.zip: packs a finished run as one file for somebody else."""

import argparse
from pathlib import Path

from aejax.base.errors import InputError
from aejax.base.files import write_whole
from aejax.cli.parsing import Parser, reported

USE = """The archive holds the parameters, codes, metrics, history, pictures and settings of the run. It leaves out
W&B's files, checkpoints, absolute paths, names of user and computer, and what looks like a password or a key.

read it:  aejax.load("OUT.zip")"""


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
    run = finished(path, force=force, option="--force")
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
