"""The command line: Hydra composes, aejax checks before Hydra makes a folder, and errors become one line.

Imports no jax, so that --help and --cfg answer at once.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from aejax.errors import STOP, InputError, JobFailed
from aejax.explain import CONF, KNOWN, explained

STARTED = time.perf_counter()


class Check(Callback):
    """Refuses a wrong configuration before its folder is made and before anything is compiled."""

    composed = False  # whether Hydra has come as far as a configuration
    before = None  # what there is in the run's folder
    wandb_lost = False  # whether W&B did not answer at the end of a run

    def on_run_start(self, config, **kwargs):
        Check.composed = True
        HydraConfig.instance().set_config(config)  # for the interpolations in hydra.run.dir
        try:
            from aejax.job import Job
            from aejax.runs import check_folder

            own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
            Job.read(own, config.hydra.runtime.choices)
            Check.before = check_folder(config.hydra.run.dir)
        except KNOWN as error:
            fail(explained(error, sys.argv[1:]))
        except Exception:  # a defect, which Hydra would turn into a warning
            traceback.print_exc()
            raise SystemExit(1) from None

    def on_multirun_start(self, config, **kwargs):
        Check.composed = True


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def run(config):
    """Runs the job that `config` describes, in Hydra's output folder."""
    from aejax.job import Job
    from aejax.runs import discard, locked
    from aejax.sweep import Clock, NotBegun, Place, layout_of, run_group
    from aejax.terminal import Report

    runtime, report = HydraConfig.get().runtime, Report()
    folder, clock = Path(runtime.output_dir), Clock(STARTED)
    try:
        job = Job.read(config, runtime.choices)
        with locked(folder):
            run = run_group([job], [Place(folder, folder)], layout_of([job]), clock, report)[0]
    except NotBegun as error:
        discard(folder, Check.before)
        fail(error)
    except (InputError, OSError) as error:  # Hydra would add lines of its own
        fail(error)
    except KeyboardInterrupt:
        report.say(f"interrupted; what there is of it is in {folder}")
        raise
    report.result(run)
    Check.wandb_lost |= "wandb_lost" in run.record
    if run.record["status"] == "diverged":
        raise SystemExit(1)


def main():
    """The command; exit status 0, 1 for a run that diverged, 2 for a wrong input, 130 for an interrupted run."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here instead of being printed by Hydra
    Check.composed, Check.before, Check.wandb_lost = False, None, False
    STOP.clear()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    try:
        run()
    except SystemExit as stop:
        _leave(stop.code)
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except JobFailed:
        sys.exit(1)
    except Exception as error:
        if Check.composed and not isinstance(error, KNOWN):
            raise
        fail(explained(error, sys.argv[1:]))
    _leave(0)


def _interrupt(number, frame):
    STOP.set()
    raise KeyboardInterrupt


def _leave(status):
    """Ends the process at once where W&B's own exit would wait for a server that does not answer."""
    if Check.wandb_lost:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def fail(message):
    """One line on stderr, and exit status 2."""
    print(f"aejax: {' '.join(str(message).split())}", file=sys.stderr)
    raise SystemExit(2)
