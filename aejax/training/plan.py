"""The plan of a sweep and its ledger: which jobs share a program, in which layout."""

import functools
import math

import jax
import numpy as np

from aejax.base.devices import memory, size
from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.objective import objective
from aejax.models.principal_components import SVD_EXAMPLES
from aejax.training.lanes import Layout, cut_evenly, tree_bytes, value_bytes
from aejax.training.optim import transformation

SMALLER = {  # what to change if this takes most of the memory
    "data": "data.limit or data.device_bytes",
    "parameters": "net.widths or latent_dim",
    "a training step": "batch_size or net.widths",
    "codes": "latent_dim",
    "the covariance of codes": "latent_dim, or evaluate.groups without code",
    "principal components": "the examples' size, or evaluate.groups without baselines",
}


def groups(jobs, least=1):
    """The indices of the jobs that share a program, each group in the order of the jobs, split if it is too large.

    There are at least so many groups, where there are as many jobs: the largest are split further.
    """
    by_structure = {}
    for index, job in enumerate(jobs):
        # Parameters from a run have no masked units: their lanes are of one width.
        width = None if job.initial is None else int(job.experiment.latent_dim)
        key = jax.tree.structure(job.experiment), width, job.lanes, job.mesh
        by_structure.setdefault(key, []).append(index)
    alike = list(by_structure.values())
    cuts = [math.ceil(len(indices) / most_lanes([jobs[index] for index in indices])) for indices in alike]
    while sum(cuts) < min(least, len(jobs)):
        largest = max(range(len(cuts)), key=lambda place: math.ceil(len(alike[place]) / cuts[place]))
        cuts[largest] += 1
    return [part for indices, count in zip(alike, cuts, strict=True) for part in cut_evenly(indices, count)]


def layout_of(jobs, how=None, devices=None):
    """How the jobs of a group are laid out in lanes: as it was decided before, where there still are the devices."""
    data = jobs[0].mesh.data
    if how is None:
        return Layout(len(jobs), jobs[0].lanes.settle(len(jobs), _size(_params(jobs))), data=data)
    return Layout(len(jobs), how, min(devices, len(jax.devices()) // data), data)


def most_lanes(jobs):
    """How many of these jobs of equal structure a program takes: `lanes.max`, or as many as half of the memory holds.

    Every value that a step computes is counted, though a compiled program keeps few of them at a time.
    """
    lanes, experiment, params = jobs[0].lanes, jobs[0].experiment, _params(jobs)
    if lanes.max:
        return lanes.max
    optim = jax.eval_shape(transformation(experiment, experiment.steps).init, autoencoder.trained(params))
    kept = 2 * tree_bytes((params, params, optim))  # the State before a segment and after it
    x_BxP = jax.ShapeDtypeStruct((experiment.batch_size, experiment.form.pixels), np.float32)

    labels = experiment.model.needs_labels
    label_B = jax.ShapeDtypeStruct((experiment.batch_size,), np.int32) if labels else None

    def loss(trained, statistics, batch, at):
        return objective(experiment, trained | {"running": statistics}, batch, at)[0]

    batch = Batch(x_BxP, x_BxP, label_B)
    step = jax.make_jaxpr(jax.grad(loss))(autoencoder.trained(params), params["running"], batch, np.int32(0))
    computed = value_bytes(step.jaxpr)
    free = memory() // 2
    by_vmap = lanes.settle(len(jobs), _size(params)) == "vmap"
    if by_vmap:
        return max(1, free // (kept + computed))
    return max(1, (free - len(jax.devices()) * computed) // kept)


def check_memory(job):
    """Raises InputError, with the numbers, if the device cannot hold the minimum that a job takes.

    The data, the parameters, and the largest of what comes one after another: a step's batch, gradients and moments;
    the codes of the test examples, their covariance and its squares; the covariance of pixels, or the decomposition of
    few examples. How much more a program takes is known only after its compilation.
    """
    experiment, form, params = job.experiment, job.experiment.form, _params([job])
    measured, pixels, width = experiment.evaluate.groups, form.pixels, int(experiment.latent_dim)
    stored = sum({id(split.x): split.x.nbytes for split in job.dataset.splits.values()}.values())
    needs = {
        "data": min(stored, job.dataset.budget),
        "parameters": tree_bytes(params) * (1 if experiment.select == "last" else 2),
    }
    optim = jax.eval_shape(transformation(experiment, experiment.steps).init, autoencoder.trained(params))
    floats = {
        "a training step": 2 * experiment.batch_size * pixels + tree_bytes((autoencoder.trained(params), optim)) // 4,
        "codes": len(job.dataset.test.x) * width,
        "the covariance of codes": 0,
        "principal components": 0,
    }
    if "code" in measured:  # and its squares
        floats["the covariance of codes"] = floats["codes"] + 2 * width**2
    if "baselines" in measured or experiment.model.solver.closed_form:
        few = form.examples <= SVD_EXAMPLES and not form.dynamic
        floats["principal components"] = 2 * pixels * (form.examples if few else pixels)
    most = max(floats, key=floats.get)
    needs[most] = 4 * floats[most]
    on_cpu = jax.default_backend() == "cpu"
    free = memory() if on_cpu else memory() // len(jax.devices())
    if sum(needs.values()) > free:
        breakdown = ", ".join(f"{name} {size(count)}" for name, count in needs.items())
        must = SMALLER[max(needs, key=needs.get)]
        raise InputError(
            f"takes {size(sum(needs.values()))} of memory at the least ({breakdown}), and there are {size(free)}; "
            f"must be less: {must}"
        )


def _params(jobs):
    """The shapes of one lane's parameters in a program of these jobs."""
    width = max(int(job.experiment.latent_dim) for job in jobs)
    return jax.eval_shape(functools.partial(autoencoder.init, width=width), jobs[0].experiment)


def _size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))
