"""Examples as images: single ones, mosaics, and strips of them."""

import numpy as np
from matplotlib.figure import Figure

from aejax.figures.style import WIDTH, titled

SCALE = 4  # elements of a mosaic that a pixel is wide, so that gaps may be narrower than a pixel


def unit_scale(form, clean_NxP):
    """A function of values [N, P] that puts most real values of each channel into [0, 1]; pixels stay as they are."""
    if form.kind != "real":
        return lambda x_NxP: x_NxP
    low_C, high_C = np.percentile(clean_NxP.reshape(-1, form.channels), [0.5, 99.5], axis=0)
    low_P, range_P = (np.tile(value_C, form.pixels // form.channels) for value_C in (low_C, high_C - low_C))
    return lambda x_NxP: (x_NxP - low_P) / np.maximum(range_P, 1e-9)


def as_images(form, pixels_NxP):
    """Pixels as [N, H, W, C] in [0, 1]."""
    return np.clip(np.nan_to_num(pixels_NxP), 0, 1).reshape(-1, *form.shape)


def ink(form, image):
    """An image as RGBA on a transparent background: black ink if binary, else all that is not black."""
    if form.kind == "binary":
        return np.concatenate([np.zeros((*image.shape[:2], 3)), image], axis=2)
    opaque = np.minimum(1.6 * image.max(axis=2, keepdims=True), 1)
    return np.concatenate([np.broadcast_to(image, (*image.shape[:2], 3)), opaque], axis=2)


def mosaic_of(images_RxCxHxWxC, gap, background):
    """Images side by side, each pixel SCALE x SCALE, with a frame of `gap` / 2 around each image."""
    large = images_RxCxHxWxC.astype(np.float32).repeat(SCALE, axis=2).repeat(SCALE, axis=3)
    around = [(0, 0), (0, 0), (gap // 2, gap // 2), (gap // 2, gap // 2), (0, 0)]
    framed = np.pad(large, around, constant_values=background)
    rows, columns, height, width, channels = framed.shape
    return framed.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def paper(form):
    """The pixel value that is white on paper."""
    return 0.0 if form.kind == "binary" else 1.0


def show(axes, form, mosaic):
    """Draws a mosaic, one unit of the axes an element of it, without a frame."""
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


def strips(form, rows, title, captions=None):
    """Rows of images above each other, in as many bands as they need.

    `captions` {row: (what they measure, one text an image)} stand under the row's name and the images.
    """
    captions = captions or {}
    count = len(next(iter(rows.values())))
    height, width = form.shape[:2]
    columns = min(count, 14 if form.kind == "binary" or captions else 24)
    bands = -(-count // columns)
    margin = 0.85  # inches, left of the images, for the rows' names
    cell = (WIDTH - margin - 0.05) / columns
    row_height = cell * height / width
    lines = {name: 1 + max(text.count("\n") for text in texts) for name, (_, texts) in captions.items()}
    text = {name: 0.06 + 0.09 * count for name, count in lines.items()}
    steps = [row_height + text.get(name, 0.03) for name in rows]
    gap = 0.1  # between bands
    head = 0.14 * (1 + title.count("\n")) + 0.1  # of the title
    total = bands * sum(steps) + (bands - 1) * gap + head + 0.03
    figure = Figure((WIDTH, total))
    titled(figure, title, y=1 - 0.05 / total)
    top = total - head
    for start in range(0, count, columns):
        part = slice(start, start + columns)
        for (name, images), step in zip(rows.items(), steps, strict=True):
            strip = images[part]
            axes = figure.add_axes(
                (margin / WIDTH, (top - row_height) / total, len(strip) * cell / WIDTH, row_height / total)
            )
            mosaic = mosaic_of(strip[None], gap=8 if form.kind == "binary" else 2, background=paper(form))
            show(axes, form, mosaic)
            axes.tick_params(length=0, pad=2)
            measure, texts = captions.get(name, ("", None))
            label = f"{name}\n{measure}" if measure else name
            axes.set_yticks([0.5 * mosaic.shape[0]], [label], fontsize=7)
            centers = mosaic.shape[1] / len(strip) * (np.arange(len(strip)) + 0.5)
            axes.set_xticks([] if texts is None else centers, [] if texts is None else texts[part])
            axes.tick_params(axis="x", labelsize=5.5, pad=0.5)
            top -= step
        top -= gap
    return figure
