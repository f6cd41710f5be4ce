"""What a report shows of each run: its settings, its metrics, its codes and a picture."""

import base64
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from aejax.base.files import regular
from aejax.comparison.formats import Cell, number
from aejax.comparison.plain import plain, word
from aejax.comparison.points import points
from aejax.comparison.reading import FAULTS
from aejax.runs.contents import ERROR, SCORE

POINTS = 300  # codes drawn for each run; fewer if there are more than RUNS runs
RUNS = 256
WIDTH = 720  # pixels of a picture
PICTURES = 3_500_000  # characters for all pictures together; for the runs beyond, the page names their folder instead
SHOWN = (ERROR, "recon/psnr", SCORE, "separation/silhouette", "restore/mse", "elbo", "anomaly/auroc")


class Left(NamedTuple):
    """What a run left: its codes, why they cannot be read, its picture of reconstructions; None if absent."""

    codes: dict[str, Any] | None
    fault: str | None
    picture: str | None

    @classmethod
    def read(cls, path, most):
        """What the run in `path` left, with at most `most` of its codes."""
        return cls(*points(path, most), _picture(Path(path) / "figures" / "reconstructions.png"))


def _picture(path):
    try:
        with regular(path) as file, Image.open(file) as picture:
            picture.thumbnail((WIDTH, 4 * WIDTH))
            data = io.BytesIO()
            picture.convert("RGB").save(data, "webp", quality=70)
    except (
        *FAULTS,
        SyntaxError,
        EOFError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ):  # a truncated file
        return None
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def left(entries):
    """A Left for each entry."""
    most = min(POINTS, POINTS * RUNS // max(len(entries), 1))
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda entry: Left.read(entry.path, most), entries))


def damage(entries, runs_left):
    """A line for each run whose codes cannot be read."""
    return [
        f"damaged: {plain(entry.path)}/codes.npz ({run_left.fault}); its codes are not drawn"
        for entry, run_left in zip(entries, runs_left, strict=True)
        if run_left.fault
    ]


def classes(runs_left):
    """The distinct classes of all codes."""
    return list(dict.fromkeys(label for run_left in runs_left if run_left.codes for label in run_left.codes["classes"]))


def of_runs(runs, runs_left, varying, folder):
    """What the page shows of each run, as plain containers; settings: the `varying` ones; path: from `folder`."""
    pictures = _fitting(runs, runs_left)
    shown = []
    for place, (entry, run_left) in enumerate(zip(runs.entries, runs_left, strict=True)):
        settings = {key: word(value) for key, value in {**entry.choices, **entry.settings}.items()}
        shown.append({
            "id": str(place), "name": entry.name, "status": entry.status, "reason": entry.reason,
            "path": plain(os.path.relpath(entry.path, folder)),
            "metrics": {name: number(float(entry.metrics[name])).text for name in SHOWN
                        if entry.metrics.get(name) is not None},
            "settings": {key: settings[key] for key in (*varying, *entry.choices) if key in settings},
            "codes": run_left.codes, "picture": pictures.get(place), "drawn": bool(run_left.picture),
        })  # fmt: skip
    return shown


def _fitting(runs, runs_left):
    """{position of a run: its picture}, as many as the page has room for, spread over the seeds."""
    pictures, room, seeds = {}, PICTURES, runs.frame["seed"].map(str)
    for place in seeds.groupby(seeds).cumcount().sort_values(kind="stable").index:
        picture = runs_left[place].picture
        if picture and len(picture) <= room:
            pictures[place], room = picture, room - len(picture)
    return pictures


def cells(runs):
    """Headers and lines of Cells, one line per run."""
    metrics = [name for name in SHOWN if name in runs.metrics]
    headers, lines = ["run", "status", "path", *metrics], []
    for entry in runs.entries:
        numbers = [entry.metrics.get(name) for name in metrics]
        lines.append([
            Cell(entry.name), Cell(entry.status), Cell(plain(entry.path)),
            *(Cell("-") if value is None else number(float(value)) for value in numbers),
        ])  # fmt: skip
    return headers, lines
