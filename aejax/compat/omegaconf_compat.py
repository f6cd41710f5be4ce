"""OmegaConf 2.3: its dumper, and what a configuration keeps inside."""

import pickle

import yaml
from omegaconf import DictConfig
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import OmegaConfBaseException


def yaml_dumper() -> type[yaml.Dumper]:
    """The dumper class with which OmegaConf.to_yaml writes plain containers; it is a yaml.Dumper, in Python.

    OmegaConf._utils has it; in public there is only to_yaml, which takes ten times as long.
    """
    return get_omega_conf_dumper()


def copied_without(config: DictConfig, key: str) -> DictConfig:
    """A deep copy of a DictConfig without one of its keys; until it is made, `config` is without it too.

    A DictConfig keeps its nodes in `_content`, {key: node}. OmegaConf.masked_copy takes five times as long.
    """
    content = config.__dict__["_content"]
    config.__dict__["_content"] = {name: node for name, node in content.items() if name != key}
    try:
        return pickle.loads(pickle.dumps(config))
    finally:
        config.__dict__["_content"] = content


def key_of(error: OmegaConfBaseException) -> str | None:
    """The full key, as model.beta, that an OmegaConfBaseException is about; its attributes are not documented."""
    return error.full_key


def first_part(message: str) -> str:
    """What an error's message says before the lines on key and type that OmegaConf appends."""
    return message.split("full_key:")[0]
