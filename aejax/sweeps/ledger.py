"""The ledger of a sweep: the command, which jobs share a program, in which layout, and the state of each job."""

import json
from pathlib import Path

from aejax.base.errors import InputError
from aejax.base.files import octets, set_aside, write_whole
from aejax.runs import contents
from aejax.runs.folder import LEDGER
from aejax.sweeps.outcome import MOST_DEVICES, UNDECIDED, Outcome
from aejax.training.lanes import Layout
from aejax.training.plan import groups, layout_of


def _check(content):
    """Raises ValueError, KeyError or TypeError if this is not the content that a Ledger writes."""
    programs, listed = content["programs"], [job["number"] for job in content["jobs"]]
    planned = [number for program in programs for number in program["jobs"]]
    devices = [program["devices"] for program in programs]
    if not all(type(number) is int and number >= 0 for number in [*listed, *planned, *devices]):
        raise ValueError("numbers of jobs and devices must be whole")
    if not all(
        count <= min(len(program["jobs"]), MOST_DEVICES) for count, program in zip(devices, programs, strict=True)
    ):
        raise ValueError(f"a program must have no more devices than jobs, and at most {MOST_DEVICES}")
    if len(set(listed)) < len(listed) or len(set(planned)) < len(planned):
        raise ValueError("each job must be named once")
    layouts = [(program["how"], program["devices"]) for program in programs]
    decided = all((how in ("vmap", "map") and count) or (how, count) == UNDECIDED for how, count in layouts)
    if not (decided and all(program["jobs"] for program in programs)):
        raise ValueError("a program must have jobs, devices and a way to run")
    lists = [content["overrides"], *(job.get("overrides", []) for job in content["jobs"])]
    if not all(isinstance(overrides, list) and all(isinstance(word, str) for word in overrides) for overrides in lists):
        raise ValueError("overrides must be lists of words")


def _launched(folder):
    """The overrides that Hydra recorded when it launched a sweep in `folder`; None if they cannot be read."""
    try:
        words = contents.mapping(folder / "multirun.yaml")["hydra"]["overrides"]["task"]
        return list(words) if all(isinstance(word, str) for word in words) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Ledger:
    """sweep.json: the overrides of the command, its jobs with their ids and states, and the layout of each program.

    The run folders decide what is finished. The ledger records the command, the jobs that failed before they had a
    folder, and the layout of the lanes, which a resumed sweep must keep to give bitwise equal results.
    """

    def __init__(self, folder):
        self.path = Path(folder) / LEDGER
        self.broken = None  # the new name of a file that could not be read
        self.overrides, self.jobs, self.programs = None, {}, []
        try:
            content = json.loads(octets(self.path, contents.MOST_LEDGER))
            _check(content)
            self.overrides = content["overrides"]
            self.jobs = {job["number"]: {"overrides": [], "id": None} | job for job in content["jobs"]}
            self.programs = [(program["jobs"], *self._layout(place, program))
                             for place, program in enumerate(content["programs"], 1)]  # fmt: skip
        except FileNotFoundError:
            self.overrides = _launched(self.path.parent)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.broken, self.overrides = self.path, _launched(self.path.parent)

    def _layout(self, number, program):
        """How a program was laid out: where it is undecided in the ledger, as its worker has noted."""
        layout = program["how"], program["devices"]
        outcome = Outcome.read(self.path.parent, number) if layout == UNDECIDED else None
        return layout if outcome is None else (outcome.how, min(outcome.devices, len(program["jobs"])))

    @property
    def devices(self):
        """The largest number of devices of a program, 0 if there is none."""
        return max((devices for _, _, devices in self.programs), default=0)

    def set_aside(self):
        """Renames a broken sweep.json; returns a line about it, or None if it is not broken."""
        if self.broken is None:
            return None
        name, self.broken = set_aside(self.broken).name, None
        return f"{self.path}: is damaged; renamed to {name}, finished runs are kept"

    def check_command(self, overrides):
        """Raises InputError if the folder holds a sweep with other overrides."""
        if self.overrides is None or self.overrides == overrides:
            return
        recorded = [word for word in self.overrides if word not in overrides]
        requested = [word for word in overrides if word not in self.overrides]
        difference = f"recorded: {' '.join(recorded) or 'nothing'}; now: {' '.join(requested) or 'nothing'}"
        difference = difference if recorded or requested else "the same overrides in another order"
        raise self._other_sweep(difference)

    def check_job(self, number, overrides, run_id):
        """Raises InputError if the job with this number was another one."""
        job = self.jobs.get(number)
        if job is None:
            return
        if job["overrides"] != overrides:
            difference = f"job {number} was {' '.join(job['overrides'])}, not {' '.join(overrides)}"
        elif run_id and job["id"] and job["id"] != run_id:
            difference = f"job {number} had other defaults, or another version of aejax or of the data"
        else:
            return
        raise self._other_sweep(difference)

    def _other_sweep(self, difference):
        return InputError(
            f"hydra.sweep.dir={self.path.parent}: holds another sweep ({difference}); choose another folder"
        )

    def plan(self, jobs, decides=True, least=1):
        """The programs for `jobs` {number: Job}, each as job numbers and Layout; those already recorded come first.

        Without `decides` the layout of a new one stays undecided: how=None on 0 devices. There are at least so many
        new ones, where there are as many jobs.
        """
        planned, rest = [], dict(jobs)
        for numbers, how, devices in self.programs:
            if all(number in rest for number in numbers):
                is_decided = decides or how is not None
                group = [jobs[number] for number in numbers]
                planned.append(
                    (numbers, layout_of(group, how, devices) if is_decided else Layout(len(group), *UNDECIDED))
                )
                rest = {number: job for number, job in rest.items() if number not in numbers}
        numbers = list(rest)
        for indices in groups(list(rest.values()), least):
            group = [numbers[index] for index in indices]
            layout = layout_of([jobs[number] for number in group]) if decides else Layout(len(group), *UNDECIDED)
            planned.append((group, layout))
        return planned

    def note_plan(self, overrides, planned):
        """Adds the programs of a batch of jobs."""
        self.overrides = list(overrides)
        known = {tuple(numbers): place for place, (numbers, _, _) in enumerate(self.programs)}
        for numbers, layout in planned:
            program, place = (numbers, layout.how, layout.devices), known.get(tuple(numbers))
            if place is None:
                self.programs.append(program)
            elif self.programs[place][1] is None:
                self.programs[place] = program

    def note_layouts(self):
        """Takes over the layouts that workers have decided."""
        for place, (numbers, how, devices) in enumerate(self.programs):
            layout = self._layout(place + 1, {"jobs": numbers, "how": how, "devices": devices})
            self.programs[place] = (numbers, *layout)

    def note_job(self, number, **fields):
        """Updates the fields of a job."""
        self.jobs[number] = self.jobs.get(number, {"number": number}) | fields

    def write(self):
        """Writes sweep.json."""
        content = {
            "overrides": self.overrides,
            "jobs": [self.jobs[number] for number in sorted(self.jobs)],
            "programs": [{"jobs": jobs, "how": how, "devices": devices} for jobs, how, devices in self.programs],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_whole(self.path, text.encode("utf-8", "backslashreplace"))  # as run.json
