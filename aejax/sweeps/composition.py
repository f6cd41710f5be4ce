"""Composing the jobs of a sweep: Hydra's own way, or a quicker one that gives the same.

Hydra composes every job from all its files, and twice, because the sweeper validates before the launcher launches. Here
each distinct choice of groups is composed once, plain `key=value` overrides are applied to a copy, and what the sweeper
validated the launcher gets. Uses private functions of Hydra's; tests/test_launcher.py compares both ways.
"""

import functools
import itertools
import pickle

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.base.errors import InputError

MOST_JOBS = 10_000  # of one sweep


def check_count(config):
    """Raises InputError where the composed `config` of a sweep asks Hydra's basic sweeper for no job or too many."""
    sweeper = config.hydra.sweeper
    if not str(sweeper._target_).endswith(".BasicSweeper"):
        return
    words = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    jobs, counts = 1, {}
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())  # which glob() asks
    for override in parser.parse_overrides([*words, *config.hydra.overrides.task]):
        values = 1
        if override.is_discrete_sweep():
            values = sum(1 for _ in itertools.islice(override.sweep_iterator(), MOST_JOBS + 1))
        counts[override.get_key_element()] = values, override.input_line
    for values, word in counts.values():
        jobs *= values
        if not 0 < jobs <= MOST_JOBS:
            told = "no job" if not jobs else f"more than {MOST_JOBS:,} jobs"
            raise InputError(f"{word}: makes {told}; must make 1 to {MOST_JOBS:,} in a sweep")


class SweepLoader:
    """Takes the place of Hydra's config loader `loader` while a sweep is composed."""

    def __init__(self, loader):
        self.loader = loader
        parser = OverridesParser.create(config_loader=loader)
        self.parsed = functools.cache(lambda word: parser.parse_overrides([word])[0])
        self.bases, self.composed = {}, {}

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def load_sweep_config(self, master_config, sweep_overrides):
        """The sweeper's call, for validation: composes, and keeps what comes of it, an exception included.

        An exception here would end the sweep for all jobs.
        """
        try:
            config = self._compose(master_config, sweep_overrides)
        except (HydraException, OmegaConfBaseException) as error:
            config = error
        self.composed.setdefault(tuple(sweep_overrides), []).append(config)

    def take(self, master_config, sweep_overrides):
        """The launcher's call: the configuration of one job; raises what Hydra raises where it cannot be composed."""
        kept = self.composed.get(tuple(sweep_overrides))
        config = kept.pop() if kept else self._compose(master_config, sweep_overrides)
        if isinstance(config, Exception):
            raise config
        return config

    def _compose(self, master_config, sweep_overrides):
        try:
            return self._applied(master_config, sweep_overrides)
        except (ValueError, TypeError, AttributeError) as error:  # Hydra's, of a choice that is no text, as model=2
            if isinstance(error, OmegaConfBaseException):
                raise
            raise HydraException(str(error)) from None

    def _applied(self, master_config, sweep_overrides):
        parsed = [self.parsed(word) for word in sweep_overrides]
        groups = [each for each in parsed if self.loader.repository.group_exists(each.key_or_group)]
        plain = [each for each in parsed if each not in groups]
        if any(each.is_delete() or each.is_add() or each.is_hydra_override() or each.package for each in plain):
            return self.loader.load_sweep_config(master_config, list(sweep_overrides))
        chosen = tuple(each.input_line for each in groups)
        if chosen not in self.bases:
            base = self.loader.load_sweep_config(master_config, list(chosen))
            self.bases[chosen] = pickle.dumps(base, pickle.HIGHEST_PROTOCOL)
        config = pickle.loads(self.bases[chosen])  # a copy, in a fifth of the time of deepcopy
        ConfigLoaderImpl._apply_overrides_to_config(plain, config)
        config.hydra.overrides.task = [each.input_line for each in parsed]
        form = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            parsed, kv_sep=form.kv_sep, item_sep=form.item_sep, exclude_keys=form.exclude_keys
        )
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config
