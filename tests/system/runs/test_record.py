"""What a run leaves: whole, as the contract lists it, and the same bits for the same command."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import job, run
from PIL import Image

from aejax.base.errors import InputError
from aejax.base.interrupts import STOP
from aejax.datasets.sources.letters import glyphs
from aejax.models.autoencoder import trained
from aejax.runs.contents import MODULES
from aejax.runs.folder import Run, flat
from aejax.runs.record import Lane

QUICK = ["steps=20", "log_points=4", "net.widths=[5]"]


def files(path):
    return sorted(
        str(each.relative_to(path)) for each in path.rglob("*") if each.is_file() and "wandb" not in each.parts
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run by the command, with everything that it leaves."""
    folder = tmp_path_factory.mktemp("record")
    words = ["model=vae", "noise=flip", "latent_dim=3", *QUICK, "hydra.run.dir=run"]
    done = subprocess.run([sys.executable, "-m", "aejax", *words], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return Run.read(folder / "run"), done.stdout


def test_the_folder_holds_what_the_contract_lists(whole):
    figures = ["codes", "curves", "features", "grid", "reconstructions", "restored", "samples"]
    assert files(whole[0].path) == [
        ".hydra/config.yaml",
        ".hydra/hydra.yaml",
        ".hydra/overrides.yaml",
        "codes.npz",
        *(f"figures/{name}.png" for name in figures),
        "history.csv",
        "metrics.json",
        "params.safetensors",
        "run.json",
    ]


def test_run_json_tells_what_ran_and_where_the_seconds_went(whole):
    record = whole[0].record
    assert record["status"] == "completed"
    assert record["error"] is None
    assert record["wandb_id"] == record["id"]
    assert len(record["id"]) == 16
    assert {"start", "compile", "train", "evaluate", "figures", "track", "total"} <= record["seconds"].keys()
    parts = sum(value for name, value in record["seconds"].items() if name != "total")
    assert parts <= record["seconds"]["total"] + 0.01
    assert {"aejax", "jax", "flax", "optax", "numpy", "python"} <= record["versions"].keys()
    assert (record["device"], record["precision"]) == ("cpu", "float32")
    assert record["data"]["fingerprint"]
    assert "same 27 glyphs" in record["data"]["note"]
    assert record["started"] <= record["finished"]


def test_metrics_history_codes_and_parameters_agree(whole):
    finished = whole[0]
    metrics, history, codes, params = finished.metrics, finished.history, finished.codes, finished.params
    names = ["mse", "sse", "bce", "psnr", "pixel_errors_mean", "pixel_errors_max", "exact", "at_most_one_wrong"]
    names += ["r2", "ssim"]
    expected = {f"{prefix}/{name}" for prefix in ("recon", "restore") for name in names}
    separation = ["knn_accuracy", "knn1_accuracy", "knn15_accuracy", "silhouette", "davies_bouldin"]
    expected |= {f"separation/{name}" for name in [*separation, "calinski_harabasz", "fisher_ratio"]}
    expected |= {f"baseline/untrained_{name}" for name in separation[:4]}
    use = ["active_units", "dead_units", "effective_dim", "correlation", "collapsed", "kl", "sparsity"]
    use += ["perplexity", "used_codes"]
    expected |= {f"code/{name}" for name in use}
    expected |= {"baseline/mean_mse", "baseline/pca_mse", "elbo", "likelihood/rate", "likelihood/distortion"}
    assert expected == metrics.keys()
    assert all(value is None or np.isfinite(value) for value in metrics.values())
    assert [row["step"] for row in history] == [5, 10, 15, 20]
    assert list(history[0]) == ["step", "train/loss", "train/kl", "train/reconstruction", "valid/mse"]
    assert history[-1]["valid/mse"] == pytest.approx(metrics["recon/mse"], rel=1e-5)  # the splits are the same here
    assert codes["z"].shape == (27, 3)
    assert codes["index"].tolist() == codes["y"].tolist() == list(range(27))
    assert finished.record["parameters"] == sum(array.size for array in flat(trained(params)).values())
    assert finished.record["parameters"] == (35 * 5 + 5) + 2 * (5 * 3 + 3) + (3 * 5 + 5) + (5 * 35 + 35)
    # The codes are what the stored parameters make of the letters.
    dense = params["encoder"]["Dense_0"]
    seen = glyphs()[1].reshape(27, 35) - params["running"]["center"][None, :]
    hidden = seen @ dense["kernel"] + dense["bias"]
    hidden = np.asarray(jax.nn.gelu(hidden))
    mean = params["to_code"]["mean"]
    np.testing.assert_allclose(hidden @ mean["kernel"] + mean["bias"], codes["z"], atol=1e-5)


def test_the_pictures_are_pictures(whole):
    for path in (whole[0].path / "figures").glob("*.png"):
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
            assert min(pixels.shape) >= 150, path
            assert pixels.std() > 10, path


def test_a_table_at_the_end_compares_with_the_mean_image_and_pca(whole):
    finished, out = whole
    assert "PCA" in out
    assert "mean image" in out
    assert f"{finished.metrics['recon/mse']:.4g}" in out
    assert str(finished.path) in out
    assert "\x1b" not in out  # no terminal, no colors


@pytest.mark.slow
def test_the_same_command_twice_leaves_the_same_bits(whole, tmp_path):
    again = subprocess.run(
        [sys.executable, "-m", "aejax", "model=vae", "noise=flip", "latent_dim=3", *QUICK, "hydra.run.dir=run"],
        cwd=tmp_path,
        capture_output=True,
    )
    assert again.returncode == 0
    for name in files(whole[0].path):
        if not name.startswith(".hydra") and name != "run.json":
            assert (tmp_path / "run" / name).read_bytes() == (whole[0].path / name).read_bytes(), name
    assert Run.read(tmp_path / "run").record["id"] == whole[0].record["id"]


@pytest.mark.slow
def test_without_pictures_the_record_is_otherwise_the_same(tmp_path):
    finished = run(tmp_path, *QUICK)
    assert files(tmp_path) == ["codes.npz", "history.csv", "metrics.json", "params.safetensors", "run.json"]
    assert finished.record["status"] == "completed"
    assert not (tmp_path / "wandb").exists()
    assert not any(name.startswith("restore/") for name in finished.metrics)


@pytest.mark.slow
def test_codes_carry_their_places_in_the_source(tmp_path):
    codes = run(tmp_path, *QUICK, "data.classes=[z,c,a]").codes
    assert codes["index"].tolist() == [0, 2, 26]
    assert codes["y"].tolist() == [2, 1, 0]
    assert "name" not in codes


@pytest.mark.slow
def test_pca_leaves_the_same_record(tmp_path):
    finished = run(tmp_path, "model=pca", "latent_dim=4")
    assert files(tmp_path) == ["codes.npz", "history.csv", "metrics.json", "params.safetensors", "run.json"]
    assert finished.metrics["recon/mse"] == pytest.approx(finished.metrics["baseline/pca_mse"], rel=1e-5)
    assert [row["step"] for row in finished.history] == [0]
    assert finished.record["parameters"] == 35 * 4 + 4 + 4 * 35 + 35
    assert finished.params.keys() == {*MODULES}  # four of them empty
    assert flat(finished.params).keys() == {
        f"{name}.{leaf}" for name in ("to_code.mean", "from_code") for leaf in ("kernel", "bias")
    }


def test_the_id_is_of_what_decides_the_result(tmp_path):
    base = job(*QUICK).run_id
    assert job(*QUICK, "track=off").run_id == base
    others = {job(*QUICK, change).run_id for change in ("seed=1", "latent_dim=3", "noise=flip", "data=emoji")}
    assert len(others | {base}) == 5


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    made = Run(tmp_path)
    made.write_metrics({"a": 1.0})

    def fail(*_):
        raise OSError("no more")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no more"):
        made.write_metrics({"a": 2.0})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 1.0}
    assert files(tmp_path) == ["metrics.json"]


def test_numbers_that_are_not_finite_are_null_in_metrics_json(tmp_path):
    made = Run(tmp_path)
    made.write_metrics({"a": float("nan"), "b": float("inf"), "c": 1})
    assert made.metrics == {"a": None, "b": None, "c": 1}


def test_reading_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        Run.read(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json: cannot be read \(Expecting property name"):
        Run.read(tmp_path)


def test_an_unexpected_error_is_recorded_and_raised(tmp_path, monkeypatch):
    monkeypatch.setattr("aejax.runs.group._finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, *QUICK)
    failed = Run.read(tmp_path)
    assert failed.record["status"] == "failed"
    assert failed.record["error"] == "ZeroDivisionError: division by zero"
    assert len(failed.history) == 4


def test_an_interrupt_that_a_library_swallowed_ends_the_run(tmp_path, monkeypatch):
    begin = Lane.begin
    monkeypatch.setattr(Lane, "begin", lambda lane, layout: (begin(lane, layout), STOP.set())[0])
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, *QUICK)
    finally:
        STOP.clear()
    assert Run.read(tmp_path).record["status"] == "interrupted"


@pytest.mark.slow
def test_without_validation_examples_there_is_no_validation_error(tmp_path):
    left = run(tmp_path / "run", "data.validation=0", "steps=4", "log_points=2", "net.widths=[5]", "figures=true")
    assert "valid/mse" not in left.history[0]
    assert left.record["data"]["examples"]["valid"] == 0
    assert (left.path / "figures" / "curves.png").exists()
    with pytest.raises(InputError, match=r"^select=best: needs validation examples; set data\.validation above 0"):
        job("data.validation=0", "select=best")
