"""A finished run as one zip archive for somebody else, without what it tells of the machine and its user."""

import dataclasses
import getpass
import io
import os
import re
import socket
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from aejax.base.errors import InputError
from aejax.base.files import octets
from aejax.base.nested import LOADER
from aejax.config.written import yaml_of
from aejax.runs import contents
from aejax.runs.folder import FILES, SETTINGS, Run, record_text
from aejax.settings.references import check_references

DROPPED = ("wandb_id", "wandb_lost", "same_as")  # fields of run.json
PLACES = ("dir", "manual_dir", "download")  # settings of data that say where they are
TEXTS = ("name", "note", "license")  # what run.json says of data in free words
OTHERS = ("data", "track", "lanes", "checkpoint", "figures", "objective", "init")  # settings that no model is made from
HIDDEN = "…"
RESOLVER = re.compile(r"\$\{[^}]*:")  # a reference to the environment, or to what only Hydra knows
ABSOLUTE = re.compile(r"(?<![\w.)}])(?:[a-z]+://|~\w*(?=/)|[A-Za-z]:(?=[\\/]))?[\\/][^\s'\",:;=()\[\]{}]*")
SECRET = re.compile(r"(?i)key\b|_key|token|secret|passw|credential|auth")  # in the name of a setting or a variable
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive can hold
PICTURE = 2**26  # bytes that a picture may have


def shared(run: Run) -> dict[str, bytes]:
    """{name: content} of the files that are shared, with the parameters, codes and metrics as they are.

    Raises InputError where one of them is damaged.
    """
    damaged = run.damaged
    if damaged:
        raise InputError(f"{run.path}: {damaged[0]} is missing or damaged")
    private = Private.of(run)
    task = _words(run, private)
    runtime = {"choices": private.without(run.choices), "cwd": "."}  # "." is where relative paths start
    hydra = {"hydra": {"mode": "RUN", "overrides": {"hydra": [], "task": task}, "runtime": runtime}}
    files = {name: octets(run.path / name, contents.MOST[name.rpartition(".")[2]]) for name in FILES[1:4]}
    files["codes.npz"] = octets(run.path / "codes.npz", contents.MOST["safetensors"])
    files["run.json"] = record_text(_record(run.record, private))
    for name, content in (("config", _settings(run, private)), ("hydra", hydra), ("overrides", task)):
        files[f"{SETTINGS}/{name}.yaml"] = yaml_of(content).encode()
    for picture in run.figures:
        files[f"figures/{picture.name}"] = octets(picture, PICTURE)
    return files


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The bytes of a zip archive of files {name: content}; the same files give the same bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, TIME)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, wherever it was made
            entry.compress_type = zipfile.ZIP_DEFLATED if name.endswith((".json", ".csv", ".yaml")) else 0
            archive.writestr(entry, content)
    return data.getvalue()


@dataclasses.dataclass(frozen=True)
class Private:
    """What a shared text must not hold: folders, secrets, and the names of user and host."""

    folders: re.Pattern
    data: frozenset[str]  # those of the folders whose last part may be told
    secrets: re.Pattern
    names: re.Pattern

    @classmethod
    def of(cls, run: Run) -> "Private":
        """What is private here, and what the run has recorded of where it was trained and where its data were."""
        recorded, data = _recorded_folder(run), run.settings.get("data")
        folders = {str(Path.home()), os.getcwd(), str(run.path.absolute().parent), recorded}
        folders |= {os.path.realpath(folder) for folder in folders if folder}
        places = {text for text in (data.values() if isinstance(data, dict) else ()) if _is_path(text)} - folders
        secrets = {value for name, value in os.environ.items() if SECRET.search(name) and len(value) >= 8}
        host, home = socket.gethostname(), re.match(r"/(?:home|Users)/([^/]+)", recorded)
        names = {_user(), host, host.partition(".")[0], home[1] if home else ""}
        return cls(
            _any_of((folders | places) - {"", "/"}, r"%s(?!\w)"),
            frozenset(places),
            _any_of(secrets, "%s"),
            _any_of(names - {""}, r"(?<!\w)%s(?!\w)"),
        )

    def without(self, value: Any, names: bool = False) -> Any:
        """A value without folders and secrets, and without names if asked; of a path remains the last part."""
        if isinstance(value, dict):
            return {self.without(key): self.without(entry, names and key != "_target_") for key, entry in value.items()}
        if isinstance(value, list):
            return [self.without(entry, names) for entry in value]
        if not isinstance(value, str):
            return value
        text = self.secrets.sub(HIDDEN, value)
        text = self.folders.sub(lambda match: _last(match[0]) if match[0] in self.data else "", text)
        text = ABSOLUTE.sub(lambda match: _last(match[0]), text)
        return self.names.sub(HIDDEN, text) if names else text


def _is_path(text: Any) -> bool:
    return isinstance(text, str) and bool(re.search(r"[\\/]", text)) and not RESOLVER.search(text)


def _last(path: str) -> str:
    """The last part of a path."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def _any_of(texts: set[str], form: str) -> re.Pattern:
    """What matches any of the texts, the longest first, each in this form."""
    ordered = sorted(texts, key=lambda text: (-len(text), text))
    return re.compile("|".join(form % re.escape(text) for text in ordered) or "(?!)")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a process without an entry in the list of users
        return ""


def _recorded_folder(run: Run) -> str:
    """The folder that the command of a run was started in; empty where none is recorded."""
    node: Any = contents.mapping(run.path / SETTINGS / "hydra.yaml")
    for name in ("hydra", "runtime", "cwd"):
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, str) else ""


def _record(record: dict[str, Any], private: Private) -> dict[str, Any]:
    """run.json without what only the machine and W&B need."""
    known = {name: value for name, value in record.items() if name in contents.FIELDS and name not in DROPPED}
    clean = private.without(known)
    clean |= private.without({name: clean[name] for name in ("name", "error") if name in clean}, names=True)
    data = clean.get("data", {})
    data |= private.without({name: data[name] for name in TEXTS if name in data}, names=True)
    return clean


def _settings(run: Run, private: Private) -> dict[str, Any]:
    """config.yaml without places, W&B's settings and references to the machine's environment."""
    settings = {name: value for name, value in run.settings.items() if name != "hydra"}
    try:
        check_references(settings, [name for name in settings if name not in OTHERS])
    except InputError as error:
        raise InputError(f"{run.path}: {error}") from None
    clean = private.without(_open(settings))
    data, track = clean.get("data"), clean.get("track")
    if isinstance(data, dict):
        clean["data"] = private.without({name: _data(name, value) for name, value in data.items()}, names=True)
    if "init" in clean:
        clean["init"] = None  # a folder of this machine; run.json tells which run it was
    if isinstance(track, dict):
        kept = {name: value for name, value in track.items() if not isinstance(value, str) or name == "_target_"}
        clean["track"] = kept | {"mode": "off", "project": "aejax", "entity": None}
    return clean


def _data(name: str, value: Any) -> Any:
    """A setting of the data, without the place of files and what would be read from the environment."""
    if name in PLACES:
        return False if name == "download" else None
    if not isinstance(value, str) or name == "_target_":
        return value
    return None if RESOLVER.search(value) else _last(value)


def _open(settings: Any) -> Any:
    """Settings without the texts that are secret by their name."""
    if not isinstance(settings, dict):
        return settings
    return {
        name: None if isinstance(value, str) and SECRET.search(str(name)) else _open(value)
        for name, value in settings.items()
    }


def _words(run: Run, private: Private) -> list[str]:
    """The overrides of the run's command that say what was trained, not where."""
    path = run.path / SETTINGS / "overrides.yaml"
    try:
        words = yaml.load(octets(path, contents.MOST["yaml"]), LOADER) or []
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    kept = []
    for word in words if isinstance(words, list) else []:
        key, _, value = str(word).partition("=")
        key = key.lstrip("+~")
        section, _, name = key.partition(".")
        if (
            section in ("hydra", "track", "init")
            or section.startswith("hydra/")
            or name in PLACES
            or SECRET.search(key)
        ):
            continue
        kept.append(private.without(str(word), names="." in key or "/" in value))
    return [word for word in kept if not RESOLVER.search(word)]
