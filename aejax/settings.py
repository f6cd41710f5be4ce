"""The kinds of settings that a class may declare, and the one generic check that reads them.

A class says with each field whether it is a number (a leaf) or structure (static), and within which bounds.
"""

import dataclasses
import importlib
import json
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import struct
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from aejax.errors import InputError, near
from aejax.nested import dotted

Number = np.number | jax.Array  # a leaf: a scalar here, a tracer inside a program, [L] in a stack of lanes


@dataclasses.dataclass(frozen=True)
class Setting:
    """How one value of the configuration is read: `parse` raises ValueError where it is not `allowed`."""

    parse: Callable[[Any], Any]
    allowed: str


def _field(leaf, parse, allowed):
    return struct.field(pytree_node=leaf, metadata={"setting": Setting(parse, allowed)})


def _interval(what, low, high, above, optional):
    bounds = [f"above {above:g}"] if above is not None else [f"at least {low:g}"] if low > -math.inf else []
    bounds += [f"at most {high:,}" if isinstance(high, int) else f"at most {high:g}"] if high < math.inf else []
    return " ".join([what, " and ".join(bounds)]).strip() + (" or null" if optional else "")


def _ranged(kind, low, high, above, optional):
    def parse(value):
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            raise ValueError
        if value < low or value > high or (above is not None and value <= above):
            raise ValueError
        return value

    return parse


def number(low=-math.inf, high=math.inf, *, above=None, optional=False):
    """A float that is a leaf: experiments that differ in it share a program. Bounds are inclusive, `above` is not."""
    ranged = _ranged((int, float), low, high, above, optional)

    def parse(value):
        value = ranged(value)
        if value is None:
            return None
        with np.errstate(over="ignore"):
            value = np.float32(value)
        if np.isinf(value) or (above is not None and value <= above):
            raise ValueError  # out of range once it is a float32
        return value

    return _field(True, parse, _interval("a number", low, high, above, optional))


def integer(low, high):
    """An integer that is a leaf, in the narrowest of int32 and uint32 that holds its range."""
    dtype = np.int32 if high <= np.iinfo(np.int32).max else np.uint32
    ranged = _ranged(int, low, high, None, False)
    return _field(True, lambda value: dtype(ranged(value)), _interval("a whole number", low, high, None, False))


def count(low, high=2**31 - 1, *, optional=False):
    """A whole number that is structure."""
    allowed = _interval("a whole number", low, high, None, optional)
    return _field(False, _ranged(int, low, high, None, optional), allowed)


def amount(low=-math.inf, high=math.inf, *, above=None, optional=False):
    """A float that is structure."""
    allowed = _interval("a number", low, high, above, optional)
    return _field(False, _ranged((int, float), low, high, above, optional), allowed)


def counts(low, high, *, optional=False):
    """A list of whole numbers that is structure."""
    ranged = _ranged(int, low, high, None, False)

    def parse(value):
        if value is None and optional:
            return None
        if not isinstance(value, (list, tuple)):
            raise ValueError
        return tuple(ranged(entry) for entry in value)

    allowed = f"a list of {_interval('whole numbers', low, high, None, False)}, as [64,32]"
    return _field(False, parse, allowed + (" or null" if optional else ""))


def choice(*options):
    """One of some words; structure."""

    def parse(value):
        if not isinstance(value, str) or value not in options:
            raise ValueError
        return value

    return _field(False, parse, f"one of {', '.join(options)}")


def choices(*options):
    """A list of some of these words, in their order; structure."""

    def parse(value):
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError
        if any(not isinstance(entry, str) or entry not in options for entry in value):
            raise ValueError
        return tuple(option for option in options if option in value)

    return _field(False, parse, f"a list of some of {', '.join(options)}")


def formats(*options):
    """Some of these formats, a tuple that is structure: true means the first, false none, else a word or a list."""

    def parse(value):
        if isinstance(value, bool):
            return options[:1] if value else ()
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, (list, tuple)) or any(entry not in options for entry in given):
            raise ValueError
        return tuple(option for option in options if option in given)

    return _field(False, parse, f"true ({options[0]}), false, or a list of some of {', '.join(options)}")


def flag():
    """true or false; structure."""

    def parse(value):
        if not isinstance(value, bool):
            raise ValueError
        return value

    return _field(False, parse, "true or false")


def words(*, optional=False):
    """A string; structure."""

    def parse(value):
        if not (isinstance(value, str) or (optional and value is None)):
            raise ValueError
        return value

    return _field(False, parse, "a text" + (" or null" if optional else ""))


def entries(*, optional=False):
    """A list of words and whole numbers; structure."""

    def parse(value):
        if value is None and optional:
            return None
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError
        if any(isinstance(entry, bool) or not isinstance(entry, (str, int)) for entry in value):
            raise ValueError
        return tuple(value)

    return _field(False, parse, "a list of names or whole numbers, as [a,3]" + (" or null" if optional else ""))


def part(*attributes):
    """A component, whose `_target_` names its class, which must have these attributes."""
    return struct.field(metadata={"part": attributes})


def parts(*attributes):
    """A mapping of names to components, whose classes must have these attributes."""
    return struct.field(metadata={"parts": attributes})


def declared(cls):
    """The names of the settings and parts of a class."""
    return [field.name for field in dataclasses.fields(cls) if field.metadata.keys() & {"setting", "part", "parts"}]


class Build:
    """Makes objects out of a configuration, checking every value on the way.

    `trusted` are the top-level modules that a `_target_` may name; None trusts all, which is right for what the
    user typed and wrong for a configuration that came with somebody's run.
    """

    def __init__(self, config: DictConfig, trusted: tuple[str, ...] | None = None):
        self.trusted = trusted
        self.raw = OmegaConf.to_container(config, resolve=False)
        self.referred = set(re.findall(r"\$\{([\w.]+)\}", json.dumps(self.raw)))

    def component(self, node, key, attributes=()):
        """What the mapping `node`, which stands at `key`, describes; raises InputError.

        Its class must have these `attributes`.
        """
        if not isinstance(node, dict):
            raise InputError(f"{key}={_shown(node)}: must be a mapping of settings with a _target_")
        if "_target_" not in node:
            raise InputError(f"{key}._target_: is missing; must name a dataclass")
        cls = self._class(node["_target_"], f"{key}._target_")
        has = {name for base in cls.__mro__ for name in vars(base)} | {field.name for field in dataclasses.fields(cls)}
        if not has.issuperset(attributes):
            needed = ", ".join(attributes)
            raise InputError(f"{key}._target_={node['_target_']}: must name a dataclass that has {needed}")
        return self.instance(cls, node, key)

    def components(self, node, key, attributes=()):
        """What a mapping of names to components describes; raises InputError."""
        if not isinstance(node, dict):
            raise InputError(f"{key}={_shown(node)}: must be a mapping of names to components")
        return {name: self.component(entry, f"{key}.{name}", attributes) for name, entry in node.items()}

    def instance(self, cls, node, key=""):
        """An instance of the dataclass `cls` with the fields in `node`; raises InputError."""
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

    def _value(self, field, value, key):
        setting = field.metadata.get("setting")
        if setting is not None:
            try:
                return setting.parse(value)
            except (ValueError, OverflowError):  # also a whole number that no float holds
                raise InputError(f"{self._origin(key)}={_shown(value)}: must be {setting.allowed}") from None
        if "part" in field.metadata:
            return self.component(value, key, field.metadata["part"])
        if "parts" in field.metadata:
            return self.components(value, key, field.metadata["parts"])
        return np.float32(value) if isinstance(value, float) else value  # a foreign class with plain fields

    def _origin(self, key):
        """The key that the user would change: where `key` holds ${another}, that other."""
        node = self.raw
        for name in key.split("."):
            node = node[name] if isinstance(node, dict) and name in node else None
        reference = re.fullmatch(r"\$\{([\w.]+)\}", node) if isinstance(node, str) else None
        return self._origin(reference[1]) if reference else key

    def _class(self, target, key):
        module, _, name = str(target).rpartition(".")
        if not all(word.isidentifier() for word in str(target).split(".")) or not module:
            raise InputError(f"{key}={_shown(target)}: must name a dataclass by its module, as aejax.noise.Gaussian")
        if self.trusted is not None and str(target).split(".")[0] not in self.trusted:
            raise InputError(f"{key}={target}: only classes of {', '.join(self.trusted)} are trusted here")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"{key}={target}: cannot be imported ({error})") from None
        if not dataclasses.is_dataclass(found):
            raise InputError(f"{key}={target}: must name a dataclass")
        return found


def without_hydra(config):
    """The part of a composed configuration that is not Hydra's own, a copy.

    By pickle, in a fifth of the time that OmegaConf.masked_copy takes; until that is done `config` is without it too.
    """
    whole = config.__dict__["_content"]
    config.__dict__["_content"] = {key: value for key, value in whole.items() if key != "hydra"}
    try:
        return pickle.loads(pickle.dumps(config))
    finally:
        config.__dict__["_content"] = whole


def plain(config):
    """The configuration as resolved plain containers; raises InputError where an interpolation leads nowhere."""
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}=???: must be given") from None
    except OmegaConfBaseException as error:
        raise InputError(str(error).splitlines()[0]) from None


def differences(one, other):
    """{key: (value in one, value in the other)} of two configurations as plain containers; null where it is absent."""
    flat = [dict(dotted(each)) for each in (one, other)]
    values = {key: tuple(_shown(each.get(key)) for each in flat) for key in sorted(flat[0].keys() | flat[1].keys())}
    return {key: pair for key, pair in values.items() if pair[0] != pair[1]}


def _shown(value):
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool, type(None))) else str(value)
