"""python -m aejax.export: files that give the same numbers in a process without aejax; what does not fit is refused."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from conftest import called, job
from outside import same_outside

import aejax
from aejax.cli import export
from aejax.cli.train import main
from aejax.datasets.dataset import Dataset
from aejax.inference.parts import parts

QUICK = ["steps=20", "log_points=1", "figures=false", "track=off", "latent_dim=4", "evaluate.groups=[reconstruction]"]
NARROW = ["net.widths=[16]"]
RUNS = {
    "vae": ["model=vae", "data=emoji", *NARROW],
    "cvae": ["model=cvae", "data=digits", "data.binarize=threshold", "data.test_limit=300", *NARROW],
}
OTHERS = {  # beside every model, with narrow nets, in tests/system/models/test_every_model.py
    "conv_vae": ["model=conv_vae", "data=emoji"],
    "conv": ["model=vae", "net=conv", "data=digits", "data.test_limit=300"],
    "vit": ["model=vae", "net=vit", "data=emoji"],
    "deep": ["model=vae", "net=deep", "data=emoji"],
    "letters": ["model=vae"],
}
RNG = np.random.default_rng(0)
NO_ONNX = importlib.util.find_spec("jax2onnx") is None
ONNX = pytest.param("onnx", marks=[pytest.mark.slow, pytest.mark.skipif(NO_ONNX, reason="jax2onnx is not installed")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trains a run by name, once; gives its folder."""
    above = tmp_path_factory.mktemp("runs")

    def trained(name):
        path = above / name
        if not path.exists() and name == "own":
            dataset = Dataset(train=(RNG.normal(size=(300, 5)) * [1, 10, 100, 3, 0.1] + 3000).astype(np.float32))
            aejax.train(dataset, *QUICK, *NARROW, "model=vae", "data.standardize=true", f"hydra.run.dir={path}")
        elif not path.exists():
            assert called(main, *QUICK, *(RUNS | OTHERS)[name], f"hydra.run.dir={path}") == 0
        return path

    return trained


def exported(path, out, *words):
    """Runs the command; gives the folder that it made."""
    assert called(lambda: export.main([str(path), str(out), *words])) == 0
    return out


def examples_of(run, name):
    """300 examples as an export takes them, and their labels or None."""
    if name == "own":
        return (RNG.normal(size=(300, 5)) * [1, 10, 100, 3, 0.1] + 3000).astype(np.float32), None
    dataset = job(*QUICK, *(RUNS | OTHERS)[name]).dataset
    rows = np.arange(300) % len(dataset.test.x)
    x = dataset.test.x[rows]
    if name == "cvae":  # bytes, and examples of 0 and 1
        x = np.where(rows[:, None, None, None] % 2, x, x * 200 + RNG.integers(0, 50, x.shape)).astype(np.uint8)
    return x, dataset.test.y[rows] if run.experiment.model.is_conditional else None


@pytest.mark.slow
@pytest.mark.parametrize("form", ["stablehlo", ONNX])
@pytest.mark.parametrize(
    "name", ["vae", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cvae", "own", *OTHERS))]
)
def test_exported_files_give_the_same_numbers_without_aejax(name, form, folder, tmp_path):
    run = aejax.load(folder(name))
    out = exported(folder(name), tmp_path / "out", "--to", form)
    same_outside(run, out, *examples_of(run, name))
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["README.md", "export.json", f"encoder.{form}", f"decoder.{form}"]
    )
    assert not any(str(tmp_path.parent).encode() in path.read_bytes() for path in out.iterdir())


@pytest.mark.parametrize("form", ["stablehlo", ONNX])
def test_noisy_fractions_are_taken_where_they_are_asked_for(form, folder, tmp_path):
    run = aejax.load(folder("vae"))
    out = exported(folder("vae"), tmp_path / "out", "--pixels", "fractions", "--part", "encoder", "--to", form)
    assert json.loads((out / "export.json").read_text())["parts"]["encoder"]["inputs"] == [
        {"name": "x", "dtype": "float32", "shape": ["B", 12, 12, 3], "values": "fractions from 0 to 1"}
    ]
    same_outside(run, out, RNG.random((300, 12, 12, 3)).astype(np.float32))


def test_the_description_says_what_goes_in_and_comes_out(folder, tmp_path):
    about = json.loads((exported(folder("cvae"), tmp_path / "out") / "export.json").read_text())
    assert about["data"] == {"name": "digits", "kind": "binary", "shape": [8, 8, 1], "labels": [*"0123456789"]}
    assert about["format"] == "stablehlo" and about["platforms"] == ["cpu", "cuda", "tpu"]
    assert about["run"]["id"] == json.loads((folder("cvae") / "run.json").read_text())["id"]
    label = {"name": "label", "dtype": "int32", "shape": ["B"], "values": "numbers of labels, from 0 to 9"}
    assert [part["inputs"][1] for part in about["parts"].values()] == [label, label]
    assert about["parts"]["decoder"]["output"] == {
        "name": "x", "dtype": "float32", "shape": ["B", 8, 8, 1], "values": "fractions"
    }  # fmt: skip


@pytest.mark.parametrize("form", ["stablehlo", ONNX])
def test_the_lines_of_the_readme_run_as_written(form, folder, tmp_path):
    out = exported(folder("cvae"), tmp_path / "out", "--to", form)
    code = re.search(r"```python\n(.*)```", (out / "README.md").read_text(), re.S)[1]
    code += "\nimport sys\nprint(z.shape, x.shape, 'aejax' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=out, env=environment, capture_output=True, text=True)
    assert done.stdout == "(5, 4) (5, 8, 8, 1) False\n", done.stderr


def test_an_export_is_replaced_whole_and_nothing_else_is(folder, tmp_path, capsys):
    out = exported(folder("vae"), tmp_path / "out")
    before = (out / "encoder.stablehlo").read_bytes()
    words = [str(folder("vae")), str(out), "--part", "decoder"]
    assert called(lambda: export.main(words)) == 2
    assert capsys.readouterr().err == f"aejax: {out}: exists; choose another folder, or add --overwrite\n"
    assert (out / "encoder.stablehlo").read_bytes() == before
    exported(*words, "--overwrite")
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "decoder.stablehlo", "export.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (out / "notes.txt").write_text("mine")
    assert called(lambda: export.main([*words, "--overwrite"])) == 2
    assert "holds notes.txt, which is of no export" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{run}", "{out}", "--to", "tf"], "argument --to: invalid choice: 'tf' (choose from"),
        (["{run}", "{out}", "--part", "prior"], "argument --part: invalid choice: 'prior' (choose from"),
        (["{run}", "{out}/deeper"], "/out/deeper: the folder {out} does not exist"),
        (["{out}", "{out}"], "out: does not exist"),
        (["{run}", "{run}", "--overwrite"], ", which is of no export; choose another folder"),
        (["{run}", "{run}/run.json", "--overwrite"], "run.json: is no folder; choose another name"),
        (["{own}", "{out}", "--pixels", "fractions"], "are real numbers, not images"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(words, told, folder, tmp_path, capsys):
    places = {"run": folder("vae"), "own": folder("own"), "out": tmp_path / "out"}
    capsys.readouterr()
    assert called(lambda: export.main([word.format(**places) for word in words])) == 2
    out, err = capsys.readouterr()
    assert told.format(**places) in err and err.count("\n") == 1 and out == ""
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert called(lambda: export.main([str(folder("vae")), str(tmp_path / "out"), "--to", "onnx"])) == 2
    assert capsys.readouterr().err == "aejax: --to onnx: requires more packages: pip install 'aejax[onnx]'\n"


class Converted:
    """Stands for jax2onnx's model and for ONNX Runtime's session; `off` is by how much its numbers are wrong."""

    def __init__(self, part, off):
        self.part, self.off = part, off

    def SerializeToString(self):
        return b"model"

    def run(self, _, inputs):
        return [np.asarray(self.part.function(*inputs.values())) + self.off]


@pytest.mark.parametrize("off", [0, 0.01])
def test_a_wrong_conversion_is_refused(off, folder, tmp_path, capsys, monkeypatch):
    (part,) = parts(aejax.load(folder("vae")), "encoder")
    converted = Converted(part, off * np.abs(part.function(np.full((1, 12, 12, 3), 99, np.uint8))).max())
    runtime = {"SessionOptions": types.SimpleNamespace, "InferenceSession": lambda *_, **__: converted}
    monkeypatch.setitem(sys.modules, "jax2onnx", types.SimpleNamespace(to_onnx=lambda *_, **__: converted))
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(**runtime))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    out = tmp_path / "out"
    status = called(lambda: export.main([str(folder("vae")), str(out), "--to", "onnx", "--part", "encoder"]))
    assert (status, out.exists()) == ((2, False) if off else (0, True))
    refusal = (
        r"aejax: --to onnx: jax2onnx cannot convert this encoder \(its numbers differ by up to .*\); use stablehlo\n"
    )
    assert re.fullmatch(refusal if off else "", capsys.readouterr().err)


def test_a_run_that_diverged_is_exported_by_force(folder, tmp_path, capsys):
    path, record = folder("own"), json.loads((folder("own") / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(record | {"status": "diverged"}))
    try:
        assert called(lambda: export.main([str(path), str(tmp_path / "out")])) == 2
        assert "its status is diverged; must be completed; --force uses" in capsys.readouterr().err
        exported(path, tmp_path / "out", "--force", "--part", "decoder")
    finally:
        (path / "run.json").write_text(json.dumps(record))
