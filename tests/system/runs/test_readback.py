"""What a run saves is what it reported: parameters from its files give its metrics and codes, alone or in company."""

import time

import jax
import numpy as np
import pytest
from conftest import job, run
from rich.console import Console

from aejax.base import archive
from aejax.datasets.cache import kept
from aejax.datasets.dataset import Dataset, Split
from aejax.runs.console import ConsoleReport
from aejax.runs.folder import FORMAT, Run
from aejax.runs.group import run_group
from aejax.runs.mirror import code_table
from aejax.runs.record import Clock, Place
from aejax.runs.reproduction import SavedRun, measured
from aejax.training.checkpoint import Checkpoint, Progress
from aejax.training.lanes import Layout

QUICK = ["log_points=1", "evaluate.groups=[reconstruction,code]", "figures=false", "track=off"]
MODELS = {"topk_ae": ["model.k=2"], "vae": []}  # with something running beside the parameters, and with two heads


def group(folder, *words, units=(2, 4)):
    """The jobs, and the runs in `folder`, of one program whose lanes have so many code units."""
    jobs = [job(*QUICK, *words, f"latent_dim={count}") for count in units]
    places = [Place(folder / str(count), folder) for count in units]
    report = ConsoleReport(Console(quiet=True))
    return jobs, run_group(jobs, places, Layout(len(jobs), "vmap"), Clock(time.perf_counter()), report)


def reads_back(folder, *words):
    """Asserts that parameters from disk give metrics.json and codes.npz, for a narrow lane and the widest."""
    for each, left in zip(*group(folder, "steps=8", "net.widths=[5]", *words), strict=True):
        assert left.record["format"] == FORMAT
        metrics, z_NxZ, _ = measured([SavedRun(left, each, each)], [each.experiment])[0]
        np.testing.assert_allclose(left.codes["z"], z_NxZ, rtol=1e-5, atol=1e-5)
        assert left.metrics["recon/mse"] > 0
        for name, value in left.metrics.items():
            if value is not None:
                assert value == pytest.approx(float(metrics[name]), rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("model", [pytest.param("topk_ae", marks=pytest.mark.slow), "vae"])
def test_saved_parameters_give_the_saved_numbers(tmp_path, model):
    reads_back(tmp_path, f"model={model}", *MODELS[model])


@pytest.mark.slow
@pytest.mark.parametrize("words", [["net.tied=true", "net.center=false"], ["net.norm=batch"], ["select=best"]])
def test_saved_parameters_give_the_saved_numbers_with_other_nets(tmp_path, words):
    reads_back(tmp_path, "model=ae", *words)


@pytest.mark.slow
def test_a_run_whose_files_do_not_read_back_has_failed(tmp_path, monkeypatch):
    read = archive.from_tensors
    monkeypatch.setattr(archive, "from_tensors", lambda data: {name: array * 2 for name, array in read(data).items()})
    with pytest.raises(OSError, match=r"params\.safetensors: does not read back as it was written \(decoder"):
        run(tmp_path, *QUICK, "steps=2", "net.widths=[3]")
    failed = Run.read(tmp_path).record
    assert failed["status"] == "failed"
    assert "does not read back as it was written" in failed["error"]


# Views in other places where arrays leave the program

WIDE = np.random.default_rng(0).integers(0, 256, (30, 8, 12), np.uint8)
VIEWS = {"columns": WIDE[..., 2:8], "transposed": WIDE.transpose(0, 2, 1), "backwards": WIDE[::-1, ::2, ::-1]}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_data_is_the_same_data(tmp_path, name):
    view, y = VIEWS[name], np.arange(60, dtype=np.int32)[::2] % 3
    splits, _ = kept([tmp_path / "kept"], lambda: ({"train": Split(view, y)}, {}))
    np.testing.assert_array_equal(splits["train"].x, view)
    np.testing.assert_array_equal(splits["train"].y, y)
    ours, copies = (Dataset("a", "gray", (x, labels)) for x, labels in ((view, y), (view.copy("C"), y.copy())))
    assert ours.fingerprint == copies.fingerprint
    ours = Dataset("a", "gray", (view, y), test=(view, y))
    np.testing.assert_array_equal(np.asarray(ours.arrays().train), view.reshape(30, -1))


def test_views_in_a_checkpoint_are_read_back(tmp_path):
    wide = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
    state = {"narrow": wide[:, :, :2], "turned": wide.transpose(2, 1, 0), "one": wide[1, 2, 3]}
    points = [{"train/loss": wide[:, 0, at], "alive": np.ones(4, bool)} for at in range(3)]
    checkpoint = Checkpoint(tmp_path / "kept", ("a", "b"), 0)
    checkpoint.save(Progress(3, state, points, 1.5))
    progress = checkpoint.load(jax.device_put(state))
    assert (progress.done, progress.seconds) == (3, 1.5)
    for name, view in state.items():
        np.testing.assert_array_equal(progress.state[name], view)
    np.testing.assert_array_equal([point["train/loss"] for point in progress.points], wide[:, 0, :3].T)


def test_codes_that_are_a_view_are_tabled_as_they_are():
    z_NxZ, names = WIDE[:, 0, 4:6].astype(np.float32), np.array([f"{row}.png" for row in range(30)])[::-1]
    codes = {"z": z_NxZ, "index": np.arange(60)[::2], "y": np.arange(30)[::-1] % 3, "name": names}
    columns, rows = code_table(codes, ("a", "b", "c"))
    assert columns == ["index", "label", "z0", "z1", "name"]
    assert rows[1] == [2, "b", *z_NxZ[1].tolist(), "28.png"]
    assert [row[2:4] for row in rows] == z_NxZ.tolist()
