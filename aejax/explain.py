"""What Hydra says of a wrong command line, as one line with what the user may have meant. Imports no jax."""

import functools
import re
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.errors import InputError, matches, near
from aejax.nested import dotted

PACKAGE = Path(__file__).parent
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())
KNOWN = (InputError, HydraException, OmegaConfBaseException, OSError)  # a user's mistake, not a defect


def explained(error, words):
    """What Hydra has to say, in one line, with what the user may have meant."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice}: no such choice; {near(choice, error.options)}"
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown:
        chosen = _choices(words)
        owners = ", ".join(_owners(unknown[1], chosen))
        told = f"only with {owners}; " if owners else matches(unknown[1], _keys(chosen))
        return f"{unknown[1]}: no such key; {told}--cfg job prints all of them"
    if isinstance(error, InputError | OSError):
        return error
    told = str(error).split("full_key:")[0]
    return told if any(word in told for word in words) else f"{told} (in: {' '.join(words)})"


def check_axes(config):
    """Raises InputError where a composed sweep would not vary what its file or its command line says."""
    axes = config.hydra.sweeper.get("params") or {}
    for word in config.hydra.overrides.task:
        prefix, key = re.match(r"([+~]*)([^=@]*)", word).groups()
        if prefix and key in axes:
            raise InputError(f"{word}: the sweep varies {key} itself; must be {key}=..., which replaces its values")
        if key == "sweep" and key not in config.hydra.runtime.choices:
            raise InputError(f"{word}: must name one file, several of them with -m one after another")


def _owners(unknown, chosen):
    """The choices of the unknown key's group with which there is such a key, as net=mlp, beside those `chosen`."""
    group = unknown.split(".")[0]
    others = [word for word in chosen if not word.startswith(f"{group}=")]
    choices = sorted(f"{group}={path.stem}" for path in (CONF / group).glob("*.yaml"))
    return [choice for choice in choices if unknown in _keys((*others, choice))]


def _choices(words):
    """The choices of groups among words of a command line, of several the first: they decide what keys there are."""
    split = [word.lstrip("+").split("=", 1) for word in words if "=" in word and not word.startswith("hydra")]
    return tuple(f"{key}={value.split(',')[0]}" for key, value in split if (CONF / key).is_dir())


@functools.cache
def _keys(chosen):
    """The keys that there are with these choices of groups."""
    before = Singleton.get_state()
    try:
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = OmegaConf.to_container(hydra.compose("config", list(chosen)), resolve=False)
            parts = [name.split(".") for name, _ in dotted(config)]
            return sorted({".".join(each[:length]) for each in parts for length in range(1, len(each) + 1)})
    except HydraException:  # somebody's own choice
        return []
    finally:
        Singleton.set_state(before)
