"""A table in the formats that people and programs read; numbers are rounded by their interval."""

import dataclasses
import json
import math
import re
import unicodedata

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from aejax.comparison.fields import COUNT, COUNTS, HIGH
from aejax.comparison.frame import Runs
from aejax.comparison.plain import cell, plain, word
from aejax.comparison.summary import BASELINES, SHORT, casualties, pivoted, runs_of

PLAIN = (1e-4, 1e6)  # magnitudes that are written without an exponent


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table: a `word`, or a `mean` ± `width` (half its interval), both times 10^`exponent`."""

    word: str = ""
    mean: str = ""
    width: str = ""
    exponent: int = 0
    remark: str = ""
    bold: bool = False

    @property
    def text(self):
        """The cell as plain text."""
        text = f"{self.mean} ± {self.width}" if self.width else self.mean
        if self.exponent:
            text = f"({text})e{self.exponent}" if self.width else f"{text}e{self.exponent}"
        return (text or self.word) + self.remark

    @property
    def value(self):
        """The number; None for a word."""
        return float(self.mean) * 10.0**self.exponent if self.mean else None

    @property
    def latex(self):
        """The cell as LaTeX."""
        if not self.mean:
            return escaped(self.word) + escaped(self.remark)
        mean = rf"\mathbf{{{self.mean}}}" if self.bold else self.mean
        formula = rf"{mean} \pm {self.width}" if self.width else mean
        if self.exponent:
            formula = rf"({formula})" if self.width else formula
            formula = rf"{formula} \cdot 10^{{{self.exponent}}}"
        return f"${formula}${escaped(self.remark)}"


def number(mean, half=math.nan, **fields):
    """The Cell of a mean ± half its interval: two digits of the half width, four of a mean without one."""
    if math.isnan(mean):
        return Cell("-")
    half = 0.0 if half < 1e-6 * abs(mean) else half  # only the last bits of a float32 differ
    size = max(abs(mean), 0.0 if math.isnan(half) else half)
    exponent = 0 if size == 0 or PLAIN[0] <= size < PLAIN[1] else math.floor(math.log10(size))
    mean, half = mean / 10.0**exponent, half / 10.0**exponent
    if half > 0:
        decimals = min(max(0, 1 - math.floor(math.log10(half))), 9)
    else:
        decimals = 3 if mean == 0 else min(max(0, 3 - math.floor(math.log10(abs(mean)))), 9)
    width = "" if math.isnan(half) else "0" if half == 0 else f"{half:.{decimals}f}"
    return Cell(mean=f"{mean:.{decimals}f}", width=width, exponent=exponent, **fields)


def cells(table, rows, cols, metrics, good=()):
    """Headers and lines of Cells, with the settings `cols` across; the cells (row, metric) in `good` are bold."""
    baselines = [name for name in BASELINES if name in table and name not in metrics]

    def metric(place, name, runs=None):
        mean, n = float(table.at[place, name]), int(table.at[place, name + COUNT])
        remark = f" (n={n})" if n and n != (table.at[place, "n"] if runs is None else runs) else ""
        return number(mean, float(table.at[place, name + HIGH]) - mean, remark=remark, bold=(place, name) in good)

    if not cols:
        headers = [*rows, *metrics, *(SHORT[name] for name in baselines), *COUNTS]
        lines = []
        for place in table.index:
            settings = [Cell(word(table.at[place, name])) for name in rows]
            under = [number(float(table.at[place, name])) for name in baselines]
            counts = [Cell(str(int(table.at[place, name]))) for name in COUNTS]
            lines.append([*settings, *(metric(place, name) for name in metrics), *under, *counts])
        return headers, lines
    across, down = pivoted(table, rows, cols, metrics)
    labels = [" ".join(f"{key}={word(value)}" for key, value in zip(cols, values, strict=True)) for values in across]
    headers = [*rows, *(f"{name} {label}" for name in metrics for label in labels)]
    common_baselines = {  # baselines that do not depend on the settings across
        name: all(table.loc[list(places.values()), name].nunique() < 2 for places in down.values())
        for name in baselines
    }
    for name in baselines:
        headers += [SHORT[name]] if common_baselines[name] else [f"{SHORT[name]} {label}" for label in labels]
    headers += COUNTS

    def baseline(places, key, name):
        return number(float(table.at[places[key], name])) if key in places else Cell("-")

    lines = []
    for values, places in down.items():
        counts = {name: [int(table.at[place, name]) for place in places.values()] for name in COUNTS}
        fewest, runs = min(counts["n"]), max(counts["n"])
        line = [Cell(word(value)) for value in values]
        line += [metric(places[key], name, runs) if key in places else Cell("-") for name in metrics for key in across]
        for name in baselines:
            line += [
                baseline(places, key, name) for key in ([next(iter(places))] if common_baselines[name] else across)
            ]
        line.append(Cell(str(runs) if fewest == runs else f"{fewest}-{runs}"))  # runs in each cell
        lines.append([*line, *(Cell(str(sum(counts[name]))) for name in COUNTS[1:])])
    return headers, lines


def pair_cells(pairs):
    """Headers and lines of Cells of the pairs."""
    headers = ["metric", "where", "a", "b", "n", "a - b", "P(a better)", "Holm p", "a is"]
    lines = []
    for pair in pairs.to_dict("records"):
        line = [Cell(plain(pair[name])) for name in ("metric", "where", "a", "b")] + [Cell(str(pair["n"]))]
        line.append(number(pair["difference"], pair["high"] - pair["difference"]))
        line += [Cell("-" if math.isnan(pair[name]) else f"{pair[name]:.2g}") for name in ("improvement", "p_holm")]
        lines.append([*line, Cell(pair["verdict"])])
    return headers, lines


def terminal(headers, lines, settings):
    """A rich Table; the first `settings` columns are left-aligned."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, header in enumerate(headers):
        title = header.replace("/", "/\n").replace("mean image", "mean\nimage")
        table.add_column(Text(title), justify="left" if place < settings else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(Text(cell.text, style="bold" if cell.bold else "") for cell in line))
    return table


def markdown(headers, lines, settings):
    """A Markdown table; the first `settings` columns are left-aligned."""
    body = [[f"**{_marked(cell.text)}**" if cell.bold else _marked(cell.text) for cell in line] for line in lines]
    marks = ["---" if place < settings else "---:" for place in range(len(headers))]
    return "".join(f"| {' | '.join(line)} |\n" for line in [[_marked(header) for header in headers], marks, *body])


def _marked(text):
    """Text escaped for Markdown: no markup, no HTML, no end of a cell; underscores inside a word stay."""
    return re.sub(r"([\\`*\[\]<>|&$~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", plain(text))


SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\char36{}", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "…": r"\dots{}", "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}",
}  # fmt: skip


ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0328", "`'^~=u.\"rHvck", strict=True)
)


def escaped(text):
    """Text escaped for LaTeX: accents as commands; characters that its usual fonts lack by number, as U+6F22."""
    return "".join(
        SPECIAL.get(character) or _letter(character) for character in unicodedata.normalize("NFC", plain(text))
    )


def _letter(character):
    letter, *marks = unicodedata.normalize("NFD", character)
    if not letter.isascii() or not letter.isprintable() or any(mark not in ACCENTS for mark in marks):
        return f"U+{ord(character):04X}"
    for mark in marks:
        letter = rf"\{ACCENTS[mark]}{{{letter}}}"
    return letter


def latex(headers, lines, settings, remarks=()):
    """A tabular with booktabs rules, to \\input; the remarks are comments above it."""
    align = "l" * settings + "r" * (len(headers) - settings)
    source = ["% needs \\usepackage{booktabs}", *(f"% {' '.join(str(remark).split())}" for remark in remarks)]
    source += [rf"\begin{{tabular}}{{{align}}}", r"\toprule", " & ".join(map(escaped, headers)) + r" \\", r"\midrule"]
    source += [" & ".join(cell.latex for cell in line) + r" \\" for line in lines]
    return "\n".join([*source, r"\bottomrule", r"\end{tabular}", ""])


def sheet(table):
    """The table as CSV; no text is a formula to a spreadsheet."""
    exported = table.rename(columns=cell)
    for name in exported.columns[[kind.kind == "O" for kind in exported.dtypes]]:
        exported[name] = exported[name].map(cell)
    return exported.to_csv(index=False, lineterminator="\n")


def tidy(table):
    """The table with one type per column, as Parquet requires."""
    settled = table.infer_objects()
    for name in settled.columns[[kind.kind == "O" for kind in settled.dtypes]]:
        settled[name] = settled[name].map(lambda value: None if word(value) == "-" else plain(value))
    return settled


def as_json(table, rows, metrics, pairs, sentences, remarks, runs: Runs):
    """The table, the comparisons, the notes and the runs that are not in the means, as JSON."""
    lines = []
    for place in table.index:
        line = {name: table.at[place, name] for name in rows}
        for name in metrics:
            parts = {"mean": "", "low": " low", "high": " high", "n": COUNT}
            line[name] = {part: table.at[place, name + end] for part, end in parts.items()}
        line |= {name: table.at[place, name] for name in (*BASELINES, *COUNTS) if name in table and name not in metrics}
        lines.append(line)
    counts = runs.frame["status"].value_counts().to_dict()
    aside = runs.frame.loc[runs.frame["status"] != "completed", ["path", "name", "status", "reason"]]
    content = {
        "in_all_runs": runs.common,
        "rows": lines,
        "comparisons": pairs.to_dict("records"),
        "verdicts": sentences,
        "notes": remarks,
        "runs": counts,
        "not_in_means": aside.to_dict("records"),
    }
    return json.dumps(_bare(content), indent=1, ensure_ascii=False) + "\n"


def _bare(value):
    """Plain containers, text and numbers; null for what is not finite or missing."""
    if isinstance(value, dict):
        return {plain(name): _bare(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if value is pd.NA else value


def status_lines(runs: Runs):
    """A line with the number of runs of each status, then lines with the runs that are in no mean."""
    counts = runs.frame["status"].value_counts().to_dict()
    first = {"completed": counts.pop("completed", 0)} | dict(sorted(counts.items()))
    return [
        f"{runs_of(len(runs.frame))}: {', '.join(f'{n} {status}' for status, n in first.items())}",
        *casualties(runs),
    ]
