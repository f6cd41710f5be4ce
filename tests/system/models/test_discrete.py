"""Discrete codes: quantization, how codebooks learn, categories and their KL, lanes of fewer groups."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, trained
from scipy import special, stats
from scipy.spatial.distance import cdist

from aejax.base.errors import InputError
from aejax.evaluation.likelihood import importance_weighted
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.codes.categorical import Binary, Categorical, Concrete
from aejax.models.codes.codebooks import Codebook
from aejax.models.codes.discrete import FiniteScalar
from aejax.models.layers import latent_mask
from aejax.models.objective import objective
from aejax.training.lanes import lane

KEY = jax.random.key(3)
FEW = ["net.widths=[6]", "steps=5", "log_points=1"]
SMALL = {
    "vq_vae": ["model=vq_vae", "model.size=2", "model.codes=7", "model.revive=2"],
    "loss": ["model=vq_vae", "model.learning=loss", "model.size=2", "model.codes=7", "model.revive=2"],
    "rvq_vae": ["model=rvq_vae", "model.size=2", "model.codes=5", "model.levels=3", "model.revive=2"],
    "fsq_vae": ["model=fsq_vae", "model.levels=[4,3]"],
    "binary_ae": ["model=binary_ae"],
    "gumbel": ["model=binary_ae", "model.gradient=gumbel"],
    "concrete_vae": ["model=concrete_vae", "model.size=2"],
    "hard": ["model=concrete_vae", "model.size=2", "model.hard=true"],
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def codebook(learning="ema", codes=6, size=2, levels=1, decay=0.9, revive=3):
    return Codebook(codes, size, levels, learning, np.float32(decay), np.int32(revive))


def residual(h_MxD, books_LxKxD):
    """The indices [M, L] and the sums of entries [M, D] of residual quantization, in numpy."""
    rest, indices = h_MxD.astype(np.float64), []
    for book in books_LxKxD:
        indices.append(cdist(rest, book).argmin(axis=1))
        rest = rest - book[indices[-1]]
    return np.stack(indices, axis=1), h_MxD - rest


@pytest.mark.parametrize("name", SMALL)
def test_indices_are_within_the_ranges_of_their_positions_and_reach_all_of_them(name):
    experiment = job(*SMALL[name], "latent_dim=4").experiment
    bottleneck, mask = experiment.model.bottleneck, jnp.ones(4)
    variables = bottleneck.init(experiment, KEY, 4) | bottleneck.start(4)
    ranges = [*bottleneck.ranges] * (4 // bottleneck.group)
    code = bottleneck({"mean": jnp.array(3 * normal(3000, 4))}, mask, variables=variables)
    assert [set(column) for column in code.quantized.indices.T.tolist()] == [set(allowed) for allowed in ranges]


# --- codebooks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 3])
def test_a_group_becomes_the_nearest_vectors_and_masked_groups_nothing(levels):
    bottleneck, mask = codebook(levels=levels), latent_mask(8, 6)
    books, h = normal(levels, 6, 2), normal(40, 8, seed=1) * np.asarray(mask)
    state = {"sum": jnp.array(books), "count": jnp.ones((levels, 6)), "idle": jnp.zeros((levels, 6))}
    code = bottleneck({"mean": jnp.array(h)}, mask, variables=state)
    index, total = residual(h.reshape(-1, 2), books)
    index = (index + 6 * np.arange(levels)).reshape(40, 4, levels)
    index[:, 3] = -1
    np.testing.assert_array_equal(code.quantized.indices, index.reshape(40, -1))
    np.testing.assert_allclose(code.mean, total.reshape(40, 8) * np.asarray(mask), atol=1e-5)
    np.testing.assert_array_equal(code.z, code.mean)
    np.testing.assert_allclose(bottleneck.vectors(code.quantized.indices, mask, state), code.mean, atol=1e-6)
    if levels == 1:  # a sum of several vectors may be nearer to others
        np.testing.assert_array_equal(bottleneck.indices(code.mean, mask, state), code.quantized.indices)
        np.testing.assert_allclose(code.quantized.commitment, ((h - total.reshape(40, 8)) ** 2)[:, :6].sum(1), 1e-4)


def test_the_decoder_sees_the_vector_and_the_encoder_its_gradient():
    bottleneck, mask, weight = codebook(), jnp.ones(4), normal(3, 4)
    state = bottleneck.start(4)

    def value(h):
        return jnp.sum(bottleneck({"mean": h}, mask, variables=state).z * weight)

    np.testing.assert_array_equal(jax.grad(value)(jnp.array(normal(3, 4, seed=1))), weight)


def test_an_entry_is_the_running_mean_of_its_outputs():
    """Against van den Oord et al. 2017, eq. 6 to 8, in float64, with two groups of three masked out of four."""
    bottleneck, mask = codebook(), latent_mask(8, 4)
    books, batches = normal(6, 2), normal(5, 30, 8, seed=2) * np.asarray(mask)
    state = {"sum": jnp.array(books[None]), "count": jnp.ones((1, 6)), "idle": jnp.zeros((1, 6))}
    count, total = np.ones(6), books.astype(np.float64)
    apply = jax.jit(lambda h, state: bottleneck({"mean": h}, mask, KEY, state, state).statistics)
    for h in batches:
        entries = total / ((count + 1e-5) / (count.sum() + 6e-5) * count.sum())[:, None]
        active = h.reshape(30, 4, 2)[:, :2].reshape(-1, 2)
        member = np.eye(6)[cdist(active, entries).argmin(axis=1)]
        count, total = 0.9 * count + 0.1 * member.sum(axis=0), 0.9 * total + 0.1 * member.T @ active
        state = apply(h, state)
    np.testing.assert_allclose(state["count"][0], count, rtol=1e-4)
    np.testing.assert_allclose(state["sum"][0], total, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("learning", ["ema", "loss"])
def test_idle_entries_become_outputs_of_the_batch_whatever_the_width(learning):
    bottleneck, h = codebook(learning), normal(10, 4)
    own = {"codebook": jnp.array(normal(1, 6, 2, seed=1))} if learning == "loss" else {}
    drawn = []
    for width in (4, 10):
        state, heads = bottleneck.start(width), {"mean": jnp.pad(jnp.array(h), ((0, 0), (0, width - 4)))}
        state |= {"idle": jnp.array([[3.0, 0, 7, 2, 0, 3]])}
        before = np.asarray(bottleneck.table({name: array[0] for name, array in (own | state).items()}))
        revived = bottleneck.revived(
            {name: array[0] for name, array in (own | state).items()},
            heads["mean"].reshape(10, -1, 2), latent_mask(width, 4)[::2], KEY,
        )  # fmt: skip
        drawn.append(np.asarray(bottleneck.table(revived)))
        is_output = (cdist(drawn[-1], h.reshape(-1, 2)) < 1e-5).any(axis=1)
        np.testing.assert_array_equal(is_output, [True, False, True, False, False, True])
        np.testing.assert_allclose(drawn[-1][~is_output], before[~is_output], rtol=1e-5)
        code = bottleneck(heads, latent_mask(width, 4), KEY, state, own | state)
        used = np.isin(np.arange(6), np.asarray(code.quantized.indices))
        idle = np.where(used, 0, np.where(is_output, 0, state["idle"][0]) + 1)
        np.testing.assert_array_equal(code.statistics["idle"][0], idle)
    np.testing.assert_array_equal(*drawn)


@pytest.mark.slow
def test_by_the_loss_an_entry_descends_toward_the_mean_of_its_outputs():
    each = job(*SMALL["loss"], *FEW, "latent_dim=4", "model.commitment=0.5")
    params = jax.jit(autoencoder.init, static_argnums=1)(each.experiment, 6)
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)
    total = lambda params: objective(each.experiment, params, Batch(x_BxP, x_BxP))[0]  # noqa: E731
    gradient = jax.jit(jax.grad(total))(params)
    hidden = params["running"]["bottleneck"]["shift"] + params["bottleneck"]["codebook"]
    plain = job("model=ae", *FEW, "latent_dim=4").experiment
    h = np.asarray(autoencoder.encode(plain, params, x_BxP).mean)[:, :4].reshape(-1, 2)
    member = np.eye(7)[cdist(h, hidden[0]).argmin(axis=1)]
    expected = 2 * (member.sum(axis=0)[:, None] * np.asarray(hidden[0]) - member.T @ h) / len(x_BxP)
    np.testing.assert_allclose(gradient["bottleneck"]["codebook"][0], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_codebook_is_used_and_counted():
    words = ["steps=200", "log_points=1", "evaluate.groups=[reconstruction,code]"]
    each = job("model=vq_vae", "model.codes=16", "model.revive=20", "latent_dim=8", "net.widths=[16]", *words)
    state = trained(each)[0]
    metrics, z, _ = evaluated(state, each)
    params = lane(state.params, 0)
    np.testing.assert_allclose(autoencoder.snapped(each.experiment, params, z[0]), z[0], atol=1e-6)
    vectors, count = np.unique(z[0].reshape(-1, 4).round(4), axis=0, return_counts=True)
    assert metrics["code/used_codes"][0] == pytest.approx(len(vectors) / 16)
    assert metrics["code/perplexity"][0] == pytest.approx(np.exp(stats.entropy(count)), rel=1e-4)
    assert metrics["code/used_codes"][0] >= 0.9
    assert metrics["recon/mse"][0] < 0.1  # of the mean image: 0.195


# --- finite scalars ---------------------------------------------------------------------------------------------------


def test_the_codes_of_finite_scalars_are_all_combinations_of_their_levels():
    bottleneck, mask = FiniteScalar((5, 4, 3)), jnp.ones(3)
    index = jnp.arange(60)[:, None]
    z = np.asarray(bottleneck.vectors(index, mask, {}))
    values = [np.array([-2, -1, 0, 1, 2]) / 2, np.array([-2, -1, 0, 1]) / 2, np.array([-1, 0, 1])]
    expected = [combination[::-1] for combination in itertools.product(*values[::-1])]
    np.testing.assert_allclose(z, expected)
    np.testing.assert_array_equal(bottleneck.indices(jnp.array(z), mask, {}), index)


def test_finite_scalars_round_a_bounded_unit():
    bottleneck, mask = FiniteScalar((5, 4, 3)), latent_mask(6, 3)
    h = jnp.array(4 * normal(500, 6)) * mask[None, :]
    code = bottleneck({"mean": h}, mask)
    five = np.round(np.tanh(np.asarray(h[:, 0])) * 2 * 1.001) / 2
    np.testing.assert_allclose(code.z[:, 0], five, atol=1e-6)
    assert [len(np.unique(code.z[:, unit])) for unit in range(6)] == [5, 4, 3, 1, 1, 1]
    np.testing.assert_array_equal(code.quantized.indices[:, 1], -1)
    np.testing.assert_array_equal(bottleneck({"mean": 0 * h}, mask).z, 0)
    gradient = jax.grad(lambda h: jnp.sum(bottleneck({"mean": h}, mask).z))(h)
    np.testing.assert_allclose(gradient[:, 0], 1.001 / np.cosh(np.asarray(h[:, 0])) ** 2, rtol=1e-3, atol=1e-6)
    assert not np.any(gradient[:, 3:])


# --- bits and categories ----------------------------------------------------------------------------------------------


def test_a_bit_is_drawn_with_its_probability_and_has_its_gradient():
    bottleneck, h = Binary("straight_through", np.float32(1)), jnp.broadcast_to(jnp.array([-1.0, 0.4]), (20_000, 2))
    mask = jnp.array([1.0, 1.0])
    code = bottleneck({"mean": h}, mask, KEY)
    assert set(np.unique(code.z)) == {0, 1}
    np.testing.assert_allclose(code.z.mean(axis=0), special.expit([-1.0, 0.4]), atol=0.015)
    np.testing.assert_array_equal(code.mean[0], [0, 1])
    gradient = jax.grad(lambda h: jnp.sum(bottleneck({"mean": h}, mask, KEY).z))(h)[0]
    np.testing.assert_allclose(gradient, special.expit([-1.0, 0.4]) * special.expit([1.0, -0.4]), rtol=1e-5)
    relaxed = Binary("gumbel", np.float32(0.5))({"mean": h}, mask, KEY).z
    assert ((relaxed > 0) & (relaxed < 1)).mean() > 0.99
    np.testing.assert_array_equal(relaxed > 0.5, code.z > 0.5)


@pytest.fixture(scope="module")
def categories():
    """Logits [B, 6] of two groups of three, of a code of nine units, and the probabilities of each group."""
    logits = np.pad(2 * normal(4, 6), ((0, 0), (0, 3)))
    return logits, latent_mask(9, 6), special.softmax(logits[:, :6].reshape(4, 2, 3), axis=2)


def concrete(hard=False, temperature=1.0):
    return Concrete(3, np.float32(temperature), np.float32(0.5), np.float32(0.2), hard)


def test_the_kl_of_categories_is_that_to_the_uniform_distribution(categories):
    logits, mask, probability = categories
    posterior = concrete()({"mean": jnp.array(logits)}, mask).posterior
    kl = Categorical().kl(None, None, posterior)
    expected = stats.entropy(probability, np.full(3, 1 / 3), axis=2)
    np.testing.assert_allclose(kl[:, :6].reshape(4, 2, 3).sum(axis=2), expected, rtol=1e-4)
    assert not np.any(kl[:, 6:])


def test_categories_are_drawn_with_their_probability(categories):
    logits, mask, probability = categories
    posterior = concrete()({"mean": jnp.array(logits)}, mask).posterior
    draws = jax.vmap(posterior.sample)(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(draws.z.mean(axis=0)[:, :6].reshape(4, 2, 3), probability, atol=0.04)
    expected = np.log((np.asarray(draws.z)[:50, :, :6].reshape(50, 4, 2, 3) * probability).sum(axis=3)).sum(axis=2)
    np.testing.assert_allclose(draws.log_q[:50], expected, rtol=1e-4)
    assert not np.any(draws.z[:, :, 6:])


@pytest.mark.parametrize("hard", [False, True])
def test_a_relaxed_draw_lies_on_the_simplex_and_its_temperature_falls(categories, hard):
    logits, mask, _ = categories
    bottleneck, heads, largest = concrete(hard, 2.0), {"mean": jnp.array(logits)}, []
    for step in (0, 2, 100):
        statistics = {"step": jnp.float32(step)}
        code = bottleneck(heads, mask, KEY, statistics, statistics)
        z = np.asarray(code.z)
        np.testing.assert_allclose(z[:, :6].reshape(4, 2, 3).sum(axis=2), 1, rtol=1e-5)
        assert not np.any(z[:, 6:])
        assert float(code.statistics["step"]) == step + 1
        largest.append(z)
    assert np.any(jax.grad(lambda h: jnp.sum(bottleneck({"mean": h}, mask, KEY, statistics).z[:, 0]))(heads["mean"]))
    if hard:
        assert set(np.unique(largest)) == {0, 1}
        return
    # log z is linear in 1 / temperature, which is max(0.2, 2 exp(-step / 2))
    ratio = [np.log(z[:, 0] / z[:, 1]) for z in largest[:2]]
    np.testing.assert_allclose(ratio[1] / ratio[0], np.e, rtol=1e-3)
    assert largest[2].max(axis=1).mean() > largest[0].max(axis=1).mean()


@pytest.mark.slow
def test_the_nll_of_categories_is_that_of_their_enumeration():
    each = job("model=concrete_vae", "model.size=3", "latent_dim=6", *FEW, "evaluate.samples=3000")
    experiment, params = each.experiment, autoencoder.init(each.experiment, 9)
    x_BxP = experiment.form.scaled(each.dataset.arrays().test)[:5]
    found = jax.jit(lambda params: importance_weighted(experiment, params, x_BxP)["nll"])(params)
    joint = []
    for first, second in itertools.product(range(3), range(3)):
        z = np.zeros((5, 9), np.float32)
        z[:, first] = z[:, 3 + second] = 1
        logits = autoencoder.decode(experiment, params, jnp.array(z))
        joint.append(-experiment.likelihood.negative_log(x_BxP, logits, params["likelihood"]) - np.log(9))
    assert float(found) == pytest.approx(-special.logsumexp(joint, axis=0).mean(), rel=1e-3)


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=vq_vae", "latent_dim=6"], r"^latent_dim=6: must be a multiple of 4, the units of a group \(model\.si"),
        (["model=fsq_vae", "latent_dim=6"], r"^latent_dim=6: must be a multiple of 4, .* \(model\.levels\)$"),
        (["model=fsq_vae", "model.levels=[]"], r"^model\.levels=\[\]: must name the levels of one unit at least"),
        (["model=fsq_vae", "model.levels=[1000,1000,2]", "latent_dim=3"], r"^model\.levels=.* 2,000,000 .* use lower"),
        (["model=vq_vae", "model.codes=1"], r"^model\.codes=1: must be a whole number at least 2"),
        (["model=vq_vae", "model.decay=1"], r"^model\.decay=1: must be a number at least 0 and at most 0\.99999"),
        (
            ["model=vq_vae", "model.learning=loss", "~model.terms.commitment", "~model.commitment"],
            r"^model\.learning=loss: the codebook",
        ),
        (
            ["model=rvq_vae", "model.codes=65536", "model.levels=20"],
            r"^model\.codes=65536: .* lower one of the two$",
        ),
        (
            ["model=concrete_vae", "prior=normal"],
            r"^prior=normal: is no prior .* model=concrete_vae are; use prior=categorical$",
        ),
        (["model=concrete_vae", "prior=maf"], r"^prior=maf: is no prior of categories"),
        (["model=s_vae", "prior=categorical"], r"^prior=categorical: the code of model=s_vae lies on a sphere"),
        (["model=concrete_vae", "bound=iwae"], r"^bound=iwae: needs gradients of drawn codes, .* use bound=elbo$"),
        (
            ["model=vae", "prior=categorical"],
            r"^prior=categorical: the codes of model=vae are no categories; use",
        ),
        (["model=ae", "sampler=codes"], r"^sampler=codes: model=ae has no discrete codes; use auto, gaussian"),
        (["model=vq_vae", "prior=flow"], r"^prior=flow: model=vq_vae has no posterior"),
    ],
)
def test_wrong_inputs(words, message):
    with pytest.raises(InputError, match=message):
        job(*words)
