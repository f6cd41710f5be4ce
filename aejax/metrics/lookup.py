"""The row of the table for the name of a metric, and what follows from it."""

import dataclasses
import functools
import re
from collections.abc import Iterable

from aejax.metrics.metric import Metric
from aejax.metrics.table import METRICS


def row_of(name: str) -> Metric | None:
    """The row of METRICS for a metric or its family; None for a custom metric."""
    match = _match(name, [(row.name, row) for row in METRICS])
    return match[0] if match else None


@functools.lru_cache(4096)
def metric(name: str) -> Metric | None:
    """The same row under the metric's full name; None if there is no row."""
    row = row_of(name)
    return dataclasses.replace(row, name=name) if row else None


def better(name: str) -> int:
    """1 if a larger value of this metric is better, -1 if a smaller one is, 0 if neither or unknown."""
    row = metric(name)
    return row.better if row else 0


def is_log(name: str) -> bool:
    """Whether charts show this metric on a logarithmic axis."""
    row = metric(name)
    return bool(row and row.log)


def renamed(name: str) -> str | None:
    """The present name of a metric that had this name in runs of a format before 3; None for any other."""
    match = _match(name, [(row.formerly, row) for row in METRICS if row.formerly])
    return match[0].name.format(**match[1]) if match else None


def _match(name: str, rows: Iterable[tuple[str, Metric]]) -> tuple[Metric, dict[str, str]] | None:
    """The row of the first matching pattern, exact names first, and the values of its placeholders; None if none."""
    for pattern, row in rows:
        if pattern == name:
            return row, {}
    for pattern, row in rows:
        if "{" in pattern and (parts := re.fullmatch(_expression(pattern), name)):
            return row, parts.groupdict()
    return None


@functools.cache
def _expression(pattern: str) -> str:
    """The regular expression of a name with placeholders; {data} may contain slashes."""
    parts = re.split(r"\{(\w+)\}", pattern)
    return "".join(
        (f"(?P<{part}>{'.+' if part == 'data' else '[^/]+'})" if place % 2 else re.escape(part))
        for place, part in enumerate(parts)
    )
