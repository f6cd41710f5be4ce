"""What the pictures of a run show, computed on the device."""

import jax.numpy as jnp

from aejax import model
from aejax.chunks import mapped
from aejax.evaluate import SEED, noisy_copies
from aejax.metrics.neighbours import distances
from aejax.noise import Clean
from aejax.random import Purpose, key_for

SHOWN = 128  # examples of a picture at the most
SAMPLES = 28


def examples(experiment, params, data, grid_GxZ):
    """Images by name, pixels in [0, 1], as rows of P values; the decoded images of grid_GxZ among them.

    `samples` come with `nearest`, the training example at the smallest squared error.
    """
    form, mean = experiment.form, experiment.likelihood.mean
    clean_NxP = form.scaled(data.test[:SHOWN])
    shown = {
        "clean": clean_NxP,
        "reconstructed": model.reconstruct(experiment, params, clean_NxP),
        "grid": mean(model.decode(experiment, params, grid_GxZ)),
    }
    if not isinstance(experiment.noise, Clean):
        noisy_MxP = noisy_copies(experiment, data)["input"][: clean_NxP.shape[0]]
        shown |= {"noisy": noisy_MxP, "restored": model.reconstruct(experiment, params, noisy_MxP)}
    samples_SxP = experiment.sample.images(experiment, params, data, key_for(SEED, Purpose.SAMPLES), SAMPLES)
    apart_NxS = mapped(lambda part, _: distances(form.scaled(part), samples_SxP), data.train)
    nearest_S = jnp.argmin(apart_NxS, axis=0)
    return shown | {"samples": samples_SxP, "nearest": form.scaled(data.train[nearest_S])}
