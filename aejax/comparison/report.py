"""report.html: the whole comparison in one file that needs no network."""

import base64
import contextlib
import functools
import html
import io
import json
import os
import string
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata, resources
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import vl_convert
from PIL import Image

from aejax.base.files import regular, write_whole
from aejax.comparison import about, charts, formats
from aejax.comparison.intervals import mean_interval
from aejax.comparison.labels import names
from aejax.comparison.plain import plain
from aejax.comparison.points import points
from aejax.comparison.reading import FAULTS
from aejax.comparison.summary import SHORT
from aejax.metrics.table import better
from aejax.runs.folder import Run

ERROR, SCORE = "recon/mse", "separation/knn_accuracy"
POINTS = 300  # codes of a run that are drawn, fewer where there are more than RUNS
RUNS = 256
WIDTH = 720  # pixels of a picture
PICTURES = 3_500_000  # characters that all pictures may take; runs beyond are told to have theirs in their folder
PAIRS = 500  # pairs, and sentences about them, at the most
CURVE = "valid/mse"
SHOWN = ("recon/mse", "recon/psnr", "separation/knn_accuracy", "separation/silhouette", "restore/mse", "elbo",
         "anomaly/auroc")  # fmt: skip

TRADEOFF = "Each mark is a run: click it to open it below. Dashed: the Pareto front. Left and up is better. "
TRADEOFF += "A click on the legend picks a model out. Dotted: what takes no training (baseline/…)."
SCORES = "Mean over seeds. Dashed: what takes no training (baseline/…)."
BASELINES = "Dashed: PCA with as many units, and the mean image. An interval that reaches 0 ends at the bottom."
NOISES = (
    "Mean over seeds and code sizes; dark is worse. Clean: recon/mse; own: restore/mse, under the run's own noise; "
)
NOISES += "others: robust/*."


def page(found, folder):
    """The page of a Comparison as text; links to runs are relative to `folder`."""
    files = resources.files("aejax.comparison") / "assets"
    content, figures = payload(found, folder)
    lines = [*formats.told_runs(found.runs), *content.pop("damage")]
    parts = {
        "title": html.escape(f"{lines[0]}"),
        "style": (files / "page.css").read_text(),
        "script": (files / "page.js").read_text(),
        "library": library().replace("</script", r"<\/script"),
        "content": json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace(
            "<", "\\u003c"
        ),
        "about": "".join(
            f"<dt>{html.escape(what)}</dt><dd>{html.escape(text)}</dd>"
            for what, text in [*_common(found), *about.lines(found.runs, found.words)]
        ),
        "caption": html.escape(found.caption),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in [*lines[1:], *found.notes]),
        "table": table(*found.grid, len(found.rows), "groups"),
        "verdicts": "".join(f"<li>{html.escape(line)}</li>" for line in _first(found.verdicts, "sentences"))
        or "<li>Nothing to compare.</li>",
        "pairs": table(*formats.pair_cells(found.pairs[:PAIRS]), 4, "pairs") if len(found.pairs) else "",
        "figures": "".join(figures),
        "runs": table(*_run_cells(found), 2, "runs", [run["id"] for run in content["runs"]]),
    }
    return string.Template((files / "page.html").read_text()).substitute(parts)


def _common(found):
    return [("In all runs", text.partition(": ")[2]) for text in found.common]


def _first(lines, what):
    """The first PAIRS of the lines, and how many more there are."""
    more = [f"and {len(lines) - PAIRS} more {what} and pairs: --json"] if len(lines) > PAIRS else []
    return [*lines[:PAIRS], *more]


@functools.cache
def library():
    """Vega, Vega-Lite and Vega-Embed as one script; bundling takes seconds, so it is kept in the user's cache."""
    name = f"vega-{metadata.version('vl-convert-python')}.js"
    path = platformdirs.user_cache_path("aejax") / name
    with contextlib.suppress(OSError):
        return path.read_text()
    script = vl_convert.javascript_bundle()
    with contextlib.suppress(OSError):  # a home that cannot be written costs the seconds again
        write_whole(path, script)
    return script


def table(headers, lines, settings, name, opens=()):
    """A table in HTML whose headers sort it; rows of runs have a button that opens the run."""
    head = "".join(
        f'<th scope="col" class="{"word" if place < settings else "number"}" aria-sort="none">'
        f"<button>{html.escape(header)}</button></th>"
        for place, header in enumerate(headers)
    )
    body = []
    for number, line in enumerate(lines):
        cells = []
        for place, cell in enumerate(line):
            text = html.escape(cell.text)
            text = f"<strong>{text}</strong>" if cell.bold else text
            if opens and not place:
                text = f'<button class="open" data-run="{html.escape(opens[number])}">{text}</button>'
            tag = "th scope=row" if not place else "td"
            value = f' data-value="{float(cell.mean) * 10.0**cell.exponent!r}"' if cell.mean else ""
            cells.append(f'<{tag} class="{"word" if place < settings else "number"}"{value}>{text}</{tag.split()[0]}>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table id="{name}"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def payload(found, folder):
    """What the page's script needs, and the HTML of its figures."""
    runs = found.runs
    entries = list(runs.entries)
    own = [key for key in runs.settings if len({repr(entry.settings.get(key)) for entry in entries}) > 1]
    with ThreadPoolExecutor() as pool:
        most = min(POINTS, POINTS * RUNS // max(len(entries), 1))
        kept = list(pool.map(lambda entry: _left(entry.path, most), entries))
    damage = [
        f"damaged: {plain(entry.path)}/codes.npz ({left['fault']}); its codes are not drawn"
        for entry, left in zip(entries, kept, strict=True)
        if left["fault"]
    ]
    shown, room, seeds = {}, PICTURES, runs.frame["seed"].map(str)
    for place in seeds.groupby(seeds).cumcount().sort_values(kind="stable").index:
        picture = kept[place]["picture"]
        if picture and len(picture) <= room:
            shown[place], room = picture, room - len(picture)
    told = []
    for place, entry in enumerate(entries):
        where = plain(os.path.relpath(entry.path, folder))
        settings = {key: formats.word(value) for key, value in {**entry.choices, **entry.settings}.items()}
        told.append({
            "id": str(place), "name": entry.name, "status": entry.status, "reason": entry.reason, "path": where,
            "metrics": {name: formats.number(float(entry.metrics[name])).text for name in SHOWN
                        if entry.metrics.get(name) is not None},
            "settings": {key: settings[key] for key in (*own, *entry.choices) if key in settings},
            "codes": kept[place]["codes"], "picture": shown.get(place), "drawn": bool(kept[place]["picture"]),
        })  # fmt: skip
    specs, figures = _charts(found, entries)
    common = sum(1 for key in runs.settings if key not in own)
    classes = dict.fromkeys(label for left in kept if left["codes"] for label in left["codes"]["classes"])
    colors = charts.class_colors(list(classes))
    content = {"runs": told, "charts": specs, "codes": charts.codes(), "classes": colors, "common": common}
    return content | {"damage": damage}, figures


def _left(path, most):
    """The codes, why they cannot be read, and the picture of reconstructions of a run: None for what is not there."""
    codes, fault = points(path, most)
    return {"codes": codes, "fault": fault, "picture": _picture(Path(path) / "figures" / "reconstructions.png")}


def _picture(path):
    try:
        with regular(path) as file, Image.open(file) as picture:
            picture.thumbnail((WIDTH, 4 * WIDTH))
            data = io.BytesIO()
            picture.convert("RGB").save(data, "webp", quality=70)
    except (*FAULTS, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning):  # not whole
        return None
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def _run_cells(found):
    """Headers and lines of Cells of all runs."""
    metrics = [name for name in SHOWN if name in found.runs.metrics]
    headers, lines = ["run", "status", "path", *metrics], []
    for entry in found.runs.entries:
        numbers = [entry.metrics.get(name) for name in metrics]
        lines.append([
            formats.Cell(entry.name), formats.Cell(entry.status), formats.Cell(plain(entry.path)),
            *(formats.Cell("-") if value is None else formats.number(float(value)) for value in numbers),
        ])  # fmt: skip
    return headers, lines


def _charts(found, entries):
    """The specifications of the charts, and a figure in HTML for each, data set by data set."""
    runs = found.runs
    frame = runs.frame.assign(id=[str(place) for place in range(len(entries))])
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
    specs, figures = [], []

    def add(title, spec, remark=""):
        name = f"chart{len(specs)}"
        specs.append({"name": name, "spec": spec})
        caption = f"<figcaption><h4>{html.escape(title)}</h4><p>{html.escape(remark)}</p></figcaption>"
        figures.append(f'<figure>{caption}<div class="chart" id="{name}"></div></figure>')

    sets = names(frame, ["data", *(key for key in runs.varying if key.startswith("data."))])
    for data, part in frame.groupby(pd.Series(sets, frame.index, dtype=object)):
        figures.append(f'<h3 class="data">{html.escape(data)}</h3><div class="figures">')
        error = ERROR if ERROR in part and part[ERROR].notna().any() else None
        scored = part.dropna(subset=[ERROR, SCORE]) if error and SCORE in part else part.iloc[:0]
        if len(scored):
            columns = {"id": "id", "name": "name", "series": "series", "noise": "train", "latent_dim": "latent_dim"}
            marks = scored[[*columns.values(), ERROR, SCORE]].set_axis([*columns, ERROR, SCORE], axis=1)
            marks["latent_dim"] = [None if np.isnan(size) else size for size in marks["latent_dim"]]
            levels = {name: part[column].mean() for column, name in _baselines(part, SCORE).items()}
            spec = charts.tradeoff(marks.to_dict("records"), ERROR, SCORE, better(SCORE) < 0, colors, levels)
            add("Reconstruction against separation", spec, TRADEOFF)
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
                name: sorted(means[column].mean().dropna().items())
                for column, name in _baselines(sized, metric).items()
            }
            add(title, charts.by_code_size(rows, baselines, metric, colors), remark)
        cells = _noise_cells(part)
        if cells:
            add("Noise in training, noise in testing", charts.heat_map(cells, "mse"), NOISES)
        rows, left_out = _curve_rows(part, entries)
        if rows:
            more = f" {left_out} more series are left out." if left_out else ""
            add(
                "Training",
                charts.curves(rows, CURVE, colors),
                f"{CURVE} at the log points, mean over seeds, band: from the least to the largest of them.{more}",
            )
        figures.append("</div>")
    return specs, figures


def _baselines(part, metric):
    """{column: name} of the baselines of a metric that there are, as baseline/untrained_knn_accuracy."""
    last = metric.rpartition("/")[2]
    found = {
        column: SHORT.get(column) or column.removeprefix("baseline/").removesuffix(f"_{last}").replace("_", " ")
        for column in map(str, part.columns)
        if column.startswith("baseline/") and column.endswith(f"_{last}")
    }
    return {column: name for column, name in found.items() if column in part and part[column].notna().any()}


def _noise_cells(part):
    """The mean error of each train noise under each test noise: clean, the run's own, and those of robust/*."""
    tests = {"clean": ERROR, "own": "restore/mse"}
    tests |= {
        name[7:-4].replace("/", " "): name for name in part if str(name).startswith("robust/") and name.endswith("/mse")
    }
    tests = {told: name for told, name in tests.items() if name in part and part[name].notna().any()}
    if len(tests) < 2:
        return []
    named = part.assign(train=part["series"] + ", " + part["train"])
    cells = []
    for test, name in tests.items():
        cells += [row | {"test": test} for row in charts.mean_rows(named, ["train"], name, mean_interval)]
    return cells


def _curve_rows(part, entries):
    """Rows of the training curves of the first series by code size, and how many series are left out."""
    rows = []
    part = part[part["latent_dim"].notna()]
    named = pd.Series(
        list(zip(part["series"], part["train"], part["latent_dim"], strict=True)), part.index, dtype=object
    )
    names = list(dict.fromkeys(named))
    for key in names[: charts.MOST_SERIES]:
        for number in named.index[[each == key for each in named]]:
            try:
                history = Run(entries[number].path).history
            except FAULTS:  # none, or not whole
                continue
            told = dict(zip(("series", "noise", "latent_dim"), key, strict=True))
            rows += [
                told | {"step": row["step"], CURVE: row[CURVE]} for row in history if CURVE in row and "step" in row
            ]
    if not rows:
        return [], 0
    frame = pd.DataFrame(rows)
    frame = frame[np.isfinite(frame[CURVE]) & np.isfinite(frame["step"])]
    by = ["series", "noise", "latent_dim", "step"]
    spread = frame.groupby(by, sort=False)[CURVE].agg(["mean", "min", "max", "size"]).reset_index()
    spread = spread.set_axis([*by, "mean", "low", "high", "n"], axis=1)
    spread["told"] = spread["mean"].map("{:.4g}".format)
    return spread.to_dict("records"), max(0, len(names) - charts.MOST_SERIES)
