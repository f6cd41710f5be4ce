"""Batches of data that the device does not hold: gathered ahead of the training, on another thread."""

import functools
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from aejax.base.compilation import compiled
from aejax.base.keys import Purpose, key_for
from aejax.training.lanes import cut_evenly

SHARE = 8  # of the memory for data that the batches of one piece take at the most; two pieces exist at a time


def pieces(lengths, job, lanes):
    """The pieces (start, length) of steps that are trained at a time, a list for each segment of these `lengths`.

    A segment is one piece if the device holds the data; otherwise as many as keep the batches small.
    """
    segments = list(zip(itertools.accumulate([0, *lengths[:-1]]), lengths, strict=True))
    if not job.experiment.form.streamed:
        return [[segment] for segment in segments]
    batch = lanes * job.experiment.batch_size * job.dataset.train.x[0].nbytes
    most = max(1, job.dataset.budget // SHARE // batch)
    parts = [
        cut_evenly(range(start, start + length), math.ceil(length / most)) or [range(start, start)]
        for start, length in segments
    ]
    return [[(part.start, len(part)) for part in segment] for segment in parts]


def batches(jobs, layout, plan):
    """The batches of each piece (start, length) of `plan` in turn, on the devices: x and labels, [L, length, B, ...].

    Those of the next piece are gathered meanwhile. None if the device holds the data; the batches are those that
    `step` would take from data on the device.
    """
    if not jobs[0].experiment.form.streamed:
        yield from itertools.repeat(None, len(plan))
        return
    x, labels = jobs[0].dataset.train.x, _labels(jobs[0])
    examples, size = len(x), jobs[0].experiment.batch_size

    @functools.lru_cache(2 * len(jobs))
    def order(seed, epoch):
        if size == examples:
            return np.arange(examples)
        return np.asarray(shuffling(examples)(np.uint32(seed), np.int32(epoch)))

    def gathered(seed, start, length):
        """[length, B, P] as stored, and [length, B] labels, None where nothing looks at them."""
        rows = []
        for at in range(start, start + length):
            epoch, position = divmod(at, examples // size)
            rows.append(order(seed, epoch)[position * size : (position + 1) * size])
        flat = np.concatenate(rows) if rows else np.zeros(0, int)
        return x[flat].reshape(length, size, -1), None if labels is None else labels[flat].reshape(length, size)

    def placed(piece):
        return layout.stack([gathered(job.experiment.seed, *piece) for job in jobs], examples=1)

    with ThreadPoolExecutor(1) as ahead:
        following = None
        for piece, after in itertools.zip_longest(plan, plan[1:]):
            now = following or ahead.submit(placed, piece)
            following = ahead.submit(placed, after) if after else None
            yield now.result()


@functools.cache
def shuffling(examples):
    """The compiled program (seed, epoch) -> the order of the examples, that of training.batch."""

    def order(seed, epoch):
        return jax.random.permutation(key_for(seed, Purpose.ORDER, epoch), examples)

    return compiled(jax.jit(order), np.uint32(0), np.int32(0))


def shape(job, length):
    """The shape of one lane's batches of a piece of this length, None if the device holds the data."""
    if not job.experiment.form.streamed:
        return None
    size, labels = job.experiment.batch_size, _labels(job)
    x = jax.ShapeDtypeStruct((length, size, job.experiment.form.pixels), job.dataset.train.x.dtype)
    return x, None if labels is None else jax.ShapeDtypeStruct((length, size), labels.dtype)


def _labels(job):
    """The labels of the training examples, [N] int32; None where no part of the model looks at them."""
    return job.dataset.train.y if job.experiment.model.needs_labels else None
