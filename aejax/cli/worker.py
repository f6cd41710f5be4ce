"""python -m aejax.worker SWEEP K: trains program K of a sweep that has been planned, in this process."""

import argparse
import contextlib
import sys
import time
from pathlib import Path

from aejax.base.confinement import check_links, confined
from aejax.base.errors import InputError, InUse, is_full, no_space
from aejax.cli.parsing import Parser, fail, reported
from aejax.cli.signals import SCHEDULERS, heed_end_of_input, heed_signals

USE = """The folder of the sweep is all that it needs, and the data. sweep.json lists the programs; hydra/launcher=local
and hydra/launcher=slurm start a worker for each. One that was stopped goes on to the same bits."""
ATTACHED = "end, with a checkpoint, when standard input ends; wait while another process trains the program"
POLLED = 1.0  # seconds


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
    parser.add_argument("--attached", action="store_true", help=ATTACHED)
    options = parser.parse_args(words)
    heed_signals(SCHEDULERS)
    if options.attached:
        heed_end_of_input()
    with reported(options.sweep):
        if options.sweep.exists() and not options.sweep.is_dir():
            raise InputError(f"{options.sweep}: is no folder; name the folder of a sweep")
        if not options.trust and options.sweep.is_dir():
            check_links(options.sweep)
        with contextlib.nullcontext() if options.trust else confined(options.sweep):
            _train(options)


def _train(options):
    from aejax.sweeps.worker import Program

    program, is_waiting = Program(options.sweep, options.number), False
    while not program.is_finished:
        try:
            _leave(program.train(None if options.trust else ("aejax",)))
            return
        except InUse as error:
            if not options.attached:
                raise InUse(f"program {options.number}: another process is training it") from error
            if not is_waiting:
                print(f"program {options.number}: another process is training it; waiting", flush=True)
            is_waiting = True
            time.sleep(POLLED)
        except OSError as error:
            if not is_full(error):
                raise
            fail(no_space(error, options.sweep), 1)
    print(f"program {options.number}: all of its runs are finished")


def _leave(outcome):
    """Says which jobs failed, and why; exits with status 1 if there are any."""
    jobs = {}
    for number, text in outcome.errors.items():
        jobs.setdefault(text, []).append(str(number))
    for text, numbers in jobs.items():
        print(f"aejax: job {', '.join(numbers)}: {text}", file=sys.stderr)
    if jobs:
        sys.exit(1)
