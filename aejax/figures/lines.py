"""Examples that are vectors, drawn as lines: small plots side by side, all to one scale."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from aejax.figures.style import WIDTH, titled

COLUMNS = 7
GRID = 8  # vectors of the decoded grid in a row
LOOKS = {
    "original": {"color": "0.65", "linewidth": 2.2},
    "clean": {"color": "0.65", "linewidth": 2.2},
    "nearest": {"color": "0.65", "linewidth": 2.2},
    "noisy": {"color": "C0", "linewidth": 0.5},
    "reconstruction": {"color": "C3", "linewidth": 0.9},
    "restored": {"color": "C3", "linewidth": 0.9},
    "sample": {"color": "C3", "linewidth": 0.9},
}


def overlaid(rows, title):
    """A cell an example, with a line for each of `rows` {name: vectors_NxF}, drawn in their order."""
    count = len(next(iter(rows.values())))
    lines = -(-count // COLUMNS)
    figure = Figure((WIDTH, 0.8 * lines + 0.7), layout="constrained")
    titled(figure, title)
    axes = figure.subplots()
    low, high = (reach(np.concatenate(list(rows.values()))) for reach in (np.nanmin, np.nanmax))
    for name, vectors_NxF in rows.items():
        places = [(index % COLUMNS, lines - 1 - index // COLUMNS) for index in range(count)]
        axes.add_collection(LineCollection(_placed(vectors_NxF, places, low, high), label=name, **LOOKS[name]))
    axes.set(xlim=(-0.05, COLUMNS), ylim=(-0.05, lines), xticks=[])
    axes.set_yticks([lines - 1, lines - 0.15], [f"{low:.2g}", f"{high:.2g}"])
    axes.spines[:].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(rows))
    return figure


def stacked(rows, title, captions=None):
    """A line of cells for each of `rows` {name: vectors_NxF}, its name on the left; one of `captions` in each cell."""
    shown = {name: vectors_NxF[:COLUMNS] for name, vectors_NxF in rows.items()}
    figure = Figure((WIDTH, (0.6 if captions else 0.4) * len(rows) + 0.5), layout="constrained")
    titled(figure, title)
    axes = figure.subplots()
    low, high = (reach(np.concatenate(list(shown.values()))) for reach in (np.nanmin, np.nanmax))
    for row, vectors_NxF in enumerate(reversed(shown.values())):
        places = [(index, row) for index in range(len(vectors_NxF))]
        axes.add_collection(LineCollection(_placed(vectors_NxF, places, low, high), color="C0", linewidth=0.6))
    for row, texts in enumerate(reversed(captions.values() if captions else ())):
        for index, text in enumerate(texts[:COLUMNS]):
            axes.text(index, row + 0.86, text.replace("\n", ", "), fontsize=6, va="bottom")
    axes.set(xlim=(-0.05, COLUMNS), ylim=(-0.05, len(rows)), xticks=[])
    axes.set_yticks(np.arange(len(rows)) + 0.4, list(reversed(shown)))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def decoded_lines(grid, vectors_GxF, title):
    """What the decoder makes of a coarse part of a regular grid over the code space; of a line for one unit only."""
    rows = 1 if grid.origin.size == 1 else GRID
    steps = np.linspace(0, grid.side - 1, GRID).round().astype(int)
    cells = vectors_GxF.reshape(grid.side, grid.side, -1)[steps[:rows]][:, steps].reshape(rows * GRID, -1)
    figure = Figure((5, 5.2) if rows > 1 else (WIDTH, 1.5), layout="constrained")
    titled(figure, title)
    axes = figure.subplots()
    places = [(column, rows - 1 - row) for row in range(rows) for column in range(GRID)]
    low, high = np.nanmin(cells), np.nanmax(cells)
    axes.add_collection(LineCollection(_placed(cells, places, low, high), color="C3", linewidth=0.9))
    axes.set(xlim=(-0.05, GRID), ylim=(-0.05, rows), xlabel=grid.labels[0], ylabel=grid.labels[1])
    across, up = (np.linspace(grid.low[axis], grid.high[axis], grid.side)[steps] for axis in (0, 1))
    axes.set_xticks(np.arange(GRID) + 0.425, [f"{value:.2g}" for value in across])
    axes.set_yticks(np.arange(rows) + 0.425 if rows > 1 else [], [f"{value:.2g}" for value in up] if rows > 1 else [])
    axes.spines[:].set_visible(False)
    return figure


def _placed(vectors_NxF, places, low, high):
    """The lines of vectors, each in the cell at its place, 0.85 wide and high."""
    x_F = np.linspace(0, 0.85, vectors_NxF.shape[1])
    y_NxF = 0.85 * (vectors_NxF - low) / max(high - low, 1e-9)
    return [np.stack([x_F + x, y_F + y], axis=1) for y_F, (x, y) in zip(y_NxF, places, strict=True)]
