"""The examples that the pictures of a run show, computed on the device."""

import jax.numpy as jnp
import numpy as np

from aejax.base.chunks import mapped
from aejax.base.keys import Purpose, key_for
from aejax.evaluation.encoding import noisy_copies
from aejax.evaluation.protocol import SEED
from aejax.metrics.neighbors import distances
from aejax.models import autoencoder
from aejax.models.noise import Clean

GRID_LABEL = 0  # the label of a conditional model's grid
SHOWN = 128  # test examples of a picture at the most
SAMPLES = 28
FEATURES = 48  # code units whose feature is shown at the most


def examples(experiment, params, data, grid_GxZ, rows_N):
    """Images by name, pixels in [0, 1], as rows of P values; the decoded images of grid_GxZ among them.

    Shown are the test examples `rows_N`. `features` are what a step of each unit changes; `samples` come with
    `nearest`, the training example at the smallest squared error.
    """
    form = experiment.form
    clean_NxP, label_N = form.scaled(data.test[rows_N]), None
    if experiment.model.is_conditional:
        label_N = data.y_test[rows_N]
    shown = {
        "clean": clean_NxP,
        "reconstructed": autoencoder.reconstruct(experiment, params, clean_NxP, label_N),
        "grid": grid_images(experiment, params, grid_GxZ),
    }
    shown["features"] = features(experiment, params, clean_NxP, label_N)
    if not isinstance(experiment.noise, Clean):
        noisy_MxP = noisy_copies(experiment, data)["input"][rows_N]
        shown |= {"noisy": noisy_MxP, "restored": autoencoder.reconstruct(experiment, params, noisy_MxP, label_N)}
    samples_SxP = experiment.sampler.images(experiment, params, data, key_for(SEED, Purpose.SAMPLES), SAMPLES)
    apart_NxS = mapped(lambda part, _: distances(form.scaled(part), samples_SxP), data.train)
    nearest_S = jnp.argmin(apart_NxS, axis=0)
    return shown | {"samples": samples_SxP, "nearest": form.scaled(data.train[nearest_S])}


def grid_images(experiment, params, grid_GxZ):
    """The mean images of codes, of discrete ones the nearest to these, [G, P]; all of GRID_LABEL."""
    z_GxZ, label_G = autoencoder.snapped(experiment, params, grid_GxZ), None
    if experiment.model.is_conditional:
        label_G = jnp.full(grid_GxZ.shape[:1], GRID_LABEL)
    return autoencoder.decoded(experiment, params, z_GxZ, label_G)


def features(experiment, params, clean_NxP, label_N=None):
    """What two standard deviations of a code unit add to the mean code's image, [F, P], with 0.5 for no change.

    Of the units that vary most among these examples, the first first, each scaled to reach 0 or 1.
    """
    z_NxZ = autoencoder.encode(experiment, params, clean_NxP, label=label_N).mean
    mean_Z, std_Z = jnp.mean(z_NxZ, axis=0), jnp.std(z_NxZ, axis=0)
    most_F = jnp.argsort(std_Z, descending=True)[:FEATURES]
    moved_FxZ = mean_Z[None, :] + 2 * jnp.diag(std_Z)[most_F]

    def image(z_BxZ):
        label_B = None if label_N is None else jnp.broadcast_to(label_N[0], z_BxZ.shape[:1])
        return autoencoder.decoded(experiment, params, z_BxZ, label_B)

    change_FxP = image(moved_FxZ) - image(mean_Z[None, :])
    largest_Fx1 = jnp.max(jnp.abs(change_FxP), axis=1, keepdims=True)
    return 0.5 + 0.5 * change_FxP / jnp.where(largest_Fx1 > 0, largest_Fx1, 1.0)


def picked(examples, most, y_N=None):
    """The rows, int32, of at most `most` of so many `examples`: evenly spread, with each class in y_N by its share.

    Every class comes at least once where there are as many places. Classes alternate.
    """
    count = min(most, examples)
    if y_N is None:
        return _spread(np.arange(examples), count)
    labels, count_C = np.unique(y_N, return_counts=True)
    kept_C = _spread(np.arange(len(labels)), min(count, len(labels)))
    rows, at = [], []
    for label, quota in zip(labels[kept_C], _shares(count_C[kept_C], count), strict=True):
        rows.append(_spread(np.flatnonzero(y_N == label), quota))
        at.append((np.arange(quota) + 0.5) / quota)
    return np.concatenate(rows)[np.argsort(np.concatenate(at), kind="stable")]


def _spread(rows_N, count):
    return rows_N[np.linspace(0, len(rows_N) - 1, count).round().astype(int)].astype(np.int32)


def _shares(count_C, places):
    """Whole shares of so many places in the proportions of count_C, at least one each, [C]."""
    exact_C = count_C * places / count_C.sum()
    share_C = np.maximum(1, np.floor(exact_C)).astype(int)
    while share_C.sum() != places:
        if share_C.sum() < places:
            share_C[np.argmax(exact_C - share_C)] += 1
        else:
            share_C[np.argmax(np.where(share_C > 1, share_C - exact_C, -np.inf))] -= 1
    return share_C
