"""What a compressed file is worth: its rate and error, beside PNG and principal components at the same rate."""

import io
from typing import Any

import numpy as np

from aejax.compression import codes
from aejax.compression.coding import Meter
from aejax.compression.compression import decompress
from aejax.compression.container import File
from aejax.compression.contents import Content, fractions, lossy
from aejax.inference.trained import Trained

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of PNG, by channels
STEPS = 40  # of the bisection of a rate


def report(run: Trained, x: Any, data: bytes) -> dict[str, Any]:
    """Figures of the file `data` that `compress` has made of `x`.

    `bytes`, of which `payload`; `bits`, a pixel of all channels, of real data a value; `mse`, the mean squared error of
    what comes back, images from 0 to 1. `png` has the same for PNG, `pca` for principal components, which are fitted
    to `x` itself and as many as pay at the same rate; None where they do not apply: real data have no PNG, and a
    lossless file has no rate to share.
    """
    file = File.read(data)
    content = Content.of(x, run.examples, "lossless" in file.flags)
    wanted = fractions(content.values, content.form).astype(np.float64)
    received = decompress(run, data).reshape(content.values.shape)
    if content.form == "bytes" and received.dtype == np.uint8:
        received = fractions(received, "bytes")
    pixels = file.count * run.experiment.form.pixels // run.experiment.form.channels
    result = {
        "examples": file.count,
        "bytes": len(data),
        "payload": len(file.payload),
        "bits": 8 * len(data) / pixels,
        "mse": float(np.mean((received - wanted) ** 2)),
        "lossless": "lossless" in file.flags,
        "png": None,
        "pca": None,
    }
    if content.form != "floats" and content.values.shape[3] in MODES:
        size, how = png(content)
        result["png"] = {"bytes": size, "bits": 8 * size / pixels, "how": how}
    if not result["lossless"]:
        header = len(data) - len(file.payload) - len(file.tables)
        components, size, error = principal_components(content, len(data), header)
        result["pca"] = {"components": components, "bytes": size, "bits": 8 * size / pixels, "mse": error}
    return result


def lines(figures: dict[str, Any]) -> list[str]:
    """A `report` as lines to print: the file, PNG, and principal components at the same rate."""
    rows = [
        ("file", figures, f"{figures['payload']:,} of these bytes are codes" + " and residuals" * figures["lossless"])
    ]
    if figures["png"] is not None:
        ways = {"each": "a file for each image", "grid": "all images in a grid", "strip": "all images in a strip"}
        rows.append(("PNG", figures["png"] | {"mse": 0.0}, ways[figures["png"]["how"]]))
    if figures["pca"] is not None:
        rows.append(("PCA", figures["pca"], f"{figures['pca']['components']} components"))
    return [
        f"{name:<5}{row['bytes']:>12,} bytes {row['bits']:>9.4f} bits a pixel   mse {row['mse']:.4g}   ({remark})"
        for name, row, remark in rows
    ]


def png(content: Content) -> tuple[int, str]:
    """The bytes of images as PNG files, and how they are fewest: one for each, or all in one, as a grid or a strip."""
    x = content.values
    count, height, width, channels = x.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    grid = np.concatenate([x, np.zeros((rows * columns - count, *x.shape[1:]), np.uint8)])
    grid = grid.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    sizes = {
        "each": sum(_png(image, content.form) for image in x),
        "grid": _png(grid.reshape(rows * height, columns * width, channels), content.form),
        "strip": _png(x.reshape(count * height, width, channels), content.form),
    }
    how = min(sizes, key=lambda name: sizes[name])
    return sizes[how], how


def principal_components(content: Content, most: int, header: int) -> tuple[int, int, float]:
    """How many components of the examples, quantized and coded as codes are, fit into `most` bytes: (number, bytes,
    mean squared error of what comes back).

    All have the same step, because all change an example alike; one of which every number is 0 costs nothing. Mean and
    components are not counted, as the parameters of a model are not.
    """
    x_NxP = fractions(content.values, content.form).reshape(len(content.values), -1).astype(np.float64)
    mean_P = x_NxP.mean(axis=0)
    _, _, basis_CxP = np.linalg.svd(x_NxP - mean_P, full_matrices=False)
    score_NxC = (x_NxP - mean_P) @ basis_CxP.T

    def coded(step: float) -> tuple[int, np.ndarray]:
        number_NxC = np.rint(score_NxC / step).astype(np.int32)
        number_NxC = number_NxC[:, number_NxC.any(axis=0)]
        meter, reach = Meter(), codes.reach_of(number_NxC)
        if not reach:
            return header, number_NxC
        codes.coded(meter, number_NxC, reach, codes.scales(number_NxC))
        return header + 2 * number_NxC.shape[1] + 4 * int(np.ceil(meter.bits / 32)), number_NxC

    coarse = 4 * max(float(np.abs(score_NxC).max()), 1e-12)
    fine = max(coarse / 2**14, 1e-12)
    for _ in range(STEPS):
        step = float(np.sqrt(coarse * fine))
        coarse, fine = (step, fine) if coded(step)[0] <= most else (coarse, step)
        if coarse / fine < 1.001:
            break
    size, number_NxC = coded(coarse)
    used_C = np.rint(score_NxC / coarse).any(axis=0)
    back = (coarse * number_NxC @ basis_CxP[used_C] + mean_P).reshape(content.values.shape)
    back = fractions(lossy(back.astype(np.float32), content.form), content.form)
    error = float(np.mean((back - fractions(content.values, content.form).astype(np.float64)) ** 2))
    return number_NxC.shape[1], size, error


def _png(image: np.ndarray, form: str) -> int:
    from PIL import Image

    picture, file = image.squeeze(axis=2) if image.shape[2] == 1 else image, io.BytesIO()
    if form == "bits" and picture.ndim == 2:
        made = Image.fromarray(picture * np.uint8(255)).convert("1")
    else:
        made = Image.fromarray(picture)
    made.save(file, "png", optimize=True)
    return len(file.getvalue())
