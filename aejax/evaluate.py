"""One protocol for every model: posterior mean, clean input, test split, pixels in [0, 1], the same draws.

The constants here are the yardstick, not settings: changing one makes runs incomparable.
"""

import jax
import jax.numpy as jnp
from jax import lax

from aejax import model
from aejax.fit import principal_components
from aejax.metrics import code, separation
from aejax.metrics.reconstruction import reconstruction, squared_error
from aejax.noise import Clean, Flip, Gaussian
from aejax.random import Purpose, key_for

SEED = 0  # of the yardstick's own draws, whatever a run's seed is
RESTORED = 5400  # noisy examples to restore, if need be several copies of each; 200 of each letter
COPIES = 64  # noisy copies of an example that is alone in its class, to fit on and again to score
COPY_FLIP, COPY_STD = 0.05, 0.1  # the noise on these: flips of binary pixels, else a standard deviation
NEIGHBOURS = 5
SCORED = 5000  # codes whose silhouette is taken, the first of the test split
ELBO_SAMPLES = 16
PROTOCOL = {
    "restored_examples": RESTORED,
    "separation_copies": COPIES,
    "separation_flip": COPY_FLIP,
    "separation_std": COPY_STD,
    "knn_neighbours": NEIGHBOURS,
    "silhouette_examples": SCORED,
    "elbo_samples": ELBO_SAMPLES,
}


def evaluate(experiment, params, data):
    """The metrics {name: scalar}, nan where undefined, and the posterior means z_NxZ of the test split."""
    form = experiment.form
    clean_NxP = form.scaled(data.test)
    binary = form.kind == "binary"
    posterior = model.encode(experiment, params, clean_NxP)
    predicted_NxP = experiment.likelihood.mean(model.decode(experiment, params, posterior.mean))
    metrics = _prefixed("recon", reconstruction(clean_NxP, predicted_NxP, binary))
    if not isinstance(experiment.noise, Clean):
        noisy = noisy_copies(experiment, data)
        restored_MxP = model.reconstruct(experiment, params, noisy["input"])
        metrics |= _prefixed("restore", reconstruction(noisy["clean"], restored_MxP, binary))
    metrics |= _prefixed("floor", floors(experiment, data))
    metrics |= _prefixed("code", code_use(experiment, posterior))
    if data.y_test is not None:
        metrics |= _prefixed("separation", separations(experiment, params, data))
    if experiment.model.bottleneck.has_prior:
        metrics["elbo"] = elbo(experiment, params, clean_NxP)
    return metrics, posterior.mean


def noisy_copies(experiment, data):
    """Test examples under the run's own noise: {"clean": [M, P], "input": [M, P]}, copies of an example N apart."""
    clean_NxP = experiment.form.scaled(data.test)
    clean_MxP = jnp.tile(clean_NxP, (max(1, RESTORED // clean_NxP.shape[0]), 1))
    key = key_for(SEED, Purpose.RESTORE)
    return {"clean": clean_MxP, "input": experiment.noise(key, clean_MxP, experiment.form.channels)}


def floors(experiment, data):
    """What any model should beat: the mean image, and PCA with as many components as the run has code units."""
    train_NxP, test_NxP = experiment.form.scaled(data.train), experiment.form.scaled(data.test)
    rank = min(train_NxP.shape)
    mean_P, components_KxP = principal_components(train_NxP, rank)
    components_KxP *= (jnp.arange(rank) < experiment.latent_dim)[:, None]
    centred_NxP = test_NxP - mean_P[None, :]
    with jax.default_matmul_precision("highest"):
        projected_NxP = (centred_NxP @ components_KxP.T) @ components_KxP
    mse = {"mean_mse": jnp.mean(centred_NxP**2)}
    return mse | {"pca_mse": jnp.mean(squared_error(centred_NxP, projected_NxP)) / test_NxP.shape[1]}


def code_use(experiment, posterior):
    """Use of the code units by the test split, {name: scalar}."""
    metrics = {
        "active_units": code.active_units(posterior.mean),
        "effective_dim": code.effective_dim(posterior.mean),
        "sparsity": code.sparsity(posterior.mean, experiment.latent_dim),
    }
    if posterior.kl is not None:
        metrics["kl"] = jnp.mean(jnp.sum(posterior.kl, axis=1))
    return metrics


def separations(experiment, params, data):
    """How well the codes tell the labels apart, {name: scalar}.

    Where every example is alone in its class, codes are those of noisy copies, the same for every run.
    """
    classes = experiment.form.classes
    train = experiment.form.scaled(data.train), data.y_train
    test = experiment.form.scaled(data.test), data.y_test
    if classes == experiment.form.examples:
        train = _labelled_copies(experiment, *train, Purpose.COPIES_FIT)
        test = _labelled_copies(experiment, *test, Purpose.COPIES_SCORE)
    fit_MxZ = model.encode(experiment, params, train[0]).mean
    z_NxZ = model.encode(experiment, params, test[0]).mean
    neighbours = min(NEIGHBOURS, fit_MxZ.shape[0])
    accuracy = separation.knn_accuracy(fit_MxZ, train[1], z_NxZ, test[1], classes, neighbours)
    scored = SCORED if classes != experiment.form.examples else None
    return {
        "knn_accuracy": accuracy,
        "silhouette": separation.silhouette(z_NxZ[:scored], test[1][:scored], classes),
    }


def elbo(experiment, params, x_NxP):
    """The evidence lower bound in nats an example, the KL with weight 1 whatever the run trained with."""
    keys = jax.random.split(key_for(SEED, Purpose.ELBO), ELBO_SAMPLES)

    def bound(key):
        outputs = model.forward(experiment, params, x_NxP, key)
        negative_N = experiment.likelihood.negative_log(x_NxP, outputs.logits) + jnp.sum(outputs.code.kl, axis=1)
        return -jnp.mean(negative_N)

    return jnp.mean(lax.map(bound, keys))


def _labelled_copies(experiment, x_NxP, y_N, purpose):
    form = experiment.form
    noise = Flip(jnp.float32(COPY_FLIP)) if form.kind == "binary" else Gaussian(jnp.float32(COPY_STD))
    copies_MxP = jnp.tile(x_NxP, (COPIES, 1))
    return noise(key_for(SEED, purpose), copies_MxP, form.channels), jnp.tile(y_N, COPIES)


def _prefixed(prefix, metrics):
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
