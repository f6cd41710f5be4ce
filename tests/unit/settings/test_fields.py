"""What is structure, what is a number, and what a wrong value gets."""

import jax
import numpy as np
import pytest
from conftest import job
from flax import struct
from omegaconf import OmegaConf

from aejax.base.errors import InputError
from aejax.settings.build import Build
from aejax.settings.configuration import plain
from aejax.settings.fields import leaf_float, static_ints


def structure(*overrides):
    return jax.tree.structure(job(*overrides).experiment)


@pytest.mark.parametrize(
    "numbers",
    [
        ["seed=3", "latent_dim=9", "optim.lr=0.1", "optim.b1=0.5", "optim.warmup=0.2", "likelihood.variance=0.5"],
        ["model.beta=0.1"],
        ["noise.level=0.01"],
        ["likelihood=bernoulli"],  # what auto settles to
    ],
)
def test_experiments_that_differ_in_numbers_share_a_program(numbers):
    common = ["model=vae", "noise=flip"]
    assert structure(*common, *numbers) == structure(*common)


@pytest.mark.parametrize(
    "change",
    [
        "net.widths=[5]",
        "net.activation=relu",
        "net=linear",
        "steps=7",
        "batch_size=9",
        "select=best",
        "noise=flip",
        "model=vae",
        "optim=adamw",
        "optim.schedule=constant",
        "optim.clip=1.0",
        "data=emoji",
        "likelihood=gaussian",
        "log_points=3",
    ],
)
def test_experiments_that_differ_in_structure_do_not(change):
    assert structure(change) != structure()


def test_numbers_are_scalars_of_one_type():
    leaves = jax.tree.leaves(job("model=vae", "noise=flip", "optim.lr=1").experiment)
    assert {type(leaf) for leaf in leaves} == {np.float32, np.int32, np.uint32}


def test_the_seed_may_use_all_of_32_bits():
    assert job("seed=4294967295").experiment.seed == 2**32 - 1


def test_a_wrong_value_is_told_by_the_key_that_the_user_would_change():
    with pytest.raises(InputError, match=r"^model\.beta=-1: must be a number at least 0$"):
        job("model=vae", "model.beta=-1")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["+noise.strength=1", "noise=flip"], r"^noise\.strength: no such key; known: level$"),
        (["+sed=1"], r"^sed: no such key; did you mean seed"),
        (["optim.lr=1e-50"], r"^optim\.lr=1e-50: must be a number above 0$"),
        (["optim.lr=1e39"], r"^optim\.lr=1e\+39: must be a number above 0$"),
        (["latent_dim=65537"], r"^latent_dim=65537: .* at most 65,536$"),
        (["epochs=1e308"], r"^epochs=1e\+308: must be a number above 0 and at most 1,000,000 or null$"),
        (["epochs=1e6", "batch_size=1", "data=emoji"], None),
        (["log_points=100001"], r"^log_points=100001: .* at most 100,000 or null$"),
        (["epochs=1", "steps=null"], None),
        (["latent_dim=50"], None),  # wider than the input
    ],
)
def test_range_checks(overrides, told):
    if told is None:
        job(*overrides)
    else:
        with pytest.raises(InputError, match=told):
            job(*overrides)


def test_epochs_become_steps_of_whole_batches():
    experiment = job("epochs=3", "batch_size=10").experiment
    assert experiment.steps == 3 * (27 // 10)
    assert experiment.epochs is None


def test_the_whole_of_a_small_training_set_is_one_batch():
    assert job().experiment.batch_size == 27


@struct.dataclass
class Foreign:
    level: float
    widths: tuple = static_ints(1, 9)
    share: float = leaf_float(0, 1)


def test_a_foreign_class_is_built_and_its_settings_checked():
    config = OmegaConf.create({"x": {"_target_": f"{__name__}.Foreign", "level": 0.5, "widths": [2], "share": 1}})
    built = Build(config).component(plain(config)["x"], "x")
    assert built == Foreign(np.float32(0.5), (2,), np.float32(1))
    with pytest.raises(InputError, match=r"x\._target_=.*only classes of aejax are trusted"):
        Build(config, trusted=("aejax",)).component(plain(config)["x"], "x")


@pytest.mark.parametrize("target", ["os.system", "aejax.models.noise.Missing", "nowhere.At", "flat", ""])
def test_a_target_that_is_no_component_is_refused(target):
    config = OmegaConf.create({"x": {"_target_": target}})
    with pytest.raises(InputError, match=r"^x\._target_="):
        Build(config).component(plain(config)["x"], "x")
