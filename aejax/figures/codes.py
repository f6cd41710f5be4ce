"""The code space, seen on a plane."""

import dataclasses

import numpy as np
from matplotlib.figure import Figure

from aejax.figures.images import ink, mosaic_of, paper, show
from aejax.figures.style import WIDTH

GRID_SIDE = 20  # images of the decoded grid in a row
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


def code_space(form, codes, label_names, grid, images):
    """Every example at its code: the glyph itself where there are few, points coloured by label otherwise.

    Codes that are not finite, of a diverged run, are left out.
    """
    figure = Figure((5, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=grid.labels[0], ylabel=grid.labels[1])
    at_Nx2, low, high = grid.coordinates(codes["z"].astype(np.float64)), grid.low, grid.high
    if grid.origin.size == 1:  # spread over the free axis, so that examples do not cover each other
        at_Nx2[:, 1] = np.arange(len(at_Nx2))
        low, high = np.array([low[0], -1.0]), np.array([high[0], len(at_Nx2)])
        axes.set_ylabel("example")
    labels = codes.get("y", np.zeros(len(at_Nx2), int))
    finite = np.isfinite(at_Nx2).all(axis=1)
    if len(at_Nx2) <= MANY:
        short = [label_names[label] if label_names and len(label_names[label]) <= 2 else "" for label in labels]
        for index in np.flatnonzero(finite):
            _glyph(axes, form, at_Nx2[index], high - low, images[index], short[index], len(at_Nx2))
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="auto")
        return figure
    axes.scatter(*at_Nx2[finite].T, c=labels[finite], cmap="tab10", s=2, alpha=0.5, linewidths=0)
    for label, name in enumerate(label_names):
        x, y = np.median(at_Nx2[finite & (labels == label)], axis=0)
        axes.text(x, y, name, ha="center", va="center", fontweight="bold")
    return figure


def _glyph(axes, form, at, span, image, name, count):
    """One example's image at its code, and its label's name beside it."""
    height, width = image.shape[:2]
    half_high = 0.5 * span[1] * np.clip(0.45 / np.sqrt(count), 0.03, 0.08)
    half_wide = half_high * width / height * span[0] / span[1]
    extent = (at[0] - half_wide, at[0] + half_wide, at[1] - half_high, at[1] + half_high)
    axes.imshow(ink(form, image), extent=extent, zorder=2)
    place = {"ha": "left", "va": "bottom", "color": "C3", "fontsize": 7}
    axes.text(at[0] + 1.1 * half_wide, at[1] + 0.5 * half_high, name, **place)


def decoded_grid(form, grid, images):
    """What the decoder makes of a regular grid over the code space; of a line where there is one unit only."""
    rows = 1 if grid.origin.size == 1 else grid.side
    cells = images.reshape(grid.side, grid.side, *images.shape[1:])[:rows]
    mosaic = mosaic_of(cells, gap=16 if form.kind == "binary" else 2, background=paper(form))
    figure = Figure(
        (5, 5) if rows > 1 else (WIDTH, 0.45 + WIDTH * mosaic.shape[0] / mosaic.shape[1]), layout="constrained"
    )
    axes = figure.subplots()
    show(axes, form, mosaic)
    for axis, count, size, low, high in (
        (axes.xaxis, grid.side, mosaic.shape[1], grid.low[0], grid.high[0]),
        (axes.yaxis, rows, mosaic.shape[0], grid.high[1], grid.low[1]),
    ):
        half = size / count / 2
        values = np.linspace(low, high, 5)
        axis.set_ticks(np.linspace(half, size - half, 5), [f"{value:.2g}" for value in values])
    axes.set(xlabel=grid.labels[0], ylabel=grid.labels[1])
    if rows == 1:
        axes.set(yticks=[], ylabel="")
    return figure
