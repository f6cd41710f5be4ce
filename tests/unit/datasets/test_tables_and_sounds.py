"""People's own data: tables and sounds."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import job, refused
from scipy.io import wavfile
from sklearn.preprocessing import StandardScaler

pytestmark = pytest.mark.usefixtures("here")
RNG = np.random.default_rng(0)


# Tables


def save_csv(rows, header="a,b,kind"):
    with open("t.csv", "w") as file:
        file.write("\n".join([header, *rows]) + "\n")
    return ["data=table", "data.path=t.csv"]


def test_a_table_is_standardized_with_training_statistics(here):
    x = RNG.normal(size=(50, 2)) * [3, 0.01] + [100, -5]
    rows = [f"{a},{b},{'cold' if a < 100 else 'hot'}" for a, b in x]
    words = [*save_csv(rows), "data.label=kind"]
    dataset = job(*words).dataset
    assert (dataset.kind, dataset.form.shape, dataset.label_names) == ("real", (2,), ("cold", "hot"))
    plain = job(*words, "data.standardize=false").dataset
    scaler = StandardScaler().fit(plain.train.x.astype(np.float64))
    for name, split in dataset.splits.items():
        np.testing.assert_allclose(split.x, scaler.transform(plain.splits[name].x), atol=1e-3)
    assert np.abs(dataset.test.x.mean()) > 1e-6  # not with its own statistics
    assert "columns a, b" in dataset.note


def test_a_parquet_table_with_chosen_columns(here):
    table = pa.table({"a": [1, 2, 3, 4] * 5, "b": ["x", "y"] * 10, "c": np.arange(20.0), "n": [1, 0] * 10})
    pyarrow.parquet.write_table(table, "t.parquet")
    words = ["data=table", "data.path=t.parquet", "data.label=n", "data.validation=0", "data.standardize=false"]
    dataset = job(*words, "data.columns=[c,a]").dataset
    assert dataset.label_names == ("0", "1")
    rows = dataset.train.x[:, 0].astype(int)
    np.testing.assert_array_equal(dataset.train.x[:, 1], np.array([1, 2, 3, 4] * 5)[rows])
    np.testing.assert_array_equal(dataset.train.y, np.array([1, 0] * 10)[rows])
    refused("data.path=t.parquet: row 1, column b: 'x' is not a number", *words)


def test_missing_values_are_refused_or_filled(here):
    words = save_csv(["1,2", "3,", "5,6", "7,10"] * 5, "a,b")
    refused("data.path=t.csv: row 2, column b: is missing, as 5 are", *words)
    common = [*words, "data.validation=0", "data.standardize=false"]
    filled = job(*common, "data.missing=mean").dataset
    there = [b for a, b in filled.train.x if a != 3]
    assert {b for a, b in filled.train.x if a == 3} == {np.float32(np.mean(there))}
    zero = job(*common, "data.missing=zero").dataset
    assert {b for a, b in zero.train.x if a == 3} == {0.0}
    scaled = job(*words, "data.validation=0", "data.missing=mean").dataset.train.x
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)


def test_wrong_tables_are_refused(here):
    refused("data.path=t.csv: must be an existing .csv or .parquet file", "data=table", "data.path=t.csv")
    refused("data.path=t.csv: row 3, column b: 'oops' is not a number", *save_csv(["1,2", "2,3", "3,oops"] * 3, "a,b"))
    refused("data.path=t.csv: row 2, column a: is infinite", *save_csv(["1,2", "inf,3"] * 5, "a,b"))
    refused("data.path=t.csv: two columns a", *save_csv(["1,2"] * 5, "a,a"))
    refused("data.path=t.csv: cannot be read", *save_csv(["1,2", "1,2,3"], "a,b"))
    refused("data.label=kint: no such column; did you mean kind", *save_csv(["1,2,x"] * 5), "data.label=kint")
    refused("data.columns=['aa']: no column aa; did you mean a?", *save_csv(["1,2,3"] * 5), "data.columns=[aa]")
    refused("data t.csv: training examples that are all the same", *save_csv(["1,2"] * 9, "a,b"))
    refused("data.path=t.csv: labels of double in column b", *save_csv(["1,2.5"] * 9, "a,b"), "data.label=b")


# Audio


def save_tone(path, hertz, seconds=2.0, rate=16_000, amplitude=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * rate)) / rate
    wavfile.write(path, rate, (amplitude * 32767 * np.sin(2 * np.pi * hertz * time)).astype(np.int16))


@pytest.mark.slow
def test_sounds_become_log_mel_windows(here):
    librosa = pytest.importorskip("librosa", reason="librosa, of the extra audio, is not installed")
    for index, hertz in enumerate([500, 510, 520, 3000, 3010, 3020] * 2):
        save_tone(here / "tones" / ("low" if hertz < 1000 else "high") / f"{index}.wav", hertz, amplitude=0.5)
    words = ["data=audio", "data.path=tones", "data.bands=32", "data.frames=16"]
    dataset = job(*words).dataset
    assert (dataset.kind, dataset.form.shape, dataset.label_names) == ("gray", (32, 16, 1), ("high", "low"))
    windows = ((2 * 16_000 - 1024) // 256 + 1) // 16
    assert sum(len(split.x) for split in dataset.splits.values()) == 12 * windows
    centers = librosa.mel_frequencies(34, fmax=8000)[1:-1][::-1]  # high frequencies above
    for hertz, label in ((510, 1), (3010, 0)):
        loudest = dataset.train.x[dataset.train.y == label][..., 0].mean(axis=(0, 2)).argmax()
        assert abs(np.log2(centers[loudest] / hertz)) < 0.25
    # A sine of half the full scale has -6 dB, 80 dB are 255 gray levels, and the band next to it may take a part.
    loud = dataset.train.x.max(axis=(1, 2, 3)) / 255 * 80 - 80
    assert loud.min() > -10
    assert loud.max() < -5.5
    assert job(*words).dataset.fingerprint == dataset.fingerprint
    names = [str(name) for split in dataset.splits.values() for name in split.names]  # of files, and the window in each
    assert sorted(names) == sorted(
        f"{'low' if index % 6 < 3 else 'high'}/{index}.wav#{window}" for index in range(12) for window in range(windows)
    )


def test_the_windows_of_a_sound_are_never_in_two_splits(here):
    pytest.importorskip("librosa", reason="librosa, of the extra audio, is not installed")
    for index in range(12):
        save_tone(here / "tones" / f"{index:02d}.wav", 300 * (index + 1))
    words = ["data=audio", "data.path=tones", "data.bands=64", "data.frames=8", "data.test=0.3", "data.validation=0.2"]
    dataset = job(*words).dataset
    loudest = [
        set(split.x[..., 0].astype(int).sum(axis=2).argmax(axis=1).tolist()) for split in dataset.splits.values()
    ]
    assert sum(map(len, loudest)) == len(set().union(*loudest)) >= 9
    assert not any("test" in line for line in dataset.warnings)


def test_wrong_sounds_are_refused(here):
    pytest.importorskip("librosa", reason="librosa, of the extra audio, is not installed")
    (here / "a").mkdir()
    refused("data.path=a: holds no file of .wav", "data=audio", "data.path=a")
    save_tone(here / "a" / "good.wav", 440)
    (here / "a" / "bad.wav").write_bytes(b"RIFF")
    refused("data.path=a: 1 of 2 files cannot be read (bad.wav)", "data=audio", "data.path=a")
