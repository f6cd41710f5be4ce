"""The versions that CI tests with are those that pyproject.toml promises."""

import tomllib

from conftest import CONF
from packaging.requirements import Requirement

ROOT = CONF.parent


def lower_bounds():
    """{name: lowest allowed version} of the dependencies and of the extras that tests install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tested = Requirement(next(line for line in extras["test"] if line.startswith("aejax[")))
    lines = [*project["dependencies"], *extras["test"], *(line for name in tested.extras for line in extras[name])]
    bounds = {}
    for requirement in map(Requirement, lines):
        lowest = [each.version for each in requirement.specifier if each.operator == ">="]
        if lowest:
            bounds[requirement.name] = lowest[0]
    return bounds


def test_ci_installs_the_lowest_version_of_every_dependency():
    lines = (ROOT / ".ci" / "constraints-lowest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned == lower_bounds()


def test_every_dependency_has_a_lower_bound_or_a_stated_reason_for_none():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    unbounded = {each.name for each in map(Requirement, project["dependencies"]) if not each.specifier}
    assert unbounded == {"importlib_resources"}  # undeclared by tensorflow-datasets; any version serves it
