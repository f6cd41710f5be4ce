"""The command line: Hydra composes, aejax checks before Hydra makes a folder, and errors become one line.

Imports no jax, so that --help and --cfg answer at once.
"""

import contextlib
import io
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode

from aejax.base.confinement import check_inside, check_places, is_confined
from aejax.base.errors import InputError, JobFailed, NoSpace, is_full, no_space
from aejax.base.files import check_free, locked
from aejax.base.interrupts import STOP
from aejax.cli.parsing import check_options, fail
from aejax.config.explain import CONF, KNOWN, axes_of, check_axes, check_lengths, explained

STARTED = time.perf_counter()


class Check(Callback):
    """Refuses a wrong configuration before its folder is made and before anything is compiled."""

    loaded: ClassVar = {}  # the data, which are read once
    composed = False  # whether Hydra has come as far as a configuration
    before = None  # what there is in the run's folder
    missing: ClassVar = []  # the folders that a sweep makes, innermost first
    wandb_lost = False  # whether W&B did not answer at the end of a run
    lock = contextlib.ExitStack()  # of a sweep's folder, until the command ends

    def on_run_start(self, config, **kwargs):
        Check.composed = True
        HydraConfig.instance().set_config(config)  # for the interpolations in hydra.run.dir
        try:
            Check.before, run = checked(config, Check.loaded)
        except KNOWN as error:
            fail(explained(error, sys.argv[1:]))
        except Exception:  # a defect, which Hydra would turn into a warning
            traceback.print_exc()
            raise SystemExit(1) from None
        if run is not None:
            raise SystemExit(_ended(run, told=f"finished before, on {run.record['finished']}"))

    def on_multirun_start(self, config, **kwargs):
        Check.composed = True
        try:
            from aejax.sweeps.composition import check_count

            check_axes(config)
            check_lengths(config)
            check_count(config)
            folder = Path(str(config.hydra.sweep.dir))
            if "\0" in str(folder):
                raise InputError("hydra.sweep.dir: holds a null byte; must be the name of a folder")
            check_inside(folder, "hydra.sweep.dir")
            for each in (folder, *folder.parents):
                if each.exists() and not each.is_dir():
                    what = "is a file" if each == folder else f"{each} is a file"
                    raise InputError(f"hydra.sweep.dir={folder}: {what}; must be a folder")
            check_free(folder)
            Check.missing = [each for each in (folder, *folder.parents) if not each.exists()]
            if folder.exists():
                with STOP.held():
                    from aejax.sweeps.ledger import Ledger

                Ledger(folder).check_command(list(config.hydra.overrides.task))
            if not str(config.hydra.launcher._target_).endswith("VmapLauncher"):  # which locks it by itself
                Check.lock.enter_context(locked(folder))
        except KNOWN as error:
            fail(explained(error, sys.argv[1:]))


def checked(config, loaded):
    """What there is Before the composed run, and the Run itself if it is finished already; raises one of KNOWN.

    `loaded` keeps the data {settings as text: Dataset}.
    """
    with STOP.held():  # jaxlib's imports do not survive an exception
        from aejax.runs.job import Job
    from aejax.runs.destination import check_folder
    from aejax.runs.folder import Run
    from aejax.settings.configuration import without_hydra
    from aejax.training.plan import check_memory

    if axes_of(config):
        raise InputError("+sweep: asks for more than one run; add -m")
    check_lengths(config)
    folder = config.hydra.run.dir
    check_places(folder, config.hydra.output_subdir, "hydra.run.dir")
    job = Job.read(without_hydra(config), config.hydra.runtime.choices, loaded)
    check_free(Path(folder).parent)  # it may be a sweep's
    job.track.check()
    check_memory(job)
    return check_folder(folder, job.run_id, job.settings), Run.finished(folder, job.run_id)


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def run(config):
    """Runs the job that `config` describes, in Hydra's output folder; returns its objective, for a search."""
    from aejax.runs.console import Report
    from aejax.runs.destination import check_folder, discard
    from aejax.runs.group import run_group
    from aejax.runs.job import Job
    from aejax.runs.record import Clock, NotBegun, Place
    from aejax.training.plan import layout_of

    runtime, report = HydraConfig.get().runtime, Report()
    folder, clock = Path(runtime.output_dir), Clock(STARTED)
    alone = HydraConfig.get().mode is RunMode.RUN  # and not one of a sweep's, by Hydra's basic launcher or another
    before = Check.before
    try:
        job = Job.read(config, runtime.choices, Check.loaded)
        before = before or check_folder(folder, job.run_id, job.settings, "hydra.sweep.dir")
        with locked(folder):
            report.data([job])
            run = run_group([job], [Place(folder, folder)], layout_of([job]), clock, report)[0]
    except (InputError, OSError) as error:
        if isinstance(error, NotBegun):
            discard(folder, before)
        if not alone:  # the others go on
            raise
        if is_full(error) and not isinstance(error, NotBegun):
            fail(no_space(error, folder), 1)
        fail(error)  # Hydra would add lines of its own
    except KeyboardInterrupt:
        report.say(f"interrupted; to go on: python -m aejax.resume {folder}")
        raise
    Check.wandb_lost |= "wandb_lost" in run.record
    if _ended(run) and alone:
        raise SystemExit(1)
    return run.score(job.objective, job.experiment.select)


def _ended(run, told=None):
    """Shows a finished Run; returns the exit status that it makes."""
    from aejax.runs.console import Report

    report = Report()
    if told:
        report.say(told)
    report.result(run)
    return int(run.record["status"] == "diverged")


def main():
    """The command; exit status 0, 1 for a divergence or a full disk, 2 for a wrong input, 130 for an interrupt."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here instead of being printed by Hydra
    Check.composed, Check.before, Check.wandb_lost, Check.loaded, Check.missing = False, None, False, {}, []
    STOP.clear()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    words = sys.argv[1:]
    try:
        check_options(words)
        if answered(words):
            return
        if any(word.partition("=")[0] in ("--cfg", "-c") for word in words):
            return show_configuration()
        if not (sys.flags.safe_path or is_confined()) and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # where `python -m aejax` finds modules, and the script would not
        with Check.lock:
            run()
    except SystemExit as stop:
        _leave(stop.code)
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except JobFailed:
        sys.exit(1)
    except NoSpace as error:
        fail(error, 1)
    except Exception as error:
        if Check.composed and not isinstance(error, KNOWN):
            raise
        _discard_unbegun()
        fail(explained(error, sys.argv[1:]))
    _leave(0)


def _discard_unbegun():
    """Removes the folder of a refused sweep, where this command made it and it holds no more than Hydra's record."""
    if not Check.missing or [each.name for each in Check.missing[0].glob("*")] != ["multirun.yaml"]:
        return
    with contextlib.suppress(OSError):
        (Check.missing[0] / "multirun.yaml").unlink()
        for folder in Check.missing:
            folder.rmdir()


def answered(words):
    """Whether these words ask for nothing that has to be composed, and then the answer is printed."""
    from aejax.cli import completion, help  # which a run does without

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
    """What Hydra prints for --cfg, with the comments of conf/."""
    from aejax.cli.help import commented
    from aejax.config.menu import folders

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run()
    chosen = HydraConfig.get().runtime.choices
    print(commented(printed.getvalue(), dict(chosen), folders(sys.argv[1:])), end="")


def _interrupt(number, frame):
    again = STOP.is_set()
    STOP.set()
    lost = frame is not None and frame.f_code.co_name == "_xla_gc_callback"  # where it would only be printed
    if again or not (STOP.is_awaited or lost):
        raise KeyboardInterrupt


def _leave(status):
    """Ends the process at once where W&B's own exit would wait for a server that does not answer."""
    if Check.wandb_lost:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
