"""Executes jobs of equal structure, a single one or a program of a sweep: their runs, or why there are none."""

import traceback

from aejax.base.errors import InputError, in_words, is_full
from aejax.runs.destination import discard
from aejax.runs.folder import Run
from aejax.runs.group import run_group
from aejax.runs.record import NotBegun


def execute(jobs, places, layout, clock, report):
    """Trains the jobs and leaves a Run of each in its Place: (the finished Runs, None for others; the error or None).

    The folder of a run that cannot begin is left as it was. KeyboardInterrupt passes through, with a checkpoint left.
    """
    try:
        return run_group(jobs, places, layout, clock, report), None
    except Exception as error:
        runs = [Run.finished(place.folder, job.run_id) for job, place in zip(jobs, places, strict=True)]
        for run, place in zip(runs, places, strict=True):
            if run is None and isinstance(error, NotBegun):
                discard(place)
        return runs, error


def reason(error):
    """Why runs failed, in words; the traceback of a bug is printed. Raises the error of a full disk, which the jobs
    after these would meet, too."""
    if is_full(error):
        raise error
    if not isinstance(error, InputError | OSError):
        traceback.print_exception(error)
        return f"{type(error).__name__}: {error}"
    return in_words(error)
