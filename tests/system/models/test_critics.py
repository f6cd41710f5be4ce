"""Critics: whose gradient goes where, what they estimate, and when they learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import job

from aejax.base.keys import Purpose, key_for
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.objective import objective
from aejax.models.terms.critics import CodeNet, at_every, permuted_by_unit, separation
from aejax.training.optim import transformation

FEW = ["net.widths=[6]", "latent_dim=3"]


def started(*words, width=4):
    one = job(*FEW, *words)
    params = jax.jit(autoencoder.init, static_argnums=1)(one.experiment, width)
    x_BxP = one.experiment.form.scaled(one.dataset.arrays().train)
    return one.experiment, params, Batch(x_BxP, x_BxP)


def gradient(experiment, params, batch):
    return jax.jit(jax.grad(lambda params: objective(experiment, params, batch, jnp.int32(3))[0]))(params)


def oracle(name, experiment, params, batch):
    """(loss of the model, loss of the critic) as functions of (parameters of the model, variables of the critic)."""
    term_name = "critic" if "critic" in experiment.model.terms else "total_correlation"
    term = experiment.model.terms[term_name]
    key_z, key = (key_for(experiment.seed, use, 3) for use in (Purpose.POSTERIOR, Purpose.PENALTY))
    net = CodeNet(getattr(term, "widths", (1,)))
    mask = jnp.array([1.0, 1.0, 1.0, 0.0])

    def outputs(params):
        return autoencoder.forward(
            experiment, params, batch.input, key_z if experiment.model.bottleneck.sampling else None
        )

    def base(params):
        out = outputs(params)
        nats = jnp.mean(experiment.likelihood.negative_log(batch.target, out.logits, params["likelihood"]))
        return out, nats + (
            jnp.mean(autoencoder.rate(experiment, params, out.code)) if "kl" in experiment.model.terms else 0
        )

    log_sigmoid = jax.nn.log_sigmoid
    prior = experiment.prior.sample(experiment, params, key, len(batch.input))

    def model(params, variables):
        out, total = base(params)
        logit = net.apply({"params": variables}, out.code.z, mask)
        value = logit if name == "factor_vae" else -log_sigmoid(logit)
        return total + term.weight * jnp.mean(value)

    def critic(params, variables):
        z = outputs(params).code.z
        if name == "factor_vae":
            other, share = permuted_by_unit(key, z), 0.5
            real, fake = z, other
        else:
            share, real, fake = 1.0, prior, z
        yes, no = (net.apply({"params": variables}, codes, mask) for codes in (real, fake))
        return -share * (jnp.mean(log_sigmoid(yes)) + jnp.mean(log_sigmoid(-no)))

    def image_model(params, variables):
        out, total = base(params)
        nats = jnp.mean(experiment.likelihood.negative_log(batch.target, out.logits, params["likelihood"]))
        fixed = jax.lax.stop_gradient(out.code.z)
        head = lambda x: term.head(experiment).apply({"params": variables}, x)  # noqa: E731
        mean = experiment.likelihood.mean
        features = 0.5 * jnp.mean(jnp.sum((head(batch.target)[0] - head(mean(out.logits))[0]) ** 2, axis=1))
        fakes = [mean(autoencoder.decode(experiment, params, z)) for z in (fixed, prior)]
        deceit = -jnp.mean(jnp.stack([log_sigmoid(head(x)[1]) for x in fakes]))
        return total + term.weight * features - (1 - term.pixels) * nats + term.adversarial * deceit

    def image_critic(params, variables):
        out = outputs(params)
        head = lambda x: term.head(experiment).apply({"params": variables}, x)[1]  # noqa: E731
        fakes = [experiment.likelihood.mean(autoencoder.decode(experiment, params, z)) for z in (out.code.z, prior)]
        no = jnp.mean(jnp.stack([log_sigmoid(-head(x)) for x in fakes]))
        return -jnp.mean(log_sigmoid(head(batch.target))) - no

    return term_name, *((image_model, image_critic) if name == "vae_gan" else (model, critic))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["factor_vae", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adversarial_ae", "vae_gan"))]
)
def test_the_model_learns_through_a_frozen_critic_and_the_critic_by_its_loss_alone(name):
    experiment, params, batch = started(f"model={name}")
    term_name, model, critic = oracle(name, experiment, params, batch)
    variables = params["terms"][term_name]
    found = gradient(experiment, params, batch)
    of_model = jax.jit(jax.grad(model))(params, variables)
    of_critic = jax.jit(jax.grad(critic, argnums=1))(params, variables)
    assert float(optax.tree.norm(of_critic)) > 1e-3
    for key in ("encoder", "to_code", "from_code", "decoder"):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found[key], of_model[key])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found["terms"][term_name], of_critic
    )
    total, terms, _ = jax.jit(objective)(experiment, params, batch, jnp.int32(3))
    assert float(total) == pytest.approx(float(model(params, variables)), rel=1e-4)
    assert float(terms[f"{term_name}_loss"]) == pytest.approx(float(critic(params, variables)), rel=1e-4)


@pytest.mark.slow
def test_the_density_ratio_is_the_total_correlation_of_gaussians():
    correlation, net, mask = 0.8, CodeNet((32, 32)), jnp.ones(2)
    covariance = np.array([[1, correlation], [correlation, 1]], np.float32)
    factor = jnp.array(np.linalg.cholesky(covariance))
    optimizer = at_every(1, optax.adam(0.005, 0.5))
    variables = net.init(jax.random.key(0), jnp.zeros((1, 2)), mask)

    def loss(variables, key):
        key_z, key_order = jax.random.split(key)
        z = jax.random.normal(key_z, (256, 2)) @ factor.T
        logits = [net.apply(variables, codes, mask) for codes in (z, permuted_by_unit(key_order, z))]
        return 0.5 * separation(*logits)

    def step(carry, key):
        variables, state = carry
        updates, state = optimizer.update(jax.grad(loss)(variables, key), state, variables)
        return (optax.apply_updates(variables, updates), state), None

    start = variables, optimizer.init(variables)
    (variables, _), _ = jax.jit(lambda start: jax.lax.scan(step, start, jax.random.split(jax.random.key(1), 800)))(
        start
    )
    z = jax.random.normal(jax.random.key(2), (20_000, 2)) @ factor.T
    estimate = float(jnp.mean(net.apply(variables, z, mask)))
    assert estimate == pytest.approx(-0.5 * np.log(1 - correlation**2), abs=0.08)


def test_units_are_permuted_alone():
    z = jnp.arange(40.0).reshape(10, 4)
    permuted = permuted_by_unit(jax.random.key(0), z)
    np.testing.assert_array_equal(jnp.sort(permuted, axis=0), z)
    np.testing.assert_array_equal(permuted[:, :2], permuted_by_unit(jax.random.key(0), z[:, :2]))
    assert len({tuple(column) for column in np.asarray(permuted - z[:1]).T}) == 4


def test_a_critic_rests_between_its_steps():
    optimizer = at_every(jnp.int32(3), optax.adam(0.1))
    params, rests = {"a": jnp.ones(2)}, []
    state = optimizer.init(params)
    alone = optax.adam(0.1)
    alone_state = alone.init(params)
    for step in range(7):
        gradient = {"a": jnp.array([1.0, -2.0]) * (step + 1)}
        updates, state = optimizer.update(gradient, state, params)
        rests.append(not np.asarray(updates["a"]).any())
        if not rests[-1]:
            expected, alone_state = alone.update(gradient, alone_state)
            np.testing.assert_allclose(updates["a"], expected["a"], rtol=1e-6)
    assert rests == [step % 3 != 0 for step in range(7)]


@pytest.mark.slow
def test_a_critic_has_an_optimizer_of_its_own():
    experiment, params, _ = started(
        "model=adversarial_ae", "optim=sgd", "optim.clip=null", "optim.warmup=0", "model.critic_lr=0.01"
    )
    trainable = autoencoder.trained(params)
    optimizer = transformation(experiment, 10)
    gradient = jax.tree.map(jnp.ones_like, trainable)
    updates, _ = optimizer.update(gradient, optimizer.init(trainable), trainable)
    of_critic = updates.pop("terms")
    assert {float(leaf.ravel()[0]) for leaf in jax.tree.leaves(updates)} == {-float(experiment.optim.lr)}
    for leaf in jax.tree.leaves(of_critic):
        np.testing.assert_allclose(leaf, -0.01, rtol=1e-4)  # the first step of Adam is its rate
