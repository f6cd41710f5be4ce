"""Sweeps that are cut off go on, and what is wrong with their folders is told."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import called, job, results, state_of

from aejax.base.errors import InputError
from aejax.base.files import locked
from aejax.base.interrupts import STOP
from aejax.cli.resume import command_of
from aejax.cli.train import main
from aejax.runs.folder import Run
from aejax.runs.record import Lane
from aejax.sweeps.ledger import Ledger
from aejax.training.lanes import Layout

SWEEP = ["model=ae,vae", "noise=flip", "seed=0,1", "steps=40", "log_points=8", "net.widths=[5]", "figures=false"]
SWEEP += ["evaluate.groups=[reconstruction]"]


def test_the_ledger_keeps_the_layout(tmp_path):
    jobs = {number: job(f"seed={number}") for number in range(4)}
    ledger = Ledger(tmp_path)
    ledger.note_plan(["seed=range(4)"], [([0, 2], Layout(2, "map", 1))])
    ledger.write()
    again = Ledger(tmp_path)
    planned = again.plan(jobs)
    assert planned[0] == ([0, 2], Layout(2, "map", 1))
    assert planned[1] == ([1, 3], Layout(2, "vmap"))
    assert again.devices == 1


def tried(folder, *words, status=0):
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert called(main, "-m", *SWEEP, "hydra.sweep.dir=s") == 0
    return folder / "s"


def wandb_rows(path):
    """The steps of the rows in a file of an offline W&B run."""
    told = subprocess.run(["wandb", "leet", "inspect", "--json", path], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in told.stdout.splitlines()]
    steps = [record["history"]["step"].get("num", 0) for record in records if "history" in record]
    return [int(step) for step in steps]


@pytest.mark.slow
def test_a_terminated_sweep_goes_on_to_the_same_bits(tmp_path, whole):
    slow = "import time; from aejax.cli import train; from aejax.runs.record import Lane; log = Lane.log\n"
    slow += "Lane.log = lambda *given: (time.sleep(0.1), log(*given)); train.main()"
    words = [sys.executable, "-c", slow, "-m", *SWEEP, "hydra.sweep.dir=s"]
    running = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while running.poll() is None and not (tmp_path / "s" / "2" / "run.json").exists():  # of the second program
            time.sleep(0.05)
        time.sleep(1)
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    assert (running.returncode, err) == (130, "")
    assert "interrupted; 2 of 4 runs finished; to go on: python -m aejax.resume s" in out
    before = {number: (tmp_path / "s" / number / "run.json").read_bytes() for number in "01"}
    told = tried(tmp_path, "aejax.resume", "s").stdout
    assert "2 finished before" in told
    assert {number: (tmp_path / "s" / number / "run.json").read_bytes() for number in "01"} == before
    for number in "0123":
        assert results(tmp_path / "s" / number) == results(whole / number)
        identity = Run.read(tmp_path / "s" / number).record["id"]
        [mirror] = (tmp_path / "s" / "wandb").glob(f"offline-run-*-{identity}/*.wandb")
        rows = wandb_rows(mirror)
        assert [step for step in rows if step % 5 == 0][:8] == list(range(5, 41, 5))
        assert len(rows) == len(set(rows))


@pytest.fixture
def again(tmp_path, whole):
    """A copy of the finished sweep."""
    shutil.copytree(whole, tmp_path / "s", symlinks=True)
    return tmp_path / "s"


def test_other_overrides_for_a_sweep_are_refused_with_the_difference(command, again):
    before = state_of(again)
    changed = [word.replace("steps=40", "steps=50") for word in SWEEP]
    status, _, err = command("-m", *changed, "hydra.sweep.dir=s")
    assert (status, err.count("\n")) == (2, 1)
    assert "hydra.sweep.dir=s: holds another sweep (recorded: steps=40; now: steps=50); choose another folder" in err
    status, _, err = command("-m", *reversed(SWEEP), "hydra.sweep.dir=s")
    assert status == 2 and "in another order" in err
    assert state_of(again) == before


@pytest.mark.slow
def test_a_deleted_run_is_trained_again_and_the_others_are_not_touched(command, again, whole):
    shutil.rmtree(again / "2")
    kept = {path: path.stat().st_mtime_ns for number in "013" for path in (again / number).rglob("*")}
    status, out, err = command("-m", *SWEEP, "hydra.sweep.dir=s")
    assert (status, err) == (0, "")
    assert "3 finished before" in out
    assert results(again / "2") == results(whole / "2")
    assert {path: path.stat().st_mtime_ns for number in "013" for path in (again / number).rglob("*")} == kept


PROGRAM = '{"overrides": [], "jobs": [], "programs": [{"jobs": [0], "how": "%s", "devices": %s}]}'
BROKEN = [
    "{",
    "[]",
    '{"overrides": 1, "jobs": [{}], "programs": []}',
    "",
    PROGRAM % ("vmap", '"2"'),
    PROGRAM % ("x", 1),
]


@pytest.mark.parametrize("content", BROKEN)
def test_a_damaged_ledger_is_set_aside_and_finished_runs_are_kept(command, again, content):
    (again / "sweep.json").write_text(content)
    status, out, err = command("-m", *SWEEP, "hydra.sweep.dir=s")
    assert (status, err) == (0, "")
    assert "sweep.json: is damaged; renamed to sweep.json.broken, finished runs are kept" in out
    assert "4 finished before" in out
    assert (again / "sweep.json.broken").read_text() == content
    assert [each["status"] for each in json.loads((again / "sweep.json").read_text())["jobs"]] == ["completed"] * 4


@pytest.mark.slow
def test_a_run_json_that_cannot_be_read_is_set_aside(again):
    (again / "1" / "run.json").write_text("{")
    told = tried(again.parent, "aejax.resume", "s").stdout
    assert "3 finished before" in told
    assert (again / "1" / "run.json.broken").read_text() == "{"
    assert Run.read(again / "1").record["status"] == "completed"


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("params.safetensors", 0.5),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("metrics.json", 0.5), ("history.csv", 0), ("codes.npz", 0.5))
        ),
    ],
)
def test_a_half_written_file_of_a_finished_run_is_set_aside_and_the_run_trained_again(
    command, again, whole, name, share
):
    path = again / "1" / name
    half = path.read_bytes()[: int(share * path.stat().st_size)]
    path.write_bytes(half)
    status, out, err = command("-m", *SWEEP, "hydra.sweep.dir=s")
    assert (status, err) == (0, "")
    assert "3 finished before" in out
    assert f"{name}: is damaged; renamed to {name}.broken, the run is trained again" in out
    assert path.with_name(f"{name}.broken").read_bytes() == half
    assert results(again / "1") == results(whole / "1")


@pytest.mark.parametrize("name", ["config.yaml", "hydra.yaml", "overrides.yaml"])
def test_settings_that_a_crash_left_empty_are_written_again(command, again, whole, name):
    kept = state_of(again)
    (again / "1" / ".hydra" / name).write_text("")
    status, out, err = command("-m", *SWEEP, "hydra.sweep.dir=s")
    assert (status, err) == (0, "") and "4 finished before" in out
    expected = (whole / "1" / ".hydra" / name).read_text().replace(str(whole), str(again)).splitlines()
    found = (again / "1" / ".hydra" / name).read_text().splitlines()
    assert [line for line in found if "cwd:" not in line] == [line for line in expected if "cwd:" not in line]
    assert (again / "1" / "run.json").stat().st_mtime_ns == kept[again / "1" / "run.json"][0]


@pytest.mark.parametrize("content", [None, "{"])
def test_other_overrides_are_refused_without_a_ledger_too(command, again, content):
    (again / "sweep.json").unlink()
    if content:
        (again / "sweep.json").write_text(content)
    before = state_of(again)
    changed = [word.replace("steps=40", "steps=50") for word in SWEEP]
    status, _, err = command("-m", *changed, "hydra.sweep.dir=s")
    assert (status, err.count("\n")) == (2, 1)
    assert "holds another sweep (recorded: steps=40; now: steps=50)" in err
    assert state_of(again) == before


def test_a_sweep_that_is_worked_on_lets_no_other_command_in(command, again):
    before = state_of(again)
    shutil.rmtree(again / "3")
    with locked(again):
        after = state_of(again)
        assert after.keys() < before.keys() | {again / ".lock"}
        for words in (["-m"], ["-m", "hydra/launcher=basic"]):
            status, _, err = command(*words, *SWEEP, "hydra.sweep.dir=s")
            assert (status, err) == (2, "aejax: s: another process is using it; choose another folder\n")
        status, _, err = command("seed=1", "noise=flip", "steps=40", "hydra.run.dir=s/3")
        assert (status, err) == (2, "aejax: s: another process is using it; choose another folder\n")
        assert state_of(again) == after


@pytest.mark.slow
def test_an_interrupt_while_runs_begin_leaves_those_that_have_not_unwritten(command, tmp_path, monkeypatch, whole):
    """On one thread runs begin while on another the command ends."""
    begin = Lane.begin

    def slowly(lane, layout):
        if lane.place.folder.name == "1":
            STOP.set()
        return begin(lane, layout)

    with monkeypatch.context() as patched:
        patched.setattr(Lane, "begin", slowly)
        status, out, _ = command("-m", *SWEEP, "hydra.sweep.dir=s")
    assert status == 130
    assert "interrupted; 0 of 4 runs finished; to go on: python -m aejax.resume s" in out
    found = [Run.read(path.parent).record for path in (tmp_path / "s").glob("*/run.json")]
    assert [(bool(each["id"]), each["status"]) for each in found] == [(True, "interrupted")] * 2
    assert command("-m", *SWEEP, "hydra.sweep.dir=s")[0] == 0
    for number in "0123":
        assert results(tmp_path / "s" / number) == results(whole / number)


def test_the_command_of_a_folder_is_what_hydra_wrote(whole, tmp_path):
    words, place = command_of(whole)
    assert words == ["-m", *SWEEP, f"hydra.sweep.dir='{whole}'"]
    assert place == whole.parent
    with pytest.raises(InputError, match="is a job of a sweep; name the folder of the sweep"):
        command_of(whole / "0")
    with pytest.raises(InputError, match=r"holds no multirun\.yaml and no \.hydra/hydra\.yaml"):
        command_of(tmp_path)
    (tmp_path / "multirun.yaml").write_text("hydra: {mode: MULTIRUN}")
    with pytest.raises(InputError, match=r"multirun\.yaml: cannot be read"):
        command_of(tmp_path)


def test_what_a_record_brings_along_is_trusted_only_where_it_is_told(command, again):
    path = again / "multirun.yaml"
    path.write_text(path.read_text().replace("- noise=flip", "- noise=flip\n    - +noise._target_=os.system"))
    with pytest.raises(InputError, match=r"uses \+noise\._target_=os\.system; repeat its own command"):
        command_of(again)
    assert "+noise._target_=os.system" in command_of(again, trust=True)[0]


@pytest.mark.slow
def test_jobs_may_lie_in_folders_of_folders(command, tmp_path):
    words = ["-m", "seed=0,1", "steps=2", *SWEEP[4:], "track=off", "hydra.sweep.dir=s", "log_points=1"]
    assert command(*words, "hydra.sweep.subdir=${hydra:runtime.choices.model}/s${seed}")[0] == 0
    shutil.rmtree(tmp_path / "s" / "ae" / "s1")
    again, _ = command_of(tmp_path / "s")
    assert command(*again)[0] == 0
    jobs = json.loads((tmp_path / "s" / "sweep.json").read_text())["jobs"]
    assert [job["folder"] for job in jobs] == ["ae/s0", "ae/s1"]
    assert all((tmp_path / "s" / job["folder"] / "metrics.json").exists() for job in jobs)


@pytest.mark.slow
def test_settings_go_where_hydra_is_told_and_finished_ones_are_left(command, tmp_path):
    words = ["-m", "seed=0,0,1", "steps=2", *SWEEP[4:], "track=off", "hydra.sweep.dir=s", "log_points=1"]
    assert command(*words)[0] == 0
    for number in "01":  # one and its twin
        (tmp_path / "s" / number / ".hydra" / "config.yaml").write_text("")
    assert command(*words)[0] == 0
    assert all((tmp_path / "s" / number / ".hydra" / "config.yaml").read_text() for number in "01")
    words[-2] = "hydra.sweep.dir=t"
    assert command(*words, "hydra.output_subdir=asked")[0] == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "t").glob("*/asked/*")}
    assert len(kept) == 9 and command(*words, "hydra.output_subdir=asked")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    words[-2] = "hydra.sweep.dir=u"
    assert command(*words, "hydra.output_subdir=null")[::2] == (0, "")
    assert not list((tmp_path / "u").glob("*/**/*.yaml"))
