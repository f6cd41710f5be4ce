"""Runs grouped over seeds: a row for each combination of settings, with mean and 95 % interval of each metric."""

import numpy as np
import pandas as pd

from aejax.base.errors import InputError, near
from aejax.comparison.fields import COUNT, COUNTS, HIGH, LOW
from aejax.comparison.frame import Runs
from aejax.comparison.intervals import interquartile, mean_interval
from aejax.comparison.plain import plain, word
from aejax.metrics.lookup import better, metric, renamed
from aejax.metrics.table import HEADLINES, METRICS

SHORT = {row.name: row.label for row in METRICS if row.label}  # {baseline: its short name}
BASELINES = tuple(SHORT)


def chosen_metrics(runs: Runs, patterns=None):
    """The metrics of a table: those that match `patterns`, else the headline metrics that the runs have."""
    if patterns:
        return runs.metrics_of(patterns)
    return [name for name in HEADLINES if name in runs.metrics] or runs.metrics[:2]


def summarize(runs: Runs, rows, metrics, iqm=False):
    """A DataFrame with a row for each combination of the settings `rows`, ordered by them.

    Columns: `rows`; mean, low, high and n of each metric; the baselines' means; n, diverged, missing runs. `iqm` takes
    interquartile means. A mean over values that are not comparable is nan. Raises InputError if a row would average
    over different data.
    """
    _check_data(runs, rows)
    frame, status = runs.frame, runs.frame["status"]
    whole, diverged = status == "completed", status == "diverged"
    counts = pd.DataFrame({"n": whole, "diverged": diverged, "missing": ~whole & ~diverged})
    keys = _keys(frame, rows)
    places = {key: place for place, key in enumerate(sorted(set(keys)))}
    group = pd.Series([places[key] for key in keys], frame.index)
    table = frame.loc[~group.duplicated(), rows].set_axis(group[~group.duplicated()]).sort_index()
    done = runs.completed
    grouped = done.groupby(group.loc[done.index])
    shown = {baseline for row in map(metric, metrics) if row for baseline in row.beside}
    baselines = [name for name in BASELINES if name in runs.metrics and name in shown]
    for name in metrics:
        values = grouped[name]
        count = values.count().reindex(table.index, fill_value=0)
        if iqm:
            estimates = {place: interquartile(sample.dropna()) for place, sample in values if sample.notna().any()}
            mean = pd.Series({place: pair[0] for place, pair in estimates.items()}, dtype=float).reindex(table.index)
            half = pd.Series({place: pair[1] for place, pair in estimates.items()}, dtype=float).reindex(table.index)
        else:
            mean = values.mean().reindex(table.index)
            half = mean_interval(mean, values.std().reindex(table.index), count)
        mean = mean.where(~mean.index.isin(_mixed(runs, done, group, name)))
        table[name], table[name + LOW], table[name + HIGH], table[name + COUNT] = mean, mean - half, mean + half, count
    for name in baselines:
        if name not in metrics:
            table[name] = grouped[name].mean().reindex(table.index)
    sums = counts.groupby(group).sum()
    for name in COUNTS:
        table[name] = sums[name]
    known = table[rows].notna().any(axis=1) | (
        table["n"] > 0
    )  # a run without any known setting is listed below the table
    return (table[known] if rows else table).reset_index(drop=True)


def _keys(frame, rows):
    """The sortable key of the table row that each line of the frame belongs to."""
    return list(zip(*([_ordered(value) for value in frame[name]] for name in rows), strict=True)) or [()] * len(frame)


def _mixed(runs, done, group, metric):
    """The table rows, numbered by `group`, whose values of a metric do not all measure the same."""
    measured = done.index[done[metric].notna()]
    kinds = runs.problems(metric)[0][measured].groupby(group.loc[measured]).nunique()
    return kinds.index[kinds > 1]


def _ordered(value):
    """A sort key for values of mixed types: null, then numbers, then text."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return 0, 0.0, ""
    if isinstance(value, int | float | np.number):
        return 1, float(value), str(value) if isinstance(value, bool) else ""
    return 2, 0.0, str(value)


def _check_data(runs, rows):
    for key in runs.varying:
        if key.partition(".")[0] == "data" and key not in rows and key != "data.split_seed":
            values = sorted(map(str, runs.frame[key].dropna().unique()))
            raise InputError(
                f"--rows {' '.join(rows)}: would average over different {key} ({', '.join(values)}); add {key} to "
                f"--rows or --cols, or a condition such as {key}={values[0]}"
            )


def ordered(table, word):
    """The table sorted by a column, descending if the name begins with `-`; raises InputError."""
    name = word.removeprefix("-")
    name = {short: baseline for baseline, short in SHORT.items()}.get(name, name)
    if name not in table and renamed(name):
        raise InputError(f"--sort {word}: no such column; {name} is now {renamed(name)}")
    if name not in table:
        raise InputError(f"--sort {word}: no such column; {near(name, list(table))}")
    values = table[name].map(_ordered)
    places = sorted(table.index, key=lambda place: values[place], reverse=word.startswith("-"))
    return table.loc[places].reset_index(drop=True)


def best(runs: Runs, table, rows, cols, metrics):
    """The cells (row, metric) with the best mean in each column, among comparable rows.

    Rows that are not comparable, such as those of other data or another likelihood, and each value of the settings
    `cols` across have a best cell each.
    """
    done, places_of_best = runs.completed, set()
    keys = pd.Series(_keys(done, [*rows, *cols]), done.index, dtype=object)
    data = [name for name in rows if name.partition(".")[0] == "data"]
    blocks = _keys(table, [*data, *cols])
    for name in metrics:
        if not better(name):
            continue
        codes = runs.problems(name)[0][done.index[done[name].notna()]]
        measured = dict(zip(keys[codes.index], codes, strict=True))
        places: dict[tuple, list] = {}  # {what is comparable: rows of the table}
        for place, key, block in zip(table.index, _keys(table, [*rows, *cols]), blocks, strict=True):
            places.setdefault((block, measured.get(key)), []).append(place)
        for block in places.values():
            values = table.loc[block, name].astype(float) * better(name)
            if values.notna().sum() > 1:
                places_of_best |= {(place, name) for place in values.index[values == values.max()]}
    return places_of_best


def pivoted(table, rows, cols, metrics):
    """The table with the values of the settings `cols` across: {row key: {column key: place in the table}}."""
    across = dict.fromkeys(tuple(values) for values in table[cols].itertuples(index=False))
    down = {}
    for place, values in table[rows + cols].iterrows():
        key, column = tuple(values[rows]), tuple(values[cols])
        down.setdefault(key, {})[column] = place
    return list(across), down


def common(runs: Runs, rows):
    """A line with the main settings that all runs share and that are not in `rows`; empty if there are none."""
    shared = [f"{key}={word(value)}" for key, value in runs.common.items() if key not in rows]
    return [f"in all runs: {', '.join(shared)}"] if shared else []


def notes(runs: Runs, rows, metrics=()):
    """Notes for the reader of the table: what was averaged over, mixed or left out."""
    lines, done = list(runs.notes), runs.completed
    group = pd.Series(_keys(done, rows), done.index, dtype=object)
    for name in metrics:
        mixed = _mixed(runs, done, group, name)
        if len(mixed):
            reason = runs.obstacle(name, done.index[group.isin(mixed) & done[name].notna()])
            lines.append(f"{name}: no mean of {len(mixed)} of {group.nunique()} rows, whose runs have {reason}")
    for key in runs.varying:
        if key not in rows and _is_averaged(done, rows, key):
            values = [word(value) for value in dict.fromkeys(done[key].dropna())]
            lines.append(f"each mean is over {len(values)} values of {key}: {', '.join(values[:6])}")
    versions: dict[str, dict[str, list[str]]] = {}
    for entry in runs.entries:
        if entry.status == "completed":
            for name, version in entry.versions.items():
                versions.setdefault(name, {}).setdefault(version, []).append(entry.path)
    for name, paths_of_version in versions.items():
        if len(paths_of_version) > 1:
            listed = ", ".join(
                f"{version} ({runs_of(len(paths))}, as {plain(paths[0])})"
                for version, paths in paths_of_version.items()
            )
            lines.append(f"warning: versions of {name} are mixed: {listed}")
    keys = ["data", *(key for key in runs.varying if key.startswith("data."))]
    for values, part in done.groupby([done[key].map(str) for key in keys]):
        prints = part.groupby("data_fingerprint")["path"]
        if prints.ngroups > 1:
            listed = ", ".join(f"{name} ({runs_of(len(paths))}, as {plain(paths.iloc[0])})" for name, paths in prints)
            lines.append(f"warning: data={' '.join(values)} has different fingerprints: {listed}")
    protocols = {str(sorted(entry.protocol.items())): entry for entry in runs.entries if entry.status == "completed"}
    if len(protocols) > 1:
        paths = ", as ".join(plain(entry.path) for entry in protocols.values())
        fields = _differing([entry.protocol for entry in protocols.values()])
        shown = ", ".join(fields[:6]) + (f" and {len(fields) - 6} more" if len(fields) > 6 else "")
        lines.append(f"warning: protocols of evaluation are mixed, in {shown}: as {paths}")
    twice = done[done.duplicated([*runs.varying, "seed"], keep=False)] if len(done) else done
    if len(twice):
        lines.append(
            f"warning: {len(twice)} runs share settings and seed with another, as {plain(twice['path'].iloc[0])}"
        )
    return lines


def _differing(protocols):
    """The fields that differ between the protocols or are absent from some."""
    names = dict.fromkeys(name for protocol in protocols for name in protocol)
    return [
        name
        for name in names
        if len({repr(protocol[name]) if name in protocol else None for protocol in protocols}) > 1
    ]


def _is_averaged(done, rows, key):
    """Whether a row of the table is a mean over runs that differ in the setting `key`."""
    values, row = done[key].map(repr), done[rows].map(repr).agg(" ".join, axis=1) if rows else "all"
    return (values.groupby(pd.Series(row, done.index)).nunique() > 1).any()


def runs_of(count):
    """`1 run`, `2 runs`."""
    return f"{count} run{'' if count == 1 else 's'}"


def casualties(runs: Runs):
    """A line for each status of runs that are in no mean: how many, and their paths."""
    lines = []
    for status, part in runs.frame[runs.frame["status"] != "completed"].groupby("status"):
        named = [
            f"{plain(path)}{f' ({reason})' if reason and status != 'diverged' else ''}"
            for path, reason in zip(part["path"], part["reason"].fillna(""), strict=True)
        ]
        lines.append(f"{len(part)} {status}: {', '.join(named)}")
    return lines
