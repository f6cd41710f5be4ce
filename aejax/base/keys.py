"""Random keys, derived instead of threaded: a new use of randomness changes no other draw."""

import enum

import jax
import jax.numpy as jnp


class Purpose(enum.IntEnum):
    """What a key is for. The numbers are part of every recorded result: append, never renumber."""

    ENCODER = 0
    BOTTLENECK = 1
    DECODER = 2
    ORDER = 3  # of the training examples
    NOISE = 4
    POSTERIOR = 5
    RESTORE = 6  # from here on those of the evaluation, the same for every run
    COPIES_FIT = 7
    COPIES_SCORE = 8
    ELBO = 9
    SAMPLES = 10
    BINARIZE = 11  # also of a run: the draws of binarize=dynamic
    TRAINING = 12  # of the nets: dropout
    PENALTY = 13
    COPIES_VALID = 14
    CLUSTERS = 15
    NLL = 16
    GENERATED = 17
    TWO_SAMPLES = 18
    PRETRAIN = 19  # of a run: draws of layers in layer-wise pretraining
    VARIABLES = 20  # of a run: of parts that have parameters of their own
    FACTORS = 21  # of the evaluation: examples that share the value of a factor


def key_for(seed, purpose, step=0):
    """The key of `seed` for one purpose at one step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), purpose), step)


def normal_by_unit(key, units, shape):
    """Standard normal draws [units, *shape]; those of a unit do not depend on how many others there are."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(units))
    return jax.vmap(lambda key_unit: jax.random.normal(key_unit, shape))(keys)
