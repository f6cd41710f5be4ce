"""The yardstick: what is measured, and the constants of it, the same for every run.

The constants are no settings: changing one makes runs incomparable. They are written into every run.json.
"""

from flax import struct

from aejax.base.errors import InputError
from aejax.metrics.table import GROUPS
from aejax.models.noise import Downsample, Flip, Gaussian, Grayscale, Masking, Occlusion, SaltPepper, Shot, Speckle
from aejax.settings.fields import static_choice, static_choices, static_int

SEED = 0  # of the yardstick's own draws, whatever a run's seed is
RESTORED = 5400  # noisy examples to restore, if need be several copies of each; 200 of each letter
COPIES = 64  # noisy copies of an example that is alone in its class, to fit on and again to score
COPY_FLIP, COPY_STD = 0.05, 0.1  # the noise on these: flips of binary pixels, else a standard deviation
NEIGHBORS = (1, 5, 15)  # of kNN accuracy
SCORED = 5000  # codes whose silhouette is taken, picked from the test split by a hash of the rows
STARTS = 10  # of k-means, on all test codes
TRUSTED = 12  # neighbors of trustworthiness and continuity,
TRUSTED_EXAMPLES = 2000  # on examples that are picked from the test split in the same way
ELBO_SAMPLES = 16
WORST = 16  # examples whose indices are kept
EXACT = 200  # training examples whose draws must count as copies, so that `copies` can see one
GENERATED = 2000  # samples at the most, as many as test examples but for data whose examples are alone
MANIFOLD = 5  # neighbors that a ball of a manifold reaches to
MANIFOLD_UNITS = 16  # of the PCA, fitted on training examples, in whose codes manifolds are also taken
TWO_SAMPLES, PERMUTATIONS = 1000, 200  # posterior and prior codes that are told apart; permutations for the p-value
DENSITY = 10_000  # training codes at the most that a density to sample from is fitted to, picked by hash
PATHS, STEPS = 100, 11  # interpolations between test examples, and images of each
LABELS = (1, 10, 100)  # of each class, for label efficiency,
LABEL_DRAWS = 10  # the mean of so many draws of these labels
ANOMALY_QUANTILE = 0.95  # of the normal validation scores: the threshold
ANOMALY_NEIGHBORS = 5  # normal training codes whose mean distance scores an example
ROBUST_KNN, ROBUST_EXAMPLES = 5, 2000  # neighbors, and noisy examples whose codes are classified
GRID = {  # the test noises of evaluate.noise=grid, five levels each from mild to heavy
    "gaussian": (Gaussian, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "salt_pepper": (SaltPepper, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "flip": (Flip, (0.05, 0.1, 0.15, 0.2, 0.25)),  # on binary data what salt_pepper is at twice the level
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
    "robust_levels": {kind: list(levels) for kind, (_, levels) in GRID.items()},
}


@struct.dataclass
class Evaluation:
    """What is measured of a run: `groups` of metrics (aejax.metrics.table); `samples` importance samples make an nll.

    With `noise=grid` restoration is scored under every kind of noise in GRID, whatever the run was trained with.
    """

    groups: tuple[str, ...] = static_choices(*GROUPS)
    noise: str = static_choice("own", "grid")
    samples: int = static_int(1, 1_000_000)

    def check(self, experiment):
        """Raises InputError where something is asked for that the data cannot give."""
        if "anomaly" in self.groups and not experiment.form.normal:
            raise InputError("data.normal=null: must list the normal labels where anomalies are looked for, as [0]")

    @property
    def described(self):
        """What the record says of the yardstick."""
        return {"groups": list(self.groups), "noise": self.noise, "nll_samples": self.samples} | PROTOCOL
