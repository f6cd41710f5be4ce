"""Refusals of combinations: one line that names both sides as the user chose them, and a remedy."""

import jax
import pytest
from conftest import job, refused

from aejax.base.errors import InputError


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ("model=ae prior=flow", "prior=flow: model=ae has no posterior; use prior=normal, or model=vae"),
        (
            "model=ae bound=iwae",
            "bound=iwae: model=ae does not draw from a posterior; use model=vae, or bound=elbo",
        ),
        (
            "model=factor_vae latent_dim=1",
            "latent_dim=1: the critic of model=factor_vae compares units, and there is one; use latent_dim=2, or "
            "model=vae",
        ),
        (
            "model=ae sampler=prior",
            "sampler=prior: model=ae has no prior; use auto, gaussian, mixture, kde or flow",
        ),
        (
            "model=fsq_vae model.levels=[1000,1000,1000,1000]",
            "model.levels=[1000, 1000, 1000, 1000]: have 1,000,000,000,000 combinations, and model=fsq_vae takes at "
            "most 1,048,576; use lower or fewer levels, as [8,5,5,5]",
        ),
        ("model=deep_ae prior=flow", "prior=flow: model=deep_ae has no posterior"),  # the name, not the class
    ],
)
def test_a_refusal_names_both_sides_and_a_remedy(overrides, told):
    refused(told, *overrides.split())


def test_models_that_differ_in_their_name_alone_share_a_program():
    named, form = job("model=vae").experiment, job("model=vae").dataset.form
    assert jax.tree.structure(named) == jax.tree.structure(named.settle(form))


def test_a_model_without_a_name_is_the_model():
    each = job("model=ae")
    flow = job("model=vae", "prior=flow").experiment.prior
    with pytest.raises(InputError, match=r"^prior=flow: the model has no posterior; use prior=normal, or model=vae$"):
        each.experiment.replace(prior=flow).settle(each.dataset.form)
