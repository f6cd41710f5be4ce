"""The command line: Hydra composes, aejax checks before Hydra makes a folder, and errors become one line.

Imports no jax, so that --help and --cfg answer at once.
"""

import os
import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.errors import InputError, near

STARTED = time.perf_counter()
PACKAGE = Path(__file__).parent
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())


class Check(Callback):
    """Refuses a wrong configuration before its folder is made and before anything is compiled."""

    def on_run_start(self, config, **kwargs):
        from aejax.runs import check_folder
        from aejax.sweep import Job

        try:
            Job.read(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]), config.hydra.runtime.choices)
            check_folder(config.hydra.run.dir)
        except InputError as error:  # Hydra turns other exceptions of a callback into warnings
            fail(error)


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def run(config):
    """Runs the job that `config` describes, in Hydra's output folder."""
    from aejax.sweep import Job, run_group

    runtime = HydraConfig.get().runtime
    job = Job.read(config, runtime.choices)
    status = run_group([job], [Path(runtime.output_dir)], STARTED)[0]
    if status == "diverged":
        raise SystemExit(1)


def main():
    """The command; exit status 0, 1 for a run that diverged, 2 for a wrong input, 130 for an interrupted run."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here instead of being printed by Hydra
    try:
        run()
    except MissingConfigException as error:
        fail(_missing(error))
    except (InputError, HydraException, OmegaConfBaseException) as error:
        fail(" ".join(str(error).split()))
    except OSError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


def fail(message):
    """One line on stderr, and exit status 2."""
    print(f"aejax: {message}", file=sys.stderr)
    raise SystemExit(2)


def _missing(error):
    if error.options is None:
        return " ".join(str(error).split())
    group, _, choice = error.missing_cfg_file.rpartition("/")
    return f"{group}={choice}: no such choice; {near(choice, error.options)}"
