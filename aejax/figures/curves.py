"""Training curves."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from aejax.figures.style import WIDTH, titled


def curves(rows, metrics, title):
    """Objective and terms, and the validation error, if there is one, beside the baselines, over the steps."""
    figure = Figure((WIDTH, 2.9), layout="constrained")
    titled(figure, title)
    left, right = figure.subplots(1, 2)
    rows = [{name: value if np.isfinite(value) else np.nan for name, value in row.items()} for row in rows]
    steps = [row["step"] for row in rows]
    style = {"marker": "o", "markersize": 3} if len(rows) == 1 else {}
    terms = {name: np.array([row[name] for row in rows]) for name in rows[0] if name.startswith("train/")}
    loss = terms.pop("train/loss")
    if len(terms) > 1:  # else the loss is its only term
        left.plot(steps, loss, color="k", label="loss", **style)
    for name, values in terms.items():
        left.plot(steps, values, label=name.removeprefix("train/"), **style)
    if all((values > 0).all() for values in terms.values()):
        logarithmic(left)
    left.set(xlabel="step", ylabel="training objective, nats an example")
    left.legend(loc="upper right")
    if len(rows) == 1:
        for axes in (left, right):
            axes.set(xlim=(steps[0] - 1, steps[0] + 1), xticks=steps)
    if "valid/mse" not in rows[0]:
        right.set(xticks=[], yticks=[])
        right.text(0.5, 0.5, "no validation examples", transform=right.transAxes, ha="center")
        right.spines[:].set_visible(False)
        return figure
    right.plot(steps, [row["valid/mse"] for row in rows], color="k", **style)
    for name, label, color, side in (
        ("baseline/mean_mse", "mean image", "C7", "bottom"),
        ("baseline/pca_mse", "PCA, as many units", "C1", "top"),
    ):
        if (metrics.get(name) or 0) > 1e-9:  # PCA with as many units as the data's rank leaves nothing
            right.axhline(metrics[name], color=color, linestyle="--", linewidth=0.9)
            place = {"xycoords": right.get_yaxis_transform(), "textcoords": "offset points", "ha": "right", "va": side}
            right.annotate(label, (1, metrics[name]), (0, 2 if side == "bottom" else -2), color=color, **place)
    logarithmic(right)
    right.set(xlabel="step", ylabel="validation: mean squared error")
    return figure


def logarithmic(axes):
    """A logarithmic y axis with plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.2, high * 1.2)  # room for the baselines' names
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e3 else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
