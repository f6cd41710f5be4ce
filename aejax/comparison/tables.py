"""Many runs -> a table with intervals, comparisons, a report. Imports no jax."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from aejax.comparison import pairs, reading, summary
from aejax.comparison.frame import Runs, conditions

Folders = str | Path | Sequence[str | Path]
Keys = str | Sequence[str] | None  # None: the default


def table(
    folders: Folders,
    metrics: Keys | None = None,
    rows: Keys | None = None,
    cols: Keys | None = None,
    where: str | Sequence[str] = (),
    sort: str | None = None,
    iqm: bool = False,
) -> pd.DataFrame:
    """The table of the runs in and below `folders` as a DataFrame: a row for each combination of settings.

    `metrics` (one or a list) are its columns, each followed by `<name> low`, `<name> high` (95 %) and `<name> n`;
    `rows` are the settings that make a row (default: all that vary), `cols` those that go across as a second level of
    columns; `where` holds conditions such as `latent_dim<=8`, a list or one text; `sort` names a column, with `-` for
    descending order; `iqm` takes interquartile means. `attrs["notes"]` holds notes. Raises InputError.
    """
    runs = load(folders, where)
    metrics, rows, cols = ([names] if isinstance(names, str) else names for names in (metrics, rows, cols))
    rows, cols = keys(runs, rows, cols)
    chosen = summary.chosen_metrics(runs, metrics)
    frame = summary.summarize(runs, rows + cols, chosen, iqm)
    if sort:
        frame = summary.ordered(frame, sort)
    if cols:
        frame = frame.pivot(index=rows, columns=cols) if rows else frame.set_index(cols).T
    frame.attrs["notes"] = summary.notes(runs, rows + cols, chosen) + summary.casualties(runs)
    return frame


def load(folders: Folders, where: str | Sequence[str] = ()) -> Runs:
    """The Runs in and below `folders` that meet the conditions `where`; raises InputError."""
    runs = Runs(reading.read([folders] if isinstance(folders, str) or not hasattr(folders, "__iter__") else folders))
    runs.where(conditions(where) if isinstance(where, str) else where)
    return runs


def keys(
    runs: Runs, rows: Sequence[str] | None = None, cols: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """The settings of the rows and of the columns; `rows` defaults to all that vary. Raises InputError."""
    cols = list(cols or [])
    runs.check_keys("cols", cols)
    runs.check_keys("rows", rows or [])
    return list(dict.fromkeys(key for key in (runs.rows if rows is None else rows) if key not in cols)), cols


__all__ = ["Runs", "keys", "load", "pairs", "table"]
