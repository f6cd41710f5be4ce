"""The code space, projected on a plane."""

import dataclasses
import itertools

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from aejax.figures.images import as_images, ink, mosaic_of, paper, show
from aejax.figures.style import WIDTH, titled

GRID_SIDE = 20  # images of the decoded grid in a row
LISTED, COLUMN = 90, 30  # labels in the key of a picture and in a column of it, at the most
NAME = 24  # letters of a label that are shown
MANY = 128  # from so many codes on, points stand for examples in the code space


@dataclasses.dataclass(frozen=True)
class Grid:
    """A plane through the code space: origin_Z + a u_Z + b v_Z, and z [side * side, Z] on it, a fastest, b falling.

    With two code units the plane is the code space; with more it is that of the first two principal components of
    the codes, whose shares of the variance are `shares`.
    """

    origin: np.ndarray
    directions: np.ndarray
    shares: np.ndarray | None
    low: np.ndarray
    high: np.ndarray
    side: int
    z: np.ndarray

    def coordinates(self, z_NxZ):
        """Where codes lie on the plane, [N, 2]."""
        with np.errstate(invalid="ignore"):  # codes of a diverged run
            return (z_NxZ - self.origin) @ self.directions.T

    @property
    def labels(self):
        """Names of the two axes."""
        if self.shares is None:
            return ["code unit 1", "code unit 2" if self.origin.size > 1 else ""]
        return [f"principal component {i + 1} of the code ({share:.0%})" for i, share in enumerate(self.shares)]


def code_grid(z_NxZ, side=GRID_SIDE):
    """The Grid that spans the codes z_NxZ with a margin; codes that are not finite, of a diverged run, do not count."""
    z_NxZ = z_NxZ[np.isfinite(z_NxZ).all(axis=1)].astype(np.float64)
    units = z_NxZ.shape[1]
    if not len(z_NxZ):
        z_NxZ = np.zeros((1, units))
    origin, directions, shares = np.zeros(units), np.eye(2, units), None
    if units > 2:
        origin = z_NxZ.mean(axis=0)
        _, scale, components = np.linalg.svd(z_NxZ - origin, full_matrices=False)
        directions = np.zeros((2, units))
        directions[: len(components)] = components[:2]
        shares = np.zeros(2)
        shares[: len(scale)] = (scale**2 / max((scale**2).sum(), 1e-30))[:2]
    at = (z_NxZ - origin) @ directions.T
    low, high = at.min(axis=0), at.max(axis=0)
    margin = np.where(high > low, 0.06 * (high - low), 1.0)
    low, high = low - margin, high + margin
    a, b = np.meshgrid(np.linspace(low[0], high[0], side), np.linspace(high[1], low[1], side))
    z = origin + np.stack([a.ravel(), b.ravel()], axis=1) @ directions
    return Grid(origin, directions, shares, low, high, side, z.astype(np.float32))


def code_space(form, codes, label_names, grid, pixels_NxP, name):
    """Every example at its code: the glyph itself where images are few, points colored by label otherwise.

    Glyphs that would cover each other are moved apart, with a line to where they belong. Classes are named beside the
    points, and among them where the names do not cover each other. Codes that are not finite, of a diverged run, are
    left out.
    """
    at_Nx2, low, high = grid.coordinates(codes["z"].astype(np.float64)), grid.low, grid.high
    figure = Figure((5, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=grid.labels[0], ylabel=grid.labels[1])
    if grid.origin.size == 1:  # spread over the free axis, so that examples do not cover each other
        at_Nx2[:, 1] = np.arange(len(at_Nx2))
        margin = 0.06 * len(at_Nx2)
        low, high = np.array([low[0], -margin]), np.array([high[0], len(at_Nx2) - 1 + margin])
        axes.set_ylabel("example")
    finite = np.flatnonzero(np.isfinite(at_Nx2).all(axis=1))
    count = f"{len(finite):,}" if len(finite) == len(at_Nx2) else f"{len(finite):,} of {len(at_Nx2):,}"
    titled(figure, f"Codes of {count} test examples, {name}")
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    if len(form.shape) == 3 and len(at_Nx2) <= MANY:
        _glyphs(axes, form, at_Nx2[finite], low, high, as_images(form, pixels_NxP)[finite])
        return figure
    labels = codes.get("y", np.zeros(len(at_Nx2), int))[finite]
    colors = _colors(max(1, len(label_names)))
    axes.scatter(
        *at_Nx2[finite].T, c=colors[labels], s=np.clip(3000 / max(1, len(finite)), 4, 14), alpha=0.6, linewidths=0
    )
    if label_names and len(finite):
        _name_classes(figure, axes, at_Nx2[finite], labels, label_names, colors)
    return figure


def _colors(count):
    """A color for each class, RGBA [count, 4]."""
    kind = next((name for name, most in (("tab10", 10), ("tab20", 20)) if count <= most), None)
    return mpl.colormaps[kind](np.arange(count)) if kind else mpl.colormaps["turbo"](np.linspace(0.02, 0.98, count))


def _name_classes(figure, axes, at_Nx2, labels, label_names, colors):
    """A key of the colors on the right, and the names at their examples' medians where none covers another."""
    present = np.unique(labels)
    listed = present if len(present) <= LISTED else present[np.linspace(0, len(present) - 1, LISTED).astype(int)]
    columns = -(-len(listed) // COLUMN)
    marks = [Line2D([], [], marker="o", linestyle="", markersize=4, color=colors[label]) for label in listed]
    names = [name if len(name) <= NAME else f"{name[: NAME - 1]}…" for name in (label_names[label] for label in listed)]
    title = "label" if len(listed) == len(present) else f"{len(listed)} of {len(present)} labels"
    style = {"title": title, "handletextpad": 0.1, "columnspacing": 0.8, "fontsize": 7, "title_fontsize": 7}
    figure.legend(marks, names, loc="outside right upper", ncols=columns, **style)
    figure.set_figwidth(5 + columns * (0.35 + 0.055 * max(map(len, names))))
    outline = [withStroke(linewidth=2, foreground="white")]
    texts = [
        axes.text(*np.median(at_Nx2[labels == label], axis=0), name, ha="center", va="center", path_effects=outline)
        for label, name in zip(listed, names, strict=True)
    ]
    figure.draw_without_rendering()  # which gives the texts their places
    boxes = [text.get_window_extent() for text in texts]
    if any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2)):
        for text in texts:
            text.remove()


def _glyphs(axes, form, at_Nx2, low, high, images):
    """Images at their codes; in units of the axes' span a glyph is `size` high."""
    height, width = images.shape[1:3]
    size = np.clip(0.45 / np.sqrt(max(len(images), 1)), 0.04, 0.08)
    half = 0.5 * size * np.array([width / height, 1.0])
    true_Nx2 = (at_Nx2 - low) / (high - low)
    apart_Nx2 = moved_apart(true_Nx2, 2.1 * half)
    moved_N = (np.abs(apart_Nx2 - true_Nx2) / half).max(axis=1) > 0.5
    lines = low + np.stack([true_Nx2, apart_Nx2], axis=1)[moved_N] * (high - low)
    axes.add_collection(LineCollection(lines, colors="0.7", linewidths=0.5, zorder=1))
    axes.plot(*lines[:, 0].T, ".", color="0.4", markersize=2, zorder=3)
    for place, image in zip(apart_Nx2, images, strict=True):
        (left, bottom), (right, top) = (low + (place + sign * half) * (high - low) for sign in (-1, 1))
        axes.imshow(ink(form, image), extent=(left, right, bottom, top), zorder=2)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="auto")


def moved_apart(at_Nx2, size):
    """Places near at_Nx2, in [0, 1], at which boxes of `size` [2] overlap less; the smallest overlaps go first."""
    at_Nx2 = at_Nx2.copy()
    for _ in range(200):
        away = at_Nx2[:, None] - at_Nx2[None]
        overlap = np.maximum(1 - np.abs(away / size), 0)
        depth = overlap.min(axis=2, keepdims=True) * (1 - np.eye(len(at_Nx2)))[:, :, None]
        if depth.max(initial=0) < 0.02:
            break
        direction = away / size + 1e-3 * (np.arange(len(at_Nx2))[:, None, None] - np.arange(len(at_Nx2))[None, :, None])
        norm = np.maximum(np.linalg.norm(direction, axis=2, keepdims=True), 1e-9)
        at_Nx2 = np.clip(at_Nx2 + 0.25 * size * (depth * direction / norm).sum(axis=1), 0.5 * size, 1 - 0.5 * size)
    return at_Nx2


def decoded_grid(form, grid, images, title):
    """What the decoder makes of a regular grid over the code space; of a line for a single unit."""
    rows = 1 if grid.origin.size == 1 else grid.side
    cells = images.reshape(grid.side, grid.side, *images.shape[1:])[:rows]
    mosaic = mosaic_of(cells, gap=8 if form.kind == "binary" else 2, background=paper(form))
    figure = Figure(
        (5, 5.2) if rows > 1 else (WIDTH, 0.65 + WIDTH * mosaic.shape[0] / mosaic.shape[1]), layout="constrained"
    )
    titled(figure, title)
    axes = figure.subplots()
    show(axes, form, mosaic)
    for axis, count, size, low, high in (
        (axes.xaxis, grid.side, mosaic.shape[1], grid.low[0], grid.high[0]),
        (axes.yaxis, rows, mosaic.shape[0], grid.high[1], grid.low[1]),
    ):
        half = size / count / 2  # the ends of the grid lie in the middle of the outer images
        ends = sorted((low, high))
        values = np.array([value for value in MaxNLocator(5).tick_values(*ends) if ends[0] <= value <= ends[1]])
        axis.set_ticks(half + (values - low) / (high - low) * (size - 2 * half), [f"{value:g}" for value in values])
    axes.set(xlabel=grid.labels[0], ylabel=grid.labels[1])
    if rows == 1:
        axes.set(yticks=[], ylabel="")
    return figure
