"""Values and names that a hostile run may hold: texts, numbers, lists, names of archive members, classes of aejax."""

import re
from pathlib import Path

DEEP: list = []
for _ in range(200):
    DEEP = [DEEP]
TEXTS = ["", "x" * 70_000, "\0", "\ud800", "\x1b[2J", "../../x", "/etc/passwd", "???", "aejax", "none", "nan", "a\nb"]
TEXTS += [
    "${seed}",
    "${oc.env:HOME}",
    "${model}",
    "${net}",
    "${a",
    "${model.${seed}}",
    "${oc.decode:'[[['}",
    "x${seed}",
]
TEXTS += ["os.system", "subprocess.Popen", "aejax.__main__.main", "aejax.cli.train.main", "builtins.eval", "..", "a.b"]
NUMBERS = [0, 1, -1, 2, 3, 7, 64, 100, 1000, 65_536, 2**31 - 1, 2**31, 2**63, 2**64, 10**400, -(10**400)]
NUMBERS += [0.5, 1e-45, 1e308, float("nan"), float("inf"), -float("inf"), -0.0, 1.5]
LISTS = [
    [],
    {},
    [[]],
    [None],
    [1] * 90,
    [1] * 5000,
    [2**31],
    [10**9],
    [65_536] * 3,
    ["a"] * 9,
    {"": {}},
    {"a": [{}]},
    DEEP,
]
VALUES = [None, True, False, *TEXTS, *NUMBERS, *LISTS]
NAMES = [
    "../evil",
    "/evil",
    "..\\evil",
    "C:evil",
    "a/../../evil",
    "con",
    "run.json/",
    "./run.json",
    "RUN.JSON",
    "x" * 2000,
]


def classes():
    """The full names of all classes of aejax, made for a configuration or not."""
    folder = Path(__file__).parents[1]
    return sorted(
        f"{'.'.join(path.relative_to(folder).with_suffix('').parts)}.{name}"
        for path in (folder / "aejax").rglob("*.py")
        for name in re.findall(r"^class (\w+)", path.read_text(), re.M)
    )


CLASSES = classes()
