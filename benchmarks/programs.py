"""A program of lanes as aejax trains it, compiled and timed: what benchmarks of training have in common."""

import contextlib
import dataclasses
import functools
import math
import time


def composed(words, dataset=None):
    """The Job of these overrides; a `dataset` takes the place of the source."""
    import hydra

    from aejax.config.explain import CONF
    from aejax.runs.job import Job
    from aejax.settings.configuration import without_hydra

    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", words, return_hydra_config=True)
    return Job.read(without_hydra(config), dict(config.hydra.runtime.choices), dataset=dataset)


class Program:
    """The training of `layout.count` lanes of `job` with different seeds; `compiling` took so many seconds."""

    def __init__(self, job, layout):
        import jax
        import numpy as np

        from aejax.runs import programs

        seeds = np.arange(layout.count, dtype=np.uint32)
        self.jobs = [dataclasses.replace(job, experiment=job.experiment.replace(seed=seed)) for seed in seeds]
        self.layout, self.inputs = layout, programs.Inputs.of(self.jobs, layout)
        started = time.perf_counter()
        self.training, self.state = programs.Training.compiled(self.jobs, layout, self.inputs)
        jax.block_until_ready(self.state)
        self.compiling = time.perf_counter() - started

    @property
    def parameters(self):
        """Those of one lane."""
        return self.state.parameters

    def seconds(self):
        """The seconds of each segment of the training, one after another; it can be trained once."""
        took, segments = [], self.segments()
        started = time.perf_counter()
        for _ in segments:
            took.append(time.perf_counter() - started)
            started = time.perf_counter()
        return took

    def segments(self):
        """Trains one segment each time that it is asked for the next, and waits for it."""
        import jax

        from aejax.training.stream import batches

        pieces = [piece for segment in self.inputs.plan for piece in segment]
        with contextlib.closing(batches(self.jobs, self.layout, pieces)) as ahead:
            state, self.state = self.state, None  # it is given up to the training
            for number in range(len(self.inputs.plan)):
                state, metrics = jax.block_until_ready(self.training.segment(number, state, ahead))
                yield metrics


def parameters_of(experiment):
    """How many numbers a lane of this experiment learns or carries along."""
    import jax

    from aejax.models import autoencoder

    shapes = jax.eval_shape(functools.partial(autoencoder.init, width=int(experiment.latent_dim)), experiment)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def step_flops(job):
    """The floating-point operations of the matrix products of one gradient step of a lane, forward and backward."""
    import jax
    import numpy as np

    from aejax.compat import jax_compat
    from aejax.training import step

    experiment, data = job.experiment, job.dataset.arrays(mean=job.experiment.net.center)
    width = int(experiment.latent_dim)
    state = jax.eval_shape(lambda: step.init(experiment, data, width))
    stored = jax.ShapeDtypeStruct((experiment.batch_size, experiment.form.pixels), data.train.dtype), None
    traced = jax.make_jaxpr(lambda state, stored: step.step(experiment, state, data, np.int32(0), stored))(
        state, stored
    )
    products = [each for each in jax_compat.equations(traced.jaxpr) if each.primitive.name == "dot_general"]
    return sum(2 * each.outvars[0].aval.size * _summed(each) for each in products)


def _summed(product):
    """How many terms each number of a product sums up."""
    (left, _), _ = product.params["dimension_numbers"]
    return math.prod(product.invars[0].aval.shape[axis] for axis in left)
