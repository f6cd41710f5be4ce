"""Pictures of one run, drawn from what its record holds and from `examples`."""

import dataclasses
import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

MANY = 128  # from so many codes on, points stand for examples in the code space
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
            return ["code unit 1", "code unit 2"][: self.origin.size] + ["(one unit only)"] * (self.origin.size < 2)
        return [f"principal component {i + 1} of the code ({share:.0%})" for i, share in enumerate(self.shares)]


def code_grid(z_NxZ, side=20):
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
            count = 28 if form.kind == "binary" else 24
            triples = {name: each[:count] for name, each in triples.items()}
            yield "restored", _png(strips(form, triples, captions=_errors(form, shown, count)))
        yield "codes", _png(code_space(job, codes, grid, images["clean"]))
        yield "grid", _png(decoded_grid(form, grid, images["grid"]))
        if "samples" in images:
            pairs = {"sample": images["samples"], "nearest": images["nearest"]}
            yield "samples", _png(strips(form, pairs, captions={"nearest": _distances(form, shown)}))


def curves(rows, metrics):
    """Objective and its terms, and the validation error against the floors, over the steps."""
    figure = Figure((WIDTH, 2.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    style = {"marker": "o", "markersize": 3} if len(rows) == 1 else {}
    terms = {name: np.array([row[name] for row in rows]) for name in rows[0] if name.startswith("train/")}
    if len(terms) == 2:  # the loss is its only term
        terms.pop("train/loss")
    for name, values in terms.items():
        left.plot(steps, values, label=name.removeprefix("train/"), **style)
    if all((values > 0).all() for values in terms.values()):
        left.set_yscale("log")
    left.set(xlabel="step", ylabel="training objective, nats an example")
    left.legend(loc="best")
    right.plot(steps, [row["valid/mse"] for row in rows], color="k", label="validation", **style)
    for name, label, color in (("floor/mean_mse", "mean image", "C7"), ("floor/pca_mse", "PCA", "C1")):
        if metrics[name]:
            right.axhline(metrics[name], color=color, linestyle="--", linewidth=0.9, label=label)
    right.set(xlabel="step", ylabel="squared error a pixel", yscale="log")
    right.legend(loc="best")
    return figure


def strips(form, rows, captions=None, columns=None):
    """Rows of images above each other, in as many bands as they need; `captions` {row: one text an image}."""
    captions = captions or {}
    count = len(next(iter(rows.values())))
    height, width = form.shape[:2] if len(form.shape) == 3 else (1, form.pixels)
    columns = min(count, columns or (14 if form.kind == "binary" else 16 if captions else 24))
    bands = -(-count // columns)
    cell = (WIDTH - 0.8) / columns  # inches, images and the gap between two
    row_height = cell * height / width
    heights = [row_height + (0.16 if name in captions else 0.02) for name in rows]
    heights[-1] += 0.12  # sets the bands apart
    total = bands * sum(heights)
    figure = Figure((WIDTH, total + 0.1))
    top = total
    for band in range(bands):
        part = slice(band * columns, (band + 1) * columns)
        for (name, images), high in zip(rows.items(), heights, strict=True):
            strip, shown = images[part], min(columns, count - band * columns)
            box = (0.75 / WIDTH, (top + 0.05 - row_height) / (total + 0.1))
            axes = figure.add_axes((*box, shown * cell / WIDTH, row_height / (total + 0.1)))
            _show(axes, form, _mosaic(form, strip[None]))
            axes.set_yticks([0.5 * axes.get_ylim()[0]], [name])
            axes.tick_params(length=0, pad=2)
            if name in captions:
                step = (axes.get_xlim()[1] + 0.5) / shown
                axes.set_xticks([step * (i + 0.5) - 0.5 for i in range(shown)], captions[name][part])
                axes.tick_params(axis="x", labelsize=5.5, pad=1)
            else:
                axes.set_xticks([])
            top -= high
    return figure


def code_space(job, codes, grid, images):
    """Every example at its code: the glyph itself where there are few, points coloured by label otherwise."""
    figure = Figure((5, 5), layout="constrained")
    axes = figure.subplots()
    at_Nx2, labels, names = grid.coordinates(codes["z"]), codes.get("y"), job.dataset.label_names
    axes.set(xlim=(grid.low[0], grid.high[0]), ylim=(grid.low[1], grid.high[1]))
    axes.set(xlabel=grid.labels[0], ylabel=grid.labels[1])
    span = grid.high - grid.low
    if len(at_Nx2) <= MANY:
        height, width = images.shape[1:3]
        half_high = 0.5 * span[1] * np.clip(0.45 / np.sqrt(len(at_Nx2)), 0.03, 0.08)
        half_wide = half_high * width / height * span[0] / span[1]
        for index, ((x, y), image) in enumerate(zip(at_Nx2, images, strict=True)):
            axes.imshow(_ink(image), extent=(x - half_wide, x + half_wide, y - half_high, y + half_high), zorder=2)
            if labels is not None and len(names[labels[index]]) <= 2:
                place = {"ha": "left", "va": "bottom", "color": "C3", "fontsize": 7}
                axes.text(x + 1.1 * half_wide, y + 0.5 * half_high, names[labels[index]], **place)
        axes.set(xlim=(grid.low[0], grid.high[0]), ylim=(grid.low[1], grid.high[1]), aspect="auto")
        return figure
    axes.scatter(*at_Nx2.T, c=labels, cmap="tab10", s=2, alpha=0.5, linewidths=0)
    for label in range(len(names)):
        x, y = np.median(at_Nx2[labels == label], axis=0)
        axes.text(x, y, names[label], ha="center", va="center", fontweight="bold")
    return figure


def decoded_grid(form, grid, images):
    """What the decoder makes of a regular grid over the code space."""
    figure = Figure((5, 5), layout="constrained")
    axes = figure.subplots()
    rows = 1 if grid.origin.size == 1 else grid.side
    mosaic = _mosaic(form, images.reshape(grid.side, grid.side, *images.shape[1:])[:rows])
    _show(axes, form, mosaic)
    for axis, size, low, high in (
        (axes.xaxis, mosaic.shape[1], grid.low[0], grid.high[0]),
        (axes.yaxis, mosaic.shape[0], grid.high[1], grid.low[1]),
    ):
        cell = size / (rows if axis is axes.yaxis else grid.side)
        places = np.linspace(cell / 2 - 0.5, size - cell / 2 - 0.5, 5)
        axis.set_ticks(places, [f"{value:.3g}" for value in np.linspace(low, high, 5)])
    axes.set(xlabel=grid.labels[0], ylabel=grid.labels[1])
    if rows == 1:
        axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _errors(form, shown, count):
    clean_NxP = shown["clean"][:count]
    if form.kind == "binary":
        return {
            name: [str(int(n)) for n in ((shown[name][:count] > 0.5) != (clean_NxP > 0.5)).sum(axis=1)]
            for name in ("noisy", "restored")
        }
    return {
        name: [f"{e:.1g}" for e in ((shown[name][:count] - clean_NxP) ** 2).mean(axis=1)]
        for name in ("noisy", "restored")
    }


def _distances(form, shown):
    errors_S = ((shown["samples"] - shown["nearest"]) ** 2).mean(axis=1)
    return [f"{error:.2g}" for error in errors_S]


def _images(form, pixels_NxP):
    """Pixels as [N, H, W, C] in [0, 1]; a vector is one row of pixels."""
    shape = form.shape if len(form.shape) == 3 else (1, form.pixels, 1)
    return np.clip(pixels_NxP, 0, 1).reshape(-1, *shape)


def _ink(image):
    """An image as RGBA whose background, black or unset, is transparent."""
    if image.shape[2] == 1:
        return np.concatenate([np.zeros((*image.shape[:2], 3)), image], axis=2)
    return np.concatenate([image, np.minimum(1.6 * image.max(axis=2, keepdims=True), 1)], axis=2)


def _mosaic(form, images_RxCxHxWxC):
    """Images side by side with one empty pixel around each."""
    rows, columns, height, width, channels = images_RxCxHxWxC.shape
    cells = np.full((rows, height + 1, columns, width + 1, channels), _background(form))
    cells[:, :height, :, :width] = images_RxCxHxWxC.transpose(0, 2, 1, 3, 4)
    return cells.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]


def _background(form):
    return 0.12 if form.kind == "binary" else 1.0


def _show(axes, form, mosaic):
    axes.imshow(mosaic if mosaic.shape[2] == 3 else mosaic[..., 0], cmap=_colors(form), vmin=0, vmax=1, aspect="auto")


def _colors(form):
    return "gray_r" if form.kind == "binary" else "gray"


def _png(figure):
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
