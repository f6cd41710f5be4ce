"""The table of metrics in docs/evaluation.md, from aejax/metrics/table.py.

python docs/metrics.py    writes it between its two markers
"""

import itertools
import math
import re
from pathlib import Path

import yaml

from aejax.metrics.table import CODES, METRICS, SAMPLES, VARIED

PAGE = Path(__file__).parent / "evaluation.md"
DEFAULT = Path(__file__).parent.parent / "conf" / "evaluate" / "default.yaml"
BEGIN, END = "<!-- metrics: made by docs/metrics.py -->\n", "<!-- metrics: end -->"
HEADERS = ("group", "metrics", "meaning", "unit, range", "better", "null without", "across sizes", "source")
BETTER = {1: "larger", -1: "smaller", 0: ""}
EVERYWHERE = {*CODES, *VARIED, *SAMPLES}  # conditions that the page names once, for all metrics
SAME = "as there"  # where metrics that are the same as others differ


def table():
    """The lines of the table; metrics of a group that have the same meaning share one."""
    default, lines = yaml.safe_load(DEFAULT.read_text())["groups"], []
    named = None
    for (group, meaning), rows in itertools.groupby(METRICS, key=lambda row: (row.group, row.meaning)):
        rows = list(rows)
        cells = [group + "*" * (group in default) if group != named else "", _names(rows), _meaning(meaning, rows)]
        cells += [_common(rows, _unit), _common(rows, lambda row: BETTER[row.better]), _common(rows, _needs)]
        cells += [_common(rows, lambda row: "yes" if row.across_sizes else "no"), _common(rows, lambda row: row.source)]
        lines.append(_line(cells))
        named = group
    return [_line(HEADERS), _line(["---"] * len(HEADERS)), *lines]


def _names(rows):
    """The names; of a second one of the same beginning only the last part."""
    parts = [row.name.replace("{", "<").replace("}", ">").rpartition("/") for row in rows]
    return ", ".join(
        f"`{last if place and space == parts[place - 1][0] else space + slash + last}`"
        for place, (space, slash, last) in enumerate(parts)
    )


def _meaning(meaning, rows):
    only = {row.only for row in rows}
    return f"{meaning} Only {only.pop()}." if len(only) == 1 and "" not in only else meaning


def _common(rows, cell):
    cells = list(dict.fromkeys(map(cell, rows)))
    return cells[0] if len(cells) == 1 else SAME


def _unit(row):
    low, high = row.range
    ends = (
        "" if row.range == (-math.inf, math.inf) or row.unit == "0 or 1"
        else f"{low:g} and up" if math.isinf(high)
        else f"at most {high:g}" if math.isinf(low)
        else f"{low:g} to {high:g}"
    )  # fmt: skip
    return ", ".join(part for part in (row.unit, ends) if part)


def _needs(row):
    needs = ", ".join(need for need in row.needs if need not in EVERYWHERE)
    return re.sub(r"\d+ labels a class", "so many labels a class", needs)


def _line(cells):
    return f"| {' | '.join(cells)} |"


def page():
    """docs/evaluation.md with this table."""
    before, rest = PAGE.read_text().split(BEGIN)
    return before + BEGIN + "\n".join(table()) + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page())
