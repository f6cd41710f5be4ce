"""Options of nets, of the KL and of the likelihood, each against a known answer."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, run, trained
from flax import struct
from scipy import stats

from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset, Split
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.bottlenecks import Code
from aejax.models.likelihoods import Learned
from aejax.models.nets.net import Dropout
from aejax.models.objective import KL, Context
from aejax.models.posteriors import Diagonal
from aejax.models.priors import Normal
from aejax.runs.folder import flat
from aejax.training import step
from aejax.training.lanes import lane

KEY = jax.random.key(2)
FEW = ["net.widths=[12,7]", "steps=6", "log_points=2"]
STILL = ["optim.lr=1e-12", "steps=5", "log_points=5"]


def started(*overrides, width=2):
    """An experiment, its parameters before the first step, and its training examples in [0, 1]."""
    each = job(*overrides)
    params = jax.jit(lambda: autoencoder.init(each.experiment, width))()
    return each.experiment, params, each.experiment.form.scaled(each.dataset.arrays().train)


def hidden(params, x, module="encoder", layer="Dense_0"):
    weights, center = params[module][layer], params["running"]["center"]
    return (np.asarray(x) - np.asarray(center)[None, :]) @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])


def test_dropout_leaves_out_its_share_and_keeps_the_mean():
    h = jnp.ones((400, 300))
    found = np.asarray(Dropout(jnp.float32(0.2)).apply({}, h, rngs={"dropout": KEY}))
    assert stats.binomtest(int((found == 0).sum()), found.size, 0.2).pvalue > 1e-3
    np.testing.assert_allclose(found[found != 0], 1.25, rtol=1e-6)


@pytest.mark.slow
def test_units_drop_out_in_training_only_and_afresh_at_each_step():
    _, rows = trained(job("net.dropout=0.5", *FEW, *STILL))
    assert len({float(row["train/loss"][0]) for row in rows}) == 5
    assert len({float(row["valid/mse"][0]) for row in rows}) == 1
    _, without = trained(job("net.dropout=0", *FEW, *STILL))
    _, never = trained(job(*FEW, *STILL))
    np.testing.assert_allclose(without[0]["train/loss"], never[0]["train/loss"], rtol=1e-6)
    experiment, params, x = started("net.dropout=0.5", "net.widths=[200,200]")
    drawn = [np.asarray(autoencoder.forward(experiment, params, x, None, jax.random.key(k)).logits) for k in (1, 2)]
    assert not np.allclose(*drawn)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_batch_norm_runs_toward_the_statistics_of_the_batches(net):
    each = job(f"net={net}", "net.widths=[6]", "net.norm=batch", *STILL)
    state, rows = trained(each)
    x = each.experiment.form.scaled(each.dataset.arrays().train)
    norm = lane(state.params, 0)["running"]["encoder"]["BatchNorm_0"]
    if net == "mlp":
        h = hidden(lane(state.params, 0), x)
        np.testing.assert_allclose(norm["mean"], (1 - 0.9**5) * h.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(norm["var"], 0.9**5 + (1 - 0.9**5) * h.var(axis=0), rtol=1e-4)
    assert len({float(row["train/loss"][0]) for row in rows}) == 1  # the batch's own
    assert len({float(row["valid/mse"][0]) for row in rows}) == 5  # the running ones
    assert norm["mean"].shape == (6,)


@pytest.mark.slow
def test_evaluation_takes_the_running_statistics_and_no_other_example():
    each = job("net.norm=batch", *FEW)
    params = lane(trained(each)[0].params, 0)
    x = each.experiment.form.scaled(each.dataset.arrays().train)
    alone = autoencoder.reconstruct(each.experiment, params, x[:1])
    np.testing.assert_allclose(alone, autoencoder.reconstruct(each.experiment, params, x)[:1], atol=1e-5)
    in_training = autoencoder.forward(each.experiment, params, x, None, KEY)
    assert not np.allclose(in_training.logits, autoencoder.forward(each.experiment, params, x).logits, atol=1e-3)
    norm = in_training.statistics["encoder"]["BatchNorm_0"]
    before = params["running"]["encoder"]["BatchNorm_0"]
    np.testing.assert_allclose(norm["mean"], 0.9 * before["mean"] + 0.1 * hidden(params, x).mean(axis=0), atol=1e-5)


@pytest.mark.slow
def test_the_best_parameters_come_with_their_statistics():
    wild = ["optim.lr=3", "optim.schedule=constant", "optim.warmup=1", "steps=60", "log_points=20"]  # worse at the end
    few = ["net.widths=[16]", "evaluate.groups=[reconstruction]"]
    each = job("select=best", "batch_size=9", "net.norm=batch", *few, *wild)
    state, rows = trained(each)
    errors = [float(row["valid/mse"][0]) for row in rows]
    assert min(errors) < errors[-1]
    assert evaluated(state, each)[0]["recon/mse"][0] == pytest.approx(min(errors), rel=1e-4)


def test_layer_norm_standardizes_the_units_of_an_example():
    experiment, params, x = started("net.norm=layer", "net.widths=[50]", "net.activation=identity")
    h = experiment.net.encoder(experiment.form.shape).apply({"params": params["encoder"]}, x, training=False)
    np.testing.assert_allclose(h.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(h.std(axis=1), 1, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["mlp", pytest.param("conv", marks=pytest.mark.slow)])
def test_a_residual_net_adds_what_it_had(net):
    experiment, params, x = started(f"net={net}", "net.residual=true", "net.widths=[6,6]", "net.activation=identity")
    names = {"mlp": ["Dense_2"], "conv": ["Convolution_0", "Convolution_2"]}[net]  # not the shortcuts
    silent = params["encoder"] | {name: jax.tree.map(jnp.zeros_like, params["encoder"][name]) for name in names}
    h = experiment.net.encoder(experiment.form.shape).apply({"params": silent}, x, training=False)
    if net == "mlp":
        expected = hidden(params, x) + hidden(params, x, layer="Dense_1")
        np.testing.assert_allclose(h, expected, atol=1e-5)
    else:  # every second pixel, twice
        first, second = (params["encoder"][name]["Dense_0"]["kernel"] for name in ("Convolution_1", "Convolution_3"))
        assert first.shape == (4, 6) and second.shape == (24, 6)
        assert np.abs(h).max() > 0
    deep = [f"net={net}", "net.widths=[6,6]", *FEW[1:]]
    assert np.isfinite(trained(job("net.residual=true", *deep))[1][-1]["train/loss"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["linear", "bernoulli"])
@pytest.mark.parametrize("net", ["mlp", pytest.param("conv", marks=pytest.mark.slow)])
def test_a_centered_net_sees_and_gives_what_examples_differ_in_from_their_mean(net, likelihood):
    words = [f"net={net}", "net.widths=[6]", f"likelihood={likelihood}", "data=emoji", "data.color=gray", *FEW[1:]]
    plain, centered = job(*words, "net.center=false"), job(*words)
    data = centered.dataset.arrays()
    x_NxP, mean_P = data.train / 255.0, (data.train / 255.0).mean(axis=0)
    params = step.init(centered.experiment, data, 2).params
    np.testing.assert_allclose(params["running"]["center"], mean_P, atol=1e-6)
    z_NxZ = autoencoder.encode(centered.experiment, params, x_NxP).mean
    apart_NxP = x_NxP - mean_P[None, :]
    np.testing.assert_allclose(z_NxZ, autoencoder.encode(plain.experiment, params, apart_NxP).mean, atol=1e-5)
    silent = params | {name: jax.tree.map(jnp.zeros_like, params[name]) for name in ("from_code", "decoder")}
    given_NxP = autoencoder.reconstruct(centered.experiment, silent, x_NxP)
    bounds = (-np.inf, np.inf) if likelihood == "linear" else (1 / 256, 255 / 256)
    np.testing.assert_allclose(given_NxP[:2], np.tile(np.clip(mean_P, *bounds), (2, 1)), atol=1e-6)
    state, _ = trained(centered)
    np.testing.assert_allclose(lane(state.params, 0)["running"]["center"], mean_P, atol=1e-6)


@pytest.mark.slow
def test_tied_weights_are_the_encoders():
    experiment, params, x = started("net.tied=true", "net.widths=[12,7]", "net.activation=tanh", "likelihood=linear")
    z = autoencoder.encode(experiment, params, x).mean
    first, second, code = (
        np.asarray(kernel)
        for kernel in (
            params["encoder"]["Dense_0"]["kernel"], params["encoder"]["Dense_1"]["kernel"],
            params["to_code"]["mean"]["kernel"],
        )
    )  # fmt: skip
    expected = np.tanh(np.tanh(np.asarray(z) @ code.T) @ second.T) @ first.T  # the biases start at 0
    np.testing.assert_allclose(autoencoder.decode(experiment, params, z), expected, atol=1e-5)
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(autoencoder.trained(tree)))  # noqa: E731
    free = started("net.widths=[12,7]")[1]
    assert count(free) - count(params) == 35 * 12 + 12 * 7 + 7 * 2


def test_a_tied_linear_autoencoder_reaches_pca():
    tied = ["net=linear", "net.tied=true", "likelihood=linear", "latent_dim=4", "steps=3000", "optim.lr=0.01"]
    _, rows = trained(job(*tied, "log_points=1"))
    _, best = trained(job("model=pca", "latent_dim=4"))
    assert rows[-1]["valid/mse"][0] == pytest.approx(best[-1]["valid/mse"][0], rel=1e-3)


@pytest.mark.parametrize(
    ("init", "variance"), [("lecun_normal", 1 / 35), ("he_uniform", 2 / 35), ("glorot_normal", 2 / (35 + 500))]
)
def test_initializations(init, variance):
    kernel = started(f"net.init={init}", "net.widths=[500]")[1]["encoder"]["Dense_0"]["kernel"]
    assert float(kernel.var()) == pytest.approx(variance, rel=0.05)


def test_an_orthogonal_start_is_one():
    kernel = started("net.init=orthogonal", "net.widths=[20]")[1]["encoder"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(20), atol=1e-5)


@pytest.mark.slow
def test_weight_decay_shrinks_weights_and_nothing_else():
    each = job(
        "optim=sgd", "optim.weight_decay=0.5", "optim.lr=0.1", "optim.schedule=constant", "optim.clip=1e-9", *FEW
    )
    before = flat(
        jax.device_get(
            autoencoder.init(each.experiment.replace(likelihood=job("likelihood=learned").experiment.likelihood), 2)
        )
    )
    after = flat(autoencoder.trained(lane(trained(each)[0].params, 0)))
    for name, value in after.items():
        expected = before[name] * (0.95**6 if name.endswith("kernel") else 1)
        np.testing.assert_allclose(value, expected, atol=1e-6, err_msg=name)


# --- the KL's schedules -----------------------------------------------------------------------------------------------


def contribution(kl_BxZ, progress, **numbers):
    """What the KL adds at this share of the training, with weight 2."""
    default = {"weight": 2, "anneal": 0, "cycles": 1, "free_bits": 0, "capacity": 0, "capacity_warmup": 0}
    term = KL(**{name: jnp.float32(value) for name, value in (default | numbers).items()})
    context = with_kl(kl_BxZ, progress)
    return float(term.contribution(context, jnp.mean(term(context))))


def with_kl(kl_BxZ, progress):
    """A Context of Gaussian posteriors with unit variance whose KL to N(0, I) is kl_BxZ."""
    mean_BxZ, mask_Z = jnp.sqrt(2 * kl_BxZ), jnp.ones(kl_BxZ.shape[1])
    code = Code(mean_BxZ, mean_BxZ, mask_Z, Diagonal(mean_BxZ, mask_Z, jnp.zeros_like(mean_BxZ)))
    outputs, experiment = autoencoder.Outputs(code, None, {}), types.SimpleNamespace(prior=Normal())
    return Context(experiment, None, Batch(None, None), outputs, None, jnp.float32(progress))


KL_BXZ = jnp.array([[0.1, 2.0], [0.3, 4.0]])  # means 0.2 and 3


@pytest.mark.parametrize(
    ("progress", "numbers", "expected"),
    [
        (0.0, {}, 2 * 3.2),
        (0.25, {"anneal": 0.5}, 2 * 3.2 * 0.5),
        (0.75, {"anneal": 0.5}, 2 * 3.2),
        (0.0, {"anneal": 0.5}, 0.0),
        (0.3125, {"anneal": 0.5, "cycles": 4}, 2 * 3.2 * 0.5),  # a quarter into the second of four cycles
        (0.45, {"anneal": 0.5, "cycles": 4}, 2 * 3.2),
        (0.5, {"anneal": 0.5, "cycles": 4}, 0.0),
        (0.5, {"free_bits": 0.5}, 2 * 3.5),
        (0.5, {"free_bits": 5}, 2 * 10),
        (0.5, {"capacity": 5}, 2 * 1.8),
        (0.5, {"capacity": 2}, 2 * 1.2),
        (0.25, {"capacity": 2, "capacity_warmup": 0.5}, 2 * 2.2),
    ],
)
def test_the_schedules_of_the_kl(progress, numbers, expected):
    assert contribution(KL_BXZ, progress, **numbers) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_units_below_the_free_bits_get_no_gradient():
    gradient = jax.grad(lambda kl: added_traced(kl))(KL_BXZ)
    np.testing.assert_allclose(gradient, [[0, 0.5], [0, 0.5]])


def added_traced(kl_BxZ):
    numbers = {"weight": 1, "anneal": 0, "cycles": 1, "free_bits": 0.5, "capacity": 0, "capacity_warmup": 0}
    term = KL(**{name: jnp.float32(value) for name, value in numbers.items()})
    return term.contribution(with_kl(kl_BxZ, 1), None)


@pytest.mark.slow
def test_the_weight_rises_over_the_training():
    _, rows = trained(job("model=vae", "model.anneal=1", *FEW, "steps=4", "log_points=4"))
    for at, row in enumerate(rows):
        expected = row["train/reconstruction"] + at / 4 * row["train/kl"]
        np.testing.assert_allclose(row["train/loss"], expected, rtol=1e-5)


# --- the learned variance ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@struct.dataclass
class Noisy:
    """Vectors of pure normal noise, whose standard deviation is 0.1 in the first half and 0.5 in the second."""

    def load(self):
        std = np.repeat([0.1, 0.5], 4)
        draw = np.random.default_rng(0).normal(size=(3000, 8)) * std
        return Dataset("noisy", "real", *[Split(part.astype(np.float32)) for part in np.split(draw, [2000, 2500])])


@pytest.mark.slow
def test_the_learned_variance_finds_the_right_one():
    blind = [f"data._target_={__name__}.Noisy", "net=linear", "latent_dim=1", "model=vae", "model.beta=20"]
    learned = ["likelihood=learned", "steps=1500", "log_points=1", "batch_size=2000", "optim.lr=0.02"]
    for each, expected in (("image", 0.13), ("pixel", [0.01] * 4 + [0.25] * 4)):
        one = job(*blind, *learned, f"likelihood.shared_variance={str(each == 'image').lower()}")
        state, _ = trained(one)
        variance = np.exp(one.experiment.likelihood.log_variance(lane(state.params, 0)["likelihood"]))
        np.testing.assert_allclose(variance, np.broadcast_to(expected, variance.shape), rtol=0.1)
        assert evaluated(state, one)[0]["likelihood/variance"][0] == pytest.approx(0.13, rel=0.1)


def test_the_learned_likelihood_is_a_normal_one_that_starts_where_it_should():
    each = Learned(jnp.float32(0.03), "identity", jnp.float32(1e-4), "pixel")
    own = each.start(job("data=emoji").experiment.form)
    x, mean = jax.random.normal(KEY, (2, 3, 432))
    expected = -stats.norm(mean, 0.03**0.5).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(each.negative_log(x, mean, own), expected, rtol=1e-4)
    lowest = {"log_variance": jnp.full(432, -1e3)}
    assert float(each.learned(lowest)["variance"]) == pytest.approx(1e-4, rel=1e-4)


@pytest.mark.slow
def test_what_is_learned_and_what_runs_is_recorded(tmp_path):
    done = run(tmp_path, "data=emoji", "data.color=gray", "likelihood=learned", "net.norm=batch", *FEW)
    assert done.params["likelihood"]["log_variance"].shape == (1,)
    assert done.params["running"]["encoder"]["BatchNorm_0"]["mean"].shape == (12,)
    assert done.record["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(autoencoder.trained(done.params)))
    assert done.metrics["likelihood/variance"] > 0


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["net.tied=true", "net.residual=true"],
            r"net\.tied=true: a residual net cannot be tied; set net\.tied=false",
        ),
        (
            ["model=pca", "net.tied=true"],
            r"net\.tied=true: the weights of model=pca are tied already",
        ),
        (
            ["model=pca", "net.center=true"],
            r"net\.center=true: model=pca centers examples already; set net\.center=false",
        ),
        (["pretrain=greedy", "net.center=true"], r"net\.center=true: with pretrain=greedy layers learn from"),
        (["net.dropout=1"], r"net\.dropout=1: must be a number at least 0 and at most 0\.99 or null"),
        (["net.norm=group"], r"net\.norm=group: must be one of none, layer, batch"),
        (["net.init=zeros"], r"net\.init=zeros: must be one of glorot_normal"),
        (
            ["likelihood=learned", "likelihood.floor=1"],
            r"likelihood\.variance=0\.03: must be above likelihood\.floor=1",
        ),
        (["model=vae", "model.cycles=0.5"], r"model\.cycles=0\.5: must be a number at least 1"),
        (["model=vae", "model.anneal=2"], r"model\.anneal=2: must be a number at least 0 and at most 1"),
        (["model=vae", "model.free_bits=-1"], r"model\.free_bits=-1: must be a number at least 0"),
        (["optim.weight_decay=-1"], r"optim\.weight_decay=-1: must be a number at least 0 or null"),
    ],
)
def test_options_that_cannot_be_are_refused(overrides, told):
    with pytest.raises(InputError, match=f"^{told}"):
        job(*overrides)
