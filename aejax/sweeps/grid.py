"""The grid of a sweep: one job for each combination of the values on the command line and in the sweep's file."""

import itertools
import math
from pathlib import Path

from omegaconf import OmegaConf

from aejax.base.errors import InputError
from aejax.compat import hydra_compat

MOST_JOBS = 10_000  # in a sweep


def sweep(launcher, loader, config, words, batch, validate):
    """Launches all jobs, `batch` at a time; returns their JobReturns by batch, raises the first failed job's exception.

    A later one of the overrides `words` replaces an earlier one with the same key. `validate` composes all jobs before
    the first one starts, for a launcher that would notice an error only when it reaches the job.
    """
    if batch is not None and (not isinstance(batch, int) or batch < 1) and batch != -1:
        raise InputError(f"hydra.sweeper.max_batch_size={batch}: must be a whole number at least 1 or null")
    jobs = combinations(hydra_compat.parsed(words, loader))
    for job in jobs if validate else ():
        loader.load_sweep_config(config, job)
    write_command(config)
    size = len(jobs) if batch in (None, -1) else batch
    batches = [launcher.launch(jobs[first : first + size], first) for first in range(0, len(jobs), size)]
    for returned in itertools.chain.from_iterable(batches):
        _ = returned.return_value  # raises the exception of a failed job
    return batches


def combinations(overrides):
    """The words of each job; raises InputError if there would be no job, or more than MOST_JOBS."""
    axes = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [f"{key}={override.get_value_element_as_str()}"], override
            continue
        if not override.is_discrete_sweep():
            raise InputError(f"{override.input_line}: an interval has no list of values; add hydra/sweeper=optuna")
        values = itertools.islice(override.sweep_string_iterator(), MOST_JOBS + 1)
        axes[key] = [f"{key}={value}" for value in values], override
    for count in range(1, len(axes) + 1):
        jobs = math.prod(len(words) for words, _ in list(axes.values())[:count])
        if not 0 < jobs <= MOST_JOBS:
            word = list(axes.values())[count - 1][1].input_line
            amount = "no job" if not jobs else f"more than {MOST_JOBS:,} jobs"
            raise InputError(f"{word}: makes {amount}; a sweep has 1 to {MOST_JOBS:,}")
    return [list(words) for words in itertools.product(*(words for words, _ in axes.values()))]


def write_command(config):
    """Writes multirun.yaml into the sweep's folder: its configuration, with the overrides of the command."""
    folder = Path(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
