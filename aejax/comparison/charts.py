"""Vega-Lite charts of a comparison, as plain specifications; a click on a mark opens the run with its `id`."""

import colorsys
import itertools

import numpy as np

from aejax.metrics.lookup import is_log

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # only a name: nothing fetches it
CONFIG = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "tickCount": 6},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "orient": "bottom",
               "labelLimit": 260, "symbolLimit": 0, "symbolBaseFillColor": "#888", "symbolBaseStrokeColor": "#888"},
    "header": {"labelFontSize": 12, "titleFontSize": 12},
    "range": {"category": {"scheme": "tableau10"}},
}  # fmt: skip
PICK = {"name": "pick", "select": {"type": "point", "fields": ["series"]}, "bind": "legend"}
DIM = {"condition": {"param": "pick", "value": 1, "empty": True}, "value": 0.12}
HUES = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#eeca3b", "#ff9da6", "#439894"]
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 2, 1, 2]]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
MOST_SERIES = 12  # of training curves; the caption says how many more there are


def model_colors(models):
    """{model: color}, the same in all charts of a page."""
    wheel = (_hue(0.11 + 0.618034 * number, 0.36, 0.65) for number in itertools.count())
    return dict(zip(models, itertools.chain(HUES, wheel), strict=False))


def class_colors(classes):
    """{class: color}, spaced evenly around the color wheel; none is the color of a model."""
    return {label: _hue(number / len(classes), 0.62, 0.6) for number, label in enumerate(classes)}


def _hue(hue, lightness, saturation):
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue % 1, lightness, saturation))


def _scale(colors, rows):
    """The color channel for the models in these rows."""
    shown = list(dict.fromkeys(row["series"] for row in rows))
    scale = {"domain": shown, "range": [colors[name] for name in shown]}
    return {"field": "series", "type": "nominal", "title": "model", "scale": scale, "legend": {"symbolOpacity": 1}}


def _dash(rows):
    noises = list(dict.fromkeys(row["noise"] for row in rows))
    channel = {"field": "noise", "type": "nominal", "title": "noise", "scale": {"domain": noises, "range": DASHES}}
    return channel | {"legend": {"symbolType": "stroke"} if len(noises) > 1 else None}


def chart(title, values, height=300, **properties):
    """The specification of a chart that fills the available width."""
    size = {"width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
    longest = max((len(row["series"]) for row in values if "series" in row), default=0)  # for the legend's columns
    header = {"$schema": SCHEMA, "description": title, "usermeta": {"longest": longest}}
    return header | {"config": CONFIG, "data": {"values": values}} | size | properties


def quantitative(field, title, log=None):
    """An encoding of numbers; the axis is logarithmic if `log` holds its values and all are positive."""
    encoding = {"field": field, "type": "quantitative", "title": title}
    if not positive(log):
        return encoding | {"scale": {"zero": False, "nice": True}}
    wide = max(log) > 1e4 * min(log) or min(log) < 1e-5
    return encoding | {
        "scale": {"type": "log", "nice": False, "padding": 14},
        "axis": {"format": "~e" if wide else "~g"},
    }


def positive(values):
    """Whether there are values and a logarithmic axis can show them all."""
    return bool(values) and min(values) > 0


def drawn(rows):
    """The rows of mean_rows with an interval; one that reaches 0 is cut at the bottom of a logarithmic axis."""
    values = [row["mean"] for row in rows]
    bottom = min(values) / 2 if positive(values) else -np.inf
    return [row | {"low": max(row["low"], bottom)} for row in rows if row["low"] is not None]


def front(points, error, score):
    """The Pareto front, by rising error: no other point has both a smaller `error` and a larger `score`."""
    kept, best = [], -np.inf
    for point in sorted(points, key=lambda candidate: (candidate[error], -candidate[score])):
        if point[score] > best:
            kept.append(point)
            best = point[score]
    return kept


def tradeoff(points, error, score, lower, colors, baselines=None):
    """Error against separation of each run, with the Pareto front; `lower`: whether a smaller score is better.

    `baselines` {name: score} are dotted lines.
    """
    facing = [point | {"_score": -point[score] if lower else point[score]} for point in points]
    edge = [{name: point[name] for name in (error, score)} for point in front(facing, error, "_score")]
    x = quantitative(_field(error), error, [point[error] for point in points])
    y = quantitative(_field(score), score)
    noises = list(dict.fromkeys(point["noise"] for point in points))
    marks = {
        "params": [PICK],
        "mark": {"type": "point", "filled": True, "size": 70, "cursor": "pointer"},
        "encoding": {
            "x": x,
            "y": y,
            "color": _scale(colors, points),
            "shape": {"field": "noise", "type": "nominal", "title": "noise",
                      "scale": {"domain": noises, "range": SHAPES}},
            "opacity": DIM,
            "tooltip": [{"field": "name", "title": "run"}, *({"field": _field(column), "title": column, "format": ".4g"}
                        for column in (error, score)), {"field": "latent_dim", "title": "latent_dim"}],
            "description": {"field": "name"},
        },
    }  # fmt: skip
    line = {
        "data": {"values": edge},
        "mark": {
            "type": "line",
            "interpolate": "step-after",
            "strokeDash": [5, 4],
            "color": "#888",
            "strokeWidth": 1.5,
        },
        "encoding": {"x": x, "y": y},
    }
    rules = _rules([{"series": name, score: value} for name, value in (baselines or {}).items()], y, score)
    return chart(f"{error} against {score} of each run, and the Pareto front", points, layer=[*rules, line, marks])


def _rules(baselines, y, field):
    """Layers of dotted lines across a chart, each labeled with its name."""
    if not baselines:
        return []
    data, text = {"values": baselines}, {"type": "text", "align": "left", "dy": -6, "fontSize": 11, "x": 4}
    rule = {"type": "rule", "strokeDash": [2, 3], "color": "#888", "strokeWidth": 1.5}
    y = {name: value for name, value in y.items() if name != "axis"} | {"field": _field(field)}
    return [
        {"data": data, "mark": rule, "encoding": {"y": y}},
        {"data": data, "mark": text, "encoding": {"y": y, "text": {"field": "series"}}},
    ]


def by_code_size(rows, baselines, metric, colors):
    """Mean and interval against the code size; `baselines` {name: [(latent_dim, value)]} are dashed lines."""
    values = [row["mean"] for row in rows] + [value for curve in baselines.values() for _, value in curve]
    sizes = sorted({row["latent_dim"] for row in rows})
    x = quantitative("latent_dim", "latent_dim: code units", sizes if sizes[-1] >= 4 * sizes[0] else None)
    x["axis"] = {"values": sizes, "format": "d"}
    y = quantitative("mean", f"{metric}, mean and 95 % interval", values if is_log(metric) else None)
    color = _scale(colors, rows)
    shared = {"x": x, "y": y, "color": color, "opacity": DIM, "strokeDash": _dash(rows)}
    tips = [{"field": name} for name in ("series", "noise", "latent_dim", "value", "n")]
    lines = [
        {"series": name, "latent_dim": d, "mean": value} for name, curve in baselines.items() for d, value in curve
    ]
    dashed = {"type": "line", "strokeDash": [6, 4], "color": "#888", "strokeWidth": 1.5}
    ends = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color, "opacity": DIM}
    of_baselines = [
        {"data": {"values": lines}, "mark": dashed, "encoding": {"x": x, "y": y, "detail": {"field": "series"}}},
        {
            "data": {"values": [line for line in lines if line["latent_dim"] == sizes[-1]]},
            "mark": {"type": "text", "align": "right", "dy": -7, "fontSize": 11},
            "encoding": {"x": x, "y": y, "text": {"field": "series"}},
        },
    ]
    known = drawn(rows)
    layers = [
        *(of_baselines if lines else []),
        *(
            [{"data": {"values": known}, "mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": ends}]
            if known
            else []
        ),
        {"params": [PICK], "mark": {"type": "line", "point": {"size": 45}}, "encoding": shared | {"tooltip": tips}},
    ]
    return chart(f"{metric} against code size", rows, layer=layers)


def heat_map(cells, metric):
    """Error by training noise and test noise; test noises keep the order of the cells."""
    across = list(dict.fromkeys(cell["test"] for cell in cells))
    down = list(dict.fromkeys(cell["train"] for cell in cells))
    log = positive([cell["mean"] for cell in cells])
    scale = {"scheme": "viridis", "reverse": True} | ({"type": "log"} if log else {})
    x = {"field": "test", "type": "nominal", "sort": across, "title": "noise in testing", "axis": {"labelAngle": -40}}
    y = {"field": "train", "type": "nominal", "sort": down, "title": "model and noise in training",
         "axis": {"labelLimit": 220}}  # fmt: skip
    tips = [{"field": name} for name in ("train", "test", "value", "n")]
    color = {"field": "mean", "type": "quantitative", "title": metric, "scale": scale,
             "legend": {"orient": "right", "gradientLength": 120, "format": ".1e"}}  # fmt: skip
    means = [cell["mean"] for cell in cells]
    middle = float(np.sqrt(min(means) * max(means)) if log else (min(means) + max(means)) / 2)
    ink = {"condition": {"test": f"datum.mean > {middle!r}", "value": "#fff"}, "value": "#111"}  # dark is worse
    number = {"field": "short", "type": "nominal"}
    layers = [
        {"mark": "rect", "encoding": {"x": x, "y": y, "color": color, "tooltip": tips}},
        {
            "name": "tinted",
            "mark": {"type": "text", "fontSize": 11},
            "encoding": {"x": x, "y": y, "text": number, "color": ink},
        },
    ]
    cells = [cell | {"short": f"{cell['mean']:.2g}"} for cell in cells]
    return chart(f"{metric} by train noise and test noise", cells, height=max(60, 30 * len(down)), layer=layers)


def curves(rows, name, colors):
    """Training curves: means over seeds, with a band from the smallest to the largest seed."""
    values = [row["mean"] for row in rows]
    x, y = quantitative("step", "step"), quantitative("mean", f"{name}, mean over seeds", values)
    sizes = sorted({row["latent_dim"] for row in rows}, key=str)
    size = {"field": "latent_dim", "type": "ordinal"}
    width = {**size, "title": "latent_dim", "scale": {"domain": sizes, "range": [1.2, 3.5]}}
    if len(sizes) > 1:
        width["scale"]["range"] = np.linspace(1.2, 3.5, len(sizes)).round(2).tolist()
    else:
        width["legend"] = None
    color = _scale(colors, rows)
    tips = [{"field": field} for field in ("series", "noise", "latent_dim", "step", "value", "n")]
    few = len({row["step"] for row in rows}) <= 12
    layers = [
        {
            "data": {"values": rows},
            "mark": {"type": "area", "opacity": 0.18},
            "encoding": {
                "x": x,
                "y": {**y, "field": "low"},
                "y2": {"field": "high"},
                "color": color,
                "detail": [size, {"field": "noise"}],
            },
        },
        {
            "params": [PICK],
            "mark": {"type": "line", "point": few},
            "encoding": {"x": x, "y": y, "color": color, "opacity": DIM, "strokeDash": _dash(rows),
                         "strokeWidth": width, "tooltip": tips},
        },
    ]  # fmt: skip
    return chart(f"{name} along the training", rows, layer=layers)


def codes():
    """The codes of one run; the page fills in points, axes and classes."""
    points = {
        "mark": {"type": "circle", "size": 45, "opacity": 0.8, "stroke": "#555", "strokeWidth": 0.4},
        "encoding": {
            "x": quantitative("x", None),
            "y": quantitative("y", None),
            "color": {"field": "label", "type": "nominal", "title": "class", "legend": {"symbolType": "circle"}},
            "tooltip": [{"field": "label", "title": "class"}],
        },
    }
    return chart("codes of test examples, colored by class", [], height=280, **points)


def mean_rows(frame, by, metric, half_of):
    """Rows {…by, mean, low, high, n, value} of a metric grouped by the columns `by`; low, high are None if n < 3.

    `value` is the mean and its interval as text. `half_of(mean, std, n)` gives half the width of the interval.
    """
    rows = []
    for key, values in frame.dropna(subset=metric).groupby(by, sort=False)[metric]:
        mean, half = float(values.mean()), float(half_of(values.mean(), values.std(), len(values)))
        known = not np.isnan(half)
        low, high = (mean - half, mean + half) if known else (None, None)
        text = f"{mean:.4g} ± {half:.2g}" if known else f"{mean:.4g}"
        named = dict(zip(by, key, strict=True))
        rows.append(named | {"mean": mean, "low": low, "high": high, "n": len(values), "value": text})
    return rows


def _field(name):
    """A column's name with dots and brackets escaped, which have a meaning in Vega-Lite."""
    return name.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[").replace("]", "\\]")
