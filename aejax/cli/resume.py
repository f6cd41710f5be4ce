"""python -m aejax.resume DIR: resumes a run or a sweep that was interrupted."""

import contextlib
import os
import re
import sys
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.base.confinement import can_enter, check_links, confined, is_inside
from aejax.base.errors import InputError
from aejax.cli import train
from aejax.cli.parsing import Parser, fail
from aejax.compat import hydra_compat
from aejax.config.explain import CONF
from aejax.runs import contents

RECORDS = ("multirun.yaml", ".hydra/hydra.yaml")  # where Hydra records the command of a sweep, of a run
REPLACED = ("hydra.run.dir", "hydra.sweep.dir", "hydra.mode")  # by those of the folder that is resumed
DETACH = "hydra.launcher.detach"  # not repeated: a resumed sweep waits for its workers
PLACES = ("hydra.sweep.subdir", "hydra.output_subdir")  # checked once they are composed
PLAIN = (
    "hydra.job.name",
    *(f"hydra.sweeper.{name}" for name in ("max_batch_size", "n_trials", "n_jobs", "seed")),
    *(f"hydra.launcher.{name}" for name in ("slots", "retries", "programs", "detach")),
)
CHOICES = {
    "hydra/launcher": ("vmap", "local"),
    "hydra/sweeper": ("basic", "optuna"),
    "hydra.sweeper.direction": ("minimize", "maximize"),
}
SETTINGS = ("wandb/settings", ".wandb/settings", "matplotlibrc")  # files that libraries read in the current folder
NAMES = re.compile(r"[\w\s,()\[\]*'\"-]*")  # names of choices, never a path or an interpolation
TRUST = (
    "repeat the command as it is recorded, whatever it names: config folders and classes that are not aejax's own "
    "(their code runs), any setting of Hydra's, places outside of the folder, links out of it, data to be prepared "
    "or downloaded, track=online"
)


def main(words=None):
    """The command; its exit status is that of the command that it repeats."""
    parser = Parser(prog="python -m aejax.resume", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a run or a sweep")
    parser.add_argument("--trust", action="store_true", help=TRUST)
    options = parser.parse_args(words)
    try:
        command, place = command_of(options.folder, options.trust)
    except InputError as error:
        fail(error)
    folder = options.folder.absolute()
    sys.argv = ["aejax", *command]
    with contextlib.nullcontext() if options.trust else confined(folder):
        if can_enter(place):  # relative paths in the command start there
            with contextlib.suppress(OSError):
                os.chdir(place)
        train.main()


def command_of(folder, trust=False):
    """The words of the command that started the run or sweep in `folder`, and the folder that it was typed in.

    Raises InputError where no such command is recorded, or where, without `trust`, it changes more than aejax's own
    settings, or a link in the folder leads out of it.
    """
    folder = folder.absolute()
    path = next((folder / name for name in RECORDS if (folder / name).exists()), None)
    if path is None:
        raise InputError(f"{folder}: holds no {' and no '.join(RECORDS)}; name the folder of a run or a sweep")
    if "${" in str(folder):  # Hydra would resolve it in the command, and again in the files that it writes
        raise InputError(f"{folder}: has ${{ in its name; rename it")
    if not trust:
        check_links(folder)
    try:
        if path.name == "hydra.yaml" and "_target_" not in contents.config(path.with_name("config.yaml")).data:
            raise InputError(f"{folder}: was trained on a Dataset passed from Python; only that program can resume it")
        recorded = contents.config(path).hydra
        key = {"MULTIRUN": "sweep", "RUN": "run"}[str(recorded.mode)]
        words = OmegaConf.to_container(recorded.overrides, resolve=False)  # the command resolves `${...}` in them
        words = [str(word) for name in ("task", "hydra") for word in words[name]]
        place = Path(str(recorded.runtime.cwd))
        place.is_dir()  # raises OSError for a name that no folder can have
        sources = [str(source.path) for source in recorded.runtime.config_sources if source.provider == "command-line"]
    except (OSError, ValueError, TypeError, OmegaConfBaseException, AttributeError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if key == "sweep" and path.name != "multirun.yaml":
        raise InputError(f"{folder}: is a job of a sweep; name the folder of the sweep")
    parsed = _parsed(words, path)
    if any(word.key_or_group == "mesh.processes" and word.value() != 1 for word, _ in parsed):
        again = f"repeat the command in each, with hydra.run.dir={folder}"
        raise InputError(f"{folder}: was trained by several processes, and this would start one; {again}")
    foreign = [word.input_line for word, is_group in parsed if not _is_harmless(word, is_group)] + sources
    if not trust:
        foreign += [str(path) for path in _settings_of_libraries(place, folder)]
    if foreign and not trust:
        listed = " ".join(foreign)
        raise InputError(f"{folder}: uses {listed}; repeat its own command, or add --trust")
    kept = [word.input_line for word, _ in parsed if word.key_or_group not in (*REPLACED, DETACH)]
    options = [option for source in sources for option in ("--config-dir", source)]
    multirun = ["-m"] if key == "sweep" else []
    return [*multirun, *options, *kept, f"hydra.{key}.dir={_quoted(str(folder))}"], place


def _parsed(words, path):
    """Each recorded word as Hydra's Override, and whether it chooses from a group.

    Raises InputError for a word that is no override: as an option of Hydra it could name a pickle to load.
    """
    try:
        with hydra_compat.initialized(CONF):
            loader = hydra_compat.config_loader()
            overrides = [hydra_compat.parsed_word(word) for word in words]
            return [(override, hydra_compat.is_group(loader, override.key_or_group)) for override in overrides]
    except HydraException as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def _is_harmless(word, is_group):
    """Whether an Override changes only values of aejax's settings, or places below the folder."""
    key, value = word.key_or_group, word.input_line.partition("=")[2]
    if key.split(".")[0].split("/")[0] == "hydra":
        if key in REPLACED or key in PLACES:
            return not (word.is_delete() or word.is_sweep_override())
        return (key in PLAIN and bool(NAMES.fullmatch(value))) or value in CHOICES.get(key, ())
    if "_target_" in word.input_line or not key or (word.package or key).startswith(("hydra", "_")):
        return False
    return bool(NAMES.fullmatch(value)) if is_group or "/" in key else True


def _quoted(text):
    """A text in single quotes; only backslashes before a quote need escaping."""
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", text) + "'"


def _settings_of_libraries(place, folder):
    """The settings files of W&B and matplotlib that only the recorded `place` or the `folder` would bring in."""
    current, searched = Path.cwd(), []
    with confined(folder):
        if is_inside(current):
            searched = [current]
        elif can_enter(place) and not os.path.samefile(place, current):
            searched = [place]
    return [path for start in searched for name in SETTINGS if (path := start / name).exists()]


if __name__ == "__main__":
    main()
