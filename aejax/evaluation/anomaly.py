"""Anomaly detection by a model that was trained on normal examples only."""

import jax.numpy as jnp

from aejax.evaluation.encoding import codes_of_stored, encode_decode
from aejax.evaluation.likelihood import bound_of_each
from aejax.evaluation.protocol import ANOMALY_NEIGHBORS, ANOMALY_QUANTILE
from aejax.metrics import detection
from aejax.metrics.neighbors import nearest
from aejax.metrics.reconstruction import squared_error


def anomalies(experiment, params, data, clean_NxP, z_NxZ, squared_N):
    """How well three scores tell test examples of other labels from normal ones.

    Returns metrics {name: scalar}, the scores {name: [N]} and the thresholds {name: scalar}.

    The scores are the squared error of reconstruction; -ELBO, where there is one (`elbo_`); and the mean distance to
    the nearest normal training codes (`code_`). The threshold of F1 is a quantile of the scores of normal validation
    examples, nan without these. Comparable across code sizes.
    """
    positive_N = ~jnp.isin(data.y_test, jnp.array(experiment.form.normal))
    fit_MxZ = codes_of_stored(experiment, params, data.train, data.y_train)
    neighbors = min(ANOMALY_NEIGHBORS, fit_MxZ.shape[0])

    def distance(z):
        return jnp.mean(jnp.sqrt(nearest(fit_MxZ, z, neighbors)[0]), axis=1)

    def scores(x, y, z, squared):
        by_name = {"": squared, "code_": distance(z)}
        if experiment.model.bottleneck.has_posterior:
            by_name["elbo_"] = -bound_of_each(experiment, params, x, y)
        return by_name

    tested = scores(clean_NxP, data.y_test, z_NxZ, squared_N)
    thresholds = dict.fromkeys(tested, jnp.array(jnp.nan))
    if data.valid is not None:
        valid_NxP = experiment.form.scaled(data.valid)
        valid = encode_decode(experiment, params, valid_NxP, data.y_valid)
        normal = scores(valid_NxP, data.y_valid, valid["mean"], squared_error(valid_NxP, valid["predicted"]))
        thresholds = {name: jnp.quantile(score, ANOMALY_QUANTILE) for name, score in normal.items()}
    metrics = {}
    for name, score_N in tested.items():
        tpr, fpr = detection.rates_at(thresholds[name], score_N, positive_N)
        known = jnp.isfinite(thresholds[name])
        metrics |= {
            f"{name}auroc": detection.auroc(score_N, positive_N),
            f"{name}average_precision": detection.average_precision(score_N, positive_N),
            f"{name}f1": jnp.where(known, detection.f1_at(thresholds[name], score_N, positive_N), jnp.nan),
            f"{name}tpr": jnp.where(known, tpr, jnp.nan),
            f"{name}fpr": jnp.where(known, fpr, jnp.nan),
        }
    return metrics, tested, thresholds
