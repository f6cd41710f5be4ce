"""The versions that CI tests with are those that pyproject.toml promises."""

import importlib.metadata
import re
import tomllib

from conftest import CONF
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = CONF.parent
TESTED = ("test", "audio", "compression", "optuna", "report", "serve", "sklearn", "wandb")
LIBRARIES = {
    "hydra": "hydra-core", "jax": "jax", "omegaconf": "omegaconf", "tfds": "tensorflow-datasets",
    "uvicorn": "uvicorn", "wandb": "wandb",
}  # fmt: skip


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


def constraints():
    """{name: version} in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_constraints_are_names_and_versions_within_the_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][name] for name in TESTED)]
    pinned = constraints()
    for requirement in (Requirement(line) for lines in lists for line in lines if not line.startswith("aejax")):
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(pinned[name]), f"{requirement}, and constraints.txt has {pinned[name]}"
    assert all(re.fullmatch(r"[a-z0-9-]+", name) and Version(version) for name, version in pinned.items())


def test_libraries_with_private_parts_in_use_have_an_upper_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    bounds = {each.name: each.specifier for each in map(Requirement, lines)}
    modules = {path.stem.removesuffix("_compat") for path in (ROOT / "aejax" / "compat").glob("*_compat.py")}
    assert modules == set(LIBRARIES)
    for name in LIBRARIES.values():
        assert any(each.operator == "<" for each in bounds[name]), f"{name}{bounds[name]}: must have an upper bound"
        assert bounds[name].contains(importlib.metadata.version(name))
