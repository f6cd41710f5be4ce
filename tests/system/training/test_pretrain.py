"""Layers that learn one after another: what moves when, Boltzmann machines against enumeration, and what it is for."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, run, trained
from scipy.special import logsumexp

from aejax.base.errors import InputError
from aejax.base.keys import key_for
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.objective import objective
from aejax.runs.folder import flat
from aejax.training import step
from aejax.training.pretrain import Machine, is_trained

GREEDY = ["model=stacked_ae", "net.widths=[6,5]", "noise=flip"]
RBM = ["model=rbm_ae", "net.widths=[6,5]"]


@functools.cache
def after(overrides, *lengths):
    """The Job of these overrides, and its State after so many steps, and so many more."""
    each = job(*overrides)
    data = each.dataset.arrays()
    states = [jax.jit(functools.partial(step.init, width=3))(each.experiment, data)]
    at = 0
    for length in lengths:
        program = jax.jit(functools.partial(step.segment, length=length))
        states.append(program(each.experiment, states[-1], data, np.int32(at))[0])
        at += length
    return each, states


def moved(before, now):
    """The names of the parameters that differ."""
    before, now = (flat(autoencoder.trained(state.params)) for state in (before, now))
    return {name for name in before if np.any(before[name] != now[name])}


@pytest.mark.slow
@pytest.mark.parametrize("words", [pytest.param(GREEDY, marks=pytest.mark.slow), RBM], ids=["greedy", "rbm"])
def test_a_phase_moves_its_own_layer_and_nothing_else(words):
    words = (*words, "latent_dim=3", "steps=24", "optim=adamw", "optim.weight_decay=0.1")
    each, states = after(words, 4, 4, 4, 1)
    assert each.experiment.pretrain.phases(each.experiment) == (4, 4, 4)
    decoder = ["bias"] if words[0] == "model=rbm_ae" else ["bias", "kernel"]
    layers = [
        {"encoder.Dense_0.bias", "encoder.Dense_0.kernel"} | {f"decoder.Dense_1.{name}" for name in decoder},
        {"encoder.Dense_1.bias", "encoder.Dense_1.kernel"} | {f"decoder.Dense_0.{name}" for name in decoder},
        {"to_code.mean.bias", "to_code.mean.kernel"} | {f"from_code.{name}" for name in decoder},
    ]
    for place, (before, now) in enumerate(itertools.pairwise(states[:4])):
        own = is_trained(each.experiment, before.params, place)
        names = {name for name, moves in flat(autoencoder.trained(own)).items() if moves}
        changed = {name.replace("/", ".") for name in moved(before, now)}
        if "rbm_ae" in words[0]:  # whose decoder has no weights of its own yet; decay is what moves them
            changed -= {name for name in changed if name.startswith(("decoder", "from_code")) and "kernel" in name}
        assert changed == layers[place]
        assert layers[place] <= {name.replace("/", ".") for name in names}
    assert len(moved(states[3], states[4])) == len(flat(autoencoder.trained(states[3].params)))


@pytest.mark.slow
def test_each_phase_begins_with_an_optimizer_of_its_own():
    _, states = after((*GREEDY, "latent_dim=3", "steps=24"), 4, 1)
    counts = [[leaf for leaf in jax.tree.leaves(state.optim) if leaf.dtype == jnp.int32] for state in states]
    assert [set(map(int, each)) for each in counts] == [{0}, {4}, {1}]


@pytest.mark.slow
def test_the_decoder_of_a_stack_of_machines_is_its_encoder_transposed():
    each, states = after((*RBM, "latent_dim=3", "steps=24"), 12)
    params = jax.tree.map(np.asarray, each.experiment.pretrain.unrolled(each.experiment, states[1].params))
    np.testing.assert_array_equal(params["decoder"]["Dense_1"]["kernel"], params["encoder"]["Dense_0"]["kernel"].T)
    np.testing.assert_array_equal(params["decoder"]["Dense_0"]["kernel"], params["encoder"]["Dense_1"]["kernel"].T)
    np.testing.assert_array_equal(params["from_code"]["kernel"], params["to_code"]["mean"]["kernel"].T)


@pytest.mark.parametrize(
    ("words", "ramps"),
    [
        (["model.anneal=0.4"], (0, 0.25, 0.5, 1, 1)),
        (["model.anneal=0.4", "model.cycles=2"], (0, 0.5, 1, 0, 1)),
        (["model.capacity=3", "model.capacity_warmup=0.5", "model.free_bits=0"], (0, 0.2, 0.4, 1, 1)),
    ],
)
def test_annealing_and_capacity_begin_with_the_first_joint_step(words, ramps):
    """40 steps, of which the layers take 20; the ramps at joint steps 0, 2, 4, 10 and 19, by their definition."""
    each, [state] = after((*GREEDY, "model=vae", "pretrain=greedy", "latent_dim=3", "steps=40", "model.beta=2", *words))
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)
    compute = jax.jit(lambda at: objective(each.experiment, state.params, Batch(x_BxP, x_BxP), at)[:2])
    for at, ramp in zip((20, 22, 24, 30, 39), ramps, strict=True):
        total, terms = jax.device_get(compute(np.int32(at)))
        expected = 2 * abs(terms["kl"] - 3 * ramp) if "model.capacity=3" in words else 2 * ramp * terms["kl"]
        assert total - terms["reconstruction"] == pytest.approx(expected, abs=2e-4), at


# --- restricted Boltzmann machines ------------------------------------------------------------------------------------


def states_of(units):
    return np.array(list(itertools.product([0.0, 1.0], repeat=units)), dtype=np.float32)


def made(visible, hidden, **kinds):
    draw = np.random.default_rng(0).normal
    arrays = [draw(size=shape).astype(np.float32) for shape in ((visible, hidden), visible, hidden)]
    return Machine(*arrays, np.ones(hidden, np.float32), **kinds)


@pytest.mark.parametrize("gaussian", [False, True])
def test_the_free_energy_is_the_sum_over_all_hidden_states(gaussian):
    machine = made(4, 3, gaussian_visible=gaussian)
    v_BxV, h_SxH = np.random.default_rng(1).uniform(size=(5, 4)), states_of(3)
    own_B = ((v_BxV - machine.visible) ** 2).sum(axis=1) / 2 if gaussian else -v_BxV @ machine.visible
    energy_BxS = own_B[:, None] - h_SxH @ machine.hidden - v_BxV @ machine.weights @ h_SxH.T
    np.testing.assert_allclose(machine.free_energy(v_BxV), -logsumexp(-energy_BxS, axis=1), rtol=1e-5)


def test_gaussian_hidden_units_are_integrated_out():
    machine = made(4, 1, gaussian_hidden=True)
    v_BxV, h_S = np.random.default_rng(1).uniform(size=(5, 4)), np.linspace(-30, 30, 20_001)
    energy_BxS = (h_S - machine.hidden) ** 2 / 2 - (v_BxV @ machine.weights) * h_S - (v_BxV @ machine.visible)[:, None]
    expected_B = -logsumexp(-energy_BxS, axis=1)
    found_B = np.asarray(machine.free_energy(v_BxV))
    np.testing.assert_allclose(found_B - found_B[0], expected_B - expected_B[0], rtol=1e-4)


def test_the_gradient_is_that_of_contrastive_divergence():
    """Hinton 2002: <v h> of the data less <v h> at the chain's end."""
    each, [state] = after((*RBM, "latent_dim=3", "steps=24"))
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)
    loss = lambda params: each.experiment.pretrain.loss(each.experiment, params, 0, Batch(x_BxP, x_BxP), 7)  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(state.params)
    machine = each.experiment.pretrain.machine(each.experiment, state.params, 0)
    key = jax.random.fold_in(key_for(each.experiment.seed, 19, 7), 0)
    end_BxP = machine.chain(x_BxP, key, 1)
    on = lambda v: jax.nn.sigmoid(v @ machine.weights + machine.hidden[None, :])  # noqa: E731
    expected = (end_BxP.T @ on(end_BxP) - x_BxP.T @ on(x_BxP)) / len(x_BxP)
    np.testing.assert_allclose(gradient["encoder"]["Dense_0"]["kernel"], expected, atol=1e-5)
    np.testing.assert_allclose(gradient["decoder"]["Dense_1"]["bias"], (end_BxP - x_BxP).mean(axis=0), atol=1e-5)


@pytest.mark.slow
def test_the_exact_likelihood_of_a_small_machine_rises():
    words = ("model=rbm_ae", "net.widths=[8]", "latent_dim=3", "steps=4000", "pretrain.cd=5", "optim.lr=0.01")
    each, states = after(words, 1000)
    x_BxP = np.asarray(each.experiment.form.scaled(each.dataset.arrays().train))

    def nats(state):
        """The exact mean log-likelihood: 2^8 hidden states give the partition function."""
        machine = jax.tree.map(np.asarray, each.experiment.pretrain.machine(each.experiment, state.params, 0))
        h_SxH = states_of(8)
        inputs_SxV = h_SxH @ machine.weights.T + machine.visible
        log_z = logsumexp(h_SxH @ machine.hidden + np.logaddexp(0, inputs_SxV).sum(axis=1))
        return float(np.mean(-machine.free_energy(x_BxP))) - log_z

    rate_P = x_BxP.mean(axis=0).clip(1e-6, 1 - 1e-6)
    independent = float(np.sum(rate_P * np.log(rate_P) + (1 - rate_P) * np.log(1 - rate_P)))
    before, now = nats(states[0]), nats(states[1])
    assert before < independent - 3
    assert now > independent + 3  # it knows which pixels go together


# --- what it is for ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["greedy", "rbm"])
def test_a_deep_narrow_sigmoid_net_trains_that_is_stuck_without(kind):
    words = ["net.widths=[24,20,16,12,10]", "net.activation=sigmoid", "net.center=false", "latent_dim=8", "steps=3000"]
    stuck, helped = (
        float(trained(job(*words, "log_points=3", f"pretrain={each}"))[1][-1]["valid/mse"][0])
        for each in ("none", kind)
    )
    mean_image = job().dataset.train.x.reshape(27, -1).astype(np.float32).var(axis=0).mean()
    assert stuck > 0.9 * mean_image
    assert helped < 0.7 * stuck


@pytest.mark.slow
@pytest.mark.parametrize("words", [pytest.param(GREEDY, marks=pytest.mark.slow), RBM], ids=["greedy", "rbm"])
def test_the_history_tells_the_layer(tmp_path, words):
    told = run(tmp_path, *words, "steps=24", "log_points=8", "evaluate.groups=[reconstruction]").history
    assert [row["layer"] for row in told] == [1, 2, 3, 3, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=rbm_ae", "pretrain.cd=0"], r"^pretrain\.cd=0: must be a whole number at least 1"),
        (
            ["model=rbm_ae", "net.activation=relu"],
            r"^pretrain=rbm: needs net\.activation=sigmoid for its binary units, not relu",
        ),
        (["model=rbm_ae", "net=conv"], r"^pretrain=rbm: needs fully connected layers; use net=mlp"),
        (["model=stacked_ae", "net=conv"], r"^pretrain=greedy: needs fully connected layers"),
        (
            ["model=stacked_ae", "net.widths=[]"],
            r"^pretrain=greedy: needs hidden layers, and net\.widths=\[\] has none",
        ),
        (["model=stacked_ae", "net.norm=batch"], r"have no norm and no shortcut; not with net\.norm=batch"),
        (["model=stacked_ae", "pretrain.share=1"], r"^pretrain\.share=1: must be a number above 0 and at most 0\.99"),
        (
            ["model=stacked_ae", "steps=5"],
            r"^steps=5: 0\.5 of them \(pretrain\.share\) are fewer than one for each of 3 layers",
        ),
        (
            ["model=sparse_ae", "net.activation=sigmoid", "pretrain=rbm"],
            r"^pretrain=rbm: needs model\.bottleneck\.activation=identity",
        ),
        (["model=pca", "pretrain=greedy"], r"^pretrain=greedy: needs hidden layers"),
    ],
)
def test_wrong_inputs(overrides, told):
    with pytest.raises(InputError, match=told):
        job(*overrides)
