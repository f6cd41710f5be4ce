"""Composed configurations as plain containers, without Hydra's own part, and how two of them differ."""

import copy

from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from aejax.base.errors import InputError
from aejax.base.nested import dotted, shown
from aejax.compat import omegaconf_compat


def without_hydra(config):
    """A composed configuration without Hydra's own part; it shares its nodes with `config`."""
    return omegaconf_compat.view_without(config, "hydra")


def plain(config):
    """The configuration as resolved plain containers; raises InputError for a missing value or interpolation."""
    settings = omegaconf_compat.contents(config)
    text = repr(settings)
    if "${" not in text and "???" not in text:  # nothing to resolve, nothing missing
        return settings
    if "hydra" in text:  # perhaps ${hydra.job.name}, which a view would resolve and a run folder could not
        config = copy.deepcopy(config)
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise InputError(f"{omegaconf_compat.key_of(error)}=???: must be given") from None
    except OmegaConfBaseException as error:
        raise InputError(str(error).splitlines()[0]) from None


def differences(first, second):
    """{key: (first value, second value)} where two configurations differ, as overrides write them; null if absent."""
    flat = [dict(dotted(config)) for config in (first, second)]
    values = {key: tuple(shown(config.get(key)) for config in flat) for key in sorted(flat[0].keys() | flat[1].keys())}
    return {key: pair for key, pair in values.items() if pair[0] != pair[1]}
