"""Composes the jobs of a sweep as Hydra does, but faster: each choice of groups once, other overrides on a copy."""

import pickle

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.compat import hydra_compat


class Composition:
    """Composes the jobs of a sweep with Hydra's config `loader` and the sweep's own configuration `master`."""

    def __init__(self, loader, master):
        self.loader, self.master = loader, master
        self.parsed, self.groups = {}, {}  # words as Overrides; keys, whether they are groups
        self.bases = {}  # choices of groups as pickled configurations

    def job(self, words):
        """The configuration of one job; raises HydraException or OmegaConfBaseException."""
        try:
            return self._composed(list(words))
        except (ValueError, TypeError, AttributeError) as error:  # Hydra's, for a choice that is no text, as model=2
            if isinstance(error, OmegaConfBaseException):
                raise
            raise HydraException(str(error)) from None

    def _composed(self, words):
        overrides = [self._override(word) for word in words]
        choices = [override for override in overrides if self._is_group(override.key_or_group)]
        values = [override for override in overrides if override not in choices]
        if not all(_is_plain(override) for override in values):
            return self.loader.load_sweep_config(self.master, words)
        config = pickle.loads(self._base(choices))  # a copy, five times faster than deepcopy
        hydra_compat.apply_overrides(values, config)
        config.hydra.overrides.task = [override.input_line for override in overrides]
        config.hydra.job.override_dirname = hydra_compat.override_dirname(overrides, config)
        OmegaConf.copy_cache(from_config=self.master, to_config=config)
        return config

    def _override(self, word):
        if word not in self.parsed:
            [self.parsed[word]] = hydra_compat.parsed([word], self.loader)
        return self.parsed[word]

    def _is_group(self, key):
        if key not in self.groups:
            self.groups[key] = hydra_compat.is_group(self.loader, key)
        return self.groups[key]

    def _base(self, choices):
        """The pickled configuration with these choices of groups."""
        words = tuple(override.input_line for override in choices)
        if words not in self.bases:
            config = self.loader.load_sweep_config(self.master, list(words))
            self.bases[words] = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
        return self.bases[words]


def _is_plain(override):
    """Whether an Override only changes the value of an existing setting."""
    return not (override.is_delete() or override.is_add() or override.is_hydra_override() or override.package)
