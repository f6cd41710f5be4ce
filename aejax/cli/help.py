"""What --help, --version and --cfg print: choices and their settings with the comments of conf/. Imports no jax."""

import string

import yaml

from aejax.base.errors import InputError
from aejax.base.version import VERSION
from aejax.config import hints
from aejax.config.menu import CONF, annotated, choice, comments, common, folders, groups

TEMPLATE = CONF / "config.yaml"  # under hydra.help


def version():
    """The line that --version prints."""
    return f"aejax {VERSION}\n"


def shown(words):
    """The answer to --help: about the choices among the other words, else about everything; raises InputError."""
    places = folders(words)
    known = groups(places)
    pairs = [word.lstrip("+").partition("=") for word in words if "=" in word and not word.startswith("-")]
    chosen = [(group, name) for group, _, names in pairs if group in known for name in names.split(",")]
    for group, name in chosen:
        if name not in known[group]:
            raise InputError(f"{group}={name}: no such choice; {hints.of_choice(group, name, known[group])}")
    return "\n".join(_of_choice(group, name, places) for group, name in chosen) or _of_all(known)


def _of_all(known):
    lines = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["hydra"]["help"]
    listed = "".join(f"{group}: {', '.join(sorted(names))}\n" for group, names in known.items())
    text = string.Template(lines["template"]).safe_substitute(APP_CONFIG_GROUPS=listed)
    return text.replace("${hydra.help.header}", lines["header"])


def _of_choice(group, name, places):
    """The title of a choice, and each setting that goes with it, as conf/ writes it."""
    read = choice(group, name, places)
    entries = {key: entry for key, entry in common().items() if key.startswith(f"{group}.")} | read.settings
    beside = comments(hints.all_chosen({group: name}, places), places)
    rows = [(f"{key}={entry.value}", beside.get(key, "")) for key, entry in entries.items() if _is_given(key, entry)]
    rows = [(row.removeprefix("hydra.sweeper.params."), comment) for row, comment in rows]  # what a sweep varies
    width = min(max((len(row) for row, _ in rows), default=0), 40)
    chosen = [f"{other_group}={value}" for other_group, value in read.chosen.items()]
    lines = [f"{group}={name}: {read.title}" if read.title else f"{group}={name}", ""]
    lines += [f"chooses {' '.join(chosen)}", ""] if chosen else []
    lines += [f"  {row:<{width}}  {comment}".rstrip() for row, comment in rows] or ["  nothing to set"]
    return "\n".join(lines) + "\n"


def _is_given(key, entry):
    return entry.value not in ("", "{}") and not entry.value.startswith("${") and not key.endswith("_target_")


def commented(text, chosen, places=(CONF,)):
    """A configuration as Hydra prints it, with the comments of conf/; `chosen` is {group: choice}."""
    first = text.split("\n", 1)[0]
    prefix = f"{first.removeprefix('# @package ')}." if first.startswith("# @package ") else ""
    try:
        return annotated(text, comments(chosen, places), prefix)
    except yaml.YAMLError:  # a single value, as --package optim.lr prints it
        return text
