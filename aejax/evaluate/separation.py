"""Separation of the labels by the codes; `known` is what passes.labelled gives."""

import jax
import jax.numpy as jnp

from aejax.evaluate.passes import spread
from aejax.evaluate.protocol import LABELS, NEIGHBOURS, SCORED, SEED, STARTS, TRUSTED, TRUSTED_EXAMPLES
from aejax.keys import Purpose, key_for
from aejax.metrics import clusters, separation
from aejax.metrics.neighbours import nearest, trustworthiness, vote
from aejax.metrics.probe import linear_probe

GEOMETRY = ("silhouette", "davies_bouldin", "calinski_harabasz", "fisher_ratio")
NAMES = {  # of the metrics that need labels, by group
    "separation": ("knn_accuracy", "knn1_accuracy", "knn15_accuracy", *GEOMETRY),
    "probe": ("probe_accuracy",),
    "clusters": ("nmi", "ari", "cluster_accuracy"),
}
MAIN = 5  # neighbours of knn_accuracy


def separations(experiment, known):
    """kNN accuracy and the geometry of the classes, {name: scalar}, and how often k=5 takes class i for j, [C, C].

    nan where there are fewer codes to fit on than neighbours.
    """
    classes, (fit_MxZ, y_M), (z_NxZ, y_N) = experiment.form.classes, known["fit"], known["score"]
    most = min(max(NEIGHBOURS), fit_MxZ.shape[0])
    label_NxK = y_M[nearest(fit_MxZ, z_NxZ, most)[1]]
    metrics = {}
    for neighbours in NEIGHBOURS:
        name = "knn_accuracy" if neighbours == MAIN else f"knn{neighbours}_accuracy"
        right = jnp.mean(vote(label_NxK[:, :neighbours], classes) == y_N)
        metrics[name] = right if neighbours <= most else jnp.array(jnp.nan)
    confusion_CxC = separation.confusion(vote(label_NxK[:, :MAIN], classes), y_N, classes)
    few = (z_NxZ, y_N) if known["alone"] else (spread(z_NxZ, SCORED), spread(y_N, SCORED))
    for name in GEOMETRY:
        metrics[name] = getattr(separation, name)(*few, classes)
    return metrics, confusion_CxC


def probed(experiment, known):
    """The accuracy of a linear probe, {name: scalar}."""
    return {"probe_accuracy": linear_probe(known["fit"], known["valid"], known["score"], experiment.form.classes)[0]}


def clustering(experiment, known):
    """How far k-means with as many clusters as classes finds the classes among the scored codes, {name: scalar}."""
    classes, (z_NxZ, y_N) = experiment.form.classes, known["score"]
    cluster_N, _ = clusters.k_means(key_for(SEED, Purpose.CLUSTERS), z_NxZ, classes, STARTS)
    counts_CxC = clusters.contingency(y_N, cluster_N, classes, classes)
    return {
        "nmi": clusters.nmi(counts_CxC),
        "ari": clusters.ari(counts_CxC),
        "cluster_accuracy": clusters.accuracy(counts_CxC),
    }


def neighbourhood(x_NxP, z_NxZ):
    """Whether neighbours in the code are neighbours in pixels, and the other way round, {name: scalar}."""
    x_NxP, z_NxZ = spread(x_NxP, TRUSTED_EXAMPLES), spread(z_NxZ, TRUSTED_EXAMPLES)
    if x_NxP.shape[0] < 2 * TRUSTED:
        return {"trustworthiness": jnp.array(jnp.nan), "continuity": jnp.array(jnp.nan)}
    return {
        "trustworthiness": trustworthiness(x_NxP, z_NxZ, TRUSTED),
        "continuity": trustworthiness(z_NxZ, x_NxP, TRUSTED),
    }


def label_efficiency(experiment, known):
    """The accuracy of a linear probe that is fitted on so many labels a class, the first there are, {name: scalar}.

    nan where a class has fewer.
    """
    classes, (fit_MxZ, y_M) = experiment.form.classes, known["fit"]
    member_MxC = jax.nn.one_hot(y_M, classes, dtype=jnp.int32)
    place_M = jnp.take_along_axis(jnp.cumsum(member_MxC, axis=0), y_M[:, None], axis=1)[:, 0]
    fewest = jnp.min(jnp.sum(member_MxC, axis=0))
    order_M = jnp.argsort(place_M, stable=True)  # the first of each class, then the second of each
    metrics = {}
    for labels in LABELS:
        name = f"probe_accuracy_{labels}_labels"
        if labels * classes > fit_MxZ.shape[0]:
            metrics[name] = jnp.array(jnp.nan)
            continue
        few = order_M[: labels * classes]
        accuracy = linear_probe((fit_MxZ[few], y_M[few]), known["valid"], known["score"], classes)[0]
        metrics[name] = jnp.where(fewest >= labels, accuracy, jnp.nan)
    return metrics
