"""The scripts in examples/ run as their first lines say, print what they show, and write their picture."""

import re
import subprocess
import sys

import pytest
from conftest import CONF

EXAMPLES = CONF.parent / "examples"
LINES = 60  # at most, so that a script is read at once


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """Runs a script in an empty folder without MNIST; gives what it printed."""
    monkeypatch.delenv("MNIST_DIR", raising=False)

    def run(name):
        words = [sys.executable, EXAMPLES / f"{name}.py"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        return done.stdout

    return run


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_has_cells_and_a_test(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < LINES
    assert text.count("\n# %% ") >= 3
    assert f"python examples/{path.name}" in text.split('"""')[1]
    assert path.stem in ("letters", "mnist_map", "own_data_and_model")


@pytest.mark.slow
def test_letters_pass_through_two_numbers(printed):
    out = printed("letters")
    assert re.search(r"^recon/exact +1$", out, re.M)
    assert len(re.findall(r"^[abc]: [+-]\d+\.\d\d [+-]\d+\.\d\d$", out, re.M)) == 3


@pytest.mark.slow
def test_the_map_says_that_it_has_no_mnist_and_takes_digits(printed):
    out = printed("mnist_map")
    assert out.startswith("no folder with MNIST was given: using data=digits")
    codes, untrained = re.search(r"5-NN accuracy of the codes: (.*), of an untrained net: (.*)", out).groups()
    assert float(codes) > 0.8 > 0.6 > float(untrained)
    error, linear = re.search(r"test error: (.*), of PCA with two units: (.*)", out).groups()
    assert float(error) < 0.7 * float(linear)


@pytest.mark.slow
def test_a_penalty_of_ones_own_does_what_it_is_for(printed):
    out = printed("own_data_and_model")
    rows = re.findall(r"^(?:test error|correlation of units) +(plain|decorrelated) +(\S+) ", out, re.M)
    assert [name for name, _ in rows] == ["plain", "decorrelated"] * 2
    plain_error, error, plain_correlation, correlation = (float(value) for _, value in rows)
    assert correlation < 0.6 * plain_correlation
    assert error < 3 * plain_error
