"""The plan of a sweep and its ledger: which jobs share a program, in which layout, and what has become of them."""

import functools
import json
from pathlib import Path

import jax
import numpy as np

from aejax import contents, model
from aejax.device import memory, size
from aejax.errors import InputError
from aejax.files import octets, set_aside, write_whole
from aejax.fit import SVD_EXAMPLES
from aejax.lanes import Layout, cut_evenly, tree_bytes, value_bytes
from aejax.loss import objective

LEDGER = "sweep.json"
LARGEST = 2**28  # bytes of it
MOST_DEVICES = 1024  # that a program is laid out on: CPU cores count as such
SMALLER = {  # what to change where most of the memory goes there
    "data": "data.limit or data.device_bytes",
    "parameters": "net.widths or latent_dim",
    "a training step": "batch_size or net.widths",
    "codes": "latent_dim",
    "the covariance of codes": "latent_dim, or evaluate.what without code",
    "principal components": "the examples' size, or evaluate.what without floors",
}


def groups(jobs):
    """The indices of the jobs that share a program, each group in the order of the jobs, cut where it is too large."""
    by_structure = {}
    for index, job in enumerate(jobs):
        key = jax.tree.structure(job.experiment), job.lanes
        by_structure.setdefault(key, []).append(index)
    parts = []
    for indices in by_structure.values():
        parts += cut_evenly(indices, most_lanes([jobs[index] for index in indices]))
    return parts


def layout_of(jobs):
    """How the jobs of a group are laid out in lanes."""
    params = _params(jobs)
    return Layout(len(jobs), jobs[0].lanes.settle(len(jobs), _size(params)))


def most_lanes(jobs):
    """How many of these jobs of equal structure a program takes: `lanes.max`, or what half of the memory holds.

    Every value that a step computes is counted, though a compiled program keeps few of them at a time.
    """
    lanes, experiment, params = jobs[0].lanes, jobs[0].experiment, _params(jobs)
    if lanes.max:
        return lanes.max
    optim = jax.eval_shape(experiment.optim.transformation(experiment.steps).init, model.trained(params))
    kept = 2 * tree_bytes((params, params, optim))  # the State before a segment and after it
    x_BxP = jax.ShapeDtypeStruct((experiment.batch_size, experiment.form.pixels), np.float32)

    def loss(own, running, *seen):
        return objective(experiment, own | {"running": running}, *seen)[0]

    step = jax.make_jaxpr(jax.grad(loss))(model.trained(params), params["running"], x_BxP, x_BxP, np.int32(0))
    computed = value_bytes(step.jaxpr)
    free = memory() // 2
    by_vmap = lanes.settle(len(jobs), _size(params)) == "vmap"
    if by_vmap:
        return max(1, free // (kept + computed))
    return max(1, (free - len(jax.devices()) * computed) // kept)


def check_memory(job):
    """Raises InputError, with the numbers, where the device cannot hold what a job takes at the very least.

    The data, the parameters, and the most of what comes one after another: a step's batch, gradients and moments; the
    codes of the test examples, their covariance and its squares; the covariance of pixels, or the decomposition of few
    examples. How much more a program takes only its compilation tells.
    """
    experiment, form, params = job.experiment, job.experiment.form, _params([job])
    what, pixels, width = experiment.evaluate.what, form.pixels, int(experiment.latent_dim)
    stored = sum({id(split.x): split.x.nbytes for split in job.dataset.splits.values()}.values())
    needs = {
        "data": min(stored, job.dataset.budget),
        "parameters": tree_bytes(params) * (1 if experiment.select == "last" else 2),
    }
    optim = jax.eval_shape(experiment.optim.transformation(experiment.steps).init, model.trained(params))
    floats = {
        "a training step": 2 * experiment.batch_size * pixels + tree_bytes((model.trained(params), optim)) // 4,
        "codes": len(job.dataset.test.x) * width,
        "the covariance of codes": 0,
        "principal components": 0,
    }
    if "code" in what:  # and its squares
        floats["the covariance of codes"] = floats["codes"] + 2 * width**2
    if "floors" in what or experiment.model.fit.closed_form:
        few = form.examples <= SVD_EXAMPLES and not form.dynamic
        floats["principal components"] = 2 * pixels * (form.examples if few else pixels)
    most = max(floats, key=floats.get)
    needs[most] = 4 * floats[most]
    on_cpu = jax.default_backend() == "cpu"
    free = memory() if on_cpu else memory() // len(jax.devices())
    if sum(needs.values()) > free:
        told = ", ".join(f"{name} {size(count)}" for name, count in needs.items())
        must = SMALLER[max(needs, key=needs.get)]
        raise InputError(
            f"takes {size(sum(needs.values()))} of memory at the least ({told}), and there are {size(free)}; "
            f"must be less: {must}"
        )


def _params(jobs):
    """The shapes of one lane's parameters in a program of these jobs."""
    width = max(int(job.experiment.latent_dim) for job in jobs)
    return jax.eval_shape(functools.partial(model.init, width=width), jobs[0].experiment)


def _size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _check(content):
    """Raises ValueError, KeyError or TypeError where this is not what a Ledger writes."""
    programs, listed = content["programs"], [job["number"] for job in content["jobs"]]
    planned = [number for program in programs for number in program["jobs"]]
    devices = [program["devices"] for program in programs]
    if not all(type(number) is int and number >= 0 for number in [*listed, *planned, *devices]):
        raise ValueError("numbers of jobs and devices are whole")
    if not all(
        count <= min(len(program["jobs"]), MOST_DEVICES) for count, program in zip(devices, programs, strict=True)
    ):
        raise ValueError(f"a program has no more devices than jobs, and at most {MOST_DEVICES}")
    if len(set(listed)) < len(listed) or len(set(planned)) < len(planned):
        raise ValueError("each job is named once")
    if not all(program["jobs"] and program["devices"] and program["how"] in ("vmap", "map") for program in programs):
        raise ValueError("a program has jobs, devices and a way")
    lists = [content["overrides"], *(job.get("overrides", []) for job in content["jobs"])]
    if not all(isinstance(each, list) and all(isinstance(word, str) for word in each) for each in lists):
        raise ValueError("overrides are lists of words")


def _launched(folder):
    """The overrides that Hydra noted when it launched a sweep in `folder`, None where there are none to be read."""
    try:
        words = contents.mapping(folder / "multirun.yaml")["hydra"]["overrides"]["task"]
        return list(words) if all(isinstance(word, str) for word in words) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Ledger:
    """sweep.json: the overrides of the command, its jobs with their ids and states, and the layout of each program.

    The run folders are the truth about what is finished; the ledger tells what was asked for, what failed before it
    had a folder, and how the lanes were laid out, which a sweep that goes on must keep to give the same bits.
    """

    def __init__(self, folder):
        self.path = Path(folder) / LEDGER
        self.broken = None  # the new name of a file that could not be read
        self.overrides, self.jobs, self.programs = None, {}, []
        try:
            content = json.loads(octets(self.path, LARGEST))
            _check(content)
            self.overrides = content["overrides"]
            self.jobs = {job["number"]: {"overrides": [], "id": None} | job for job in content["jobs"]}
            self.programs = [(program["jobs"], program["how"], program["devices"]) for program in content["programs"]]
        except FileNotFoundError:
            self.overrides = _launched(self.path.parent)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.broken, self.overrides = self.path, _launched(self.path.parent)

    @property
    def devices(self):
        """The most devices that a program was laid out on, 0 before there is one."""
        return max((devices for _, _, devices in self.programs), default=0)

    def set_aside(self):
        """Gives a broken file another name; returns a line about it, None where all is well."""
        if self.broken is None:
            return None
        name, self.broken = set_aside(self.broken).name, None
        return f"{self.path}: is damaged; renamed to {name}, finished runs are kept"

    def check_command(self, overrides):
        """Raises InputError where the folder holds the sweep of other overrides."""
        if self.overrides is None or self.overrides == overrides:
            return
        there = [word for word in self.overrides if word not in overrides]
        here = [word for word in overrides if word not in self.overrides]
        told = f"there {' '.join(there) or 'nothing'}, here {' '.join(here) or 'nothing'}"
        told = told if there or here else "in another order"
        raise InputError(f"hydra.sweep.dir={self.path.parent}: holds another sweep ({told}); choose another folder")

    def check_job(self, number, overrides, run_id):
        """Raises InputError where the job of this number was another."""
        job = self.jobs.get(number)
        if job is None:
            return
        if job["overrides"] != overrides:
            told = f"job {number} was {' '.join(job['overrides'])}, not {' '.join(overrides)}"
        elif run_id and job["id"] and job["id"] != run_id:
            told = f"job {number} had other defaults, or another version of aejax or of the data"
        else:
            return
        raise InputError(f"hydra.sweep.dir={self.path.parent}: holds another sweep ({told}); choose another folder")

    def plan(self, jobs):
        """The programs for `jobs` {number: Job}: numbers and Layout of each; those that were laid out before first."""
        planned, rest = [], dict(jobs)
        for numbers, how, devices in self.programs:
            if all(number in rest for number in numbers):
                planned.append((numbers, Layout(len(numbers), how, min(devices, len(jax.devices())))))
                rest = {number: job for number, job in rest.items() if number not in numbers}
        numbers = list(rest)
        for indices in groups(list(rest.values())):
            group = [numbers[index] for index in indices]
            planned.append((group, layout_of([jobs[number] for number in group])))
        return planned

    def note_plan(self, overrides, planned):
        """Takes in the programs of a batch of jobs."""
        self.overrides = list(overrides)
        known = [numbers for numbers, _, _ in self.programs]
        self.programs += [(numbers, layout.how, layout.devices) for numbers, layout in planned if numbers not in known]

    def note_job(self, number, **fields):
        """Takes in what is known of a job."""
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
