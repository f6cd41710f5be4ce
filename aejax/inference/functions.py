"""What a trained model computes of a batch, as pure functions.

They take (experiment, params, rows [B, …], labels [B] or None, number of the batch); those that draw also take a seed.
"""

from typing import Any

import jax.numpy as jnp

from aejax.base.keys import Purpose, key_for
from aejax.metrics.reconstruction import squared_error
from aejax.models import autoencoder


def encoded(experiment: Any, params: Any, x_BxP: Any, label_B: Any, number: Any) -> Any:
    return autoencoder.encode(experiment, params, x_BxP, label=label_B).mean


def drawn(experiment: Any, params: Any, x_BxP: Any, label_B: Any, number: Any, seed: Any) -> Any:
    return autoencoder.encode(experiment, params, x_BxP, key_for(seed, Purpose.POSTERIOR, number), label_B).z


def decoded(experiment: Any, params: Any, z_BxZ: Any, label_B: Any, number: Any) -> Any:
    return autoencoder.decoded(experiment, params, z_BxZ, label_B)


def nearest(experiment: Any, params: Any, z_BxZ: Any, label_B: Any, number: Any) -> Any:
    return autoencoder.decoded(experiment, params, autoencoder.snapped(experiment, params, z_BxZ), label_B)


def indices(experiment: Any, params: Any, x_BxP: Any, label_B: Any, number: Any) -> Any:
    return autoencoder.encode(experiment, params, x_BxP, label=label_B).quantized.indices


def vectors(experiment: Any, params: Any, indices_BxT: Any, label_B: Any, number: Any) -> Any:
    return autoencoder.vectors(experiment, params, indices_BxT).astype(jnp.float32)


def classified(experiment: Any, params: Any, x_BxP: Any, label_B: Any, number: Any) -> Any:
    return jnp.exp(experiment.model.log_class(experiment, params, x_BxP))


def reconstructed(experiment: Any, params: Any, x_BxP: Any, label_B: Any, number: Any) -> Any:
    return autoencoder.reconstruct(experiment, params, x_BxP, label_B)


def error(experiment: Any, params: Any, x_BxP: Any, label_B: Any, number: Any) -> Any:
    return squared_error(x_BxP, autoencoder.reconstruct(experiment, params, x_BxP, label_B))


def sampled(experiment: Any, params: Any, rows: Any, label_B: Any, number: Any, seed: Any, fitted: Any) -> Any:
    key = key_for(seed, Purpose.SAMPLES, number)
    z_BxZ = experiment.sampler.codes(experiment, params, fitted, key, len(rows), label_B)
    return autoencoder.decoded(experiment, params, z_BxZ, label_B)
