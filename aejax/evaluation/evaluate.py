"""One protocol for every model: posterior mean, clean input, test split, pixels in [0, 1], the same draws.

docs/evaluation.md says what each metric is, and which may be compared across code sizes.
"""

import jax.numpy as jnp

from aejax.evaluation.anomaly import anomalies
from aejax.evaluation.generation import generation, interpolations
from aejax.evaluation.likelihood import bounds, importance_weighted
from aejax.evaluation.passes import labeled, noisy_copies, passed, reconstructed, untrained
from aejax.evaluation.protocol import COPIES, COPY_FLIP, GRID, PROTOCOL, SEED, WORST, Evaluation
from aejax.evaluation.robustness import robustness
from aejax.evaluation.separation import baseline, clustering, label_efficiency, neighborhood, probed, separations
from aejax.metrics import code
from aejax.metrics.reconstruction import error_by_class, r2, reconstruction, squared_error, ssim, worst
from aejax.models.noise import Clean
from aejax.models.principal_components import principal_components

__all__ = ["COPIES", "COPY_FLIP", "GRID", "PROTOCOL", "SEED", "Evaluation", "evaluate", "noisy_copies", "robustness"]

LABELED = {"separation", "probe", "clusters", "neighborhood", "usefulness"}  # groups that look at labeled codes


def evaluate(experiment, params, data):
    """What `experiment.evaluate` asks for: metrics {name: scalar}, nan where undefined; z_NxZ; details {name: array}.

    z_NxZ are the posterior means of the test split. Details are what one number cannot say.
    """
    groups, form = experiment.evaluate.groups, experiment.form
    clean_NxP = form.scaled(data.test)
    test = passed(experiment, params, clean_NxP)
    z_NxZ, kl_NxZ = test["mean"], test["kl"]
    squared_N = squared_error(clean_NxP, test["predicted"])
    metrics, details = {}, {}
    if "reconstruction" in groups:
        metrics |= _prefixed("recon", reconstructions(form, clean_NxP, test["predicted"]))
        index_K, error_K = worst(squared_N, min(WORST, squared_N.shape[0]))
        details |= {"worst_index": index_K, "worst_sse": error_K}
        if data.y_test is not None:
            details["class_sse"] = error_by_class(squared_N, data.y_test, form.classes)
    if "restoration" in groups and not isinstance(experiment.noise, Clean):
        noisy = noisy_copies(experiment, data)
        restored_MxP = reconstructed(experiment, params, noisy["input"])
        metrics |= _prefixed("restore", reconstructions(form, noisy["clean"], restored_MxP))
    if "baselines" in groups:
        metrics |= _prefixed("baseline", baselines(experiment, data))
    metrics |= _prefixed("likelihood", experiment.likelihood.learned(params["likelihood"]))
    if "code" in groups:
        metrics |= _prefixed("code", code_use(experiment, z_NxZ, kl_NxZ, clean_NxP, test["predicted"]))
        details["unit_variance"] = jnp.var(z_NxZ, axis=0)
        if kl_NxZ is not None:
            details["unit_kl"] = jnp.mean(kl_NxZ, axis=0)
    uses_labels = LABELED & set(groups) or experiment.evaluate.noise == "grid"
    known = labeled(experiment, params, data) if data.y_test is not None and uses_labels else None
    if known is not None:
        scores, confusion_CxC = separations(experiment, known) if "separation" in groups else ({}, None)
        details |= {} if confusion_CxC is None else {"confusion": confusion_CxC}
        if "separation" in groups:
            before = labeled(experiment, untrained(experiment, params), data)
            metrics |= _prefixed("baseline", baseline(experiment, before))
        for group, measure in (("probe", probed), ("clusters", clustering)):
            scores |= measure(experiment, known) if group in groups else {}
        metrics |= _prefixed("separation", scores)
        if "usefulness" in groups:
            metrics |= _prefixed("usefulness", label_efficiency(experiment, known))
    if "neighborhood" in groups:
        metrics |= _prefixed("separation", neighborhood(known["x"], known["score"][0]) if known else
                             neighborhood(clean_NxP, z_NxZ))  # fmt: skip
    if "elbo" in groups and kl_NxZ is not None:
        metrics |= bounds(experiment, params, clean_NxP)
    if "nll" in groups and kl_NxZ is not None:
        metrics |= importance_weighted(experiment, params, clean_NxP)
    if experiment.evaluate.noise == "grid":
        metrics |= _prefixed("robust", robustness(experiment, params, data, known))
    if "generation" in groups:
        metrics |= _prefixed("interpolation", interpolations(experiment, params, z_NxZ))
        metrics |= _prefixed("generation", generation(experiment, params, data))
    if "anomaly" in groups:
        scores, *found = anomalies(experiment, params, data, clean_NxP, z_NxZ, squared_N)
        details |= dict(zip(("anomaly_score", "anomaly_threshold"), found, strict=True))
        metrics |= _prefixed("anomaly", scores)
    return metrics, z_NxZ, details


def reconstructions(form, clean_NxP, predicted_NxP):
    """How far reconstructions are from the clean examples, {name: scalar}; SSIM for images only."""
    metrics = reconstruction(clean_NxP, predicted_NxP, form.kind == "binary")
    metrics["r2"] = r2(clean_NxP, predicted_NxP)
    if form.kind == "real":  # without a largest value there is no peak
        del metrics["psnr"]
    elif len(form.shape) == 3:
        metrics["ssim"] = jnp.mean(ssim(clean_NxP, predicted_NxP, form.shape))
    return metrics


def baselines(experiment, data):
    """What any model should beat: the mean image, and PCA with as many components as the run has code units."""
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


def code_use(experiment, z_NxZ, kl_NxZ, clean_NxP, predicted_NxP):
    """Use of the code units by the test split, {name: scalar}."""
    metrics = {
        "active_units": code.active_units(z_NxZ),
        "dead_units": code.dead_units(z_NxZ, experiment.latent_dim, kl_NxZ),
        "effective_dim": code.effective_dim(z_NxZ),
        "correlation": code.correlation(z_NxZ),
        "sparsity": code.sparsity(z_NxZ, experiment.latent_dim),
        "collapsed": code.collapsed(r2(clean_NxP, predicted_NxP), kl_NxZ),
    }
    if kl_NxZ is not None:
        metrics["kl"] = jnp.mean(jnp.sum(kl_NxZ, axis=1))
    return metrics


def _prefixed(prefix, metrics):
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
