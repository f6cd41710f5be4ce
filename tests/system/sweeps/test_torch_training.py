"""Networks and steps in PyTorch are ours: outputs, losses, weights, rates, draws, and which parameters are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job
from counterparts import GREEDY, NETS, network_of
from counterparts import torch as torch

from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.objective import objective
from aejax.training import step


@pytest.mark.parametrize("name", NETS)
def test_a_network_in_pytorch_has_our_output_and_our_loss(torch, name):
    from benchmarks.torch_networks import loss_of, mean_of, params_of

    one = job("data=digits", "steps=5", *NETS[name])
    experiment, network = one.experiment, network_of(torch, one, noise=0.1).eval()
    params = params_of(network, experiment.net)
    expected = jax.eval_shape(lambda: autoencoder.init(experiment, int(experiment.latent_dim)))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)

    x_BxP = np.array(experiment.form.scaled(one.dataset.arrays().test[:40]))
    with torch.no_grad():
        logits_BxP, kl_B = network(torch.from_numpy(x_BxP))
        theirs = mean_of(experiment.likelihood, logits_BxP).numpy()
        loss = float(loss_of(experiment.likelihood, torch.from_numpy(x_BxP), logits_BxP, kl_B))
    ours = autoencoder.reconstruct(experiment, params, jnp.asarray(x_BxP))
    assert np.abs(theirs - theirs.mean(axis=0)).max() > 0.02  # it does not decode one image for all
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    total, terms, _ = objective(experiment, params, Batch(jnp.asarray(x_BxP), jnp.asarray(x_BxP)))
    assert loss == pytest.approx(float(total), rel=1e-5)
    assert ("kl" in terms) is (name == "vae") and float(kl_B.mean()) == pytest.approx(float(terms.get("kl", 0)))


FEW_UNITS = ("model=topk_ae", "net=linear", "model.k=2", "model.boost=0.1", "latent_dim=100")  # of 100 for 27 letters


@pytest.mark.parametrize("words", [NETS["deep"], FEW_UNITS, (*NETS["tied"], "optim.schedule=constant")])
def test_steps_in_pytorch_are_those_of_ours_from_the_same_weights(torch, words):
    """All letters are one batch, so that nothing is drawn: Adam, the rates and the bonus of idle units are compared."""
    from benchmarks.torch_networks import params_of
    from benchmarks.torch_training import trained

    one = job("data=letters", "steps=30", "log_points=2", "optim.warmup=0.3", "optim.lr=0.01", *words)
    experiment, data = one.experiment, one.dataset.arrays()
    assert experiment.batch_size == experiment.form.examples
    state = step.init(experiment, data, int(experiment.latent_dim), params_of(network_of(torch, one), experiment.net))
    begun = state.params
    state, _ = jax.jit(lambda state: step.segment(experiment, state, data, 0, 30))(state)
    theirs = params_of(trained(experiment, one.dataset, int(experiment.seed)), experiment.net)
    moved = jax.tree.map(lambda one, other: float(jnp.abs(one - other).max()), state.params, begun)
    assert moved["to_code"]["mean"]["kernel"] > 0.05
    assert words != FEW_UNITS or moved["running"]["bottleneck"]["idle"] > 1
    jax.tree.map(lambda ours, other: np.testing.assert_allclose(other, ours, atol=1e-4), state.params, theirs)


@pytest.mark.parametrize("shape", [(30, 50), (30, 50, 3)])
@pytest.mark.parametrize("level", [0.0, 0.25])
def test_masking_in_pytorch_sets_a_share_of_pixels_to_0_with_all_their_channels(torch, shape, level):
    from aejax.models.noise import Masking
    from benchmarks.torch_training import corrupted

    torch.manual_seed(0)
    x_BxP = torch.rand(40, int(np.prod(shape))) + 0.1
    first, second = (corrupted(Masking(np.float32(level)), x_BxP, shape) for _ in range(2))
    masked = (first == 0).reshape(40, 1500, -1)
    assert float(masked.float().mean()) == pytest.approx(level, abs=0.01)
    assert torch.equal(masked.any(dim=2), masked.all(dim=2))
    assert torch.equal(first[first != 0], x_BxP[first != 0]) and torch.equal(first, second) is (level == 0)


def test_noise_in_pytorch_is_drawn_again_in_each_step_and_the_target_stays_clean(torch, monkeypatch):
    from benchmarks import torch_networks, torch_training

    inputs, targets = [], []
    forward, loss_of = torch_networks.Network.forward, torch_networks.loss_of
    monkeypatch.setattr(torch_networks.Network, "forward", lambda own, x: inputs.append(x) or forward(own, x))
    monkeypatch.setattr(
        torch_training, "loss_of", lambda kind, x, *others: targets.append(x) or loss_of(kind, x, *others)
    )
    words = ("data=letters", "steps=2", "log_points=1", "noise=masking", "select=best", "data.validation=0.2")
    one = job(*words, *NETS["deep"])
    torch_training.trained(one.experiment, one.dataset, 0)
    first, second, validated = inputs
    clean = torch_training.flat(one.dataset.train.x).float()
    assert all(torch.equal(target, clean) for target in targets) and len(targets) == 2
    assert 0.6 < float(first.sum() / clean.sum()) < 0.9 and not torch.equal(first, second)
    assert torch.equal(validated, torch_training.flat(one.dataset.valid.x).float())


@pytest.mark.parametrize("words", [(), ("optim.schedule=constant",), ("optim.warmup=0.3",), ("optim.warmup=0",)])
@pytest.mark.parametrize("steps", [1, 10, 27])
def test_the_learning_rate_of_each_step_is_ours(torch, words, steps):
    """Adam's direction is 1 for a gradient that is always 1."""
    from benchmarks.torch_training import factor

    one = job("data=digits", "model=ae", f"steps={steps}", "optim.lr=0.5", *words)
    optim, update = one.experiment.optim, one.experiment.optim.transformation(steps)
    state, rates = update.init(jnp.float32(0)), []
    for _ in range(steps):
        change, state = update.update(jnp.float32(1), state, jnp.float32(0))
        rates.append(-float(change) / 0.5)
    assert [factor(optim, steps, at) for at in range(steps)] == pytest.approx(rates, abs=1e-5)


@pytest.mark.parametrize("words", [("net=mlp", "net.widths=[300,200]"), ("net=conv", "net.widths=[64,96]")])
def test_initial_weights_in_pytorch_have_the_distribution_of_ours(torch, words):
    from benchmarks.torch_networks import params_of

    one = job("data=digits", "model=ae", "latent_dim=100", "steps=5", *words)
    theirs = params_of(network_of(torch, one), one.experiment.net)
    ours = autoencoder.init(one.experiment, 100)
    for (path, other), own in zip(jax.tree.leaves_with_path(theirs), jax.tree.leaves(ours), strict=True):
        if path[-1].key == "kernel":
            assert np.std(other) == pytest.approx(float(np.std(own)), rel=0.05), path
            cut_off = np.abs(own).max() < 2.4 * np.std(own)
            assert (np.abs(other).max() < 2.4 * np.std(other)) == cut_off, path
        elif path[-1].key == "bias":
            assert not other.any()


def test_batches_of_an_epoch_are_whole_and_have_no_example_twice(torch):
    from benchmarks.torch_training import drawn

    batches = drawn(torch.arange(10)[:, None], 3)
    epochs = [torch.cat([next(batches) for _ in range(3)])[:, 0].tolist() for _ in range(3)]
    assert [len(set(epoch)) for epoch in epochs] == [9, 9, 9] and len({tuple(epoch) for epoch in epochs}) == 3


def test_pixels_of_dynamic_data_are_drawn_again_in_each_step_and_codes_are_sampled(torch, monkeypatch):
    from benchmarks import torch_networks, torch_training

    seen, forward = [], torch_networks.Network.forward
    monkeypatch.setattr(torch_networks.Network, "forward", lambda own, x: seen.append(x) or forward(own, x))
    one = job("data=digits", "steps=2", "log_points=1", "batch_size=null", "data.limit=30", *NETS["vae"])
    network = torch_training.trained(one.experiment, one.dataset, 0)
    first, second = seen
    assert set(first.unique().tolist()) == {0.0, 1.0} and not torch.equal(first, second)
    means = one.experiment.form.scaled(torch_training.flat(one.dataset.train.x).numpy())
    assert abs(float(first.mean()) - means.mean()) < 0.03
    network.train()
    assert not torch.equal(network(first)[0], network(first)[0])
    network.eval()
    assert torch.equal(network(first)[0], network(first)[0])


@pytest.mark.parametrize("words", [NETS["deep"], GREEDY])
def test_the_parameters_are_those_of_the_smallest_validation_error_where_the_run_selects_them(
    torch, monkeypatch, words
):
    from benchmarks import torch_training

    errors, kept = iter([0.3, 0.1, 0.2]), []

    def validated(likelihood, network, stored_NxP, scale):
        kept.append(network.from_code.weight.detach().clone())
        return next(errors)

    monkeypatch.setattr(torch_training, "validation_mse", validated)
    one = job("data=digits", "steps=6", "log_points=3", "select=best", "data.validation=0.1", *words)
    network = torch_training.trained(one.experiment, one.dataset, 0)
    assert [torch.equal(network.from_code.weight, weights) for weights in kept] == [False, True, False]


def test_the_validation_error_is_ours(torch):
    from benchmarks.torch_networks import params_of
    from benchmarks.torch_training import flat, validation_mse

    one = job("data=digits", "steps=6", "data.validation=0.1", *NETS["deep"])
    network = network_of(torch, one, noise=0.1)
    expected = step.validation_mse(one.experiment, params_of(network, one.experiment.net), one.dataset.arrays())
    error = validation_mse(one.experiment.likelihood, network, flat(one.dataset.valid.x), 1 / 255)
    assert error == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("model=beta_vae",), "model.terms=others: the networks in PyTorch have only a plain KL"),
        (("model=ae", "net.init=he_normal"), "net.init=he_normal: the networks in PyTorch have only lecun_normal"),
        (("model=conv_ae", "net.kernel=3"), "net.kernel=3: the networks in PyTorch have only 4"),
        (("data=letters", "noise=flip"), "noise=Flip: the networks in PyTorch have only Clean, Masking"),
    ],
)
def test_a_setting_without_a_counterpart_is_refused(torch, words, line):
    from benchmarks.torch_training import trained

    one = job("data=digits", "steps=5", *words)
    with pytest.raises(InputError) as caught:
        trained(one.experiment, one.dataset, 0)
    assert str(caught.value) == line
