"""Weights & Biases: a mirror of what the run folder holds, never the truth."""

import contextlib
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import platformdirs
from flax import struct

from aejax.base.confinement import check_trusted
from aejax.base.errors import InputError
from aejax.compat import wandb_compat
from aejax.settings.fields import static_bool, static_choice, static_float, static_str

TABLE_ROWS = 10_000  # of codes that W&B plots; its own limit for a table
OFFLINE_PATIENCE = 120.0  # seconds that a run waits at most for W&B's own process to write its files


@struct.dataclass
class Track:
    """Whether and where a run is mirrored; the two timeouts are in seconds."""

    mode: str = static_choice("offline", "online", "off")
    project: str = static_str()
    entity: str | None = static_str(optional=True)
    artifact: bool = static_bool()
    timeout: float = static_float(above=0, high=14)
    finish_timeout: float = static_float(above=0)

    @property
    def patience(self):
        """Seconds to wait at the end of a run: offline for a busy machine, not for a slow server."""
        return self.finish_timeout if self.mode == "online" else OFFLINE_PATIENCE

    def check(self):
        """Raises NotTrusted where a confined command would send something."""
        if self.mode == "online":
            check_trusted(f"track=online: sends to W&B's {self.entity or 'default entity'}/{self.project}")

    def start(self, folder, run_id, name, settings, sweep=None):
        """A Mirror whose files go to `folder`/wandb, in the group of a `sweep`.

        Raises InputError where the server cannot be used.
        """
        if self.mode == "off":
            return Mirror(None, self)
        folder = Path(folder).absolute()  # W&B's process may have begun in another working directory
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb" / "data"))  # not the home's
        if not _is_writable(platformdirs.user_cache_dir()):
            os.environ.setdefault("WANDB_CACHE_DIR", os.environ["WANDB_DATA_DIR"])
        for earlier in wandb_compat.run_folders(folder, run_id):  # cut off, and logged whole again
            shutil.rmtree(earlier, ignore_errors=True)
        wandb_compat.quiet()
        import wandb  # half a second, so only where it is used

        quiet = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            save_code=False,
            init_timeout=self.timeout,
            login_timeout=self.timeout,
            finish_timeout=self.patience,
            **wandb_compat.unmeasured(),
        )
        try:
            run = wandb.init(
                mode=self.mode,
                project=self.project,
                entity=self.entity,
                dir=str(folder),
                id=run_id,
                name=name,
                group=sweep,
                tags=None if sweep is None else name.split(),
                config=settings,
                reinit="create_new",
                settings=quiet,
            )
        except wandb.Error as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise InputError(
                f"track={self.mode}: {reason}; without the server choose track=offline or track=off"
            ) from None
        wandb_compat.import_pandas()  # here rather than at the end of a run: this passes beside the training
        wandb_compat.ignore_log_failures()  # a log that does not fit on a full disk needs no message
        return Mirror(run, self)


@contextlib.contextmanager
def apart():
    """A context that undoes what W&B changes in this process: variables, service, log level, sys.exit and excepthook.

    A W&B that the process used before stays as it is; a service that does not end in time is not waited for.
    """
    before, level = dict(os.environ), wandb_compat.log_level()
    hooks = sys.exit, sys.excepthook  # wandb.init replaces both, for good
    try:
        yield
    finally:
        if wandb_compat.has_service() and not wandb_compat.has_service(before):
            import wandb

            ending = threading.Thread(target=wandb.teardown, daemon=True)  # waits for a server, if there is one
            ending.start()
            ending.join(OFFLINE_PATIENCE)
        for name in [name for name in os.environ if name.startswith("WANDB_") and name not in before]:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if name.startswith("WANDB_")})
        wandb_compat.set_log_level(level)
        sys.exit, sys.excepthook = hooks  # type: ignore[assignment]


class Mirror:
    """One W&B run, or none where `run` is None; a failure of W&B never fails the run itself.

    `lost` says why the mirror is incomplete, None while it is complete.
    """

    def __init__(self, run: Any, track: Track | None):
        self.run, self.track, self.lost = run, track, None
        self.patience = track.patience if track else 0.0  # seconds left to wait

    @property
    def run_id(self):
        """The W&B id, None without a W&B run."""
        return None if self.run is None else self.run.id

    def log(self, row):
        """Mirrors one row of the history, without waiting for the server."""
        if self.run is None or self.lost:
            return
        try:
            self.run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))
        except Exception as error:  # W&B's process may have died
            self.lost = _reason(error)

    def log_results(self, finished, label_names):
        """Mirrors a finished Run: summary, pictures, codes, and the parameters where `artifact` is set."""
        self._within_the_timeout(lambda: self._log_results(finished, label_names))

    def finish(self, failed=False):
        """Closes the W&B run."""
        self._within_the_timeout(lambda: self._finish(failed))

    def _finish(self, failed):
        self.run.finish(exit_code=int(failed))
        if self.track.mode == "offline" and not wandb_compat.sync_file(self.run).exists():
            self.lost = f"W&B did not write {wandb_compat.sync_file(self.run)}"

    def _within_the_timeout(self, action):
        """Waits for an action that may ask the server, and gives the mirror up where that takes too long or fails."""
        if self.run is None or self.lost:
            return

        def attempt():
            try:
                action()
            except Exception as error:
                self.lost = self.lost or _reason(error)

        began = time.perf_counter()
        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(self.patience)
        self.patience -= time.perf_counter() - began
        if thread.is_alive() and not self.lost:
            self.lost = f"no answer within {self.track.patience:g} s"

    def _log_results(self, finished, label_names):
        import wandb

        metrics, codes = finished.metrics, finished.codes
        self.run.summary.update({name: value for name, value in metrics.items() if value is not None})
        pictures = sorted((finished.path / "figures").glob("*.png"))
        self.run.log({f"figures/{picture.stem}": wandb.Image(str(picture)) for picture in pictures})
        self.run.log({"codes": wandb.Table(*code_table(codes, label_names))})
        if self.track.artifact:
            artifact = wandb.Artifact(f"params-{self.run.id}", type="model")
            artifact.add_file(str(finished.path / "params.safetensors"))
            self.run.log_artifact(artifact)


def _is_writable(folder):
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _reason(error):
    return " ".join(str(error).split()) or type(error).__name__


def code_table(codes, label_names):
    """Columns and rows: index in the source, label, a column a code unit, and the file name where there is one."""
    z_NxZ, names = codes["z"][:TABLE_ROWS], codes.get("name")
    labels = [label_names[label] for label in codes["y"]] if "y" in codes else [""] * len(codes["z"])
    columns = ["index", "label", *(f"z{unit}" for unit in range(z_NxZ.shape[1]))]
    rows = [[int(index), label, *z.tolist()] for index, label, z in zip(codes["index"], labels, z_NxZ, strict=False)]
    if names is None:
        return columns, rows
    return [*columns, "name"], [[*row, str(name)] for row, name in zip(rows, names, strict=False)]
