"""A fuzzer of records: whatever one file of a sweep holds, the others are compared and nothing ends in a traceback.

`python -m pytest -m slow tests/test_damaged_records.py`; the seed of a failure is in its message.
"""

import copy
import io
import json
import random
import shutil
import warnings

import numpy as np
import pytest
import yaml
from made import make_grid

from aejax.cli.compare import TEXTS, Comparison, build_parser
from aejax.comparison.reading import FORMAT, INDEX, _digest, read

RUNS, DAMAGED = 6, "3"
TRIALS, PAGES = 240, 16  # one page in so many trials, because it takes longest
# fmt: off
VALUES = [
    None, True, False, 0, -1, 3, 2**70, 10**400, 1e308, -0.5, float("nan"), float("inf"), "", "x", "\ud800", "\x1b[2J",
    "=1+1", "<b>", "completed", "running", [], [[]], [None], {}, {"a": 1}, {"": {"": None}}, ["x"] * 50,
]
TEXT = [
    "", "\x00", "[", "{", "[]", "null", "3", '"x"', "[" * 100_000, "{}", "a: [", "*a", "a: &a [*a]", "1: 2",
    "? [1]\n: 2", "2026-13-45", "- 1", "step\n", "step,valid/mse\n1", "a,a\n1,2\n", '"', "step,valid/mse\n1,2,3\n",
    "\ufeff{}",
]
# fmt: on
FILES = ("run.json", "metrics.json", "history.csv", ".hydra/config.yaml", ".hydra/hydra.yaml", "codes.npz")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep of whole runs, and what is read of it."""
    folder = make_grid(tmp_path_factory.mktemp("whole") / "sweep", noises=("none",), dims=(2,), seeds=RUNS // 2)
    before = read([folder])
    assert [entry.status for entry in before] == ["completed"] * RUNS
    return folder


def nodes(content, above=()):
    """The ways to all that is in plain containers."""
    yield above
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from nodes(value, (*above, key))


def mutated(content, draw):
    """The content with something in it replaced, removed, renamed or added."""
    content = copy.deepcopy(content)
    way = draw.choice(list(nodes(content)))
    if not way:
        return draw.choice(VALUES)
    *above, last = way
    node = content
    for key in above:
        node = node[key]
    if draw.random() < 0.2 and isinstance(node, dict):
        del node[last]
    elif draw.random() < 0.2 and isinstance(node, dict):
        node[draw.choice(["", "x", "\ud800", "model", "recon/mse low", "n", "seed", "data", "<b>"])] = node.pop(last)
    else:
        node[last] = draw.choice(VALUES)
    return content


def spoiled(octets, draw):
    """Bytes cut off, flipped, repeated, or others."""
    kind = draw.randrange(4)
    if kind == 0:
        return octets[: draw.randrange(len(octets) + 1)]
    if kind == 1:
        found = bytearray(octets)
        for _ in range(draw.choice([1, 3, 30])):
            found[draw.randrange(len(found))] = draw.randrange(256)
        return bytes(found)
    if kind == 2:
        start = draw.randrange(len(octets))
        return octets[:start] + draw.randbytes(draw.choice([1, 8, 100])) + octets[start:]
    return draw.choice(TEXT).encode()


def arrays(draw):
    """A codes.npz of arrays that are none of codes."""
    shapes = [np.zeros(shape) for shape in ((), (3,), (0, 2), (4, 0), (2, 2, 2))]
    kinds = [np.array([["a", "b"]]), np.array([[np.nan, np.inf]]), np.zeros((4, 2), complex), np.full((4, 3), 1e308)]
    z = draw.choice([*shapes, *kinds])
    y = draw.choice([np.zeros(4, int), np.zeros(9), np.array("x"), np.full(4, np.nan), np.full(4, 10**18)])
    data = io.BytesIO()
    np.savez(data, **draw.choice([{"z": z, "y": y}, {"z": z}, {"y": y}, {"Z": z}]))
    return data.getvalue()


def damage(folder, draw):
    """Damages one file of a sweep; its name."""
    name = draw.choice([f"{DAMAGED}/{name}" for name in FILES] + ["sweep.json", INDEX])
    path = folder / name
    octets = path.read_bytes()
    if name.endswith(".npz") and draw.random() < 0.5:
        path.write_bytes(arrays(draw))
    elif name == INDEX and draw.random() < 0.7:  # whole, and somebody else's
        runs = mutated(json.loads(json.loads(octets)["runs"]), draw)
        text = json.dumps(runs)
        content = {"format": json.loads(octets)["format"], "digest": _digest(text), "runs": text}
        assert content["format"][0] == FORMAT
        path.write_text(json.dumps(content))
    elif name.endswith((".json", ".yaml")) and draw.random() < 0.6:
        text = octets.decode()
        content = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
        content = mutated(content, draw)
        path.write_text(json.dumps(content))
    elif draw.random() < 0.03:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(spoiled(octets, draw))
    return name


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_whatever_one_file_holds_the_other_runs_are_compared(sweep, tmp_path, part):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    from aejax.comparison import report

    harmless = 0
    for seed in range(part, TRIALS, 4):
        draw = random.Random(seed)
        folder = tmp_path / "sweep"
        shutil.copytree(sweep, folder)
        read([folder])  # leaves an index
        name = damage(folder, draw)
        context = (
            f"seed {seed}, {name}: {(folder / name).read_bytes()[:300] if (folder / name).is_file() else 'a folder'}"
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = Comparison.of(build_parser().parse_intermixed_args([str(folder)]))
                for form in TEXTS:
                    found.text(form).encode()
                if seed // 4 % PAGES == 0 or name.endswith("codes.npz"):
                    report.page(found, folder).encode()
        except Exception as error:
            raise AssertionError(context) from error
        whole = {entry.path: entry for entry in found.runs.entries if entry.status == "completed"}
        expected = {str(folder / str(number)) for number in range(RUNS)} - {str(folder / DAMAGED)}
        if name.startswith(DAMAGED):
            assert expected <= whole.keys(), context
            one = [entry for entry in found.runs.entries if entry.path == str(folder / DAMAGED)]
            assert len(one) == 1, context
            assert (
                one[0].status == "completed"
                or one[0].reason
                or one[0].status in ("running", "x", "<b>", "\\x1b[2J", "=1+1")
            ), context
            harmless += one[0].status == "completed"
        for path in expected & whole.keys():
            if name != INDEX:
                original = json.loads((sweep / path.rpartition("/")[2] / "metrics.json").read_text())
                assert original.items() <= whole[path].metrics.items(), context
        shutil.rmtree(folder)
    assert harmless < TRIALS / 4 * 0.6  # most damage is damage
