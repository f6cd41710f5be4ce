"""Layers that PyTorch pretrains are those that ours does, step by step; units, codes and noise are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job
from counterparts import GREEDY, network_of
from counterparts import torch as torch

from aejax.training import step

RBM = ("model=rbm_ae", "net.widths=[20,10]", "latent_dim=3")
PRETRAINED = {
    "greedy": GREEDY,
    "greedy denoising": (*GREEDY, "noise=masking", "pretrain.corruption=0.3"),
    "greedy tied": (*GREEDY, "net.tied=true", "pretrain.share=0.7"),
    "greedy k largest": ("model=topk_ae", "pretrain=greedy", "net.widths=[20]", "model.k=2", "latent_dim=6"),
    "greedy posterior": ("model=vae", "pretrain=greedy", "net.widths=[20]", "net.activation=tanh", "latent_dim=3"),
    "rbm": (*RBM, "noise=masking"),
    "rbm tied": (*RBM, "net.tied=true", "pretrain.cd=3"),
    "rbm of free means": (*RBM, "likelihood=linear"),
}


@pytest.fixture
def without_draws(torch, monkeypatch):
    """Units are their probabilities, normal draws are 0, uniform ones are the same in each step, here and there."""

    def spread(shape):
        return (np.arange(np.prod(shape)).reshape(shape) * 0.618 % 1).astype(np.float32)

    def bernoulli(key, probability, shape=()):
        return jnp.broadcast_to(probability, shape or probability.shape)

    monkeypatch.setattr(jax.random, "bernoulli", bernoulli)
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: jnp.zeros(shape))
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.asarray(spread(shape)))
    monkeypatch.setattr(torch, "bernoulli", lambda probabilities: probabilities)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.from_numpy(spread(shape)))


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretrained_layers_in_pytorch_are_those_of_ours_from_the_same_weights(torch, without_draws, name):
    """All letters are one batch. After each step, those of the whole that follow included, losses and weights agree."""
    from benchmarks.torch_networks import params_of
    from benchmarks.torch_training import descent, drawn, flat

    one = job("data=letters", "steps=30", "log_points=1", "optim.warmup=0.3", "optim.lr=0.01", *PRETRAINED[name])
    experiment, data = one.experiment, one.dataset.arrays()
    assert experiment.batch_size == experiment.form.examples
    network = network_of(torch, one)
    state = step.init(experiment, data, int(experiment.latent_dim), params_of(network, experiment.net))
    network, stepped = network.train(), jax.jit(lambda state, at: step.step(experiment, state, data, at))
    losses = descent(experiment, network, drawn(flat(one.dataset.train.x), experiment.batch_size), 1.0)
    phases = experiment.pretrain.phases(experiment)
    for at, theirs in enumerate(losses):
        before = state.params["encoder"]["Dense_0"]["kernel"]
        state, metrics = stepped(state, at)
        assert float(theirs) == pytest.approx(float(metrics["train/loss"]), rel=1e-4, abs=1e-4), at
        params = params_of(network, experiment.net)
        jax.tree.map(lambda ours, other: np.testing.assert_allclose(other, ours, atol=1e-4), state.params, params)
        is_moved = bool(jnp.any(state.params["encoder"]["Dense_0"]["kernel"] != before))
        assert is_moved is (at < phases[0] or at >= sum(phases))
    assert at == 29


@pytest.mark.parametrize(("gaussian", "variance"), [(False, 0.25 * 0.75 * 4.0), (True, 4.0)])
def test_hidden_units_of_a_chain_in_pytorch_are_drawn(torch, gaussian, variance):
    """One hidden unit that is 1 with probability 0.25, or normal; the visible one's mean is twice its state plus 1."""
    from benchmarks.torch_pretraining import Machine

    torch.manual_seed(0)
    bias = torch.tensor([-2.0 - np.log(3.0)], dtype=torch.float32)
    machine = Machine(torch.tensor([[2.0]]), torch.ones(1), bias, True, gaussian)
    v_BxV = machine.chain(torch.ones(100_000, 1), 1)
    assert float(v_BxV.mean()) == pytest.approx(1 - 2 * np.log(3.0) if gaussian else 1.5, abs=0.03)
    assert float(v_BxV.var()) == pytest.approx(variance, rel=0.03)
    assert len(v_BxV.unique()) == 2 or gaussian
    seen = Machine(torch.tensor([[2.0]]), torch.ones(1), bias, False, gaussian).chain(torch.ones(100, 1), 2)
    assert seen.min() > 0 and seen.max() < 1


def test_deeper_layers_in_pytorch_learn_from_inputs_of_which_a_share_is_0(torch):
    from benchmarks.torch_pretraining import greedy_loss

    one = job("data=digits", "steps=60", *GREEDY, "net.widths=[400,10]", "pretrain.corruption=0.3")
    network, x_BxP = network_of(torch, one), torch.rand(50, 64)
    seen = []
    network.encoder[2].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    for _ in range(2):
        greedy_loss(one.experiment, network, 1, 0 * x_BxP, x_BxP)
    first, second = seen
    hidden = network.encoder[:2](x_BxP)
    assert float((first == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(first[first != 0], hidden[first != 0]) and not torch.equal(first, second)
