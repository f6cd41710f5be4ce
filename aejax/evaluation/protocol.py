"""The evaluation protocol: what is measured, and its constants, the same for every run.

The constants are not settings: changing one makes runs incomparable. Every run.json records them.
"""

from flax import struct

from aejax.base.errors import InputError
from aejax.metrics.table import GROUPS
from aejax.models.noise import Downsample, Flip, Gaussian, Grayscale, Masking, Occlusion, SaltPepper, Shot, Speckle
from aejax.settings.fields import static_choice, static_choices, static_int

SEED = 0  # of the random draws in the evaluation, independent of the run's seed
RESTORED = 5400  # noisy examples to restore, with several copies of each if there are fewer; 200 of each letter
COPIES = 64  # noisy copies of an example that is alone in its class, to fit on, and as many to score
COPY_FLIP, COPY_STD = 0.05, 0.1  # their noise: the share of flipped binary pixels, else a standard deviation
NEIGHBORS = (1, 5, 15)  # k of the kNN accuracies
SCORED = 5000  # test codes for the silhouette, picked by a hash of the rows
STARTS = 10  # of k-means on all test codes
TRUSTED = 12  # neighbors for trustworthiness and continuity
TRUSTED_EXAMPLES = 2000  # test examples for these, picked in the same way
ELBO_SAMPLES = 16
WORST = 16  # test examples with the largest errors, whose indices are recorded
EXACT = 200  # training examples that are drawn again; `copies` is null unless these draws count as copies
GENERATED = 2000  # samples at most; as many as test examples, unless each class has one example
MANIFOLD = 5  # a ball of a manifold reaches to this neighbor
MANIFOLD_UNITS = 16  # of a PCA of the training examples, in whose codes manifolds are measured too
TWO_SAMPLES, PERMUTATIONS = 1000, 200  # posterior and prior codes in the MMD test; permutations for its p-value
DENSITY = 10_000  # training codes at most, picked by hash, to fit a density to sample from
PATHS, STEPS = 100, 11  # interpolations between test examples, and images in each
LABELS = (1, 10, 100)  # labels per class, for label efficiency
LABEL_DRAWS = 10  # random draws of these labels, which are averaged
ANOMALY_QUANTILE = 0.95  # of the normal validation scores: the threshold for anomalies
ANOMALY_NEIGHBORS = 5  # nearest normal training codes, whose mean distance is the score
FACTOR_EXAMPLES = 10_000  # training and as many test codes at most, picked by hash, beside the factors of the data
FACTOR_VOTES, FACTOR_GROUP = 2000, 64  # draws of examples that share the value of a factor, and examples in each
ROBUST_KNN, ROBUST_EXAMPLES = 5, 2000  # k of kNN, and noisy examples whose codes are classified
GRID = {  # the test noises of evaluate.noise=grid, five levels each from mild to heavy
    "gaussian": (Gaussian, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "salt_pepper": (SaltPepper, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "flip": (Flip, (0.05, 0.1, 0.15, 0.2, 0.25)),  # on binary data the same as salt_pepper at twice the level
    "masking": (Masking, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "speckle": (Speckle, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "shot": (Shot, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "occlusion": (Occlusion, (0.05, 0.1, 0.2, 0.3, 0.4)),
    "downsample": (Downsample, (1.5, 2.0, 3.0, 4.0, 5.0)),
    "grayscale": (Grayscale, (0.2, 0.4, 0.6, 0.8, 1.0)),
}
PROTOCOL = {
    "restored_examples": RESTORED,
    "separation_copies": COPIES,
    "separation_flip": COPY_FLIP,
    "separation_std": COPY_STD,
    "knn_neighbors": list(NEIGHBORS),
    "silhouette_examples": SCORED,
    "kmeans_starts": STARTS,
    "trustworthiness_neighbors": TRUSTED,
    "trustworthiness_examples": TRUSTED_EXAMPLES,
    "elbo_samples": ELBO_SAMPLES,
    "generated_samples": GENERATED,
    "manifold_neighbors": MANIFOLD,
    "manifold_pca_units": MANIFOLD_UNITS,
    "two_sample_examples": TWO_SAMPLES,
    "two_sample_permutations": PERMUTATIONS,
    "density_examples": DENSITY,
    "interpolations": [PATHS, STEPS],
    "samples_compared": "draws of the likelihood, with examples; under a Bernoulli, with draws of gray ones",
    "labels_of_a_class": list(LABELS),
    "label_draws": LABEL_DRAWS,
    "anomaly_quantile": ANOMALY_QUANTILE,
    "anomaly_neighbors": ANOMALY_NEIGHBORS,
    "factor_examples": FACTOR_EXAMPLES,
    "factor_votes": [FACTOR_VOTES, FACTOR_GROUP],
    "robust_levels": {kind: list(levels) for kind, (_, levels) in GRID.items()},
}


@struct.dataclass
class Evaluation:
    """What is measured of a run: `groups` of metrics (aejax.metrics.table); the nll takes `samples` importance samples.

    With `noise=grid`, restoration is scored under every noise in GRID, whatever noise the run was trained with.
    """

    groups: tuple[str, ...] = static_choices(*GROUPS)
    noise: str = static_choice("own", "grid")
    samples: int = static_int(1, 1_000_000)

    def check(self, experiment):
        """Raises InputError if the data lack what a group of metrics needs."""
        if "anomaly" in self.groups and not experiment.form.normal:
            raise InputError("data.normal=null: must list the normal labels where anomalies are looked for, as [0]")

    @property
    def uses_factors(self):
        """Whether the factors of the data must be on the device."""
        return "disentanglement" in self.groups

    @property
    def described(self):
        """The evaluation protocol as run.json records it."""
        return {"groups": list(self.groups), "noise": self.noise, "nll_samples": self.samples} | PROTOCOL
