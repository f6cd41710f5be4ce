"""Files of anybody: none makes a reader wait, take all memory, or end in a traceback."""

import os

import pytest
from made import make_run, make_sweep

from aejax import contents
from aejax.compare.points import points
from aejax.errors import InputError
from aejax.files import check_free, octets
from aejax.resume import command_of

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


@pytest.mark.parametrize("text", [ALIASES, *DEEP, "a: " + "x" * 2**20, "{1: 2, [3]: 4}", "\xff\xfe\0"])
def test_yaml_that_grows_or_is_too_deep_is_refused_at_once(tmp_path, text):
    path = tmp_path / "multirun.yaml"
    path.write_text(text, encoding="latin-1")
    for read in (contents.mapping, contents.config, lambda path: command_of(path.parent)):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: cannot be read (") and len(str(caught.value)) < 400


def test_json_that_is_too_deep_or_too_long_is_refused(tmp_path):
    path = tmp_path / "run.json"
    for text in ("[" * 100_000, '{"status": "completed", "x": ' + "[" * 900 + "]" * 900 + "}"):
        path.write_text(text)
        with pytest.raises(InputError, match="cannot be read"):
            contents.record(path)
    with pytest.raises(InputError, match="has more than 9 bytes"):
        octets(path, 9)
