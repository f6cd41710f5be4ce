"""What the record says beyond the metrics: why one is null, details of examples and classes, remarks. Host code."""

import dataclasses
import functools
from typing import Any

import numpy as np

from aejax.evaluation.likelihood import stored_levels
from aejax.metrics.code import COLLAPSED_SHARE
from aejax.metrics.lookup import metric
from aejax.metrics.separation import confused_pairs
from aejax.metrics.table import METRICS
from aejax.models.noise import Clean

PAIRS = 10  # of classes: the most confused ones
BINS = 30  # of the histogram of anomaly scores
MISTAKEN = 14  # false alarms that are listed, and as many misses
UNDEFINED = "it is not defined for these examples and codes"


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What decides whether a metric is null: the experiment, the data, the metrics and the codes z [N, Z]."""

    experiment: Any
    dataset: Any
    metrics: dict
    z_NxZ: np.ndarray


# The conditions that aejax.metrics.table names under `needs`. Each returns why it does not hold, or None if it does.


def _two_classes(split, word):
    """The condition that a split has examples of more than one class."""

    def reason(evidence):
        labels = getattr(evidence.dataset, split).y if evidence.dataset.label_names else ()
        return f"the {word} examples are of one class" if len(np.unique(labels)) == 1 else None

    return reason


def _one_code(evidence):
    return "the codes are all the same" if (evidence.z_NxZ == evidence.z_NxZ[:1]).all() else None


def _stored(evidence):
    experiment = evidence.experiment
    if stored_levels(experiment) is not None:
        return None
    kind = "density" if experiment.likelihood.is_density else "Bernoulli likelihood"
    return f"a {kind} does not say how probable {experiment.form.kind} values are"


def _hidden(evidence):
    is_near = np.isfinite(evidence.metrics.get("generation/nearest_train", np.nan))
    return "the likelihood's variance hides even exact copies" if is_near else None


VOIDING = {  # without these, a computed metric means nothing, whatever its value
    "two training classes": _two_classes("train", "training"),
    "two test classes": _two_classes("test", "test"),
    "finite codes": lambda evidence: None if np.isfinite(evidence.z_NxZ).all() else "the codes are not finite",
    "codes that differ": _one_code,
}


def _no_prior(model):
    """Why the ELBO is not defined, None if it is."""
    if model.bottleneck.has_posterior:
        return None
    return "the model has no posterior" if model.has_prior else "the model has no prior"


BEFOREHAND = {  # decided by data and model before anything is measured; the metric is recorded as null
    "labels": lambda evidence: None if evidence.dataset.label_names else "the data have no labels",
    "a peak": lambda evidence: (
        "the data are real numbers, which have no peak" if evidence.experiment.form.kind == "real" else None
    ),
    "a prior": lambda evidence: _no_prior(evidence.experiment.model),
    "a codebook": lambda evidence: (
        None if evidence.experiment.model.bottleneck.entries else "the model has no codebook"
    ),
    "samples of the prior": lambda evidence: (
        None if evidence.experiment.sampler.is_prior else "samples are not the prior's"
    ),
    "probabilities of stored values": _stored,
    "training examples": lambda evidence, least: (
        f"there are fewer than {least} training examples" if len(evidence.dataset.train.x) < least else None
    ),
    "labels a class": lambda evidence, least: f"a class has fewer than {least} labels",
}
AFTERWARDS = {  # why a computed metric is not a number
    "validation examples": lambda evidence: (
        "there are no validation examples" if evidence.dataset.valid is None else None
    ),
    "visible copies": _hidden,
    "finite samples": lambda evidence: "the samples are not finite",
}


def absent(experiment, dataset, metrics, z_NxZ):
    """{name: reason} of the requested metrics that are null; z_NxZ are the test codes [N, Z]."""
    reasons, evidence = {}, Evidence(experiment, dataset, metrics, z_NxZ)
    unmet = functools.cache(functools.partial(_unmet, evidence))  # each condition is checked once for all metrics
    for name in dict.fromkeys([*expected_metrics(experiment), *metrics]):
        reason = _reason(VOIDING, name, unmet) if name in metrics else None
        if reason is None and (name not in metrics or not np.isfinite(metrics[name])):
            infinite = "it is infinite" if name in metrics and np.isinf(metrics[name]) else None
            reason = _reason(BEFOREHAND, name, unmet) or infinite or _reason(AFTERWARDS, name, unmet) or UNDEFINED
        if reason is not None:
            reasons[name] = reason
    return reasons


def expected_metrics(experiment):
    """The metrics that the requested groups record for all data and models, as null where they do not apply."""
    groups = set(experiment.evaluate.groups) - ({"restoration"} if isinstance(experiment.noise, Clean) else set())
    return [
        row.name for row in METRICS if row.group in groups and any(parted(need)[0] in BEFOREHAND for need in row.needs)
    ]


def _reason(conditions, name, unmet):
    """Why the first unmet one of these conditions that a metric needs does not hold; None if all hold."""
    row = metric(name)
    needs = [need for need in (row.needs if row else ()) if parted(need)[0] in conditions]
    return next((reason for need in needs if (reason := unmet(need)) is not None), None)


def _unmet(evidence, need):
    """Why a condition does not hold; None if it does."""
    kind, number = parted(need)
    return (VOIDING | BEFOREHAND | AFTERWARDS)[kind](evidence, *number)


def parted(need):
    """`15 training examples` as ("training examples", [15]); a condition without a number as (it, [])."""
    first, _, rest = need.partition(" ")
    return (rest, [int(first)]) if first.isdigit() else (need, [])


def recorded_details(details, dataset):
    """The details of an evaluation as run.json holds them: plain lists, mappings and numbers."""
    names, record = dataset.label_names, {}
    if "worst_index" in details:
        record["worst"] = {"index": details["worst_index"].tolist(), "sse": _rounded(details["worst_sse"])}
    if "class_sse" in details:
        record["class_sse"] = dict(zip(names, _rounded(details["class_sse"]), strict=True))
    if "confusion" in details and len(names) > 1:
        pairs, share = (np.asarray(array)[:PAIRS] for array in confused_pairs(details["confusion"]))
        mixed = [(f"{names[i]}~{names[j]}", part) for (i, j), part in zip(pairs, _rounded(share), strict=True) if part]
        record["confused"] = dict(mixed)
    for name in ("unit_variance", "unit_kl", "level_kl"):
        if name in details:
            record[name] = _rounded(details[name])
    if "anomaly_score" in details:
        normal_N = np.isin(dataset.test.y, dataset.normal)
        record["anomaly"] = {
            name.rstrip("_") or "error": _histogram(score_N, normal_N)
            | _mistaken(score_N, normal_N)
            | {"threshold": _rounded([details["anomaly_threshold"][name]])[0]}
            for name, score_N in details["anomaly_score"].items()
        }
    return record


def remarks(experiment, metrics):
    """A line for each problem with the use of the code, with its usual remedies."""
    dead, units = metrics.get("code/dead_units") or 0, int(experiment.latent_dim)
    has_posterior = experiment.model.bottleneck.has_posterior
    if has_posterior and metrics.get("code/collapsed") == 0 and metrics.get("recon/r2", 1) < COLLAPSED_SHARE:
        return [
            f"the decoder does not use the code: it carries {metrics['code/kl']:.2g} nats, but reconstructions explain "
            "less than 1 % of the variance; usual remedies: more steps, another optim.lr"
        ]
    if metrics.get("code/collapsed"):
        if has_posterior:
            return [
                f"posterior collapse: the code carries {metrics['code/kl']:.2g} nats; usual remedies: a smaller weight "
                "of the KL (model.beta), its annealing (model.anneal), free bits (model.free_bits), a weaker decoder"
            ]
        return [
            "the code is not used: reconstructions explain less than 1 % of the variance; usual remedies: another "
            "optim.lr, more steps, pretrain=greedy or net.norm for a deep net, a smaller weight of penalties"
        ]
    if not dead:
        return []
    problem = f"{dead} of {units} code units are {'not used' if has_posterior else 'dead'}; "
    if has_posterior:
        return [problem + "usual remedies, where they are wanted: model.free_bits, model.anneal, a smaller model.beta"]
    return [
        problem + "usual remedies: a smaller optim.lr, a smaller weight of penalties, for top-k a larger model.boost"
    ]


def _histogram(score_N, normal_N):
    finite = score_N[np.isfinite(score_N)]
    edges = np.histogram_bin_edges(finite, BINS)
    counts = {name: np.histogram(score_N[kind], edges)[0].tolist() for name, kind in _kinds(normal_N)}
    return {"edges": _rounded(edges), **counts}


def _mistaken(score_N, normal_N):
    """Indices and scores of the normal test examples with the highest scores and the anomalies with the lowest."""
    mistakes = {}
    for name, kind_N, sign in (("false_alarms", normal_N, -1), ("misses", ~normal_N, 1)):
        kind = np.flatnonzero(kind_N)
        worst = kind[np.argsort(sign * score_N[kind], kind="stable")[:MISTAKEN]]
        mistakes |= {f"worst_{name}": worst.tolist(), f"worst_{name}_score": _rounded(score_N[worst])}
    return mistakes


def _kinds(normal_N):
    return ("normal", normal_N), ("anomalous", ~normal_N)


def _rounded(values):
    """Floats as the shortest decimals that give the same float32; None where they are not finite."""
    values = np.asarray(values, np.float32)
    return [float(str(value)) if np.isfinite(value) else None for value in values]
