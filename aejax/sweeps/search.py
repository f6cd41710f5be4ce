"""A search: Optuna chooses the numbers of the next jobs from the results of those before, batch by batch."""

from flax import struct
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from aejax.base.errors import InputError, JobFailed
from aejax.compat import hydra_compat
from aejax.runs.console import ConsoleReport
from aejax.settings.build import Build
from aejax.settings.fields import static_choice, static_int
from aejax.sweeps.grid import write_command


@struct.dataclass
class Search:
    """How many trials in all and at once, and what is better."""

    n_trials: int = static_int(1)
    n_jobs: int = static_int(1)
    direction: str = static_choice("minimize", "maximize")
    seed: int = static_int(0, 2**32 - 1)


def search(launcher, config_loader, config, settings, words):
    """The JobReturns, a list for each batch; `words` are overrides, of which those that vary span the space.

    A trial that fails or diverges counts for nothing and ends nothing. Tree-structured Parzen estimator (Bergstra et
    al. 2011), seeded: the same command asks for the same trials.
    """
    asked = Build(OmegaConf.create()).instance(Search, settings, "hydra.sweeper")
    try:
        import optuna
    except ImportError:
        raise InputError("hydra/sweeper=optuna: requires Optuna: pip install 'aejax[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    overrides = hydra_compat.parsed(words, config_loader)
    space = {each.get_key_element(): each for each in overrides}  # a later one wins
    varied = {key: distribution(optuna, each) for key, each in space.items() if each.is_sweep_override()}
    fixed = [f"{key}={each.get_value_element_as_str()}" for key, each in space.items() if key not in varied]
    if not varied:
        raise InputError("hydra/sweeper=optuna: nothing varies; must be given a choice, a range or an interval")
    write_command(config)
    sampler = optuna.samplers.TPESampler(seed=asked.seed)
    study = optuna.create_study(sampler=sampler, direction=asked.direction)
    batches = []
    for first in range(0, asked.n_trials, asked.n_jobs):
        trials = [study.ask(varied) for _ in range(min(asked.n_jobs, asked.n_trials - first))]
        jobs = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
        batches.append(launcher.launch(jobs, initial_job_idx=first))
        for trial, returned in zip(trials, batches[-1], strict=True):
            value = returned.return_value if returned.status is JobStatus.COMPLETED else None
            study.tell(trial, value, state=optuna.trial.TrialState.FAIL if value is None else None)
    _tell(study, config.objective)
    return batches


def distribution(optuna, override):
    """What Optuna draws an override from; raises InputError where it cannot.

    Choices are drawn as they stand; a range is of whole numbers or of floats, in steps; an interval is of floats, or
    of whole numbers as int(interval(1,9)); tag(log, ...) draws the logarithm evenly.
    """
    value, kinds = override.value(), optuna.distributions
    log = "log" in value.tags
    try:
        if override.is_interval_sweep():
            kind = kinds.IntDistribution if isinstance(value.start, int) else kinds.FloatDistribution
            return kind(value.start, value.end, log=log)
        if override.is_range_sweep() and not value.shuffle:
            values = list(value.range())
            kind = kinds.IntDistribution if isinstance(values[0], int) else kinds.FloatDistribution
            return kind(float(values[0]) if kind is kinds.FloatDistribution else values[0], values[-1], log, value.step)
        return kinds.CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, IndexError) as error:
        reason = str(error).rstrip(".")
        raise InputError(f"{override.input_line}: {reason}; must be a space that Optuna can draw from") from None


def _tell(study, objective):
    done = [trial for trial in study.trials if trial.value is not None]
    told = f"{len(study.trials)} trials"
    if len(done) < len(study.trials):
        told += f", {len(study.trials) - len(done)} of them without a result"
    if done:
        best = study.best_trial
        words = " ".join(f"{key}={value}" for key, value in best.params.items())
        told += f"; best {objective} {best.value:.4g} in run {best.number}: {words}"
    ConsoleReport().say(told)
    if not done:
        raise JobFailed(told)
