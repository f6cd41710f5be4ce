"""What the record says beside the numbers: why a metric is null, and what one number cannot say. Host code."""

import numpy as np

from aejax.evaluation.likelihood import stored_levels
from aejax.evaluation.protocol import LABELS, NEIGHBORS
from aejax.evaluation.separation import MAIN, NAMES, UNTRAINED
from aejax.metrics.code import COLLAPSED_SHARE
from aejax.metrics.separation import confused_pairs
from aejax.models.noise import Clean

PAIRS = 10  # of classes, the most confused
BINS = 30  # of the histogram of anomaly scores
MISTAKEN = 14  # false alarms that are listed, and misses
FITTED = {"knn_accuracy": MAIN} | {f"knn{k}_accuracy": k for k in NEIGHBORS if k != MAIN}


def absent(experiment, dataset, metrics, z_NxZ):
    """Why metrics that were asked for are null: {name: reason}; those that are a number are not in it."""
    reasons = {}
    for name in _asked(experiment):
        if name not in metrics or not np.isfinite(metrics[name]):
            reasons[name] = _reason(name, experiment, dataset)
    of_codes = [name for name in metrics if name.startswith(("code/", "separation/", "usefulness/"))]
    if not np.isfinite(z_NxZ).all():
        reasons |= dict.fromkeys(of_codes, "the codes are not finite")
    elif (z_NxZ == z_NxZ[:1]).all():
        separating = [name for name in of_codes if not name.startswith("code/")]
        reasons |= dict.fromkeys(separating, "the codes are all the same")
    one = _one_class(dataset)
    of_labels = [name for name in metrics if name.startswith(("separation/", "baseline/untrained_", "usefulness/"))]
    reasons |= {name: one[_split_of(name)] for name in of_labels if _split_of(name) in one}
    for name, value in metrics.items():
        if not np.isfinite(value) and not reasons.get(name):
            of_samples = name.startswith("generation/") and "/prior_" not in name
            undefined = "the samples are not finite" if of_samples else "it is not defined for these examples and codes"
            if name == "generation/copies" and np.isfinite(metrics["generation/nearest_train"]):
                undefined = "the likelihood's variance hides even exact copies"
            reasons[name] = "it is infinite" if np.isinf(value) else undefined
    return reasons


def told(details, dataset):
    """The details of an evaluation as a record holds them, plain lists and numbers."""
    names, found = dataset.label_names, {}
    if "worst_index" in details:
        found["worst"] = {"index": details["worst_index"].tolist(), "sse": _rounded(details["worst_sse"])}
    if "class_sse" in details:
        found["class_sse"] = dict(zip(names, _rounded(details["class_sse"]), strict=True))
    if "confusion" in details and len(names) > 1:
        pairs, share = (np.asarray(each)[:PAIRS] for each in confused_pairs(details["confusion"]))
        mixed = [(f"{names[i]}~{names[j]}", part) for (i, j), part in zip(pairs, _rounded(share), strict=True) if part]
        found["confused"] = dict(mixed)
    for name in ("unit_variance", "unit_kl"):
        if name in details:
            found[name] = _rounded(details[name])
    if "anomaly_score" in details:
        normal_N = np.isin(dataset.test.y, dataset.normal)
        found["anomaly"] = {
            name.rstrip("_") or "error": _histogram(score_N, normal_N)
            | _mistaken(score_N, normal_N)
            | {"threshold": _rounded([details["anomaly_threshold"][name]])[0]}
            for name, score_N in details["anomaly_score"].items()
        }
    return found


def remarks(experiment, metrics):
    """What is wrong with the use of the code, and the usual remedy, a line each."""
    dead, units = metrics.get("code/dead_units") or 0, int(experiment.latent_dim)
    has_prior = experiment.model.bottleneck.has_prior
    if has_prior and metrics.get("code/collapsed") == 0 and metrics.get("recon/r2", 1) < COLLAPSED_SHARE:
        return [
            f"the decoder does not use the code: it carries {metrics['code/kl']:.2g} nats, but reconstructions explain "
            "less than 1 % of the variance; usual remedies: more steps, another optim.lr"
        ]
    if metrics.get("code/collapsed"):
        if has_prior:
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
    told = f"{dead} of {units} code units are {'not used' if has_prior else 'dead'}; "
    if has_prior:
        return [told + "usual remedies, where they are wanted: model.free_bits, model.anneal, a smaller model.beta"]
    return [told + "usual remedies: a smaller optim.lr, a smaller weight of penalties, for top-k a larger model.boost"]


def _asked(experiment):
    """The names that the groups asked for would give whatever the data and the model are."""
    groups = experiment.evaluate.groups
    names = [f"separation/{name}" for group in NAMES if group in groups for name in NAMES[group]]
    if "reconstruction" in groups:
        names.append("recon/psnr")
    if "restoration" in groups and not isinstance(experiment.noise, Clean):
        names.append("restore/psnr")
    if "separation" in groups:
        names += [f"baseline/untrained_{name}" for name in UNTRAINED]
    if "usefulness" in groups:
        of_mean = [f"usefulness/probe_accuracy_{labels}_labels" for labels in LABELS]
        names += [*of_mean, *(f"{name}_half_interval" for name in of_mean)]
    if "elbo" in groups:
        names += ["elbo", "likelihood/rate", "likelihood/distortion"]
    if "nll" in groups:
        names += ["nll", "likelihood/bits_per_dim"]
    if "generation" in groups:
        names += ["generation/prior_mmd2", "generation/prior_p"]
    return names


def _reason(name, experiment, dataset):
    """Why a metric is missing for what the data or the model are, None where it is not for that."""
    if name.endswith("/psnr"):
        return "the data are real numbers, which have no peak" if experiment.form.kind == "real" else None
    if name.startswith(("elbo", "nll", "likelihood/", "generation/")):
        if not experiment.model.bottleneck.has_prior:
            return "the model has no prior"
        if name == "likelihood/bits_per_dim" and stored_levels(experiment) is None:
            kind = "density" if experiment.likelihood.is_density else "Bernoulli likelihood"
            return f"a {kind} does not say how probable {experiment.form.kind} values are"
        if name.startswith("generation/") and not experiment.sampler.is_prior:
            return "samples are not the prior's"
        return None
    if not dataset.label_names:
        return "the data have no labels"
    least = FITTED.get(_measured(name))
    if least and len(dataset.train.x) < least:
        return f"there are fewer than {least} training examples"
    if not name.startswith("usefulness/"):
        return None
    return f"a class has fewer than {name.removesuffix('_half_interval').split('_')[-2]} labels"


def _one_class(dataset):
    """The splits whose examples are of one class only, and what is said of it."""
    splits = {"train": "training", "test": "test"}
    return {
        name: f"the {word} examples are of one class"
        for name, word in splits.items()
        if dataset.label_names and len(np.unique(getattr(dataset, name).y)) == 1
    }


def _split_of(name):
    """The split whose classes a metric depends on."""
    name = _measured(name)
    if name in FITTED or name.startswith("probe_accuracy"):
        return "train"
    return "test" if name in (*NAMES["separation"], *NAMES["clusters"]) else None


def _measured(name):
    """What a metric measures, whether of a trained net or of one that is not."""
    return name.split("/")[-1].removeprefix("untrained_")


def _histogram(score_N, normal_N):
    finite = score_N[np.isfinite(score_N)]
    edges = np.histogram_bin_edges(finite, BINS)
    counts = {name: np.histogram(score_N[kind], edges)[0].tolist() for name, kind in _kinds(normal_N)}
    return {"edges": _rounded(edges), **counts}


def _mistaken(score_N, normal_N):
    """Normal test examples with the highest scores and anomalies with the lowest: their indices and scores."""
    found = {}
    for name, kind_N, sign in (("false_alarms", normal_N, -1), ("misses", ~normal_N, 1)):
        kind = np.flatnonzero(kind_N)
        worst = kind[np.argsort(sign * score_N[kind], kind="stable")[:MISTAKEN]]
        found |= {f"worst_{name}": worst.tolist(), f"worst_{name}_score": _rounded(score_N[worst])}
    return found


def _kinds(normal_N):
    return ("normal", normal_N), ("anomalous", ~normal_N)


def _rounded(values):
    """Floats as the shortest numbers that are the same float32, None where they are not finite."""
    values = np.asarray(values, np.float32)
    return [float(str(value)) if np.isfinite(value) else None for value in values]
