"""python -m aejax.apply writes what the same call in Python returns; a wrong input gets one line and leaves nothing."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import called, job
from PIL import Image

import aejax
from aejax.cli import train
from aejax.cli.apply import main
from aejax.datasets.dataset import Dataset
from aejax.inference import operations

QUICK = ["steps=40", "log_points=1", "net.widths=[16]", "latent_dim=3", "figures=false", "track=off"]
QUICK += ["evaluate.groups=[reconstruction]"]
RUNS = {
    "vae": ["model=vae", "data=emoji"],
    "cvae": ["model=cvae", "data=digits", "data.test_limit=300"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run of each of RUNS and the test examples of each, one of real numbers, a folder of pictures."""
    folder = tmp_path_factory.mktemp("apply")
    for name, words in RUNS.items():
        assert called(train.main, *QUICK, *words, f"hydra.run.dir={folder / name}") == 0
        test = job(*QUICK, *words).dataset.test
        np.savez(folder / f"{name}.npz", x=np.tile(test.x, (3, 1, 1, 1)), y=np.tile(test.y, 3))  # two batches
    x = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    aejax.train(Dataset(train=x), *QUICK, "model=ae", f"hydra.run.dir={folder / 'real'}")
    pd.DataFrame(x).to_csv(folder / "real.csv", index=False)
    (folder / "photos").mkdir()
    for name, image in zip("abcd", np.load(folder / "vae.npz")["x"], strict=False):
        Image.fromarray(image).save(folder / "photos" / f"{name}.png")
    return folder


@pytest.fixture
def apply(runs, capsys, monkeypatch):
    """Runs the command beside the runs; gives its exit status, stdout and stderr."""
    monkeypatch.chdir(runs)
    return lambda *words: (called(main, *map(str, words)), *capsys.readouterr())


@pytest.fixture(scope="module")
def loaded(runs):
    kept = {}
    return lambda name: kept.setdefault(name, aejax.load(runs / name))


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


def octets(x):
    return np.rint(x * 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["vae", "cvae"])
@pytest.mark.parametrize("batches", [16, 1])
def test_files_hold_what_python_returns(name, batches, apply, loaded, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(operations, "BATCHES", batches)
    run, given = loaded(name), np.load(runs / f"{name}.npz")
    label = given["y"] if name == "cvae" else None
    for operation in ("encode", "reconstruct", "restore", "score", *["nll"] * (name == "vae")):
        status, out, err = apply(name, operation, f"{name}.npz", tmp_path / "out.npy", "--overwrite")
        assert (status, err) == (0, "")
        assert out.startswith(f"{operation}: {len(given['x'])}") and out.endswith(f"-> {tmp_path}/out.npy\n")
        expected = getattr(run, operation)(given["x"], label=label)
        np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)
    assert apply(name, "encode", f"{name}.npz", tmp_path / "z.npz")[0] == 0
    assert apply(name, "decode", tmp_path / "z.npz", tmp_path / "x.npz")[0] == 0
    labels = np.load(tmp_path / "z.npz")["label"]
    assert labels.tolist() == [run.labels[number] for number in given["y"]]
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["x"], run.decode(np.load(tmp_path / "z.npz")["z"], label))


@pytest.mark.parametrize(("name", "given"), [("vae", None), ("cvae", "label")])
def test_a_record_says_whether_the_evaluation_was_given_labels(runs, name, given):
    assert json.loads((runs / name / "run.json").read_text())["evaluation"].get("given") == given


def test_draws_are_those_of_one_call_whatever_the_parts(apply, loaded, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(operations, "BATCHES", 1)
    run, given = loaded("cvae"), np.load(runs / "cvae.npz")
    assert apply("cvae", "encode", "cvae.npz", tmp_path / "z.npy", "--sample", "--seed", 3)[0] == 0
    expected = run.encode(given["x"], given["y"], sample=True, seed=3)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), expected)
    assert apply("cvae", "sample", tmp_path / "x.npy", "--count", 600, "--seed", 5)[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), run.sample(600, seed=5))
    assert apply("cvae", "sample", tmp_path / "7.npy", "--count", 9, "--label", 7)[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "7.npy"), run.sample(9, label="7"))
    np.save(tmp_path / "labels.npy", np.arange(4))
    np.save(tmp_path / "codes.npy", expected[:4])
    words = ["cvae", "decode", tmp_path / "codes.npy", tmp_path / "4.npy", "--label", tmp_path / "labels.npy"]
    assert apply(*words)[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "4.npy"), run.decode(expected[:4], label=range(4)))


def test_a_density_is_fitted_where_there_is_no_prior(apply, loaded, runs, tmp_path):
    status, _, err = apply("real", "sample", tmp_path / "x.npy")
    assert status == 2 and err.endswith("has no prior; fit a density to the codes of examples: --fit IN\n")
    assert apply("real", "sample", tmp_path / "x.npy", "--fit", "real.csv", "--count", 5)[0] == 0
    expected = loaded("real").fit(pd.read_csv(runs / "real.csv").to_numpy()).sample(5)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)


def test_pictures_in_pictures_and_tables_out(apply, loaded, tmp_path):
    run = loaded("vae")
    x = np.stack([picture(f"photos/{name}.png") for name in "abcd"])
    assert apply("vae", "encode", "photos", tmp_path / "z.csv")[0] == 0
    table = pd.read_csv(tmp_path / "z.csv")
    assert table.columns.tolist() == ["name", "z0", "z1", "z2"]
    assert table.name.tolist() == ["a.png", "b.png", "c.png", "d.png"]
    np.testing.assert_array_equal(table[["z0", "z1", "z2"]].to_numpy(np.float32), run.encode(x))
    assert apply("vae", "reconstruct", "photos", tmp_path / "out")[0] == 0
    expected = octets(run.reconstruct(x))
    np.testing.assert_array_equal([picture(tmp_path / "out" / f"{name}.png") for name in "abcd"], expected)
    assert apply("vae", "reconstruct", "photos/c.png", tmp_path / "c.png")[0] == 0
    np.testing.assert_array_equal(picture(tmp_path / "c.png"), expected[2])
    assert apply("vae", "decode", tmp_path / "z.csv", tmp_path / "sheet.png", "--scale", 1, "--rows", "3,1")[0] == 0
    sheet = picture(tmp_path / "sheet.png")
    np.testing.assert_array_equal(sheet[2:14, 2:14], expected[3])
    np.testing.assert_array_equal(sheet[2:14, 16:28], expected[1])
    assert apply("vae", "score", "photos", tmp_path / "s.parquet")[0] == 0
    scores = pd.read_parquet(tmp_path / "s.parquet")
    assert scores.columns.tolist() == ["name", "score"] and scores.score.tolist() == run.score(x).tolist()


def test_a_strip_an_animation_and_a_plane(apply, loaded, tmp_path):
    run = loaded("vae")
    ends = [picture(f"photos/{name}.png") for name in "ad"]
    strip = octets(run.interpolate(*ends, steps=4))
    assert (
        apply("vae", "interpolate", "photos", tmp_path / "s.png", "--rows", "0,3", "--steps", 4, "--scale", 1)[0] == 0
    )
    assert apply("vae", "interpolate", "photos/a.png", "photos/d.png", tmp_path / "t.npy", "--steps", 4)[0] == 0
    drawn = picture(tmp_path / "s.png")
    assert drawn.shape == (16, 2 + 4 * 14, 3)
    np.testing.assert_array_equal(octets(np.load(tmp_path / "t.npy")), strip)
    np.testing.assert_array_equal(np.stack([drawn[2:14, 2 + 14 * n : 14 + 14 * n] for n in range(4)]), strip)
    assert apply("vae", "interpolate", "photos", tmp_path / "s.webp", "--rows", "0,3")[0] == 0
    with Image.open(tmp_path / "s.webp") as moving:
        assert (moving.n_frames, moving.size) == (30, (60, 60))
        moving.seek(29)
        last = np.asarray(moving.convert("RGB"))
    np.testing.assert_array_equal(last[::5, ::5], strip[-1])
    words = ["vae", "traverse", tmp_path / "p.npy", "--units", "2,0", "--steps", 3, "--range", -1, 2]
    assert apply(*words)[0] == 0
    z = np.tile(run.run.codes["z"].mean(axis=0), (9, 1))
    z[:, 2], z[:, 0] = np.tile([-1, 0.5, 2], 3), np.repeat([-1, 0.5, 2], 3)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), run.decode(z), atol=1e-6)
    low, high = np.quantile(run.run.codes["z"][:, 1], [0.01, 0.99])
    z = np.tile(run.run.codes["z"].mean(axis=0), (4, 1))
    z[:, 1] = np.linspace(low, high, 4)
    np.testing.assert_allclose(run.traverse([1], 4), run.decode(z), atol=1e-6)


def test_arithmetic_shows_its_terms(apply, loaded, tmp_path):
    run = loaded("vae")
    names = [run.labels[number] for number in (3, 10, 20)]
    words = f"{names[0]} - {names[1]} + {names[2]}"
    assert apply("vae", "arithmetic", words, tmp_path / "x.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), run.arithmetic(words))
    assert apply("vae", "arithmetic", words, tmp_path / "row.png", "--scale", 1)[0] == 0
    row = picture(tmp_path / "row.png")
    np.testing.assert_array_equal(row[2:14, 2:14], octets(run.arithmetic(names[0])))
    np.testing.assert_array_equal(row[2:14, -14:-2], octets(run.arithmetic(words)))
    assert row.shape == (16, 4 * 16 + 3 * 11, 3)
    assert apply("vae", "arithmetic", words, tmp_path / "x", "--overwrite")[0] == 0
    np.testing.assert_array_equal(picture(tmp_path / "x" / "0000.png"), octets(run.arithmetic(words)))


def test_scores_say_what_is_above_the_threshold(apply, loaded, runs, tmp_path):
    shutil.copytree(runs / "vae", tmp_path / "run")
    scores = loaded("vae").score(np.load(runs / "vae.npz")["x"])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["evaluation"] = {"anomaly": {"error": {"threshold": float(np.median(scores))}}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert apply(tmp_path / "run", "score", "vae.npz", tmp_path / "s.csv")[0] == 0
    table = pd.read_csv(tmp_path / "s.csv")
    assert table.columns.tolist() == ["label", "score", "anomaly"]
    assert table.anomaly.tolist() == (scores > np.median(scores)).tolist()


def test_compressed_files_come_back(apply, loaded, runs, tmp_path):
    x = np.load(runs / "vae.npz")["x"]
    out = tmp_path / "x.aec"
    status, lines, err = apply("vae", "compress", "vae.npz", out)
    assert (status, err) == (0, "")
    data, run = out.read_bytes(), loaded("vae")
    assert data == aejax.compress(run, x)
    first, file, png, pca = lines.splitlines()
    assert first == f"compress: {len(data):,} bytes -> {out}"
    bits, mse = 8 * len(data) / (len(x) * 144), np.mean((aejax.decompress(run, data) / 255.0 - x / 255.0) ** 2)
    assert file.split()[:8] == ["file", f"{len(data):,}", "bytes", f"{bits:.4f}", "bits", "a", "pixel", "mse"]
    assert file.split()[8] == f"{mse:.4g}"
    assert png.startswith("PNG ") and pca.startswith("PCA ")
    assert apply("vae", "decompress", out, tmp_path / "x.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), aejax.decompress(run, data))
    assert apply("vae", "decompress", out, tmp_path / "photos")[0] == 0
    np.testing.assert_array_equal(picture(tmp_path / "photos" / "0003.png"), aejax.decompress(run, data)[3])


def test_lossless_files_and_those_of_a_rate(apply, runs, tmp_path):
    x = np.load(runs / "vae.npz")["x"]
    assert apply("vae", "compress", "vae.npz", tmp_path / "x.aec", "--lossless")[0] == 0
    assert apply("vae", "decompress", tmp_path / "x.aec", tmp_path / "x.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), x)
    assert apply("vae", "compress", "vae.npz", tmp_path / "y.aec", "--bits", "0.1")[0] == 0
    assert 8 * (tmp_path / "y.aec").stat().st_size <= 0.1 * len(x) * 144
    assert apply("cvae", "compress", "cvae.npz", tmp_path / "z.aec", "--rows", "0,1,2")[0] == 0
    assert apply("cvae", "decompress", tmp_path / "z.aec", tmp_path / "z.npy")[0] == 0
    assert np.load(tmp_path / "z.npy").shape == (3, 8, 8, 1)


def test_a_pipe_of_two_commands(loaded, runs, monkeypatch, capsysbinary):
    monkeypatch.chdir(runs)
    assert called(main, "vae", "encode", "photos", "-") == 0
    data, text = capsysbinary.readouterr()
    assert text == b"encode: 4 x 3 -> -\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert called(main, "vae", "decode", "-", "-", "--format", "csv") == 0
    table = pd.read_csv(io.BytesIO(capsysbinary.readouterr()[0]))
    assert table.columns.tolist() == [f"x{number}" for number in range(432)]
    x = np.stack([picture(f"photos/{name}.png") for name in "abcd"])
    np.testing.assert_array_equal(table.to_numpy(np.float32), loaded("vae").reconstruct(x).reshape(4, -1))


def test_real_numbers_have_tables_and_no_pictures(apply, loaded, runs, tmp_path):
    assert apply("real", "encode", "real.csv", tmp_path / "z.parquet")[0] == 0
    x = pd.read_csv(runs / "real.csv").to_numpy()
    z = pd.read_parquet(tmp_path / "z.parquet").to_numpy()
    np.testing.assert_array_equal(z, loaded("real").encode(x))
    assert apply("real", "decode", tmp_path / "z.parquet", tmp_path / "x.csv")[0] == 0
    decoded = pd.read_csv(tmp_path / "x.csv").to_numpy(np.float32)
    np.testing.assert_array_equal(decoded, loaded("real").reconstruct(x))
    for out in ("x.png", "x"):
        status, _, err = apply("real", "traverse", tmp_path / out)
        assert status == 2 and "has no pictures: its examples are 5 real values; must be .npy, .npz" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.csv", "z.parquet"]


WRONG = [
    (["photos", "encode", "vae.npz", "o.npy"], "photos: holds no run that can be read (no run.json)"),
    (["vae", "encod", "vae.npz", "o.npy"], "encod: no such operation; must be one of encode, decode"),
    (["vae", "encode", "o.npy"], "encode: 1 words after it; must be 2, the last is OUT"),
    (["vae", "interpolate", "photos", "o.npy"], "photos: 3 or more examples; must be two: choose them by --rows 0,1"),
    (["vae", "encode", "no.npz", "o.npy"], "no.npz: does not exist; must be a file, a folder of pictures, or -"),
    (["vae", "encode", "vae/run.json", "o.npy"], "vae/run.json: cannot be read by its ending; must be .npy"),
    (["vae", "encode", "cvae.npz", "o.npy"], "cvae.npz: shape [540, 8, 8, 1]; must be [12, 12, 3], one example, or"),
    (["vae", "decode", "vae.npz", "o.npy"], "vae.npz: shape [288, 12, 12, 3]; must be [3], one code, or [N, 3]"),
    (["vae", "decode", "photos", "o.npy"], "photos: pictures are no codes; must be .npy"),
    (["vae", "encode", "photos", "o.png"], "o.png: cannot be written by its ending; must be .npy, .npz, .csv"),
    (["vae", "encode", "photos", "no/o.npy"], "no/o.npy: the folder no does not exist"),
    (["vae", "encode", "photos", "vae.npz"], "vae.npz: exists; --overwrite replaces it"),
    (["vae", "reconstruct", "photos", "vae", "--overwrite"], "vae: holds "),
    (["vae", "encode", "photos", "o.npy", "--count", "3"], "--count: is no option of encode"),
    (["vae", "encode", "photos", "o.npy", "--rows", "7"], "rows=7: photos holds 4; must be from 0 to 3"),
    (["vae", "encode", "photos", "o.npy", "--rows", "a"], "argument --rows: a: must be whole numbers, such as 0,1"),
    (["vae", "encode", "photos/a.png", "o.npy", "--rows", "0"], "--rows: photos/a.png holds a single one"),
    (["vae", "sample", "o.npy", "--count", "0"], "--count 0: must be at least 1"),
    (["vae", "sample", "o.npy", "--seed", "-1"], "--seed -1: must be from 0"),
    (["vae", "compress", "vae.npz", "o.npy"], "o.npy: cannot be written by its ending; must be .aec, or -"),
    (["vae", "compress", "vae.npz", "o.aec", "--bits", "0"], "bits=0.0: must be above 0 and finite"),
    (["vae", "compress", "vae.npz", "o.aec", "--bits", "1", "--lossless"], "bits=1.0: lossless leaves no choice of"),
    (["vae", "compress", "cvae.npz", "o.aec"], "cvae.npz: shape [540, 8, 8, 1]; must be [12, 12, 3]"),
    (["vae", "decompress", "real.csv", "o.npy"], "real.csv: cannot be read by its ending; must be .aec, or -"),
    (["vae", "decompress", "bad.aec", "o.npy"], "bad.aec: "),
    (["vae", "sample", "o.npy", "--format", "csv"], "--format csv: is for standard output"),
    (["vae", "sample", "o.npy", "--rows", "1"], "--rows: is for the examples of --fit, which is not there"),
    (["cvae", "encode", "cvae.npz", "o.npy", "--label", "two.npy"], "label: shape [2]; must be one label, or one for"),
    (["vae", "traverse", "o.npy", "--units", "0,3"], "units=[0, 3]: must be one or two different units from 0 to 2"),
    (["vae", "traverse", "o.npy", "--range", "2", "1"], "--range 2 1: must be two finite numbers, the lower one first"),
    (["vae", "traverse", "o.npy", "--steps", "1"], "--steps 1: must be at least 2"),
    (["vae", "traverse", "o.npy", "--steps", "999"], "--steps 999: 998,001 images; must be at most 10,000"),
    (["vae", "arithmetic", "no such - x", "o.npy"], "no label no such; there are 96"),
    (["real", "nll", "real.csv", "o.npy"], "nll: ae own"),
    (["vae", "encode", "real.csv", "o.npy"], "real.csv: shape [50, 5]; must be [12, 12, 3], one example"),
    (["cvae", "encode", "bare.npy", "o.npy"], "label: is missing; "),
    (["cvae", "encode", "bare.npy", "o.npy", "--label", "x"], "no label x; there are 10"),
    (["cvae", "encode", "bare.npy", "o.npy", "--label", "10"], "label=10: must be names of labels, or numbers from 0"),
    (["cvae", "interpolate", "cvae.npz", "o.npy", "--rows", "0,1"], "labels "),
    (["cvae", "encode", "nan.npy", "o.npy", "--label", "1"], "nan.npy: holds nan or inf; must be finite"),
    (["cvae", "encode", "none.npy", "o.npy", "--label", "1"], "none.npy: shape [0, 8, 8, 1]; must hold at least one"),
    (["cvae", "encode", "wide.npy", "o.npy", "--label", "1"], "wide.npy: values from 0 to 300; must be fractions"),
    (["cvae", "decode", "far.npy", "o.npy", "--label", "1"], "far.npy: holds values beyond those of float32"),
    (["cvae", "encode", "", "o.npy"], "encode: a word is empty; must be a path, or -"),
    (["cvae", "encode", "text.npy", "o.npy", "--label", "1"], "text.npy: <U1; must be an array of numbers"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_input_gets_one_line_and_leaves_nothing(words, message, apply, runs):
    digits = np.load(runs / "cvae.npz")["x"][:2]
    arrays = {
        "bare": digits,
        "nan": np.full((1, 8, 8), np.nan),
        "none": digits[:0],
        "wide": np.linspace(0, 300, 64).reshape(8, 8),
        "two": np.array([1, 2]),
        "far": np.array([[0, 0, 1e300]]),
        "text": np.full((1, 8, 8), "a"),
    }
    for name, array in arrays.items():
        np.save(runs / f"{name}.npy", array)
    (runs / "bad.aec").write_bytes(b"aejax" * 30)
    before = sorted(runs.rglob("*"))
    status, out, err = apply(*words)
    assert (status, out) == (2, "") and err.startswith(f"aejax: {'apply: ' * ('argument' in message)}{message}")
    assert err.count("\n") == 1 and len(err) < 400
    assert sorted(runs.rglob("*")) == before


def test_a_run_that_diverged_needs_force(apply, runs, tmp_path):
    shutil.copytree(runs / "vae", tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(path.read_text().replace('"status": "completed"', '"status": "diverged"'))
    words = [tmp_path / "run", "encode", "photos", tmp_path / "z.npy"]
    status, _, err = apply(*words)
    assert status == 2 and "its status is diverged; must be completed; --force uses the parameters that it has" in err
    assert apply(*words, "--force")[0] == 0 and (tmp_path / "z.npy").exists()
    path.write_text(path.read_text().replace('"status": "diverged"', '"status": "running"'))
    status, _, err = apply(*words, "--overwrite")
    assert status == 2 and "its status is running; must be completed; --force" in err
    assert apply(*words, "--force", "--overwrite")[0] == 0


def test_help_and_wrong_words_never_import_jax(runs):
    script = (
        "import sys; from aejax.cli.apply import main\n"
        "try: main()\n"
        "finally: assert not {'jax', 'flax', 'pyarrow', 'pandas', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    for words, status in ((["--help"], 0), (["vae", "encode", "no.npz", "o.npy"], 2)):
        done = subprocess.run([sys.executable, "-c", script, *words], cwd=runs, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_an_encoding_imports_no_library_that_it_does_not_need(runs, tmp_path):
    script = (
        "import sys; from aejax.cli.apply import main\n"
        "main()\n"
        "heavy = {'tensorflow', "
        "'tensorflow_datasets', 'wandb', 'matplotlib', 'pandas', 'pyarrow', 'scipy.stats', 'hydra'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    words = ["vae", "encode", "photos", str(tmp_path / "z.npy")]
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=runs, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
