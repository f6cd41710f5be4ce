"""A batch that several devices split trains as on one: of this process, or of several on loopback."""

import json
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import job, results, run, state_of
from omegaconf import OmegaConf

from aejax.base.errors import InputError
from aejax.base.processes import loss, sent, together
from aejax.cli.resume import main as resume
from aejax.runs import contents, programs
from aejax.runs.folder import Run, flat
from aejax.runs.recorded import Recorded
from aejax.training.lanes import Layout
from aejax.training.mesh import Mesh
from aejax.training.plan import groups, layout_of

needs_two = pytest.mark.skipif(len(jax.devices()) < 2, reason="there is one device")
SGD = ["optim=sgd", "optim.lr=0.01", "log_points=3", "evaluate.groups=[reconstruction]"]  # Adam enlarges rounding
STREAMED = ["data=digits", "model=cvae", "net.widths=[8]", "epochs=1", "batch_size=32", "data.device_bytes=60000"]
NORMED = ["data=letters", "net.widths=[8]", "net.norm=batch", "steps=40", "batch_size=10", "noise=flip"]
CONV = ["data=digits", "data.limit=120", "model=conv_vae", "net.widths=[4,4]", "net.norm=batch", "batch_size=20"]
QUICK = ["data=letters", "net.widths=[8]", "batch_size=10", "steps=40", "log_points=8", "checkpoint.seconds=0"]
LONG = ["steps=1000", "log_points=20"]
QUICK += ["figures=false", "track=off", "evaluate.groups=[reconstruction]"]


def are_close(found, expected):
    """Asserts that two Runs have the same numbers but for rounding."""
    for one, other in zip(found.history, expected.history, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    params = flat(found.params)
    for name, array in flat(expected.params).items():
        np.testing.assert_allclose(params[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    assert found.metrics["recon/mse"] == pytest.approx(expected.metrics["recon/mse"], rel=1e-4)


@pytest.mark.slow
@needs_two
@pytest.mark.parametrize(
    "words",
    [NORMED, STREAMED, pytest.param([*CONV, "steps=10"], marks=pytest.mark.exhaustive)],
    ids=["dense", "stream", "conv"],
)
def test_two_devices_that_split_each_batch_train_as_one(tmp_path, words):
    one, two = (run(tmp_path / str(data), *SGD, *words, f"mesh.data={data}") for data in (1, 2))
    assert (one.record["lanes"]["data"], two.record["lanes"]["data"]) == (1, 2)
    assert two.record["id"] == one.record["id"]
    are_close(two, one)


@pytest.mark.slow
@needs_two
@pytest.mark.parametrize("words", [QUICK, STREAMED])
def test_the_program_splits_the_batch_and_adds_the_gradients(words):
    each = job(*words)
    size, pixels = each.experiment.batch_size, each.experiment.form.pixels
    whole, part = f"f32[{size},{pixels}]", f"f32[{size // 2},{pixels}]"
    for data in (1, 2):
        layout = Layout(1, "map", data=data)
        training, _ = programs.Training.compiled([each], layout, programs.Inputs.of([each], layout))
        for text in (program.as_text() for program in training.pieces.values()):
            assert ("all-reduce" in text, part in text, whole in text) == (data == 2, data == 2, data == 1)


@needs_two
def test_the_lanes_of_a_sweep_share_the_devices_that_are_left():
    jobs = [job(*QUICK, f"seed={seed}", "mesh.data=2") for seed in range(3)]
    assert layout_of(jobs) == Layout(3, "vmap", len(jax.devices()) // 2, 2)
    assert layout_of(jobs, "map", 1024) == Layout(3, "map", len(jax.devices()) // 2, 2)
    assert groups([*jobs, job(*QUICK)]) == [[0, 1, 2], [3]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mesh.data=2", "batch_size=9"], r"^mesh\.data=2: must divide batch_size=9; possible on .* devices: 1"),
        (["mesh.data=4096", "batch_size=4096"], r"^mesh\.data=4096: must be at most the number of devices, \d+$"),
        (["mesh.data=2", "model=pca"], r"^mesh\.data=2: model=pca is fitted in closed form .* mesh\.data=1$"),
        (["mesh.processes=2", "mesh.data=2"], r"^mesh\.processes=2: must be 1 in a sweep, from Python"),
    ],
)
def test_a_mesh_that_does_not_fit_is_told(words, told):
    each = job("data=digits", "data.limit=4096", *words) if "batch_size=4096" not in words else None
    mesh = each.mesh if each else Mesh(4096, 1, None, None)
    with pytest.raises(InputError, match=told):
        mesh.check(each.titled if each else job(*QUICK).experiment)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mesh.data=0"], "mesh.data=0: must be a whole number at least 1"),
        (["mesh.data=3", "mesh.processes=2"], "mesh.data=3: must be a multiple of mesh.processes=2"),
        (["mesh.process=1"], "mesh.process=1: must be below mesh.processes=1, from 0 on"),
        (["mesh.data=2", "mesh.processes=2", "mesh.address=here"], "mesh.address=here: must be host:port of process 0"),
        (["mesh.data=2", "mesh.processes=2", "-m"], "mesh.processes=2: must be 1 for a sweep"),
        (["mesh.size=2"], "mesh.size: no such key"),
    ],
)
def test_a_wrong_mesh_gets_one_line_and_leaves_nothing(command, tmp_path, words, told):
    status, out, err = command(*QUICK, *words)
    assert (status, out) == (2, "") and err.startswith(f"aejax: {told}") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_several_processes_train_one_does_not_resume(command, tmp_path):
    recorded = {"mode": "RUN", "overrides": {"task": ["mesh.data=2", "mesh.processes=2"], "hydra": []}}
    recorded["runtime"] = {"cwd": str(tmp_path), "config_sources": []}
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": recorded}))
    (tmp_path / ".hydra" / "config.yaml").write_text(json.dumps({"data": {"_target_": "x.Y"}}))
    status, _, err = command(main=lambda: resume([str(tmp_path)]))
    told = "was trained by several processes, and this would start one; repeat the command in each, with hydra.run.dir="
    assert status == 2 and err == f"aejax: {tmp_path}: {told}{tmp_path}\n"


def test_a_run_from_before_a_mesh_was_one_device(tmp_path):
    each, path = job(*QUICK), tmp_path / "config.yaml"
    path.write_text(OmegaConf.to_yaml({key: each.settings[key] for key in each.settings if key not in contents.LATER}))
    again = Recorded(tmp_path, contents.settings(path), each.choices, tmp_path).job()
    assert (again.mesh, again.run_id) == (each.mesh, each.run_id)


def test_an_address_that_is_in_use_is_told(command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        mesh = ["mesh.data=2", "mesh.processes=2", "mesh.process=0", f"mesh.address={address}"]
        status, _, err = command(*QUICK, *mesh)
    told = f"aejax: mesh.address={address}: process 0 cannot listen there (Address already in use); must be a free port"
    assert status == 2 and err.startswith(told) and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_process_alone_tells_itself():
    assert sent(b"abc") == b"abc"
    assert loss(ValueError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer")) is None
    with pytest.raises(KeyError), together("a step"):
        raise KeyError


def start(folder, *words, second=()):
    """Two processes of one run, which meet on loopback; the `second` gets more words."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"mesh.address=127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "aejax", *QUICK, "mesh.data=2", "mesh.processes=2", address, "hydra.run.dir=run"]
    folder.mkdir(exist_ok=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    first = subprocess.Popen([*command, "mesh.process=0", *words], cwd=folder, **pipes)
    return first, subprocess.Popen([*command, "mesh.process=1", *words, *second], cwd=folder, **pipes)


def ended(started):
    """The status, stdout without the line of JAX's own, and stderr of each process."""
    told = []
    try:
        for process in started:
            out, err = (text.decode() for text in process.communicate(timeout=200))
            lines = [line for line in out.splitlines() if line and not line.startswith("[Gloo]")]
            told.append((process.returncode, lines, err.splitlines()))
    finally:
        for process in started:
            process.kill()
    return told


def await_checkpoint(folder, process):
    """Returns once the run has a checkpoint."""
    while not list(folder.glob("run/checkpoint-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_reach_the_numbers_of_one_and_one_of_them_leaves_the_run(tmp_path):
    words = [*SGD, "log_points=8"]
    first, second = ended(start(tmp_path / "two", *words))
    assert first[0] == 0 and second == (0, [], [])
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["run"]
    two, one = Run.read(tmp_path / "two" / "run"), run(tmp_path / "one", *QUICK, *words)
    assert two.record["lanes"] == {"count": 1, "how": "map", "devices": 1, "data": 2, "processes": 2}
    assert two.record["id"] == one.record["id"]
    are_close(two, one)
    before = state_of(two.path)
    first, second = ended(start(tmp_path / "two", *words))
    assert "finished before" in first[1][0] and (first[0], second) == (0, (0, [], []))
    assert state_of(two.path) == before


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_they_go_on_to_the_same_bits(tmp_path):
    whole = start(tmp_path / "whole", *LONG)
    assert [each[0] for each in ended(whole)] == [0, 0]
    cut = start(tmp_path / "cut", *LONG)
    await_checkpoint(tmp_path / "cut", cut[0])
    cut[1].send_signal(signal.SIGTERM)
    first, second = ended(cut)
    assert (first[0], second) == (130, (130, [], []))
    assert first[1][-1].startswith("interrupted; to go on: the same command in every process, with hydra.run.dir=")
    record = json.loads((tmp_path / "cut" / "run" / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert [each[0] for each in ended(start(tmp_path / "cut", *LONG))] == [0, 0]
    assert results(tmp_path / "cut" / "run") == results(tmp_path / "whole" / "run")


@pytest.mark.slow
def test_processes_that_disagree_or_lose_another_get_one_line(tmp_path):
    told = "aejax: mesh.processes=2: process 1 has other settings or data than process 0; all must be the same command"
    for status, _, err in ended(start(tmp_path, second=["seed=5"])):
        assert (status, len(err)) == (2, 1) and err[0].startswith(told)
    assert not list(tmp_path.iterdir())
    first, second = start(tmp_path, *LONG)
    await_checkpoint(tmp_path, first)
    second.kill()
    (status, _, err), _ = ended((first, second))
    assert (status, len(err)) == (2, 1)
    assert err[0].startswith("aejax: mesh.processes=2: another process has ended (")
