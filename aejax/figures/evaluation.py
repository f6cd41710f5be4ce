"""Pictures of a run's evaluation: test noises, anomaly scores."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aejax.figures.images import as_images, strips
from aejax.figures.lines import stacked
from aejax.figures.style import WIDTH, titled

COLUMNS = 4
RIVALS = {  # what stands beside what the run restores, in the order of the legend
    "mse": ("this run", "k", "-"),
    "input_mse": ("noisy input", "C7", "--"),
    "median_mse": ("median filter", "C0", "--"),
    "nearest_mse": ("nearest glyph", "C1", "--"),
    "posterior_mse": ("posterior mean of glyphs", "C2", "--"),
}
ROWS = {"error": "squared error", "elbo": "-ELBO", "code": "code distance"}
SCORES = {"error": "squared error", "elbo": "-ELBO, nats", "code": "distance to normal codes"}


def robustness(metrics, title):
    """A run's restoration error over the level of each test noise, beside its alternatives."""
    cells = [name.split("/") for name in metrics if name.startswith("robust/")]
    kinds = list(dict.fromkeys(kind for _, kind, _, _ in cells))
    rows = math.ceil(len(kinds) / COLUMNS)
    figure = Figure((WIDTH, 1.6 * rows + 0.6), layout="constrained")
    titled(figure, title)
    grid = figure.subplots(rows, min(COLUMNS, len(kinds)), squeeze=False)
    for axes, kind in zip(grid.flat, kinds, strict=False):
        levels = sorted({level for _, cell_kind, level, _ in cells if cell_kind == kind}, key=float)
        for name, (label, color, line) in RIVALS.items():
            values = [metrics.get(f"robust/{kind}/{level}/{name}") for level in levels]
            if None not in values:
                axes.plot([float(level) for level in levels], values, line, color=color, label=label, marker=".")
        axes.set(title=kind.replace("_", " "), ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    for axes in grid.flat[len(kinds) :]:
        axes.set_axis_off()
    figure.supxlabel("level of the test noise")
    figure.supylabel("mean squared error")
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(RIVALS))
    return figure


def anomaly_scores(scores, metrics, name):
    """Histograms of the anomaly scores of normal and of other test examples; `scores` are the record's.

    A line marks the threshold above which an example is called anomalous, if there is one.
    """
    figure = Figure((WIDTH, 2.8), layout="constrained")
    titled(figure, f"Anomaly scores of test examples, {name}")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (kind, score) in zip(panels, scores.items(), strict=True):
        edges = np.array(score["edges"])
        for group, color in (("normal", "C0"), ("anomalous", "C3")):
            density = np.array(score[group]) / max(1, sum(score[group])) / np.diff(edges)
            axes.stairs(density, edges, label=group, color=color, fill=True, alpha=0.5)
        axes.set(xlabel=SCORES[kind], yticks=[], title="no threshold\nwithout validation examples")
        if score["threshold"] is not None:
            axes.axvline(score["threshold"], color="k", linestyle="--", linewidth=0.9, label="threshold")
            missed, alarms = _mistaken_shares(metrics, kind)
            axes.set_title(f"threshold {score['threshold']:.3g}\n{missed:.1%} missed, {alarms:.1%} false alarms")
    panels[0].set_ylabel("density")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def mistaken(job, scores, unit):
    """Pictures of the normal test examples that score highest, and of the anomalies that score lowest, by each score.

    (name, figure) one by one; captions are scores, and of an anomaly its label.
    """
    form, test, names = job.experiment.form, job.dataset.test, job.dataset.label_names
    for key, heading in (
        ("false_alarms", "Normal test examples with the highest"),
        ("misses", "Anomalies with the lowest"),
    ):
        rows, captions, thresholds = {}, {}, []
        for kind, score in scores.items():
            row, index = f"by {ROWS[kind]}", score[f"worst_{key}"]
            rows[row] = np.asarray(unit(form.scaled(test.x[index].reshape(len(index), -1))))
            values = [_shown(value) for value in score[f"worst_{key}_score"]]
            labels = [f"{names[test.y[place]]}\n" if key == "misses" else "" for place in index]
            captions[row] = [label + value for label, value in zip(labels, values, strict=True)]
            thresholds.append(f"{ROWS[kind]} {_shown(score['threshold'])}")
        side = "above is a false alarm" if key == "false_alarms" else "below is missed"
        title = f"{heading} scores, {job.name}\nthresholds, {side}: {', '.join(thresholds)}"
        if len(form.shape) == 1:
            yield key, stacked(rows, title, captions)
        else:
            images = {row: as_images(form, x) for row, x in rows.items()}
            yield key, strips(form, images, title, {row: ("", texts) for row, texts in captions.items()})


def _mistaken_shares(metrics, kind):
    """The shares of anomalies that are missed and of normal examples that are false alarms, nan if unknown."""
    prefix = "" if kind == "error" else f"{kind}_"
    detected, alarms = (metrics.get(f"anomaly/{prefix}{name}") for name in ("tpr", "fpr"))
    return math.nan if detected is None else 1 - detected, math.nan if alarms is None else alarms


def _shown(value):
    return "none" if value is None else f"{value:.3g}"
