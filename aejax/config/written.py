"""The three files that Hydra writes for a job, with the same bytes, about ten times faster."""

from pathlib import Path

import yaml
from omegaconf import OmegaConf

try:
    from yaml import CDumper as Dumper
except ImportError:  # PyYAML was built without libyaml
    from yaml import Dumper

from aejax.base.files import write_whole
from aejax.compat.omegaconf_compat import yaml_dumper


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


def write_yaml(folder, composed):
    """Writes the three files that Hydra writes for a job: its configuration, Hydra's own, and the overrides."""
    settings = OmegaConf.to_container(composed, resolve=False, enum_to_str=True)
    hydra = {"hydra": settings.pop("hydra")}
    files = {"config.yaml": settings, "hydra.yaml": hydra, "overrides.yaml": hydra["hydra"]["overrides"]["task"]}
    for name, content in files.items():
        write_whole(Path(folder) / name, yaml_of(content), lasting=False)  # as Hydra's own
