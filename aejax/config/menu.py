"""The groups, choices and settings of conf/, read without Hydra, for help and hints."""

import dataclasses
import functools
import re
from pathlib import Path

import yaml

from aejax.base.nested import LOADER

PACKAGE = Path(__file__).parents[1]
# In a wheel conf/ and sweeps/ are data of the package.
CONF = next(folder for folder in (PACKAGE / "_data" / "conf", PACKAGE.parent / "conf") if folder.is_dir())
SWEEPS = CONF.parent / "sweeps"
_NO_MARKS = yaml.YAMLError, OSError, UnicodeDecodeError


@dataclasses.dataclass(frozen=True)
class Entry:
    """One setting as its file writes it: the value and the comment beside it."""

    value: str
    comment: str


@dataclasses.dataclass(frozen=True)
class Choice:
    """One file of a group: its first comment, its settings by dotted name, its choices of other groups."""

    title: str
    settings: dict[str, Entry]
    chosen: dict[str, str]


def folders(words):
    """The configuration folders: conf/, and those that --config-dir names among the words of a command line."""
    paths = []
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in ("--config-dir", "-cd"):
            paths += [value] if value else words[place + 1 : place + 2]
    return (CONF, *(Path(folder).absolute() for folder in paths))


@functools.cache
def sweeps():
    """{choice: its file} of the group `sweep`: the files in sweeps/, and as references/NAME those in its subfolder."""
    files = [*SWEEPS.glob("*.yaml"), *SWEEPS.glob("references/*.yaml")]  # those in wandb/ are W&B's
    return {path.relative_to(SWEEPS).with_suffix("").as_posix(): path for path in sorted(files)}


@functools.cache
def groups(places=(CONF,)):
    """{group: {choice: its file}} of the configuration folders `places`, without Hydra's own groups; read once."""
    files = {"sweep": dict(sweeps())}
    for place in places:
        for path in sorted(place.glob("[!.]*/**/*.yaml")):
            group = path.parent.relative_to(place).as_posix()
            if group.split("/")[0] != "hydra":
                files.setdefault(group, {})[path.stem] = path
    return {group: files[group] for group in sorted(files) if files[group]}


def defaults():
    """{group: choice} of the defaults in conf/config.yaml; None where nothing is chosen."""
    lines = yaml.load((CONF / "config.yaml").read_text(encoding="utf-8"), LOADER)["defaults"]
    chosen = {}
    for line in (line for line in lines if isinstance(line, dict)):
        chosen |= {key: value for key, value in line.items() if not key.startswith("override ")}
    return chosen


def common():
    """The settings in conf/config.yaml itself, {dotted name: Entry}."""
    return {key: entry for key, entry in _read(CONF / "config.yaml").settings.items() if key.split(".")[0] != "hydra"}


def choice(group, name, places=(CONF,), package=None):
    """A Choice, including what it inherits from other choices; raises KeyError if it does not exist."""
    known = groups(places)
    read = _read(known[group][name])
    package = package if package is not None else group.replace("/", ".") if read.package is None else read.package
    settings, chosen = {}, {}
    for line in read.defaults:
        if line == "_self_":
            _update(settings, _inside(package, read.settings))
            continue
        for key, value in ({line: None} if isinstance(line, str) else line).items():
            if key.startswith("override "):
                chosen[key.removeprefix("override ").lstrip("/")] = value
                continue
            if value is None and key.startswith("/"):  # a choice of another group, by its path
                key, _, value = key.rpartition("/")
            key, _, inner = key.partition("@")
            other_group, stem = (key.lstrip("/"), value) if value is not None else (group, key)
            within = ".".join(part for part in (package, inner) if part) if inner or value is None else None
            if stem in known.get(other_group, ()):
                base = choice(other_group, stem, places, within)
                _update(settings, base.settings)
                chosen = base.chosen | chosen
    return Choice(read.title, settings, chosen)


def comments(chosen, places=(CONF,)):
    """{dotted name: comment} of the settings with these choices of groups."""
    entries, known = common(), groups(places)
    for group, name in chosen.items():
        if name in known.get(group, ()):
            _update(entries, choice(group, name, places).settings)
    return {key: entry.comment for key, entry in entries.items() if entry.comment}


def _inside(package, settings):
    return {f"{package}.{key}" if package else key: entry for key, entry in settings.items()}


def _update(settings, newer):
    """Adds `newer` settings; where one has no comment, the earlier comment is kept."""
    for key, entry in newer.items():
        before = settings.get(key)
        settings[key] = entry if entry.comment or before is None else Entry(entry.value, before.comment)


@dataclasses.dataclass(frozen=True)
class _File:
    title: str
    package: str | None
    defaults: list
    settings: dict[str, Entry]


@functools.cache
def _read(path):
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, LOADER)
    except _NO_MARKS:  # Hydra will report what is wrong
        return _File("", None, [], {})
    lines = text.splitlines()
    head = [line for line in lines[: root.start_mark.line if root else None] if line.startswith("#")]
    package = next((line.split()[2] for line in head if re.match(r"# @package \S", line)), None)
    title = "\n".join(line[1:].strip() for line in head if not line.startswith("# @package"))
    listed, settings = ["_self_"], {}
    for name, key, value in _nodes(root):
        if name == "defaults":
            listed = yaml.load(text, LOADER)["defaults"] or []
            listed = listed if "_self_" in listed else [*listed, "_self_"]  # as Hydra reads it
        elif not name.startswith("defaults."):
            is_mapping = isinstance(value, yaml.MappingNode) and value.value
            written = "" if is_mapping else _written(text, value)
            settings[name] = Entry(written, _beside(lines, key if is_mapping else value))
    return _File(title, "" if package == "_global_" else package, listed, settings)


def _written(text, node):
    """The value as one would write it on the command line."""
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return f"[{', '.join(_written(text, entry) for entry in node.value)}]"
    if isinstance(node, yaml.ScalarNode) and node.style:
        return node.value
    return " ".join(text[node.start_mark.index : node.end_mark.index].split())


def _nodes(node, prefix=""):
    """(dotted name, key, value) of all settings in the mapping `node`, itself before what is in it."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        yield f"{prefix}{key.value}", key, value
        yield from _nodes(value, f"{prefix}{key.value}.")


def _beside(lines, node):
    """The comment that follows a node on its line, and on the lines below it that hold nothing else."""
    place, column = node.end_mark.line, node.end_mark.column
    if place >= len(lines) or not (begin := re.match(r":?\s*#\s*(.*)", lines[place][column:])):
        return ""
    comment = [begin[1].strip()]
    for line in lines[place + 1 :]:
        if not (continued := re.match(r"\s{12,}#\s*(.*)", line)):
            break
        comment.append(continued[1].strip())
    return " ".join(comment)


def annotated(text, known, prefix=""):
    """A configuration as YAML text, with the `known` comments {dotted name: comment} beside its settings."""
    lines = text.splitlines()
    for name, key, value in _nodes(yaml.compose(text, LOADER)):
        comment = known.get(f"{prefix}{name}")
        place = key.end_mark.line
        same = value.end_mark.line == place or value.start_mark.line > place  # several lines of text leave no room
        if comment and same:
            lines[place] = f"{lines[place]:<32} # {comment}"
    return "".join(f"{line}\n" for line in lines)
