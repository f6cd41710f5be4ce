"""What the charts of a report show."""

import html
import json

import numpy as np
import pandas as pd
import pytest
from made import make_grid, make_run, make_sweep

from aejax.cli.compare import Comparison, build_parser
from aejax.comparison import charts, details, sections
from aejax.comparison.intervals import mean_interval
from aejax.comparison.points import points

pytest.importorskip("vl_convert", reason="the extra report is not installed")
report = pytest.importorskip("aejax.comparison.report", reason="the extra report is not installed")


def test_the_front_is_what_no_other_run_betters_in_both():
    points = [{"e": error, "s": score} for error, score in [(3, 9), (1, 5), (2, 4), (2, 7), (4, 9), (1, 3)]]
    assert charts.front(points, "e", "s") == [{"e": 1, "s": 5}, {"e": 2, "s": 7}, {"e": 3, "s": 9}]


def test_an_axis_is_logarithmic_where_it_can_be():
    assert charts.quantitative("x", "x", [0.1, 2])["scale"]["type"] == "log"
    assert "type" not in charts.quantitative("x", "x", [0.0, 2])["scale"]
    assert "type" not in charts.quantitative("x", "x")["scale"]


def test_rows_of_means_have_intervals_from_three_values_on():
    frame = pd.DataFrame({"k": list("aaabb"), "m": [1.0, 2.0, 3.0, 5.0, np.nan]})
    one, two = charts.mean_rows(frame, ["k"], "m", mean_interval)
    assert one["mean"] == 2 and one["high"] - 2 == pytest.approx(4.30265 / np.sqrt(3), rel=1e-5)  # t of 2 degrees
    assert two == {"k": "b", "mean": 5, "low": None, "high": None, "n": 1, "value": "5"}
    [low] = charts.drawn([{"mean": 1.0, "low": -1.0}, {"mean": 4.0, "low": None}])
    assert low["low"] == 0.5


@pytest.fixture
def noisy(tmp_path):
    """Two train noises, each scored under two test noises and on data without."""
    runs = {}
    for seed in range(3):
        for place, noise in enumerate(("none", "flip")):
            metrics = {"recon/mse": 0.1 + place, "robust/flip/0.1/mse": 0.4 - place / 10, "robust/masking/0.5/mse": 0.6}
            metrics |= {"restore/mse": 0.5} if noise == "flip" else {}
            runs[f"{noise}{seed}"] = metrics, {"noise": noise, "seed": seed}
    return make_sweep(tmp_path / "s", runs)


def test_the_heat_map_holds_every_train_and_test_noise(noisy):
    found = Comparison.of(build_parser().parse_intermixed_args([str(noisy)]))
    specs = [figure.spec for section in sections.of_runs(found.runs) for figure in section.figures]
    [cells] = [each["data"]["values"] for each in specs if "test noise" in each["description"]]
    values = {(cell["train"], cell["test"]): round(cell["mean"], 6) for cell in cells}
    assert values == {
        ("ae, none", "clean"): 0.1,
        ("ae, flip", "clean"): 1.1,
        ("ae, flip", "own"): 0.5,
        ("ae, none", "flip 0.1"): 0.4,
        ("ae, flip", "flip 0.1"): 0.3,
        ("ae, none", "masking 0.5"): 0.6,
        ("ae, flip", "masking 0.5"): 0.6,
    }
    assert report.page(found, noisy).count("<h4>") == len(specs)


def test_training_curves_are_means_with_the_range_of_the_seeds(noisy):
    for seed, error in enumerate((1.0, 2.0, 6.0)):
        (noisy / f"none{seed}" / "history.csv").write_text(f"step,valid/mse\n10,{error}\n20,nan\n")
    found = Comparison.of(build_parser().parse_intermixed_args([str(noisy), "noise=none"]))
    content, *_ = report.payload(found, noisy)
    [spec] = [each["spec"] for each in content["charts"] if "training" in each["spec"]["description"]]
    [row] = spec["data"]["values"]
    assert (row["step"], row["mean"], row["low"], row["high"], row["n"]) == (10, 3, 1, 6, 3)
    json.dumps(content, allow_nan=False)


def test_codes_are_drawn_in_their_principal_plane(tmp_path):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(400, 3)) @ np.diag([5, 2, 0.01]), np.arange(400) % 7
    run = make_run(tmp_path / "run", {})
    run.write_codes(z, y)
    run.note(evaluation={"class_sse": dict.fromkeys("abcdefg", 0.1)})
    found, fault = points(run.path, details.POINTS)
    assert fault is None and found["of"] == 400 and found["classes"] == list("abcdefg")
    drawn = np.array([pair[:2] for pair in found["points"]])
    assert len(drawn) == details.POINTS
    assert {label for *_, label in found["points"]} == set("abcdefg")
    assert found["axes"] == ["principal component 1 (87%)", "principal component 2 (13%)"]
    spread = np.std(z, axis=0)
    assert np.std(drawn[:, 0]) == pytest.approx(spread[0], rel=0.1)
    assert np.std(drawn[:, 1]) == pytest.approx(spread[1], rel=0.1)


@pytest.mark.parametrize(
    ("z", "y", "line"),
    [
        (np.zeros(3), None, "z is float64 of shape [3]; must be numbers [N, units]"),
        (np.zeros((4, 2), complex), None, "z is complex128 of shape [4, 2]; must be numbers [N, units]"),
        (np.zeros((4, 2)), np.zeros(9, int), "y is int64 of shape [9]; must be whole numbers [4]"),
    ],
)
def test_codes_that_are_none_are_named(z, y, line, tmp_path):
    run = make_run(tmp_path / "run", {})
    np.savez(run.path / "codes.npz", z=z, **({} if y is None else {"y": y}))
    assert points(run.path, 10) == (None, line)
    found = Comparison.of(build_parser().parse_intermixed_args([str(tmp_path)]))
    assert f"codes.npz ({line}); its codes are not drawn" in html.unescape(report.page(found, tmp_path))


def test_a_list_of_notes_is_empty_where_there_are_none(tmp_path):
    make_grid(tmp_path / "s", dims=(2, 4), seeds=3)
    found = Comparison.of(build_parser().parse_intermixed_args([str(tmp_path / "s")]))
    assert found.notes == [] and '<ul class="notes" id="notes"></ul>' in report.page(found, tmp_path)
    (tmp_path / "s" / "0" / "metrics.json").write_text("{")
    found = Comparison.of(build_parser().parse_intermixed_args([str(tmp_path / "s")]))
    assert '<ul class="notes" id="notes"><li>' in report.page(found, tmp_path)


def test_a_color_means_one_thing(tmp_path):
    found = Comparison.of(
        build_parser().parse_intermixed_args([str(make_grid(tmp_path / "s", models=("ae", "vae", "pca")))])
    )
    content, *_ = report.payload(found, tmp_path)
    of_models = {}
    for chart in content["charts"]:
        for layer in chart["spec"].get("layer", []):
            color = layer["encoding"].get("color", {})
            if color.get("field") == "series":
                for model, hue in zip(color["scale"]["domain"], color["scale"]["range"], strict=True):
                    of_models.setdefault(model, set()).add(hue)
    assert set(of_models) == {"ae", "vae", "pca"} and all(len(hues) == 1 for hues in of_models.values())
    hues = [*set.union(*of_models.values()), *content["classes"].values()]
    assert len(content["classes"]) == 2 and len(hues) == len(set(hues)) == 5
    many = [*charts.model_colors(range(40)).values(), *charts.class_colors(range(40)).values()]
    assert len(set(many)) == 80


def test_baselines_stand_beside_the_floors(tmp_path):
    runs = {}
    for seed in range(3):
        for dim in (2, 4):
            metrics = {"recon/mse": 0.1 / dim + seed / 100, "separation/knn_accuracy": 0.8 + seed / 100}
            metrics |= {"baseline/pca_mse": 0.2, "baseline/untrained_knn_accuracy": 0.5 + dim / 100}
            runs[f"{seed}{dim}"] = metrics, {"seed": seed, "latent_dim": dim}
    found = Comparison.of(build_parser().parse_intermixed_args([str(make_sweep(tmp_path / "s", runs))]))
    content, *_ = report.payload(found, tmp_path)
    specs = {each["spec"]["description"]: each["spec"]["layer"] for each in content["charts"]}
    first = {name: layers[0]["data"]["values"] for name, layers in specs.items() if "data" in layers[0]}
    sized = first["separation/knn_accuracy against code size"]
    assert [(each["series"], each["latent_dim"], round(each["mean"], 9)) for each in sized] == [
        ("untrained", 2, 0.52), ("untrained", 4, 0.54)
    ]  # fmt: skip
    assert {each["series"] for each in first["recon/mse against code size"]} == {"PCA"}
    [rule] = first["recon/mse against separation/knn_accuracy of each run, and the Pareto front"]
    assert rule == {"series": "untrained", "separation/knn_accuracy": pytest.approx(0.53)}


def test_the_page_says_what_it_is_about(tmp_path):
    sizes = {"train": 54_000, "valid": 6000, "test": 10_000}
    make_run(tmp_path / "run", {"recon/mse": 0.1}, steps=844, record={"data": {"examples": sizes}})
    words = [str(tmp_path), "--report", "r.html"]
    given = build_parser().parse_intermixed_args(words)
    given.argv = words
    page = report.page(Comparison.of(given), tmp_path)
    for text in (
        "letters: binary 2 x 2 x 1; 54,000 training, 6,000 validation, 10,000 test examples; fingerprint f00d",
        "<dt>Epochs</dt><dd>2.00059</dd>", "<dt>Batch size</dt><dd>128</dd>", "<dt>Version of jax</dt><dd>0.10.2</dd>",
        f"python -m aejax.compare {tmp_path} --report r.html", " UTC, by aejax ",
    ):  # fmt: skip
        assert text in page, text
    assert page.count("<section ") == page.count(' aria-labelledby="h-') == 6  # which a screen reader names them by
