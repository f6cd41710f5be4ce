"""The kinds of settings that a class may declare, each with the check that reads its value.

Each field of a class is either a leaf (a number) or static structure, and has its bounds.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import struct

Leaf = np.number | jax.Array  # a leaf: a scalar here, a tracer inside a program, [L] in a stack of lanes


@dataclasses.dataclass(frozen=True)
class Setting:
    """How one value of the configuration is read: `parse` raises ValueError if it is not `allowed`."""

    parse: Callable[[Any], Any]
    allowed: str


def _field(leaf: bool, parse: Callable[[Any], Any], allowed: str) -> Any:
    return struct.field(pytree_node=leaf, metadata={"setting": Setting(parse, allowed)})


def _interval(noun: str, low: float, high: float, above: float | None, optional: bool) -> str:
    bounds = [f"above {above:g}"] if above is not None else [f"at least {low:g}"] if low > -math.inf else []
    bounds += [f"at most {high:,}" if isinstance(high, int) else f"at most {high:,.12g}"] if high < math.inf else []
    return " ".join([noun, " and ".join(bounds)]).strip() + (" or null" if optional else "")


def _ranged(kind: Any, low: float, high: float, above: float | None, optional: bool) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            raise ValueError
        if value < low or value > high or (above is not None and value <= above):
            raise ValueError
        return value

    return parse


def leaf_float(
    low: float = -math.inf, high: float = math.inf, *, above: float | None = None, optional: bool = False
) -> Any:
    """A float that is a leaf: experiments that differ in it share a program. `above` is an exclusive bound."""
    ranged = _ranged((int, float), low, high, above, optional)

    def parse(value: Any) -> Any:
        value = ranged(value)
        if value is None:
            return None
        with np.errstate(over="ignore"):
            value = np.float32(value)
        if np.isinf(value) or (above is not None and value <= above):
            raise ValueError  # out of range once it is a float32
        return value

    return _field(True, parse, _interval("a number", low, high, above, optional))


def leaf_int(low: int, high: int) -> Any:
    """An integer that is a leaf, in the narrowest of int32 and uint32 that holds its range."""
    dtype = np.int32 if high <= np.iinfo(np.int32).max else np.uint32
    ranged = _ranged(int, low, high, None, False)
    return _field(True, lambda value: dtype(ranged(value)), _interval("a whole number", low, high, None, False))


def static_int(low: int, high: int = 2**31 - 1, *, optional: bool = False) -> Any:
    """A whole number that is structure."""
    allowed = _interval("a whole number", low, high, None, optional)
    return _field(False, _ranged(int, low, high, None, optional), allowed)


def static_float(
    low: float = -math.inf, high: float = math.inf, *, above: float | None = None, optional: bool = False
) -> Any:
    """A float that is structure."""
    allowed = _interval("a number", low, high, above, optional)
    return _field(False, _ranged((int, float), low, high, above, optional), allowed)


def static_ints(low: int, high: int, *, optional: bool = False) -> Any:
    """A list of whole numbers that is structure."""
    ranged = _ranged(int, low, high, None, False)

    def parse(value: Any) -> Any:
        if value is None and optional:
            return None
        if not isinstance(value, (list, tuple)):
            raise ValueError
        return tuple(ranged(entry) for entry in value)

    allowed = f"a list of {_interval('whole numbers', low, high, None, False)}, as [64,32]"
    return _field(False, parse, allowed + (" or null" if optional else ""))


def static_choice(*options: str) -> Any:
    """One of some words; structure."""

    def parse(value: Any) -> Any:
        if not isinstance(value, str) or value not in options:
            raise ValueError
        return value

    return _field(False, parse, f"one of {', '.join(options)}")


def static_choices(*options: str) -> Any:
    """A list of some of these words, in the order given here; structure."""

    def parse(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError
        if any(not isinstance(entry, str) or entry not in options for entry in value):
            raise ValueError
        return tuple(option for option in options if option in value)

    return _field(False, parse, f"a list of some of {', '.join(options)}")


def static_formats(*options: str) -> Any:
    """Some of these formats, as a tuple; true means the first, false none, else a word or a list; structure."""

    def parse(value: Any) -> Any:
        if isinstance(value, bool):
            return options[:1] if value else ()
        formats = [value] if isinstance(value, str) else value
        if not isinstance(formats, (list, tuple)) or any(entry not in options for entry in formats):
            raise ValueError
        return tuple(option for option in options if option in formats)

    return _field(False, parse, f"true ({options[0]}), false, or a list of some of {', '.join(options)}")


def static_bool() -> Any:
    """true or false; structure."""

    def parse(value: Any) -> Any:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return _field(False, parse, "true or false")


def static_str(*, optional: bool = False) -> Any:
    """A string; structure."""

    def parse(value: Any) -> Any:
        if not (isinstance(value, str) or (optional and value is None)):
            raise ValueError
        return value

    return _field(False, parse, "a text" + (" or null" if optional else ""))


def leaf_path() -> Any:
    """The path of a folder that holds numbers: they are leaves, and whether there are any is structure."""

    def parse(value: Any) -> Any:
        if value is not None and not (isinstance(value, str) and value):
            raise ValueError
        return value

    return _field(True, parse, "a folder or null")


def static_list(*, optional: bool = False) -> Any:
    """A list of words and whole numbers; structure."""

    def parse(value: Any) -> Any:
        if value is None and optional:
            return None
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError
        if any(isinstance(entry, bool) or not isinstance(entry, (str, int)) for entry in value):
            raise ValueError
        return tuple(value)

    return _field(False, parse, "a list of names or whole numbers, as [a,3]" + (" or null" if optional else ""))


def part(*attributes: str) -> Any:
    """A component; the class that its `_target_` names must have these attributes."""
    return struct.field(metadata={"part": attributes})


def parts(*attributes: str) -> Any:
    """A mapping of names to components, whose classes must have these attributes."""
    return struct.field(metadata={"parts": attributes})


def declared(cls: type) -> list[str]:
    """The names of the settings and parts of a class."""
    return [field.name for field in dataclasses.fields(cls) if field.metadata.keys() & {"setting", "part", "parts"}]
