"""python -m aejax.compare: what is read, grouped, told and written."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from made import make_grid, make_run, make_sweep
from rich.console import Console
from scipy import stats

import aejax.compare
from aejax.base.errors import InputError
from aejax.comparison import formats, labels, summary
from aejax.comparison.reading import read
from aejax.metrics.lookup import better

MSE, KNN = "recon/mse", "separation/knn_accuracy"


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """2 models x 2 noises x 2 code sizes x 4 seeds."""
    return make_grid(tmp_path_factory.mktemp("grid") / "sweep")


@pytest.mark.slow
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
    assert line["baseline/pca_mse"] == pytest.approx(0.15 / 4)
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
    chosen = aejax.compare.table(grid, where="noise=flip,none model=ae")
    assert chosen.columns[:2].tolist() == ["noise", "latent_dim"] and len(chosen) == 4
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


def test_a_setting_that_some_runs_do_not_have_makes_a_row(tmp_path, told):
    limits = ({}, {"data__limit": 100})
    runs = {str(each): ({MSE: 0.1}, {"seed": each // 2} | limits[each % 2]) for each in range(8)}
    status, out, err = told(make_sweep(tmp_path / "s", runs))
    assert (status, err) == (0, "") and "8 runs: 8 completed" in out
    assert "no difference between data.limit=null and data.limit=100 is shown" in out


def test_values_with_spaces_and_commas_can_be_asked_for(tmp_path):
    names = ["a b", "a,b", "c"]
    folder = make_sweep(tmp_path / "s", {str(each): ({MSE: 0.1}, {"model": name}) for each, name in enumerate(names)})
    for name in names:
        assert aejax.compare.load(folder, [f"model={name}"]).frame["model"].tolist() == [name]
    assert aejax.compare.load(folder, "model=a b seed<4").frame["model"].tolist() == ["a b"]
    assert aejax.compare.load(folder, "model=c,a b seed<4").frame["model"].tolist() == ["a b", "c"]
    with pytest.raises(InputError, match="latent_dim<=: is not a condition"):
        aejax.compare.load(folder, ["latent_dim<="])
    assert aejax.compare.table(folder, metrics=MSE, rows="model")["model"].tolist() == ["a b", "a,b", "c"]


def test_floors_stand_beside_settings_that_go_across(grid, told):
    assert told(grid, "--cols", "noise", "--markdown")[1].splitlines()[0].count("PCA") == 1
    assert told(grid, "--rows", "model", "--cols", "latent_dim", "--markdown")[1].count("PCA latent_dim=") == 2
    assert told(grid, "--sort", "PCA")[0] == 0


def test_the_table_of_pairs_is_as_wide_as_it_must_be(grid, told):
    out = told(grid, "--rows", "model", "noise", "--cols", "latent_dim")[1]
    assert "P(a better)" in out and "…" not in out


def test_output_goes_where_a_link_leads_and_into_a_pipe(grid, told, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "real.csv")
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        assert told(grid, "--csv", tmp_path / "pipe")[0] == 0
        assert told(grid, "--csv", tmp_path / "link")[0] == 0
        assert read.result() == (tmp_path / "real.csv").read_text()
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


def test_numbers_of_latex_and_json_agree_and_latex_compiles(grid, told, tmp_path):
    status, text, err = told(grid, "--latex")
    assert (status, err) == (0, "")
    found = json.loads(told(grid, "--json")[1])["rows"]
    lines = [line.split(" & ") for line in text.splitlines() if line.startswith(("ae", "vae"))]
    assert len(lines) == len(found) == 8
    for line, row in zip(lines, found, strict=True):
        assert line[:3] == [row["model"], row["noise"], str(row["latent_dim"])]
        for cell, name in ((line[3], MSE), (line[4], KNN)):
            mean, half = re.fullmatch(r"\$(?:\\mathbf\{)?([\d.]+)\}? \\pm ([\d.]+)\$", cell).groups()
            places = len(mean.partition(".")[2])
            assert float(mean) == round(row[name]["mean"], places)
            assert float(half) == round(row[name]["high"] - row[name]["mean"], places)
        assert line[7:] == [str(row["n"]), str(row["diverged"]), f"{row['missing']} \\\\"]
    assert sum("mathbf" in line[3] for line in lines) == sum("mathbf" in line[4] for line in lines) == 1
    assert formats.escaped("[1] naïve Ångström 漢") == r"{[}1{]} na\"{i}ve \r{A}ngstr\"{o}m U+6F22"
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    nasty = make_run(tmp_path / r"&%$#_{}~^\<>|é", {MSE: 1.5e-9}, model=r"[1] a_b&%$#{}~^\<>|éñş漢", noise="x")
    text += told(nasty.path, "--latex")[1]
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{text}\end{{document}}"
    (tmp_path / "table.tex").write_text(document)
    words = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "table.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "table.pdf").exists()


def test_a_file_may_have_a_sign_in_its_name(grid, told, tmp_path):
    status, _, err = told(grid, "latent_dim=2", "--csv", tmp_path / "latent_dim=2.csv")
    assert (status, err) == (0, "")
    assert (tmp_path / "latent_dim=2.csv").exists()


def test_files_hold_the_table(grid, told, tmp_path):
    paths = {form: tmp_path / f"table.{form}" for form in ("csv", "json", "markdown", "latex")}
    options = [word for form, path in paths.items() for word in (f"--{form}", path)]
    assert told(grid, *options)[0] == 0
    found = aejax.compare.table(grid)
    written = pd.read_csv(paths["csv"], keep_default_na=False)
    pd.testing.assert_frame_equal(written, found, check_dtype=False, rtol=1e-12)  # pandas 2 rounds the last digit
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
    table = summary.summarize(runs, runs.rows, [MSE, KNN])
    found = {
        (table.data[place], table.model[place], name)
        for place, name in summary.best(runs, table, runs.rows, [], [MSE, KNN])
    }
    assert found == {
        (data, model, name) for data in ("emoji", "letters") for model, name in (("ae", MSE), ("vae", KNN))
    }
    assert (better("restore/mse"), better("code/kl"), better("separation/davies_bouldin")) == (-1, 0, -1)
    console = Console(record=True, width=300, force_terminal=True)
    good = summary.best(runs, table, runs.rows, [], [MSE])
    console.print(formats.terminal(*formats.cells(table, runs.rows, [], [MSE], good), 2))
    assert console.export_text(styles=True).count("\x1b[1m0.0") == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere"], "nowhere: is not a folder; name the folder of a run or a sweep, or one above them"),
        (["empty"], "empty: holds no runs; name the folder of a run or a sweep, or one above them"),
        ([], "compare: no folder given; name folders of runs or sweeps, such as multirun/2026-11-20"),
        (["s", "--metrics", "recon/msee"], "--metrics recon/msee: no run has it; did you mean recon/mse"),
        (
            ["s", "--rows", "model"],
            "--rows model: would average over different data (emoji, letters); add data to --rows or",
        ),
        (["s", "--rows", "modle"], "--rows modle: no such setting; did you mean model"),
        (["s", "latent_dim<"], "latent_dim<: is not a condition; write key=value, or another of <= >="),
        (["s", "--where", "model"], "model: is not a condition; write key=value"),
        (["s", "latent_dimm<3"], "latent_dimm<3: no such setting or metric; did you mean latent_dim"),
        (["s", "latent_dim<two"], "latent_dim<two: two is not a number; write one after <"),
        (["s", "model=pca"], "model=pca: no run matches; the runs have model=ae, vae"),
        (["s", "--csv", "model=vae"], "--csv model=vae: is a condition, not a file; put conditions before the options"),
        (["s", "--report", "latent_dim<=2"], "--report latent_dim<=2: is a condition, not a file; "),
        (["s", "--sort", "recon/mss"], "--sort recon/mss: no such column; did you mean recon/mse"),
        (["s", "--csv", "empty"], "--csv empty: is a folder, not a file; put folders of runs before the options"),
        (["s", "--csv", "no/x.csv"], "--csv no/x.csv: the folder no does not exist"),
        (["s", "--csv", "--json"], "compare: more than one format would be printed; give all but one a file name"),
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


def test_validation_errors_are_compared_as_the_parameters_were_kept(tmp_path, told):
    runs = {"last": ({MSE: 0.1}, {}), "best": ({MSE: 0.1}, {"select": "best"}), "without": ({MSE: 0.1}, {"seed": 1})}
    folder = make_sweep(tmp_path / "s", runs)
    for name in ("last", "best"):
        (folder / name / "history.csv").write_text("step,train/loss,valid/mse\n10,3,0.25\n20,2,nan\n30,1,0.5\n")
    (folder / "without" / "history.csv").unlink()
    found = {entry.path: entry.metrics for entry in read([folder])}
    assert found[f"{folder}/last"] == {MSE: 0.1, "valid/mse": 0.5}
    assert found[f"{folder}/best"] == {MSE: 0.1, "valid/mse": 0.25}
    assert found[f"{folder}/without"] == {MSE: 0.1}
    out = told(folder, "select=best", "--metrics", "valid/mse", "--json")[1]
    assert json.loads(out)["rows"][0]["valid/mse"]["mean"] == 0.25


def test_what_was_averaged_over_is_told_and_what_comes_with_a_row_is_not(tmp_path, told):
    runs = {
        f"{model}{seed}": ({MSE: 0.1}, {"model": model, "net": net, "seed": seed, "optim__lr": 0.001 * (1 + seed)})
        for model, net in (("ae", "mlp"), ("vae", "conv"))
        for seed in range(2)
    }
    out = told(make_sweep(tmp_path / "s", runs), "--rows", "model")[1]
    assert "each mean is over 2 values of optim.lr: 0.001, 0.002" in out and "values of net" not in out
    assert "each mean is over 2 values of net: mlp, conv" in told(tmp_path / "s", "--rows", "data")[1]


def test_n_counts_the_runs_of_a_cell_and_each_column_has_a_best_one(tmp_path, told):
    make_grid(tmp_path / "s", noises=("none",), dims=(2, 4, 8), seeds=3)
    words = (tmp_path / "s", "--rows", "model", "--cols", "latent_dim", "--metrics", MSE, "--latex")
    lines = [line.removesuffix(r" \\").split(" & ") for line in told(*words)[1].splitlines() if " & " in line]
    assert lines[0][-3:] == ["n", "diverged", "missing"]
    assert [line[-3:] for line in lines[1:]] == [["3", "0", "0"]] * 2
    columns = list(zip(*(line[1:4] for line in lines[1:]), strict=True))
    assert [sum("mathbf" in cell for cell in column) for column in columns] == [1, 1, 1]
    shutil.rmtree(tmp_path / "s" / "0")
    lines = [line.removesuffix(r" \\").split(" & ") for line in told(*words)[1].splitlines() if " & " in line]
    assert [line[-3:] for line in lines[1:]] == [["2-3", "0", "1"], ["3", "0", "0"]]
    assert "(n=2)" in lines[1][1] and not any("(n=" in cell for line in lines[1:] for cell in line[2:])


def test_the_table_leaves_out_what_is_the_same_in_all_runs(tmp_path, told):
    folder = make_grid(tmp_path / "s", noises=("none",), dims=(2,))
    assert aejax.compare.table(folder).columns[0] == "model" and "data" not in aejax.compare.table(folder)
    status, out, err = told(folder)
    assert (status, err) == (0, "") and "in all runs: data=letters, noise=none, latent_dim=2" in out
    assert told(folder, "--json")[1].count('"latent_dim": 2') == 1
    assert aejax.compare.table(folder, rows=["model", "data"])["data"].tolist() == ["letters"] * 2
    one = make_run(tmp_path / "one", {MSE: 0.1})
    assert aejax.compare.table(one.path)["model"].tolist() == ["ae"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # what follows from the model is no part of its name
        ([{"model": "ae"}, {"model": "pca", "net": "linear"}], ["ae", "pca"]),
        # a setting is named only where the model leaves it open
        ([{"model": "ae"}, {"model": "vae", "net": "conv"}, {"model": "vae"}], ["ae", "vae net=conv", "vae net=mlp"]),
        ([{"model": "ae"}, {"model": "vae", "model__beta": 1.0}, {"model": "vae", "model__beta": 4.0}],
         ["ae", "vae beta=1", "vae beta=4"]),
        ([{"noise": "none"}, {"noise": "flip", "noise__level": 0.1}, {"noise": "flip", "noise__level": 0.2}],
         ["noise=none", "noise=flip level=0.1", "noise=flip level=0.2"]),
        ([{"model": "a beta=1"}, {"model": "a", "model__beta": 1}, {"model": "a", "model__beta": 2}],
         ["a beta=1", "a beta=1 (2)", "a beta=2"]),
    ],
)  # fmt: skip
def test_models_are_named_by_what_differs(settings, expected, tmp_path):
    runs = aejax.compare.load(make_sweep(tmp_path / "s", {str(n): ({MSE: n}, own) for n, own in enumerate(settings)}))
    assert sorted(labels.names(runs.frame, runs.rows)) == sorted(expected)
