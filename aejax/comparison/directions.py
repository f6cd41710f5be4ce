"""Which way each metric is better; the names are those of docs/evaluation.md."""

import fnmatch
import functools

# The first pattern that fits decides.
NEUTRAL = (
    "baseline/*",  # what any run of these data is measured against, no merit of a run
    "robust/*/input_mse", "robust/*/median_mse", "robust/*/nearest_*", "robust/*/posterior_mse",
    "usefulness/pixels_accuracy", "usefulness/pca_accuracy", "usefulness/*_bytes",
    "usefulness/*_seconds", "usefulness/*_half_interval",
    "generation/nearest_*", "generation/*_nearest_*",
    "generation/glyphs_copies", "generation/glyphs_valid_new",  # an alphabet may be copied, or added to
    "generation/prior_p", "anomaly/*threshold",
    "interpolation/*",  # a decoder that ignores its code draws the evenest paths
    "code/*",  # how a code is used, good for one purpose and bad for another
    "likelihood/rate", "likelihood/distortion", "likelihood/variance",  # shares of the bound, not the bound
    "train/*", "parameters",
)  # fmt: skip
HIGHER = (
    "*/psnr", "*/ssim", "*/r2", "*/exact", "*/at_most_one_wrong",
    "*accuracy", "usefulness/*accuracy*", "separation/silhouette", "separation/calinski_harabasz",
    "separation/fisher_ratio", "separation/nmi", "separation/ari", "separation/purity",
    "separation/trustworthiness", "separation/continuity",
    "elbo",
    "generation/*precision", "generation/*recall", "generation/*density", "generation/*coverage",
    "generation/glyphs_copied",  # the share of the alphabet that is ever drawn
    "anomaly/*auroc", "anomaly/*average_precision", "anomaly/*f1", "anomaly/*tpr",
)  # fmt: skip
LOWER = (
    "*/mse", "*/sse", "*/bce", "*/mae", "*/rmse", "*/pixel_errors_mean", "*/pixel_errors_max", "cross_data/*_mse",
    "separation/davies_bouldin", "nll", "likelihood/bits_per_dim",
    "generation/copies", "generation/*prior_mmd2", "generation/*fid", "anomaly/*fpr",
)  # fmt: skip


@functools.lru_cache(4096)
def direction(metric):
    """1 where larger is better, -1 where smaller is, 0 where neither is; None of a metric that is not known."""
    for value, patterns in ((0, NEUTRAL), (1, HIGHER), (-1, LOWER)):
        if any(fnmatch.fnmatchcase(metric, pattern) for pattern in patterns):
            return value
    return None


def better(metric):
    """1 where a larger value of this metric is better, -1 where a smaller one is, 0 where neither can be said."""
    return direction(metric) or 0
