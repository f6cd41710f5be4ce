"""Training does not wait for W&B: what it has to log meanwhile arrives later, and what W&B refuses is told."""

import threading

import pytest

from aejax.base.errors import InputError
from aejax.base.interrupts import STOP
from aejax.runs import mirror, segments
from aejax.runs.folder import Run
from aejax.runs.mirror import Mirror, Track

QUICK = ["steps=20", "log_points=4", "net.widths=[5]", "figures=false", "evaluate.groups=[reconstruction]"]
TRACKED = [*QUICK, "track=offline", "hydra.run.dir=run"]
PATIENCE = 60  # seconds that W&B waits here for the training at the most


class Recorded:
    """A W&B run that keeps what is logged, in order."""

    def __init__(self, run_id):
        self.id, self.logged, self.ended, self.summary = run_id, [], None, {}

    def log(self, row, step=None):
        self.logged.append((step, row))


@pytest.fixture
def started(monkeypatch):
    """Lets `Track.start` do what a test sets as `started["do"]`; gives the W&B runs by id."""
    runs = {"do": None}

    def start(track, folder, run_id, name, settings, sweep=None):
        runs["do"](run_id)
        runs[run_id] = Recorded(run_id)
        return Mirror(runs[run_id], track)

    monkeypatch.setattr(Track, "start", start)
    monkeypatch.setattr(Mirror, "_log_results", lambda one, finished, names: one.run.log(dict(finished.metrics)))
    monkeypatch.setattr(Mirror, "_finish", lambda one, failed: setattr(one.run, "ended", failed))
    monkeypatch.setattr(mirror.wandb_compat, "run_folders", lambda *_: [])
    return runs


@pytest.fixture
def until(monkeypatch):
    """A function that waits until the training has fetched so many log points."""
    fetched, add = threading.Semaphore(0), segments.History._add

    def counted(history, point):
        add(history, point)
        fetched.release()

    def wait(points):
        for _ in range(points):
            assert fetched.acquire(timeout=PATIENCE)

    monkeypatch.setattr(segments.History, "_add", counted)
    return wait


@pytest.mark.parametrize("points", [0, 2, 4])
def test_rows_from_before_the_wandb_run_arrive_in_order(command, tmp_path, started, until, points):
    started["do"] = lambda run_id: until(points)
    assert command(*TRACKED)[0] == 0
    run = Run.read(tmp_path / "run")
    wandb = started[run.record["id"]]
    *rows, (step, results) = wandb.logged
    assert [{"step": step, **row} for step, row in rows] == run.history
    assert len(rows) == 4 and step is None and results == run.metrics
    assert (run.record["wandb_id"], wandb.ended) == (run.record["id"], False)


@pytest.mark.slow
def test_each_job_of_a_sweep_has_its_rows_in_its_own_wandb_run(command, tmp_path, started, until):
    waits = iter([3, 0])
    started["do"] = lambda run_id: until(next(waits))
    assert command("-m", *QUICK, "track=offline", "seed=0,1", "hydra.sweep.dir=s")[0] == 0
    for number in "01":
        run = Run.read(tmp_path / "s" / number)
        rows = started[run.record["id"]].logged[:-1]
        assert [{"step": step, **row} for step, row in rows] == run.history


@pytest.mark.parametrize("points", [0, 2, 4])
def test_a_wandb_run_that_cannot_begin_leaves_nothing(command, tmp_path, started, until, points):
    def refuse(run_id):
        until(points)
        raise InputError("track=online: no answer")

    started["do"] = refuse
    status, _, err = command(*TRACKED)
    assert (status, err) == (2, "aejax: track=online: no answer\n")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_an_unfinished_run_stays_where_wandb_cannot_begin(command, tmp_path, started, until):
    started["do"] = lambda run_id: STOP.set()
    assert command(*TRACKED)[0] == 130
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.json")}
    assert before

    def refuse(run_id):
        until(1)
        raise InputError("track=online: no answer")

    started["do"] = refuse
    assert command(*TRACKED)[0] == 2
    assert {path: path.read_bytes() for path in (tmp_path / "run").glob("*.json")} == before


def test_an_interrupt_before_the_wandb_run_loses_no_row(command, tmp_path, started, until):
    def interrupted(run_id):
        until(2)
        STOP.set()

    started["do"] = interrupted
    status, out, _ = command(*TRACKED, "steps=4000", "log_points=400")
    assert status == 130 and "interrupted; to go on" in out
    run = Run.read(tmp_path / "run")
    wandb = started[run.record["id"]]
    assert [{"step": step, **row} for step, row in wandb.logged] == run.history
    assert len(run.history) >= 2 and (run.record["status"], wandb.ended) == ("interrupted", True)
    assert list((tmp_path / "run").glob("checkpoint-*"))
    started["do"] = lambda run_id: until(1)
    assert command(*TRACKED, "steps=4000", "log_points=400")[0] == 0
    whole = Run.read(tmp_path / "run")
    rows = started[run.record["id"]].logged[:-1]
    assert [{"step": step, **row} for step, row in rows] == whole.history and len(rows) == 400
