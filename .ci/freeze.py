"""Prints constraints.txt: the installed version of all that `pip install '.[test]'` asks for, what it needs included.

python .ci/freeze.py > constraints.txt
"""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEADER = """\
# The versions that aejax is developed with; CI runs the slow tests with these too:
# pip install -e '.[test]' -c constraints.txt
# Written by .ci/freeze.py; CONTRIBUTING.md says when.
"""


def needed(requirement):
    """The requirements of an installed distribution, with the extras that `requirement` asks for, on this machine."""
    if requirement.name == "aejax":  # what is installed may be of another checkout
        project = tomllib.loads(Path(__file__).parent.with_name("pyproject.toml").read_text())["project"]
        lines = [*project["dependencies"], *(line for name in requirement.extras for line in optional(project, name))]
    else:
        lines = importlib.metadata.requires(requirement.name) or []
    environments = [{"extra": extra} for extra in ("", *requirement.extras)]
    for each in map(Requirement, lines):
        if each.marker is None or any(each.marker.evaluate(environment) for environment in environments):
            yield each


def optional(project, name):
    return project["optional-dependencies"][name]


def closure(requirement):
    """{name: version} of all that a requirement needs, directly or not; raises PackageNotFoundError."""
    versions, seen, waiting = {}, set(), [requirement]
    while waiting:
        each = waiting.pop()
        key = canonicalize_name(each.name), frozenset(each.extras)
        if key not in seen:
            seen.add(key)
            versions[key[0]] = "" if each.name == "aejax" else importlib.metadata.version(each.name)
            waiting += needed(each)
    return {name: version for name, version in sorted(versions.items()) if name != "aejax"}


if __name__ == "__main__":
    try:
        lines = [f"{name}=={version}\n" for name, version in closure(Requirement("aejax[test]")).items()]
    except importlib.metadata.PackageNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install -e '.[test]'")
    print(HEADER + "".join(lines), end="")
