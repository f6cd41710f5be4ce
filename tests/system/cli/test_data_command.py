"""python -m aejax.data."""

import functools

import numpy as np
import pytest
from PIL import Image

from aejax.cli.data import main


@pytest.fixture
def command(command):
    return functools.partial(command, main=main)


def test_the_list_names_every_choice_and_ones_own(command, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "waves.yaml").write_text("# My waves.\n_target_: mine.Waves\n")
    status, out, err = command("list", "--config-dir", str(tmp_path))
    assert (status, err) == (0, "")
    names = [line.split()[0] for line in out.splitlines()]
    assert names[0] == "arrays" and {"mnist", "letters", "waves"} <= set(names)
    assert "waves          My waves." in out


def test_what_is_in_the_data(command):
    status, out, err = command("info", "data=digits", "data.limit=100", "data.classes=[0,1]")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "digits: gray, 8 x 8 x 1"
    assert lines[1].startswith("train        100 examples, mean 0.3")
    assert lines[2].strip() in ("0: 49, 1: 51", "0: 50, 1: 50")  # 178 and 182 of the 360 in scikit-learn's set
    assert any(line.startswith("fingerprint  ") and len(line) == 13 + 16 for line in lines)
    assert "CC BY 4.0" in out


@pytest.mark.slow
def test_a_preview_shows_examples_with_each_noise_that_fits(command, tmp_path):
    status, out, err = command("preview", "data=letters", "--output", "look.png")
    assert (status, err) == (0, "")
    assert "not for these data: grayscale" in out
    picture = np.asarray(Image.open(tmp_path / "look.png").convert("L"))
    assert picture.shape[0] > picture.shape[1] > 800  # a row for each noise and level
    assert (picture < 50).mean() > 0.03
    status, out, _ = command("preview", "data=sensors", "data.examples=50", "data.test_examples=20")
    assert status == 0 and "occlusion" in out.split("not for these data:")[1]
    assert (tmp_path / "preview_sensors.png").exists()


def test_prepare_says_what_is_ready(command):
    status, out, _ = command("prepare", "data=letters")
    assert status == 0
    assert out.startswith("letters: 27 train, 27 valid, 27 test examples, ready in ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["info", "data=mnits"], "aejax: data=mnits: no such choice; did you mean mnist or kmnist?"),
        (["info", "data=mnist"], "aejax: data.name=mnist: is not prepared in "),
        (["preview", "data=images", "data.path=none"], "aejax: data.path=none: is not a folder"),
    ],
)
def test_a_wrong_input_gets_one_line_and_leaves_nothing(command, tmp_path, words, told):
    status, out, err = command(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(told)
    assert not list(tmp_path.iterdir())
