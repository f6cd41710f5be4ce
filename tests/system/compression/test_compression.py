"""Compressed files of every kind of data, read back; files that are damaged, hostile or another run's are refused."""

import dataclasses
import json
import shutil
import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pandas as pd
import pytest
from conftest import called, job
from scipy.io import wavfile

import aejax
from aejax.base.errors import InputError
from aejax.cli.train import main
from aejax.compression import compression
from aejax.compression.container import HEAD, MAGIC, File
from aejax.compression.report import report
from aejax.datasets.dataset import Dataset
from aejax.inference.trained import Trained

QUICK = ["steps=60", "log_points=1", "net.widths=[16]", "figures=false", "track=off", "latent_dim=4"]
QUICK += ["evaluate.groups=[reconstruction]"]
RUNS = {
    "letters": ["model=ae", "data=letters"],
    "emoji": ["model=ae", "data=emoji"],
    "digits": ["model=vq_vae", "model.size=2", "data=digits"],
    "table": ["model=ae", "data=table", "data.path={above}/table.csv"],
}
SLOW = {
    "labels": ["model=cvae", "data=digits", "data.binarize=static"],
    "shapes": ["model=ae", "data=shapes", "data.examples=200", "data.test=50"],
    "sensors": ["model=vae", "data=sensors", "data.examples=200", "data.test_examples=60"],
    "audio": ["model=ae", "data=audio", "data.path={above}/sounds", "data.frames=16", "data.bands=16"],
}
ALL = [*RUNS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def above(tmp_path_factory):
    """The folder of all runs, trained when they are first asked for."""
    above = tmp_path_factory.mktemp("runs")
    values = RNG.normal(size=(300, 5)) @ RNG.normal(size=(5, 5)) * [1, 10, 100, 3, 0.1] + 7
    (above / "sounds").mkdir()
    for number in range(4):
        tone = np.sin(np.arange(16_000) * (0.05 + 0.03 * number)) * np.linspace(0, 1, 16_000)
        wavfile.write(above / "sounds" / f"{number}.wav", 16_000, (tone * 30_000).astype(np.int16))
    pd.DataFrame(values.astype(np.float32), columns=list("abcde")).to_csv(above / "table.csv", index=False)
    return above


@pytest.fixture(scope="module")
def loaded(above):
    """A run by its name, its test examples as they are stored, and their labels where the model needs them."""
    runs = {}

    def run(name):
        if name not in runs:
            words = [*QUICK, *(word.format(above=above) for word in (RUNS | SLOW)[name])]
            assert called(main, *words, f"hydra.run.dir={above / name}") == 0
            trained, test = aejax.load(above / name), job(*words).dataset.test
            x = test.x
            if trained.examples.standardization is not None:
                x = trained.examples.standardization.undone(x)
            runs[name] = trained, x, test.y if trained.experiment.model.is_conditional else None
        return runs[name]

    return run


@pytest.fixture(scope="module")
def emoji(loaded):
    """The run of emoji, its examples, and a lossy and a lossless file of two."""
    run, x, _ = loaded("emoji")
    return run, x, aejax.compress(run, x), aejax.compress(run, x[:2], lossless=True)


def rounded(run, x):
    """Images from 0 to 1 as examples of a run are stored; real data as they are."""
    return x if run.examples.form.kind == "real" else np.rint(x * 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_examples_come_back(name, loaded):
    run, x, label = loaded(name)
    data = aejax.compress(run, x, label=label)
    back, clean = aejax.decompress(run, data), run.reconstruct(x, label=label)
    assert back.shape == x.shape and back.dtype == x.dtype
    unit = 255 if x.dtype == np.uint8 and run.examples.form.kind != "binary" else 1
    errors = [float(np.mean((images - x / unit) ** 2)) for images in (back / unit, clean)]
    if run.examples.form.kind != "binary":  # of which 0 and 1 come back, not their means
        assert errors[0] <= 1.06 * errors[1] + 2e-4 * (x / unit).var()
    assert len(data) < 0.2 * x.nbytes + 150
    np.testing.assert_array_equal(aejax.decompress(aejax.load(run.run.path), data), back)


@pytest.mark.parametrize("name", ALL)
def test_lossless_is_exact(name, loaded):
    run, x, label = loaded(name)
    back = aejax.decompress(run, aejax.compress(run, x, lossless=True, label=label))
    assert back.dtype == x.dtype and back.tobytes() == np.ascontiguousarray(x).tobytes() and back.shape == x.shape


def test_a_discrete_code_comes_back_as_it_is(loaded):
    run, x, _ = loaded("digits")
    x = x[:100]
    data = aejax.compress(run, x)
    np.testing.assert_array_equal(aejax.decompress(run, data), rounded(run, run.reconstruct(x)))
    indices = run.indices(x)
    assert indices.shape == (100, run.positions) == (100, 2)
    np.testing.assert_array_equal(run.vectors(indices), run.encode(x))
    with pytest.raises(InputError, match="bits=1: a discrete code leaves no choice of the rate"):
        aejax.compress(run, x, bits=1)
    with pytest.raises(InputError, match=r"indices: the codes of ae letters .* are not discrete"):
        loaded("letters")[0].indices(np.zeros((7, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["emoji", "labels"])
def test_bits_are_kept(name, loaded):
    run, x, label = loaded(name)
    pixels = len(x) * run.examples.form.pixels // run.examples.form.channels
    errors = []
    for bits in (0.18, 0.22, 0.3):
        data = aejax.compress(run, x, bits=bits, label=label)
        assert 0.8 * bits < 8 * len(data) / pixels <= bits
        errors.append(report(run, x, data)["mse"])
    assert errors[0] > errors[2]
    with pytest.raises(InputError, match="bits: so few that the header alone takes more"):
        aejax.compress(run, x, bits=1e-4, label=label)
    for bits in (0, np.nan, np.inf):
        with pytest.raises(InputError, match=f"bits={bits}: must be"):
            aejax.compress(run, x, bits=bits, label=label)
    with pytest.raises(InputError, match="bits=1: lossless leaves no choice"):
        aejax.compress(run, x, lossless=True, bits=1, label=label)


def test_types_come_back(loaded):
    run, x, _ = loaded("digits")
    x = x[:5]
    for values in (x[0], x / 255, (x / 255).astype(np.float32), np.float32(x / 255 * 0.999), x.astype(np.int64)):
        back = aejax.decompress(run, aejax.compress(run, values, lossless=True))
        assert back.shape == values.shape and back.dtype == (np.uint8 if values.dtype == np.int64 else values.dtype)
        np.testing.assert_array_equal(back, values)
    with pytest.raises(InputError, match="x: float64 with more digits than float32 has"):
        aejax.compress(run, x / 257, lossless=True)
    fractions = aejax.decompress(run, aejax.compress(run, x / 257))
    assert fractions.dtype == np.float32 and np.abs(fractions - run.reconstruct(x / 257)).mean() < 0.05
    run, x, label = loaded("labels")
    for values in (x[:20].astype(bool), x[:20].astype(float)):
        back = aejax.decompress(run, aejax.compress(run, values, lossless=True, label=label[:20]))
        np.testing.assert_array_equal(back, x[:20])
    with pytest.raises(InputError, match="label: is missing"):
        aejax.compress(run, x)


def test_files_do_not_depend_on_the_batch(emoji, monkeypatch):
    run, x, lossy, _ = emoji
    assert aejax.compress(run, x) == lossy
    back = aejax.decompress(run, lossy)
    monkeypatch.setattr(compression, "VALUES", 7 * 432)
    np.testing.assert_array_equal(aejax.decompress(run, lossy), back)


def test_equal_examples_take_almost_nothing(loaded):
    run, _, _ = loaded("letters")
    x = np.zeros((60_000, 7, 5), np.uint8)
    data = aejax.compress(run, x, lossless=True)
    assert x.size / 4096 <= len(data) < x.size / 2000
    np.testing.assert_array_equal(aejax.decompress(run, data)[..., 0], x)


@pytest.mark.parametrize("where", [(), (-1, -1, -1, -1)], ids=["everywhere", "one value"])
def test_another_machine_is_noticed(where, emoji, monkeypatch):
    run, x, lossy, lossless = emoji
    decode = Trained.decode

    def differing(self, z, label=None):
        images = decode(self, z, label)
        images[where] = 0.99 * images[where] - 0.005 if where == () else (images[where] + 0.5) % 1
        return np.clip(images, 0, 1)

    monkeypatch.setattr(Trained, "decode", differing)
    with pytest.raises(InputError, match="file: its examples do not come back bit by bit; it was written on another"):
        aejax.decompress(run, lossless)
    assert aejax.decompress(run, lossy).shape == x.shape


def test_a_file_of_another_run_or_version_is_refused(emoji, loaded, tmp_path):
    run, _, lossy, _ = emoji
    with pytest.raises(InputError, match="with another run, ae emoji d=4 s=0, not ae letters d=4 s=0"):
        aejax.decompress(loaded("letters")[0], lossy)
    params = run.params | {"decoder": {name: dict(layer) for name, layer in run.params["decoder"].items()}}
    layer = next(iter(params["decoder"].values()))
    layer["bias"] = layer["bias"] + 1e-6
    with pytest.raises(InputError, match="with other parameters of ae emoji"):
        aejax.decompress(dataclasses.replace(run, params=params), lossy)
    shutil.copytree(run.run.path, tmp_path / "elsewhere")
    np.testing.assert_array_equal(
        aejax.decompress(aejax.load(tmp_path / "elsewhere"), lossy), aejax.decompress(run, lossy)
    )
    with pytest.raises(InputError, match="file: of format 2; this version of aejax reads format 1"):
        aejax.decompress(run, MAGIC + b"\x02" + lossy[len(MAGIC) + 1 :])
    for data in (b"", b"\x89PNG\r\n\x1a\n", lossy[1:]):
        with pytest.raises(InputError, match="file: is none that aejax has compressed"):
            aejax.decompress(run, data)
    with pytest.raises(InputError, match="must hold at least one example"):
        aejax.compress(run, np.zeros((0, 12, 12, 3), np.uint8))


def resealed(data):
    """The data with the checksum that fits them."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def mutations(data, count):
    """Files with flipped bits, numbers that are as large as can be, and parts that are cut off or inserted."""
    rng = np.random.default_rng(0)
    for number in range(count):
        new = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(len(MAGIC), len(MAGIC) + HEAD.size + 40 if number % 2 else len(new)))
            how = rng.integers(4)
            if how == 0:
                new[place] ^= 1 << rng.integers(8)
            elif how == 1:
                new[place : place + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f"])
            elif how == 2:
                del new[place : place + int(rng.integers(1, 9))]
            else:
                new[place:place] = rng.bytes(int(rng.integers(1, 9)))
        yield bytes(new) if number % 4 == 3 else resealed(bytes(new))


@pytest.mark.parametrize(
    "name",
    ["lossy", "lossless", *(pytest.param(name, marks=pytest.mark.slow) for name in ("discrete", "floats", "bits"))],
)
def test_mutated_files_are_refused_or_hold_what_was_written(name, emoji, loaded):
    run, x, lossy, lossless = emoji
    label = None
    if name == "discrete":
        run, x, _ = loaded("digits")
    if name == "floats":
        run, x, _ = loaded("table")
    if name == "bits":
        run, x, label = loaded("labels")
    x, label = x[: 2 if name == "lossless" else None], None if label is None else label[: len(x)]
    known = {"lossy": lossy, "lossless": lossless}
    data = known[name] if name in known else aejax.compress(run, x, name != "discrete", label=label)
    expected, refused = aejax.decompress(run, data), 0
    tracemalloc.start()
    for mutated in mutations(data, 20 if name == "lossless" else 120):
        try:
            back = aejax.decompress(run, mutated)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
            continue
        assert np.isfinite(back).all()
        np.testing.assert_array_equal(back, expected, strict=True)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    assert refused >= 10


@pytest.mark.parametrize("changes", [
    {"count": 2**32 - 1}, {"count": 0}, {"shape": (2**32 - 1, 2**32 - 1, 3)}, {"shape": (0, 12, 3)}, {"units": 2**31},
    {"reach": 2**32 - 1}, {"base": float("nan")}, {"base": 0.0}, {"base": float("inf")}, {"tables": b""}, {"units": 0},
    {"shape": (12, 12, 1)}, {"kind": "real"}, {"flags": frozenset({"labels"})}, {"flags": frozenset({"single"})},
    {"flags": frozenset({"discrete"})}, {"tables": bytes(99)}, {"count": 97},
])  # fmt: skip
def test_a_header_that_does_not_fit_is_refused(changes, emoji):
    run, _, lossy, _ = emoji
    file = dataclasses.replace(File.read(lossy), **changes)
    data = dataclasses.replace(file, shape=(1, 1, 1), units=1, count=1).data if file.values > 2**26 else file.data
    if file.values > 2**26:  # written without the zeros that would justify it
        small = File.read(lossy)
        data = bytearray(lossy)
        place = len(MAGIC)
        fields = list(HEAD.unpack_from(data, place))
        fields[7:9] = file.count, file.units
        HEAD.pack_into(data, place, *fields)
        struct.pack_into(f"<{len(small.shape)}I", data, place + HEAD.size, *file.shape)
        data = resealed(bytes(data))
    with pytest.raises(InputError, match="file: ") as caught:
        aejax.decompress(run, data)
    assert "\n" not in str(caught.value)


def test_a_report_counts_bytes_and_compares(emoji):
    run, x, lossy, lossless = emoji
    found = report(run, x, lossy)
    pixels = 96 * 12 * 12
    assert found["bytes"] == len(lossy) and found["bits"] == 8 * len(lossy) / pixels and not found["lossless"]
    assert found["mse"] == pytest.approx(np.mean((aejax.decompress(run, lossy) / 255.0 - x / 255.0) ** 2), rel=1e-5)
    assert len(lossy) * 0.97 < found["pca"]["bytes"] <= len(lossy)
    flat = x.reshape(96, -1) / 255
    assert 0 < found["pca"]["mse"] < np.mean((flat - flat.mean(axis=0)) ** 2)
    assert 1000 < found["png"]["bytes"] < x.nbytes * 1.1 and found["png"]["how"] in ("grid", "strip")
    exact = report(run, x[:2], lossless)
    assert exact["mse"] == 0 and exact["pca"] is None and exact["lossless"]
    json.dumps(found)


def test_real_data_have_no_png(loaded):
    run, x, _ = loaded("table")
    found = report(run, x, aejax.compress(run, x))
    assert found["png"] is None and found["pca"]["mse"] > 0
    assert found["bits"] == 8 * found["bytes"] / (len(x) * 5)


def test_without_the_library_one_line_says_what_to_install(emoji, monkeypatch):
    run, x, lossy, _ = emoji
    monkeypatch.setitem(sys.modules, "constriction", None)
    for function, argument in ((aejax.compress, x), (aejax.decompress, lossy)):
        with pytest.raises(InputError, match=r"compression needs constriction: pip install 'aejax\[compression\]'"):
            function(run, argument)


@pytest.mark.slow
def test_a_data_set_of_a_program_is_compressed(tmp_path):
    x = (RNG.random((120, 9, 9)) ** 8 * 255).astype(np.uint8)
    aejax.train(Dataset(train=x), *QUICK, "model=vae", f"hydra.run.dir={tmp_path / 'own'}")
    run = aejax.load(tmp_path / "own")
    np.testing.assert_array_equal(aejax.decompress(run, aejax.compress(run, x, lossless=True))[..., 0], x)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["model=fsq_vae", "latent_dim=8"],
        ["model=rvq_vae", "model.size=2"],
        ["model=binary_ae"],
        ["model=concrete_vae", "model.size=2"],
        ["model=topk_ae", "model.k=2"],
        ["model=s_vae"],
        ["model=p_vae"],
        ["model=ladder_vae"],
        ["model=pca"],
        ["model=conv_vae", "net.widths=[4,8]"],
        ["model=ae", "latent_dim=200"],
    ],
    ids=" ".join,
)
def test_every_kind_of_code_is_compressed(words, tmp_path):
    quick = [word for word in QUICK if not ("net" in word and words[0] in ("model=pca", "model=conv_vae"))]
    assert called(main, *quick, "data=digits", *words, f"hydra.run.dir={tmp_path / 'run'}") == 0
    run, x = aejax.load(tmp_path / "run"), job("data=digits").dataset.test.x
    back = aejax.decompress(run, aejax.compress(run, x))
    clean = run.reconstruct(x)
    errors = [np.mean((images - x / 255) ** 2) for images in (back / 255, clean)]
    assert errors[0] <= 1.06 * errors[1] + 2e-4 * (x / 255).var()
    np.testing.assert_array_equal(aejax.decompress(run, aejax.compress(run, x, lossless=True)), x)
