"""References between settings, as ${model.beta}: which of them a configuration of somebody else's may have."""

import re
from collections.abc import Iterable
from typing import Any

from aejax.base.errors import InputError, NotTrusted

REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
NODES = 5000  # values that the settings of an experiment may have once all references are resolved


def check_references(settings: dict[str, Any], names: Iterable[str]) -> None:
    """Raises InputError where the settings `names`, or what they refer to, hold more than plain references.

    Resolvers, as ${oc.env:HOME}, would read this computer's environment; references in circles or to settings with many
    more could not be resolved in reasonable time.
    """
    counts: dict[str, int] = {}

    def count(value: Any, key: str, above: tuple[str, ...]) -> int:
        """How many values there are in `value` once it is resolved; `above` are the references that lead to it."""
        if isinstance(value, dict | list):
            entries = value.items() if isinstance(value, dict) else enumerate(value)
            total = 1 + sum(count(entry, f"{key}.{name}", above) for name, entry in entries)
        elif not isinstance(value, str) or "${" not in value:
            total = 1
        else:
            match = REFERENCE.fullmatch(value)
            if not match:
                raise NotTrusted(f"{key}={_short(value)}: only plain references, as ${{model.beta}}, are trusted here")
            total = referred(match[1], key, above)
        if total > NODES:
            raise InputError(f"{key}: has more than {NODES:,} values")
        return total

    def referred(target: str, key: str, above: tuple[str, ...]) -> int:
        if target in above or len(above) > 8:
            raise InputError(f"{key}=${{{target}}}: is a reference in a circle, or over too many others")
        if target not in counts:
            counts[target] = count(_at(settings, target, key), target, (*above, target))
        return counts[target]

    if sum(count(settings[name], name, ()) for name in names if name in settings) > NODES:
        raise InputError(f"has more than {NODES:,} values")


def _at(settings: Any, target: str, key: str) -> Any:
    for name in target.split("."):
        if not isinstance(settings, dict) or name not in settings:
            raise InputError(f"{key}=${{{target}}}: must name a setting, and there is no {name} in its place")
        settings = settings[name]
    return settings


def _short(value: str) -> str:
    return value if len(value) < 60 else f"{value[:57]}..."
