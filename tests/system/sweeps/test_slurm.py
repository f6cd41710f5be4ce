"""A sweep by Slurm: the runs of a single process, whatever is killed, taken back or drained on the way."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm
from conftest import called, results

from aejax.cli.train import main
from aejax.runs.folder import LEDGER, Run

IS_MISSING = importlib.util.find_spec("submitit") is None
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(IS_MISSING, reason="submitit is not installed: pip install 'aejax[slurm]'"),
]

JOBS = ["model=ae,vae", "latent_dim=2,3", "steps=20000", "log_points=200", "net.widths=[5]", "figures=false"]
JOBS += ["noise=none,flip", "evaluate.groups=[reconstruction]", "track=off", "checkpoint.seconds=0"]
PROGRAMS, RUNS = 4, 8
WORDS = ["-m", "aejax", "-m", *JOBS, "hydra.sweep.dir=s", "hydra/launcher=slurm", "hydra.launcher.timeout_min=30"]
ONE_AT_A_TIME = "hydra.launcher.cpus_per_task=2"  # so that a worker has the devices of the single process


@pytest.fixture(scope="module")
def variables():
    with slurm.running() as running:
        yield running


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep by the launcher of this process."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert called(main, "-m", *JOBS, "hydra.sweep.dir=s") == 0
    return folder / "s"


@pytest.fixture
def launched(variables, tmp_path):
    """Starts the sweep with further words; ends the process with the test."""
    processes = []

    def launch(*words):
        command = [sys.executable, *WORDS, *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, cwd=tmp_path, env=variables, **pipes))
        return processes[-1]

    yield launch
    for process in processes:
        process.kill()
        process.communicate()
    subprocess.run(["scancel", "--user=root"], env=variables, check=True)


def ended(process):
    """What the process has said; it must have ended well."""
    out, err = process.communicate(timeout=400)
    assert (process.returncode, err) == (0, ""), out + err
    return out


def resumed(folder, variables):
    """What the command that resumes the sweep has said."""
    again = [sys.executable, "-m", "aejax.resume", "--trust", "s"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(again, cwd=folder, env=variables, **pipes) as process:
        return ended(process)


def same(folder, whole):
    """Asserts that a sweep has left the runs of another, to the bits."""
    for number in range(RUNS):
        assert results(folder / str(number)) == results(whole / str(number)), number


def training(folder, variables):
    """Waits until a worker has kept a checkpoint; the id of its Slurm job and that of its process."""
    for _ in range(600):
        listed = ["squeue", "-h", "-t", "RUNNING", "-o", "%F_%K"]
        jobs = subprocess.run(listed, env=variables, capture_output=True, text=True).stdout.split()
        words = ["pgrep", "-f", f"aejax.worker {folder} "]
        workers = subprocess.run(words, capture_output=True, text=True).stdout.split()
        if jobs and workers and list(folder.glob("checkpoint-*")):
            return jobs[0], int(workers[0])
        time.sleep(0.2)
    raise AssertionError("no worker trains")


def test_four_programs_over_the_slots_leave_the_runs_of_one_process(launched, whole, tmp_path):
    out = ended(launched(ONE_AT_A_TIME))
    assert f"{RUNS} jobs -> {PROGRAMS} programs of 2 lanes\n" in out and f"{RUNS} completed" in out
    same(tmp_path / "s", whole)
    ours, theirs = (json.loads((folder / LEDGER).read_text()) for folder in (tmp_path / "s", whole))
    assert ours["programs"] == theirs["programs"]


def test_nothing_is_lost_by_kills_of_workers_and_launcher_and_a_job_taken_back(launched, variables, whole, tmp_path):
    folder, first = tmp_path / "s", launched(ONE_AT_A_TIME, "hydra.launcher.retries=4")
    for _ in range(3):
        os.kill(training(folder, variables)[1], signal.SIGKILL)
        time.sleep(3)
    job, _ = training(folder, variables)
    first.kill()
    first.communicate()
    subprocess.run(["scontrol", "requeue", job], env=variables, check=True)
    out = resumed(tmp_path, variables)
    assert "waiting for" in out and f"{RUNS} completed" in out
    same(folder, whole)


def test_a_sweep_that_is_submitted_and_left_is_collected_later(launched, variables, whole, tmp_path):
    out = ended(launched(ONE_AT_A_TIME, "hydra.launcher.detach=true"))
    assert out.count("submitted as job") == PROGRAMS and "python -m aejax.resume --trust s" in out
    assert not list((tmp_path / "s").glob("*/metrics.json"))
    out = resumed(tmp_path, variables)
    assert "waiting for what was submitted before" in out and f"{RUNS} completed" in out
    same(tmp_path / "s", whole)
    assert f"{RUNS} completed" in ended(launched(ONE_AT_A_TIME, "hydra.launcher.detach=true"))  # nothing is left


def test_a_worker_whose_time_is_up_goes_on_in_another(launched, variables, whole, tmp_path):
    """By the signal that Slurm sends before the time is up, here by hand."""
    running = launched(ONE_AT_A_TIME)
    _, worker = training(tmp_path / "s", variables)
    started_by = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(started_by, signal.SIGUSR2)
    out = ended(running)
    assert "it is started again" not in out  # it was submitted again by its own
    same(tmp_path / "s", whole)


def test_a_program_fails_in_one_job_only(launched, tmp_path):
    done = launched("optim=sgd", "optim.clip=null", "optim.lr=1e-4,1e30,-1", "model=ae", "latent_dim=2", "noise=none")
    out, _ = done.communicate(timeout=300)
    assert done.returncode == 1 and "1 completed, 1 diverged, 1 failed" in out
    assert [Run.read(tmp_path / "s" / number).record["status"] for number in "01"] == ["completed", "diverged"]


def test_jobs_wait_for_a_drained_node(launched, variables, whole, tmp_path):
    node = ["scontrol", "update", "nodename=localhost"]
    subprocess.run([*node, "state=drain", "reason=test"], env=variables, check=True)
    try:
        running = launched(ONE_AT_A_TIME)
        time.sleep(15)
        assert running.poll() is None and not list((tmp_path / "s").glob("*/metrics.json"))
    finally:
        subprocess.run([*node, "state=resume"], env=variables, check=True)
    ended(running)
    same(tmp_path / "s", whole)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (
            "hydra.launcher.partition=none",
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
        ),
        ("hydra.launcher.gpus_per_node=1", "Invalid generic resource (gres) specification"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_scheduler(launched, word, told):
    done = launched(word)
    _, err = done.communicate(timeout=100)
    assert done.returncode == 2 and told in err and err.count("\n") == 1
