"""PyTorch beside shortened published results: the same networks, the same steps, records, verdicts.

What trains needs PyTorch, of the extra `bench`; what is told of records does not.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from conftest import CONF, job
from made import make_run

from aejax.base.errors import InputError
from aejax.comparison import tables
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.objective import objective
from aejax.training import step

sys.path.append(str(CONF.parent))  # where benchmarks/ is
from benchmarks import published, reference_results, references, torch_references
from benchmarks.reference_results import Mean, Result

NETS = {
    "deep": ("model=ae", "net.widths=[20,10]", "net.activation=relu", "latent_dim=3"),
    "vae": ("model=vae", "net.widths=[20]", "latent_dim=3", "data.binarize=dynamic"),
    "k_sparse": ("model=topk_ae", "net.widths=[]", "net.tied=true", "model.k=5", "latent_dim=20"),
    "tied": ("model=ae", "net.widths=[20,10]", "net.tied=true", "net.activation=tanh", "latent_dim=3"),
    "conv": ("model=conv_ae", "net.widths=[5,6]", "latent_dim=4"),
    "not centered": ("model=ae", "net.widths=[20]", "net.center=false", "latent_dim=3"),
}
GREEDY = ("model=stacked_ae", "net.widths=[20,10]", "latent_dim=3")
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
def torch():
    """PyTorch with one thread; the tests share the machine."""
    torch = pytest.importorskip("torch", reason="torch is not installed; the extra bench has it")
    torch.set_num_threads(1)
    return torch


def network_of(torch, one, noise=0.0):
    """The Network of a job before its first step, its weights moved by so much noise."""
    from benchmarks import torch_networks, torch_training

    torch.manual_seed(int(one.experiment.seed))
    x_NxP = one.experiment.form.scaled(torch_training.flat(one.dataset.train.x).numpy())
    network = torch_networks.Network(one.experiment, torch.from_numpy(x_NxP.mean(axis=0, dtype=np.float64)).float())
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(noise * torch.randn_like(weights))
    return network


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
    found = validation_mse(one.experiment.likelihood, network, flat(one.dataset.valid.x), 1 / 255)
    assert found == pytest.approx(float(expected), rel=1e-5)


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


def test_a_training_is_recorded_once_beside_a_run_and_measured_as_the_run(torch, command, tmp_path, monkeypatch):
    words = ["data=digits", "steps=300", "log_points=3", "model=ae", "net.widths=[32]", "latent_dim=8", "figures=false"]
    status, _, told = command(*words, "evaluate.groups=[reconstruction]", "track=off", "hydra.run.dir=one")
    assert not status, told
    folder = tmp_path / "one"
    torch_references.train_beside([folder])
    left = torch_references.record_of(folder)
    ours = json.loads((folder / "metrics.json").read_text())
    assert left["metrics"].keys() == ours.keys() and left["steps"] == 300 and left["versions"]["torch"]
    assert left["metrics"]["recon/mse"] != ours["recon/mse"]
    assert left["metrics"]["recon/mse"] == pytest.approx(ours["recon/mse"], rel=0.15)  # far below the mean image's

    monkeypatch.setattr(torch_references, "recorded_training", None)  # would not be called again
    torch_references.train_beside([folder])
    for word, line in (
        ("steps=3", "steps=3: all but the place of the data is the run's; "),
        ("data.limit=3", "data.limit=3: all but the place of the data is the run's; "),
    ):
        with pytest.raises(InputError) as caught:
            torch_references.saved_run(folder, [word])
        assert str(caught.value).startswith(line)


def test_the_place_of_the_data_may_be_another_one(torch, command, tmp_path, monkeypatch):
    """A relative one starts where the command does."""
    status, _, told = command("data=digits", "steps=2", "figures=false", "track=off", "hydra.run.dir=one")
    assert not status, told
    seen = []
    monkeypatch.setattr("aejax.runs.recorded.Recorded.job", lambda own, loaded: seen.append(own.config.data))
    for words in (["data.dir=there"], ["data.dir=null", "data.download=true"]):
        with pytest.raises(AttributeError):
            torch_references.saved_run(tmp_path / "one", words)
    assert seen[0].dir == str(tmp_path / "there")
    assert seen[1].dir is None and seen[1].download is True


def sweep(folder, values, torch_values, seconds=60.0, **settings):
    """A made-up sweep of case 4 with `values` {seed: recon/sse} and records of PyTorch for some of these seeds."""
    for seed, value in values.items():
        run = folder / "deep_relu" / str(seed)
        record = {"seconds": {"train": seconds}, "lanes": {"count": 3}}
        made = make_run(run, {"recon/sse": value}, record=record, seed=seed, data="mnist", epochs=4, **settings)
        if seed in torch_values:
            content = {"run": made.record["id"], "metrics": {"recon/sse": torch_values[seed]}}
            (run / "torch.json").write_text(json.dumps(content))
    overrides = ["+sweep=references/deep_relu", "track=off"]
    (folder / "deep_relu" / "sweep.json").write_text(json.dumps({"overrides": overrides}))


def cells_of(folder, case):
    """{column: cell} of the first row of a case."""
    lines = list(references.table(references.results([folder])))
    header, row = lines[0], next(line for line in lines if line.startswith(f"| {case} |"))
    return dict(zip(*([cell.strip() for cell in line.strip("|").split("|")] for line in (header, row)), strict=True))


@pytest.mark.parametrize(
    ("values", "cell", "verdict"),
    [
        ({0: 4.5, 1: 4.6, 2: 4.7}, "4.600 ± 0.248", "as PyTorch in the same steps"),
        ({0: 4.0, 1: 4.1, 2: 4.2}, "4.100 ± 0.248", "worse than PyTorch in the same steps"),
        ({0: 5.0, 1: 5.1, 2: 5.2}, "5.100 ± 0.248", "better than PyTorch in the same steps"),
        ({0: 5.0, 1: 5.1}, "5.050 (2 of 3 seeds)", ""),
        ({}, "not measured yet", ""),
    ],
)
def test_a_shortened_result_stands_beside_pytorch_s_of_the_same_steps(tmp_path, values, cell, verdict):
    sweep(tmp_path, {0: 4.55, 1: 4.6, 2: 4.65}, values)
    cells = cells_of(tmp_path, "4")
    assert cells["ours"] == "4.600 ± 0.124" and cells["PyTorch, same steps"] == cell
    parts = ["worse: shortened", *[verdict] * bool(verdict), published.CASES["deep_relu"].why]
    assert cells["verdict"] == "; ".join(parts)


def test_a_record_of_another_run_counts_for_none(tmp_path):
    sweep(tmp_path, {0: 4.55, 1: 4.6, 2: 4.65}, {0: 4.5, 1: 4.6, 2: 4.7})
    path = tmp_path / "deep_relu" / "0" / "torch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"run": "trained again"}))
    assert torch_references.record_of(path.parent) is None
    assert cells_of(tmp_path, "4")["PyTorch, same steps"] == "4.650 (2 of 3 seeds)"


@pytest.mark.parametrize(
    ("metric", "value", "told"),
    [
        ("likelihood/rate", 7.5, "above PyTorch"),
        ("likelihood/rate", 6.5, "below PyTorch"),
        ("elbo", 7.5, "better than"),
    ],
)
def test_a_result_beside_pytorch_s_follows_the_direction_of_its_metric(metric, value, told):
    case = published.Case("0", "paper", "setting", (), full="epochs=9")
    number = published.Number("", metric, f"{value:.1f}")
    result = Result(case, number, value, 0.1, 3, "", 1.0, "", Mean(7.0, 0.1, 3))
    assert result.verdict.startswith(f"reached; {told}")
    full = Result(case, number, value, 0.1, 3, "", 1.0, "epochs=9", Mean(7.0, 0.1, 3))
    assert full.verdict == "reached" and references.shown_torch(full) == ""


def test_the_mean_over_digits_of_a_seed_needs_the_records_of_all(tmp_path):
    sweep(tmp_path, {0: 4.5, 1: 4.6}, {0: 4.4, 1: 4.7})
    runs = tables.load([tmp_path]).completed
    twice = pd.concat([runs, runs.assign(path=[str(make_digit(tmp_path, seed)) for seed in runs["seed"]])])
    found = reference_results.torch_mean(twice.reset_index(drop=True), "recon/sse")
    assert found.seeds == 1 and found.value == pytest.approx((4.4 + 2.0) / 2)


def make_digit(folder, seed):
    """Another run of a seed, of which that of seed 0 has a record."""
    made = make_run(folder / "more" / str(seed), {"recon/sse": 1.0}, seed=seed, record={"digit": 1})
    if seed == 0:
        content = {"run": made.record["id"], "metrics": {"recon/sse": 2.0}}
        (made.path / "torch.json").write_text(json.dumps(content))
    return made.path


def test_the_command_trains_beside_shortened_runs_that_are_completed(tmp_path, monkeypatch):
    sweep(tmp_path, {0: 4.5, 1: 4.6}, {})
    make_run(tmp_path / "deep_relu" / "2", {}, status="running", seed=2, data="mnist", epochs=4)
    called = []
    monkeypatch.setattr(references, "train_beside", lambda folders, words: called.append((folders, words)))
    references.main(["torch", str(tmp_path), "data.dir=there"])
    assert called == [([tmp_path / "deep_relu" / "0", tmp_path / "deep_relu" / "1"], ["data.dir=there"])]

    words = ["+sweep=references/deep_relu", *published.CASES["deep_relu"].full.split()]
    (tmp_path / "deep_relu" / "sweep.json").write_text(json.dumps({"overrides": words}))
    assert reference_results.shortened_runs([tmp_path]) == []


def test_the_place_of_the_data_is_the_only_setting_whether_there_is_a_run_or_not(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        references.main(["torch", str(tmp_path), "epochs=3"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(
        "aejax: epochs=3: all but the place of the data is the run's; known: data."
    )


def test_first_seeds_come_first_and_short_runs_before_long_ones(tmp_path):
    sweep(tmp_path / "long", {0: 4.5, 1: 4.6}, {}, seconds=90.0)
    sweep(tmp_path / "short", {0: 4.5, 1: 4.6}, {}, seconds=30.0)
    folders = [folder / "deep_relu" / seed for folder in (tmp_path / "long", tmp_path / "short") for seed in "10"]
    ordered = sorted(folders, key=torch_references.turn)
    names = [(folder.parts[-3], folder.name) for folder in ordered]
    assert names == [("short", "0"), ("long", "0"), ("short", "1"), ("long", "1")]


def test_without_pytorch_one_line_says_so(tmp_path, monkeypatch, capsys):
    sweep(tmp_path, {0: 4.5}, {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        references.main(["torch", str(tmp_path)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "aejax: torch is not installed; pip install -e '.[bench]'\n"
