"""How well the codes separate the labels; `known` is the result of encoding.labeled."""

import math

import jax
import jax.numpy as jnp

from aejax.base.chunks import mapped
from aejax.base.keys import Purpose, key_for
from aejax.evaluation.encoding import picked, places
from aejax.evaluation.protocol import LABEL_DRAWS, LABELS, NEIGHBORS, SCORED, SEED, STARTS, TRUSTED, TRUSTED_EXAMPLES
from aejax.metrics import clusters, separation, table
from aejax.metrics.neighbors import nearest, trustworthiness, vote
from aejax.metrics.probe import linear_probe

GEOMETRY = ("silhouette", "davies_bouldin", "calinski_harabasz", "fisher_ratio")
MAIN = 5  # neighbors of knn_accuracy
UNTRAINED = tuple(row.name.removeprefix("baseline/untrained_") for row in table.UNTRAINED)


def inferred(experiment, params, x_NxP, y_N):
    """The accuracy of the model's own classifier, {name: scalar}; empty where it has none."""
    if experiment.model.classifier is None:
        return {}
    log_NxC = mapped(lambda x_BxP, _: experiment.model.log_class(experiment, params, x_BxP), x_NxP)
    return {"accuracy": jnp.mean(jnp.argmax(log_NxC, axis=1) == y_N)}


def separations(experiment, known):
    """kNN accuracies and geometry of the classes, {name: scalar}, and the confusion matrix of k=5, [C, C].

    An accuracy is nan if there are fewer codes to fit on than neighbors.
    """
    classes, (fit_MxZ, y_M), (z_NxZ, y_N) = experiment.form.classes, known["train"], known["score"]
    most = min(max(NEIGHBORS), fit_MxZ.shape[0])
    label_NxK = y_M[nearest(fit_MxZ, z_NxZ, most)[1]]
    metrics = {}
    for neighbors in NEIGHBORS:
        name = "knn_accuracy" if neighbors == MAIN else f"knn{neighbors}_accuracy"
        right = jnp.mean(vote(label_NxK[:, :neighbors], classes) == y_N)
        metrics[name] = right if neighbors <= most else jnp.array(jnp.nan)
    confusion_CxC = separation.confusion(vote(label_NxK[:, :MAIN], classes), y_N, classes)
    few = (z_NxZ, y_N) if known["alone"] else (picked(z_NxZ, SCORED), picked(y_N, SCORED))
    for name in GEOMETRY:
        metrics[name] = getattr(separation, name)(*few, classes)
    return metrics, confusion_CxC


def baseline(experiment, known):
    """The `separations` of an untrained net, {name: scalar}; `known` holds its codes."""
    scores, _ = separations(experiment, known)
    return {f"untrained_{name}": scores[name] for name in UNTRAINED}


def probed(experiment, known):
    """The accuracy of a linear probe, {name: scalar}."""
    return {"probe_accuracy": linear_probe(known["train"], known["valid"], known["score"], experiment.form.classes)[0]}


def clustering(experiment, known):
    """How well k-means of the scored codes, with as many clusters as classes, finds the classes, {name: scalar}."""
    classes, (z_NxZ, y_N) = experiment.form.classes, known["score"]
    cluster_N, _ = clusters.k_means(key_for(SEED, Purpose.CLUSTERS), z_NxZ, classes, STARTS)
    counts_CxC = clusters.contingency(y_N, cluster_N, classes, classes)
    return {
        "nmi": clusters.nmi(counts_CxC),
        "ari": clusters.ari(counts_CxC),
        "cluster_accuracy": clusters.accuracy(counts_CxC),
    }


def neighborhood(x_NxP, z_NxZ):
    """Whether neighbors in the code are neighbors in pixels, and vice versa, {name: scalar}; nan if too few."""
    x_NxP, z_NxZ = picked(x_NxP, TRUSTED_EXAMPLES), picked(z_NxZ, TRUSTED_EXAMPLES)
    if x_NxP.shape[0] < 2 * TRUSTED:
        return {"trustworthiness": jnp.array(jnp.nan), "continuity": jnp.array(jnp.nan)}
    return {
        "trustworthiness": trustworthiness(x_NxP, z_NxZ, TRUSTED),
        "continuity": trustworthiness(z_NxZ, x_NxP, TRUSTED),
    }


def label_efficiency(experiment, known):
    """The accuracy of a linear probe fitted on few labels per class, {name: scalar}, for each number in LABELS.

    The mean over LABEL_DRAWS draws of the labels, and half the width of Student's 95 % interval of that mean. The
    penalty is chosen on at most as many validation labels. nan if a class has fewer labels.
    """
    from scipy import special  # takes an eighth of a second to import, which here passes beside a training

    classes, (fit_MxZ, y_M), (valid_VxZ, y_V) = experiment.form.classes, known["train"], known["valid"]
    orders = [(_in_turn(y_M, classes, draw), _in_turn(y_V, classes, draw)) for draw in range(LABEL_DRAWS)]
    order_DxM, order_DxV = (jnp.stack(part) for part in zip(*orders, strict=True))
    fewest = jnp.min(jnp.sum(jax.nn.one_hot(y_M, classes), axis=0))
    metrics = {}
    for labels in LABELS:
        name, few = f"probe_accuracy_{labels}_labels", labels * classes

        def accuracy(order, few=few):
            fit, valid = order[0][:few], order[1][:few]
            return linear_probe((fit_MxZ[fit], y_M[fit]), (valid_VxZ[valid], y_V[valid]), known["score"], classes)[0]

        enough = few <= fit_MxZ.shape[0]
        accuracy_D = jax.lax.map(accuracy, (order_DxM, order_DxV)) if enough else jnp.full(LABEL_DRAWS, jnp.nan)
        accuracy_D = jnp.where(fewest >= labels, accuracy_D, jnp.nan)
        error = jnp.std(accuracy_D, ddof=1) / math.sqrt(LABEL_DRAWS)
        metrics[name] = jnp.mean(accuracy_D)
        metrics[f"{name}_half_interval"] = float(special.stdtrit(LABEL_DRAWS - 1, 0.975)) * error
    return metrics


def _in_turn(y_N, classes, draw):
    """All rows in an order that takes one of each class in turn; `draw` decides the order within a class."""
    return jnp.argsort(places(y_N, classes, draw)[0], stable=True)
