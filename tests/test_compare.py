"""python -m aejax.compare: what is read, grouped, told and written."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import called
from made import VERSIONS, make_grid, make_run, make_sweep
from rich.console import Console
from scipy import stats

import aejax.compare
from aejax.compare import formats, summary
from aejax.compare.command import main
from aejax.compare.frame import better
from aejax.compare.reading import INDEX, read

MSE, KNN = "recon/mse", "separation/knn_accuracy"


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """2 models x 2 noises x 2 code sizes x 4 seeds."""
    return make_grid(tmp_path_factory.mktemp("grid") / "sweep")


@pytest.fixture
def told(capsys):
    """Runs the command; gives its exit status, stdout and stderr."""
    return lambda *words: (called(main, *map(str, words)), *capsys.readouterr())


def test_too_many_pairs_are_not_compared(tmp_path, told):
    folder = make_sweep(tmp_path / "s", {str(each): ({MSE: 0.1}, {"optim__lr": each / 1000}) for each in range(80)})
    status, out, _ = told(folder)
    assert status == 0 and "more than 3,000 pairs: --compare KEY chooses among them" in out
    out = told(folder, "optim.lr<0.012")[1]
    assert out.count("no claim about optim.lr=") == 40 and "and 26 more: --json, --report" in out


def test_the_table_holds_means_intervals_floors_and_counts(grid):
    found = aejax.compare.table(grid)
    assert len(found) == 8
    [line] = found[(found.model == "vae") & (found.noise == "flip") & (found.latent_dim == 4)].to_dict("records")
    values = [entry.metrics[MSE] for entry in read([grid]) if entry.name == "vae letters d=4 s=0"] and [
        entry.metrics[MSE]
        for entry in read([grid])
        if entry.choices["model"] == "vae" and entry.choices["noise"] == "flip" and entry.settings["latent_dim"] == 4
    ]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert [line[MSE], line[f"{MSE} low"], line[f"{MSE} high"]] == pytest.approx([np.mean(values), low, high])
    assert line["floor/pca_mse"] == pytest.approx(0.15 / 4)
    assert (line["n"], line["diverged"], line["missing"]) == (4, 0, 0)


def test_a_pattern_names_all_metrics_that_it_fits(tmp_path, told):
    metrics = {MSE: 0.1, "robust/flip/0.1/mse": 0.2, "robust/flip/0.2/mse": 0.3, "robust/masking/0.1/mse": 0.4}
    folder = make_sweep(tmp_path / "s", {"0": (metrics, {})})
    table = aejax.compare.table([folder], metrics=["robust/flip/*", MSE, "robust/*/0.1/mse"])
    shown = [name for name in table if name in metrics]
    assert shown == ["robust/flip/0.1/mse", "robust/flip/0.2/mse", MSE, "robust/masking/0.1/mse"]
    assert "--metrics robust/none/*: no run has it" in told(folder, "--metrics", "robust/none/*")[2]


def test_rows_columns_conditions_and_order(grid):
    runs = aejax.compare.load(grid, "model=vae latent_dim<=2 noise!=flip seed>0")
    assert len(runs.frame) == 3
    assert aejax.compare.table(grid, where="noise=flip,none model=ae").model.unique().tolist() == ["ae"]
    crossed = aejax.compare.table(grid, rows=["model", "latent_dim"], cols=["noise"])
    assert crossed[MSE].columns.tolist() == ["flip", "none"]
    assert crossed.shape[0] == 4
    errors = aejax.compare.table(grid, sort=f"-{MSE}")[MSE]
    assert errors.is_monotonic_decreasing
    one = aejax.compare.table(grid, iqm=True).iloc[0]
    values = aejax.compare.load(grid, "model=ae noise=flip latent_dim=2").frame[MSE]
    assert one[MSE] == pytest.approx(stats.trim_mean(values, 0.25))


def test_what_varies_is_found(tmp_path):
    runs = {
        "a": ({MSE: 0.1}, {"noise": "flip", "noise__level": 0.1}),
        "b": ({MSE: 0.1}, {"noise": "none", "seed": 1}),
        "c": ({MSE: 0.1}, {"noise": "flip", "noise__level": 0.1, "steps": 50}),
    }
    assert aejax.compare.load(make_sweep(tmp_path / "s", runs)).varying == ["noise", "steps"]
    runs["d"] = {MSE: 0.1}, {"noise": "flip", "noise__level": 0.2, "net__widths": [3]}
    found = aejax.compare.load(make_sweep(tmp_path / "t", runs))
    assert found.varying == ["noise", "net.widths", "noise.level", "steps"]
    assert aejax.compare.load(tmp_path / "t", "net.widths=[3]").frame["name"].tolist() == ["ae letters d=2 s=0"]


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


def test_a_damaged_ledger_is_named_and_the_folders_tell_what_there_is(grid, tmp_path, told):
    shutil.copytree(grid, tmp_path / "s")
    (tmp_path / "s" / "sweep.json").write_text("{")
    (tmp_path / "s" / "3" / "run.json").write_text("[]")
    shutil.rmtree(tmp_path / "s" / "3" / ".hydra")
    status, out, _ = told(tmp_path / "s")
    assert status == 0
    assert "33 runs: 31 completed, 2 damaged" in out
    assert f"{tmp_path}/s/sweep.json (cannot be read" in out and f"{tmp_path}/s/3 (run.json cannot be read)" in out
    assert len(aejax.compare.table(tmp_path / "s")) == 8


def test_the_index_is_rebuilt_when_it_is_stale(broken, monkeypatch):
    first = read([broken])
    assert (broken / INDEX).exists()
    monkeypatch.setattr("aejax.compare.reading._entry", lambda *_: pytest.fail("the index was not used"))
    assert read([broken]) == first
    monkeypatch.undo()
    (broken / "0" / "metrics.json").write_text('{"recon/mse": 0.75}')
    assert {entry.path: entry.metrics for entry in read([broken])}[f"{broken}/0"] == {MSE: 0.75}
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


def test_numbers_of_latex_and_json_agree_and_latex_compiles(grid, told, tmp_path):
    status, text, err = told(grid, "--latex")
    assert (status, err) == (0, "")
    found = json.loads(told(grid, "--json")[1])["rows"]
    lines = [line.split(" & ") for line in text.splitlines() if line.startswith(("ae", "vae"))]
    assert len(lines) == len(found) == 8
    for line, row in zip(lines, found, strict=True):
        assert line[:4] == [row["model"], row["data"], row["noise"], str(row["latent_dim"])]
        for cell, name in ((line[4], MSE), (line[5], KNN)):
            mean, half = re.fullmatch(r"\$(?:\\mathbf\{)?([\d.]+)\}? \\pm ([\d.]+)\$", cell).groups()
            places = len(mean.partition(".")[2])
            assert float(mean) == round(row[name]["mean"], places)
            assert float(half) == round(row[name]["high"] - row[name]["mean"], places)
        assert line[8:] == [str(row["n"]), str(row["diverged"]), f"{row['missing']} \\\\"]
    assert sum("mathbf" in line[4] for line in lines) == sum("mathbf" in line[5] for line in lines) == 1
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    nasty = make_run(tmp_path / r"&%$#_{}~^\<>|é", {MSE: 1.5e-9}, model=r"a_b&%$#{}~^\<>|é", noise="x")
    text += told(nasty.path, "--latex")[1]
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{text}\end{{document}}"
    (tmp_path / "table.tex").write_text(document)
    words = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "table.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "table.pdf").exists()


def test_files_hold_the_table(grid, told, tmp_path):
    paths = {form: tmp_path / f"table.{form}" for form in ("csv", "json", "markdown", "latex")}
    options = [word for form, path in paths.items() for word in (f"--{form}", path)]
    assert told(grid, *options)[0] == 0
    found = aejax.compare.table(grid)
    assert pd.read_csv(paths["csv"], keep_default_na=False).to_dict("list") == found.to_dict("list")
    assert json.loads(paths["json"].read_text())["rows"][0][MSE]["mean"] == found[MSE][0]
    assert paths["markdown"].read_text().count("\n") == 10
    assert told(grid, "--parquet", tmp_path / "table.parquet")[0] == 0
    assert pd.read_parquet(tmp_path / "table.parquet")[KNN].tolist() == found[KNN].tolist()


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.123456, 0.00789, "0.1235 ± 0.0079"),
        (0.123456, 1e-12, "0.1235 ± 0"),
        (6.97e-10, 2.1e-10, "(7.0 ± 2.1)e-10"),
        (27.0, float("nan"), "27.00"),
        (float("nan"), 1.0, "-"),
        (0.0, 0.0, "0.000 ± 0"),
        (1234.6, 56.7, "1235 ± 57"),
    ],
)
def test_numbers_are_rounded_by_their_interval(mean, half, text):
    assert formats.number(mean, half).text == text


def test_the_best_of_each_data_set_is_bold(tmp_path):
    runs = aejax.compare.load(make_grid(tmp_path / "s", noises=("none",), data=("emoji", "letters")))
    table = summary.summarise(runs, runs.rows, [MSE, KNN])
    found = {
        (table.data[place], table.model[place], name) for place, name in summary.best(table, runs.rows, [MSE, KNN])
    }
    assert found == {
        (data, model, name) for data in ("emoji", "letters") for model, name in (("ae", MSE), ("vae", KNN))
    }
    assert (better("restore/mse"), better("code/kl"), better("separation/davies_bouldin")) == (-1, 0, -1)
    console = Console(record=True, width=300, force_terminal=True)
    console.print(formats.terminal(*formats.cells(table, runs.rows, [], [MSE]), 4))
    assert console.export_text(styles=True).count("\x1b[1m0.0") == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere"], "nowhere: is no folder; must be that of a run or a sweep, or one above them"),
        (["empty"], "empty: holds no runs; must be the folder of a run or a sweep, or one above them"),
        ([], "compare: no folder; must be those of runs or sweeps, as multirun/2026-11-20"),
        (["s", "--metrics", "recon/msee"], "--metrics recon/msee: no run has it; did you mean recon/mse"),
        (
            ["s", "--rows", "model"],
            "--rows model: a mean over different data (emoji, letters); must have data among",
        ),
        (["s", "--rows", "modle"], "--rows modle: no such setting; did you mean model"),
        (["s", "latent_dim<"], "latent_dim<: is no condition; must be key=value, or with one of <= >="),
        (["s", "--where", "model"], "model: is no condition; must be key=value"),
        (["s", "latent_dimm<3"], "latent_dimm<3: no such setting or metric; did you mean latent_dim"),
        (["s", "latent_dim<two"], "latent_dim<two: two is no number; must be one after <"),
        (["s", "model=pca"], "model=pca: no run is left; must keep one at the least"),
        (["s", "--sort", "recon/mss"], "--sort recon/mss: no such column; did you mean recon/mse"),
        (["s", "--csv", "empty"], "--csv empty: is a folder; must be a file, and folders of runs stand before options"),
        (["s", "--csv", "no/x.csv"], "--csv no/x.csv: no is no folder; must be one that exists"),
        (["s", "--csv", "--json"], "compare: more than one format would be printed; must have a file for all but one"),
        (["s", "--wandb", "aejax"], "--wandb aejax: must be entity/project"),
        (["s", "--wandb-report", "a/b/c"], "--wandb-report a/b/c: must be entity/project"),
        (["s", "--compare", "x"], "--compare x: no such setting; known: model, data"),
        (["s", "--metric"], "compare: argument --metrics: expected at least one argument; --help"),
    ],
)
def test_a_wrong_input_gets_one_line(words, line, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    make_grid(tmp_path / "s", noises=("none",), dims=(2,), seeds=1, data=("letters", "emoji"))
    before = sorted(each.name for each in tmp_path.iterdir())
    status, out, err = told(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"aejax: {line}"), err
    assert sorted(each.name for each in tmp_path.iterdir()) == before


def test_reading_needs_no_jax(grid):
    script = "import sys, aejax.compare as c; c.table(sys.argv[1]); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script, grid]).returncode == 0
