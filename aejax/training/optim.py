"""Optimizers: optax's, with every number a leaf and one schedule for all."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from aejax.settings.fields import Leaf, leaf_float, static_choice


@struct.dataclass
class Optimizer:
    """The base of all optimizers; lr is the peak learning rate.

    `warmup` is the share of the steps over which the rate rises linearly from 0, null for a tenth if a step takes
    only a part of the training examples, else 0; `clip` the largest global norm of a gradient, null for none.
    `weight_decay` shrinks the weights of layers, but not their biases, apart from the gradient (Loshchilov & Hutter
    2019); null for none.
    """

    lr: Leaf = leaf_float(above=0)
    schedule: str = static_choice("constant", "cosine")
    warmup: Leaf | None = leaf_float(0, 1, optional=True)
    clip: Leaf | None = leaf_float(above=0, optional=True)
    weight_decay: Leaf | None = leaf_float(0, optional=True)

    def settle(self, in_parts: bool) -> Self:
        """This optimizer for steps that take the training examples `in_parts`, or all of them.

        Wide layers whose first noisy steps are at the peak rate can saturate, and then nothing is learned.
        """
        if self.warmup is not None:
            return self
        return dataclasses.replace(self, warmup=np.float32(0.1 if in_parts else 0.0))

    def transformation(self, steps: int) -> optax.GradientTransformation:
        """The optax transformation for a training of `steps` steps."""

        warmup = self.warmup
        assert warmup is not None, "settle() comes first"

        def rate(step: jax.Array) -> jax.Array:
            rising = warmup * steps  # so many steps
            falling: jax.Array | float = 1.0
            if self.schedule == "cosine":
                falling = 0.5 * (1 + jnp.cos(jnp.pi * (step - rising) / jnp.maximum(steps - rising, 1.0)))
            return self.lr * jnp.where(step < rising, (step + 1) / jnp.maximum(rising, 1.0), falling)

        clipping = [] if self.clip is None else [optax.clip_by_global_norm(self.clip)]
        shrinking = [] if self.weight_decay is None else [optax.add_decayed_weights(self.weight_decay, _kernels)]
        return optax.chain(*clipping, self.direction(), *shrinking, optax.scale_by_learning_rate(rate))

    def direction(self) -> optax.GradientTransformation:
        """The optax transformation of a gradient into a step up of unit rate."""
        raise NotImplementedError


def _kernels(params: Any) -> Any:
    """True for the weights of layers, False for biases, scales and variances."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


@struct.dataclass
class Adam(Optimizer):
    """Kingma & Ba 2015, algorithm 1; with weight decay AdamW, Loshchilov & Hutter 2019, algorithm 2."""

    b1: Leaf = leaf_float(0, 0.999999)
    b2: Leaf = leaf_float(0, 0.999999)

    def direction(self) -> optax.GradientTransformation:
        return optax.scale_by_adam(self.b1, self.b2)


@struct.dataclass
class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, eq. 1-2); with weight decay SGDW."""

    momentum: Leaf = leaf_float(0, 0.999999)

    def direction(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum)


def transformation(experiment: Any, steps: int) -> optax.GradientTransformation:
    """The optax transformation for a training of `steps` steps: the optimizer's, and for each critic its own."""
    whole = experiment.optim.transformation(steps)
    critics = {name: term for name, term in experiment.model.terms.items() if term.is_critic}
    if not critics:
        return whole

    def owner(path: Any, _: Any) -> str:
        module, *inner = (entry.key for entry in path)
        return inner[0] if module == "terms" and inner[0] in critics else ""

    parts = {"": whole} | {name: term.optimizer() for name, term in critics.items()}
    return optax.multi_transform(parts, lambda params: jax.tree.map_with_path(owner, params))
