"""ARCHITECTURE.md tells the truth about who imports whom."""

import ast
import re

from conftest import CONF

PACKAGE = CONF.parent / "aejax"


def imports(path):
    """The aejax modules that a file imports, by their first name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names]
        found |= {part[1] for part in parts if part[0] == "aejax" and len(part) > 1}
    return found - {"__version__"}


def test_modules_import_only_from_their_left():
    line = re.search(r"^`(errors [\w ]+)`$", (CONF.parent / "ARCHITECTURE.md").read_text(), re.M)[1]
    order = line.split()
    # data/__main__.py and its like are ways in, as aejax/__main__.py is, and not a part of data.
    paths = [path for path in PACKAGE.rglob("*.py") if "_plugins" not in path.parts]
    paths = [path for path in paths if path.stem != "__main__" or path.parent == PACKAGE]
    files = {path.stem if path.parent == PACKAGE else path.parent.name: [] for path in paths}
    for path in paths:
        files[path.stem if path.parent == PACKAGE else path.parent.name].append(path)
    assert sorted(files) == sorted([*order, "__init__", "__main__"])
    for place, name in enumerate(order):
        for path in files[name]:
            wrong = imports(path) - set(order[: place + 1])
            assert not wrong, f"{path.name} imports {wrong}"
