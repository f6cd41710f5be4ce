"""Nested mappings by dotted names, and values as a command line writes them."""

import json

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same of YAML, the one in C ten times as fast


def dotted(node, prefix=""):
    """(name, value) of all that is in a dict of dicts; what is empty is not in it."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def shown(value):
    """A value as one would write it in an override."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool, type(None))) else str(value)
