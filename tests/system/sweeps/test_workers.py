"""Programs that are trained by processes of their own: the worker, and the launcher that starts several of them."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import called, results

from aejax.cli import worker
from aejax.cli.train import main
from aejax.runs.folder import LEDGER, Run
from aejax.sweeps.outcome import Outcome, place_of
from aejax.sweeps.worker import Program
from aejax.sweeps.workers import Workers

SWEEP = ["-m", "model=ae,vae", "seed=0,1", "steps=40", "log_points=8", "net.widths=[5]", "figures=false", "track=off"]
SWEEP += ["evaluate.groups=[reconstruction]", "hydra.sweep.dir=s"]

# Not imported here: its logging keeps the streams of the test that comes first.
IS_MISSING = importlib.util.find_spec("submitit") is None
needs_submitit = pytest.mark.skipif(IS_MISSING, reason="submitit is not installed: pip install 'aejax[slurm]'")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a sweep by the launcher of this process."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert called(main, *SWEEP) == 0
    return folder / "s"


@pytest.fixture
def planned(whole, tmp_path, monkeypatch):
    """A copy of which the second program, of jobs 2 and 3, has not been trained."""
    shutil.copytree(whole, tmp_path / "s")
    for number in "23":
        for path in (tmp_path / "s" / number).iterdir():
            if path.is_file():
                path.unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "s"


def work(*words):
    """The exit status of a worker in this process."""
    return called(lambda: worker.main(list(map(str, words))))


def test_a_worker_trains_its_program_to_the_bits_of_the_sweep(planned, whole, capsys):
    before = (planned / "0" / "run.json").read_bytes()
    assert work(planned, 2) == 0
    out, err = capsys.readouterr()
    assert "program 2/2: 2 lanes by vmap" in out and not err
    for number in "23":
        assert results(planned / number) == results(whole / number)
        record = Run.read(planned / number).record
        assert record["name"] == Run.read(whole / number).record["name"]
    assert (planned / "0" / "run.json").read_bytes() == before
    assert Outcome.read(planned, 2) == Outcome("vmap", Program(planned, 2).devices, {}, ended=True)
    assert work(planned, 2) == 0
    assert capsys.readouterr().out == "program 2: all of its runs are finished\n"


def test_a_layout_that_is_undecided_is_decided_by_the_worker_and_kept(planned):
    content = json.loads((planned / LEDGER).read_text())
    content["programs"][1] |= {"how": None, "devices": 0}
    (planned / LEDGER).write_text(json.dumps(content))
    assert Program(planned, 2).how is None
    assert work(planned, 2) == 0
    assert (Program(planned, 2).how, Program(planned, 2).devices) == ("vmap", Outcome.read(planned, 2).devices)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("none", 1), "none: holds no sweep.json; name the folder of a sweep"),
        (("s", 0), "program 0: does not exist; must be from 1 to 2"),
        (("s", 3), "program 3: does not exist; must be from 1 to 2"),
        (("s", "x"), "argument K: invalid int value: 'x'"),
    ],
)
def test_a_worker_without_a_program_is_refused_in_one_line(planned, capsys, words, told):
    assert work(*words) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_a_damaged_ledger_is_told(planned, capsys):
    (planned / LEDGER).write_text("{")
    assert work("s", 1) == 2
    assert "sweep.json: is damaged; python -m aejax.resume s plans the sweep again" in capsys.readouterr().err


@pytest.mark.slow
@needs_submitit
def test_the_device_of_a_worker_decides_whether_it_has_the_precision(tmp_path):
    words = [*SWEEP, "precision=tf32", "hydra/launcher=local"]
    done = subprocess.run([sys.executable, "-m", "aejax", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "failed, 4 jobs: precision=tf32: must be float32; a CPU computes in float32 (first:" in done.stdout


def test_a_job_that_would_be_another_run_fails_with_its_program(planned, capsys):
    path = planned / "3" / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("steps: 40", "steps: 41"))
    assert work("s", 2) == 1
    told = "job 3: would be another run than planned; its data or aejax have changed"
    assert f"aejax: job 2: {told}" in capsys.readouterr().err
    assert Outcome.read(planned, 2).errors == {2: told, 3: told}
    assert Program(planned, 2).how == "vmap"  # as planned
    assert not (planned / "2" / "run.json").exists()


class LateJob:
    """A job of submitit's that has ended before its outcome is seen, as on a file system that hosts share."""

    def __init__(self, folder, delay, status, state="ENDED"):
        self.begun, self.folder, self.delay, self.status, self.state = time.monotonic(), folder, delay, status, state

    def done(self, force_check=False):
        if time.monotonic() - self.begun > self.delay:
            Outcome("vmap", 2, {}, ended=True).write(self.folder, 1)
        return True

    def result(self):
        return self.status

    def stderr(self):
        return "Killed"


@needs_submitit
@pytest.mark.parametrize(("status", "failure"), [(0, None), (-9, "its worker ended without a result (ENDED): Killed")])
def test_an_outcome_that_is_seen_late_is_waited_for_where_the_worker_came_to_its_end(
    planned, monkeypatch, status, failure
):
    workers = Workers("local", {}, slots=1, retries=0, programs=1, detach=False, confined=False)
    job, told, said = LateJob(planned, 1.2, status), [], []
    monkeypatch.setattr(Workers, "_submitted", lambda self, folder, numbers: [job])
    workers.train(planned, [1], lambda number, why: told.append((number, why)), said.append)
    assert told == [(1, failure)]
    assert said[-1] == "programs: 0 queued, 0 running, " + ("0 finished, 1 failed" if failure else "1 finished")


@needs_submitit
@pytest.mark.parametrize(("state", "tried"), [("UNKNOWN", 2), ("RUNNING", 2), ("CANCELLED by 0", 1)])
def test_a_job_that_the_scheduler_loses_is_submitted_again_and_one_that_is_cancelled_is_not(
    planned, monkeypatch, state, tried
):
    monkeypatch.setattr("aejax.sweeps.watched.LOST", 1.0)
    workers = Workers("local", {}, slots=1, retries=1, programs=1, detach=False, confined=False)
    submitted, told = [], []

    def submit(self, folder, numbers):
        submitted.append(LateJob(planned, 1e6, -9, state))
        submitted[-1].done = lambda: state != "UNKNOWN"
        return submitted[-1:]

    monkeypatch.setattr(Workers, "_submitted", submit)
    workers.train(planned, [1], lambda number, why: told.append(why), lambda line: None)
    assert told == [f"its worker ended without a result ({state}): Killed"] and len(submitted) == tried


@needs_submitit
@pytest.mark.slow
def test_processes_beside_each_other_leave_what_one_process_leaves(whole, tmp_path):
    """With one worker at a time, so that the layout is the same."""
    words = [*SWEEP, "hydra/launcher=local", "hydra.launcher.slots=1"]
    done = subprocess.run([sys.executable, "-m", "aejax", *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 jobs -> 2 programs of 2 lanes\n" in done.stdout and "4 completed" in done.stdout
    for number in "0123":
        assert results(tmp_path / "s" / number) == results(whole / number)
    ledger = [json.loads((folder / LEDGER).read_text()) for folder in (tmp_path / "s", whole)]
    assert ledger[0]["programs"] == ledger[1]["programs"]


@needs_submitit
@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again_and_goes_on(whole, tmp_path):
    words = [*SWEEP, "hydra/launcher=local", "hydra.launcher.slots=1"]
    running = subprocess.Popen(
        [sys.executable, "-m", "aejax", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        lock = place_of(tmp_path / "s", 1) / ".lock"
        while running.poll() is None and not lock.exists():
            time.sleep(0.05)
        killed = _worker_of(tmp_path / "s", 1)
        os.kill(killed, signal.SIGKILL)
        out, err = running.communicate(timeout=200)
    finally:
        running.kill()
        running.communicate()
    assert (running.returncode, err) == (0, "")
    assert "program 1: its worker ended early" in out and "it is started again" in out
    for number in "0123":
        assert results(tmp_path / "s" / number) == results(whole / number)


def _worker_of(sweep, number):
    """The id of the process that trains a program."""
    for folder in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{folder}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if words[1:3] == ["-m", "aejax.worker"] and words[3:5] == [str(sweep), str(number)]:
            return int(folder)
    raise AssertionError("there is no worker")


@needs_submitit
@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("hydra.launcher.slots=0", "hydra.launcher.slots=0: must be at least 1"),
        ("hydra.launcher.retries=-1", "hydra.launcher.retries=-1: must be at least 0"),
        ("hydra.launcher.programs=0", "hydra.launcher.programs=0: must be at least 1"),
        ("hydra.launcher.slots=x", "hydra.launcher.slots=x: Value 'x' of type 'str' could not be converted to Integer"),
        ("hydra.launcher.partition=gpu", "hydra.launcher.partition: no such key"),
        ("hydra/launcher=slurm", "hydra/launcher=slurm: there is no Slurm here (no srun); use hydra/launcher=local"),
    ],
)
def test_a_launcher_that_cannot_be_is_refused_and_leaves_nothing(command, tmp_path, monkeypatch, word, told):
    monkeypatch.setattr("aejax.sweeps.workers.shutil.which", lambda name: None)
    words = [*SWEEP, *(["hydra/launcher=local"] if "launcher." in word else []), word]
    status, _, err = command(*words)
    assert status == 2 and err.startswith(f"aejax: {told}") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
