"""Data that the device does not hold train as those that it does."""

import numpy as np
import pytest
from conftest import job, run

from aejax.base.errors import InputError
from aejax.runs.folder import Run, flat
from aejax.runs.record import Lane
from aejax.training.stream import pieces

WORDS = ["data=digits", "model=vae", "batch_size=32", "epochs=2", "log_points=5", "net.widths=[8]", "latent_dim=3"]
WORDS += ["evaluate.groups=[reconstruction]"]
SMALL = "data.device_bytes=60000"  # of 115,008 bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    "word",
    [
        pytest.param("select=last", marks=pytest.mark.slow),
        "select=best",
        pytest.param("net.center=false", marks=pytest.mark.slow),
    ],
)
def test_a_streamed_run_is_the_run_that_it_would_be(tmp_path, word):
    words = [*WORDS, word]
    resident, streamed = run(tmp_path / "a", *words), run(tmp_path / "b", *words, SMALL)
    told = streamed.record["data"]
    assert told["streamed"] and 10 < told["train_examples_in_evaluation"] < told["examples"]["train"] / 2
    assert "streamed" not in resident.record["data"]
    for found, expected in zip(streamed.history, resident.history, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
    for name, array in flat(resident.params).items():
        np.testing.assert_allclose(flat(streamed.params)[name], array, rtol=1e-4, atol=1e-6)
    assert streamed.metrics["recon/mse"] == pytest.approx(resident.metrics["recon/mse"], rel=1e-5)


def test_batches_are_cut_where_memory_is_small():
    each = job(*WORDS, SMALL)
    [first, *_] = plan = pieces([20, 20], each, lanes=1)
    assert [start for start, _ in first] == sorted({start for start, _ in first}) and len(first) > 1
    assert [sum(length for _, length in segment) for segment in plan] == [20, 20]
    assert plan[1][0][0] == 20
    most = max(length for segment in plan for _, length in segment)
    assert most * 32 * 64 <= 60000 // 8 < (most + 1) * 32 * 64
    assert pieces([20, 20], job(*WORDS), lanes=1) == [[(0, 20)], [(20, 20)]]


def test_too_little_memory_is_told():
    with pytest.raises(InputError, match=r"^data\.device_bytes=100: leaves no room for training examples"):
        job(*WORDS, "data.device_bytes=100")


@pytest.mark.slow
def test_a_streamed_run_goes_on(tmp_path, monkeypatch):
    whole = run(tmp_path / "a", *WORDS, SMALL)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Lane, "log", lambda lane, row: row["step"] > 50 and interrupted())
        run(tmp_path / "b", *WORDS, SMALL, "checkpoint.seconds=0")
    run(tmp_path / "b", *WORDS, SMALL, "checkpoint.seconds=0")
    assert Run.read(tmp_path / "b").metrics == whole.metrics
