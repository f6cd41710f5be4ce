"""The sections of a report, one for each data set, and the charts that its runs allow."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aejax.comparison import charts
from aejax.comparison.intervals import mean_interval
from aejax.comparison.labels import names
from aejax.comparison.reading import FAULTS
from aejax.comparison.summary import SHORT
from aejax.metrics.lookup import better
from aejax.runs.contents import ERROR, SCORE
from aejax.runs.folder import Run

CURVE = "valid/mse"
TRADEOFF = "Each mark is a run: click it to open it below. Dashed: the Pareto front. Left and up is better. "
TRADEOFF += "A click on the legend picks a model out. Dotted: what takes no training (baseline/…)."
SCORES = "Mean over seeds. Dashed: what takes no training (baseline/…)."
BASELINES = "Dashed: PCA with as many units, and the mean image. An interval that reaches 0 ends at the bottom."
NOISES = (
    "Mean over seeds and code sizes; dark is worse. Clean: recon/mse; own: restore/mse, under the run's own noise; "
)
NOISES += "others: robust/*."


class Figure(NamedTuple):
    """A chart; its `name` is unique on the page."""

    name: str
    title: str
    remark: str
    spec: dict[str, Any]


class Section(NamedTuple):
    """The figures of one data set."""

    data: str
    figures: list[Figure]


def of_runs(runs):
    """A Section for each data set."""
    frame = runs.frame.assign(id=[str(place) for place in range(len(runs.entries))])
    frame = frame[frame["status"] == "completed"]
    free = [key for key in runs.varying if key.partition(".")[0] != "data"]
    noises = [key for key in free if key.partition(".")[0] == "noise"]
    models = ["model", *(key for key in free if key not in ("model", "latent_dim", *noises))]
    frame = frame.assign(
        series=names(frame, models),
        train=names(frame, ["noise", *(key for key in noises if key != "noise")], ["noise"]),
        latent_dim=pd.to_numeric(frame["latent_dim"], errors="coerce"),
    )
    colors = charts.model_colors(dict.fromkeys(frame["series"]))
    sets = names(frame, ["data", *(key for key in runs.varying if key.startswith("data."))])
    sections, number = [], 0
    for data, part in frame.groupby(pd.Series(sets, frame.index, dtype=object)):
        drawn = list(_charts(part, runs.entries, colors))
        sections.append(Section(data, [Figure(f"chart{number + place}", *chart) for place, chart in enumerate(drawn)]))
        number += len(drawn)
    return sections


def _charts(part, entries, colors):
    """(title, remark, specification) of each chart of the runs of one data set."""
    error = ERROR if ERROR in part and part[ERROR].notna().any() else None
    scored = part.dropna(subset=[ERROR, SCORE]) if error and SCORE in part else part.iloc[:0]
    if len(scored):
        columns = {"id": "id", "name": "name", "series": "series", "noise": "train", "latent_dim": "latent_dim"}
        marks = scored[[*columns.values(), ERROR, SCORE]].set_axis([*columns, ERROR, SCORE], axis=1)
        marks["latent_dim"] = [None if np.isnan(size) else size for size in marks["latent_dim"]]
        levels = {name: part[column].mean() for column, name in _baselines(part, SCORE).items()}
        spec = charts.tradeoff(marks.to_dict("records"), ERROR, SCORE, better(SCORE) < 0, colors, levels)
        yield "Reconstruction against separation", TRADEOFF, spec
    for metric, title, remark in (
        (ERROR, "Error against code size", BASELINES),
        (SCORE, "Separation against code size", SCORES),
    ):
        sized = part.dropna(subset=[metric, "latent_dim"]) if metric in part else part.iloc[:0]
        if sized["latent_dim"].nunique() < 2:
            continue
        rows = charts.mean_rows(sized, ["series", "train", "latent_dim"], metric, mean_interval)
        rows = [{"noise": row.pop("train"), **row} for row in rows]
        means = sized.groupby("latent_dim")
        baselines = {
            name: sorted(means[column].mean().dropna().items()) for column, name in _baselines(sized, metric).items()
        }
        yield title, remark, charts.by_code_size(rows, baselines, metric, colors)
    cells = _noise_cells(part)
    if cells:
        yield "Noise in training, noise in testing", NOISES, charts.heat_map(cells, "mse")
    rows, left_out = _curve_rows(part, entries)
    if rows:
        remark = f"{CURVE} at the log points, mean over seeds, band: from the smallest to the largest of them."
        remark += f" {left_out} more series are left out." if left_out else ""
        yield "Training", remark, charts.curves(rows, CURVE, colors)


def _baselines(part, metric):
    """{column: name} of a metric's baselines, such as baseline/untrained_knn_accuracy, that have values."""
    last = metric.rpartition("/")[2]
    labels = {
        column: SHORT.get(column) or column.removeprefix("baseline/").removesuffix(f"_{last}").replace("_", " ")
        for column in map(str, part.columns)
        if column.startswith("baseline/") and column.endswith(f"_{last}")
    }
    return {column: name for column, name in labels.items() if column in part and part[column].notna().any()}


def _noise_cells(part):
    """The mean error of each training noise under each test noise: none, the run's own, and those of robust/*."""
    tests = {"clean": ERROR, "own": "restore/mse"}
    tests |= {
        name[7:-4].replace("/", " "): name for name in part if str(name).startswith("robust/") and name.endswith("/mse")
    }
    tests = {test: name for test, name in tests.items() if name in part and part[name].notna().any()}
    if len(tests) < 2:
        return []
    named = part.assign(train=part["series"] + ", " + part["train"])
    cells = []
    for test, name in tests.items():
        cells += [row | {"test": test} for row in charts.mean_rows(named, ["train"], name, mean_interval)]
    return cells


def _curve_rows(part, entries):
    """Rows of the training curves of the first MOST_SERIES series, and the number of series left out."""
    rows = []
    part = part[part["latent_dim"].notna()]
    named = pd.Series(
        list(zip(part["series"], part["train"], part["latent_dim"], strict=True)), part.index, dtype=object
    )
    names = list(dict.fromkeys(named))
    for key in names[: charts.MOST_SERIES]:
        for number in named.index[[other_key == key for other_key in named]]:
            try:
                history = Run(entries[number].path).history
            except FAULTS:  # absent or damaged
                continue
            series = dict(zip(("series", "noise", "latent_dim"), key, strict=True))
            rows += [
                series | {"step": row["step"], CURVE: row[CURVE]} for row in history if CURVE in row and "step" in row
            ]
    if not rows:
        return [], 0
    frame = pd.DataFrame(rows)
    frame = frame[np.isfinite(frame[CURVE]) & np.isfinite(frame["step"])]
    by = ["series", "noise", "latent_dim", "step"]
    spread = frame.groupby(by, sort=False)[CURVE].agg(["mean", "min", "max", "size"]).reset_index()
    spread = spread.set_axis([*by, "mean", "low", "high", "n"], axis=1)
    spread["value"] = spread["mean"].map("{:.4g}".format)
    return spread.to_dict("records"), max(0, len(names) - charts.MOST_SERIES)
