"""Pictures of one run, drawn from what its record holds and from `examples`."""

import io

import matplotlib as mpl

from aejax.figures.codes import GRID_SIDE, code_grid, code_space, decoded_grid
from aejax.figures.curves import curves
from aejax.figures.images import as_images, strips
from aejax.figures.style import STYLE

__all__ = ["GRID_SIDE", "code_grid", "draw"]

RESTORED = 28  # examples whose restoration is shown


def draw(job, rows, metrics, codes, grid, shown):
    """The pictures of a run, (name, PNG bytes) one by one; `shown` is what `examples` returned."""
    form = job.experiment.form
    images = {name: as_images(form, pixels) for name, pixels in shown.items()}
    with mpl.rc_context(STYLE):
        yield "curves", _png(curves(rows, metrics))
        pairs = {"original": images["clean"], "reconstruction": images["reconstructed"]}
        yield "reconstructions", _png(strips(form, pairs))
        if "noisy" in images:
            triples = {"clean": images["clean"], "noisy": images["noisy"], "restored": images["restored"]}
            triples = {name: each[:RESTORED] for name, each in triples.items()}
            yield "restored", _png(strips(form, triples, *_errors(form, shown)))
        yield "codes", _png(code_space(form, codes, job.dataset.label_names, grid, images["clean"]))
        yield "grid", _png(decoded_grid(form, grid, images["grid"]))
        if "samples" in images:
            pairs = {"sample": images["samples"], "nearest": images["nearest"]}
            apart_S = ((shown["samples"] - shown["nearest"]) ** 2).mean(axis=1)
            yield "samples", _png(strips(form, pairs, {"nearest": [f"{e:.2g}" for e in apart_S]}, "squared error"))


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


def _png(figure):
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
