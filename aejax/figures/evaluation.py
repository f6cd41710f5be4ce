"""What the evaluation of a run found that is better seen: test noises, anomaly scores."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aejax.figures.style import WIDTH

COLUMNS = 4
RIVALS = {  # what stands beside what the run restores, in the order of the legend
    "mse": ("this run", "k", "-"),
    "input_mse": ("noisy input", "C7", "--"),
    "median_mse": ("median filter", "C0", "--"),
    "nearest_mse": ("nearest glyph", "C1", "--"),
    "posterior_mse": ("posterior mean of glyphs", "C2", "--"),
}
SCORES = {"error": "squared error", "elbo": "-ELBO, nats", "code": "distance to normal codes"}


def robustness(metrics):
    """The error of what a run restores over the level of each test noise, and of what else could be done."""
    cells = [name.split("/") for name in metrics if name.startswith("robust/")]
    kinds = list(dict.fromkeys(kind for _, kind, _, _ in cells))
    rows = math.ceil(len(kinds) / COLUMNS)
    figure = Figure((WIDTH, 1.6 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, min(COLUMNS, len(kinds)), squeeze=False)
    for axes, kind in zip(grid.flat, kinds, strict=False):
        levels = sorted({level for _, each, level, _ in cells if each == kind}, key=float)
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
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(RIVALS))
    return figure


def anomaly_scores(found):
    """Histograms of the anomaly scores of normal and of other test examples; `found` is the record's."""
    figure = Figure((WIDTH, 2.2), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (name, score) in zip(panels, found.items(), strict=True):
        edges = np.array(score["edges"])
        for kind, color in (("normal", "C0"), ("anomalous", "C3")):
            density = np.array(score[kind]) / max(1, sum(score[kind])) / np.diff(edges)
            axes.stairs(density, edges, label=kind, color=color, fill=True, alpha=0.5)
        axes.set(xlabel=SCORES[name], yticks=[])
    panels[0].set_ylabel("density")
    panels[0].legend()
    return figure
