"""What the terms of an objective do to trained models; each takes seconds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, trained

from aejax.base.keys import normal_by_unit
from aejax.models import autoencoder
from aejax.training.lanes import lane

pytestmark = pytest.mark.slow
FEW = ["net.widths=[16]", "log_points=1"]


def measured(*words):
    """The metrics of one training, its experiment, its parameters and its codes."""
    one = job(*FEW, *words)
    state, _ = trained(one)
    metrics, z_LxNxZ, _ = evaluated(state, one)
    return {name: float(value[0]) for name, value in metrics.items()}, one, lane(state.params, 0), z_LxNxZ[0]


def test_a_conditional_vae_of_glyphs_hardly_needs_a_code():
    """Each letter is alone in its class, so that the label says it all."""
    plain, conditional = (measured(f"model={model}", "data=letters", "steps=600")[0] for model in ("vae", "cvae"))
    assert conditional["code/kl"] < 0.4 * plain["code/kl"] and conditional["recon/mse"] < plain["recon/mse"]


def test_a_code_whose_decoder_knows_the_label_tells_less_of_it():
    words = ["data._target_=blobs.Blobs", "latent_dim=2", "steps=500"]
    plain, conditional = (measured(f"model={model}", *words)[0] for model in ("ae", "conditional_ae"))
    assert conditional["recon/mse"] < plain["recon/mse"]
    assert conditional["separation/knn_accuracy"] < plain["separation/knn_accuracy"] - 0.1


def test_labels_are_inferred_from_those_of_a_tenth():
    words = ["model=m2_vae", "data=digits", "latent_dim=4", "steps=600", "evaluate.groups=[separation]"]
    some, none = (measured(*words, f"model.share={share}")[0]["classifier/accuracy"] for share in (0.1, 0.0))
    assert some > 0.8 and none < 0.4


@pytest.mark.parametrize("model", ["wae_mmd", "adversarial_ae", "wae_gan"])
def test_codes_together_are_like_the_prior(model):
    words = ["data._target_=blobs.Blobs", "latent_dim=2", "steps=1500", "likelihood.variance=0.3"]
    z, free = (measured(f"model={name}", *words)[3] for name in (model, "ae"))
    prior = np.asarray(normal_by_unit(jax.random.key(0), 2, (len(z),)).T)
    assert energy(z, prior) < 0.15 and energy(free, prior) > 2 * energy(z, prior)


def energy(a, b):
    """The energy distance of two samples, 0 for the same distribution."""

    def apart(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2)).mean()

    return 2 * apart(a, b) - apart(a, a) - apart(b, b)


@pytest.mark.parametrize("model", ["beta_tc_vae", "factor_vae", "dip_vae"])
def test_units_become_independent(model):
    """The correlation of the two units of largest variance, with the penalty and without."""
    weights = {"beta_tc_vae": ("beta", 1, 30), "factor_vae": ("weight", 0, 30), "dip_vae": ("off_diagonal", 0, 100)}
    name, *values = weights[model]
    correlation = []
    for value in values:
        words = [f"model={model}", f"model.{name}={value}", "data=digits", "latent_dim=3", "steps=1500"]
        words += ["model.diagonal=0"] if model == "dip_vae" else ["batch_size=64"]
        z = measured(*words, "evaluate.groups=[code]")[3]
        correlation.append(abs(np.corrcoef(z.T) - np.eye(3)).max())
    assert correlation[1] < 0.6 * correlation[0]


def test_the_first_units_reconstruct_most():
    def error(model, units):
        _, one, params, _ = measured(f"model={model}", "data=emoji", "data.color=gray", "latent_dim=8", "steps=800")
        x_BxP = one.experiment.form.scaled(one.dataset.arrays().test)
        z_BxZ = autoencoder.encode(one.experiment, params, x_BxP).mean.at[:, units:].set(0)
        image_BxP = one.experiment.likelihood.mean(autoencoder.decode(one.experiment, params, z_BxZ))
        return float(jnp.mean((image_BxP - x_BxP) ** 2))

    assert error("matryoshka_ae", 4) < 0.5 * error("ae", 4)
