"""Lanes begin on a thread of their own, beside their training."""

from aejax.base.errors import InputError
from aejax.base.interrupts import STOP
from aejax.runs.destination import check_space
from aejax.runs.record import NotBegun


class Beginning:
    """The beginning of lanes, with `begun` as its Future, None where none begins: W&B takes seconds that no step needs.

    `report` prints what there is to tell of it.
    """

    def __init__(self, begun, report):
        self.begun, self.report = begun, report

    def check(self):
        """Raises NotBegun where it is known already that the lanes cannot begin."""
        if self.begun is not None and self.begun.done():
            self.wait()

    def wait(self):
        """Waits until the lanes have begun; raises NotBegun where they cannot."""
        lines = [] if self.begun is None else self.begun.result()
        while lines:
            self.report.say(lines.pop(0))


def begin(lanes, layout):
    """Begins the lanes until a signal stops it; returns lines to print."""
    lines = []
    try:
        home = lanes[0].place.home
        home.mkdir(parents=True, exist_ok=True)
        check_space(home, str(home))
        for lane in lanes:
            if STOP.is_set():
                break
            if not lane.ended:
                lines += lane.begin(layout)
    except (InputError, OSError) as error:
        raise NotBegun(str(error)) from error
    return lines
