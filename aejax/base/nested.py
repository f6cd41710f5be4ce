"""Nested mappings by dotted names, and values as a command line writes them."""

import json

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same YAML; the C loader is ten times as fast


def dotted(node, prefix=""):
    """(dotted name, value) of each leaf in a dict of dicts; empty dicts have none."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def shown(value):
    """A value as it is written in an override."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool, type(None))) else str(value)
