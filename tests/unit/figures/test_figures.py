"""Pictures of a run: which examples they show, what they say of them, and in which formats."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from conftest import job, refused
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aejax.datasets.dataset import Dataset
from aejax.evaluation.annotations import recorded_details
from aejax.figures import drawing
from aejax.figures.codes import code_grid, code_space
from aejax.figures.drawing import draw
from aejax.figures.examples import grid_images, picked
from aejax.figures.images import unit_scale
from aejax.figures.style import STYLE, titled
from aejax.models import autoencoder
from aejax.runs.job import Job

RNG = np.random.default_rng(0)
MISTAKES = "false_alarms", "misses"
DIGITS = ["data=digits", "task=anomaly", "data.normal=[0,1]", "model=vae", "latent_dim=3"]


# Which examples


def test_each_class_of_a_sorted_split_is_shown_by_its_share():
    y = np.repeat([0, 1, 2], [400, 200, 200])
    rows = picked(800, 128, y)
    assert len(set(rows.tolist())) == 128
    assert np.bincount(y[rows]).tolist() == [64, 32, 32]
    for label in range(3):  # spread over each class, from its first example to its last
        own = np.sort(rows[y[rows] == label])
        assert (own[0], own[-1]) == tuple(np.flatnonzero(y == label)[[0, -1]])
        assert np.diff(own).max() <= 400 / 63 + 1
    for few in (4, 8, 28):  # the first few are spread as all are
        assert np.abs(np.bincount(y[rows[:few]], minlength=3) - np.array([0.5, 0.25, 0.25]) * few).max() <= 1


def test_a_rare_class_is_shown_too():
    y = np.repeat([0, 1, 2], [9000, 990, 10])[RNG.permutation(10_000)]
    shown = np.bincount(y[picked(10_000, 128, y)])
    assert shown.sum() == 128 and shown[2] == 1 and abs(shown[1] - 12.7) < 1


def test_more_classes_than_places_are_spread():
    y = np.repeat(np.arange(300), 5)
    labels = y[picked(1500, 100, y)]
    assert len(set(labels)) == 100 and np.diff(np.sort(labels)).max() <= 4 and labels.max() == 299


@pytest.mark.parametrize("y", [None, np.zeros(10, int), np.arange(10), np.arange(10) % 3])
def test_all_are_shown_once_where_there_is_room(y):
    assert sorted(picked(10, 128, y)) == list(range(10))
    if y is None or len(set(y)) == 10:
        assert picked(10, 128, y).tolist() == list(range(10))


def test_without_labels_examples_are_spread_over_the_split():
    rows = picked(1000, 5)
    assert rows.tolist() == [0, 250, 500, 749, 999]


# What is drawn


def drawn(given, **changed):
    """The Figures, by name, of a run that never was: what they show is made up of the data themselves."""
    form, test, y = given.experiment.form, given.dataset.test, given.dataset.test.y
    clean = np.asarray(form.scaled(test.x.reshape(len(test.x), -1)))
    rows = picked(len(test.x), 128, y)
    codes = {"z": clean[:, [10, 18, 28]] + 0.1 * RNG.normal(size=(len(clean), 3))} | ({} if y is None else {"y": y})
    grid = code_grid(codes["z"])
    shown = {"rows": rows, "clean": clean[rows], "reconstructed": clean[rows], "features": clean[:3] * 0 + 0.5}
    shown |= {"grid": clean[np.arange(400) % len(clean)], "samples": clean[:28], "nearest": clean[:28]}
    history = [{"step": step, "train/loss": 1.0 / step, "train/reconstruction": 1.0 / step} for step in (1, 2)]
    few = picked(len(rows), drawing.FEW, None if y is None else y[rows])
    arguments = {"annotations": {}, "metrics": {}} | changed
    with mpl.rc_context(STYLE):
        return dict(
            drawing.figures(given, history, arguments["metrics"], arguments["annotations"], codes, grid, shown, few)
        )


@pytest.fixture(scope="module")
def anomalies():
    given = job(*DIGITS)
    score = np.linspace(1, 2, len(given.dataset.test.x)).astype(np.float32)
    details = {
        "anomaly_score": {"": score, "code_": score},
        "anomaly_threshold": {"": np.float32(1.4), "code_": np.nan},
    }
    annotations = recorded_details(details, given.dataset)
    metrics = {"anomaly/tpr": 0.75, "anomaly/fpr": 0.125, "anomaly/code_tpr": None}
    return given, score, annotations, drawn(given, annotations=annotations, metrics=metrics)


def test_every_picture_has_a_title_that_names_the_run(anomalies):
    given, _, _, pictures = anomalies
    assert {"curves", "codes", "reconstructions", "grid", "samples", "anomaly_scores", "misses"} <= pictures.keys()
    for name, figure in pictures.items():
        assert given.name in figure.get_suptitle(), name
    assert "128 of 180 test examples" in pictures["reconstructions"].get_suptitle()
    titles = {figure.get_suptitle() for figure in pictures.values()}
    assert len(titles) == len(pictures)


def test_anomaly_scores_show_the_threshold_and_what_it_costs(anomalies):
    error, code = anomalies[3]["anomaly_scores"].axes
    assert [line.get_xdata()[0] for line in error.lines] == [pytest.approx(1.4)]
    assert error.get_title() == "threshold 1.4\n25.0% missed, 12.5% false alarms"
    assert not code.lines and code.get_title().startswith("no threshold")


def test_mistakes_are_shown_with_their_scores_and_labels(anomalies):
    given, score, annotations, pictures = anomalies
    normal = np.isin(given.dataset.test.y, [0, 1])
    shown = {name: [text.get_text() for text in pictures[name].axes[0].get_xticklabels()] for name in MISTAKES}
    worst = np.flatnonzero(normal)[-14:][::-1]  # the scores rise
    assert shown["false_alarms"] == [f"{score[row]:.3g}" for row in worst]
    missed = np.flatnonzero(~normal)[:14]
    assert shown["misses"] == [f"{given.dataset.test.y[row]}\n{score[row]:.3g}" for row in missed]
    assert "squared error 1.4, code distance none" in pictures["misses"].get_suptitle()
    assert annotations["anomaly"]["error"]["worst_misses"] == missed.tolist()


def test_points_have_a_key_of_colors_and_names_only_where_none_covers_another():
    z = np.concatenate([RNG.normal(size=(100, 2)) + place for place in ((0, 0), (30, 0), (0, 30))])
    codes = {"z": z, "y": np.repeat([0, 1, 2], 100)}
    form = job("data=sensors", "data.examples=50", "data.test_examples=20").experiment.form

    def space(codes):
        return code_space(form, codes, ("a", "b", "not there"), code_grid(codes["z"]), None, "name")

    figure = space(codes | {"y": codes["y"] % 2})
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.texts] == ["a", "b"]
    colors = dict(zip("ab", (tuple(mark.get_color()) for mark in legend.legend_handles), strict=True))
    points = figure.axes[0].collections[0].get_facecolors()
    for name, row in (("a", 0), ("b", 100), ("a", 200)):
        assert tuple(points[row][:3]) == tuple(colors[name][:3])
    assert len(space(codes).axes[0].texts) == 3  # far from each other
    near = space(codes | {"z": RNG.normal(size=(300, 2))})
    assert not near.axes[0].texts and len(near.legends[0].texts) == 3
    diverged = space(codes | {"z": np.full((300, 2), np.nan)})
    assert diverged.get_suptitle() == "Codes of 0 of 300 test examples, name" and not diverged.legends


def test_glyphs_stand_at_their_own_codes(monkeypatch):
    """Also where the examples are picked class by class."""
    x = RNG.integers(0, 256, (60, 5, 6), np.uint8)
    own = Dataset(name="own", train=(x, np.repeat([0, 1, 2], 20)), test=(x[::-1].copy(), np.repeat([2, 1, 0], 20)))
    given = given_job(own)
    seen = []
    monkeypatch.setattr(drawing, "code_space", lambda *arguments: seen.append(arguments[4]))
    drawn(given)
    np.testing.assert_allclose(seen[0] * 255, given.dataset.test.x.reshape(60, -1), atol=1e-3)


def given_job(dataset, *words):
    """The Job of a Dataset."""
    made = job("steps=2", *words)
    experiment = made.experiment.settle(dataset.form)
    fields = {field: getattr(made, field) for field in made.__dataclass_fields__}
    return Job(**fields | {"dataset": dataset, "experiment": experiment})


def test_real_images_are_scaled_to_be_seen():
    form = job("data=digits", "data.standardize=true").experiment.form
    clean = RNG.normal(size=(50, 64)) * 100
    unit = unit_scale(form, clean)(clean)
    assert ((unit < 0) | (unit > 1)).mean() < 0.02 and unit.max() - unit.min() > 0.99
    pixels = job("data=digits").experiment.form
    assert unit_scale(pixels, clean)(0.25) == 0.25
    rgb = job("data=emoji", "data.standardize=true")
    x = job("data=emoji").dataset.test.x.reshape(96, -1) / 255
    standardized = rgb.dataset.test.x.reshape(96, -1)
    seen = np.clip(unit_scale(rgb.experiment.form, standardized)(standardized), 0, 1)
    assert np.abs(seen - x).max() < 0.1  # their own colors


# Formats


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ("true", ("png",)),
        ("false", ()),
        ("[]", ()),
        ("pdf", ("pdf",)),
        ("[svg]", ("svg",)),
        ("[svg,png]", ("png", "svg")),
    ],
)
def test_the_formats_of_pictures(given, kinds):
    assert job(f"figures={given}").figures == kinds


def test_formats_that_there_are_not_are_refused():
    for wrong in ("jpg", "[png,jpg]", "3", "null", "[[png]]"):
        refused("figures=", f"figures={wrong}")


@pytest.mark.slow
def test_pictures_are_of_their_format_and_the_same_each_time():
    given = job("data=letters", "figures=[png,pdf,svg]")
    clean = given.dataset.test.x.reshape(27, 35).astype(np.float32)
    codes, rows = {"z": clean[:, :2] + clean[:, 5:7], "y": np.arange(27)}, np.arange(27)
    shown = {name: clean for name in ("clean", "reconstructed", "features", "samples", "nearest")} | {"rows": rows}
    shown["grid"] = clean[np.arange(400) % 27]
    history = [{"step": 1, "train/loss": 1.0, "train/reconstruction": 1.0}]
    beginnings = {"png": b"\x89PNG", "pdf": b"%PDF-", "svg": b"<?xml"}

    def first_pictures():
        return dict(itertools.islice(draw(given, history, {}, {}, codes, code_grid(codes["z"]), shown), 6))

    pictures = first_pictures()
    assert pictures.keys() == {f"{name}.{kind}" for name in ("curves", "codes") for kind in beginnings}
    for name, content in pictures.items():
        assert content.startswith(beginnings[name.split(".")[1]]), name
    assert pictures == first_pictures()


@pytest.mark.parametrize("words", [4, 60])
def test_a_title_fits_its_figure(words):
    figure = Figure((6.75, 1))
    title = " ".join(["data=fashion_mnist"] * words)
    titled(figure, f"Samples\n{title}")
    drawn = figure.get_suptitle()
    width = figure._suptitle.get_window_extent(FigureCanvasAgg(figure).get_renderer()).x1
    assert width <= figure.get_figwidth() * figure.dpi
    assert drawn == f"Samples\n{title}" if words == 4 else drawn.startswith("Samples\ndata=") and drawn.endswith(" …")


def test_a_grid_of_discrete_codes_decodes_codes_that_occur():
    experiment = job("model=fsq_vae", "data=digits", "net.widths=[8]").experiment
    params = autoencoder.init(experiment, int(experiment.latent_dim))
    z_GxZ = RNG.normal(size=(9, int(experiment.latent_dim))).astype(np.float32)
    code = autoencoder.snapped(experiment, params, z_GxZ)
    assert not np.allclose(code, z_GxZ)
    expected = experiment.likelihood.mean(autoencoder.decode(experiment, params, code))
    np.testing.assert_array_equal(grid_images(experiment, params, z_GxZ), expected)


def test_a_grid_of_a_conditional_model_is_of_one_label():
    experiment = job("model=cvae", "data=digits", "net.widths=[8]").experiment
    params = autoencoder.init(experiment, int(experiment.latent_dim))
    z_GxZ = RNG.normal(size=(9, int(experiment.latent_dim))).astype(np.float32)
    expected = experiment.likelihood.mean(autoencoder.decode(experiment, params, z_GxZ, np.zeros(9, np.int32)))
    np.testing.assert_array_equal(grid_images(experiment, params, z_GxZ), expected)
