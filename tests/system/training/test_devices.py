"""What is decided for GPUs, which are made up here, and lanes on several devices, which are the cores."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import job

from aejax.base.devices import cores, memory
from aejax.base.errors import InputError
from aejax.runs import programs
from aejax.training.lanes import Lanes, Layout, lane
from aejax.training.plan import check_memory, layout_of, most_lanes
from aejax.training.stream import batches

GIB = 2**30
OTHERS = [("vmap", True), ("map", False)]


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A device as far as the rules look at it."""

    bytes_limit: int
    platform: str = "gpu"

    def memory_stats(self):
        return {"bytes_limit": self.bytes_limit}


@pytest.fixture
def gpus(monkeypatch):
    """JAX says that it has so many GPUs of this memory."""

    def made(count, bytes_limit=10 * GIB):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setattr(jax, "devices", lambda: [Gpu(bytes_limit)] * count)

    return made


@pytest.mark.parametrize(
    ("how", "lanes", "parameters", "expected"),
    [
        ("auto", 1, 10, "map"),
        ("auto", 2, 10, "vmap"),
        ("auto", 16_384, 10, "vmap"),
        ("auto", 8, 10**7, "vmap"),
        ("map", 8, 10, "map"),
    ],
)
def test_several_lanes_train_by_vmap_on_a_gpu(gpus, how, lanes, parameters, expected):
    gpus(1)
    assert Lanes(how, None).settle(lanes, parameters) == expected


@pytest.mark.parametrize(("count", "lanes", "expected"), [(1, 8, 1), (4, 1, 1), (4, 3, 3), (4, 256, 4)])
def test_lanes_spread_over_all_gpus(gpus, count, lanes, expected):
    gpus(count)
    assert Layout(lanes, "vmap").devices == expected
    assert layout_of([job(f"seed={seed}") for seed in range(2)]) == Layout(2, "vmap", min(2, count))


def test_data_are_resident_where_they_take_half_of_a_gpu_at_the_most(gpus):
    """Each holds a copy, so that more GPUs hold no more."""
    gpus(4)
    assert memory() == 40 * GIB
    resident = job("data=digits").dataset
    assert resident.budget == 5 * GIB and not resident.form.streamed
    stored = sum(split.x.nbytes for split in resident.splits.values())
    for bytes_limit, streamed in ((2 * stored, False), (2 * stored - 2, True)):
        gpus(4, bytes_limit)
        assert job("data=digits").dataset.form.streamed == streamed
    gpus(1, GIB)
    assert job("data=digits", "data.device_bytes=100000").dataset.form.streamed


def test_a_lane_fits_on_one_gpu_and_more_gpus_take_more_lanes(gpus):
    jobs = [job(f"seed={seed}") for seed in range(2)]
    gpus(1)
    once = most_lanes(jobs)
    gpus(4)
    assert most_lanes(jobs) // once == 4
    gpus(4, 2**16)
    with pytest.raises(InputError, match=r"^takes 0\.\d MiB of memory at the least .* and there are 0\.1 MiB"):
        check_memory(jobs[0])


def trained(jobs, layout):
    """The final State of these jobs."""
    inputs = programs.Inputs.of(jobs, layout)
    training, state = programs.Training.compiled(jobs, layout, inputs)
    pieces = [piece for segment in inputs.plan for piece in segment]
    ahead = batches(jobs, layout, pieces)
    for number in range(len(inputs.plan)):
        state, _ = training.segment(number, state, ahead)
    return jax.device_get(state)


@pytest.mark.slow
@pytest.mark.skipif(cores() < 2, reason="there is one core")
@pytest.mark.parametrize(
    ("how", "streamed"),
    [("vmap", False), ("map", True), *(pytest.param(*each, marks=pytest.mark.slow) for each in OTHERS)],
)
def test_lanes_on_several_devices_are_those_on_one(how, streamed):
    """Twice on the same devices to the same bits, on one device up to rounding."""
    words = ["data=digits", "net.widths=[8]", "batch_size=32", "steps=12", "log_points=2"]
    words += ["data.device_bytes=60000"] if streamed else []
    jobs = [job(*words, f"seed={seed}") for seed in range(3)]
    assert jobs[0].experiment.form.streamed == streamed
    one, two, again = (trained(jobs, Layout(3, how, devices)) for devices in (1, 2, 2))
    for expected, found in zip(jax.tree.leaves(again), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(found, expected)
    for index in range(3):
        for expected, found in zip(*(jax.tree.leaves(lane(state, index)) for state in (one, two)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
