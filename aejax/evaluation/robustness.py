"""Restoration and separation under test noises, which a run need not have seen."""

import jax
import jax.numpy as jnp
from jax import lax

from aejax.base.errors import InputError
from aejax.evaluation.encoding import encode_decode, is_alone, noisy_copies, picked_rows
from aejax.evaluation.protocol import GRID, ROBUST_EXAMPLES, ROBUST_KNN
from aejax.metrics.neighbors import knn_accuracy, nearest
from aejax.metrics.reconstruction import reconstruction, squared_error


def robustness(experiment, params, data, known):
    """Scores under every noise of GRID that fits the data, {"kind/level/name": scalar}.

    Of the run: `mse`, and for binary data `exact` and `at_most_one_wrong`, of what it restores; `knn_accuracy` of the
    codes of noisy examples, fitted on the codes that separation is fitted on. For comparison: `input_mse` of the noisy
    input itself and `median_mse` of a median filter of 3 x 3 pixels. Where examples are alone in their class, also two
    baselines that know them all. `nearest_mse`, `nearest_exact` and `nearest_at_most_one_wrong` are of the nearest
    training example, the most probable one under flips: no restoration is exact more often. `posterior_mse` is of the
    mean of the training examples, weighted by their posterior probability: no restoration has less squared error
    (both in expectation over the noise; Bishop 2006, section 1.5). It needs a noise whose likelihood has a simple form.
    """
    form, binary = experiment.form, experiment.form.kind == "binary"
    metrics = {}
    for kind, (noise, levels) in GRID.items():
        if not _fits(noise(jnp.float32(levels[0])), experiment):
            continue

        def scores(level, noise=noise):
            noisy = noisy_copies(experiment.replace(noise=noise(level)), data)
            clean_MxP, input_MxP = noisy["clean"], noisy["input"]
            outputs = encode_decode(experiment, params, input_MxP, noisy["label"])
            restored = reconstruction(clean_MxP, outputs["predicted"], binary)
            values = {"mse": restored["mse"], "input_mse": _mse(clean_MxP, input_MxP)}
            if len(form.shape) == 3:
                values["median_mse"] = _mse(clean_MxP, median_filter(input_MxP, form.shape))
            if binary:
                values |= {name: restored[name] for name in ("exact", "at_most_one_wrong")}
            if is_alone(experiment, data):
                train_NxP = form.scaled(data.train)
                copied = reconstruction(clean_MxP, train_NxP[nearest(train_NxP, input_MxP, 1)[1][:, 0]], binary)
                names = ("mse", "exact", "at_most_one_wrong") if binary else ("mse",)
                values |= {f"nearest_{name}": copied[name] for name in names}
                posterior = noise(level).log_likelihood(input_MxP, train_NxP, form.shape)
                if posterior is not None:
                    mean_MxP = jnp.matmul(jax.nn.softmax(posterior, axis=1), train_NxP, precision="highest")
                    values["posterior_mse"] = _mse(clean_MxP, mean_MxP)
            if known is not None and known["train"][0].shape[0] >= ROBUST_KNN:
                row_K = picked_rows(clean_MxP.shape[0], ROBUST_EXAMPLES)
                label_K = data.y_test[row_K % data.y_test.shape[0]]
                codes_KxZ = outputs["mean"][row_K]
                values["knn_accuracy"] = knn_accuracy(*known["train"], codes_KxZ, label_K, form.classes, ROBUST_KNN)
            return values

        values_by_level = lax.map(scores, jnp.array(levels, jnp.float32))
        for place, level in enumerate(levels):
            metrics |= {f"{kind}/{level:g}/{name}": value[place] for name, value in values_by_level.items()}
    return metrics


def median_filter(x_NxP, shape):
    """The median of each pixel and its eight neighbors, edges repeated, [N, P] (Tukey 1977)."""
    height, width, _ = shape
    padded = jnp.pad(x_NxP.reshape(-1, *shape), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    windows = [padded[:, row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return jnp.median(jnp.stack(windows), axis=0).reshape(x_NxP.shape)


def _fits(noise, experiment):
    try:
        noise.check(experiment)
    except InputError:
        return False
    return True


def _mse(clean_MxP, other_MxP):
    return jnp.mean(squared_error(clean_MxP, other_MxP)) / clean_MxP.shape[1]
