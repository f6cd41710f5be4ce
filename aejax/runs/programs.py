"""The compiled programs of a group: they train its lanes, evaluate them, and compute their pictures."""

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import platformdirs

from aejax.compat import jax_compat
from aejax.evaluation.evaluate import evaluate
from aejax.figures.examples import SHOWN, examples
from aejax.models.layers import code_width
from aejax.training import step, stream
from aejax.training.lanes import Layout

SOONEST = {  # JAX's settings: keep every compiled program
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def keep_compiled_programs():
    """Lets JAX keep compiled programs on disk, so that a second run of the same structure starts at once."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = Path(platformdirs.user_cache_dir("aejax", appauthor=False))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # no home to write to: every run compiles
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    for name, value in SOONEST.items():
        jax.config.update(name, value)


@contextlib.contextmanager
def kept_programs():
    """A context in which JAX keeps compiled programs on disk; afterwards it is as before."""
    names = ("jax_compilation_cache_dir", *SOONEST)
    before = {name: getattr(jax.config, name) for name in names}
    try:
        keep_compiled_programs()
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        jax_compat.reset_compilation_cache()  # it keeps the folder otherwise


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What all programs of a group read: stacked experiments, shared data; `plan`, the pieces (start, length) of each
    segment.
    """

    experiments: Any
    data: Any
    plan: list[list[tuple[int, int]]]

    @classmethod
    def of(cls, jobs, layout):
        """The Inputs of jobs of equal structure, on the devices."""
        first = jobs[0]
        return cls(
            layout.stack([job.experiment for job in jobs]),
            layout.share(
                first.dataset.arrays(mean=first.experiment.net.center, factors=first.experiment.evaluate.uses_factors)
            ),
            stream.pieces(step.segments(first.experiment), first, layout.count),
        )

    def collected(self, layout):
        """These Inputs where a lane has one device, for what is not split."""
        return Inputs(layout.collected(self.experiments), layout.collected(self.data), self.plan)

    @property
    def lengths(self):
        """The number of steps of each segment."""
        return [sum(length for _, length in pieces) for pieces in self.plan]


@dataclasses.dataclass(frozen=True)
class Training:
    """The programs that train: `pieces` {length: program}, compiled for `inputs`."""

    inputs: Inputs
    pieces: dict[int, Any]

    @classmethod
    def compiled(cls, jobs, layout, inputs):
        """The programs, and the stacked State before the first step."""
        width = max(int(job.experiment.latent_dim) for job in jobs)
        initial = None if jobs[0].initial is None else layout.stack([job.initial.params for job in jobs])
        arguments = inputs.experiments, initial, inputs.data
        state, pieces = layout.compiled(_begun, 2, *arguments, width=width)(*arguments), {}
        for length in {length for segment in inputs.plan for _, length in segment}:
            batches = layout.place(stream.shape(jobs[0], length), examples=1)
            arguments = inputs.experiments, state, batches, inputs.data, np.int32(0), np.True_
            settings = {"donate": (1,), "parameters": state.parameters, "length": length}
            pieces[length] = layout.compiled(_piece, 3, *arguments, **settings)
        if jobs[0].experiment.form.streamed:
            stream.shuffling(len(jobs[0].dataset.train.x))  # compiled here, not during the training
        return cls(inputs, pieces), state

    def segment(self, number, state, batches):
        """The State after a segment, and its metrics {name: [L]}; the earlier State is donated.

        Both are promises: the device may still be computing them. `batches` yields those of each piece.
        """
        plan, parts = self.inputs.plan[number], []
        for start, length in plan:
            at = np.int32(start), np.bool_((start, length) == plan[-1])
            state, metrics = self.pieces[length](self.inputs.experiments, state, next(batches), self.inputs.data, *at)
            parts.append((length, metrics))
        return state, joined(parts)


def _begun(experiment, initial, data, width):
    return step.init(experiment, data, width, initial)


def _piece(experiment, state, batches, data, start, ends, length):
    return step.segment(experiment, state, data, start, length, batches, ends)


def joined(parts):
    """The metrics of a segment from its pieces (length, metrics): means over steps of train/*, else the last value."""
    if len(parts) == 1:
        return parts[0][1]
    steps, last = sum(length for length, _ in parts), parts[-1][1]
    means = {name: sum(length * metrics[name] for length, metrics in parts) / steps for name in last}
    return {name: means[name] if name.startswith("train/") else value for name, value in last.items()}


def measuring(jobs, layout, inputs, params):
    """The program that evaluates all lanes, one after another, and the one that computes the pictures of one lane.

    `inputs` and `params`, shapes of the stacked parameters, are collected: no batch is split here. The second program
    is None where no job asks for pictures.
    """
    evaluation = layout.alone.compiled(evaluate, 2, inputs.experiments, params, inputs.data, how="map")
    if not any(job.figures for job in jobs):
        return evaluation, None
    from aejax.figures.codes import GRID_SIDE  # takes half a second to import

    grid = jax.ShapeDtypeStruct((GRID_SIDE**2, code_width(params)), np.float32)
    rows = jax.ShapeDtypeStruct((min(SHOWN, inputs.data.test.shape[0]),), np.int32)
    one = [shapes(tree, lanes=1) for tree in (inputs.experiments, params)]
    return evaluation, Layout(1, "map").compiled(examples, 2, *one, shapes(inputs.data), grid, rows)


def shapes(tree, lanes=None, sharded=False):
    """The shapes of the arrays of a tree, with so many `lanes` where it is a stack, and their sharding if `sharded`."""

    def shape(leaf):
        wide = leaf.shape if lanes is None else (lanes, *leaf.shape[1:])
        return jax.ShapeDtypeStruct(wide, leaf.dtype, sharding=leaf.sharding if sharded else None)

    return jax.tree.map(shape, tree)
