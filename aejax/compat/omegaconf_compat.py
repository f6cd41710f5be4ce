"""OmegaConf 2.3: its dumper, and what a configuration keeps inside."""

from enum import Enum
from typing import Any

import yaml
from omegaconf import DictConfig, Node
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import OmegaConfBaseException


def yaml_dumper() -> type[yaml.Dumper]:
    """The dumper class with which OmegaConf.to_yaml writes plain containers; it is a yaml.Dumper, in Python.

    OmegaConf._utils has it; in public there is only to_yaml, which takes ten times as long.
    """
    return get_omega_conf_dumper()


def contents(node: Node) -> Any:
    """The plain containers of a configuration, unresolved, with the names of enums.

    A node's `_value()` is its value, or its nodes. OmegaConf.to_container(resolve=False, enum_to_str=True) gives the
    same in ten times as long.
    """
    value = node._value()
    if isinstance(value, dict):
        return {key: contents(child) for key, child in value.items()}
    if isinstance(value, list):
        return [contents(child) for child in value]
    return value.name if isinstance(value, Enum) else value


def view_without(config: DictConfig, key: str) -> DictConfig:
    """A DictConfig with the nodes of another but for one key; they resolve interpolations as before.

    A DictConfig keeps its nodes in `_content`, {key: node}. OmegaConf.masked_copy copies them.
    """
    view = DictConfig({})
    view.__dict__["_content"] = {name: node for name, node in config.__dict__["_content"].items() if name != key}
    return view


def key_of(error: OmegaConfBaseException) -> str | None:
    """The full key, as model.beta, that an OmegaConfBaseException is about; its attributes are not documented."""
    return error.full_key


def first_part(message: str) -> str:
    """What an error's message says before the lines on key and type that OmegaConf appends."""
    return message.split("full_key:")[0]
