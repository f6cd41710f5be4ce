"""All metrics, one row each: its meaning, which direction is better, when it is null, across what it is comparable.

Everything that describes a metric derives from this table, so a new metric is one function and one row.
"""

from typing import Any

from aejax.metrics.metric import BESIDE, INF, Metric, like

# Conditions and dependences that several rows share.
CODES = ("finite codes",)
VARIED = (*CODES, "codes that differ")
BY_TRAINING_LABELS = ("labels", "two training classes", *VARIED)
BY_TEST_LABELS = ("labels", "two test classes", *VARIED)
SAMPLES = ("finite samples",)
COPIES = tuple(f"protocol.separation_{name}" for name in ("copies", "flip", "std"))
CLUSTERS = (*COPIES, "protocol.kmeans_starts")
SCORED = (*COPIES, "protocol.silhouette_examples")
TRUST = (*COPIES, "protocol.trustworthiness_neighbors", "protocol.trustworthiness_examples")
FEW_LABELS = (*COPIES, "protocol.labels_of_a_class", "protocol.label_draws")
BOUND = ("likelihood", "protocol.elbo_samples")
WEIGHTED = ("likelihood", "protocol.nll_samples")
SAMPLED = ("examples beside samples", *(f"protocol.{name}" for name in (
    "generated_samples", "samples_compared", "manifold_neighbors", "density_examples")))  # fmt: skip
RESTORED = ("protocol.restored_examples",)
GRID = (*RESTORED, "protocol.robust_levels")
BASELINES = ("baseline/mean_mse", "baseline/pca_mse")

# Sources that several rows share.
PRECISION, COVERAGE = "Kynkäänniemi et al. 2019, eq. 1-3", "Naeem et al. 2020, eq. 5 and 6"
TRUSTED, MMD = "Venna & Kaski 2001", "Gretton et al. 2012, eq. 3 and section 5"
DCI, INFOMEC = "Eastwood & Williams 2018, section 2", "Hsu et al. 2023"
ELBO, ACTIVE = "Kingma & Welling 2014, eq. 10", "Burda et al. 2016, section 5"

SHARE: dict[str, Any] = {"unit": "share", "range": (0, 1)}
ERROR: dict[str, Any] = {"unit": "squared error a pixel", "range": (0, INF), "log": True}
PIXELS: dict[str, Any] = {"unit": "pixels", "range": (0, INF), "only": "for binary data", "agreement": "smooth"}
COUNT: dict[str, Any] = {
    "unit": "units",
    "range": (0, INF),
    "across_sizes": False,
    "needs": CODES,
    "agreement": "smooth",
}
NATS: dict[str, Any] = {"unit": "nats an example", "agreement": "smooth"}
FACTORS: dict[str, Any] = {
    "range": (0, 1),
    "only": "for data with factors",
    "needs": VARIED,
    "depends": ("protocol.factor_examples", "protocol.factor_votes"),
}

# fmt: off
RECONSTRUCTION = (
    Metric("recon/mse", "reconstruction", -1, "Mean squared error of the reconstructions.",
           **ERROR, agreement="root", beside=BASELINES, headline=1),
    Metric("recon/sse", "reconstruction", -1, "Squared error summed over the pixels of an example.",
           "squared error an example", (0, INF), agreement="smooth"),
    Metric("recon/psnr", "reconstruction", 1, "Peak signal-to-noise ratio for a peak of 1; real data have no peak.",
           "dB", needs=("a peak",), agreement="root"),
    Metric("recon/ssim", "reconstruction", 1,
           "Structural similarity in a Gaussian window of 11 x 11 pixels, or as many as there are. Comparable between "
           "images of the same shape.", "", (-1, 1), only="for images", agreement="smooth",
           source="Wang et al. 2004, eq. 13"),
    Metric("recon/r2", "reconstruction", 1, "Share of the test examples' variance that is explained: R² with pixels "
           "weighted by their variance.", "share", (-INF, 1), agreement="smooth",
           source="scikit-learn, r2_score", formerly="recon/explained"),
    Metric("recon/bce", "reconstruction", -1, "Binary cross-entropy summed over the pixels of an example.",
           **NATS, range=(0, INF), only="for binary data"),
    Metric("recon/pixel_errors_mean", "reconstruction", -1,
           "Mean number of pixels on the wrong side of 0.5 in an example.", **PIXELS),
    Metric("recon/pixel_errors_max", "reconstruction", -1,
           "Largest number of such pixels in any example.", **PIXELS),
    Metric("recon/exact", "reconstruction", 1, "Examples without a wrong pixel.",
           **SHARE, only="for binary data", agreement="share"),
    Metric("recon/at_most_one_wrong", "reconstruction", 1, "Examples with at most one wrong pixel.",
           **SHARE, only="for binary data", agreement="share"),
)
RESTORATION = like(
    RECONSTRUCTION, "restore/{of}", group="restoration", depends=("noise", *RESTORED),
    meaning="The same as `recon/…` with the run's own noise on the input and the clean example as the target.",
)
MEASURED_AGAINST = (
    Metric("baseline/mean_mse", "baselines", 0, "The error of the mean training example.",
           **ERROR, label="mean image", formerly="floor/mean_mse"),
    Metric("baseline/pca_mse", "baselines", 0,
           "The error of PCA with as many units, at most the rank of the training examples.",
           **ERROR, label="PCA", formerly="floor/pca_mse"),
)
CODE = (
    Metric("code/kl", "code", 0, "KL divergence of the posterior from the prior, summed over units.",
           "nats an example", (0, INF), only="for models with a prior", needs=CODES, agreement="smooth"),
    Metric("code/active_units", "code", 0, "Units whose posterior mean has a variance above 0.01.",
           **COUNT, source=ACTIVE),
    Metric("code/dead_units", "code", 0, "Units with a KL of at most 0.01 nats; without a prior, with a variance of at "
           "most 1e-4 of the largest one.", **COUNT),
    Metric("code/active_levels", "code", 0, "Levels of a hierarchical code with a KL of at least 0.1 nats, given the "
           "level above; `run.json` has the KL of each.", "levels", (0, INF), only="for models with levels",
           needs=CODES, agreement="smooth", source="Sønderby et al. 2016, section 3"),
    Metric("code/effective_dim", "code", 0, "Participation ratio of the code's covariance, 1 to `latent_dim`.",
           "units", (1, INF), needs=CODES, across_sizes=False, agreement="smooth", source="Gao et al. 2017, eq. 5"),
    Metric("code/correlation", "code", 0, "Mean absolute correlation of two units.",
           "", (0, 1), needs=CODES, agreement="share"),
    Metric("code/sparsity", "code", 0, "Code entries that are 0.", **SHARE, needs=CODES, agreement="share"),
    Metric("code/collapsed", "code", 0, "1 if the KL is below 0.1 nats, or without a prior if less than 1 % of the "
           "variance is explained, else 0. A code that carries more but that the decoder does not use counts as not "
           "collapsed; a remark in `run.json` says so.", "0 or 1", (0, 1), needs=CODES, agreement="exact",
           source="Bowman et al. 2016, section 3"),
    Metric("code/perplexity", "code", 0, "Perplexity of the codebook's entries among all positions of all codes: how "
           "many would be used if they were used equally often.", "entries", (1, INF), needs=("a codebook",),
           agreement="share", source="van den Oord et al. 2017"),
    Metric("code/used_codes", "code", 0, "Entries of the codebook that are used.",
           **SHARE, needs=("a codebook",), agreement="share"),
)
CLASSES = (
    Metric("separation/knn_accuracy", "separation", 1,
           "Accuracy of 5 nearest neighbors among the training codes; ties go to the smaller label.",
           **SHARE, needs=(*BY_TRAINING_LABELS, "5 training examples"), depends=(*COPIES, "protocol.knn_neighbors"),
           agreement="share", headline=2, source="Fix & Hodges 1951"),
    Metric("separation/knn1_accuracy", "separation", 1, "The same with 1 neighbor.",
           **SHARE, needs=BY_TRAINING_LABELS, depends=(*COPIES, "protocol.knn_neighbors"), agreement="share"),
    Metric("separation/knn15_accuracy", "separation", 1, "The same with 15 neighbors.",
           **SHARE, needs=(*BY_TRAINING_LABELS, "15 training examples"), depends=(*COPIES, "protocol.knn_neighbors"),
           agreement="share"),
    Metric("separation/silhouette", "separation", 1,
           "Mean silhouette coefficient of the classes among 5,000 test codes, picked by hash.",
           "", (-1, 1), needs=BY_TEST_LABELS, depends=SCORED, across_sizes=False, agreement="share",
           source="Rousseeuw 1987, eq. 2"),
    Metric("separation/davies_bouldin", "separation", -1,
           "Spread of two classes divided by the distance of their centers, worst case of each class; the same codes.",
           "", (0, INF), needs=BY_TEST_LABELS, depends=SCORED, across_sizes=False,
           source="Davies & Bouldin 1979, def. 5"),
    Metric("separation/calinski_harabasz", "separation", 1,
           "Scatter between classes divided by scatter within, each per degree of freedom; the same codes.",
           "", (0, INF), needs=BY_TEST_LABELS, depends=SCORED, across_sizes=False,
           source="Calinski & Harabasz 1974, eq. 3"),
    Metric("separation/fisher_ratio", "separation", 1, "tr(Sw⁻¹ Sb), the same codes; directions down to 1e-5 of the "
           "largest scatter, in units of each unit's own.", "", (0, INF), needs=BY_TEST_LABELS, depends=SCORED,
           across_sizes=False, source="Fukunaga 1990, eq. 10.5"),
    Metric("classifier/accuracy", "separation", 1, "Accuracy of the model's own classifier on test examples.",
           **SHARE, only="for models that infer labels", agreement="share",
           source="Kingma et al. 2014, section 4.2"),
)
UNTRAINED = like(
    CLASSES, "baseline/untrained_{of}", ("knn_accuracy", "knn1_accuracy", "knn15_accuracy", "silhouette"), VARIED,
    better=0, meaning="The same as `separation/…` for the same net, with the same seed, before its first step.",
)
DENSITY = (
    Metric("elbo", "elbo", 1, "Evidence lower bound, -(rate + distortion), the KL with weight 1; 16 posterior samples.",
           **NATS, needs=("a prior",), depends=BOUND, source=ELBO),
    Metric("likelihood/rate", "elbo", 0, "The KL divergence of the posterior from the prior in the bound.",
           **NATS, range=(0, INF), needs=("a prior",), depends=BOUND, source=ELBO),
    Metric("likelihood/distortion", "elbo", 0, "The negative log-likelihood of examples given codes in the bound.",
           **NATS, needs=("a prior",), depends=BOUND, source=ELBO),
)
PROBE = (
    Metric("separation/probe_accuracy", "probe", 1, "Accuracy of multinomial logistic regression on standardized "
           "training codes, to convergence; L2 by validation cross-entropy among 1e-2 to 1e-5.",
           **SHARE, needs=BY_TRAINING_LABELS, depends=COPIES, source="Alain & Bengio 2016"),
)
FOUND_CLASSES = (
    Metric("separation/nmi", "clusters", 1, "Normalized mutual information of classes and clusters: k-means of the "
           "test codes, best of 10 starts, as many clusters as classes.", "", (0, 1), needs=BY_TEST_LABELS,
           depends=CLUSTERS, source="Strehl & Ghosh 2002"),
    Metric("separation/ari", "clusters", 1, "Adjusted Rand index of the same clusters.",
           "", (-1, 1), needs=BY_TEST_LABELS, depends=CLUSTERS, source="Hubert & Arabie 1985"),
    Metric("separation/cluster_accuracy", "clusters", 1,
           "Accuracy of the same clusters, matched to classes by the Hungarian method.",
           **SHARE, needs=BY_TEST_LABELS, depends=CLUSTERS, source="Xie et al. 2016"),
)
NEIGHBORHOOD = (
    Metric("separation/trustworthiness", "neighborhood", 1, "Whether 12 neighbors in the code are neighbors in "
           "pixels; 2,000 test examples, picked by hash.", "", (0, 1), needs=VARIED, depends=TRUST, source=TRUSTED),
    Metric("separation/continuity", "neighborhood", 1, "Whether neighbors in pixels are neighbors in the code.",
           "", (0, 1), needs=VARIED, depends=TRUST, source=TRUSTED),
)
LIKELIHOOD = (
    Metric("nll", "nll", -1, "Negative log-likelihood by `evaluate.samples` importance samples of the posterior, an "
           "upper bound.", **NATS, needs=("a prior",), depends=WEIGHTED, source="Burda et al. 2016, eq. 8"),
    Metric("likelihood/bits_per_dim", "nll", -1, "The same in bits per value: bytes under a density (256 levels), "
           "binary pixels under a Bernoulli.", "bits a value", needs=("a prior", "probabilities of stored values"),
           depends=WEIGHTED, agreement="smooth", source="Burda et al. 2016, eq. 8"),
)
MANIFOLDS = (
    Metric("generation/precision", "generation", 1, "Samples inside the manifold of test examples, made of balls that "
           "reach to the 5th neighbor. As many samples as test examples, at most 2,000, picked by hash.",
           **SHARE, needs=SAMPLES, depends=SAMPLED, source=PRECISION),
    Metric("generation/recall", "generation", 1, "Test examples inside the manifold of samples.",
           **SHARE, needs=SAMPLES, depends=SAMPLED, source=PRECISION),
    Metric("generation/density", "generation", 1, "Balls of test examples around a sample, mean over samples, over 5.",
           "", (0, INF), needs=SAMPLES, depends=SAMPLED, source=COVERAGE),
    Metric("generation/coverage", "generation", 1, "Balls of test examples that contain a sample.",
           **SHARE, needs=SAMPLES, depends=SAMPLED, source=COVERAGE),
)
GENERATION = (
    *MANIFOLDS,
    *like(MANIFOLDS, "generation/pca_{of}", depends=("protocol.manifold_pca_units",),
          meaning="The same in the codes of a PCA with 16 units, fitted on training examples."),
    Metric("generation/nearest_train", "generation", 0, "Median distance of samples to the nearest training example.",
           **ERROR, only="for data other than letters and emoji", needs=SAMPLES, depends=SAMPLED),
    Metric("generation/nearest_train_test", "generation", 0, "The same of test examples.",
           **ERROR, only="for data other than letters and emoji", needs=SAMPLES, depends=SAMPLED),
    Metric("generation/copies", "generation", -1, "Samples nearer to a training example than 95 % of the test examples "
           "are.", **SHARE, only="for data other than letters and emoji", needs=("visible copies", *SAMPLES),
           depends=SAMPLED),
    Metric("generation/glyphs_copies", "generation", 0, "Share of 2,000 mean images that are a training glyph.",
           **SHARE, only="for letters and emoji", needs=SAMPLES, depends=SAMPLED),
    Metric("generation/glyphs_valid_new", "generation", 0, "Share of them that look like a glyph but are none.",
           **SHARE, only="for letters and emoji", needs=SAMPLES, depends=SAMPLED),
    Metric("generation/glyphs_copied", "generation", 1, "Share of the glyphs that appear among them.",
           **SHARE, only="for letters and emoji", needs=SAMPLES, depends=SAMPLED),
    Metric("generation/prior_mmd2", "generation", -1, "Squared maximum mean discrepancy of 1,000 posterior samples and "
           "the prior; unbiased, so it may be negative.", "", (-INF, 2), needs=("a prior", "samples of the prior"),
           depends=(*SAMPLED, "protocol.two_sample_examples"), across_sizes=False, source=MMD),
    Metric("generation/prior_p", "generation", 0, "The p-value of that, by 200 permutations.",
           "probability", (0, 1), needs=("a prior", "samples of the prior"), source=MMD,
           depends=(*SAMPLED, "protocol.two_sample_examples", "protocol.two_sample_permutations")),
    Metric("interpolation/length", "generation", 0, "Length of the path of 11 images on the line between two test "
           "codes, divided by the distance of its ends; mean of 100 lines; 1 for a linear decoder.", "", (1, INF),
           depends=("protocol.interpolations",)),
    Metric("interpolation/largest_step", "generation", 0, "The largest step of these paths divided by the mean step; 1 "
           "for a linear decoder.", "", (1, INF), depends=("protocol.interpolations",)),
)
DISENTANGLEMENT = (
    Metric("disentanglement/mig", "disentanglement", 1, "Mutual information gap: the information of the best unit "
           "about a factor less that of the second best, over the factor's entropy; units in 20 bins.",
           **FACTORS, source="Chen et al. 2018, eq. 6"),
    Metric("disentanglement/sap", "disentanglement", 1, "Separated attribute predictability: the balanced accuracy of "
           "the best single unit less that of the second best; thresholds of 20 bins.",
           **FACTORS, source="Kumar et al. 2018, section 3"),
    Metric("disentanglement/dci_disentanglement", "disentanglement", 1, "1 less the entropy of a unit's importances "
           "for factors, in gradient boosted trees; units weighted by importance.", **FACTORS, source=DCI),
    Metric("disentanglement/dci_completeness", "disentanglement", 1, "1 less the entropy of a factor's importances of "
           "units, in the same trees.", **FACTORS, source=DCI),
    Metric("disentanglement/dci_informativeness", "disentanglement", 1, "Accuracy of the same trees, mean over "
           "factors.", **FACTORS, source=DCI),
    Metric("disentanglement/factor_vae", "disentanglement", 1, "How often the unit that varies least among 64 examples "
           "tells which factor they share.", **FACTORS, source="Kim & Mnih 2018, section 4"),
    Metric("disentanglement/beta_vae", "disentanglement", 1, "How often a linear classifier of the differences in 64 "
           "pairs of codes tells which factor the pairs share.", **FACTORS, source="Higgins et al. 2017, section 3"),
    Metric("disentanglement/modularity", "disentanglement", 1, "1 less the squared information of a unit about other "
           "factors than its main one, relative to that.", **FACTORS, source="Ridgeway & Mozer 2018"),
    Metric("disentanglement/info_m", "disentanglement", 1, "InfoM, modularity: the largest share of a unit's "
           "information that is about one factor; 0 for equal shares.", **FACTORS, source=INFOMEC),
    Metric("disentanglement/info_e", "disentanglement", 1, "InfoE, explicitness: the share of a factor's entropy that "
           "logistic regression takes away.", **FACTORS, source=INFOMEC),
    Metric("disentanglement/info_c", "disentanglement", 1, "InfoC, compactness: the largest share of the information "
           "about a factor that is in one unit; 0 for equal shares.", **FACTORS, source=INFOMEC),
    Metric("disentanglement/udr", "disentanglement", 1, "Unsupervised disentanglement ranking: whether runs that "
           "differ in their seed find the same units; median over the other runs.", "", (0, 1), needs=VARIED,
           only="from `aejax.evaluate --udr`", source="Duan et al. 2020, section 4"),
)
USEFULNESS = (
    *(Metric(f"usefulness/probe_accuracy_{labels}_labels", "usefulness", 1, "Accuracy of the probe on this many labels "
             "per class, its penalty chosen on no more: mean of 10 draws of the labels.", **SHARE,
             needs=(*BY_TRAINING_LABELS, f"{labels} labels a class"), depends=FEW_LABELS) for labels in (1, 10, 100)),
    *(Metric(f"usefulness/probe_accuracy_{labels}_labels_half_interval", "usefulness", 0,
             "Half the width of Student's 95 % interval of that mean.", "share", (0, INF),
             needs=(*BY_TRAINING_LABELS, f"{labels} labels a class"), depends=FEW_LABELS) for labels in (1, 10, 100)),
    Metric("usefulness/codes_accuracy", "usefulness", 1, "Accuracy of the probe on codes.",
           **SHARE, only="from `aejax.evaluate`", depends=FEW_LABELS),
    *(Metric(f"usefulness/{of}_accuracy", "usefulness", 0,
             "Accuracy of the probe on pixels, and on codes of a PCA with as many units.",
             **SHARE, only="from `aejax.evaluate`", depends=FEW_LABELS) for of in ("pixels", "pca")),
    *(Metric(f"usefulness/{of}_bytes", "usefulness", 0, "Size of what each of these probes is fitted on.",
             "bytes an example", (0, INF), only="from `aejax.evaluate`", depends=FEW_LABELS)
      for of in ("codes", "pixels", "pca")),
)
BY_ERROR = (
    Metric("anomaly/auroc", "anomaly", 1, "Probability that an anomaly scores above a normal example. The score is "
           "the squared error.", "probability", (0, 1), depends=("protocol.anomaly_quantile",), headline=3,
           source="Hanley & McNeil 1982"),
    Metric("anomaly/average_precision", "anomaly", 1, "Mean of the precision at the score of each anomaly.",
           **SHARE, depends=("protocol.anomaly_quantile",), source="Zhu 2004"),
    Metric("anomaly/f1", "anomaly", 1, "Harmonic mean of precision and recall at the threshold.",
           "", (0, 1), needs=("validation examples",), depends=("protocol.anomaly_quantile",)),
    Metric("anomaly/tpr", "anomaly", 1, "True positive rate: anomalies above the threshold.",
           **SHARE, needs=("validation examples",), depends=("protocol.anomaly_quantile",), formerly="anomaly/found"),
    Metric("anomaly/fpr", "anomaly", -1, "False positive rate: normal examples above the threshold.", **SHARE,
           needs=("validation examples",), depends=("protocol.anomaly_quantile",), formerly="anomaly/false_alarms"),
)
ANOMALY = (
    *BY_ERROR,
    *like(BY_ERROR, "anomaly/elbo_{of}", meaning="The same with another score: -ELBO.", only="for models with a prior",
          depends=("protocol.elbo_samples",)),
    *like(BY_ERROR, "anomaly/code_{of}", depends=("protocol.anomaly_neighbors",),
          meaning="The same with another score: the mean distance to the 5 nearest normal training codes."),
)
UNDER_NOISE = "robust/{noise}/{level}/"
WRONG = ("mse", "exact", "at_most_one_wrong")
ROBUST = (
    *like(RECONSTRUCTION, UNDER_NOISE + "{of}", WRONG, group="robust", depends=GRID,
          meaning="The same as `recon/…` under a test noise: clean examples restored from noisy ones."),
    Metric(UNDER_NOISE + "knn_accuracy", "robust", 1, "Accuracy of 5 nearest neighbors for codes of noisy examples.",
           **SHARE, only="for labeled data", depends=(*COPIES, *GRID)),
    Metric(UNDER_NOISE + "input_mse", "robust", 0, "The error of the noisy input itself.", **ERROR, depends=GRID),
    Metric(UNDER_NOISE + "median_mse", "robust", 0, "The error of a median filter of 3 x 3 pixels.",
           **ERROR, only="for images", depends=GRID, source="Tukey 1977"),
    *like(RECONSTRUCTION, UNDER_NOISE + "nearest_{of}", WRONG, group="robust", depends=GRID, better=0, beside=(),
          agreement="loose", only="for letters and emoji", meaning="The same of the glyph nearest to the noisy input."),
    Metric(UNDER_NOISE + "posterior_mse", "robust", 0, "The error of the mean of the glyphs, each weighted by its "
           "probability given the noisy input.", **ERROR, only="for letters and emoji", depends=GRID,
           source="Bishop 2006, section 1.5"),
)
CROSS_DATA = (
    Metric("cross_data/{data}_mse", "cross_data", -1, "The error on the test examples of another run's data.",
           **ERROR, only="from `aejax.evaluate --across`", formerly="specificity/{data}_mse"),
)
TRAINING = (
    Metric("valid/mse", "training", -1, "Mean squared error of clean validation examples at a log point.",
           **ERROR, beside=BASELINES, only="in `history.csv`", depends=("training and validation data",)),
    Metric("train/loss", "training", 0, "The training objective at a log point.", "nats an example",
           only="in `history.csv`"),
    Metric("train/{term}", "training", 0, "A term of the objective, before its weight.", "nats an example",
           only="in `history.csv`"),
    Metric("likelihood/variance", "training", 0, "The learned variance of a pixel.",
           "", (0, INF), only="with `likelihood=learned`", depends=("likelihood",), agreement="smooth",
           source="Rybkin et al. 2021"),
)
METRICS = (
    *RECONSTRUCTION, *RESTORATION, *MEASURED_AGAINST, *CODE, *CLASSES, *UNTRAINED, *DENSITY, *PROBE, *FOUND_CLASSES,
    *NEIGHBORHOOD, *LIKELIHOOD, *GENERATION, *DISENTANGLEMENT, *USEFULNESS, *ANOMALY, *ROBUST, *CROSS_DATA, *TRAINING,
)
# fmt: on
GROUPS = tuple(dict.fromkeys(row.group for row in METRICS if row.group not in BESIDE))  # of evaluate.groups
HEADLINES = tuple(row.name for row in sorted(METRICS, key=lambda row: row.headline) if row.headline)
