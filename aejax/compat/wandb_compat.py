"""W&B 0.31: its process, its files, its settings that begin with x_. Imports wandb where a function is called."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

LOGGER = "wandb"  # the name of W&B's logger, which nothing documents
SERVICE = "WANDB_SERVICE"  # the variable by which this process and its children find W&B's own process


def quiet() -> None:
    """Makes W&B's logger say critical things only; WANDB_SILENT is for what it prints, not for what it logs."""
    logging.getLogger(LOGGER).setLevel(logging.CRITICAL)


def log_level() -> int:
    """The level of W&B's logger."""
    return logging.getLogger(LOGGER).level


def set_log_level(level: int) -> None:
    """Sets the level of W&B's logger, as `log_level` gives it."""
    logging.getLogger(LOGGER).setLevel(level)


def ignore_log_failures() -> None:
    """Makes W&B's logger silent about a log file that cannot be written, which it opens in wandb.init."""
    for handler in logging.getLogger(LOGGER).handlers:
        handler.handleError = lambda record: None  # type: ignore[method-assign]


def unmeasured() -> dict[str, bool]:
    """Settings for wandb.Settings without which W&B measures the machine and lists what is installed.

    Their x_ says that they may change without notice; there are no others.
    """
    return {"x_disable_stats": True, "x_disable_meta": True, "x_save_requirements": False}


def import_pandas() -> None:
    """Imports pandas, where it is installed, as W&B does when it first logs what is no number; takes a quarter second.

    wandb.util.is_pandas_data_frame, which is in no reference.
    """
    from wandb import util

    util.is_pandas_data_frame(None)


def has_service(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether W&B's own process runs for the process of this environment."""
    return SERVICE in environment


def sync_file(run: Any) -> Path:
    """The Path of the file that holds all of an offline run; run.settings has it, without a word in the reference."""
    return Path(run.settings.sync_file)


def run_folders(folder: Path | str, run_id: str) -> list[Path]:
    """The folders in `folder`/wandb that runs of this id left: wandb/[offline-]run-TIME-ID; Settings forms the name."""
    return list(Path(folder).glob(f"wandb/*run-*-{run_id}"))


def is_log_link(path: PurePath) -> bool:
    """Whether W&B makes a link at this path, relative to a run's folder: to a log of W&B's own.

    The folder that holds it is removed, never written.
    """
    return len(path.parts) == 4 and path.match("wandb/*run-*/logs/debug-core.log")
