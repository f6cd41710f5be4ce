"""The three files that Hydra writes for a job, with the same bytes, about ten times faster."""

import functools
import pickle
from pathlib import Path

import yaml

try:
    from yaml import CDumper as Dumper
except ImportError:  # PyYAML was built without libyaml
    from yaml import Dumper

from aejax.base.files import write_whole
from aejax.compat.omegaconf_compat import contents, yaml_dumper


class QuickDumper(Dumper):
    """OmegaConf's dumper, implemented in C."""

    yaml_representers = yaml_dumper().yaml_representers


def yaml_of(content):
    """The YAML of plain containers, as OmegaConf.to_yaml writes it, about ten times faster."""
    options = {"default_flow_style": False, "allow_unicode": True, "sort_keys": False}
    text = yaml.dump(content, Dumper=QuickDumper, **options)
    if text.isascii() and "\\" not in text and "'':" not in text:
        return text
    return yaml.dump(content, Dumper=yaml_dumper(), **options)  # the C dumper writes escapes and the key '' differently


def files_of(composed):
    """{name: text} of the files that Hydra writes for a job: its configuration, Hydra's own, and the overrides."""
    settings = contents(composed)
    hydra = settings.pop("hydra")
    return {
        "config.yaml": _by_entry(settings),
        "hydra.yaml": _by_entry(hydra, "hydra"),
        "overrides.yaml": yaml_of(hydra["overrides"]["task"]),
    }


def write_files(folder, files):
    """Writes files_of a job in `folder`, no more lasting than Hydra's own."""
    for name, text in files.items():
        write_whole(Path(folder) / name, text, lasting=False)


def _by_entry(content, parent=None):
    """yaml_of(content), or yaml_of({parent: content}), entry by entry: most entries of a job are those of the last."""
    if not content:
        return yaml_of({parent: content} if parent else content)
    heading = f"{parent}:\n" if parent else ""
    return heading + "".join(_entry(pickle.dumps((key, value)), parent) for key, value in content.items())


@functools.lru_cache(1000)
def _entry(pickled, parent):
    """The lines of one entry, (key, value), below the line of its parent, if any."""
    key, value = pickle.loads(pickled)
    return yaml_of({parent: {key: value}}).partition("\n")[2] if parent else yaml_of({key: value})
