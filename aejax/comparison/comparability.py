"""Which numbers of two runs may be compared: those that measure the same thing on the same data.

A run has aspects; a metric depends on some of them, and values that differ in one of these are never compared.
"""

import fnmatch
import functools
import json

FAMILIES = {"bernoulli": "bernoulli", "gaussian": "gaussian", "linear": "gaussian", "learned": "gaussian"}
SIZED = (  # what docs/evaluation.md calls not comparable across code sizes
    "separation/silhouette", "separation/davies_bouldin", "separation/calinski_harabasz", "separation/fisher_ratio",
    "code/active_units", "code/dead_units", "code/effective_dim", "generation/prior_mmd2",
)  # fmt: skip
DENSITIES = ("elbo", "nll", "likelihood/*")
LABELED = ("separation/*", "usefulness/*", "robust/*/knn_accuracy", "baseline/untrained_*")
DEPENDENTS = {  # {aspect: the metrics that depend on it}; an aspect that is not here decides all of them
    "data": ("*", "!valid/*"),
    "training and validation data": ("valid/*",),
    "likelihood": DENSITIES,  # masses of binary pixels, densities of real ones, and Bernoulli's score of gray ones
    "examples beside samples": (
        "generation/*",
    ),  # a Bernoulli's samples are 0 and 1, and so are draws of gray examples
    "noise": ("restore/*",),  # the run's own
    "latent_dim": SIZED,
    "protocol.groups": (),
    "protocol.noise": (),
    "protocol.nll_samples": ("nll", "likelihood/bits_per_dim"),
    "protocol.restored_examples": ("restore/*", "robust/*"),
    "protocol.separation_copies": LABELED,
    "protocol.separation_flip": LABELED,
    "protocol.separation_std": LABELED,
    "protocol.knn_neighbors": ("separation/knn*", "baseline/untrained_*"),
    "protocol.silhouette_examples": SIZED[:4],
    "protocol.kmeans_starts": ("separation/nmi", "separation/ari", "separation/cluster_accuracy"),
    "protocol.trustworthiness_neighbors": ("separation/trustworthiness", "separation/continuity"),
    "protocol.trustworthiness_examples": ("separation/trustworthiness", "separation/continuity"),
    "protocol.elbo_samples": ("elbo", "likelihood/rate", "likelihood/distortion", "anomaly/elbo_*"),
    "protocol.generated_samples": ("generation/*",),
    "protocol.samples_compared": ("generation/*",),
    "protocol.labels_of_a_class": ("usefulness/*",),
    "protocol.label_draws": ("usefulness/*",),
    "protocol.manifold_neighbors": ("generation/*",),
    "protocol.manifold_pca_units": ("generation/pca_*",),
    "protocol.two_sample_examples": ("generation/prior_*",),
    "protocol.two_sample_permutations": ("generation/prior_p",),
    "protocol.density_examples": ("generation/*",),
    "protocol.interpolations": ("interpolation/*",),
    "protocol.anomaly_quantile": ("anomaly/*",),
    "protocol.anomaly_neighbors": ("anomaly/code_*",),
    "protocol.robust_levels": ("robust/*",),
}


def aspects(entry):
    """What decides which numbers of a run may be compared with others': ((name, text), …)."""
    data, settings = entry.data, entry.settings
    told = " ".join(
        [str(data.get("name") or entry.choices.get("data")),
         *(f"{key.removeprefix('data.')}={settings[key]}" for key in ("data.classes", "data.normal", "data.binarize")
           if settings.get(key) not in (None, "none"))]
    )  # fmt: skip
    whole = data.get("fingerprint")
    test = data.get("test_fingerprint") or whole
    noise = sorted(
        (name.removeprefix("noise."), value) for name, value in settings.items() if name.startswith("noise.")
    )
    levels = [f"{name}={value}" for name, value in noise if not name.startswith("_")]
    is_drawn = likelihood(entry).startswith("bernoulli") and data.get("kind") in ("gray", "rgb")
    found = {
        "data": f"{told} ({test})" if test else told,
        "training and validation data": f"{told} ({whole})" if whole else told,
        "likelihood": likelihood(entry),
        "examples beside samples": "draws" if is_drawn else "as they are",
        "noise": " ".join([str(entry.choices.get("noise")), *levels]),
        "latent_dim": str(settings.get("latent_dim")),
    }
    found |= {f"protocol.{name}": json.dumps(value, sort_keys=True) for name, value in entry.protocol.items()}
    return tuple(sorted(found.items()))


def likelihood(entry):
    """The family of the distribution of pixels that a run's densities are of, with the kind of data that it is for."""
    kind, choice = entry.data.get("kind"), entry.likelihood or entry.choices.get("likelihood")
    if choice == "auto" and kind:
        choice = "bernoulli" if kind == "binary" else "gaussian"
    family = FAMILIES.get(choice, str(choice))
    return f"{family} of {kind} data" if kind else family


@functools.lru_cache(4096)
def _depends(metric, aspect):
    patterns = DEPENDENTS.get(aspect, ("*",))
    named = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return any(fnmatch.fnmatchcase(metric, pattern) for pattern in patterns) and not any(
        fnmatch.fnmatchcase(metric, pattern) for pattern in named
    )


@functools.lru_cache(4096)
def problem(aspects, metric):
    """What a metric of a run with these aspects measures; values may be compared where this is equal."""
    return tuple(pair for pair in aspects if _depends(metric, pair[0]))


def difference(problems):
    """Why values of these problems are not comparable, in words; None where they are."""
    problems = list(map(dict, problems))
    parts = []
    for name in dict.fromkeys(name for each in problems for name in each):
        values = list(dict.fromkeys(each.get(name, "not recorded") for each in problems))
        if len(values) > 1:
            parts.append(f"{name}: {' against '.join(_short(value) for value in values[:3])}")
    return "different " + "; ".join(parts) if parts else None


def _short(text):
    return text if len(text) <= 60 else f"{text[:57]}..."
