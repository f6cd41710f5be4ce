"""What the pictures of a run show, computed on the device."""

import jax.numpy as jnp

from aejax import model
from aejax.chunks import mapped
from aejax.evaluate import SEED, noisy_copies
from aejax.keys import Purpose, key_for
from aejax.metrics.neighbours import distances
from aejax.noise import Clean

SHOWN = 128  # examples of a picture at the most
SAMPLES = 28
FEATURES = 48  # code units whose feature is shown at the most


def examples(experiment, params, data, grid_GxZ):
    """Images by name, pixels in [0, 1], as rows of P values; the decoded images of grid_GxZ among them.

    `features` are what a step of each unit changes; `samples` come with `nearest`, the training example at the smallest
    squared error.
    """
    form, mean = experiment.form, experiment.likelihood.mean
    clean_NxP = form.scaled(data.test[:SHOWN])
    shown = {
        "clean": clean_NxP,
        "reconstructed": model.reconstruct(experiment, params, clean_NxP),
        "grid": mean(model.decode(experiment, params, grid_GxZ)),
    }
    shown["features"] = features(experiment, params, clean_NxP)
    if not isinstance(experiment.noise, Clean):
        noisy_MxP = noisy_copies(experiment, data)["input"][: clean_NxP.shape[0]]
        shown |= {"noisy": noisy_MxP, "restored": model.reconstruct(experiment, params, noisy_MxP)}
    samples_SxP = experiment.sample.images(experiment, params, data, key_for(SEED, Purpose.SAMPLES), SAMPLES)
    apart_NxS = mapped(lambda part, _: distances(form.scaled(part), samples_SxP), data.train)
    nearest_S = jnp.argmin(apart_NxS, axis=0)
    return shown | {"samples": samples_SxP, "nearest": form.scaled(data.train[nearest_S])}


def features(experiment, params, clean_NxP):
    """What two standard deviations of a code unit add to the mean code's image, [F, P]: 0.5 where it changes nothing.

    Of the units that vary most among these examples, the first first, each scaled to reach 0 or 1.
    """
    z_NxZ = model.encode(experiment, params, clean_NxP).mean
    mean_Z, std_Z = jnp.mean(z_NxZ, axis=0), jnp.std(z_NxZ, axis=0)
    most_F = jnp.argsort(std_Z, descending=True)[:FEATURES]
    moved_FxZ = mean_Z[None, :] + 2 * jnp.diag(std_Z)[most_F]
    image = lambda z_BxZ: experiment.likelihood.mean(model.decode(experiment, params, z_BxZ))  # noqa: E731
    change_FxP = image(moved_FxZ) - image(mean_Z[None, :])
    largest_Fx1 = jnp.max(jnp.abs(change_FxP), axis=1, keepdims=True)
    return 0.5 + 0.5 * change_FxP / jnp.where(largest_Fx1 > 0, largest_Fx1, 1.0)
