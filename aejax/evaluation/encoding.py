"""Codes and reconstructions of examples, chunk by chunk: the one place where evaluation meets the model."""

import jax
import jax.numpy as jnp
import numpy as np

from aejax.base.chunks import mapped
from aejax.base.keys import Purpose, key_for
from aejax.datasets.splits import hashed
from aejax.evaluation.protocol import COPIES, COPY_FLIP, COPY_STD, RESTORED, SEED
from aejax.models import autoencoder
from aejax.models.layers import code_width
from aejax.models.noise import Flip, Gaussian


def untrained(experiment, params):
    """The parameters that a trained net had before its first step; those of principal components are random.

    The mean example of a centered net, which is not a weight, stays.
    """
    start = autoencoder.init(experiment, code_width(params))
    if "center" not in params["running"]:
        return start
    return start | {"running": start["running"] | {"center": params["running"]["center"]}}


def seen(experiment, y_N):
    """The labels that the model sees: y_N if it is conditional, else None."""
    return y_N if experiment.model.is_conditional else None


def encode_decode(experiment, params, x_NxP, y_N=None):
    """The Code of examples in [0, 1] and their reconstruction: {"mean": NxZ, "predicted": NxP}.

    And where the model has them, else None, the KL of each unit, "kl" NxZ, and "indices" NxT of a discrete code. A
    conditional model needs the labels y_N, here and below.
    """

    def one(part, _):
        part_BxP, label_B = part
        code = autoencoder.encode(experiment, params, part_BxP, label=label_B)
        predicted_BxP = autoencoder.decoded(experiment, params, code.mean, label_B)
        kl_BxZ = autoencoder.kl_by_unit(experiment, params, code, label_B)
        indices_BxT = None if code.quantized is None else code.quantized.indices
        return {"mean": code.mean, "predicted": predicted_BxP, "kl": kl_BxZ, "indices": indices_BxT}

    return mapped(one, (x_NxP, seen(experiment, y_N)))


def reconstructed(experiment, params, x_NxP, y_N=None):
    """The mean image of each example's posterior mean, [N, P]."""
    return mapped(lambda part, _: autoencoder.reconstruct(experiment, params, *part), (x_NxP, seen(experiment, y_N)))


def codes(experiment, params, x_NxP, y_N=None):
    """Posterior means of examples in [0, 1], [N, Z]."""

    def encoded(part, _):
        return autoencoder.encode(experiment, params, part[0], label=part[1]).mean

    return mapped(encoded, (x_NxP, seen(experiment, y_N)))


def codes_of_stored(experiment, params, stored_NxP, y_N=None):
    """Posterior means of stored examples, [N, Z]; pixels that are stored as probabilities are drawn."""
    return _of_stored(experiment, params, stored_NxP, y_N, lambda code: code.mean)


def indices_of_stored(experiment, params, stored_NxP, y_N=None):
    """The same as the indices of a discrete code, [N, T]."""
    return _of_stored(experiment, params, stored_NxP, y_N, lambda code: code.quantized.indices)


def draws_of_stored(experiment, params, stored_NxP, y_N, key):
    """Posterior samples of stored examples, [N, Z]."""
    return _of_stored(experiment, params, stored_NxP, y_N, lambda code: code.z, key)


def _of_stored(experiment, params, stored_NxP, y_N, of, key=None):
    def encoded(part, at):
        x_BxP, key_part = _drawn(experiment.form, part[0], at), None if key is None else jax.random.fold_in(key, at)
        return of(autoencoder.encode(experiment, params, x_BxP, key_part, part[1]))

    return mapped(encoded, (stored_NxP, seen(experiment, y_N)))


def drawn(form, stored_NxP, step=0):
    """Stored examples of this `form` as float32, [N, P]; pixels that are stored as probabilities are drawn.

    Another `step` gives other draws.
    """
    return mapped(lambda part, at: _drawn(form, part, at, step), stored_NxP)


def negative_log(experiment, params, x_NxP, outputs):
    """-log p(x | z) in nats, [N], for the Outputs of a model."""
    return experiment.likelihood.negative_log(x_NxP, outputs.logits, params["likelihood"])


def noisy_copies(experiment, data):
    """Test examples under the run's noise, {"clean": [M, P], "input": [M, P], "label": [M] or None}.

    Copies of one example are N rows apart.
    """
    clean_NxP = experiment.form.scaled(data.test)
    copies = max(1, RESTORED // clean_NxP.shape[0])
    clean_MxP, label_N = jnp.tile(clean_NxP, (copies, 1)), seen(experiment, data.y_test)
    input_MxP = experiment.noise(key_for(SEED, Purpose.RESTORE), clean_MxP, experiment.form.shape)
    return {"clean": clean_MxP, "input": input_MxP, "label": None if label_N is None else jnp.tile(label_N, copies)}


def picked(x_NxP, most):
    """At most `most` examples, those whose rows have the smallest hashes, in the order of the hashes.

    So each class has its share, even of files that are sorted by class or in which classes take turns.
    """
    examples = x_NxP.shape[0]
    return x_NxP if examples <= most else x_NxP[picked_rows(examples, most)]


def picked_rows(examples, most, seed=SEED):
    """The rows of at most `most` of the examples, a numpy array in the order of their hashes."""
    return np.argsort(hashed(np.arange(examples), seed), kind="stable")[:most]


def places(y_N, classes, seed=SEED):
    """How many examples of its class come before each, in the order of their rows' hashes, [N], and class sizes [C]."""
    order_N = picked_rows(y_N.shape[0], None, seed)
    member_NxC = jax.nn.one_hot(y_N[order_N], classes, dtype=jnp.int32)
    until_N = jnp.take_along_axis(jnp.cumsum(member_NxC, axis=0), y_N[order_N][:, None], axis=1)[:, 0]
    return jnp.zeros_like(y_N).at[order_N].set(until_N - 1), jnp.sum(member_NxC, axis=0)


def is_alone(experiment, data):
    """Whether every example is alone in its class, as letters and emoji are."""
    return data.y_test is not None and experiment.form.classes == data.train.shape[0] == data.test.shape[0]


def labeled(experiment, params, data, encoded=True):
    """Codes and labels (z, y) to fit on (`train`), to choose on (`valid`) and to `score`, and pixels `x` of the scored.

    Where every example is alone in its class (`alone`), these are noisy copies, the same for every run. Without
    validation labels, a tenth of each class of the codes to fit on is set aside to choose on. Without `encoded`, pixels
    take the place of codes.
    """
    if is_alone(experiment, data):
        purposes = {"train": Purpose.COPIES_FIT, "valid": Purpose.COPIES_VALID, "score": Purpose.COPIES_SCORE}
        parts = {name: _copies(experiment, data, purpose) for name, purpose in purposes.items()}
        x_NxP = parts["score"][0]
        if encoded:
            parts = {name: (codes(experiment, params, x, y), y) for name, (x, y) in parts.items()}
        return parts | {"x": x_NxP, "alone": True}

    def of_stored(stored_NxP, y_N):
        return codes_of_stored(experiment, params, stored_NxP, y_N) if encoded else drawn(experiment.form, stored_NxP)

    x_NxP = experiment.form.scaled(data.test)
    fit = of_stored(data.train, data.y_train), data.y_train
    if data.y_valid is not None:
        valid = of_stored(data.valid, data.y_valid), data.y_valid
    else:
        chosen_V, rest_M = _tenth(data.y_train, experiment.form.classes)
        fit, valid = tuple(part[rest_M] for part in fit), tuple(part[chosen_V] for part in fit)
    score = codes(experiment, params, x_NxP, data.y_test) if encoded else x_NxP
    return {"train": fit, "valid": valid, "score": (score, data.y_test), "x": x_NxP, "alone": False}


def _tenth(y_N, classes):
    """The rows of a tenth of the examples, of each class its share, and the remaining rows in order."""
    place_N, size_C = places(y_N, classes)
    order_N = jnp.argsort((place_N + 0.5) / size_C[y_N], stable=True)
    tenth = max(1, y_N.shape[0] // 10)
    return order_N[:tenth], jnp.sort(order_N[tenth:])


def _drawn(form, stored_BxP, at, step=0):
    """The `at`-th part of stored examples in [0, 1]."""
    return form.drawn(jax.random.fold_in(key_for(SEED, Purpose.BINARIZE, step), at), stored_BxP)


def _copies(experiment, data, purpose):
    form = experiment.form
    noise = Flip(jnp.float32(COPY_FLIP)) if form.kind == "binary" else Gaussian(jnp.float32(COPY_STD))
    tiled_MxP = jnp.tile(form.scaled(data.test), (COPIES, 1))
    return noise(key_for(SEED, purpose), tiled_MxP, form.shape), jnp.tile(data.y_test, COPIES)
