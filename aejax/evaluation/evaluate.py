"""One protocol for every model: posterior mean, clean input, test split, pixels in [0, 1], the same draws.

docs/evaluation.md says what each metric is, and which may be compared across code sizes.
"""

import functools

import jax.numpy as jnp

from aejax.evaluation.anomaly import anomalies
from aejax.evaluation.disentanglement import disentanglement
from aejax.evaluation.encoding import encode_decode, labeled, noisy_copies, reconstructed, untrained
from aejax.evaluation.generation import generation, interpolations
from aejax.evaluation.likelihood import bounds, importance_weighted, kl_of_each, rate_of_each
from aejax.evaluation.protocol import WORST
from aejax.evaluation.robustness import robustness
from aejax.evaluation.separation import (
    baseline,
    clustering,
    inferred,
    label_efficiency,
    neighborhood,
    probed,
    separations,
)
from aejax.metrics import code
from aejax.metrics.reconstruction import error_by_class, r2, reconstruction, squared_error, ssim, worst
from aejax.models.layers import mask_of
from aejax.models.noise import Clean
from aejax.models.principal_components import principal_components


def evaluate(experiment, params, data):
    """What `experiment.evaluate` asks for: metrics {name: scalar}, nan where undefined; z_NxZ; details {name: array}.

    z_NxZ are the posterior means of the test split. Details are what a scalar cannot hold.
    """
    subject = Subject(experiment, params, data)
    measures = [MEASURES[group] for group in experiment.evaluate.groups]
    measures += [_robustness] if experiment.evaluate.noise == "grid" else []
    metrics, details = _prefixed("likelihood", experiment.likelihood.learned(params["likelihood"])), {}
    for measure in measures:
        scores, arrays = measure(subject)
        metrics |= scores
        details |= arrays
    return metrics, subject.z, details


class Subject:
    """A model with its data, and what several groups of metrics need of them, computed once."""

    def __init__(self, experiment, params, data):
        self.experiment, self.params, self.data = experiment, params, data
        self.form, self.clean = experiment.form, experiment.form.scaled(data.test)  # [N, P]
        test = encode_decode(experiment, params, self.clean, data.y_test)
        self.z, self.kl, self.predicted = test["mean"], test["kl"], test["predicted"]  # [N, Z], [N, Z] or None, [N, P]
        self.indices = test["indices"]  # [N, T] or None
        self.levels = experiment.model.bottleneck.by_level(mask_of(experiment, params))  # [L, Z]
        if len(self.levels) > 1:  # what a level adds depends on the draw of the one above
            self.kl = kl_of_each(experiment, params, self.clean, data.y_test)
        self.squared = squared_error(self.clean, self.predicted)  # [N]

    @functools.cached_property
    def rate(self):
        """KL(posterior || prior) of each example in nats, [N], estimated where it has no closed form; None without."""
        if self.kl is not None:
            return jnp.sum(self.kl, axis=1)
        if not self.experiment.model.bottleneck.has_posterior:
            return None
        return rate_of_each(self.experiment, self.params, self.clean, self.data.y_test)

    @functools.cached_property
    def labeled(self):
        """Labeled codes to fit on and to score, None where the data have no labels."""
        return labeled(self.experiment, self.params, self.data) if self.data.y_test is not None else None


def _reconstruction(subject):
    index_K, error_K = worst(subject.squared, min(WORST, subject.squared.shape[0]))
    details = {"worst_index": index_K, "worst_sse": error_K}
    if subject.data.y_test is not None:
        details["class_sse"] = error_by_class(subject.squared, subject.data.y_test, subject.form.classes)
    return _prefixed("recon", reconstructions(subject.form, subject.clean, subject.predicted)), details


def _restoration(subject):
    if isinstance(subject.experiment.noise, Clean):
        return {}, {}
    noisy = noisy_copies(subject.experiment, subject.data)
    restored_MxP = reconstructed(subject.experiment, subject.params, noisy["input"], noisy["label"])
    return _prefixed("restore", reconstructions(subject.form, noisy["clean"], restored_MxP)), {}


def _baselines(subject):
    return _prefixed("baseline", baselines(subject.experiment, subject.data)), {}


def _code(subject):
    details = {"unit_variance": jnp.var(subject.z, axis=0)}
    if subject.kl is not None:
        details["unit_kl"] = jnp.mean(subject.kl, axis=0)
    explained = r2(subject.clean, subject.predicted)
    if len(subject.levels) > 1:
        details["level_kl"] = jnp.matmul(subject.levels, details["unit_kl"], precision="highest")
    scores = code_use(subject.experiment, subject.z, subject.kl, subject.rate, explained)
    if entries := subject.experiment.model.bottleneck.entries:
        scores |= {"perplexity": code.perplexity(subject.indices, entries)}
        scores |= {"used_codes": code.used_codes(subject.indices, entries)}
    if "level_kl" in details:
        scores |= {"active_levels": code.active_levels(details["level_kl"])}
    return _prefixed("code", scores), details


def _separation(subject):
    if subject.labeled is None:
        return {}, {}
    scores, confusion_CxC = separations(subject.experiment, subject.labeled)
    untrained_codes = labeled(subject.experiment, untrained(subject.experiment, subject.params), subject.data)
    accuracy = inferred(subject.experiment, subject.params, subject.clean, subject.data.y_test)
    metrics = _prefixed("separation", scores) | _prefixed("baseline", baseline(subject.experiment, untrained_codes))
    return metrics | _prefixed("classifier", accuracy), {"confusion": confusion_CxC}


def _of_labeled(prefix, measure):
    """The group of metrics that `measure`(experiment, labeled codes) gives, empty without labels."""

    def group(subject):
        if subject.labeled is None:
            return {}, {}
        return _prefixed(prefix, measure(subject.experiment, subject.labeled)), {}

    return group


def _neighborhood(subject):
    x_NxP, z_NxZ = subject.clean, subject.z
    if subject.labeled is not None:
        x_NxP, (z_NxZ, _) = subject.labeled["x"], subject.labeled["score"]
    return _prefixed("separation", neighborhood(x_NxP, z_NxZ)), {}


def _of_prior(measure):
    """The group of metrics that `measure`(experiment, params, examples, labels) gives, empty without a posterior."""

    def group(subject):
        if not subject.experiment.model.bottleneck.has_posterior:
            return {}, {}
        return measure(subject.experiment, subject.params, subject.clean, subject.data.y_test), {}

    return group


def _generation(subject):
    paths = interpolations(subject.experiment, subject.params, subject.z, subject.data.y_test)
    samples = generation(subject.experiment, subject.params, subject.data)
    return _prefixed("interpolation", paths) | _prefixed("generation", samples), {}


def _disentanglement(subject):
    scores = disentanglement(subject.experiment, subject.params, subject.data, subject.z)
    return _prefixed("disentanglement", scores), {}


def _anomaly(subject):
    experiment, params, data = subject.experiment, subject.params, subject.data
    scores, score, threshold = anomalies(experiment, params, data, subject.clean, subject.z, subject.squared)
    return _prefixed("anomaly", scores), {"anomaly_score": score, "anomaly_threshold": threshold}


def _robustness(subject):
    scores = robustness(subject.experiment, subject.params, subject.data, subject.labeled)
    return _prefixed("robust", scores), {}


MEASURES = {  # by the groups of evaluate.groups: Subject -> metrics, details
    "reconstruction": _reconstruction,
    "restoration": _restoration,
    "baselines": _baselines,
    "code": _code,
    "separation": _separation,
    "probe": _of_labeled("separation", probed),
    "clusters": _of_labeled("separation", clustering),
    "usefulness": _of_labeled("usefulness", label_efficiency),
    "neighborhood": _neighborhood,
    "elbo": _of_prior(bounds),
    "nll": _of_prior(importance_weighted),
    "generation": _generation,
    "disentanglement": _disentanglement,
    "anomaly": _anomaly,
}


def reconstructions(form, clean_NxP, predicted_NxP):
    """Errors of reconstructions against the clean examples, {name: scalar}; SSIM for images only."""
    metrics = reconstruction(clean_NxP, predicted_NxP, form.kind == "binary")
    metrics["r2"] = r2(clean_NxP, predicted_NxP)
    if form.kind == "real":  # without a largest value there is no peak
        del metrics["psnr"]
    elif len(form.shape) == 3:
        metrics["ssim"] = jnp.mean(ssim(clean_NxP, predicted_NxP, form.shape))
    return metrics


def baselines(experiment, data):
    """Errors that any model should beat, {name: scalar}: of the mean image, and of PCA with as many units."""
    test_NxP = experiment.form.scaled(data.test)
    rank = min(data.train.shape)
    mean_P, components_KxP = principal_components(data.train, experiment.form, rank)
    components_KxP *= (jnp.arange(rank) < experiment.latent_dim)[:, None]
    centered_NxP = test_NxP - mean_P[None, :]
    projected_NxP = jnp.matmul(
        jnp.matmul(centered_NxP, components_KxP.T, precision="highest"), components_KxP, precision="highest"
    )
    mse = {"mean_mse": jnp.mean(centered_NxP**2)}
    return mse | {"pca_mse": jnp.mean(squared_error(centered_NxP, projected_NxP)) / test_NxP.shape[1]}


def code_use(experiment, z_NxZ, kl_NxZ, rate_N, explained):
    """How the test split uses the code units, {name: scalar}; `explained` is the share of the pixels' variance."""
    metrics = {
        "active_units": code.active_units(z_NxZ),
        "dead_units": code.dead_units(z_NxZ, experiment.latent_dim, kl_NxZ),
        "effective_dim": code.effective_dim(z_NxZ),
        "correlation": code.correlation(z_NxZ),
        "sparsity": code.sparsity(z_NxZ, experiment.latent_dim),
        "collapsed": code.collapsed(explained, rate_N),
    }
    if rate_N is not None:
        metrics["kl"] = jnp.mean(rate_N)
    return metrics


def _prefixed(prefix, metrics):
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
