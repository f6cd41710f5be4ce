"""python -m aejax.resume DIR: a run or a sweep that was cut off goes on where it was."""

import argparse
import os
import sys
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from aejax import command
from aejax.errors import InputError

RECORDS = ("multirun.yaml", ".hydra/hydra.yaml")  # where Hydra writes what a sweep, what a run was asked for

HARMLESS = ("hydra.sweep.", "hydra.sweeper.", "hydra.run.", "hydra.launcher.", "hydra.job.name=", "hydra.mode=")
HARMLESS += ("hydra.output_subdir=", "hydra/launcher=", "hydra/sweeper=")  # these execute nothing of anybody's


def main(words=None):
    """The command; exit statuses are those of the command that it repeats."""
    parser = argparse.ArgumentParser(prog="python -m aejax.resume", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a run or a sweep")
    parser.add_argument(
        "--trust", action="store_true", help="read config files and classes that are not aejax's own, as first time"
    )
    given = parser.parse_args(words)
    try:
        again, place = command_of(given.folder, given.trust)
    except InputError as error:
        command.fail(error)
    if place.is_dir():  # relative paths in the command start there
        os.chdir(place)
    sys.argv = ["aejax", *again]
    command.main()


def command_of(folder, trust=False):
    """The words of the command that began what is in `folder`, and the folder that it was given in.

    Raises InputError where there is no such command, or where it names somebody's own files without `trust`.
    """
    folder = folder.absolute()
    path = next((folder / name for name in RECORDS if (folder / name).exists()), None)
    if path is None:
        raise InputError(f"{folder}: holds no {' and no '.join(RECORDS)}; must be the folder of a run or a sweep")
    try:
        if path.name == "hydra.yaml" and "_target_" not in OmegaConf.load(path.with_name("config.yaml")).data:
            raise InputError(f"{folder}: was trained on a Dataset of a program; must be given to that program again")
        hydra = OmegaConf.load(path).hydra
        key = {"MULTIRUN": "sweep", "RUN": "run"}[str(hydra.mode)]
        words = OmegaConf.to_container(hydra.overrides, resolve=False)  # `${...}` in them is for the command to resolve
        task, own = ([str(word) for word in words[name]] for name in ("task", "hydra"))
        place = Path(str(hydra.runtime.cwd))
        sources = [str(each.path) for each in hydra.runtime.config_sources if each.provider == "command-line"]
    except (OSError, YAMLError, OmegaConfBaseException, AttributeError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if key == "sweep" and path.name != "multirun.yaml":
        raise InputError(f"{folder}: is a job of a sweep; must be the folder of the sweep")
    foreign = [word for word in task if "_target_" in word]
    foreign += [word for word in own if "_target_" in word or not word.startswith(HARMLESS)] + sources
    if foreign and not trust:
        told = " ".join(foreign)
        raise InputError(f"{folder}: takes in {told}; must be repeated by its own command, or with --trust")
    kept = [word for word in own if not word.startswith(("hydra.run.dir=", "hydra.sweep.dir=", "hydra.mode="))]
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    options = [option for source in sources for option in ("--config-dir", source)]
    many = ["-m"] if key == "sweep" else []
    return [*many, *options, *task, *kept, f"hydra.{key}.dir='{quoted}'"], place


if __name__ == "__main__":
    main()
