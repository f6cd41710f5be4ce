"""An experiment is a pytree: structure is static, numbers are leaves.

Two experiments share a program if and only if `jax.tree.structure` calls them equal.
"""

import hashlib
import json
from typing import Any

from flax import struct

from aejax.base.errors import InputError
from aejax.base.precision import PRECISIONS
from aejax.settings.fields import Leaf, leaf_int, part, static_choice, static_float, static_int

FULL_BATCH = 1024  # with batch_size=null, a training set of at most so many examples is one batch,
BESIDE = ("hydra", "track", "lanes", "mesh", "checkpoint", "objective")  # settings that do not affect results
MINIBATCH = 128  # and a larger one is cut into batches of this size
LOG_POINTS = 100  # with log_points=null, fewer where validating would take
VALIDATING = 0.25  # more than this share of the training's arithmetic
PLACES = ("dir", "manual_dir", "download")  # settings of data that say where they are, not what they are


@struct.dataclass
class Experiment:
    """One fully specified training, that of one job.

    As built from a configuration, `steps`, `batch_size`, `log_points` and the likelihood may still depend on the data;
    `settle` fills them in and checks the components against the data and each other. `precision` is that of the
    products in gradient steps; all else is in float32.
    """

    seed: Leaf = leaf_int(0, 2**32 - 1)
    latent_dim: Leaf = leaf_int(1, 2**16)
    steps: int = static_int(1, optional=True)
    epochs: float = static_float(above=0, high=1e6, optional=True)
    batch_size: int = static_int(1, optional=True)
    log_points: int = static_int(1, 100_000, optional=True)
    select: str = static_choice("last", "best")
    precision: str = static_choice(*PRECISIONS)
    model: Any = part("bottleneck", "terms", "solver", "check")
    likelihood: Any = part("settle", "negative_log")
    net: Any = part("encoder", "features", "decoder", "check")
    prior: Any = part("init", "log_ratio", "sample")
    bound: Any = part("has_kl", "__call__")
    noise: Any = part("check", "__call__")
    optim: Any = part("settle", "transformation")
    pretrain: Any = part("check", "phases")
    evaluate: Any = part("check", "groups")
    sampler: Any = part("settle", "codes", "images")
    form: Any = struct.field(pytree_node=False, default=None)  # of the data, once settled
    chosen_model: str | None = struct.field(pytree_node=False, default=None)  # its name in conf/model, during checks

    @property
    def model_title(self):
        """What messages of `check` methods call the model: as the user chose it, if that is known."""
        return f"model={self.chosen_model}" if self.chosen_model else "the model"

    def settle(self, form, chosen_model=None):
        """This experiment on data of this `form`; raises InputError if the two do not fit.

        `chosen_model` is the model's name in messages. The result does not keep it: models that differ in it alone
        share a program.
        """
        if self.batch_size is not None and self.batch_size > form.examples:
            raise InputError(
                f"batch_size={self.batch_size}: must be at most the number of training examples, {form.examples}"
            )
        if self.select == "best" and not form.valid:
            raise InputError("select=best: needs validation examples; set data.validation above 0, or select=last")
        batch_size = self.batch_size or (form.examples if form.examples <= FULL_BATCH else MINIBATCH)
        if self.epochs is not None:
            steps = max(1, round(self.epochs * (form.examples // batch_size)))
            if steps >= 2**31:
                raise InputError(f"epochs={self.epochs:g}: makes {steps:,} steps; the most are 2,147,483,647")
        elif self.steps is not None:
            steps = self.steps
        else:
            raise InputError("steps=null, epochs=null: one of the two must be a number")
        settled = self.replace(
            form=form,
            steps=steps,
            epochs=None,
            batch_size=batch_size,
            log_points=self.log_points or _log_points(steps * batch_size, form.valid),
            likelihood=self.likelihood.settle(form),
            optim=self.optim.settle(batch_size < form.examples),
            sampler=self.sampler.settle(self),
        )
        parts = ("likelihood", "noise", "net", "model", "prior", "bound", "pretrain", "evaluate", "sampler")
        checked = settled.replace(chosen_model=chosen_model)
        for component in (getattr(settled, name) for name in parts):
            component.check(checked)
        return settled


def _log_points(examples, valid):
    """The default log points of a training on so many `examples`, each of which evaluates `valid` ones.

    Per example a step takes three times the arithmetic of an evaluation.
    """
    return min(LOG_POINTS, max(1, int(VALIDATING * 3 * examples / valid))) if valid else LOG_POINTS


def run_id(settings, fingerprint, version):
    """A run's identity, 16 hex digits of everything that determines its result."""
    text = json.dumps([decisive(settings), fingerprint, version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def decisive(settings):
    """The settings that determine a run's result; the location of the data does not, their fingerprint is separate."""
    kept = {key: value for key, value in settings.items() if key not in BESIDE}
    return kept | {"data": {key: value for key, value in settings["data"].items() if key not in PLACES}}
