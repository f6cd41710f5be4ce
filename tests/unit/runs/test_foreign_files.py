"""Files of anybody: none makes a reader wait, take all memory, or end in a traceback."""

import json
import os

import numpy as np
import pytest
from made import make_run, make_sweep

from aejax.base.errors import InputError
from aejax.base.files import check_free, octets
from aejax.cli.resume import command_of
from aejax.comparison.points import points
from aejax.datasets import cache
from aejax.datasets.dataset import Split
from aejax.datasets.sources.tfds import Tfds
from aejax.runs import contents
from aejax.sweeps.ledger import Ledger

ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9))
DEEP = ["[" * 100_000, "a: " + "[" * 20_000, "a: " + "[" * 5000, "a: " + "[" * 5000 + "]" * 5000, "- " * 5000 + "a"]


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "history.csv", ".hydra/config.yaml", ".hydra/hydra.yaml"])
def test_a_pipe_in_a_run_is_damage(told, tmp_path, name):
    for seed in range(2):
        make_run(tmp_path / str(seed), {"recon/mse": 0.1}, seed=seed)
    (tmp_path / "1" / name).unlink()
    os.mkfifo(tmp_path / "1" / name)
    status, out, err = told(tmp_path)
    assert (status, err) == (0, "")
    assert "is no regular file" in out and "1 damaged" in out


def test_no_reader_waits_for_a_pipe(tmp_path):
    run = make_run(tmp_path / "a", {"recon/mse": 0.1})
    for name in ("params.safetensors", "codes.npz", ".hydra/overrides.yaml", ".lock"):
        (run.path / name).unlink(missing_ok=True)
        os.mkfifo(run.path / name)
    assert run.damaged == ["params.safetensors", "codes.npz"] and not run.has_settings
    for read in (lambda: run.params, lambda: run.codes, lambda: check_free(run.path)):
        with pytest.raises(InputError, match="is no regular file"):
            read()
    assert "is no regular file" in points(run.path, 9)[1]


@pytest.mark.parametrize("name", ["sweep.json", ".compare.json", "multirun.yaml"])
def test_a_pipe_in_a_sweep_is_damage(told, tmp_path, name):
    make_sweep(tmp_path / "s", {str(seed): ({"recon/mse": 0.1}, {"seed": seed}) for seed in range(2)})
    (tmp_path / "s" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "s" / name)
    status, out, err = told(tmp_path)
    assert (status, err) == (0, "") and out.count("0.1")
    if name == "multirun.yaml":
        with pytest.raises(InputError, match="is no regular file"):
            command_of(tmp_path / "s")


@pytest.mark.parametrize(
    "text", [ALIASES, *DEEP, "a: " + "x" * 2**20, "{1: 2, [3]: 4}", "\xff\xfe\0", "a: !!binary aGk="]
)
def test_yaml_that_grows_or_is_too_deep_is_refused_at_once(tmp_path, text):
    path = tmp_path / "multirun.yaml"
    path.write_text(text, encoding="latin-1")
    for read in (contents.mapping, contents.config, lambda path: command_of(path.parent)):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: cannot be read (") and len(str(caught.value)) < 400


def test_a_setting_with_a_number_for_a_name_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("a: 1\n3: 4\n")
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read \(has the key 3, which is no string\)"):
        contents.config(tmp_path / "config.yaml")


def test_a_folder_of_a_command_that_cannot_be_is_damage(tmp_path):
    runtime = {"cwd": "a" * 5000, "config_sources": []}
    record = {"hydra": {"mode": "MULTIRUN", "overrides": {"task": [], "hydra": []}, "runtime": runtime}}
    (tmp_path / "multirun.yaml").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"multirun\.yaml: cannot be read"):
        command_of(tmp_path, trust=True)


PROGRAMS = [[{"jobs": [0, 1] * 1501, "how": "vmap", "devices": 3002}]]
PROGRAMS += [[{"jobs": [0], "how": "map", "devices": 1}] * 2]
PROGRAMS += [[{"jobs": list(range(2000)), "how": "map", "devices": 2000}]]
LEDGERS = ["[" * 100_000, '{"overrides": [], "jobs": [{"number": 1}, {"number": 1}], "programs": []}']
LEDGERS += [json.dumps({"overrides": [], "jobs": [], "programs": programs}) for programs in PROGRAMS]


@pytest.mark.parametrize("text", LEDGERS)
def test_a_ledger_that_no_sweep_leaves_is_damaged(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    ledger = Ledger(tmp_path)
    assert ledger.broken and not ledger.devices


@pytest.mark.parametrize("text", ["\xff\xfe\0", "hydra: " + "[" * 20_000, "hydra: {overrides: {task: 3}}", ALIASES])
def test_a_damaged_multirun_yaml_tells_no_command(tmp_path, text):
    (tmp_path / "multirun.yaml").write_text(text, encoding="latin-1")
    assert Ledger(tmp_path).overrides is None


def test_a_ledger_with_half_a_surrogate_pair_is_written_again(tmp_path):
    jobs = [{"number": 0, "error": "\ud800"}]
    (tmp_path / "sweep.json").write_text(json.dumps({"overrides": [], "jobs": jobs, "programs": []}))
    Ledger(tmp_path).write()
    assert Ledger(tmp_path).jobs[0]["error"] == "\ud800"


@pytest.mark.parametrize("text", ["[]", "[" * 100_000, '{"labeled": [], "digests": []}', '{"labeled": 1}', "\xff"])
def test_what_is_kept_of_data_is_made_anew_where_it_is_damaged(tmp_path, text):
    splits = {"train": Split(np.ones((4, 3), np.float32), np.arange(4, dtype=np.int32))}
    cache.kept([tmp_path / "kept"], lambda: (splits, {}))
    (tmp_path / "kept" / "about.json").write_text(text, encoding="latin-1")
    for _ in range(2):
        found, _ = cache.kept([tmp_path / "kept"], lambda: (splits, {}))
        assert found["train"].y.tolist() == [0, 1, 2, 3]
    assert "digests" in json.loads((tmp_path / "kept" / "about.json").read_text())


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\xff"])
def test_a_prepared_set_that_is_damaged_gets_one_line(tmp_path, text):
    (tmp_path / "dataset_info.json").write_text(text, encoding="latin-1")
    source = Tfds.__new__(Tfds)
    object.__setattr__(source, "name", "mnist")
    with pytest.raises(InputError, match=r"data.name=mnist: .*dataset_info.json cannot be read; remove"):
        source._decoded(tmp_path)


def test_json_that_is_too_deep_or_too_long_is_refused(tmp_path):
    path = tmp_path / "run.json"
    for text in ("[" * 100_000, '{"status": "completed", "x": ' + "[" * 900 + "]" * 900 + "}"):
        path.write_text(text)
        with pytest.raises(InputError, match="cannot be read"):
            contents.record(path)
    with pytest.raises(InputError, match="has more than 9 bytes"):
        octets(path, 9)
