"""What holds for every model: a lane is as alone, its files read back, it goes on where it was cut off, it is drawn.

And exported, it gives the same numbers in a process without aejax.
"""

import importlib.util
import time

import numpy as np
import pytest
from conftest import CONF, Killed, Watch, called, job, results, run
from outside import same_outside
from PIL import Image
from rich.console import Console

import aejax
from aejax.cli import export
from aejax.cli.train import main
from aejax.runs.console import ConsoleReport
from aejax.runs.folder import FORMAT, Run, flat
from aejax.runs.group import run_group
from aejax.runs.record import Clock, Place
from aejax.runs.reproduction import SavedRun, measured
from aejax.training.lanes import Layout

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
FEW = ("vae",)
WORDS = [
    *("steps=6", "log_points=3", "evaluate.groups=[reconstruction,code]", "track=off", "checkpoint.seconds=0"),
    *("net.widths=[5]", "optim=sgd", "optim.lr=0.001"),  # with Adam, rounding decides steps of gradients near 0
]
OWN = {  # what a model needs beside narrow nets; layers that learn one after another need steps each
    "deep_ae": ["net.widths=[6,5]"],
    "rbm_ae": ["net.widths=[6,5]", "steps=12"],
    "stacked_ae": ["steps=12"],
    "topk_ae": ["model.k=2"],
    "vq_vae": ["model.size=2", "model.codes=5"],
    "rvq_vae": ["model.size=2", "model.codes=5", "seed=1"],  # with seed 0 rounding decides between two entries
    "fsq_vae": ["model.levels=[4,3]"],
    "concrete_vae": ["model.size=2"],
    "linear_ae": ["net.widths=[]"],
    "pca": ["net.widths=[]"],
}
NO_CONVERTER = importlib.util.find_spec("jax2onnx") is None
KINDS = (  # of encoders and decoders, which the converter meets in operations of their own
    "ae",
    "conv_vae",
    "cvae",
    "fsq_vae",
    "iaf_vae",
    "ladder_vae",
    "masked_ae",
    "rhvae",
    "s_vae",
    "topk_ae",
    "vq_vae",
)
NO_ONNX = ("rhvae", "topk_ae")  # with loops of free batch size, and the bits of a float
UNITS = (2, 4)  # of the two lanes
DIVERGING = "optim.lr=3e38"


@pytest.mark.parametrize(
    "model", [*FEW, *(pytest.param(model, marks=pytest.mark.slow) for model in MODELS if model not in FEW)]
)
def test_every_model(tmp_path, model):
    words = [*WORDS, f"model={model}", *OWN.get(model, [])]
    narrow, wide = f"latent_dim={UNITS[0]}", f"latent_dim={UNITS[1]}"
    closed_form = model == "pca"

    jobs = [job(*words, narrow, "figures=true"), job(*words, wide, *(() if closed_form else [DIVERGING]))]
    places = [Place(tmp_path / str(units), tmp_path) for units in UNITS]
    report = ConsoleReport(Console(quiet=True))
    lane, other = run_group(jobs, places, Layout(len(jobs), "vmap"), Clock(time.perf_counter()), report)
    assert lane.record["status"] == "completed"
    assert other.record["status"] == ("completed" if closed_form else "diverged")
    reads_back(jobs[0], lane)
    for name in ("samples", "reconstructions"):
        assert len(np.unique(np.asarray(Image.open(lane.path / "figures" / f"{name}.png")))) > 10, name

    assert called(main, *words, narrow, "figures=false", f"hydra.run.dir={tmp_path / 'alone'}") == 0
    alone = Run.read(tmp_path / "alone")
    is_near(lane, alone)
    if not closed_form:
        segment = jobs[0].experiment.steps // 3
        with pytest.raises(Killed):
            run(tmp_path / "cut", *words, narrow, report=Watch(kill_at=2 * segment))
        resumed = Watch()
        run(tmp_path / "cut", *words, narrow, report=resumed)
        assert resumed.began >= segment
        assert results(tmp_path / "cut") == results(tmp_path / "alone")
    is_exported(alone.path, tmp_path / "stablehlo", jobs[0].dataset.test.x)


@pytest.mark.skipif(NO_CONVERTER, reason="jax2onnx is not installed")
@pytest.mark.parametrize(
    "model",
    [pytest.param(model, marks=pytest.mark.slow if model in KINDS else pytest.mark.exhaustive) for model in MODELS],
)
def test_every_model_is_exported_to_onnx(tmp_path, model, capsys):
    words = [*WORDS, f"model={model}", *OWN.get(model, []), f"latent_dim={UNITS[1]}", "figures=false"]
    path, out = tmp_path / "run", tmp_path / "onnx"
    assert called(main, *words, f"hydra.run.dir={path}") == 0
    if model not in NO_ONNX:
        is_exported(path, out, job(*words).dataset.test.x)
        return
    assert called(lambda: export.main([str(path), str(out), "--to", "onnx"])) == 2
    assert "jax2onnx cannot convert this encoder (" in capsys.readouterr().err
    assert not out.exists()


def is_exported(path, out, letters):
    """Asserts that the export of a run on letters, in the format that `out` is named after, gives the run's numbers."""
    run, labels = aejax.load(path), np.arange(300) % len(letters)
    assert called(lambda: export.main([str(path), str(out), "--to", out.name])) == 0
    same_outside(run, out, letters[labels], labels if run.experiment.model.is_conditional else None)


def reads_back(one, left):
    """Asserts that parameters from disk give metrics.json and codes.npz."""
    left = Run.read(left.path)
    assert left.record["format"] == FORMAT
    metrics, z_NxZ, _ = measured([SavedRun(left, one, one)], [one.experiment])[0]
    assert left.codes["z"].shape == (len(one.dataset.test.x), UNITS[0])
    np.testing.assert_allclose(left.codes["z"], z_NxZ, rtol=1e-5, atol=1e-5)
    assert left.metrics["recon/mse"] > 0
    for name, value in left.metrics.items():
        if value is not None:
            assert value == pytest.approx(float(metrics[name]), rel=1e-5, abs=1e-5), name


def is_near(lane, alone):
    """Asserts that a lane's run is the run that it would have been alone."""
    found, expected = flat(lane.params), flat(alone.params)
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)
    for name, value in alone.metrics.items():
        assert lane.metrics[name] == (value if value is None else pytest.approx(value, rel=1e-3, abs=1e-5)), name
