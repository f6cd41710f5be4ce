"""Hydra's errors about a command line, as one line with what the user may have meant. Imports no jax."""

import re
from pathlib import Path

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.base.errors import InputError, in_words, near
from aejax.compat import hydra_compat, omegaconf_compat
from aejax.config import hints
from aejax.config.menu import CONF, folders, groups

__all__ = ["CONF", "KNOWN", "axes_of", "check_axes", "check_lengths", "composed", "explained"]
KNOWN = (InputError, HydraException, OmegaConfBaseException, OSError)  # a user's mistake, not a bug
ALL = "--cfg job prints all of them"


def composed(words):
    """The configuration that Hydra, already initialized, composes from these words; raises InputError."""
    try:
        return hydra.compose("config", list(words), return_hydra_config=True)
    except Exception as error:  # Hydra's own exceptions, and ValueError and TypeError that it lets through
        raise InputError(str(explained(error, list(words)))) from None


def explained(error, words):
    """An exception of Hydra or aejax as one line, with what the user may have meant."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = error.options
        if group.startswith("sweep"):  # has choices in a folder of its own, which Hydra does not list
            group, _, choice = error.missing_cfg_file.partition("/")
            options = list(groups(folders(words))["sweep"])
        return f"{group}={choice}: no such choice; {hints.of_choice(group, choice, options)}"
    if isinstance(error, InputError | OSError):
        return in_words(error)
    places = folders(words)
    known = groups(places)
    unknown = hydra_compat.unknown_key(error)
    if unknown:
        return f"{unknown}: no such key; {hints.of_key(unknown.lstrip('~'), _choices(words, known), places)}{ALL}"
    if isinstance(error, OverrideParseException) and "=" not in error.override:
        return f"{error.override}: must be key=value{hints.of_word(error.override)}"
    for word in words if hydra_compat.is_of_group_value(error) else ():
        group, equals, choice = word.lstrip("+~").partition("=")
        if equals and group in known and not _is_name(word):
            return f"{word}: no such choice; {hints.of_choice(group, choice, known[group])}"
    several = hydra_compat.several_values(error)
    if several:
        key, values = several
        return f"{key}={values}: several values; add -m to sweep over them, or write [{values}] for a list"
    wrong = hydra_compat.wrong_type(error)
    if wrong:
        return f"{wrong[0]}: {omegaconf_compat.first_part(str(wrong[1]))}"
    message = omegaconf_compat.first_part(str(error))
    return message if any(word in message for word in words) else f"{message} (in: {' '.join(words)})"


def _is_name(word):
    """Whether Hydra looks this choice of a group up by name, unlike model=2 and ~noise=1e3."""
    override = hydra_compat.parsed_word(word)
    return override.is_sweep_override() or isinstance(override.value(), str | list)


def axes_of(config):
    """The axes in a sweep's file, {key: values}; raises InputError where the launcher or sweeper does not exist."""
    for name, kind in (("launcher", Launcher), ("sweeper", Sweeper)):
        node = config.hydra[name]
        if not OmegaConf.is_dict(node) or not isinstance(node.get("_target_"), str):
            raise InputError(f"hydra.{name}={node}: must be a mapping of settings with a _target_")
        plugins = hydra_compat.plugins(kind)
        if node._target_ not in plugins:
            raise InputError(f"hydra.{name}._target_={node._target_}: no such plugin; {near(node._target_, plugins)}")
    params = config.hydra.sweeper.get("params") or {}
    if not OmegaConf.is_dict(params) and params != {}:
        raise InputError(f"hydra.sweeper.params={params}: must be a mapping of keys to their values")
    return params


def folder_of(config, kind):
    """The folder of a `kind`, run or sweep, as the command names it; raises InputError."""
    node = config.hydra[kind]
    if not OmegaConf.is_dict(node):  # Hydra checks values, but not what an interpolation gives
        raise InputError(f"hydra.{kind}={node}: must be a mapping; write hydra.{kind}.dir=FOLDER")
    return Path(str(node.dir))


def check_axes(config):
    """Raises InputError where a composed sweep would not vary what its file or command line asks for."""
    axes = axes_of(config)
    for word in config.hydra.overrides.task:
        prefix, key = re.match(r"([+~]*)([^=@]*)", word).groups()
        if prefix and key in axes:
            raise InputError(f"{word}: the sweep already varies {key}; write {key}=... to replace its values")
        if key == "sweep" and key not in config.hydra.runtime.choices:
            raise InputError(f"{word}: must name one file; run several sweeps one after another")


def check_lengths(config):
    """Raises InputError where `steps` are given although `epochs`, which take precedence, are set as well."""
    overrides = dict(word.lstrip("+").split("=", 1) for word in config.hydra.overrides.task if "=" in word)
    axes = axes_of(config)
    lengths = {key: overrides.get(key, axes.get(key)) for key in ("steps", "epochs")}
    if lengths["epochs"] is None:
        lengths["epochs"] = config.get("epochs")
    if all(value not in (None, "null") for value in lengths.values()):
        settings = " ".join(f"{key}={value}" for key, value in lengths.items())
        raise InputError(f"{settings}: give one of the two, or epochs=null to count steps")


def _choices(words, known):
    """{group: choice} among the words of a command line, the first of several: they decide which keys exist."""
    split = [word.lstrip("+").split("=", 1) for word in words if "=" in word]
    return {group: choice.split(",")[0] for group, choice in split if group in known}
