"""Bounds of several samples: their order, their values, and the gradients of those with two of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job

from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.bounds import ENCODER
from aejax.models.objective import objective

FEW = ["model=vae", "net.widths=[6]", "latent_dim=2", "optim.lr=0.01"]


def losses(*words, steps=400):
    """The objective of one set of parameters at many steps, that is for many draws."""
    experiment, params, batch = started(*words)
    one = jax.jit(jax.vmap(lambda at: objective(experiment, params, batch, at)[0]))
    return np.asarray(one(jnp.arange(steps)), np.float64)


def started(*words):
    one = job(*FEW, *words)
    x_BxP = one.experiment.form.scaled(one.dataset.arrays().train)
    return one.experiment, parameters(), Batch(x_BxP, x_BxP)


@functools.cache
def parameters():
    params = jax.jit(autoencoder.init, static_argnames="width")(job(*FEW).experiment, width=2)
    params["to_code"]["mean"]["kernel"] *= 3  # posteriors that differ
    return params


@pytest.mark.slow
def test_more_samples_give_a_tighter_bound_and_one_gives_the_elbo():
    elbo, one, five, fifty = (
        losses(*words).mean() for words in ([], *(["bound=iwae", f"bound.k={k}"] for k in (1, 5, 50)))
    )
    assert one == pytest.approx(elbo, abs=0.05)
    assert one > five + 0.01 > fifty + 0.02


@pytest.mark.slow
def test_the_others_lie_between_the_elbo_and_iwae():
    one, iwae = losses("bound=iwae", "bound.k=1").mean(), losses("bound=iwae", "bound.k=8").mean()
    ciwae = losses("bound=ciwae", "bound.k=8", "bound.share=0.25").mean()
    assert ciwae == pytest.approx(0.25 * one + 0.75 * iwae, abs=0.05)
    miwae = losses("bound=miwae", "bound.m=4", "bound.k=2").mean()
    assert miwae == pytest.approx(losses("bound=iwae", "bound.k=2").mean(), abs=0.05)
    for words in (["bound=piwae", "bound.m=4", "bound.k=2"], ["bound=dreg", "bound.k=8"]):
        assert losses(*words).mean() == pytest.approx(iwae, abs=0.05)


def gradients(*words, steps=3000):
    """Mean and standard error of the gradient over many draws, by module."""
    experiment, params, batch = started(*words)
    one = jax.grad(lambda params, at: objective(experiment, params, batch, at)[0])
    drawn = jax.jit(lambda steps: jax.lax.map(lambda at: one(params, at), steps, batch_size=100))(jnp.arange(steps))
    flat = {"/".join(entry.key for entry in path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(drawn)}
    return {
        name: (leaf.mean(axis=0), leaf.std(axis=0) / np.sqrt(steps))
        for name, leaf in flat.items()
        if not name.startswith("running")
    }


@pytest.mark.slow
def test_the_doubly_reparameterized_gradient_is_iwaes_with_less_noise():
    iwae, dreg = gradients("bound=iwae", "bound.k=5"), gradients("bound=dreg", "bound.k=5")
    for name, (mean, error) in iwae.items():
        other, other_error = dreg[name]
        np.testing.assert_array_less(abs(mean - other), 6 * np.hypot(error, other_error) + 1e-3, err_msg=name)
    noise = [sum((error**2).sum() for name, (_, error) in of.items() if name.split("/")[0] in ENCODER)
             for of in (dreg, iwae)]  # fmt: skip
    assert noise[0] < 0.9 * noise[1]


@pytest.mark.slow
def test_the_decoder_of_piwae_learns_by_iwae_and_its_encoder_by_miwae():
    experiment, params, batch = started("bound=piwae", "bound.m=3", "bound.k=2")
    grad = lambda experiment: jax.jit(jax.grad(lambda p: objective(experiment, p, batch, jnp.int32(0))[0]))(params)  # noqa: E731
    both = grad(experiment)
    of_all = grad(experiment.replace(bound=job(*FEW, "bound=iwae", "bound.k=6").experiment.bound))
    in_parts = grad(experiment.replace(bound=job(*FEW, "bound=miwae", "bound.m=3", "bound.k=2").experiment.bound))
    for name in ("from_code", "decoder", "encoder", "to_code"):
        expected = in_parts if name in ENCODER else of_all
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), both[name], expected[name])
    assert not np.allclose(of_all["to_code"]["mean"]["kernel"], in_parts["to_code"]["mean"]["kernel"], atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model=ae", "bound=iwae"],
            r"^bound=iwae: model=ae does not draw from a posterior; use model=vae, or bound=elbo",
        ),
        (
            ["model=vae", "bound=iwae", "model.beta=4"],
            r"^bound=iwae: has the KL inside, with weight 1, and model=vae weighs it; set model\.beta=1",
        ),
        (
            ["model=vae", "bound=iwae", "model.bottleneck.sampling=false"],
            r"^bound=iwae: model=vae does not draw from a posterior; set model\.bottleneck\.sampling=true",
        ),
        (
            ["model=sigma_vae", "bound=iwae", "data=digits"],
            r"^bound=iwae: .*; use likelihood=learned$",
        ),
        (["model=vae", "bound=dreg", "net.tied=true"], r"^bound=dreg: .*set net\.tied=false"),
        (["model=vae", "bound=iwae", "bound.k=0"], r"^bound\.k=0: must be a whole number at least 1"),
    ],
)
def test_wrong_inputs(words, message):
    with pytest.raises(InputError, match=message):
        job(*words)
