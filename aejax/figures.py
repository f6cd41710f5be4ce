"""Pictures of one run, drawn from what its record holds and from `examples`."""

import dataclasses
import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

MANY = 128  # from so many codes on, points stand for examples in the code space
RESTORED = 28  # examples whose restoration is shown
GRID_SIDE = 20  # images of the decoded grid in a row
WIDTH = 6.75  # of a figure in inches, that of a page
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "image.interpolation": "nearest",
}


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
        return (z_NxZ - self.origin) @ self.directions.T

    @property
    def labels(self):
        """Names of the two axes."""
        if self.shares is None:
            return ["code unit 1", "code unit 2" if self.origin.size > 1 else ""]
        return [f"principal component {i + 1} of the code ({share:.0%})" for i, share in enumerate(self.shares)]


def code_grid(z_NxZ, side=GRID_SIDE):
    """The Grid that spans the codes z_NxZ with a margin."""
    units = z_NxZ.shape[1]
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


def draw(job, rows, metrics, codes, grid, shown):
    """The pictures of a run, (name, PNG bytes) one by one; `shown` is what `examples` returned."""
    form = job.experiment.form
    images = {name: _images(form, pixels) for name, pixels in shown.items()}
    with mpl.rc_context(STYLE):
        yield "curves", _png(curves(rows, metrics))
        pairs = {"original": images["clean"], "reconstruction": images["reconstructed"]}
        yield "reconstructions", _png(strips(form, pairs))
        if "noisy" in images:
            triples = {"clean": images["clean"], "noisy": images["noisy"], "restored": images["restored"]}
            triples = {name: each[:RESTORED] for name, each in triples.items()}
            yield "restored", _png(strips(form, triples, *_errors(form, shown)))
        yield "codes", _png(code_space(job, codes, grid, images["clean"]))
        yield "grid", _png(decoded_grid(form, grid, images["grid"]))
        if "samples" in images:
            pairs = {"sample": images["samples"], "nearest": images["nearest"]}
            apart_S = ((shown["samples"] - shown["nearest"]) ** 2).mean(axis=1)
            yield "samples", _png(strips(form, pairs, {"nearest": [f"{e:.2g}" for e in apart_S]}, "squared error"))


def curves(rows, metrics):
    """Objective and its terms, and the validation error against the floors, over the steps."""
    figure = Figure((WIDTH, 2.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    style = {"marker": "o", "markersize": 3} if len(rows) == 1 else {}
    terms = {name: np.array([row[name] for row in rows]) for name in rows[0] if name.startswith("train/")}
    loss = terms.pop("train/loss")
    if len(terms) > 1:  # else the loss is its only term
        left.plot(steps, loss, color="k", label="loss", **style)
    for name, values in terms.items():
        left.plot(steps, values, label=name.removeprefix("train/"), **style)
    if all((values > 0).all() for values in terms.values()):
        _decades(left)
    left.set(xlabel="step", ylabel="training objective, nats an example")
    left.legend(loc="upper right")
    right.plot(steps, [row["valid/mse"] for row in rows], color="k", **style)
    for name, label, color, side in (
        ("floor/mean_mse", "mean image", "C7", "bottom"),
        ("floor/pca_mse", "PCA, as many units", "C1", "top"),
    ):
        if metrics[name] and metrics[name] > 1e-9:  # PCA with as many units as the data's rank leaves nothing
            right.axhline(metrics[name], color=color, linestyle="--", linewidth=0.9)
            place = {"transform": right.get_yaxis_transform(), "ha": "right", "va": side}
            right.text(1, metrics[name], label, color=color, **place)
    _decades(right)
    right.set(xlabel="step", ylabel="validation: squared error a pixel")
    return figure


def strips(form, rows, captions=None, measure=""):
    """Rows of images above each other, in as many bands as they need.

    `captions` {row: one text an image} stand under the images, and what they `measure` under the row's name.
    """
    captions = captions or {}
    count = len(next(iter(rows.values())))
    height, width = form.shape[:2] if len(form.shape) == 3 else (1, form.pixels)
    columns = min(count, 14 if form.kind == "binary" or captions else 24)
    bands = -(-count // columns)
    margin = 0.85  # inches, left of the images, for the rows' names
    cell = (WIDTH - margin - 0.05) / columns
    row_height = cell * height / width
    steps = [row_height + (0.15 if name in captions else 0.03) for name in rows]
    gap = 0.1  # between bands
    total = bands * sum(steps) + (bands - 1) * gap + 0.06
    figure = Figure((WIDTH, total))
    top = total - 0.03
    for start in range(0, count, columns):
        part = slice(start, start + columns)
        for (name, images), step in zip(rows.items(), steps, strict=True):
            strip = images[part]
            axes = figure.add_axes(
                (margin / WIDTH, (top - row_height) / total, len(strip) * cell / WIDTH, row_height / total)
            )
            mosaic = _mosaic(strip[None], gap=6, background=_paper(form))
            _show(axes, form, mosaic)
            axes.tick_params(length=0, pad=2)
            told = f"{name}\n{measure}" if name in captions and measure else name
            axes.set_yticks([0.5 * mosaic.shape[0]], [told], fontsize=7)
            centres = mosaic.shape[1] / len(strip) * (np.arange(len(strip)) + 0.5)
            axes.set_xticks(centres if name in captions else [], captions[name][part] if name in captions else [])
            axes.tick_params(axis="x", labelsize=5.5, pad=0.5)
            top -= step
        top -= gap
    return figure


def code_space(job, codes, grid, images):
    """Every example at its code: the glyph itself where there are few, points coloured by label otherwise."""
    figure = Figure((5, 5), layout="constrained")
    axes = figure.subplots()
    at_Nx2, labels, names = grid.coordinates(codes["z"]), codes.get("y"), job.dataset.label_names
    low, high = grid.low, grid.high
    axes.set(xlabel=grid.labels[0], ylabel=grid.labels[1])
    if grid.origin.size == 1:  # spread over the free axis, so that examples do not cover each other
        at_Nx2 = np.stack([at_Nx2[:, 0], np.arange(len(at_Nx2))], axis=1)
        low, high = np.array([low[0], -1.0]), np.array([high[0], len(at_Nx2)])
        axes.set_ylabel("example")
    span = high - low
    if len(at_Nx2) <= MANY:
        height, width = images.shape[1:3]
        half_high = 0.5 * span[1] * np.clip(0.45 / np.sqrt(len(at_Nx2)), 0.03, 0.08)
        half_wide = half_high * width / height * span[0] / span[1]
        for index, ((x, y), image) in enumerate(zip(at_Nx2, images, strict=True)):
            axes.imshow(
                _ink(job.experiment.form, image),
                extent=(x - half_wide, x + half_wide, y - half_high, y + half_high),
                zorder=2,
            )
            if labels is not None and len(names[labels[index]]) <= 2:
                place = {"ha": "left", "va": "bottom", "color": "C3", "fontsize": 7}
                axes.text(x + 1.1 * half_wide, y + 0.5 * half_high, names[labels[index]], **place)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="auto")
        return figure
    axes.scatter(*at_Nx2.T, c=labels, cmap="tab10", s=2, alpha=0.5, linewidths=0)
    for label in range(len(names)):
        x, y = np.median(at_Nx2[labels == label], axis=0)
        axes.text(x, y, names[label], ha="center", va="center", fontweight="bold")
    return figure


def decoded_grid(form, grid, images):
    """What the decoder makes of a regular grid over the code space; of a line where there is one unit only."""
    rows = 1 if grid.origin.size == 1 else grid.side
    cells = images.reshape(grid.side, grid.side, *images.shape[1:])[:rows]
    mosaic = _mosaic(cells, gap=16 if form.kind == "binary" else 2, background=_paper(form))
    figure = Figure(
        (5, 5) if rows > 1 else (WIDTH, 0.45 + WIDTH * mosaic.shape[0] / mosaic.shape[1]), layout="constrained"
    )
    axes = figure.subplots()
    _show(axes, form, mosaic)
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


def _errors(form, shown):
    """Captions of the noisy and the restored examples, and what they measure."""
    clean_NxP = shown["clean"][:RESTORED]
    captions = {}
    for name in ("noisy", "restored"):
        pixels_NxP = shown[name][:RESTORED]
        if form.kind == "binary":
            captions[name] = [f"{wrong}" for wrong in ((pixels_NxP > 0.5) != (clean_NxP > 0.5)).sum(axis=1)]
        else:
            captions[name] = [f"{error:.2g}" for error in ((pixels_NxP - clean_NxP) ** 2).mean(axis=1)]
    return captions, "wrong pixels" if form.kind == "binary" else "squared error"


def _decades(axes):
    """A logarithmic y axis with plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.2, high * 1.2)  # room for the floors' names
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e3 else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _images(form, pixels_NxP):
    """Pixels as [N, H, W, C] in [0, 1]; a vector is one row of pixels."""
    shape = form.shape if len(form.shape) == 3 else (1, form.pixels, 1)
    return np.clip(pixels_NxP, 0, 1).reshape(-1, *shape)


def _ink(form, image):
    """An image as RGBA on a transparent background: black ink where binary, else what is not black."""
    if form.kind == "binary":
        return np.concatenate([np.zeros((*image.shape[:2], 3)), image], axis=2)
    opaque = np.minimum(1.6 * image.max(axis=2, keepdims=True), 1)
    return np.concatenate([np.broadcast_to(image, (*image.shape[:2], 3)), opaque], axis=2)


def _mosaic(images_RxCxHxWxC, gap, background):
    """Images side by side, each pixel 8 x 8, with a frame of `gap` / 2 around each image."""
    large = images_RxCxHxWxC.repeat(8, axis=2).repeat(8, axis=3)
    around = [(0, 0), (0, 0), (gap // 2, gap // 2), (gap // 2, gap // 2), (0, 0)]
    framed = np.pad(large, around, constant_values=background)
    rows, columns, height, width, channels = framed.shape
    return framed.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def _paper(form):
    """The pixel value that is white on paper."""
    return 0.0 if form.kind == "binary" else 1.0


def _show(axes, form, mosaic):
    height, width, channels = mosaic.shape
    axes.imshow(
        mosaic if channels == 3 else mosaic[..., 0],
        cmap="gray_r" if form.kind == "binary" else "gray",
        vmin=0,
        vmax=1,
        aspect="auto",
        extent=(0, width, height, 0),
    )
    axes.spines[:].set_visible(False)


def _png(figure):
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
