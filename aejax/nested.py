"""Nested mappings by dotted names."""


def dotted(node, prefix=""):
    """(name, value) of all that is in a dict of dicts; what is empty is not in it."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
