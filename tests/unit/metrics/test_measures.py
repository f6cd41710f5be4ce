"""The pure metrics against scikit-learn, scipy and closed forms, and over lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn import metrics as oracle
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from aejax.metrics import clusters, code, detection, generation, reconstruction, separation
from aejax.metrics.neighbors import knn_accuracy, nearest
from aejax.metrics.neighbors import trustworthiness as own_trustworthiness
from aejax.metrics.probe import PENALTIES, linear_probe


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 6, 700).astype(np.int32)
    z = rng.normal(size=(6, 4))[y] * 2 + rng.normal(size=(700, 4)) + 30  # far from 0, as codes may be
    return z.astype(np.float32), y


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(rng.random((5, 20, 17, 3)), (0, 2, 2, 0)).astype(np.float32)
    return clean, np.clip(clean + 0.1 * rng.normal(size=clean.shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize("fitted", [3, 27, 400])
@pytest.mark.parametrize("neighbors", [1, 3])
def test_nearest_neighbors_equal_scikit_learn(blobs, fitted, neighbors):
    z, _ = blobs
    distance, index = NearestNeighbors(n_neighbors=neighbors).fit(z[:fitted]).kneighbors(z[400:])
    found, at = nearest(z[:fitted], z[400:], neighbors)
    np.testing.assert_array_equal(at, index)
    np.testing.assert_allclose(found, distance**2, rtol=1e-4)


def test_knn_of_several_k_equals_scikit_learn(blobs):
    z, y = blobs
    expected = [KNeighborsClassifier(k).fit(z[:400], y[:400]).score(z[400:], y[400:]) for k in (1, 5, 15)]
    assert np.array(knn_accuracy(z[:400], y[:400], z[400:], y[400:], 6, (1, 5, 15))) == pytest.approx(expected)


@pytest.mark.parametrize("which", ["silhouette", "davies_bouldin", "calinski_harabasz"])
@pytest.mark.parametrize("gap", [False, True])
def test_separation_equals_scikit_learn_also_with_lone_examples_and_empty_classes(blobs, which, gap):
    z, y = blobs
    y = np.where(np.arange(700) == 0, 7, y).astype(np.int32) if gap else y
    theirs = {"silhouette": "silhouette_score"}.get(which, f"{which}_score")
    found = getattr(separation, which)(z, y, 9 if gap else 6)
    assert float(found) == pytest.approx(getattr(oracle, theirs)(z, y), rel=1e-4)


def test_fisher_ratio_is_the_sum_of_the_discriminants_and_ignores_linear_maps_and_dead_units(blobs):
    z, y = blobs
    z = z.astype(float)
    mean = np.array([z[y == c].mean(axis=0) for c in range(6)])
    within = sum((z[y == c] - mean[c]).T @ (z[y == c] - mean[c]) for c in range(6))
    between = sum((y == c).sum() * np.outer(mean[c] - z.mean(0), mean[c] - z.mean(0)) for c in range(6))
    expected = np.trace(np.linalg.solve(within, between))
    assert float(separation.fisher_ratio(z.astype(np.float32), y, 6)) == pytest.approx(expected, rel=1e-4)
    mapped = np.concatenate([z @ np.array([[1, 2, 0, 0], [0, 1, 0, 3], [0, 0, 100, 0], [1, 0, 0, 1.0]])], axis=1)
    wide = np.concatenate([mapped, np.full((700, 2), 5.0)], axis=1).astype(np.float32)
    assert float(separation.fisher_ratio(wide, y, 6)) == pytest.approx(expected, rel=1e-3)
    # The discriminant's own shares of explained variance come from the same eigenvalues.
    lda = LinearDiscriminantAnalysis(solver="eigen").fit(z, y)
    eigen = np.sort(np.linalg.eigvals(np.linalg.solve(within, between)).real)[::-1][:4]
    np.testing.assert_allclose(lda.explained_variance_ratio_[:4], eigen / eigen.sum(), rtol=1e-6)


def test_fisher_ratio_keeps_directions_of_a_small_spread(blobs):
    z, y = (part[:300] for part in blobs)
    z = (z - z.mean(axis=0)).astype(float)
    expected = float(separation.fisher_ratio(z.astype(np.float32), y, 6))
    narrow = z * np.array([1, 3e-4, 1e-6, 1])  # by unit,
    oblique = z @ np.array([[1, 1, 0, 0], [1, 1.0006, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # and by direction
    for mapped in (narrow, oblique):
        assert float(separation.fisher_ratio(mapped.astype(np.float32), y, 6)) == pytest.approx(expected, rel=5e-3)
    collinear = np.concatenate([z, z[:, :1] + z[:, 1:2]], axis=1).astype(np.float32)  # a direction without any scatter
    assert float(separation.fisher_ratio(collinear, y, 6)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["silhouette", "davies_bouldin", "calinski_harabasz", "fisher_ratio"])
def test_one_class_alone_separates_nothing(blobs, name):
    z, _ = blobs
    assert np.isnan(getattr(separation, name)(z, np.full(700, 2, np.int32), 6))


def test_equal_codes_of_a_class_give_silhouette_1_and_constant_codes_0():
    y = np.repeat(np.arange(2, dtype=np.int32), 4)
    assert float(separation.silhouette(5 * y[:, None].astype(np.float32), y, 2)) == pytest.approx(1.0)
    assert float(separation.silhouette(np.ones((8, 2), np.float32), y, 2)) == 0.0


def test_trustworthiness_and_continuity_equal_scikit_learn(blobs):
    z, _ = blobs
    x = np.concatenate([z, np.random.default_rng(1).normal(size=(700, 6)) * 2], axis=1).astype(np.float32)[:300]
    for a, b in ((x, z[:300]), (z[:300], x)):
        assert float(own_trustworthiness(a, b, 12)) == pytest.approx(trustworthiness(a, b, n_neighbors=12), rel=1e-5)
    assert float(own_trustworthiness(x, x, 12)) == 1.0


def test_the_most_confused_pairs_come_first():
    predicted = np.array([0, 1, 1, 2, 2, 2, 1, 2], np.int32)
    y = np.array([0, 0, 1, 1, 2, 2, 2, 2], np.int32)
    counts = separation.confusion(predicted, y, 4)
    np.testing.assert_array_equal(counts[:3, :3], oracle.confusion_matrix(y, predicted))
    pairs, share = separation.confused_pairs(counts)
    assert pairs[0].tolist() == [1, 2]
    assert float(share[0]) == pytest.approx(2 / 6)
    assert pairs[1].tolist() == [0, 1]
    assert float(share[1]) == pytest.approx(1 / 4)


def test_clusters_agree_with_labels_as_scikit_learn_says(blobs):
    _, y = blobs
    rng = np.random.default_rng(0)
    cluster = np.where(rng.random(700) < 0.6, (y * 5 + 1) % 8, rng.integers(0, 8, 700)).astype(np.int32)
    counts = clusters.contingency(y, cluster, 6, 8)
    assert float(clusters.nmi(counts)) == pytest.approx(oracle.normalized_mutual_info_score(y, cluster), rel=1e-4)
    assert float(clusters.ari(counts)) == pytest.approx(oracle.adjusted_rand_score(y, cluster), rel=1e-4)
    rows, columns = linear_sum_assignment(np.asarray(counts), maximize=True)
    expected = np.asarray(counts)[rows, columns].sum() / 700
    assert float(clusters.accuracy(counts)) == pytest.approx(expected, rel=1e-6)


def test_k_means_reaches_scikit_learns_inertia(blobs):
    z, y = blobs
    cluster, inertia = clusters.k_means(jax.random.key(0), z, 6, 10)
    oracle_model = KMeans(6, n_init=10, random_state=0).fit(z)
    assert float(inertia) <= 1.001 * oracle_model.inertia_
    centers = np.array([z[np.asarray(cluster) == c].mean(axis=0) for c in range(6)])
    assert ((z - centers[cluster]) ** 2).sum() == pytest.approx(float(inertia), rel=1e-3)
    counts = clusters.contingency(y, cluster, 6, 6)
    assert float(clusters.nmi(counts)) == pytest.approx(
        oracle.normalized_mutual_info_score(y, oracle_model.labels_), abs=0.02
    )


def test_the_probe_is_scikit_learns_logistic_regression(blobs):
    z, y = blobs
    z = z * np.array([1, 10, 0.1, 1], np.float32)
    score = np.random.default_rng(8).integers(0, 700, 4000)
    jitter = np.random.default_rng(9).normal(size=(4000, 4)) * np.array([0.5, 5, 0.05, 0.5])
    parts = (z[:300], y[:300]), (z[300:450], y[300:450]), ((z[score] + jitter).astype(np.float32), y[score])
    accuracy, penalty = linear_probe(*parts, 6)
    standard = [((x - z[:300].mean(0)) / z[:300].std(0), labels) for x, labels in parts]
    models = [LogisticRegression(C=1 / (each * 300), max_iter=1000).fit(*standard[0]) for each in PENALTIES]
    losses = [oracle.log_loss(standard[1][1], model.predict_proba(standard[1][0])) for model in models]
    best = int(np.argmin(losses))
    assert float(penalty) == pytest.approx(PENALTIES[best])
    assert float(accuracy) == pytest.approx(models[best].score(*standard[2]), abs=0.003)


def test_ssim_follows_wang(images):
    """Scipy's own Gaussian filter, cut to where the window lies inside."""
    clean, other = (each.astype(float) for each in images)

    def local(x):
        return ndimage.gaussian_filter(x, (0, 1.5, 1.5, 0), truncate=3.5)[:, 5:-5, 5:-5]

    a, b = local(clean), local(other)
    va, vb, cov = local(clean**2) - a**2, local(other**2) - b**2, local(clean * other) - a * b
    expected = ((2 * a * b + 1e-4) * (2 * cov + 9e-4) / ((a**2 + b**2 + 1e-4) * (va + vb + 9e-4))).mean(axis=(1, 2, 3))
    flat = [each.reshape(5, -1) for each in images]
    np.testing.assert_allclose(reconstruction.ssim(*flat, (20, 17, 3)), expected, rtol=1e-4)
    np.testing.assert_allclose(reconstruction.ssim(flat[0], flat[0], (20, 17, 3)), np.ones(5), rtol=1e-5)


def test_multiscale_ssim_follows_wang():
    """By scipy's own Gaussian filter, over the four scales that have at least 4 pixels a side."""
    rng = np.random.default_rng(1)
    clean = ndimage.gaussian_filter(rng.random((3, 56, 60)), (0, 1, 1)).astype(np.float32)
    other = np.clip(clean + 0.05 * rng.normal(size=clean.shape), 0, 1).astype(np.float32)
    a, b, expected = clean.astype(float), other.astype(float), 1.0
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363])
    for scale, weight in enumerate(weights / weights.sum()):
        half = min(11, a.shape[1] - (a.shape[1] + 1) % 2) // 2

        def local(x, half=half):
            mean = ndimage.gaussian_filter(x, (0, 1.5, 1.5), truncate=half / 1.5)
            return mean[:, half : x.shape[1] - half, half : x.shape[2] - half]

        va, vb, cov = local(a**2) - local(a) ** 2, local(b**2) - local(b) ** 2, local(a * b) - local(a) * local(b)
        similar = (2 * cov + 9e-4) / (va + vb + 9e-4)
        if scale == 3:
            similar *= (2 * local(a) * local(b) + 1e-4) / (local(a) ** 2 + local(b) ** 2 + 1e-4)
        expected = expected * similar.mean(axis=(1, 2)) ** weight
        a, b = (
            sum(x[:, i : x.shape[1] // 2 * 2 : 2, j : x.shape[2] // 2 * 2 : 2] for i in (0, 1) for j in (0, 1)) / 4
            for x in (a, b)
        )
    flat = [image.reshape(3, -1) for image in (clean, other)]
    np.testing.assert_allclose(reconstruction.multiscale_ssim(*flat, (56, 60, 1)), expected, rtol=1e-4)
    np.testing.assert_allclose(reconstruction.multiscale_ssim(flat[0], flat[0], (56, 60, 1)), np.ones(3), rtol=1e-5)
    black, gradient = jnp.zeros((1, 49)), jax.grad(lambda x: reconstruction.multiscale_ssim(x, 1 - x, (7, 7, 1))[0])
    assert np.isfinite(jax.vmap(gradient)(black)).all()


def test_ssim_of_images_smaller_than_the_window():
    x = np.random.default_rng(0).random((4, 35)).astype(np.float32)
    assert reconstruction.ssim(x, 1 - x, (7, 5, 1)).shape == (4,)
    assert (np.asarray(reconstruction.ssim(x, 1 - x, (7, 5, 1))) < 0).all()


def test_variance_errors_by_class_and_worst_examples(images):
    clean, other = (each.reshape(5, -1) for each in images)
    expected = oracle.r2_score(clean, other, multioutput="variance_weighted")
    assert float(reconstruction.r2(clean, other)) == pytest.approx(expected, rel=1e-4)
    error, y = np.array([1.0, 3, 2, 7, np.nan], np.float32), np.array([0, 0, 2, 2, 1], np.int32)
    np.testing.assert_allclose(reconstruction.error_by_class(error[:4], y[:4], 3), [2, np.nan, 4.5])
    assert reconstruction.worst(error, 3)[0].tolist() == [4, 3, 1]
    assert reconstruction.bits_per_dimension(8 * np.log(2), 4) == pytest.approx(2.0)
    assert reconstruction.bits_per_dimension(-784 * np.log(256), 784, levels=256) == pytest.approx(0.0)


@pytest.mark.parametrize("ties", [False, True])
def test_detection_equals_scikit_learn(ties):
    rng = np.random.default_rng(5)
    positive = rng.random(500) < 0.2
    score = (rng.normal(size=500) + 1.2 * positive).astype(np.float32)
    score = np.round(score * 2) / 2 if ties else score
    assert float(detection.auroc(score, positive)) == pytest.approx(oracle.roc_auc_score(positive, score), rel=1e-5)
    expected = oracle.average_precision_score(positive, score)
    assert float(detection.average_precision(score, positive)) == pytest.approx(expected, rel=1e-5)
    f1 = oracle.f1_score(positive, score > 0.6)
    assert float(detection.f1_at(jnp.float32(0.6), score, positive)) == pytest.approx(f1, rel=1e-5)
    found, false = detection.rates_at(jnp.float32(0.6), score, positive)
    assert float(found) == pytest.approx(oracle.recall_score(positive, score > 0.6), rel=1e-5)
    assert float(false) == pytest.approx((score > 0.6)[~positive].mean(), rel=1e-5)


def test_detection_of_large_sets_and_of_nothing():
    rng = np.random.default_rng(5)
    positive = rng.random(200_000) < 0.3
    score = (rng.normal(size=200_000) + positive).astype(np.float32)
    assert float(detection.auroc(score, positive)) == pytest.approx(oracle.roc_auc_score(positive, score), rel=1e-4)
    for which in (detection.auroc, detection.average_precision):
        assert np.isnan(which(score[:9], np.zeros(9, bool)))
        assert np.isnan(which(score[:9], np.ones(9, bool)))


def test_manifolds_follow_their_definitions():
    rng = np.random.default_rng(2)
    real, drawn = rng.normal(size=(150, 3)).astype(np.float32), (0.5 * rng.normal(size=(90, 3)) + 1).astype(np.float32)
    radius = [np.sort(cdist(each, each), axis=1)[:, 5] for each in (real, drawn)]
    apart = cdist(real, drawn)
    inside = apart <= radius[0][:, None]
    expected = {
        "precision": inside.any(axis=0).mean(),
        "recall": (apart <= radius[1][None]).any(axis=1).mean(),
        "density": inside.sum(axis=0).mean() / 5,
        "coverage": inside.any(axis=1).mean(),
    }
    found = generation.manifolds(real, drawn, 5)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-5)


def test_two_samples_of_one_distribution_pass_and_of_two_do_not():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 120, 3)).astype(np.float32)
    pooled = np.concatenate([a, b])
    width = np.median(cdist(pooled, pooled)[np.triu_indices(240, 1)])
    kernel = [np.exp(-(cdist(*pair) ** 2) / (2 * width**2)) for pair in ((a, a), (b, b), (a, b))]
    within = [(each.sum() - 120) / (120 * 119) for each in kernel[:2]]
    found, p = generation.two_samples(jax.random.key(0), a, b, 200)
    assert float(found) == pytest.approx(sum(within) - 2 * kernel[2].mean(), abs=2e-6)
    assert float(p) > 0.05
    assert float(generation.two_samples(jax.random.key(0), a, b + 0.6, 200)[1]) < 0.01


@pytest.mark.slow
def test_the_p_value_of_the_two_sample_test_is_uniform_under_the_null():
    draws = np.random.default_rng(1).normal(size=(80, 2, 20, 2)).astype(np.float32)
    keys = jax.random.split(jax.random.key(1), 80)
    p = jax.jit(jax.vmap(lambda key, pair: generation.two_samples(key, pair[0], pair[1], 99)[1]))(keys, draws)
    assert stats.kstest(np.asarray(p), "uniform").pvalue > 1e-3


def test_straight_paths_and_jumps():
    line = np.linspace(0, 1, 5, dtype=np.float32)[None, :, None] * np.ones((1, 1, 4), np.float32)
    found = generation.interpolation(np.concatenate([line, np.zeros_like(line)]))  # the second leads nowhere
    assert [float(found[name]) for name in ("length", "largest_step")] == pytest.approx([1, 1])
    jump = np.repeat(np.array([[0.0], [1.0]], np.float32), [3, 2], axis=0)[None]
    found = generation.interpolation(jump)
    assert [float(found[name]) for name in ("length", "largest_step")] == pytest.approx([1, 4])


def test_novelty_tells_copies_from_new_examples():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(200, 5)).astype(np.float32), rng.normal(size=(100, 5)).astype(np.float32)
    drawn = np.concatenate([train[:30] + 1e-4, rng.normal(size=(70, 5)) + 9]).astype(np.float32)
    found = generation.novelty(train, test, drawn)
    assert float(found["copies"]) == pytest.approx(0.3)
    assert float(found["nearest_train"]) == pytest.approx(np.median(cdist(drawn, train).min(axis=1) ** 2) / 5, rel=1e-4)
    expected = np.median(cdist(test, train).min(axis=1) ** 2) / 5
    assert float(found["nearest_train_test"]) == pytest.approx(expected, rel=1e-4)


def test_glyphs_that_are_copies_new_or_nothing():
    glyphs = np.eye(6, dtype=np.float32).repeat(2, axis=1)  # distance 4 between any two
    new = np.array([[1, 0, 0, 1] + [0] * 8], np.float32)  # half of two glyphs
    nothing = np.ones((1, 12), np.float32)
    gray = np.full((1, 12), 1 / 6, np.float32)
    drawn = np.concatenate([glyphs[:2], glyphs[:1], new, nothing, gray])
    found = {name: float(value) for name, value in generation.glyphs(glyphs, drawn, binary=True).items()}
    assert found == pytest.approx({"copies": 3 / 6, "valid_new": 1 / 6, "copied": 2 / 6})


def test_use_of_code_units():
    rng = np.random.default_rng(0)
    a = rng.normal(size=5000)
    z = np.stack([a, 0.6 * a + 0.8 * rng.normal(size=5000), np.zeros(5000)], axis=1).astype(np.float32)
    expected = abs(stats.pearsonr(z[:, 0], z[:, 1]).statistic)
    assert float(code.correlation(z)) == pytest.approx(expected, rel=1e-4)
    assert np.isnan(code.correlation(z[:, 1:]))
    assert code.live_units(z).tolist() == [True, True, False]
    assert code.live_units(z, np.array([[2.0, 0.001, 0.02]])).tolist() == [True, False, True]
    verdicts = [code.collapsed(each, kl) for each, kl in ((0.5, None), (0.001, None), (np.nan, None))]
    assert [int(each) for each in verdicts] == [0, 1, 1]
    assert int(code.collapsed(0.5, np.full(3, 0.02))) == 1
    assert int(code.collapsed(0.5, np.full(3, 2.0))) == 0
    assert int(code.collapsed(0.001, np.full(3, 1.1))) == 0  # untrained: a code that no decoder uses yet


@pytest.mark.slow
def test_lanes_measure_what_they_would_alone(blobs):
    z, y = blobs
    stacked = np.stack([z[:200], z[200:400]])
    labels = np.stack([y[:200], y[200:400]])

    def all_of(z, y):
        cluster, _ = clusters.k_means(jax.random.key(0), z, 6, 3)
        return {
            "knn": knn_accuracy(z[:100], y[:100], z[100:], y[100:], 6, 5),
            "silhouette": separation.silhouette(z, y, 6),
            "nmi": clusters.nmi(clusters.contingency(y, cluster, 6, 6)),
            "accuracy": clusters.accuracy(clusters.contingency(y, cluster, 6, 6)),
            "probe": linear_probe((z[:100], y[:100]), (z[:100], y[:100]), (z[100:], y[100:]), 6)[0],
            "trust": own_trustworthiness(z, z[:, :2], 12),
            "auroc": detection.auroc(z[:, 0], y == 0),
        }

    together, alone = jax.jit(jax.vmap(all_of))(stacked, labels), jax.jit(all_of)
    for index in range(2):
        for name, value in alone(stacked[index], labels[index]).items():
            assert float(together[name][index]) == pytest.approx(float(value), rel=1e-4), name
