"""What a wrong key or choice may have meant, and what conf/ says of its settings."""

import pytest
from conftest import CONF

from aejax.config import hints, menu

MEANT = {
    "lr": "optim.lr",
    "optimizer.lr": "optim.lr",
    "learning_rate": "optim.lr",
    "beta": "model.beta (with model=vae|cvae|hvae|p_vae|rhvae|s_vae|...)",
    "model=vae beta": "model.beta",
    "rho": "model.rho (with model=sparse_ae)",
    "weight": "model.weight (with model=rae|l1_ae|vae_gan|wae_gan|wae_mmd|info_vae|...)",
    "z_dim": "latent_dim",
    "model.latent_dim": "latent_dim",
    "hidden": "net.widths",
    "model.hidden_dims": "net.widths",
    "ACTIVATION": "",
    "activation": "net.activation or model.bottleneck.activation",
    "wandb": "track=off|offline|online",
    "logger": "track=off|offline|online",
    "wandb.project": "track.project",
    "optimizer": "optim=adam|adamw|sgd",
    "noise=gaussian noise.std": "noise.level",
    "noise=flip sigma": "noise.level",
    "net=conv kernel_size": "net.kernel",
    "ltent_dim": "latent_dim",
    "manual_dir": "data.manual_dir (with data=cifar10|dsprites|fashion_mnist|kmnist|mnist|tfds)",
    "model=conv_ae kernel": "net.kernel",
    "xyzzy": "",
}


@pytest.mark.parametrize("words", MEANT)
def test_a_wrong_key_names_the_right_one(words):
    *chosen, unknown = words.split()
    clause = hints.of_key(unknown, dict(word.split("=") for word in chosen))
    assert clause == (f"did you mean {MEANT[words]}? " if MEANT[words] else "")


@pytest.mark.parametrize("renamed", hints.RENAMED)
def test_a_key_of_an_earlier_version_names_the_new_one(renamed):
    new = hints.RENAMED[renamed]
    assert hints.of_key(renamed) == f"it is now {new}; "
    key, _, choices = new.partition("=")
    makers = hints.choices_by_key((CONF,))
    assert key in makers or key in hints.keys(()) or set(choices.split("|")) <= set(menu.groups()[key])


def test_a_key_of_another_choice_names_that_choice():
    assert hints.of_key("net.kernel") == "only with net=conv; "
    assert hints.of_key("net.tied") == "only with net=deep|linear|mlp; "


@pytest.mark.parametrize(
    ("group", "given", "meant"),
    [
        ("model", "VAE", "model=vae"),
        ("data", "MNIST", "data=mnist"),
        ("model", "denoising", "noise=gaussian, with which any model denoises"),
        ("track", "wandb", "track=offline or track=online"),
        ("net", "CNN", "net=conv"),
    ],
)
def test_a_wrong_choice_names_the_right_one(group, given, meant):
    assert hints.of_choice(group, given, menu.groups()[group]).startswith(f"did you mean {meant}? known: ")


def test_what_other_programs_call_it_leads_to_keys_that_there_are():
    every = {*hints.keys({}), *hints.choices_by_key((CONF,)), *menu.groups(), *hints.OF_HYDRA}
    assert set(hints.KEYS) <= every
    made = {clause.split(",")[0] for clauses in hints.CHOICES.values() for clause in clauses.values()}
    for choice in (part for clause in made for part in clause.split(" or ")):
        group, name = choice.split("=")
        assert name in menu.groups()[group]
