"""What does not fit is refused in one line with the numbers, before anything of that size is made."""

import json
import re
import struct
import zlib

import jax
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from conftest import job, refused
from PIL import Image

from aejax.base.devices import cores, host_memory, limits
from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset
from aejax.datasets.pixels import MOST_PIXELS
from aejax.models import autoencoder
from aejax.runs import entry, group
from aejax.training import step
from aejax.training.lanes import tree_bytes
from aejax.training.plan import check_memory

GIB = 2**30


def header(width, height):
    """A PNG of this size that ends before its first pixel."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + content
        + struct.pack(">I", zlib.crc32(content))
        + bytes(4)
        + b"IDAT"
    )


@pytest.fixture
def pictures(here):
    """A folder of eight pictures, 16 x 16."""
    rng = np.random.default_rng(0)
    (here / "pictures").mkdir()
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(here / "pictures" / f"{number}.png")
    return here / "pictures"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 4),
        ({"SLURM_CPUS_ON_NODE": "3"}, 3),
        ({"SLURM_CPUS_ON_NODE": "3", "SLURM_CPUS_PER_TASK": "1"}, 1),
        ({"SLURM_CPUS_ON_NODE": "64"}, 4),
        ({"SLURM_CPUS_ON_NODE": "2(x3)"}, 4),
    ],
)
def test_a_process_uses_no_more_cores_than_slurm_has_allotted(monkeypatch, variables, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4))
    for name in ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert cores() == expected


def test_a_process_counts_on_no_more_memory_than_slurm_has_allotted(monkeypatch):
    host_memory.cache_clear()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    try:
        assert host_memory() == 100 * 2**20
    finally:
        host_memory.cache_clear()


@pytest.mark.parametrize("size", [[], ["data.size=[16,16]"], ["data.size=[16,16]", "data.skip_broken=true"]])
def test_a_picture_that_is_an_attack_on_the_memory_is_refused(pictures, size):
    (pictures / "9.png").write_bytes(header(20_000, 20_000))
    told = f"{pictures}/9.png: an image of 400,000,000 pixels; the most are {MOST_PIXELS:,}"
    refused(told, "data=images", f"data.path={pictures}", *size)


def test_sizes_of_examples_are_bounded_before_anything_is_decoded(pictures, monkeypatch):
    refused("data.size=[16384, 16384]: 268,435,456 pixels; must be at most 16,777,216", "data=images",
            f"data.path={pictures}", "data.size=[16384,16384]")  # fmt: skip
    for number in range(8):
        (pictures / f"{number}.png").write_bytes(header(5000, 4000))
    told = f"data.path={pictures}: images of 20,000,000 pixels; set data.size, 16,777,216 at most"
    monkeypatch.setattr("aejax.datasets.sources.images.pixels", lambda *_: pytest.fail("was decoded"))
    refused(told, "data=images", f"data.path={pictures}")


def test_pictures_that_memory_cannot_hold_are_refused_with_the_numbers(pictures, monkeypatch):
    monkeypatch.setattr("aejax.datasets.sources.images.pixels", lambda *_: pytest.fail("was decoded"))
    monkeypatch.setattr("aejax.base.devices.host_memory", lambda: 8 * 1024**2 * 3 - 1)
    told = f"data.path={pictures}: 8 images of 1,048,576 pixels in 3 channels: takes 24.0 MiB of memory, and"
    refused(told, "data=images", f"data.path={pictures}", "data.size=[1024,1024]", "data.color=rgb")


def test_arrays_that_memory_cannot_hold_are_not_unpacked(here, monkeypatch):
    np.savez_compressed("x.npz", x=np.zeros((1000, 100), np.float64))
    monkeypatch.setattr("aejax.base.devices.host_memory", lambda: 700_000)
    refused("data.path=x.npz: takes 0.8 MiB of memory, and there are 0.7 MiB; must be smaller", "data=arrays",
            "data.path=x.npz")  # fmt: skip


def test_an_array_on_disk_that_memory_cannot_hold_is_refused(here, monkeypatch):
    np.lib.format.open_memmap("x.npy", "w+", np.float64, (1000, 100)).flush()
    monkeypatch.setattr("aejax.base.devices.host_memory", lambda: 300_000)
    monkeypatch.setattr("aejax.datasets.sources.arrays.Dataset", lambda *_, **__: pytest.fail("was copied"))
    refused("data.path=x.npy: as float32: takes 0.4 MiB of memory, and there are 0.3 MiB; must be smaller",
            "data=arrays", "data.path=x.npy")  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_that_memory_cannot_hold_is_refused(here, monkeypatch, ending):
    table = pa.table({f"x{column}": np.linspace(0, 1, 1000) for column in range(10)})
    {"csv": pyarrow.csv.write_csv, "parquet": pyarrow.parquet.write_table}[ending](table, f"x.{ending}")
    monkeypatch.setattr("aejax.base.devices.host_memory", lambda: 38_000)
    for reader in ("csv.read_csv", "parquet.read_table"):
        monkeypatch.setattr(f"pyarrow.{reader}", lambda *_: pytest.fail("was read"))
    refused(f"data.path=x.{ending}: as float32: takes 0.0 MiB of memory, and there are 0.0 MiB; must be of fewer rows",
            "data=table", f"data.path=x.{ending}")  # fmt: skip
    monkeypatch.undo()


def test_a_sound_that_memory_cannot_hold_is_refused(here, monkeypatch):
    soundfile = pytest.importorskip("soundfile", reason="comes with the extra aejax[audio]")
    (here / "sounds").mkdir()
    soundfile.write(here / "sounds" / "a.wav", np.zeros(100_000, np.int16), 8000)
    monkeypatch.setattr("aejax.base.devices.host_memory", lambda: 390_000)
    monkeypatch.setattr("soundfile.read", lambda *_, **__: pytest.fail("was read"))
    refused("sounds/a.wav: as float32: takes 0.4 MiB of memory, and there are 0.4 MiB; must be shorter", "data=audio",
            "data.path=sounds")  # fmt: skip


def test_examples_on_disk_are_copied_as_far_as_memory_holds_them(here, monkeypatch):
    np.save("x.npy", np.random.default_rng(0).integers(0, 256, (1000, 100), np.uint8))
    monkeypatch.setattr("aejax.base.devices.host_memory", lambda: 80_000)
    told = "data x.npy: 1,000 examples: takes 0.1 MiB of memory, and there are 0.1 MiB; must be fewer, by data.limit"
    refused(told, "data=arrays", "data.path=x.npy")
    assert len(job("data=arrays", "data.path=x.npy", "data.limit=100").dataset.train.x) == 100


@pytest.mark.parametrize("words", [["noise=flip"], ["model=vae", "select=best", "optim=sgd"]])
def test_what_a_training_keeps_is_in_the_estimate(words, monkeypatch):
    each = job("net.widths=[300]", "evaluate.groups=[reconstruction]", *words)
    own = jax.jit(step.init, static_argnames="width")(each.experiment, each.dataset.arrays(), width=2)
    stepping = tree_bytes((own.optim, autoencoder.trained(own.params))) + 2 * 4 * 27 * 35
    kept = tree_bytes((own.params, own.best)) + stepping + each.dataset.train.x.nbytes
    monkeypatch.setattr("aejax.training.plan.memory", lambda: kept)
    check_memory(each)
    monkeypatch.setattr("aejax.training.plan.memory", lambda: kept - 1)
    with pytest.raises(InputError, match=r"takes 0\.\d MiB of memory at the least .* must be less: batch_size or net"):
        check_memory(each)


def test_numbers_are_told_of_what_is_far_too_large(monkeypatch):
    monkeypatch.setattr("aejax.training.plan.memory", lambda: 16 * GIB)
    with pytest.raises(InputError) as caught:
        check_memory(job("net.widths=[60000,60000]"))
    told = re.fullmatch(
        r"takes ([\d.]+) GiB of memory at the least \(data 0\.0 MiB, parameters ([\d.]+) GiB, a training step ([\d.]+) "
        r"GiB\), and there are 16\.0 GiB; must be less: batch_size or net\.widths",
        str(caught.value),
    )
    weights = 4 * 2 * (60_000**2 + 60_000 * (35 + 2 + 2)) / GIB  # biases of both layers, too
    np.testing.assert_allclose([float(each) for each in told.groups()], [4 * weights, weights, 3 * weights], rtol=0.01)
    wide = Dataset(train=np.random.default_rng(0).integers(0, 256, (5200, 2000), np.uint8))
    monkeypatch.setattr("aejax.training.plan.memory", lambda: 16 * 2**20)
    with pytest.raises(
        InputError, match=r"principal components 30\.5 MiB.*must be less: .*evaluate\.groups without baselines"
    ):
        entry.train(wide, "net.widths=[4]", "steps=1")


def test_a_job_of_a_sweep_that_does_not_fit_fails_and_the_others_train(command, monkeypatch, tmp_path):
    monkeypatch.setattr("aejax.training.plan.memory", lambda: 2**20)
    words = ["-m", "net.widths=[4],[400,400]", "steps=2", "log_points=1", "track=off", "figures=false"]
    status, out, _ = command(*words, "evaluate.groups=[reconstruction]", "hydra.sweep.dir=s")
    assert status == 1 and "1 completed, 1 failed" in out
    jobs = json.loads((tmp_path / "s" / "sweep.json").read_text())["jobs"]
    assert [each["status"] for each in jobs] == ["completed", "failed"]
    assert "of memory at the least" in jobs[1]["error"]
    status, _, err = command("net.widths=[400,400]", "hydra.run.dir=r")
    assert (status, err.count("\n")) == (2, 1) and "of memory at the least" in err and not (tmp_path / "r").exists()


def test_a_code_whose_covariance_does_not_fit_is_refused(monkeypatch):
    wide = ["latent_dim=8192", "net.widths=[4]"]
    covariances = 2 * 4 * 8192**2
    monkeypatch.setattr("aejax.training.plan.memory", lambda: covariances)
    with pytest.raises(
        InputError, match=r"the covariance of codes 51\d\.\d MiB.*less: latent_dim, or evaluate\.groups wit"
    ):
        check_memory(job(*wide))
    check_memory(job(*wide, "evaluate.groups=[reconstruction]"))


@pytest.mark.slow
def test_memory_that_is_used_up_is_told_in_one_line(command, monkeypatch, tmp_path):
    def full(lanes, *rest):
        if lanes[0].job.experiment.batch_size == 7:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 36668824720 bytes.\nMore")
        return train(lanes, *rest)

    train = group.train
    monkeypatch.setattr("aejax.runs.group.train", full)
    words = ["steps=2", "log_points=1", "net.widths=[4]", "track=off", "figures=false"]
    words.append("evaluate.groups=[reconstruction]")
    told = "takes more memory than there is (Out of memory allocating 36668824720 bytes); reduce latent_dim, net"
    status, _, err = command(*words, "batch_size=7", "hydra.run.dir=r")
    assert (status, err.count("\n")) == (2, 1) and err.startswith(f"aejax: {told}")
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    assert record["status"] == "failed" and record["error"].startswith(told)
    status, out, err = command("-m", *words, "batch_size=7,8", "hydra.sweep.dir=s")
    assert (status, "Traceback" in err, "1 completed, 1 failed" in out) == (1, False, True)
    assert f"failed, 1 job: {told}" in out


def test_limits_of_control_groups_are_memory(tmp_path):
    (tmp_path / "v2" / "slice" / "job").mkdir(parents=True)
    (tmp_path / "v1").mkdir()
    groups, trees = tmp_path / "cgroup", {"": (tmp_path / "v2", "max"), "memory": (tmp_path / "v1", "limit")}
    assert limits(groups, trees) == []
    groups.write_text("9:name=systemd:/\n4:cpu,memory:/gone\n0::/slice/job\n")
    (tmp_path / "v2" / "slice" / "job" / "max").write_text("max\n")
    (tmp_path / "v2" / "slice" / "max").write_text("7000\n")
    (tmp_path / "v1" / "limit").write_text("9000\n")
    assert limits(groups, trees) == [9000, 7000]
    assert 2**27 < host_memory() < 2**50
