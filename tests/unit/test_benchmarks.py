"""What the benchmarks share: turns, ratios, records, the page, the command. Nothing here asserts a speed."""

import importlib.util
import json
import sys

import pytest
import yaml
from conftest import CONF

sys.path.append(str(CONF.parent))  # where benchmarks/ is
from benchmarks import __main__ as command
from benchmarks import page, record, rows, start, sweep, timing, train
from benchmarks.rows import Row
from benchmarks.timing import Spread

ROOT = CONF.parent
RATES = {"product": 51.4e9, "memory": 12.6e9}
RECORD = {
    "name": "train",
    "command": "python -m benchmarks train",
    "quick": False,
    "date": "2026-01-02",
    "machine": {
        "cores": 2,
        "kind": "x86_64",
        "system": "Linux",
        "load": {"before": 0.11, "after": 1.96},
        "rates": {"before": RATES, "after": {"product": 49.6e9, "memory": 12.4e9}},
    },
    "versions": {"python": "3.11.7", "jax": "0.10.2", "torch": "absent"},
    "rows": [
        Row("letters", "a loop", "steps/s", 28_571.4, 1234.56, Spread(23.14, 20.0, 25.06, 7), 10).recorded,
        Row("main command", "imports + training", "s", 7.25, 4.0, Spread(1.8125, 1.7, 2, 5), 1.5, True).recorded,
        Row("a job", "", "ms", 9.5, target=10, at_most=True).recorded,
        rows.absent("letters", "PyTorch", "not | here").recorded,
    ],
}
SECTION = """## train

`python -m benchmarks train`, 2026-01-02: 2 cores (x86_64), load before and after 0.1 and 2.0, \
matrix product 51 and 50 GFLOP/s, memory 13 and 12 GB/s. python 3.11.7, jax 0.10.2, torch absent.

| case | against | aejax | other | unit | ratio (min to max) | target | reached | note |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| letters | a loop | 28,571 | 1,235 | steps/s | 23.1 (20 to 25.1) | ≥ 10 | yes |  |
| main command | imports + training | 7.25 | 4 | s | 1.81 (1.7 to 2) | ≤ 1.5 | no |  |
| a job |  | 9.5 |  | ms |  | ≤ 10 | yes |  |
| letters | PyTorch |  |  |  |  |  |  | not measured: not / here |
"""


class Clock:
    """A clock that advances only where a call says so; `calls` are the names of those that were made."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def side(self, name, *seconds):
        """A call that takes these seconds, one after another."""
        left = iter(seconds)

        def call(*_):
            self.calls.append(name)
            self.now += next(left)

        return call


def test_sides_take_turns_after_one_call_of_each_that_does_not_count():
    clock = Clock()
    sides = {"a": clock.side("a", 100, 1, 2, 4), "b": clock.side("b", 100, 3, 2, 2)}
    assert timing.interleaved(sides, 3, clock) == {"a": [1, 2, 4], "b": [3, 2, 2]}
    assert "".join(clock.calls) == "ab" + "ab" * 3


def test_ours_takes_its_turn_before_each_other_side():
    clock = Clock()
    ours, others = clock.side("o", 100, 1, 2, 3, 4), {"a": clock.side("a", 100, 5, 6), "b": clock.side("b", 100, 7, 8)}
    assert timing.beside(ours, others, 2, clock) == {"a": ([1, 3], [5, 6]), "b": ([2, 4], [7, 8])}
    assert "".join(clock.calls) == "oab" + "oaob" * 2


def test_a_ratio_is_that_of_each_round():
    assert timing.ratio([4, 9, 1], [2, 3, 4]) == Spread(2, 0.25, 3, 3)  # the ratio of the medians would be 4 / 3
    assert timing.rates([0.5, 2], 10) == [20, 5]
    assert Spread.of([4, 1, 2, 3]) == Spread(2.5, 1, 4, 4)
    with pytest.raises(ValueError, match="shorter"):
        timing.ratio([1, 2], [1])


def test_the_amount_of_a_turn_is_what_takes_its_time():
    clock = Clock()

    def call(amount):
        clock.now += 0.01 * amount

    assert timing.amount_for(call, 1.0, clock) == 100
    assert timing.amount_for(call, 0.001, clock) == 1  # a call takes longer


@pytest.mark.parametrize(
    ("fields", "reached"),
    [
        ({"ratio": Spread(2, 1, 3, 3), "target": 2}, True),
        ({"ratio": Spread(1.9, 1, 3, 3), "target": 2}, False),
        ({"ratio": Spread(1.9, 1, 3, 3), "target": 2, "at_most": True}, True),
        ({"ours": 11, "target": 10, "at_most": True}, False),
        ({"ratio": Spread(2, 1, 3, 3)}, None),
        ({"target": 2, "note": "not measured"}, None),
    ],
)
def test_a_target_is_a_bound_of_the_median(fields, reached):
    row = Row("case", **fields)
    assert row.reached is reached
    assert Row.read(json.loads(json.dumps(row.recorded))) == row


def test_the_page_is_made_from_the_records_to_the_byte(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps(RECORD))
    (tmp_path / "sweep.json").write_text(json.dumps(RECORD | {"name": "sweep", "quick": True}))
    words = ["write", "--out", str(tmp_path), "--page", str(tmp_path / "results" / "speed.md")]
    assert command.main(words) == 0
    quick = SECTION.replace("## train\n", f"## sweep\n\n{page.QUICK}\n")
    assert (tmp_path / "results" / "speed.md").read_text() == f"{page.HEAD}\n{SECTION}\n{quick}"


def test_the_page_in_the_documentation_is_that_of_the_records():
    records = record.read(ROOT / "benchmarks" / "results", command.NAMES)
    assert page.PAGE.read_text(encoding="utf-8") == page.text(records), "run python -m benchmarks write"
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    assert page.PAGE.relative_to(ROOT / "docs").as_posix() in str(yaml.safe_load(f"nav:{nav}"))


def test_a_record_says_where_and_how_it_was_measured(tmp_path, monkeypatch, capsys):
    class Benchmark:
        @staticmethod
        def rows(quick, originals):
            yield Row("one", ours=float(quick), note=originals)
            raise MemoryError("16 GiB")

    monkeypatch.setattr(record.importlib, "import_module", {"benchmarks.data": Benchmark}.__getitem__)
    measure = iter([RATES, RATES | {"memory": 1e9}])
    words = "data", "python -m benchmarks data", True, tmp_path, lambda quick: next(measure)
    assert not record.measured(*words, originals="folder")
    left = json.loads((tmp_path / "data.json").read_text())
    assert [row["case"] for row in left["rows"]] == ["one", "data"]
    assert left["rows"][0]["note"] == "folder" and left["rows"][1]["note"] == "failed: MemoryError"
    assert left["machine"]["rates"] == {"before": RATES, "after": RATES | {"memory": 1e9}}
    assert left["versions"].keys() >= {"python", "jax", "jaxlib", "numpy", "torch"} and left["machine"]["cores"] > 0
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("side", [train.EAGER, train.PYTHAE])
def test_a_side_whose_library_is_absent_says_so(monkeypatch, side):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    case = train.CASES[train.gpu.MLP]
    with pytest.raises(train.NotMeasured, match="is not installed; the extra bench has it"):
        train.OTHERS[side](case, train.SIZES[True], 1)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "holds no record of a benchmark"),
        ("{", "start.json: damaged; "),
        ("[]", "start.json: not the record of a benchmark; it lacks name, "),
        ('{"name": "start", "rows": []}', "it lacks command, quick, date, machine, versions"),
    ],
)
def test_a_page_is_not_written_without_records_or_from_damaged_ones(content, line, tmp_path, capsys):
    if content is not None:
        (tmp_path / "start.json").write_text(content)
    written = tmp_path / "speed.md"
    written.write_text("as it was")
    with pytest.raises(SystemExit) as stopped:
        command.main(["--page", str(written), "write", "--out", str(tmp_path)])
    assert stopped.value.code == 2 and line in capsys.readouterr().err
    assert written.read_text() == "as it was"


def test_options_may_stand_between_names_and_references_stand_alone(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["start", "--quick", "references"])
    assert stopped.value.code == 2
    assert "references comes first and alone: python -m benchmarks references" in capsys.readouterr().err


def test_an_unknown_name_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["trian"])
    told = capsys.readouterr()
    assert (stop.value.code, told.out) == (2, "")
    assert told.err.startswith("aejax: trian: no such benchmark; did you mean train? known: all, ")
    assert told.err.count("\n") == 1


def test_without_a_name_it_lists_them_all_with_a_line_each(capsys):
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*command.NAMES, "references", "write"]
    assert all(len(line.split()) > 4 and line.endswith(".") for line in lines)
    assert command.chosen(["sweep", "train"]) == ["train", "sweep"]  # in their order
    assert command.chosen(["all", "write"]) == list(command.NAMES)


def test_what_few_jobs_take_is_extrapolated_to_all_of_a_sweep(monkeypatch, tmp_path):
    """4 jobs a round stand for 256, or 12; a launcher's first jobs, which wait for its start, do not count."""
    took = {"ours": [16.0, 32.0], sweep.FRESH: [8.0, 8.0], sweep.TORCH: [4.0, 8.0]}
    took |= {f"{sweep.BASIC}, first": [5.0, 5.0], sweep.BASIC: [17.0, 17.0]}
    took |= {f"{sweep.JOBLIB}, first": [5.0, 5.0], sweep.JOBLIB: [7.0, 7.0]}
    installed = {"torch": True, "hydra_plugins.hydra_joblib_launcher": None}
    monkeypatch.setattr(importlib.util, "find_spec", installed.get)
    monkeypatch.setattr(timing, "interleaved", lambda sides, rounds: {name: took[name] for name in sides})
    monkeypatch.setattr(sweep, "inside", lambda folder: (24.0, 1))
    monkeypatch.setattr(sweep.Sweeps, "of_a_job", lambda self: [])
    monkeypatch.setattr(sweep.Sweeps, "swept", lambda self, seeds, folder: 60.0)
    found = list(sweep.Sweeps(tmp_path, sweep.Sizes(rounds=2)).rows())
    by_side = {row.against: row for row in found if row.against}
    assert by_side[sweep.FRESH].ratio == Spread(24, 16, 32, 2) and by_side[sweep.FRESH].reached is False
    assert (by_side[sweep.TORCH].ours, by_side[sweep.TORCH].other) == (24, 384)
    assert by_side[sweep.TORCH].ratio == Spread(16, 16, 16, 2)
    assert by_side[sweep.BASIC].other == 256
    assert by_side[sweep.JOBLIB].note == "not measured: hydra-joblib-launcher is not installed; the extra bench has it"
    by_case = {row.case: row.ours for row in found if not row.against}
    assert by_case["share of the time outside training and compiling"] == 0.25
    assert by_case["1,024 jobs"] == 60


def test_a_command_is_compared_with_its_imports_and_its_training(monkeypatch):
    left = iter([(9.0, 9.0), (9.0, 9.0), (2.0, 30.0), (3.0, 4.0)])  # train, compile; the first two warm up

    def run(folder, *words, **environment):
        path = folder / words[-1].partition("=")[2]
        path.mkdir()
        seconds = dict(zip(("train", "compile"), next(left), strict=True)) | {"total": 50.0}
        (path / "run.json").write_text(json.dumps({"seconds": seconds}))

    took = {"cold": [60.0], "warm": [10.0], "imports": [5.0]}
    monkeypatch.setattr(start.commands, "aejax", run)
    monkeypatch.setattr(start.commands, "python", lambda *words: None)

    def interleaved(sides, rounds):
        for _ in range(1 + rounds):
            for call in sides.values():
                call()
        return took

    monkeypatch.setattr(timing, "interleaved", interleaved)
    found = {row.case: row for row in start.rows(quick=True)}
    assert found["main command, cold: compile"].ours == 30 and found["main command, warm: train"].ours == 3
    assert found["main command, cold: before and after"].ours == 10
    cold, warm = found["main command, cold"], found["main command, warm"]
    assert (cold.ours, cold.other, cold.reached) == (60, 7, False)
    assert (warm.ratio.median, warm.target, warm.reached) == (10 / 8, 1.5, True)
