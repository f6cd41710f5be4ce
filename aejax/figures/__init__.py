"""Pictures of one run, drawn from what its record holds and from `examples`."""

import io

import matplotlib as mpl

from aejax.figures.codes import GRID_SIDE, code_grid, code_space, decoded_grid
from aejax.figures.curves import curves
from aejax.figures.evaluation import anomaly_scores, robustness
from aejax.figures.images import as_images, strips
from aejax.figures.lines import decoded_lines, overlaid, stacked
from aejax.figures.style import STYLE

__all__ = ["GRID_SIDE", "code_grid", "draw", "preview"]

RESTORED = 28  # examples whose restoration is shown


def draw(job, rows, metrics, findings, codes, grid, shown):
    """The pictures of a run, (name, PNG bytes) one by one; `shown` is what `examples` returned.

    `findings` is what the record says of the evaluation.
    """
    form = job.experiment.form
    with mpl.rc_context(STYLE):
        yield "curves", _png(curves(rows, metrics))
        yield "codes", _png(code_space(form, codes, job.dataset.label_names, grid, shown["clean"]))
        for name, figure in _of_vectors(grid, shown) if len(form.shape) == 1 else _of_images(form, grid, shown, codes):
            yield name, _png(figure)
        if any(name.startswith("robust/") for name in metrics):
            yield "robustness", _png(robustness(metrics))
        if "anomaly" in findings:
            yield "anomaly_scores", _png(anomaly_scores(findings["anomaly"]))
            for name, figure in _of_alarms(job, findings["anomaly"]):
                yield name, _png(figure)


def _of_alarms(job, found):
    """The normal test examples that look most like anomalies, by each score."""
    form, x = job.experiment.form, job.dataset.test.x
    worst = {f"by {name}": x[score["worst_false_alarms"]].reshape(-1, form.pixels) for name, score in found.items()}
    rows = {name: form.scaled(pixels) for name, pixels in worst.items()}
    if len(form.shape) == 1:
        yield "false_alarms", stacked(rows)
    else:
        yield "false_alarms", strips(form, {name: as_images(form, pixels) for name, pixels in rows.items()})


def preview(form, rows):
    """A picture, PNG bytes, of rows {name: pixels [N, P]} of examples of this `form`."""
    with mpl.rc_context(STYLE):
        if len(form.shape) == 1:
            return _png(stacked(rows))
        return _png(strips(form, {name: as_images(form, pixels) for name, pixels in rows.items()}))


def _of_images(form, grid, shown, codes):
    images = {name: as_images(form, pixels) for name, pixels in shown.items()}
    yield "reconstructions", strips(form, {"original": images["clean"], "reconstruction": images["reconstructed"]})
    if "noisy" in images:
        triples = {name: images[name][:RESTORED] for name in ("clean", "noisy", "restored")}
        yield "restored", strips(form, triples, *_errors(form, shown))
    yield "grid", decoded_grid(form, grid, images["grid"])
    units = codes["z"].shape[1]
    if units > 2:  # which the grid does not show one by one
        yield "features", strips(form, {"feature of\na unit": images["features"][:units]})
    apart_S = ((shown["samples"] - shown["nearest"]) ** 2).mean(axis=1)
    pairs = {"sample": images["samples"], "nearest": images["nearest"]}
    yield "samples", strips(form, pairs, {"nearest": [f"{each:.2g}" for each in apart_S]}, "mean squared\nerror")


def _of_vectors(grid, shown):
    yield "reconstructions", overlaid({"original": shown["clean"], "reconstruction": shown["reconstructed"]})
    if "noisy" in shown:
        yield "restored", overlaid({name: shown[name] for name in ("clean", "noisy", "restored")})
    yield "grid", decoded_lines(grid, shown["grid"])
    yield "samples", overlaid({"nearest": shown["nearest"], "sample": shown["samples"]})


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
    return captions, "wrong pixels" if form.kind == "binary" else "mean squared\nerror"


def _png(figure):
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
