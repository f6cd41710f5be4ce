"""What codes are good for: the same linear probe on codes, pixels and PCA codes. Runs on the host, which times it."""

import time

import jax
import numpy as np

from aejax.base.precision import products
from aejax.evaluation.encoding import labeled
from aejax.metrics.probe import linear_probe
from aejax.models.principal_components import principal_components

PARTS = ("train", "valid", "score")


def usefulness(experiment, params, data, kept):
    """{"codes" | "pixels" | "pca": {"accuracy", "seconds" to fit, "bytes" an example}} of one run.

    PCA has as many units as the code of the run. Probes are fitted on the training examples, their penalty is chosen on
    validation examples; seconds are those of a second fit, without compiling. `kept` holds what runs on the same data
    share, by Form and what it is of.
    """
    form, units = experiment.form, int(experiment.latent_dim)
    result = {"codes": _probed(_labeled(experiment, params, data, True), form.classes, 4 * units)}
    if (form, "pixels") not in kept:
        kept[form, "pixels"] = _labeled(experiment, params, data, False)
        octets = form.pixels * (4 if form.kind == "real" else 1)
        kept[form, "of pixels"] = _probed(kept[form, "pixels"], form.classes, octets)
    if (form, units) not in kept:
        mean_P, components_KxP = map(np.asarray, principal_components(data.train, form, min(units, *data.train.shape)))
        projected = {name: ((x - mean_P) @ components_KxP.T, y) for name, (x, y) in kept[form, "pixels"].items()}
        kept[form, units] = _probed(projected, form.classes, 4 * units)
    return result | {"pixels": kept[form, "of pixels"], "pca": kept[form, units]}


def _labeled(experiment, params, data, encoded):
    def parts(experiment, params, data):
        known = labeled(experiment, params, data, encoded)
        return {name: known[name] for name in PARTS}

    with products("float32"):
        return jax.device_get(jax.jit(parts)(experiment, params, data))


def _probed(parts, classes, octets):
    parts = jax.device_put([parts[name] for name in PARTS])
    for _ in range(2):  # the first compiles
        begin = time.perf_counter()
        with products("float32"):
            accuracy = float(linear_probe(*parts, classes)[0])
        seconds = time.perf_counter() - begin
    return {"accuracy": float(str(np.float32(accuracy))), "seconds": round(seconds, 3), "bytes": octets}
