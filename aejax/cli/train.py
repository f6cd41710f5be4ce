"""The command line: Hydra composes, aejax checks before Hydra makes a folder, and errors become one line.

Imports no jax, so that --help and --cfg answer at once.
"""

import contextlib
import dataclasses
import io
import os
import sys
import time
import traceback
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import OmegaConf

from aejax.base.confinement import check_inside, is_confined
from aejax.base.errors import InputError, JobFailed, NoSpace, is_full, no_space
from aejax.base.files import check_free, locked
from aejax.base.interrupts import STOP
from aejax.cli.parsing import check_options, fail, flush_output
from aejax.cli.signals import heed_signals
from aejax.compat import hydra_compat
from aejax.config.explain import CONF, KNOWN, axes_of, check_axes, check_lengths, explained, folder_of

OWN_LAUNCHERS = ("hydra_plugins.aejax_vmap.", "hydra_plugins.aejax_workers.")
STARTED = time.perf_counter()


@dataclasses.dataclass
class Command:
    """The state of one call of the command: Hydra calls its parts without passing anything between them."""

    is_composed: bool = False  # whether Hydra has composed a configuration
    prepared: Any = None  # the Job of a single run and its Place
    missing: list[Path] = dataclasses.field(default_factory=list)  # folders that a sweep will create, innermost first
    shared: Any = None  # what the jobs share that another launcher runs in this process
    wandb_lost: bool = False  # whether W&B did not answer at the end of a run
    has_begun: bool = False  # whether it may have met other processes
    until_the_end: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)


COMMAND: ContextVar[Command] = ContextVar("COMMAND")  # the call that is running


class Check(Callback):
    """Refuses a wrong configuration before its folder is created and before anything is compiled."""

    def on_run_start(self, config, **kwargs):
        command = COMMAND.get()
        command.is_composed = True
        hydra_compat.set_job(config)  # for the interpolations in hydra.run.dir
        try:
            job, place = command.prepared = _prepared(command, config)
            is_finished, run = _finished(job, place)
            if place is None and not is_finished:
                _share(job)
        except KNOWN as error:
            fail(explained(error, sys.argv[1:]))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except Exception:  # a bug, which Hydra would turn into a warning
            traceback.print_exc()
            raise SystemExit(1) from None
        if place is None:
            raise SystemExit(0)
        if run is not None:
            raise SystemExit(_ended(run, f"finished before, on {run.record['finished']}"))

    def on_multirun_start(self, config, **kwargs):
        command = COMMAND.get()
        command.is_composed = True
        try:
            folder = _checked_sweep(config)
            command.missing = [place for place in (folder, *folder.parents) if not place.exists()]
            if not str(config.hydra.launcher._target_).startswith(OWN_LAUNCHERS):  # which lock it themselves
                command.until_the_end.enter_context(locked(folder))
        except KNOWN as error:
            fail(explained(error, sys.argv[1:]))


def _prepared(command, config):
    """The Job of a single run and its Place, None in a process that only helps to train it; raises one of KNOWN."""
    with STOP.held():  # an exception would break jaxlib's imports
        from aejax.base import processes
        from aejax.runs.preparation import check_same, open_mesh, prepare, prepare_peer
    from aejax.settings.configuration import without_hydra

    if axes_of(config):
        raise InputError("+sweep: asks for more than one run; add -m")
    check_lengths(config)
    command.has_begun = True
    open_mesh(without_hydra(config))
    with processes.together("the check of the command"):
        if processes.is_first():
            folder = folder_of(config, "run")
            job, place = prepare(without_hydra(config), config.hydra, folder.absolute(), "hydra.run.dir")
            check_free(folder)
            check_free(folder.parent)  # it may be a sweep's
        else:
            job, place = prepare_peer(without_hydra(config), config.hydra), None
    check_same(job)
    return job, place


def _checked_sweep(config):
    """The folder of a sweep whose command is valid and matches what the folder holds; raises one of KNOWN."""
    check_axes(config)
    check_lengths(config)
    if (count := OmegaConf.select(config, "mesh.processes", default=1)) != 1:
        instead = "hydra/launcher=local or slurm trains its programs in processes of their own"
        raise InputError(f"mesh.processes={count}: must be 1 for a sweep; {instead}")
    folder = folder_of(config, "sweep")
    if "\0" in str(folder):
        raise InputError("hydra.sweep.dir: holds a null byte; must be the name of a folder")
    check_inside(folder, "hydra.sweep.dir")
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            problem = "is a file" if place == folder else f"{place} is a file"
            raise InputError(f"hydra.sweep.dir={folder}: {problem}; must be a folder")
    check_free(folder)
    if folder.exists():
        with STOP.held():
            from aejax.sweeps.ledger import Ledger

        Ledger(folder).check_command(list(config.hydra.overrides.task))
    return folder


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def run(config):
    """Runs the job that `config` describes, in Hydra's output folder; returns its objective, for a search."""
    return _run(config)  # a launcher may pickle this function, and a ContextVar cannot be pickled


def _run(config):
    from aejax.runs.console import ConsoleReport
    from aejax.runs.execution import execute
    from aejax.runs.preparation import Shared, prepare
    from aejax.runs.record import Clock, NotBegun
    from aejax.training.plan import layout_of

    command, settings, report, clock = COMMAND.get(Command()), HydraConfig.get(), ConsoleReport(), Clock(STARTED)
    alone = settings.mode is RunMode.RUN  # not a job of a sweep, by Hydra's basic launcher or another
    folder = Path(settings.runtime.output_dir)
    try:
        command.shared = command.shared or Shared()
        job, place = command.prepared or prepare(config, settings, folder, "hydra.sweep.dir", shared=command.shared)
        with locked(folder):
            report.data([job])
            [finished], error = execute([job], [place], layout_of([job]), clock, report)
        if error is not None:
            raise error
    except (InputError, OSError) as error:
        if not alone:  # the other jobs go on
            raise
        if is_full(error) and not isinstance(error, NotBegun):
            fail(no_space(error, folder), 1)
        fail(error)  # Hydra would add lines of its own
    except KeyboardInterrupt:
        again = f"python -m aejax.resume {folder}"
        if OmegaConf.select(config, "mesh.processes", default=1) != 1:
            again = f"the same command in every process, with hydra.run.dir={folder}"
        report.say(f"interrupted; to go on: {again}")
        raise
    command.wandb_lost |= "wandb_lost" in finished.record
    if _ended(finished) and alone:
        raise SystemExit(1)
    return finished.score(job.objective, job.experiment.select)


def _finished(job, place):
    """Whether the run was finished before, and the Run; a process that has no Place has only been told of it."""
    from aejax.base import processes
    from aejax.runs.folder import Run

    run = None if place is None else Run.finished(place.folder, job.run_id)
    is_finished = bool(processes.gathered(run is not None)[0, 0])
    if is_finished:
        processes.leave()
    return is_finished, run


def _share(job):
    from aejax.runs.peer import share
    from aejax.training.plan import layout_of

    share(job, layout_of([job]))


def _ended(run, remark=None):
    """Prints a finished Run; returns its exit status."""
    from aejax.runs.console import ConsoleReport

    report = ConsoleReport()
    if remark:
        report.say(remark)
    report.result(run)
    return int(run.record["status"] == "diverged")


def main():
    """The command; exit status 0, 1 for a divergence or a full disk, 2 for a wrong input, 130 for an interrupt."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises exceptions instead of printing them
    heed_signals()
    command = Command()
    token = COMMAND.set(command)
    try:
        _main(command, sys.argv[1:])
    except SystemExit as stop:
        _leave(command, stop.code)
        raise
    except KeyboardInterrupt:
        _leave(command, 130)
        sys.exit(130)
    except Exception:
        if _is_joined(command):
            traceback.print_exc()
            _leave(command, 1)
        raise
    finally:
        COMMAND.reset(token)
        flush_output()
    _leave(command, 0)


def _main(command, words):
    """Answers or runs the command; a user's mistake becomes one line and an exit status."""
    try:
        check_options(words)
        if answered(words):
            return
        if any(word.partition("=")[0] in ("--cfg", "-c") for word in words):
            show_configuration()
            return
        if not (sys.flags.safe_path or is_confined()) and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # as for `python -m aejax`; the script would not find modules there
        with command.until_the_end:
            run()
    except JobFailed:
        sys.exit(1)
    except NoSpace as error:
        fail(error, 1)
    except Exception as error:
        if command.is_composed and not isinstance(error, KNOWN):
            raise
        _discard_unbegun(command.missing)
        fail(explained(error, words))


def _discard_unbegun(missing):
    """Removes the folders that this command created for a refused sweep, if they hold only Hydra's record."""
    if not missing or [path.name for path in missing[0].glob("*")] != ["multirun.yaml"]:
        return
    with contextlib.suppress(OSError):
        (missing[0] / "multirun.yaml").unlink()
        for folder in missing:
            folder.rmdir()


def answered(words):
    """Whether these words need no composed configuration; if so, prints their answer."""
    from aejax.cli import completion, help  # which a run does not need

    shell = [word for word in words if word in ("install=bash", "uninstall=bash", "query=bash")]
    if "--version" in words:
        text = help.version()
    elif {"--help", "-h"} & set(words):
        text = help.shown(words)
    elif {"--shell-completion", "-sc"} & set(words) and shell:
        text = completion.answer(shell[0].split("=")[0], os.environ.get("COMP_LINE", "aejax "))
    else:
        return False
    print(text, end="")
    return True


def show_configuration():
    """Prints Hydra's answer to --cfg with the comments of conf/."""
    from aejax.cli.help import commented
    from aejax.config.menu import folders

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run()
    chosen = HydraConfig.get().runtime.choices
    print(commented(printed.getvalue(), dict(chosen), folders(sys.argv[1:])), end="")


def _leave(command, status):
    """Ends the process at once if it would wait for a W&B server that does not answer, or for other processes."""
    if command.wandb_lost or _is_joined(command):
        flush_output()
        sys.stderr.flush()
        os._exit(status)


def _is_joined(command):
    """Whether other processes train the same run, and this one has not left them."""
    if not command.has_begun:
        return False
    from aejax.base import processes

    return processes.are_joined()
