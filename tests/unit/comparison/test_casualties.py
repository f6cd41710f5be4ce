"""Runs that are not whole: every one is counted and named, whatever has become of its files."""

import json
import shutil

import numpy as np
import pytest
from made import VERSIONS, make_grid, make_run, make_sweep

import aejax.compare
from aejax.comparison.reading import INDEX, read

MSE = "recon/mse"


@pytest.fixture
def broken(tmp_path):
    """A sweep of which every kind of run that does not count has one."""
    runs = {str(seed): ({MSE: 0.1 + seed / 100}, {"seed": seed}) for seed in range(7)}
    folder = make_sweep(
        tmp_path / "sweep", runs, [(["model=ae", "seed=7", "noise.level=2"], "noise.level=2: must be …")]
    )
    for name, status in (("1", "diverged"), ("2", "running"), ("3", "interrupted")):
        record = json.loads((folder / name / "run.json").read_text()) | {"status": status}
        (folder / name / "run.json").write_text(json.dumps(record))
    (folder / "4" / "metrics.json").write_text('{"recon/mse": 0.')
    (folder / "5" / "metrics.json").unlink()
    shutil.rmtree(folder / "6")
    return folder


def test_every_run_that_does_not_count_is_counted_and_named(broken, told):
    status, out, err = told(broken)
    assert (status, err) == (0, "")
    assert (
        "8 runs: 1 completed, 1 damaged, 1 diverged, 1 failed, 1 half-deleted, 1 interrupted, 1 missing, 1 running"
        in out
    )
    for line in (
        f"1 damaged: {broken}/4 (metrics.json cannot be read",
        f"1 diverged: {broken}/1",
        f"1 failed: {broken}/job 7 (noise.level=2: must be …)",
        f"1 half-deleted: {broken}/5 (no metrics.json)",
        f"1 interrupted: {broken}/3",
        f"1 missing: {broken}/6 (its folder is gone)",
        f"1 running: {broken}/2",
    ):
        assert line in out, line
    [row] = aejax.compare.table(broken).to_dict("records")
    assert (row["model"], row["n"], row["diverged"], row["missing"]) == ("ae", 1, 1, 6)
    assert row[MSE] == 0.1 and np.isnan(row[f"{MSE} low"])
    found = json.loads(told(broken, "--json")[1])
    assert {each["status"] for each in found["not_in_means"]} == found["runs"].keys() - {"completed"}


def test_a_sweep_of_which_nothing_is_finished_has_a_table(tmp_path, told):
    folder = make_sweep(tmp_path / "s", {str(seed): ({}, {"seed": seed, "status": "running"}) for seed in range(2)})
    status, out, _ = told(folder)
    assert status == 0 and "2 runs: 0 completed, 2 running" in out
    assert told(folder, "--json", tmp_path / "t.json", "--report", tmp_path / "r.html")[0] == 0
    assert json.loads((tmp_path / "t.json").read_text())["rows"][0]["missing"] == 2


def test_a_damaged_ledger_is_named_and_the_folders_tell_what_there_is(tmp_path, told):
    make_grid(tmp_path / "s")
    (tmp_path / "s" / "sweep.json").write_text("{")
    (tmp_path / "s" / "3" / "run.json").write_text("[]")
    shutil.rmtree(tmp_path / "s" / "3" / ".hydra")
    status, out, _ = told(tmp_path / "s")
    assert status == 0
    assert "33 runs: 31 completed, 2 damaged" in out
    assert f"{tmp_path}/s/sweep.json (cannot be read" in out and f"{tmp_path}/s/3 (run.json cannot be read (" in out
    assert sorted(aejax.compare.table(tmp_path / "s")["n"]) == [3, *[4] * 7]  # of run 3 nothing is known


def test_the_index_is_rebuilt_when_it_is_stale(broken, monkeypatch):
    first = read([broken])
    assert (broken / INDEX).exists()
    monkeypatch.setattr("aejax.comparison.reading._entry", lambda *_: pytest.fail("the index was not used"))
    assert read([broken]) == first
    monkeypatch.undo()
    (broken / "0" / "metrics.json").write_text('{"recon/mse": 0.75}')
    assert {entry.path: entry.metrics for entry in read([broken])}[f"{broken}/0"][MSE] == 0.75
    (broken / INDEX).write_text("[1")
    assert [entry.status for entry in read([broken])] == [entry.status for entry in first]
    json.loads((broken / INDEX).read_text())


def test_copies_count_once_and_what_is_mixed_is_told(tmp_path, told):
    make_run(tmp_path / "a", {MSE: 0.1})
    make_run(tmp_path / "b", {MSE: 0.1})
    make_run(tmp_path / "c", {MSE: 0.2}, versions=VERSIONS | {"aejax": "0.2.0"}, seed=1)
    make_run(tmp_path / "d", {MSE: 0.3}, fingerprint="beef", seed=2)
    status, out, _ = told(tmp_path, tmp_path / "a")
    assert status == 0
    assert "1 run is a copy of another and counted once" in out
    assert (
        f"warning: versions of aejax are mixed: 0.1.0 (2 runs, as {tmp_path}/a), 0.2.0 (1 run, as {tmp_path}/c)" in out
    )
    assert "warning: data=letters has different fingerprints: beef (1 run, as" in out
    assert aejax.compare.table(tmp_path)["n"].tolist() == [3]


def test_one_run_alone_has_a_report_whatever_has_become_of_its_codes(tmp_path, told):
    run = make_run(tmp_path / "run", {MSE: 0.1})
    for codes in (None, b"", b"PK"):
        if codes is not None:
            (run.path / "codes.npz").write_bytes(codes)
        status, out, err = told(run.path, "--report", tmp_path / "r.html")
        assert (status, err) == (0, "") and "1 run: 1 completed" in out
        assert ('"codes":null' in (tmp_path / "r.html").read_text()) is (codes is not None)


DAMAGE = {  # file: what is in it
    "metrics.json": ["Infinity", '{"recon/mse": 1e999}', '{"recon/mse": 1' + "0" * 400 + "}", "[" * 100_000,
                     '{"model": 1}', '{"n": 1, "seed": 2}', '{"recon/mse": "x"}', "\x00"],
    "history.csv": ["", "step,valid/mse\n", "step,valid/mse\n10,x\n", "step,valid/mse\n10\n", "\x00"],
    "run.json": ['{"status": "completed", "data": "x"}', '{"status": "completed", "versions": "x"}', "{}",
                 '{"status": ["completed"]}', '{"status": "completed", "id": []}',
                 '{"status": "completed", "data": {"fingerprint": []}}'],
    ".hydra/hydra.yaml": ["hydra:\n  runtime:\n    choices:\n      model: [1]\n", "["],
    ".hydra/config.yaml": ["[1", "latent_dim: *a"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in DAMAGE.items() for text in texts])
def test_a_damaged_file_is_named_and_its_run_skipped(name, text, tmp_path, told):
    folder = make_sweep(tmp_path / "s", {str(seed): ({MSE: 0.1}, {"seed": seed}) for seed in range(3)})
    (folder / "1" / name).write_text(text)
    for _ in range(2):  # the second time from the index
        status, out, err = told(folder)
        assert (status, err) == (0, "")
        assert "3 runs: 2 completed, 1 damaged" in out
        assert f"1 damaged: {folder}/1 ({name.partition('/')[0]} cannot be read" in out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (INDEX, '{"format": %s, "runs": {"1": 5}}'),
        (INDEX, '{"format": %s, "runs": {"1": [[], {"x": 1}]}}'),
        (INDEX, '{"format": %s, "runs": 3}'),
        (".hydra/config.yaml", "latent_dim: 2\nwhen: 2026-11-20\n"),
    ],
)
def test_what_is_no_damage_of_a_run_harms_nothing(name, text, tmp_path, told):
    folder = make_sweep(tmp_path / "s", {str(seed): ({MSE: 0.1}, {"seed": seed}) for seed in range(3)})
    told(folder)
    form = json.dumps(json.loads((folder / INDEX).read_text())["format"])
    (folder / ("1" if name.startswith(".hydra") else "") / name).write_text(text.replace("%s", form))
    status, out, _ = told(folder)
    assert status == 0 and "3 runs: 3 completed" in out


def test_jobs_of_a_ledger_that_make_no_sense_are_damage(tmp_path, told):
    for jobs in ('[{"folder": "0", "overrides": null}]', '[{"folder": 0}]', "[3]", "{}", '[{"status": null}]'):
        folder = make_sweep(tmp_path / str(len(jobs)), {"0": ({MSE: 0.1}, {})})
        (folder / "sweep.json").write_text(f'{{"jobs": {jobs}}}')
        status, out, _ = told(folder)
        assert status == 0 and "1 completed" in out
        assert (f"{folder}/sweep.json (cannot be read" in out) is (jobs != "{}")


def test_what_is_left_of_a_run_is_half_deleted(tmp_path, told):
    runs = {str(seed): ({MSE: 0.1}, {"seed": seed}) for seed in range(3)}
    folder = make_sweep(tmp_path / "s", runs)
    for name in ("run.json", "metrics.json"):
        (folder / "1" / name).unlink()
    shutil.rmtree(folder / "1" / ".hydra")
    shutil.copytree(folder, tmp_path / "loose")
    (tmp_path / "loose" / "sweep.json").unlink()
    for place in (folder, tmp_path / "loose"):
        status, out, _ = told(place)
        assert status == 0 and "3 runs: 2 completed, 1 half-deleted" in out
        assert f"{place}/1 (no run.json)" in out


def test_jobs_in_folders_of_folders_are_all_found(tmp_path, told):
    runs = {
        f"{model}/s{seed}": ({MSE: 0.1}, {"model": model, "seed": seed}) for model in ("ae", "vae") for seed in (0, 1)
    }
    folder = make_sweep(tmp_path / "s", runs)
    shutil.rmtree(folder / "vae" / "s1")
    status, out, _ = told(folder)
    assert status == 0 and "4 runs: 3 completed, 1 missing" in out
    assert f"1 missing: {folder}/vae/s1 (its folder is gone)" in out
    assert told(folder / "ae")[1].count("2 runs: 2 completed") == 1
