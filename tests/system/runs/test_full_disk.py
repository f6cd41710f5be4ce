"""A disk that fills: one line that says what is kept and how to go on, and what goes on ends as it would have."""

import errno
import json
import shutil
import subprocess
import sys

import pytest
from conftest import called, results

import aejax.cli.evaluate
import aejax.cli.resume
from aejax.base.errors import InputError, NoSpace, is_full
from aejax.base.files import write_whole
from aejax.runs.folder import Run
from aejax.runs.record import NotBegun

QUICK = ["steps=6", "log_points=2", "net.widths=[4]", "track=off", "figures=false", "checkpoint.seconds=0"]
QUICK += ["evaluate.groups=[reconstruction]"]
SWEEP = ["-m", "model=ae,vae", *QUICK, "hydra.sweep.dir=s"]


@pytest.fixture
def filling(monkeypatch):
    """From a file whose path ends so on, no file of a run or a ledger can be written."""

    def fill(ending):
        full = []

        def write(path, *given, **named):
            full.extend([True] if str(path).endswith(ending) else [])
            if full:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            write_whole(path, *given, **named)

        for module in ("runs.folder", "sweeps.ledger", "config.written", "training.checkpoint"):
            monkeypatch.setattr(f"aejax.{module}.write_whole", write)

    return fill


def resumed(folder):
    return called(lambda: aejax.cli.resume.main([folder]))


@pytest.mark.parametrize("ending", [pytest.param("s/1/run.json", marks=pytest.mark.slow), "1/.hydra/hydra.yaml"])
def test_a_sweep_says_what_is_finished_and_goes_on(command, tmp_path, filling, ending):
    filling(ending)
    status, out, err = command(*SWEEP)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("aejax: no space left on the disk (") and f"{ending})" in err
    assert err.endswith("; 1 of 2 runs finished; to go on: python -m aejax.resume s, once there is some\n")
    assert "Error executing job" not in out + err


@pytest.mark.slow
def test_a_sweep_goes_on_to_the_same_bits_once_there_is_space(command, tmp_path, monkeypatch):
    failed = OSError(errno.ENOSPC, "No space left on device", "s/1/metrics.json")
    with monkeypatch.context() as patch:
        written = Run.write_metrics

        def write(run, metrics):
            if run.path.name == "1":
                raise failed
            written(run, metrics)

        patch.setattr(Run, "write_metrics", write)
        status, _, err = command(*SWEEP)
    assert status == 1 and "(s/1/metrics.json); 1 of 2 runs finished" in err
    assert resumed("s") == 0
    assert [each["status"] for each in json.loads((tmp_path / "s" / "sweep.json").read_text())["jobs"]] == (
        ["completed"] * 2
    )
    again = [word.replace("dir=s", "dir=t") for word in SWEEP]
    assert command(*again)[0] == 0
    assert results(tmp_path / "s" / "1") == results(tmp_path / "t" / "1")


def test_a_run_says_how_to_go_on_and_does(command, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "r/params.safetensors")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_params", full)
        status, out, err = command(*QUICK, "hydra.run.dir=r")
    told = f"no space left on the disk (r/params.safetensors); to go on: python -m aejax.resume {tmp_path}/r, once"
    assert (status, err) == (1, f"aejax: {told} there is some\n")
    assert "Error executing job" not in out
    assert resumed("r") == 0
    assert Run.read(tmp_path / "r").record["status"] == "completed"


@pytest.mark.slow
def test_a_finished_sweep_needs_no_space_and_an_unfinished_one_goes_on_later(command, tmp_path, monkeypatch):
    assert command(*SWEEP)[0] == 0
    ledger = json.loads((tmp_path / "s" / "sweep.json").read_text())
    with monkeypatch.context() as patch:
        patch.setattr("aejax.runs.destination.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
        status, out, err = command("s", main=lambda: aejax.cli.resume.main(["s"]))
        assert (status, err) == (0, "") and "2 completed" in out and "failed" not in out
        assert json.loads((tmp_path / "s" / "sweep.json").read_text()) == ledger
        shutil.rmtree(tmp_path / "s" / "1")
        status, out, err = command("s", main=lambda: aejax.cli.resume.main(["s"]))
        assert (status, err.count("\n")) == (1, 1)
        assert err.startswith("aejax: no space left on the disk (hydra.sweep.dir=")
        assert err.endswith(f"; to go on: python -m aejax.resume {tmp_path}/s, once there is some\n")
        assert json.loads((tmp_path / "s" / "sweep.json").read_text()) == ledger and not (tmp_path / "s" / "1").exists()
    assert resumed("s") == 0


@pytest.mark.slow
def test_a_job_that_fails_is_told_in_the_summary_only(command):
    status, out, err = command("-m", "model=ae,beta_vae", "latent_dim=2", "batch_size=27,28", *QUICK[:-1],
                               "evaluate.groups=[reconstruction]", "model=ae", "hydra.sweep.dir=s")  # fmt: skip
    assert (status, err) == (1, "")
    assert "1 completed, 1 failed" in out and "failed, 1 job: batch_size=28" in out


def test_what_is_a_full_disk():
    for number in (errno.ENOSPC, errno.EDQUOT):
        assert is_full(OSError(number, "x")) and is_full(NoSpace("x"))
    try:
        raise NotBegun("x") from OSError(errno.ENOSPC, "x")
    except InputError as error:
        assert is_full(error)
    for other in (OSError(errno.EACCES, "x"), InputError("x"), ValueError(errno.ENOSPC)):
        assert not is_full(other)


@pytest.mark.slow
@pytest.mark.parametrize("track", ["off", "offline"])
def test_a_disk_that_is_really_full(tmp_path, track):
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk]).returncode
    ):
        pytest.skip("a small disk needs the right to mount one")
    fill = "import aejax.runs.group as g; f = g._finish; from aejax.cli import train\n"
    fill += "def full(*given):\n    with open('disk/filler', 'wb', 0) as file:\n        try:\n"
    fill += "            while True: file.write(bytes(4096))\n        except OSError: pass\n    f(*given)\n"
    fill += "g._finish = full; train.main()"
    words = [word if word != "track=off" else f"track={track}" for word in SWEEP[:-1]]
    try:
        done = subprocess.run(
            [sys.executable, "-c", fill, *words, "hydra.sweep.dir=disk/s"], cwd=tmp_path, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "no space left on the disk" in done.stderr and "of 2 runs finished; to go on" in done.stderr
        (disk / "filler").unlink()
        again = [sys.executable, "-m", "aejax.resume", "disk/s"]
        again = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True)
        assert (again.returncode, again.stderr) == (0, "") and "2 completed" in again.stdout
    finally:
        subprocess.run(["umount", disk], check=True)
