"""What a worker leaves of its program beside the runs: the layout that it chose, and why runs failed."""

import dataclasses
import json
from pathlib import Path
from typing import Self

from aejax.base.errors import InputError
from aejax.base.files import octets, write_whole
from aejax.training.lanes import Layout

PROGRAMS = ".programs"  # the folder beside sweep.json with one for each program
NAME = "outcome.json"
MOST = 2**24  # bytes of the file
MOST_DEVICES = 1024  # per program; CPU cores count as devices
UNDECIDED = None, 0  # the layout of a program whose worker has not begun


def place_of(sweep: Path, number: int) -> Path:
    """The folder of program `number` of a sweep; they count from 1, as in what is printed."""
    return Path(sweep) / PROGRAMS / str(number)


def logs_of(sweep: Path) -> Path:
    """The folder of what workers print."""
    return Path(sweep) / PROGRAMS / "logs"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The layout of a program, `errors` {number of a job: text}, and whether its worker has come to its end.

    A worker that could not begin has decided no layout: how=None on 0 devices.
    """

    how: str | None
    devices: int
    errors: dict[int, str] = dataclasses.field(default_factory=dict)
    ended: bool = False

    @classmethod
    def of(cls, layout: Layout) -> Self:
        """The Outcome at the beginning."""
        return cls(layout.how, layout.devices or 1)

    @classmethod
    def read(cls, sweep: Path, number: int) -> Self | None:
        """The Outcome of a program, None where no worker has begun, or where its file is damaged."""
        try:
            content = json.loads(octets(place_of(sweep, number) / NAME, MOST))
            how, devices, ended = content["how"], content["devices"], content["ended"]
            errors = {int(job): str(text) for job, text in content["errors"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InputError):
            return None
        is_layout = how in ("vmap", "map") and type(devices) is int and 0 < devices <= MOST_DEVICES
        if not is_layout and (how, devices) != UNDECIDED:
            return None
        return cls(how, devices, errors, bool(ended))

    def write(self, sweep: Path, number: int) -> None:
        """Writes the Outcome of a program."""
        content = {"how": self.how, "devices": self.devices, "errors": self.errors, "ended": self.ended}
        write_whole(place_of(sweep, number) / NAME, json.dumps(content, indent=1) + "\n")
