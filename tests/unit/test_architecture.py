"""Rooms and baselines: what each package may import, and no circles, inside of packages either."""

import ast
import graphlib
import re

import pytest
from conftest import CONF

PACKAGE = CONF.parent / "aejax"
PATHS = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("[a-z]*/__init__.py"))
MODULES = sorted(name for name, path in PATHS.items() if path.parent == PACKAGE)


def imports(name):
    """The modules of aejax that a module imports, at its top or when it is used."""
    found = set()
    for node in ast.walk(ast.parse(PATHS[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {each if each in PATHS else node.module for each in whole}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {each for each in found if each.split(".")[0] == "aejax"}


GRAPH = {name: imports(name) for name in PATHS}


def room(name):
    """The package that a module is in, None for those at the top."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def allowed(package):
    """What the docstring of a package says that it imports."""
    text = ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text()))
    listed = re.search(r"^Imports: ([^.]+)\.$", text, re.M)[1]
    return [] if listed == "nothing of aejax" else re.split(r",\s+", listed)


def test_everything_that_is_imported_is_there():
    assert not {each for found in GRAPH.values() for each in found} - set(PATHS)


def test_only_commands_stand_directly_under_aejax():
    others = [name for name in MODULES if name.replace("aejax.", "aejax.cli.") not in PATHS]
    assert others == ["aejax.__main__"]


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_what_its_docstring_says_and_no_more(package):
    used = {room(each) or each for name, found in GRAPH.items() if room(name) == package for each in found}
    assert sorted(used - {package}) == sorted(allowed(package))


def test_no_circles_between_rooms():
    order = list(graphlib.TopologicalSorter({package: allowed(package) for package in ROOMS}).static_order())
    assert sorted(order) == ROOMS


def test_no_circles_between_modules():
    """Packages and modules alike: a module also stands for the package whose __init__ runs before it."""
    list(graphlib.TopologicalSorter(GRAPH).static_order())


def test_the_top_imports_rooms_and_is_imported_by_none():
    below = {each for name, found in GRAPH.items() if room(name) for each in found}
    assert not below & set(MODULES)


def test_the_architecture_page_names_every_room():
    page = (CONF.parent / "ARCHITECTURE.md").read_text()
    assert re.findall(r"^\| `(\w+)/` \|", page, re.M) == listed()


def listed():
    """The rooms as the architecture page lists them, each below what imports it."""
    return re.search(r"^`(compat \w[\w ]+)`$", (CONF.parent / "ARCHITECTURE.md").read_text(), re.M)[1].split()


def test_the_order_on_the_architecture_page_holds():
    order = listed()
    assert sorted(order) == ROOMS
    for package in order:
        late = [each for each in allowed(package) if order.index(each) >= order.index(package)]
        assert not late, f"{package} imports {late}"
