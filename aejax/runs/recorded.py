"""What Hydra has recorded of a run in its folder, and the Jobs that it composes again."""

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any, Self

from omegaconf.errors import OmegaConfBaseException

from aejax.base.confinement import can_enter
from aejax.base.errors import InputError
from aejax.runs import contents
from aejax.runs.folder import SETTINGS
from aejax.runs.job import Job

ONE_DEVICE = {  # of runs from before a batch could be split
    "_target_": "aejax.training.mesh.Mesh",
    "data": 1,
    "processes": 1,
    "process": None,
    "address": None,
}


@dataclasses.dataclass(frozen=True)
class Recorded:
    """The configuration of the run in `folder`, its choices of groups, and the folder that it was started in."""

    folder: Path
    config: Any
    choices: dict[str, str]
    place: Path

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What is recorded in `folder`; raises InputError where it cannot be read, or names no source of data."""
        try:
            config = contents.config(folder / SETTINGS / "config.yaml")
            choices = contents.choices(folder / SETTINGS / "hydra.yaml")
            if not choices:
                raise ValueError("hydra.yaml lists no choices")
            place = Path(contents.config(folder / SETTINGS / "hydra.yaml").hydra.runtime.cwd)
            sourceless = "_target_" not in config.data
        except InputError:
            raise
        except (OSError, ValueError, TypeError, OmegaConfBaseException, AttributeError) as error:
            raise InputError(f"{folder}: its {SETTINGS} cannot be read ({' '.join(str(error).split())})") from None
        if sourceless:
            raise InputError(f"{folder}: was trained on a Dataset passed from Python, which cannot be loaded again")
        return cls(folder, config, choices, place)

    def job(self, loaded: dict[Any, Any] | None = None, trusted: tuple[str, ...] | None = None, **changes: Any) -> Job:
        """The Job of the configuration after these `changes` of its keys; the rest is as for Job.read."""
        config = self.config.copy()
        missing = {} if "mesh" in config else {"mesh": ONE_DEVICE}
        for key, value in (missing | changes).items():
            config[key] = value
        with self._place():
            try:
                return Job.read(config, self.choices, loaded, trusted=trusted)
            except InputError as error:
                raise InputError(f"{self.folder}: {error}") from None

    @contextlib.contextmanager
    def _place(self) -> Any:
        """The context in which relative paths start where the run was started."""
        before = Path.cwd()
        try:
            if can_enter(self.place):
                os.chdir(self.place)
        except OSError as error:
            raise InputError(
                f"{self.folder}: was started in {self.place}, which cannot be entered ({error.strerror})"
            ) from None
        try:
            yield
        finally:
            os.chdir(before)
