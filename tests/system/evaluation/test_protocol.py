"""What is measured of a run as asked by evaluate.groups: known answers, and null with a reason where there is none."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, run, trained
from flax import struct
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from sklearn import metrics as oracle
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.form import Form
from aejax.evaluation import annotations
from aejax.evaluation.likelihood import stored_levels
from aejax.evaluation.robustness import median_filter
from aejax.figures.evaluation import robustness
from aejax.models import autoencoder
from aejax.settings.fields import static_choice
from aejax.training.lanes import lane


@struct.dataclass
class Blobs:
    """Three labeled blobs of vectors, or what is wrong with data."""

    case: str = static_choice("whole", "unlabeled", "alike", "few")

    def load(self):
        rng = np.random.default_rng(1)
        labels = {"alike": 1, "unlabeled": 3, "whole": 3, "few": 3}[self.case]
        train = 12 if self.case == "few" else 240

        def split(count):
            y = rng.integers(0, labels, count).astype(np.int32)
            x = (2 * np.eye(3, 6)[y] + rng.normal(size=(count, 6))).astype(np.float32)
            return Split(x, None if self.case == "unlabeled" else y)

        names = () if self.case == "unlabeled" else ("a", "b", "c")
        return Dataset("blobs", "real", split(train), split(80), split(150), names)


DATA = [f"data._target_={__name__}.Blobs", "net.widths=[8]", "steps=30", "log_points=1"]
WHOLE = [*DATA, "+data.case=whole"]


@pytest.fixture(scope="module")
def vae():
    """A VAE with the metrics of several groups, its details, and the codes of its training and test examples."""
    each = job(
        "model=vae", "evaluate.groups=[code,separation,probe,clusters,neighborhood,generation,usefulness]", *WHOLE
    )
    state, _ = trained(each)
    metrics, z, details = evaluated(state, each)
    params = lane(state.params, 0)
    codes = {
        name: np.asarray(jax.jit(autoencoder.encode)(each.experiment, params, split.x).mean)
        for name, split in each.dataset.splits.items()
    }
    np.testing.assert_allclose(codes["test"], z[0], rtol=1e-5, atol=1e-6)
    return each, lane(metrics, 0), codes, lane(details, 0)


@pytest.mark.slow
def test_the_probe_is_fitted_on_training_codes_and_chosen_on_validation_codes(vae):
    each, metrics, codes, _ = vae
    splits = each.dataset.splits
    mean, std = codes["train"].mean(axis=0), codes["train"].std(axis=0)
    z = {name: (part - mean) / std for name, part in codes.items()}
    models = [
        LogisticRegression(C=1 / (penalty * 240), max_iter=1000).fit(z["train"], splits["train"].y)
        for penalty in (1e-2, 1e-3, 1e-4, 1e-5)
    ]
    losses = [oracle.log_loss(splits["valid"].y, each.predict_proba(z["valid"])) for each in models]
    expected = models[int(np.argmin(losses))].score(z["test"], splits["test"].y)
    assert metrics["separation/probe_accuracy"] == pytest.approx(expected, abs=0.007)  # one of 150


@pytest.mark.slow
def test_trustworthiness_compares_pixels_with_codes(vae):
    each, metrics, codes, _ = vae
    x, z = each.dataset.test.x, codes["test"]
    assert metrics["separation/trustworthiness"] == pytest.approx(trustworthiness(x, z, n_neighbors=12), rel=1e-4)
    assert metrics["separation/continuity"] == pytest.approx(trustworthiness(z, x, n_neighbors=12), rel=1e-4)


@pytest.mark.slow
def test_clusters_of_test_codes_are_compared_with_their_labels(vae):
    each, metrics, codes, _ = vae
    y, cluster = each.dataset.test.y, KMeans(3, n_init=10, random_state=0).fit_predict(codes["test"])
    assert metrics["separation/nmi"] == pytest.approx(oracle.normalized_mutual_info_score(y, cluster), abs=0.03)
    assert metrics["separation/ari"] == pytest.approx(oracle.adjusted_rand_score(y, cluster), abs=0.03)
    counts = oracle.confusion_matrix(y, cluster)
    best = counts[linear_sum_assignment(counts, maximize=True)].sum() / 150
    assert metrics["separation/cluster_accuracy"] == pytest.approx(best, abs=0.03)


@pytest.mark.slow
def test_the_details_name_the_classes_that_are_confused(vae):
    each, metrics, codes, details = vae
    told = annotations.recorded_details(details, each.dataset)
    nearest = NearestNeighbors(n_neighbors=5).fit(codes["train"]).kneighbors(codes["test"], return_distance=False)
    votes = (each.dataset.train.y[nearest][:, :, None] == np.arange(3)).sum(axis=1).argmax(axis=1)
    counts = oracle.confusion_matrix(each.dataset.test.y, votes)
    mixed = {f"{a}~{b}": (counts[i, j] + counts[j, i]) / (counts[i].sum() + counts[j].sum())
             for i, a in enumerate("abc") for j, b in enumerate("abc") if i < j}  # fmt: skip
    assert told["confused"] == pytest.approx(mixed, rel=1e-5)
    assert list(told["confused"].values()) == sorted(told["confused"].values(), reverse=True)
    assert len(told["unit_kl"]) == 2
    assert sum(told["unit_kl"]) == pytest.approx(metrics["code/kl"], rel=1e-5)


@pytest.mark.slow
def test_samples_are_compared_with_test_examples(vae):
    _, metrics, _, _ = vae
    names = {name.split("/")[1] for name in metrics if name.startswith("generation/")}
    manifold = {"precision", "recall", "density", "coverage"}
    novelty = {"nearest_train", "nearest_train_test", "copies"}
    assert names == manifold | {f"pca_{name}" for name in manifold} | novelty | {"prior_mmd2", "prior_p"}
    # Six components are all there are of six values.
    assert metrics["generation/pca_precision"] == pytest.approx(metrics["generation/precision"], abs=0.02)
    assert 1 / 201 <= metrics["generation/prior_p"] <= 1


@pytest.mark.slow
def test_a_linear_decoder_interpolates_straight_and_evenly():
    each = job("model=pca", "evaluate.groups=[generation]", *DATA[:1], "+data.case=whole")
    metrics, z, _ = evaluated(trained(each)[0], each)
    assert metrics["interpolation/length"][0] == pytest.approx(1, rel=1e-4)
    assert metrics["interpolation/largest_step"][0] == pytest.approx(1, rel=1e-3)
    reasons = annotations.absent(each.experiment, each.dataset, lane(metrics, 0), z[0])
    assert reasons["generation/prior_p"] == "the model has no prior"


@pytest.mark.slow
@pytest.mark.parametrize(
    "case, name, reason",
    [
        ("unlabeled", "separation/knn_accuracy", "the data have no labels"),
        ("unlabeled", "separation/nmi", "the data have no labels"),
        ("alike", "separation/silhouette", "the test examples are of one class"),
        ("alike", "separation/probe_accuracy", "the training examples are of one class"),
        ("few", "separation/knn15_accuracy", "there are fewer than 15 training examples"),
    ],
)
def test_a_metric_that_does_not_apply_is_null_with_the_reason(tmp_path, case, name, reason):
    words = [*DATA, f"+data.case={case}", "steps=2", "data.validation=0"]
    finished = run(tmp_path, "evaluate.groups=[reconstruction,separation,probe,clusters,elbo]", *words)
    assert finished.metrics[name] is None
    absent = finished.record["evaluation"]["absent"]
    assert absent[name] == reason
    assert absent["elbo"] == "the model has no prior"
    assert absent.keys() == {name for name, value in finished.metrics.items() if value is None}
    assert finished.metrics["recon/mse"] > 0
    assert absent["recon/psnr"] == "the data are real numbers, which have no peak"


@pytest.mark.slow
def test_constant_codes_and_codes_that_are_not_finite_separate_nothing(vae):
    each, metrics, codes, _ = vae
    for z, reason in ((np.ones((150, 2)), "all the same"), (np.full((150, 2), np.nan), "not finite")):
        reasons = annotations.absent(each.experiment, each.dataset, metrics, z)
        assert reason in reasons["separation/silhouette"] and reason in reasons["usefulness/probe_accuracy_1_labels"]
    assert "code/active_units" in reasons  # nan says nothing of units, where a constant does
    reasons = annotations.absent(each.experiment, each.dataset, metrics, codes["test"])
    assert "separation/silhouette" not in reasons


@pytest.mark.slow
def test_anomalies_are_found_by_three_scores():
    each = job("model=vae", "task=anomaly", "data.normal=[b]", *WHOLE)
    form = each.experiment.form
    assert form.normal == (1,) and set(each.dataset.train.y) == set(each.dataset.valid.y) == {1}
    assert set(each.dataset.test.y) == {0, 1, 2} and len(each.dataset.test.x) == 150
    state, _ = trained(each)
    metrics, _, details = (lane(part, 0) for part in evaluated(state, each))
    params, positive = lane(state.params, 0), each.dataset.test.y != 1

    def error(x):
        return ((np.asarray(jax.jit(autoencoder.reconstruct)(each.experiment, params, x)) - x) ** 2).sum(axis=1)

    score, normal = error(each.dataset.test.x), error(each.dataset.valid.x)
    assert metrics["anomaly/auroc"] == pytest.approx(oracle.roc_auc_score(positive, score), rel=1e-4)
    assert metrics["anomaly/average_precision"] == pytest.approx(
        oracle.average_precision_score(positive, score), rel=1e-4
    )
    threshold = np.quantile(normal, 0.95)
    assert metrics["anomaly/f1"] == pytest.approx(oracle.f1_score(positive, score > threshold), rel=1e-4)
    encode = jax.jit(autoencoder.encode)
    z = {name: np.asarray(encode(each.experiment, params, split.x).mean) for name, split in each.dataset.splits.items()}
    apart = NearestNeighbors(n_neighbors=5).fit(z["train"]).kneighbors(z["test"])[0].mean(axis=1)
    assert metrics["anomaly/code_auroc"] == pytest.approx(oracle.roc_auc_score(positive, apart), abs=2e-3)
    assert 0.5 < metrics["anomaly/elbo_auroc"] <= 1
    told = annotations.recorded_details(details, each.dataset)["anomaly"]
    assert told.keys() == {"error", "code", "elbo"}
    assert sum(told["error"]["normal"]) == (~positive).sum() and sum(told["error"]["anomalous"]) == positive.sum()
    first = told["error"]["worst_false_alarms"][0]
    assert not positive[first] and score[first] == pytest.approx(score[~positive].max())
    assert told["error"]["worst_false_alarms_score"][0] == pytest.approx(score[first], rel=1e-5)
    missed = told["error"]["worst_misses"]
    assert positive[missed].all() and score[missed[0]] == pytest.approx(score[positive].min())
    assert told["error"]["worst_misses_score"] == sorted(told["error"]["worst_misses_score"])
    assert told["error"]["threshold"] == pytest.approx(threshold, rel=1e-4)


@pytest.mark.parametrize(
    "words, told",
    [
        (["task=anomaly"], "data.normal=null: must list the normal labels where anomalies are looked for"),
        (["task=anomaly", "data.normal=[d]"], r"data.normal=\['d'\]: no label d"),
        (["task=anomaly", "data.normal=[0,1,2]"], r"data.normal=\[0, 1, 2\]: must leave test examples of both kinds"),
        (["data.normal=[0]", "data.classes=[1,2]"], r"data.normal=\[0\]: must be among data.classes=\[1, 2\]"),
        (["evaluate.groups=[knn]"], r"evaluate.groups=\[\"knn\"\]: must be a list of some of reconstruction, "),
        (["evaluate.groups=[]"], r"evaluate.groups=\[\]: must be a list"),
        (["evaluate.noise=all"], "evaluate.noise=all: must be one of own, grid"),
    ],
)
def test_wrong_settings_get_one_line(words, told):
    with pytest.raises(InputError, match=told):
        job(*words, *WHOLE)


def test_normal_labels_need_labels():
    with pytest.raises(InputError, match=r"data.normal=\[0\]: no label 0"):
        job("data.normal=[0]", *DATA, "+data.case=unlabeled")


def test_the_median_filter_is_scipys():
    x = np.random.default_rng(0).random((4, 9, 7, 2)).astype(np.float32)
    expected = ndimage.median_filter(x, size=(1, 3, 3, 1), mode="nearest")
    np.testing.assert_allclose(median_filter(x.reshape(4, -1), (9, 7, 2)), expected.reshape(4, -1), rtol=1e-6)


def test_the_picture_of_test_noises_shows_each_kind_and_its_rivals():
    names = ("mse", "input_mse", "median_mse")
    levels = (0.1, 0.2, 0.3)
    metrics = {f"robust/{kind}/{level}/{name}": level * (1 + place) for kind in ("flip", "masking") for level in levels
               for place, name in enumerate(names)}  # fmt: skip
    figure = robustness(metrics | {"recon/mse": 0.5}, "noises")
    assert [axes.get_title() for axes in figure.axes] == ["flip", "masking"]
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["this run", "noisy input", "median filter"]
        np.testing.assert_allclose([line.get_ydata() for line in axes.lines], np.outer([1, 2, 3], levels))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=vae", "model.beta=100"], "posterior collapse: the code carries"),
        (["model=vae", "optim.lr=1e-7", "latent_dim=8"], "the decoder does not use the code: it carries"),
        (["model=topk_ae", "model.k=1", "latent_dim=40", "model.boost=0"], "of 40 code units are dead; usual remedies"),
        (["optim.lr=1e-7"], "the code is not used: reconstructions explain less than 1 % of the variance"),
        ([], None),
    ],
)
def test_what_is_wrong_with_the_use_of_the_code_is_told_with_its_remedy(overrides, told):
    each = job("net.widths=[8]", "steps=300", "log_points=1", "evaluate.groups=[reconstruction,code]", *overrides)
    metrics = lane(evaluated(trained(each)[0], each)[0], 0)
    remarks = annotations.remarks(each.experiment, metrics)
    assert [told in remark for remark in remarks] == ([True] if told else [])


@pytest.mark.parametrize("kind", ["binary", "gray", "rgb", "real"])
@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "linear", "learned"])
def test_bits_per_dimension_are_of_probabilities_of_the_stored_values(name, kind):
    """They are where bins of the stored values, 1 wide or 1/256, have probabilities that sum to 1."""
    likelihood = job("model=vae", f"likelihood={name}").experiment.likelihood
    form = Form("made", kind, (1, 1, 1), 9, 0, 0, "f")
    likelihood = likelihood.settle(form)
    levels = stored_levels(SimpleNamespace(form=form, likelihood=likelihood))
    if kind == "real":  # numbers without bins
        assert levels is None
        return
    values = np.arange(2) if kind == "binary" else np.arange(256) / 255
    middle = likelihood.logits(jnp.full((len(values), 1), 0.5))
    nats = likelihood.negative_log(jnp.float32(values)[:, None], middle, likelihood.start(form))
    sums = {bins: float(np.exp(-nats).sum() / bins) for bins in (1, 256)}
    proper = [bins for bins, total in sums.items() if abs(total - 1) < 0.02 and (bins == 1) == (kind == "binary")]
    assert ([] if levels is None else [levels]) == proper


@pytest.mark.slow
def test_a_bernoulli_of_gray_pixels_has_no_bits(tmp_path):
    words = ["model=vae", "data=emoji", "data.color=gray", "likelihood=bernoulli", "net.widths=[4]", "steps=2"]
    finished = run(tmp_path, *words, "evaluate.groups=[nll]", "evaluate.samples=2")
    assert finished.metrics["likelihood/bits_per_dim"] is None and finished.metrics["nll"] > 0
    reason = "a Bernoulli likelihood does not say how probable gray values are"
    assert finished.record["evaluation"]["absent"] == {"likelihood/bits_per_dim": reason}
