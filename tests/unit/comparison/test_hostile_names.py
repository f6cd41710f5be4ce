"""Names and labels of anybody's runs stay text, in every format that the comparison writes."""

import csv
import io
import json
import re

import pandas as pd
import pytest
from made import make_run

import aejax.compare
from aejax.cli.compare import Comparison, build_parser
from aejax.comparison import formats
from aejax.comparison.plain import cell, plain

MSE = "recon/mse"
SCRIPT = "<script>alert(1)</script>"
NAMES = {
    "html": f"{SCRIPT}<img src=x onerror=alert(1)>",
    "formula": '=cmd|"/c calc"!A1',
    "lines": "two\nlines\r\tand | a pipe",
    "surrogate": "half \ud800 a pair",
    "terminal": "\x1b[31mred\x1b]0;title\x07 \u202egnihtemos",
    "latex": r"\input{/etc/passwd} $x$ %& _a_ #1 ~^{}",
    "markup": "[bold red]x[/] `code` **b** [a](javascript:alert(1))",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Two seeds of a model of each of these names, which also name a setting, a data set and a version."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, name in enumerate(NAMES.values()):
        for seed in range(2):
            path = folder / f"{number}-{seed}"
            known = name.replace("\ud800", "?")  # which no YAML can hold
            run = make_run(path, {MSE: 0.1 + number}, model=known, remark=known, seed=seed)
            data = run.record["data"] | {"name": name}
            _leave(path / "run.json", run.record | {"name": name, "versions": {"aejax": name}, "data": data})
            _leave(path / "metrics.json", {MSE: 0.1 + number, f"own/{name}": 1.0})
    failed = make_run(folder / "failed", {}, status="failed", seed=9)
    _leave(folder / "failed" / "run.json", failed.record | {"error": " ".join(NAMES.values())})
    return folder


def _leave(path, content):
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def compared(hostile):
    return Comparison.of(build_parser().parse_intermixed_args([str(hostile), "--metrics", MSE, "own/*"]))


def test_no_format_has_a_character_that_acts(compared, hostile, told):
    status, out, err = told(hostile)
    assert (status, err) == (0, "")
    for text in (out, *(compared.text(form) for form in ("csv", "json", "latex", "markdown"))):
        text.encode()
        assert not re.search("[^\\n -~\\u00a1-\\u00ac\\u00ae-\\u024f\\u2013\\u2026\\u2264]", text), text
        assert len(re.findall("gnihtemos", text)) > 0 and "\\x1b" in text.replace("textbackslash{}", "")


def test_names_are_whole_and_in_order_in_json_csv_and_parquet(compared, hostile, told, tmp_path):
    expected = sorted({plain(name.replace("\ud800", "?")) for name in [*NAMES.values(), "ae"]})
    rows = json.loads(compared.text("json"))["rows"]
    assert sorted(row["model"] for row in rows) == expected
    found = list(csv.DictReader(io.StringIO(compared.text("csv"))))
    assert sorted(row["model"] for row in found) == sorted(map(cell, expected))
    assert cell(NAMES["formula"]) == "'" + NAMES["formula"]
    assert not any(value.startswith(("=", "+", "@")) for row in found for value in (*row, *row.values()))
    assert told(hostile, "--parquet", tmp_path / "t.parquet")[0] == 0
    assert sorted(pd.read_parquet(tmp_path / "t.parquet")["model"]) == expected
    assert aejax.compare.table(hostile)["model"].nunique() == len(expected)


def test_a_number_in_a_cell_is_no_formula():
    assert [cell(value) for value in ("-1", "+2e3", "-x", "a=b", -3, None)] == ["-1", "+2e3", "'-x", "a=b", -3, None]


def test_markdown_has_as_many_cells_as_headers(compared):
    lines = compared.text("markdown").splitlines()
    assert len(lines) == 2 + len(NAMES) + 1
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(compared.grid[0]) + 1}
    assert SCRIPT not in "".join(lines) and r"\<script\>" in "".join(lines) and r"\`code\`" in "".join(lines)
    headers = formats.markdown(["separation/knn_accuracy _a_"], [], 1).splitlines()[0]
    assert headers == r"| separation/knn_accuracy \_a\_ |"


def test_latex_has_no_command_of_a_name(compared):
    lines = [line for line in compared.text("latex").splitlines() if not line.startswith("%")]
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 1 + len(NAMES) + 1
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(compared.grid[0]) - 1}
    known = r"\\(textbackslash|begin|end|toprule|midrule|bottomrule|text\w+|char36|pm|mathbf|cdot|dots|[&%$#_{}\\])"
    assert not re.sub(known, "", "\n".join(lines)).count("\\")


def test_the_page_holds_no_element_of_a_name(compared, hostile):
    report = pytest.importorskip("aejax.comparison.report", reason="the extra report is not installed")
    page = report.page(compared, hostile)
    page.encode()
    assert SCRIPT not in page and "<img src=x" not in page and page.count("</script>") == 3
    content = json.loads(page.partition('id="content">')[2].partition("</script>")[0])
    assert {run["name"] for run in content["runs"]} >= {plain(name) for name in NAMES.values()}


def test_two_names_that_look_alike_stay_two(tmp_path):
    for number, (model, beta) in enumerate([("a beta=1", None), ("a", 1), ("a", 2)]):
        make_run(tmp_path / str(number), {MSE: number}, model=model, **({} if beta is None else {"model__beta": beta}))
    table = aejax.compare.table(tmp_path)
    assert len(table) == 3
