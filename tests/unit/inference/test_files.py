"""Files of examples, codes and results: what is written is read back bit for bit; pictures show each pixel."""

import io
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aejax.base.errors import InputError
from aejax.datasets.form import Form
from aejax.inference.examples import Examples
from aejax.inference.files import pictures, tables
from aejax.inference.files.reading import read
from aejax.inference.files.writing import Drawing, Result, check_writable, write
from aejax.inference.operations import IMAGES, NUMBERS

RNG = np.random.default_rng(0)


def examples_of(kind="rgb", shape=(4, 6, 3), binarize="none"):
    """How arrays become examples of made-up data."""
    return Examples(Form("made up", kind, shape, 10, 2, 3, "f00d"), binarize, ("cat", "dog", "elk"), None)


COLORS = RNG.integers(0, 256, (5, 4, 6, 3), np.uint8)
CODES = (RNG.normal(size=(7, 3)) * 10.0 ** RNG.integers(-30, 30, (7, 3))).astype(np.float32)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".csv", ".parquet"])
def test_codes_read_back_with_the_same_bits(tmp_path, ending):
    names = np.array(['a "b",c.png', "ñ.png", *"cdefg"])
    result = Result({"z": CODES}, beside={"name": names, "label": np.array(list("1213112"))})
    write(result, f"{tmp_path}/z{ending}", examples_of().form)
    given = read(f"{tmp_path}/z{ending}", examples_of(), "z")
    np.testing.assert_array_equal(given.values.astype(np.float32), CODES)
    if ending != ".npy":
        assert given.names.tolist() == names.tolist()
        assert given.labels.tolist() == list("1213112")


def test_tables_are_those_that_pandas_reads(tmp_path):
    scores = {"score": np.float32([0.1, 2]), "anomaly": np.array([False, True])}
    for ending, reader in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        write(Result(scores, beside={"name": np.array(["x", "y"])}), f"{tmp_path}/s{ending}", None)
        table = reader(f"{tmp_path}/s{ending}")
        assert table.columns.tolist() == ["name", "score", "anomaly"]
        assert table.anomaly.tolist() == [False, True]
        assert np.float32(table.score).tolist() == scores["score"].tolist()
        write(Result({"z": CODES[0]}, single=True), f"{tmp_path}/z{ending}", None)
        assert reader(f"{tmp_path}/z{ending}").shape == (1, 3)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("b,a,label\n1,2,dog\n3,4,cat\n", [[1, 2], [3, 4]]),
        ("x1,x0,z0,name\n1,2,9,a\n3,4,9,b\n", [[2, 1], [4, 3]]),  # numbered columns, in their order
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),  # without names
        ("0,1\n3,4\n", [[3, 4]]),  # as pandas names columns
        ("a\n" + "0\n" * 700_000 + "0.5\n", [*[[0.0]] * 700_000, [0.5]]),  # first whole numbers, later fractions
    ],
)
def test_a_csv_of_any_usual_form_is_read(text, values):
    x = tables.read("t", text.encode(), True, "x")["x"]
    np.testing.assert_array_equal(x, values)
    assert x.dtype == (np.uint8 if np.array(values).dtype.kind == "i" else np.float64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,\n", "t: row 1, column b: .*numbers|t: column b is of null"),
        ("a,b\n1,2\n,2\n", "t: row 2, column a: is missing, as 1 are"),
        ("a,b\n1,x\n", "t: column b is of string; must be numbers"),
        ("a,a\n1,2\n", "t: two columns a; names must differ"),
        ("a,b\n", "t: 0 rows of 2 columns"),
        ("a,b\n1,2\n1,2,3\n", "t: cannot be read as a table"),
        ("", "t: cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        tables.read("t", text.encode(), True, "x")


def test_which_array_of_an_npz_is_meant(tmp_path):
    x, y = np.arange(6).reshape(3, 2), np.array([2, 0, 1])
    file = f"{tmp_path}/a.npz"
    np.savez(file, x=x, z=2 * x, y=y)
    assert read(file, None, "x").values.tolist() == x.tolist()
    given = read(file, None, "z")
    assert (given.values.tolist(), given.labels.tolist()) == ((2 * x).tolist(), [2, 0, 1])
    chosen = given.rows([2, 0])
    assert (chosen.values.tolist(), chosen.labels.tolist()) == ([[8, 10], [0, 2]], [1, 2])
    with pytest.raises(InputError, match=r"rows=3: .*a.npz holds 3; must be from 0 to 2"):
        given.rows([3])
    np.savez_compressed(file, pixels=x, y=y)
    assert read(file, None, "x").values.tolist() == x.tolist()
    np.savez(file, a=x, b=x)
    with pytest.raises(InputError, match="holds a, b; must hold x, or a single array"):
        read(file, None, "x")
    np.savez(file, x=x, y=y[:2])
    with pytest.raises(InputError, match=r"label has the shape \[2\] beside x \[3, 2\]"):
        read(file, None, "x")
    np.savez(file, x=np.array([object()]))
    with pytest.raises(InputError, match="holds Python objects; must hold plain arrays"):
        read(file, None, "x")


def test_pictures_are_read_as_the_data_are(tmp_path):
    save(tmp_path / "one.png", COLORS[0])
    np.testing.assert_array_equal(read(f"{tmp_path}/one.png", examples_of(), "x").values, COLORS[0])
    gray = examples_of("gray", (4, 6, 1))
    luma = read(f"{tmp_path}/one.png", gray, "x").values
    np.testing.assert_array_equal(luma[..., 0], np.asarray(Image.fromarray(COLORS[0]).convert("L")))
    ink = RNG.integers(0, 2, (4, 6, 1), np.uint8)
    save(tmp_path / "ink.webp", np.repeat(ink * 255, 3, axis=2))
    binary = read(f"{tmp_path}/ink.webp", examples_of("binary", (4, 6, 1)), "x").values
    assert binary.dtype == np.float32 and np.abs(binary - ink).max() < 0.1
    with pytest.raises(InputError, match=r"one.png: 4 x 6 pixels; must be 8 x 8, or be brought there by --resize"):
        read(f"{tmp_path}/one.png", examples_of(shape=(8, 8, 3)), "x")
    assert read(f"{tmp_path}/one.png", examples_of(shape=(8, 8, 3)), "x", "crop").values.shape == (8, 8, 3)
    with pytest.raises(InputError, match=r"one.png: made up has no pictures: its examples are 72 real values"):
        read(f"{tmp_path}/one.png", examples_of("real", (72,)), "x")
    with pytest.raises(InputError, match=r"one.png: pictures are no codes"):
        read(f"{tmp_path}/one.png", examples_of(), "z")


def test_class_folders_are_labels_and_broken_pictures_are_named(tmp_path):
    for name, pixels in zip(("dog/b.png", "cat/a.png", "dog/a.png"), COLORS, strict=False):
        save(tmp_path / "in" / name, pixels)
    given = read(f"{tmp_path}/in", examples_of(), "x")
    assert given.names.tolist() == ["cat/a.png", "dog/a.png", "dog/b.png"]
    assert given.labels.tolist() == ["cat", "dog", "dog"]
    np.testing.assert_array_equal(given.values, COLORS[[1, 2, 0]])
    (tmp_path / "in" / "dog" / "c.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"in/dog/c.png: cannot be read as a picture$"):
        read(f"{tmp_path}/in", examples_of(), "x")
    save(tmp_path / "in" / "cat" / "b.png", COLORS[0, :3])
    with pytest.raises(InputError, match=r"in/cat/b.png: 3 x 6 pixels; .* \(2 of 5 pictures do not fit\)"):
        read(f"{tmp_path}/in", examples_of(), "x")


@pytest.mark.parametrize("form", [examples_of().form, examples_of("gray", (4, 6, 1)).form])
def test_a_folder_of_pictures_holds_each_pixel(tmp_path, form):
    images = COLORS[..., : form.channels]
    names = np.array(["cat/a.jpg", "cat/b.png", "dog/a.png", "dog/b.png", "dog/c.png"])
    write(Result({"x": images / np.float32(255)}, beside={"name": names}), f"{tmp_path}/out", form)
    given = read(f"{tmp_path}/out", Examples(form, "none", (), None), "x")
    assert given.names.tolist() == ["cat/a.png", *names.tolist()[1:]]
    np.testing.assert_array_equal(given.values, images)
    write(Result({"x": images[:1] / np.float32(255)}), f"{tmp_path}/out", form)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["0000.png"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
    for odd in (["a.png/b", *"acde"], [*"aabcd"]):  # a folder named as a file; two of one name
        write(Result({"x": images / 255}, beside={"name": np.array(odd)}), f"{tmp_path}/out", form)
        assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [f"000{number}.png" for number in range(5)]
    with pytest.raises(InputError, match=r"name '../a.png': must be a path below the folder"):
        write(Result({"x": images / 255}, beside={"name": np.array(["../a.png"] * 5)}), f"{tmp_path}/bad", form)
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("ending", [".png", ".webp", ".bmp", ".tif"])
def test_a_sheet_shows_each_pixel_enlarged(tmp_path, ending):
    write(Result({"x": COLORS / 255}), f"{tmp_path}/s{ending}", examples_of().form, scale=3)
    sheet = picture(f"{tmp_path}/s{ending}")
    assert sheet.shape == (2 + 2 * (12 + 2), 2 + 3 * (18 + 2), 3)  # two rows of three, gaps of two pixels
    assert (sheet[:2] == 255).all() and (sheet[16:, 42:] == 255).all()
    np.testing.assert_array_equal(sheet[16:28, 22:40], COLORS[4].repeat(3, axis=0).repeat(3, axis=1))


def test_the_default_scale_lets_small_images_be_seen(tmp_path):
    form = examples_of().form
    write(Result({"x": COLORS / 255}, drawing=Drawing(columns=5)), f"{tmp_path}/row.png", form)
    assert picture(f"{tmp_path}/row.png").shape == (2 + 40 + 2, 2 + 5 * (60 + 2), 3)
    write(Result({"x": COLORS[0] / 255}, single=True), f"{tmp_path}/one.png", form)
    np.testing.assert_array_equal(picture(f"{tmp_path}/one.png"), COLORS[0])
    with pytest.raises(InputError, match=r"--scale 1000: 5 of 4 x 6 are 120,000,000 pixels; must be"):
        write(Result({"x": COLORS / 255}), f"{tmp_path}/large.png", form, scale=1000)
    assert not (tmp_path / "large.png").exists()


@pytest.mark.parametrize(("ending", "form"), [(".webp", examples_of().form), (".gif", examples_of().form)])
def test_an_animation_shows_each_image_in_turn(tmp_path, ending, form):
    few = COLORS // 64 * 64  # a .gif has 256 colors, and these are fewer
    write(Result({"x": few / 255}, drawing=Drawing(moves=True)), f"{tmp_path}/a{ending}", form, scale=2)
    with Image.open(f"{tmp_path}/a{ending}") as picture:
        assert picture.n_frames == 5
        for number in range(5):
            picture.seek(number)
            frame = np.asarray(picture.convert("RGB"))
            np.testing.assert_array_equal(frame, few[number].repeat(2, axis=0).repeat(2, axis=1))


def test_an_equation_has_a_sign_before_each_image(tmp_path):
    x = np.zeros((3, 20, 20, 3), np.uint8)
    row = pictures.equation(x, ["", "-", "="])
    plus, minus, equal = (pictures.equation(x[:1], [sign])[:, :-24] for sign in "+-=")
    assert row.shape == (24, 3 * 24 + 2 * minus.shape[1], 3)
    dark = [(sign == 0).all(axis=2).any(axis=1).sum() for sign in (plus, minus, equal)]  # rows with ink
    assert dark[0] > dark[2] == 2 * dark[1] > 0
    np.testing.assert_array_equal(row[:, 24 : 24 + minus.shape[1]], minus)


@pytest.mark.parametrize("form", ["npy", "csv"])
def test_a_stream_is_read_as_it_was_written(form, monkeypatch, capsysbinary):
    write(Result({"z": CODES}), "-", None, streamed=form)
    octets = capsysbinary.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets)))
    np.testing.assert_array_equal(read("-", None, "z").values.astype(np.float32), CODES)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(InputError, match="-: standard input is empty"):
        read("-", None, "z")


def test_an_array_is_not_written_to_a_terminal(monkeypatch, capsysbinary):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(InputError, match=r"-: would write an .npy to the terminal; redirect it, or add --format csv"):
        write(Result({"z": CODES}), "-", None)
    write(Result({"z": CODES}), "-", None, streamed="csv")
    assert capsysbinary.readouterr().out.startswith(b"z0,z1,z2\n")


@pytest.mark.parametrize(
    ("path", "endings", "message"),
    [
        ("x.doc", IMAGES, "x.doc: cannot be written by its ending; must be .npy, .npz, .* a folder, or -"),
        ("x.png", NUMBERS, "x.png: cannot be written by its ending; must be .npy, .npz, .csv, .parquet, or -"),
        ("x", NUMBERS, "x: is a folder, or has no ending; must be a file of .npy"),
        ("no/x.npy", NUMBERS, "no/x.npy: the folder no does not exist"),
        ("old.npy", NUMBERS, "old.npy: exists; --overwrite replaces it"),
        ("pictures", IMAGES, "pictures: exists; --overwrite replaces it"),
    ],
)
def test_where_nothing_can_be_written(tmp_path, monkeypatch, path, endings, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.npy").write_bytes(b"old")
    save(tmp_path / "pictures" / "a.png", COLORS[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        check_writable(path, endings, overwrite=False)
    for fine in ("old.npy", "pictures", "pictures/", "empty", "new.png", "-", "new"):
        check_writable(fine, IMAGES, overwrite=True)
    check_writable("empty", IMAGES, overwrite=False)
    (tmp_path / "pictures" / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match=r"pictures: holds thesis.txt, which is no picture"):
        check_writable("pictures", IMAGES, overwrite=True)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".csv", ".parquet", ".png"])
def test_a_damaged_file_is_named(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    write(Result({"x": COLORS / 255}), str(path), examples_of().form)
    path.write_bytes(b"\xff" + path.read_bytes()[1 : path.stat().st_size // 2])
    with pytest.raises(InputError, match=f"x{ending}: ") as caught:
        given = read(str(path), examples_of(), "x")
        examples_of().rows(given.values)
        raise InputError(f"x{ending}: read")  # half of a .csv can be one
    assert "\n" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=f"x{ending}: is empty"):
        read(str(path), examples_of(), "x")
