"""Builds objects from a configuration, checked against the fields that their classes declare."""

import dataclasses
import importlib
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig

from aejax.base.errors import InputError, NotTrusted, near
from aejax.base.nested import shown
from aejax.compat.omegaconf_compat import contents


class Build:
    """Builds objects from a configuration and checks every value.

    `trusted` are the packages whose classes a `_target_` may name. None trusts all, which is right for what the
    user typed and wrong for a configuration that came with somebody else's run.
    """

    def __init__(self, config: DictConfig, trusted: tuple[str, ...] | None = None) -> None:
        self.trusted = trusted
        self.raw = contents(config)
        self.referred = set(re.findall(r"\$\{([\w.]+)\}", json.dumps(self.raw)))

    def component(self, node: Any, key: str, attributes: Sequence[str] = ()) -> Any:
        """The object that the mapping `node` at `key` describes; raises InputError.

        Its class must have these `attributes`.
        """
        if not isinstance(node, dict):
            raise InputError(f"{key}={shown(node)}: must be a mapping of settings with a _target_")
        if "_target_" not in node:
            raise InputError(f"{key}._target_: is missing; name a dataclass there")
        cls = self._class(node["_target_"], f"{key}._target_")
        members = {name for base in cls.__mro__ for name in vars(base)} | {
            field.name for field in dataclasses.fields(cls)
        }
        if not members.issuperset(attributes):
            needed = ", ".join(attributes)
            raise InputError(f"{key}._target_={node['_target_']}: must name a dataclass that has {needed}")
        return self.instance(cls, node, key)

    def components(self, node: Any, key: str, attributes: Sequence[str] = ()) -> dict[str, Any]:
        """{name: object} that the mapping `node` at `key` describes; raises InputError."""
        if not isinstance(node, dict):
            raise InputError(f"{key}={shown(node)}: must be a mapping of names to components")
        return {name: self.component(entry, f"{key}.{name}", attributes) for name, entry in node.items()}

    def instance(self, cls: type, node: dict[str, Any], key: str = "") -> Any:
        """An instance of the dataclass `cls` with the values in `node`; raises InputError."""
        prefix = f"{key}." if key else ""
        fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
        for name in node:
            # A key that other settings refer to, as ${model.beta}, needs no field of its own.
            if name not in fields and name != "_target_" and f"{prefix}{name}" not in self.referred:
                raise InputError(f"{prefix}{name}: no such key; {near(name, fields)}")
        values = {}
        for name, field in fields.items():
            if name in node:
                values[name] = self._value(field, node[name], f"{prefix}{name}")
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise InputError(f"{prefix}{name}: is missing")
        return cls(**values)

    def _value(self, field: dataclasses.Field, value: Any, key: str) -> Any:
        setting = field.metadata.get("setting")
        if setting is not None:
            try:
                return setting.parse(value)
            except (ValueError, OverflowError):  # OverflowError: a whole number too large for a float
                raise InputError(f"{self._origin(key)}={shown(value)}: must be {setting.allowed}") from None
        if "part" in field.metadata:
            return self.component(value, key, field.metadata["part"])
        if "parts" in field.metadata:
            return self.components(value, key, field.metadata["parts"])
        return np.float32(value) if isinstance(value, float) else value  # a foreign class with plain fields

    def _origin(self, key: str) -> str:
        """The key that the user would change: if `key` holds ${other}, that is `other`."""
        node = self.raw
        for name in key.split("."):
            node = node[name] if isinstance(node, dict) and name in node else None
        reference = re.fullmatch(r"\$\{([\w.]+)\}", node) if isinstance(node, str) else None
        return self._origin(reference[1]) if reference else key

    def _class(self, target: Any, key: str) -> Any:
        module, _, name = str(target).rpartition(".")
        if not all(word.isidentifier() for word in str(target).split(".")) or not module:
            raise InputError(
                f"{key}={shown(target)}: must name a dataclass with its module, as aejax.models.noise.Clean"
            )
        if self.trusted is not None and not str(target).startswith(tuple(f"{each}." for each in self.trusted)):
            raise NotTrusted(f"{key}={target}: only classes of {', '.join(self.trusted)} are trusted here")
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"{key}={target}: cannot be imported ({error})") from None
        if not dataclasses.is_dataclass(cls):
            raise InputError(f"{key}={target}: must name a dataclass")
        return cls
