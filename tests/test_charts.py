"""What the charts of a report show."""

import json
import types

import numpy as np
import pandas as pd
import pytest
from made import make_sweep

from aejax.compare import charts
from aejax.compare.command import Comparison, parser
from aejax.compare.intervals import mean_interval

pytest.importorskip("vl_convert", reason="the extra report is not installed")
report = pytest.importorskip("aejax.compare.report", reason="the extra report is not installed")


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
    assert two == {"k": "b", "mean": 5, "low": None, "high": None, "n": 1, "told": "5"}
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
    found = Comparison.of(parser().parse_intermixed_args([str(noisy)]))
    specs, figures = report._charts(found, found.runs.entries)
    [cells] = [each["spec"]["data"]["values"] for each in specs if "test noise" in each["spec"]["description"]]
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
    assert sum("<h4>" in figure for figure in figures) == len(specs)


def test_training_curves_are_means_with_the_range_of_the_seeds(noisy):
    for seed, error in enumerate((1.0, 2.0, 6.0)):
        (noisy / f"none{seed}" / "history.csv").write_text(f"step,valid/mse\n10,{error}\n20,nan\n")
    found = Comparison.of(parser().parse_intermixed_args([str(noisy), "noise=none"]))
    content, _ = report.payload(found, noisy)
    [spec] = [each["spec"] for each in content["charts"] if "training" in each["spec"]["description"]]
    [row] = spec["data"]["values"]
    assert (row["step"], row["mean"], row["low"], row["high"], row["n"]) == (10, 3, 1, 6, 3)
    json.dumps(content, allow_nan=False)


def test_codes_are_drawn_in_their_principal_plane():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 3)) @ np.diag([5, 2, 0.01])
    left = types.SimpleNamespace(codes={"z": z, "y": np.arange(400) % 7})
    drawn = np.array(report._codes(left, report.POINTS))
    assert len(drawn) == report.POINTS
    assert drawn[:, 2].max() == 6
    spread = np.std(z, axis=0)
    assert np.std(drawn[:, 0]) == pytest.approx(spread[0], rel=0.1)
    assert np.std(drawn[:, 1]) == pytest.approx(spread[1], rel=0.1)
