"""Pictures of one run, drawn from its record and from `examples`."""

import io

import matplotlib as mpl
import numpy as np

from aejax.figures.codes import GRID_SIDE, code_grid, code_space, decoded_grid
from aejax.figures.curves import curves
from aejax.figures.evaluation import anomaly_scores, mistaken, robustness
from aejax.figures.examples import GRID_LABEL, picked
from aejax.figures.images import as_images, strips, unit_scale
from aejax.figures.lines import decoded_lines, overlaid, stacked
from aejax.figures.style import STYLE

__all__ = ["GRID_SIDE", "code_grid", "draw", "preview"]

FEW = 28  # examples whose restoration is shown, and vectors of a picture
UNDATED = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same bits each time


def draw(job, rows, metrics, annotations, codes, grid, shown):
    """The pictures of a run, (name.format, bytes) one by one; `shown` is what `examples` returned.

    `shown["rows"]` are the test examples that are shown, `annotations` is what the record says of the evaluation.
    """
    y = job.dataset.test.y
    few_N = picked(len(shown["rows"]), FEW, None if y is None else y[shown["rows"]])
    with mpl.rc_context(STYLE | {"svg.hashsalt": job.run_id}):
        for name, figure in figures(job, rows, metrics, annotations, codes, grid, shown, few_N):
            for kind in job.figures:
                yield f"{name}.{kind}", _encoded(figure, kind)


def figures(job, rows, metrics, annotations, codes, grid, shown, few_N):
    """(name, Figure) of everything that is drawn of a run; `few_N` are the rows of `shown` in small pictures."""
    form, label_names = job.experiment.form, job.dataset.label_names
    yield "curves", curves(rows, metrics, f"Training, {job.name}")
    unit = unit_scale(form, shown["clean"])
    images = unit(shown["clean"])[np.argsort(shown["rows"])]  # in the order of the codes, where all are shown
    yield "codes", code_space(form, codes, label_names, grid, images, job.name)
    of_kind = _of_vectors if len(form.shape) == 1 else _of_images
    yield from of_kind(job, grid, shown, few_N, unit)
    if any(name.startswith("robust/") for name in metrics):
        yield "robustness", robustness(metrics, f"Restoration from test noises, {job.name}")
    if "anomaly" in annotations:
        yield "anomaly_scores", anomaly_scores(annotations["anomaly"], metrics, job.name)
        yield from mistaken(job, annotations["anomaly"], unit)


def preview(form, rows, title):
    """A picture, PNG bytes, of rows {name: pixels [N, P]} of examples of this `form`; one row is `clean`."""
    with mpl.rc_context(STYLE):
        if len(form.shape) == 1:
            return _encoded(stacked(rows, title), "png")
        unit = unit_scale(form, rows["clean"])
        return _encoded(strips(form, {name: as_images(form, unit(x)) for name, x in rows.items()}, title), "png")


def _of_images(job, grid, shown, few_N, unit):
    form, name = job.experiment.form, job.name
    images = {key: as_images(form, x if key == "features" else unit(x)) for key, x in shown.items() if key != "rows"}
    pairs = {"original": images["clean"], "reconstruction": images["reconstructed"]}
    yield "reconstructions", strips(form, pairs, f"Reconstructions of {_count(job, shown['rows'])}, {name}")
    if "noisy" in images:
        triples = {key: images[key][few_N] for key in ("clean", "noisy", "restored")}
        title = f"Restorations of {_count(job, few_N)}, {name}"
        yield "restored", strips(form, triples, title, _errors(form, shown, few_N))
    yield "grid", decoded_grid(form, grid, images["grid"], _of_grid(job))
    units = int(job.experiment.latent_dim)
    if units > 2:  # which the grid does not show one by one
        features = images["features"][:units]
        most = f", the {len(features)} of {units} that vary most" if len(features) < units else ""
        yield "features", strips(form, {"feature of\na unit": features}, f"What each code unit adds{most}, {name}")
    apart_S = ((shown["samples"] - shown["nearest"]) ** 2).mean(axis=1)
    pairs = {"sample": images["samples"], "nearest": images["nearest"]}
    captions = {"nearest": ("mean squared\nerror", [f"{error:.2g}" for error in apart_S])}
    if job.experiment.model.is_conditional:
        names = job.dataset.label_names
        captions["sample"] = ("label", [names[place % len(names)] for place in range(len(apart_S))])
    yield "samples", strips(form, pairs, _of_samples(job), captions)


def _of_vectors(job, grid, shown, few_N, unit):
    few = {key: shown[key][few_N] for key in ("clean", "reconstructed", "noisy", "restored") if key in shown}
    count = _count(job, few_N)
    pair = {"original": few["clean"], "reconstruction": few["reconstructed"]}
    yield "reconstructions", overlaid(pair, f"Reconstructions of {count}, {job.name}")
    if "noisy" in shown:
        triple = {key: few[key] for key in ("clean", "noisy", "restored")}
        yield "restored", overlaid(triple, f"Restorations of {count}, {job.name}")
    yield "grid", decoded_lines(grid, shown["grid"], _of_grid(job))
    yield "samples", overlaid({"nearest": shown["nearest"], "sample": shown["samples"]}, _of_samples(job))


def _count(job, rows_N):
    return f"{len(rows_N):,} of {len(job.dataset.test.x):,} test examples"


def _of_grid(job):
    label = f" as {job.dataset.label_names[GRID_LABEL]}" if job.experiment.model.is_conditional else ""
    return f"Codes on a grid, decoded{label}, {job.name}"


def _of_samples(job):
    return f"Samples, each with the training example at the smallest error, {job.name}"


def _errors(form, shown, few_N):
    """Captions of the noisy and the restored examples."""
    clean_NxP = shown["clean"][few_N]
    captions, is_binary = {}, form.kind == "binary"
    measure = "wrong pixels" if is_binary else "mean squared\nerror"
    for name in ("noisy", "restored"):
        pixels_NxP = shown[name][few_N]
        wrong_N = ((pixels_NxP > 0.5) != (clean_NxP > 0.5)).sum(axis=1)
        error_N = ((pixels_NxP - clean_NxP) ** 2).mean(axis=1)
        captions[name] = (measure, [f"{wrong}" for wrong in wrong_N] if is_binary else [f"{e:.2g}" for e in error_N])
    return captions


def _encoded(figure, kind):
    layout = figure.get_layout_engine()
    if layout is not None:  # by savefig itself, it would take a drawing more
        figure.set_dpi(mpl.rcParams["savefig.dpi"])
        layout.execute(figure)
        figure.set_layout_engine(None)  # "none" would leave one that does nothing, for which savefig draws nevertheless
    data = io.BytesIO()
    figure.savefig(data, format=kind, metadata=UNDATED[kind])
    return data.getvalue()
