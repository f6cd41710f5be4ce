"""Sums of codes by the names of labels."""

import re

from aejax.base.errors import InputError


def terms(expression: str) -> list[tuple[int, str]]:
    """The signs, 1 or -1, and names of a sum such as "smiling - neutral + cat"; raises InputError.

    Signs stand between spaces, so that names may have hyphens.
    """
    if not isinstance(expression, str):
        raise InputError(f"arithmetic={expression}: must be a text such as 'smiling - neutral + cat'")
    words = re.split(r"\s+([+-])\s+", expression.strip())
    first = re.fullmatch(r"([+-])\s+(.*)", words[0])
    signs, names = ["+", *words[1::2]], words[::2]
    if first:
        signs[0], names[0] = first.groups()
    if not set(names).isdisjoint(("", "+", "-")):
        raise InputError(f"arithmetic={expression}: must be names with + or - between, each with a space on both sides")
    return [(1 if sign == "+" else -1, name) for sign, name in zip(signs, names, strict=True)]
