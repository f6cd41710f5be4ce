"""A search: Optuna chooses the settings of each batch of jobs from the results of the batches before."""

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
    """The number of trials in total and per batch, whether the objective is minimized, and the seed."""

    n_trials: int = static_int(1)
    n_jobs: int = static_int(1)
    direction: str = static_choice("minimize", "maximize")
    seed: int = static_int(0, 2**32 - 1)


def search(launcher, config_loader, config, settings, words):
    """Runs the search; returns a list of JobReturns per batch. Those of the overrides `words` that vary span the space.

    A failed trial does not stop the search; neither does a diverged one. Tree-structured Parzen estimator (Bergstra et
    al. 2011), seeded: the same command gives the same trials.
    """
    options = Build(OmegaConf.create()).instance(Search, settings, "hydra.sweeper")
    try:
        import optuna
    except ImportError:
        raise InputError("hydra/sweeper=optuna: requires Optuna: pip install 'aejax[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    overrides = hydra_compat.parsed(words, config_loader)
    space = {override.get_key_element(): override for override in overrides}  # a later one wins
    varied = {key: distribution(optuna, override) for key, override in space.items() if override.is_sweep_override()}
    fixed = [f"{key}={override.get_value_element_as_str()}" for key, override in space.items() if key not in varied]
    if not varied:
        raise InputError("hydra/sweeper=optuna: nothing varies; give a choice, a range or an interval")
    write_command(config)
    sampler = optuna.samplers.TPESampler(seed=options.seed)
    study = optuna.create_study(sampler=sampler, direction=options.direction)
    batches = []
    for first in range(0, options.n_trials, options.n_jobs):
        trials = [study.ask(varied) for _ in range(min(options.n_jobs, options.n_trials - first))]
        jobs = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
        batches.append(launcher.launch(jobs, initial_job_idx=first))
        for trial, returned in zip(trials, batches[-1], strict=True):
            value = returned.return_value if returned.status is JobStatus.COMPLETED else None
            study.tell(trial, value, state=optuna.trial.TrialState.FAIL if value is None else None)
    _summarize(study, config.objective)
    return batches


def distribution(optuna, override):
    """The Optuna distribution of an override; raises InputError if there is none.

    Choices are categorical; a range has whole numbers or floats, in steps; an interval has floats, or whole numbers
    as int(interval(1,9)); tag(log, ...) draws uniformly on a log scale.
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
        raise InputError(f"{override.input_line}: {reason}, so Optuna cannot draw from it") from None


def _summarize(study, objective):
    done = [trial for trial in study.trials if trial.value is not None]
    summary = f"{len(study.trials)} trials"
    if len(done) < len(study.trials):
        summary += f", {len(study.trials) - len(done)} of them without a result"
    if done:
        best = study.best_trial
        words = " ".join(f"{key}={value}" for key, value in best.params.items())
        summary += f"; best {objective} {best.value:.4g} in run {best.number}: {words}"
    ConsoleReport().say(summary)
    if not done:
        raise JobFailed(summary)
