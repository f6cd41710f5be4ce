"""Terms on codes against closed forms and numpy, and lanes of fewer units."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job
from scipy import stats

from aejax.base.errors import InputError
from aejax.models import autoencoder, likelihoods
from aejax.models.autoencoder import Outputs
from aejax.models.batch import Batch
from aejax.models.bottlenecks import Code
from aejax.models.objective import Context, objective
from aejax.models.posteriors import Diagonal
from aejax.models.priors import Normal
from aejax.models.terms.codes import MMD, KLPart, MomentMatching, aggregated, decoder_kernels
from aejax.models.terms.semisupervised import known
from aejax.models.terms.views import CrossCorrelation, VICReg

RNG = np.random.default_rng(3)
MASK = jnp.array([1.0, 1.0, 1.0, 0.0])
FEW = ["net.widths=[6]", "steps=8", "log_points=1"]


def context_of(code, examples=8, **other):
    """What a term sees of this code, with a prior N(0, I)."""
    experiment = SimpleNamespace(
        prior=Normal(), form=SimpleNamespace(examples=examples), latent_dim=int(jnp.sum(code.mask))
    )
    params = {"to_code": {"mean": {"bias": code.mask}}}
    blank_BxP = jnp.zeros((code.z.shape[0], 1))
    outputs = Outputs(code, blank_BxP, {})
    return Context(experiment, params, Batch(blank_BxP, blank_BxP), outputs, blank_BxP[:, 0], jnp.float32(1), **other)


def codes(examples, scale=1.0):
    """Random codes of three units among four."""
    return jnp.array(RNG.normal(size=(examples, 4)) * [scale, 0.5, 2.0, 0.0], jnp.float32)


def gaussian_code(examples, covariance, variance):
    """Draws of posteriors N(mean, variance) whose means are N(0, covariance), so that q(z) is a Gaussian."""
    units = len(covariance)
    mean = jnp.array(RNG.multivariate_normal(np.zeros(units), covariance, examples), jnp.float32)
    posterior = Diagonal(mean, jnp.ones(units), jnp.full((examples, units), jnp.log(variance)))
    draw = posterior.sample(jax.random.key(0))
    return Code(draw.z, mean, posterior.mask, posterior, draw)


# --- the parts of the KL ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_parts_of_the_kl_of_a_gaussian_code_have_their_closed_forms():
    covariance, variance, examples = np.array([[1.0, 0.7], [0.7, 0.8]]), 0.3, 1500
    whole = covariance + variance * np.eye(2)
    log_determinant, single = np.linalg.slogdet(whole)[1], np.diag(whole)
    expected = {
        "information": 0.5 * (log_determinant - 2 * np.log(variance)),
        "correlation": 0.5 * (np.log(single).sum() - log_determinant),
        "units": 0.5 * (single - 1 - np.log(single)).sum(),
    }
    context = context_of(gaussian_code(examples, covariance, variance), examples)
    for part, value in expected.items():
        of_each = np.asarray(KLPart(jnp.float32(1), part, "stratified")(context))
        assert of_each.mean() == pytest.approx(value, abs=5 * float(of_each.std()) / examples**0.5 + 0.02), part
    assert expected["correlation"] > 0.2


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_the_parts_sum_to_the_kl_of_the_draw(estimator):
    context = context_of(gaussian_code(7, np.eye(3), 0.5), 50)
    code = context.outputs.code
    parts = [KLPart(jnp.float32(1), part, estimator)(context) for part in ("information", "correlation", "units")]
    prior_B = stats.norm.logpdf(np.asarray(code.z)).sum(axis=1)
    np.testing.assert_allclose(sum(parts), np.asarray(code.draw.log_q) - prior_B, rtol=1e-4, atol=1e-4)


def test_the_estimators_of_the_density_of_all_codes():
    """Over all batches that hold an example the stratified estimate has no bias; the weighted one is a sum by hand."""
    code = gaussian_code(6, np.eye(2), 0.4)
    density = stats.norm(np.asarray(code.mean), 0.4**0.5).pdf(np.asarray(code.z[0])[None]).prod(axis=1)
    by_batch = {"weighted": [], "stratified": []}
    estimate = jax.jit(aggregated, static_argnums=(2, 3))
    for others in itertools.permutations(range(1, 6), 2):
        rows = jnp.array([0, *others])
        posterior = jax.tree.map(lambda leaf: leaf[rows] if leaf.ndim > 1 else leaf, code.posterior)  # noqa: B023
        for estimator, values in by_batch.items():
            values.append(float(jnp.exp(estimate(posterior, code.z[rows], 6, estimator)[0][0])))
        assert by_batch["weighted"][-1] == pytest.approx(density[np.asarray(rows)].sum() / 18, rel=1e-4)
    assert np.mean(by_batch["stratified"]) == pytest.approx(density.mean(), rel=1e-4)
    whole = aggregated(code.posterior, code.z, 6, "weighted")[0][0]  # a full batch is exact
    assert float(jnp.exp(whole)) == pytest.approx(density.mean(), rel=1e-4)


# --- moments and discrepancies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["I", "II"])
def test_the_moments_are_those_of_numpy(kind):
    mean, log_variance = codes(50), jnp.array(RNG.normal(size=(50, 4)), jnp.float32)
    code = Code(mean, mean, MASK, Diagonal(mean, MASK, log_variance))
    covariance = np.cov(np.asarray(mean, np.float64)[:, :3].T, ddof=0)
    if kind == "II":
        covariance += np.diag(np.exp(np.asarray(log_variance, np.float64)[:, :3]).mean(axis=0))
    apart = covariance[~np.eye(3, dtype=bool)]
    expected = 2.0 * (apart**2).sum() + 0.5 * ((np.diag(covariance) - 1) ** 2).sum()
    term = MomentMatching(jnp.float32(1), kind, jnp.float32(2.0), jnp.float32(0.5))
    assert float(term(context_of(code))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kernel", ["multiquadric", "gaussian"])
def test_the_discrepancy_is_that_of_numpy_and_0_for_draws_of_the_prior(kernel):
    term, key = MMD(jnp.float32(1), kernel, jnp.float32(0.7)), jax.random.key(5)
    z = codes(40)
    context = context_of(Code(z, z, MASK), key=key)
    prior = np.asarray(Normal().sample(context.experiment, context.params, key, 40), np.float64)
    size = 2 * 0.7 * 3

    def similar(a, b):
        squared = ((a[:, None] - b[None]) ** 2).sum(axis=2)
        return size / (size + squared) if kernel == "multiquadric" else np.exp(-squared / size)

    own, apart = np.asarray(z, np.float64), ~np.eye(40, dtype=bool)
    expected = similar(own, own)[apart].mean() + similar(prior, prior)[apart].mean() - 2 * similar(own, prior).mean()
    assert float(term(context)) == pytest.approx(expected, abs=1e-5)
    normal = jnp.array(RNG.normal(size=(600, 4)), jnp.float32) * MASK[None, :]
    assert abs(float(term(context_of(Code(normal, normal, MASK), key=key)))) < 0.005
    shifted = normal + MASK[None, :]
    assert float(term(context_of(Code(shifted, shifted, MASK), key=key))) > 0.03


# --- two views --------------------------------------------------------------------------------------------------------


def viewed(monkeypatch, term, a, b):
    """The value of a term for the codes a and b of two views."""
    monkeypatch.setattr(type(term), "codes", lambda self, context: (a, b))
    return float(term(context_of(Code(a, a, MASK))))


def test_the_cross_correlation_is_that_of_numpy(monkeypatch):
    a = codes(60)
    b = a + 0.3 * codes(60)
    correlation = np.corrcoef(np.asarray(a)[:, :3].T, np.asarray(b)[:, :3].T)[:3, 3:]
    same = np.eye(3, dtype=bool)
    expected = ((1 - correlation[same]) ** 2).sum() + 0.2 * (correlation[~same] ** 2).sum()
    assert viewed(monkeypatch, CrossCorrelation(jnp.float32(1), jnp.float32(0.2)), a, b) == pytest.approx(
        expected, abs=1e-3
    )


def test_vicreg_is_that_of_numpy(monkeypatch):
    a = codes(60)
    b = a + 0.3 * codes(60)
    views = [np.asarray(view, np.float64)[:, :3] for view in (a, b)]
    covariances = [np.cov(view.T, ddof=0) for view in views]
    invariance = ((views[0] - views[1]) ** 2).mean()
    variance = sum(np.maximum(0, 1 - np.sqrt(np.diag(each) + 1e-4)).mean() for each in covariances)
    covariance = sum((each[~np.eye(3, dtype=bool)] ** 2).sum() / 3 for each in covariances)
    term = VICReg(jnp.float32(1), jnp.float32(25), jnp.float32(10), jnp.float32(2))
    expected = 25 * invariance + 10 * variance + 2 * covariance
    assert viewed(monkeypatch, term, a, b) == pytest.approx(expected, rel=1e-3)


# --- terms that decode ------------------------------------------------------------------------------------------------


def started(*words, width=5):
    """An experiment on letters of three units, its parameters with `width`, and its batch."""
    one = job(*FEW, "latent_dim=3", *words)
    params = jax.jit(autoencoder.init, static_argnums=1)(one.experiment, width)
    arrays = one.dataset.arrays()
    x_BxP = one.experiment.form.scaled(arrays.train)
    return one.experiment, params, Batch(x_BxP, x_BxP, arrays.y_train)


def value(name, *words):
    experiment, params, batch = started(*words)
    return experiment, params, batch, jax.jit(objective)(experiment, params, batch, jnp.int32(0))[1][name]


@pytest.mark.slow
def test_the_decoders_smoothness():
    experiment, params, _, l2 = value("smoothness", "model=rae", "model.by=l2")
    kernels = [np.asarray(kernel, np.float64) for kernel in decoder_kernels(experiment, params)]
    assert [kernel.shape for kernel in kernels] == [(5, 6), (6, experiment.form.pixels)]
    assert float(l2) == pytest.approx(0.5 * sum((kernel**2).sum() for kernel in kernels), rel=1e-5)
    *_, spectral = value("smoothness", "model=rae", "model.by=spectral")
    assert float(spectral) == pytest.approx(0.5 * sum(np.linalg.norm(kernel, 2) ** 2 for kernel in kernels), rel=2e-2)
    experiment, params, batch = started("model=rae", "model.by=gradient")
    image = lambda z: experiment.likelihood.mean(autoencoder.decode(experiment, params, z[None])[0])  # noqa: E731
    z_BxZ = autoencoder.encode(experiment, params, batch.input).mean
    expected = 0.5 * float(jnp.mean(jnp.sum(jax.vmap(jax.jacfwd(image))(z_BxZ) ** 2, axis=(1, 2))))
    drawn = jax.jit(jax.vmap(lambda at: objective(experiment, params, batch, at)[1]["smoothness"]))(jnp.arange(200))
    assert np.mean(drawn) == pytest.approx(expected, rel=0.05)


@pytest.mark.slow
def test_prefixes_are_those_of_the_code():
    experiment, params, batch, term = value("prefixes", "model=matryoshka_ae", "model.halvings=2", "latent_dim=3")
    z_BxZ = autoencoder.encode(experiment, params, batch.input).mean

    def distortion(units):
        logits = autoencoder.decode(experiment, params, z_BxZ.at[:, units:].set(0))
        return float(jnp.mean(experiment.likelihood.negative_log(batch.target, logits, {})))

    assert float(term) == pytest.approx((distortion(2) + distortion(1)) / 2, rel=1e-5)
    random = {"prefixes": experiment.model.terms["prefixes"].replace(halvings=None)}
    experiment = experiment.replace(model=experiment.model.replace(terms=random))
    drawn = jax.jit(jax.vmap(lambda at: objective(experiment, params, batch, at)[1]["prefixes"]))(jnp.arange(300))
    expected = np.mean([distortion(units) for units in (1, 2, 3)])
    assert np.mean(drawn) == pytest.approx(expected, abs=5 * float(np.std(drawn)) / 300**0.5)


def test_the_optimal_variance_is_the_batchs_squared_error():
    likelihood = likelihoods.Optimal(
        variance=np.float32(0.1), output="identity", floor=np.float32(1e-4), shared_variance=True
    )
    params = {"log_variance": jnp.array([-1.0])}
    x, mean = (jnp.array(RNG.normal(size=(30, 4)), jnp.float32) for _ in range(2))
    variance = float(jnp.mean((x - mean) ** 2))
    expected = -stats.norm(np.asarray(mean), variance**0.5).logpdf(np.asarray(x)).sum(axis=1)
    np.testing.assert_allclose(likelihood.training_loss(x, mean, params), expected, rtol=1e-4)
    loss = lambda mean, params: jnp.mean(likelihood.training_loss(x, mean, params))  # noqa: E731
    of_mean, of_params = jax.grad(loss, argnums=(0, 1))(mean, params)
    by_hand = jax.grad(lambda mean: 2 * jnp.log(jnp.mean((x - mean) ** 2)))(mean)  # half of 4 pixels' log variance
    np.testing.assert_allclose(of_mean, by_hand, rtol=1e-4, atol=1e-7)
    learned = jax.grad(lambda params: jnp.mean(likelihood.negative_log(x, mean, params)))(params)
    np.testing.assert_allclose(of_params["log_variance"], learned["log_variance"], rtol=1e-5)


@pytest.mark.slow
def test_similarity_takes_the_place_of_the_pixels():
    experiment, params, batch = started("model=msssim_vae", "data=emoji", "net.widths=[]", "latent_dim=2")
    total, terms, _ = objective(experiment, params, batch, jnp.int32(0))
    assert float(total) == pytest.approx(1000 * float(terms["dissimilarity"]) + float(terms["kl"]), rel=1e-4)
    assert 0.1 < float(terms["dissimilarity"]) < 1


# --- labels of some examples ------------------------------------------------------------------------------------------


def test_the_known_examples_are_a_share_that_no_batch_changes():
    x = jnp.array(RNG.integers(0, 256, (4000, 20)) / 255, jnp.float32)
    among = np.asarray(known(x, 0.3))
    assert among.mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(jax.jit(known)(x[::-3], 0.3), among[::-3])
    assert not known(x, 0.0).any() and known(x, 1.0).all()


@pytest.mark.slow
def test_a_semi_supervised_bound_is_the_sum_over_labels():
    words = ["model=m2_vae", "data._target_=blobs.Blobs", "batch_size=40"]
    experiment, params, batch = started(*words)
    batch = jax.tree.map(lambda array: array[:40], batch)
    term, at, classes = experiment.model.terms["bound"], jnp.int32(0), 3

    def measured(share, **other):
        terms = {"bound": term.replace(share=jnp.float32(share), **other)}
        model = experiment.model.replace(terms=terms)
        return jax.jit(objective)(experiment.replace(model=model), params, batch, at)

    cvae = experiment.replace(model=job(*FEW, *words, "latent_dim=3", "model=cvae").experiment.model)
    elbo = lambda label: jax.jit(objective)(cvae, params, batch.replace(label=label), at)[0]  # noqa: E731
    log_q = np.asarray(term.log_class(experiment, params, params["terms"]["bound"], batch.input))
    chosen = log_q[np.arange(40), np.asarray(batch.label)].mean()
    total, terms, _ = measured(1.0)
    expected = float(elbo(batch.label)) + np.log(classes) - 50 * chosen
    assert float(total) == pytest.approx(expected, rel=1e-4) and float(terms["bound"]) == pytest.approx(
        expected, rel=1e-4
    )
    uniform = jax.tree.map(jnp.zeros_like, params["terms"])  # then all labels count alike
    params = params | {"terms": uniform}
    by_label = np.mean([float(elbo(jnp.full(40, label))) for label in range(classes)])
    assert float(measured(0.0)[0]) == pytest.approx(by_label, rel=1e-4)  # log 3 of the prior less log 3 of the entropy
    batch = batch.replace(label=(batch.label + 1) % 3)
    assert float(measured(0.0)[1]["bound"]) == pytest.approx(by_label, rel=1e-4)


# --- wrong inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=beta_tc_vae", "bound=iwae"], r"^bound=iwae: has the KL inside, which model=beta_tc_vae splits"),
        (["model=barlow_ae", "noise=none"], r"^noise=none: model=barlow_ae compares two corrupted views; use noise"),
        (["model=msssim_vae", "data._target_=blobs.Blobs"], r"^model=msssim_vae: needs images with pixels in \[0, 1\]"),
        (["model=m2_vae", "data=digits", "bound=iwae"], r"^bound=iwae: model=m2_vae has a bound of its own"),
        (["model=m2_vae", "data=digits", "likelihood=optimal"], r"^model=m2_vae: needs the likelihood of single"),
        (["model=cvae", "data=digits", "data.classes=[3]"], r"^model\.condition=label: data=digits has one label"),
        (["model=pca", "data=digits", "model.condition=label"], r"^model\.condition=label: model=pca does not"),
        (["model=ladder_vae", "data=digits", "model.condition=label"], r"^model\.condition=label: the upper"),
        *(
            ([f"model={model}", "data=digits", "batch_size=1"], rf"^batch_size=1: model={model} compares .*\.{term}\)")
            for model, term in (
                ("beta_tc_vae", "information"),
                ("factor_vae", "total_correlation"),
                ("dip_vae", r"\w+"),
                ("info_vae", r"\w+"),
                ("barlow_ae", r"\w+"),
            )
        ),
        (["model=vae_gan", "bound=iwae"], r"^bound=iwae: has the likelihood inside, which model=vae_gan replaces"),
        (["model=vae_gan", "net.norm=batch"], r"^net\.norm=batch: the critic of images of model=vae_gan has no"),
        (["model=vae_gan", "net=linear"], r"^net=linear: the critic of images of model=vae_gan needs hidden layers"),
        (["model=m2_vae", "model.condition=none"], r"^model\.condition=none: model=m2_vae decodes code and label"),
        (["model=factor_vae", "latent_dim=1"], r"^latent_dim=1: the critic of model=factor_vae .* or model=vae$"),
        (["model=wae_gan", "latent_dim=1"], r"^latent_dim=1: the critic of model=wae_gan .* or model=wae_mmd$"),
        (["model=cvae", "data=digits", "task=anomaly", "data.normal=[0]"], r"^data\.normal: model=cvae looks at"),
        (["model=factor_vae", "model.critic_widths=[]"], r"^model\.critic_widths=\[\]: must name at least one"),
        (["model=adversarial_ae", "model.critic_every=0"], r"^model\.critic_every=0: must be a whole number"),
        (["model=rae", "model.by=none"], r"^model\.by=none: must be one of l2, gradient, spectral"),
        (["model=dip_vae", "model.bottleneck._target_=aejax.models.bottlenecks.Plain",
          "~model.bottleneck.sampling", "+model.bottleneck.activation=identity"],
         r"^model"),
    ],
)  # fmt: skip
def test_wrong_inputs(words, message):
    with pytest.raises(InputError, match=message):
        job(*words)


def test_a_condition_on_data_without_labels_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(40, 6, dtype=np.float32))
    with pytest.raises(
        InputError, match=r"^model\.condition=label: data=x\.npy has no labels; use model\.condition=none$"
    ):
        job("model=cvae", "data=arrays", f"data.path={tmp_path / 'x.npy'}")
