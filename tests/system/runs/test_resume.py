"""What is cut off goes on where it was, and ends as if it had never been cut off."""

import contextlib
import errno
import fcntl
import os
import select
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import Killed, Watch, results, run, state_of

from aejax.base.errors import InputError
from aejax.base.files import check_free, locked, set_aside
from aejax.base.interrupts import STOP
from aejax.datasets.cache import alone
from aejax.runs.folder import Run
from aejax.training.checkpoint import Checkpoint, Progress

QUICK = ["steps=40", "log_points=8", "net.widths=[5]", "checkpoint.seconds=0", "evaluate.groups=[reconstruction]"]


@pytest.fixture(scope="module")
def words():
    """A training with all that a State may hold: batches in an order, warm-up, the best parameters so far."""
    return [*QUICK, "model=vae", "noise=flip", "batch_size=8", "select=best", "optim.warmup=0.1", "seed=3"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, words):
    return results(run(tmp_path_factory.mktemp("whole"), *words).path)


@pytest.fixture
def killed(tmp_path, words):
    """The folder of a run that was killed after 5 of 8 segments."""
    with pytest.raises(Killed):
        run(tmp_path, *words, report=Watch(kill_at=25))
    return tmp_path


def checkpoint_in(folder):
    [path] = folder.glob("checkpoint-*")
    return path


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_bits(killed, words, uninterrupted):
    checkpoint_in(killed)
    watch = Watch()
    record = run(killed, *words, report=watch).record
    assert 15 <= watch.began <= 25
    assert record["status"] == "completed"
    assert results(killed) == uninterrupted
    assert not list(killed.glob("checkpoint-*"))


def test_a_run_that_is_stopped_leaves_a_checkpoint_first(tmp_path, words, uninterrupted):
    class Stopped(Watch):
        @contextlib.contextmanager
        def training(self, steps, name, done=0):
            yield lambda step, loss, phase: step >= 20 and STOP.set()

    rare = [*words, "checkpoint.seconds=1000"]
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, *rare, report=Stopped())
    finally:
        STOP.clear()
    assert Run.read(tmp_path).record["status"] == "interrupted"
    watch = Watch()
    run(tmp_path, *rare, report=watch)
    assert watch.began >= 20
    assert results(tmp_path) == uninterrupted


@pytest.mark.slow
def test_a_kill_after_the_training_goes_on_too(tmp_path, words, uninterrupted, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("aejax.runs.group._finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, *words, "checkpoint.seconds=1000")
    watch = Watch()
    run(tmp_path, *words, "checkpoint.seconds=1000", report=watch)
    assert watch.began == 40
    assert results(tmp_path) == uninterrupted


def flipped(content):
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:500], lambda content: b"", lambda content: b"x"])
def test_a_damaged_checkpoint_is_set_aside_and_told(killed, words, uninterrupted, damage):
    path = checkpoint_in(killed)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    watch = Watch()
    run(killed, *words, report=watch)
    assert watch.began == 0
    [said] = watch.said
    assert said == f"{path}: is damaged; renamed to {path.name}.broken, training begins anew"
    assert (killed / f"{path.name}.broken").read_bytes() == broken
    assert results(killed) == uninterrupted


def test_a_checkpoint_of_other_runs_is_not_used(tmp_path):
    state = {"a": jax.numpy.arange(3.0)}
    kept = Checkpoint(tmp_path / "checkpoint", ("one",), 0.0)
    kept.save(Progress(1, state, [{"loss": np.float32([1, 2, 3])}], 2.5))
    again = kept.load(state)
    assert (again.done, again.seconds) == (1, 2.5)
    np.testing.assert_array_equal(again.points[0]["loss"], [1, 2, 3])
    np.testing.assert_array_equal(again.state["a"], [0, 1, 2])
    for ids, other in (("two",), state), (("one",), {"a": jax.numpy.arange(4.0)}), (("one",), {"b": state["a"]}):
        kept.save(Progress(1, state, [], 2.5))
        with pytest.raises(InputError, match=r"is of other runs; renamed to checkpoint\.broken"):
            Checkpoint(kept.path, ids, 0.0).load(other)


def test_a_training_goes_on_where_no_checkpoint_can_be_written(tmp_path, words, uninterrupted, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aejax.training.checkpoint.write_whole", full)
    watch = Watch()
    run(tmp_path, *words, report=watch)
    assert "not written (No space left on device); training goes on without it" in watch.said[0]
    rare = Checkpoint(tmp_path / "x", ("one",), 1000.0, saved=-2000.0)
    with pytest.raises(OSError, match="No space left"):
        rare.save(Progress(1, {}, [], 2.5))
    assert not rare.is_due  # it is not tried again at every log point
    assert results(tmp_path) == uninterrupted


def test_a_finished_run_is_shown_and_not_touched(command, tmp_path):
    own = [*QUICK, "figures=false", "track=off", "hydra.run.dir=run"]
    assert command(*own)[0] == 0
    before = state_of(tmp_path / "run")
    status, out, err = command(*own)
    assert (status, err) == (0, "")
    assert "finished before" in out and "mean image" in out
    assert state_of(tmp_path / "run") == before


def test_names_that_are_taken_are_not_lost(tmp_path):
    for content in "abc":
        (tmp_path / "file").write_text(content)
        set_aside(tmp_path / "file")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "file.broken": "a", "file.broken1": "b", "file.broken2": "c",
    }  # fmt: skip


def test_a_lock_dies_with_its_owner(tmp_path):
    script = f"from aejax.base.files import locked\nwith locked({str(tmp_path)!r}): print('in', flush=True); input()"
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert owner.stdout.readline() == b"in\n"
        with pytest.raises(InputError, match="another process is using it"), locked(tmp_path):
            pass
    finally:
        owner.kill()
        owner.communicate()
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_without_flock_the_file_is_the_lock(tmp_path, monkeypatch):
    def missing(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    own = f"process {os.getpid()} on {socket.gethostname()}"
    with locked(tmp_path), pytest.raises(InputError, match=f"{own} is using it; .* remove .lock if it has ended$"):
        check_free(tmp_path)  # leaves it to the next
        with locked(tmp_path):
            pass
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / ".lock").write_text(f"{ended.pid}\nanother-host\n")
    with pytest.raises(InputError, match="on another-host is using it"), locked(tmp_path):
        pass
    (tmp_path / ".lock").write_text(f"{ended.pid}\n{socket.gethostname()}\n")
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_of_somebody_is_not_cut_off(tmp_path):
    (tmp_path / "kept").write_text("precious")
    (tmp_path / ".lock").hardlink_to(tmp_path / "kept")
    check_free(tmp_path)
    with locked(tmp_path):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kept": "precious"}


def test_asking_whether_a_folder_is_free_makes_nothing(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        check_free(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with locked(tmp_path), pytest.raises(InputError, match=f"^{tmp_path}: another process is using it; choose another"):
        check_free(tmp_path)


@pytest.mark.slow
def test_who_prepares_data_second_waits_for_the_first_and_no_longer(tmp_path):
    script = (
        "import sys; from pathlib import Path; from aejax.datasets.cache import alone; "
        "print('asks', flush=True)\n"
        "with alone(Path(sys.argv[1])): print('in', flush=True); input()"
    )
    words = [sys.executable, "-c", script, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    first = subprocess.Popen(words, **pipes)
    assert first.stdout.readline() + first.stdout.readline() == b"asks\nin\n"
    second = subprocess.Popen(words, **pipes)
    try:
        assert second.stdout.readline() == b"asks\n"
        assert not select.select([second.stdout], [], [], 0.5)[0]
        first.kill()
        assert second.stdout.readline() == b"in\n"
    finally:
        for owner in (first, second):
            owner.kill()
            owner.communicate()


def test_a_lock_of_data_that_is_a_link_harms_nothing(tmp_path):
    (tmp_path / "kept").write_text("precious")
    (tmp_path / ".aejax.lock").symlink_to("kept")
    with (
        pytest.raises(InputError, match=r"\.aejax\.lock: is a link; remove it if no process is using"),
        alone(tmp_path),
    ):
        pass
    assert (tmp_path / "kept").read_text() == "precious"


def test_data_in_a_folder_that_takes_no_file_are_prepared_all_the_same(tmp_path):
    with alone(tmp_path / "none"):
        pass
