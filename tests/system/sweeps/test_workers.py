"""Programs that are trained by processes of their own: the worker, and the launcher that starts several of them."""

import contextlib
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

from aejax.base.files import locked
from aejax.cli import worker
from aejax.cli.train import main
from aejax.runs.folder import LEDGER, Run
from aejax.sweeps.local import Local, shares
from aejax.sweeps.outcome import Outcome, place_of
from aejax.sweeps.worker import Program
from aejax.sweeps.workers import Workers

SWEEP = ["-m", "model=ae,vae", "seed=0,1", "steps=40", "log_points=8", "net.widths=[5]", "figures=false", "track=off"]
SWEEP += ["evaluate.groups=[reconstruction]", "hydra.sweep.dir=s"]


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
        (("s/sweep.json", 1), "s/sweep.json: is no folder; name the folder of a sweep"),
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
    assert capsys.readouterr().err == f"aejax: job 2, 3: {told}\n"
    assert Outcome.read(planned, 2).errors == {2: told, 3: told}
    assert Program(planned, 2).how == "vmap"  # as planned
    assert not (planned / "2" / "run.json").exists()


class LateJob:
    """A worker that has ended before its outcome is seen, as on a file system that hosts share."""

    job_id = "1"

    def __init__(self, folder, delay, status, state="ENDED"):
        self.begun, self.folder, self.delay, self.ended, self.state = time.monotonic(), folder, delay, status, state

    def is_done(self, ask):
        if time.monotonic() - self.begun > self.delay:
            Outcome("vmap", 2, {}, ended=True).write(self.folder, 1)
        return self.state != "UNKNOWN"

    def status(self):
        return self.ended

    def stderr(self):
        return "Killed"


@pytest.mark.parametrize(("status", "failure"), [(0, None), (-9, "its worker ended without a result (ENDED): Killed")])
def test_an_outcome_that_is_seen_late_is_waited_for_where_the_worker_came_to_its_end(
    planned, monkeypatch, status, failure
):
    workers = Workers(Local(1, confined=False), retries=0, programs=1)
    job, told, said = LateJob(planned, 1.2, status), [], []
    monkeypatch.setattr(Local, "started", lambda self, folder, numbers: [job])
    workers.train(planned, [1], lambda number, why: told.append((number, why)), said.append)
    assert told == [(1, failure)]
    assert said[-1] == "programs: 0 queued, 0 running, " + ("0 finished, 1 failed" if failure else "1 finished")


@pytest.mark.parametrize(("state", "tried"), [("UNKNOWN", 2), ("RUNNING", 2), ("CANCELLED by 0", 1)])
def test_a_job_that_the_scheduler_loses_is_submitted_again_and_one_that_is_cancelled_is_not(
    planned, monkeypatch, state, tried
):
    monkeypatch.setattr("aejax.sweeps.watched.LOST", 1.0)
    submitted, told = [], []

    def start(self, folder, numbers):
        submitted.append(LateJob(planned, 1e6, -9, state))
        return submitted[-1:]

    monkeypatch.setattr(Local, "started", start)
    workers = Workers(Local(1, confined=False), retries=1, programs=1)
    workers.train(planned, [1], lambda number, why: told.append(why), lambda line: None)
    assert told == [f"its worker ended without a result ({state}): Killed"] and len(submitted) == tried


def test_the_machine_is_divided_among_the_workers(monkeypatch):
    monkeypatch.setattr("aejax.sweeps.local.os.sched_getaffinity", lambda process: {4, 5, 6, 7, 9})
    monkeypatch.setattr("aejax.sweeps.local.gpus", list)
    assert [share.cores for share in shares(2)] == [(4, 6, 9), (5, 7)]
    assert [share.devices for share in shares(7)] == [1] * 7 and shares(7)[6].cores == (5,)
    local = Local(3, confined=False)
    assert (local.begin(1), local.room()) == (5, 1)  # one program has the whole machine
    assert (local.begin(9), local.room()) == (1, 3)
    assert (local.begin(0), local.room()) == (5, 1)
    monkeypatch.setattr("aejax.sweeps.local.gpus", lambda: ["0", "1", "2"])
    assert [share.gpus for share in shares(2)] == [("0", "2"), ("1",)]
    assert [share.gpus for share in shares(8)] == [("0",), ("1",), ("2",)]  # a GPU is for one


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


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again_and_goes_on(whole, tmp_path):
    words = [*SWEEP, "hydra/launcher=local", "hydra.launcher.slots=1"]
    with started(tmp_path, *words) as running:
        os.kill(worker_at_work(running, tmp_path / "s"), signal.SIGKILL)
        out, err = running.communicate(timeout=200)
    assert (running.returncode, err) == (0, "")
    assert "program 1: its worker ended early (killed by SIGKILL, perhaps for lack of memory); it is started" in out
    for number in "0123":
        assert results(tmp_path / "s" / number) == results(whole / number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_no_worker_outlives_the_launcher_and_the_sweep_goes_on(whole, tmp_path, number):
    words = ["hydra/launcher=local", "hydra.launcher.slots=1", "checkpoint.seconds=0"]
    with started(tmp_path, *SWEEP, *words) as running:
        worker = worker_at_work(running, tmp_path / "s")
        running.send_signal(number)
        out, _ = running.communicate(timeout=100)
    for _ in range(200):
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the worker goes on")
    assert running.returncode in (130, -signal.SIGKILL)
    assert number == signal.SIGKILL or "to go on: python -m aejax.resume s" in out
    done = subprocess.run([sys.executable, "-m", "aejax.resume", "s"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "4 completed" in done.stdout
    for number in "0123":
        assert results(tmp_path / "s" / number) == results(whole / number)


@pytest.mark.slow
def test_a_worker_that_is_killed_too_often_is_told_with_the_way_on(tmp_path):
    words = [*SWEEP, "model=ae", "steps=100000", "hydra/launcher=local", "hydra.launcher.retries=0"]
    with started(tmp_path, *words) as running:
        os.kill(worker_at_work(running, tmp_path / "s"), signal.SIGKILL)
        out, _ = running.communicate(timeout=100)
    assert running.returncode == 1
    why = "its worker ended without a result (killed by SIGKILL, perhaps for lack of memory)"
    assert f"program 1: {why}; logs in s/.programs/logs; to go on: python -m aejax.resume s\n" in out
    assert "to compare them" not in out


@pytest.mark.slow
def test_a_worker_waits_for_another_that_trains_its_program(planned, tmp_path):
    words = [sys.executable, "-m", "aejax.worker", "s", "2"]
    with locked(place_of(planned, 2)):
        refused = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert refused.returncode == 2
        assert refused.stderr == "aejax: program 2: another process is training it\n"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        waiting = subprocess.Popen([*words, "--attached"], cwd=tmp_path, **pipes)
        try:
            assert waiting.stdout.readline() == "program 2: another process is training it; waiting\n"
        except BaseException:
            waiting.kill()
            raise
    with waiting:
        assert "program 2/2: 2 lanes" in waiting.stdout.read()
        assert waiting.wait() == 0


@contextlib.contextmanager
def started(folder, *words):
    """A command that trains; it ends with the context."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen([sys.executable, "-m", "aejax", *words], cwd=folder, **pipes)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def worker_at_work(launcher, sweep):
    """The id of the process that trains program 1, once it does."""
    while launcher.poll() is None and not (place_of(sweep, 1) / ".lock").exists():
        time.sleep(0.05)
    return _worker_of(sweep, 1)


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


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("hydra.launcher.slots=0", "hydra.launcher.slots=0: must be at least 1"),
        ("hydra.launcher.retries=-1", "hydra.launcher.retries=-1: must be at least 0"),
        ("hydra.launcher.programs=0", "hydra.launcher.programs=0: must be at least 1"),
        ("hydra.launcher.slots=x", "hydra.launcher.slots=x: Value 'x' of type 'str' could not be converted to Integer"),
        ("hydra.launcher.partition=gpu", "hydra.launcher.partition: no such key"),
        ("hydra.launcher.detach=true", "hydra.launcher.detach: no such key; only with hydra/launcher=slurm; "),
        ("+hydra.launcher.detach=true", "hydra.launcher.detach: no such key; known: programs, retries, slots"),
        (
            "mesh.data=2",
            "mesh.data=2: must be at most 1, the devices of a worker of hydra/launcher=local; "
            "hydra.launcher.slots=1 gives it all",
        ),
        ("hydra/launcher=slurm", "hydra/launcher=slurm: there is no Slurm here (no srun); use hydra/launcher=local"),
    ],
)
def test_a_launcher_that_cannot_be_is_refused_and_leaves_nothing(command, tmp_path, monkeypatch, word, told):
    monkeypatch.setattr("aejax.sweeps.slurm.shutil.which", lambda name: None)
    monkeypatch.setattr("aejax.sweeps.local.gpus", list)
    monkeypatch.setattr("aejax.sweeps.local.os.sched_getaffinity", lambda process: {0, 1})
    words = [*SWEEP, *([] if "hydra/launcher" in word else ["hydra/launcher=local"]), "batch_size=2", word]
    status, _, err = command(*words)
    assert status == 2 and err.startswith(f"aejax: {told}") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
