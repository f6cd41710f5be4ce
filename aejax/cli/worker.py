"""python -m aejax.worker SWEEP K: trains program K of a sweep that has been planned, in this process."""

import argparse
import contextlib
import sys
from pathlib import Path

from aejax.base.confinement import check_links, confined
from aejax.base.errors import is_full, no_space
from aejax.cli.parsing import Parser, fail, reported
from aejax.cli.signals import SCHEDULERS, heed_signals

USE = """The folder of the sweep is all that it needs, and the data. sweep.json lists the programs; hydra/launcher=local
and hydra/launcher=slurm start a worker for each. One that was stopped goes on to the same bits."""


def main(words=None):
    """The command; exit status 0, 1 for a failed run or a full disk, 2 for a wrong input, 130 for an interrupt."""
    parser = Parser(
        "python -m aejax.worker",
        description=__doc__,
        epilog=USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help="the folder of a sweep")
    parser.add_argument("number", type=int, metavar="K", help="the program, from 1 on")
    parser.add_argument("--trust", action="store_true", help="read classes that are not aejax's own")
    options = parser.parse_args(words)
    heed_signals(SCHEDULERS)
    with reported(options.sweep):
        if not options.trust and options.sweep.is_dir():
            check_links(options.sweep)
        with contextlib.nullcontext() if options.trust else confined(options.sweep):
            _train(options)


def _train(options):
    from aejax.sweeps.worker import Program

    program = Program(options.sweep, options.number)
    if program.is_finished:
        print(f"program {options.number}: all of its runs are finished")
        return
    try:
        outcome = program.train(None if options.trust else ("aejax",))
    except OSError as error:
        if not is_full(error):
            raise
        fail(no_space(error, options.sweep), 1)
    for number, text in outcome.errors.items():
        print(f"aejax: job {number}: {text}", file=sys.stderr)
    if outcome.errors:
        sys.exit(1)
