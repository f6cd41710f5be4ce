"""One comparison: the runs, their table, which differences are real, and notes."""

import dataclasses
from pathlib import Path
from typing import Any

from aejax.base.errors import InputError
from aejax.comparison import formats, frame, pairs, reading, summary, tables
from aejax.comparison.frame import Runs
from aejax.comparison.summary import BASELINES

SHOWN_PAIRS, SHOWN_VERDICTS = 20, 40  # at most, in the terminal; --json and the report hold more
PAIRED = "Means, paired by seed; Holm's correction over all of these pairs and metrics"


@dataclasses.dataclass
class Comparison:
    """Everything that one command shows: the runs, their table, the pairs, the verdicts and the notes."""

    runs: Runs
    rows: list
    cols: list
    metrics: list
    table: Any
    pairs: Any
    verdicts: list
    notes: list
    iqm: bool
    words: list | None  # arguments of the command; None: those of this process

    @classmethod
    def of(cls, options):
        """The comparison that the options of the command describe; raises InputError."""
        folders, conditions = sorted_words(options.words)
        if not folders and not options.wandb:
            raise InputError("compare: no folder given; name folders of runs or sweeps, such as multirun/2026-11-20")
        entries = reading.read(folders)
        if options.wandb:
            from aejax.comparison import dashboard

            entries += [entry for project in options.wandb for entry in dashboard.read(project)]
        runs = Runs(entries)
        runs.where([*conditions, *(part for word in options.where for part in frame.conditions(word))])
        rows, cols = tables.keys(runs, options.rows, options.cols)
        runs.check_keys("compare", options.compare or [])
        metrics = summary.chosen_metrics(runs, options.metrics)
        table = summary.summarize(runs, rows + cols, metrics, options.iqm)
        if options.sort:
            table = summary.ordered(table, options.sort)
        both = pairs.compared(runs, rows + cols, metrics, options.compare)
        verdicts = pairs.verdicts(both, pairs.question(runs, rows + cols, options.compare)[1])
        return cls(
            runs,
            rows,
            cols,
            metrics,
            table,
            both,
            verdicts,
            summary.notes(runs, rows + cols, metrics),
            options.iqm,
            options.argv,
        )

    @property
    def caption(self):
        """What the numbers in the table are."""
        kind = "interquartile mean" if self.iqm else "mean"
        caption = f"{kind} ± half the 95 % interval (Student's t, from n = 3) over seeds; "
        caption += "bold: the best in a column of what may be compared"
        baselines = any(name in self.table and name not in self.metrics for name in BASELINES)
        return caption + ("; mean image, PCA with as many units: mse" if baselines else "")

    @property
    def common(self):
        """The settings that all runs share, in one line; none if they share none."""
        return summary.common(self.runs, self.rows + self.cols)

    @property
    def grid(self):
        """Headers and lines of Cells of the table."""
        good = summary.best(self.runs, self.table, self.rows, self.cols, self.metrics)
        return formats.cells(self.table, self.rows, self.cols, self.metrics, good)

    def text(self, form):
        """The comparison as text; `form` is one of TEXTS."""
        if form == "json":
            parts = self.table, self.rows + self.cols, self.metrics, self.pairs, self.verdicts, self.notes
            return formats.as_json(*parts, self.runs)
        if form == "csv":
            return formats.sheet(self.table)
        if form == "markdown":
            return formats.markdown(*self.grid, len(self.rows))
        remarks = [self.caption, *self.common, *self.notes, *formats.status_lines(self.runs)]
        return formats.latex(*self.grid, len(self.rows), remarks)

    def show(self, console):
        """Prints the whole comparison."""
        _show_table(console, formats.terminal(*self.grid, len(self.rows)))
        say(console, ["", self.caption, *self.common, *formats.status_lines(self.runs), *self.notes])
        if not self.verdicts:
            return
        say(console, ["", f"Is it real? {PAIRED}"])
        say(console, self.verdicts[:SHOWN_VERDICTS])
        if len(self.verdicts) > SHOWN_VERDICTS:
            say(console, [f"and {len(self.verdicts) - SHOWN_VERDICTS} more: --json, --report"])
        if 0 < len(self.pairs) <= SHOWN_PAIRS:
            console.print()
            _show_table(console, formats.terminal(*formats.pair_cells(self.pairs), 4))


def _show_table(console, table):
    """Prints a table in full width: no number is cut; a narrow terminal wraps the lines."""
    needed = console.measure(table, options=console.options.update(width=10_000)).maximum
    console.width = max(console.width, needed)
    console.print(table)


def sorted_words(words):
    """The folders and the conditions among the words of a command; a word that could be both is a folder."""
    conditions = [word for word in words if is_condition(word) and not Path(word).exists()]
    return [word for word in words if word not in conditions], conditions


def is_condition(word):
    """Whether a word compares a setting with a value."""
    return bool(set("=<>!") & set(word))


def say(console, lines):
    """Prints lines without markup, highlighting or wrapping."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
