"""Every choice of the groups composes, trains two steps and is finite; those that make no sense are refused."""

import re
import shlex
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONF, job

from aejax.base.errors import InputError
from aejax.models.nets.net import ACTIVATIONS
from aejax.runs.folder import Run
from aejax.training import step


def choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


HOWTO = CONF.parent / "docs" / "howto"
DATA = ("letters", "emoji", "digits")
ELSEWHERE = ("arrays", "audio", "images", "sensors", "shapes", "table")  # test_sources.py, test_shapes.py
TFDS = ("cifar10", "dsprites", "fashion_mnist", "kmnist", "mnist", "tfds")  # test_tfds.py


def test_no_choice_of_data_is_forgotten():
    assert choices("data") == sorted((*DATA, *ELSEWHERE, *TFDS))


def takes_two_steps(*overrides):
    each = job("steps=8", *overrides)
    if each.experiment.net.widths:
        each = job("steps=8", *overrides, "net.widths=[5,4]")
    width = int(each.experiment.latent_dim)

    def two(experiment, data):
        state, metrics = step.init(experiment, data, width), {}
        for at in range(0 if experiment.model.solver.closed_form else 2):
            state, metrics = step.step(experiment, state, data, jnp.int32(at))
        return state.params, metrics, step.validation_mse(experiment, state.params, data)

    finite = jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all()), two(each.experiment, each.dataset.arrays()))
    assert all(jax.tree.leaves(finite)), finite


GROUPS = ("model", "net", "noise", "optim", "likelihood", "data", "experiment")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "choice"),
    [
        (group, choice)
        for group in GROUPS
        for choice in choices(group)
        if choice not in (*ELSEWHERE, *TFDS) and (group, choice) != ("noise", "grayscale")
    ],
)
def test_every_choice_makes_an_experiment_of_which_steps_can_be_traced(group, choice):
    each = job(f"{group}={choice}")
    width, data = int(each.experiment.latent_dim), each.dataset.arrays()

    def one(experiment):
        state = step.init(experiment, data, width)
        return state, (state if experiment.model.solver.closed_form else step.step(experiment, state, data, 0)[0])

    before, after = jax.eval_shape(one, each.experiment)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    for one, other in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


MIXED = ("ae", "vae", "pca", "topk_ae")


@pytest.mark.slow
@pytest.mark.parametrize("net", choices("net"))
@pytest.mark.parametrize("model", MIXED)
def test_model_net(model, net):
    overrides = [f"model={model}", f"net={net}", "noise=gaussian"]
    if model == "pca" and net != "linear":
        with pytest.raises(InputError, match=r"^net"):
            job(*overrides)
    else:
        takes_two_steps(*overrides)


@pytest.mark.slow
@pytest.mark.parametrize("noise", choices("noise"))
@pytest.mark.parametrize("data", DATA)
def test_data_noise(data, noise):
    overrides = [f"data={data}", "model=vae", f"noise={noise}"]
    if (data, noise) in (("emoji", "flip"), ("digits", "flip"), ("letters", "grayscale"), ("digits", "grayscale")):
        with pytest.raises(InputError, match=r"^noise"):
            job(*overrides)
    else:
        takes_two_steps(*overrides)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["mlp", "conv"])
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_options_of_nets(net, norm):
    options = [f"net.norm={norm}", "net.dropout=0.1", "net.residual=true", "net.init=he_normal", "net.activation=relu"]
    takes_two_steps("data=emoji", f"net={net}", *options)


@pytest.mark.slow
@pytest.mark.parametrize("optim", choices("optim"))
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_optim_and_schedule(optim, schedule):
    takes_two_steps(f"optim={optim}", f"optim.schedule={schedule}", "optim.warmup=0.5", "optim.clip=1", "net=linear")


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", choices("likelihood"))
@pytest.mark.parametrize("data", DATA)
def test_likelihood(likelihood, data):
    takes_two_steps(f"likelihood={likelihood}", f"data={data}", "net=linear")


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_presets_take_further_overrides(experiment):
    assert job(f"experiment={experiment}", "latent_dim=7").experiment.latent_dim == 7
    assert job(f"experiment={experiment}", "data=emoji", "noise=none").dataset.name == "emoji"


@pytest.mark.parametrize("track", choices("track"))
def test_track(track):
    assert job(f"track={track}").track.mode == track


def test_every_activation_is_elementwise():
    x = jnp.linspace(-2, 2, 6).reshape(2, 3)
    for name in ACTIVATIONS:
        activation = getattr(jax.nn, name)
        np.testing.assert_allclose(activation(x)[1], activation(x[1]), rtol=1e-6, err_msg=name)
        assert activation(x).shape == x.shape


@pytest.mark.slow
def test_the_pages_own_data_and_noise_are_found_and_trained(tmp_path):
    page = "\n".join((HOWTO / f"{name}.md").read_text() for name in ("data", "noise", "model"))
    code = re.findall(r"```python\n# mine\.py\n(.*?)```", page, re.S)
    assert len(code) == 3
    (tmp_path / "mine.py").write_text("\n".join(code))
    for group in ("data", "noise"):
        (tmp_path / group).mkdir()
    (tmp_path / "data" / "waves.yaml").write_text(re.search(r"```yaml\n# data/waves\.yaml\n(.*?)```", page, re.S)[1])
    (tmp_path / "noise" / "drift.yaml").write_text(re.search(r"```yaml\n# noise/drift\.yaml\n(.*?)```", page, re.S)[1])
    command = re.search(r"^python -m aejax --config-dir .*$", page, re.M)[0].split()
    quick = ["steps=5", "log_points=1", "hydra.run.dir=run", "track=off", "noise=drift"]
    done = subprocess.run([sys.executable, *command[1:], *quick], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    run = Run.read(tmp_path / "run")
    assert run.record["data"]["examples"] == {"train": 300, "valid": 100, "test": 100}
    assert run.codes["z"].shape == (100, 2)
    assert run.metrics["restore/mse"] > 0
    labeled = {name: value for name, value in run.metrics.items() if name.startswith("separation/")}
    assert labeled and set(labeled.values()) == {None}  # there are no labels
    assert len(list((run.path / "figures").glob("*.png"))) == 6


def test_each_model_of_pythae_is_a_composition():
    rows = re.findall(r"^\| `\w+` \| (`model=.*) \|$", (HOWTO / "families.md").read_text(), re.M)
    assert len(rows) == 26
    for words in (words for row in rows for words in re.findall(r"`(model=[^`]*)`", row)):
        model = words.split()[0].removeprefix("model=")
        assert (CONF / "model" / f"{model}.yaml").is_file()
        assert job(*words.split()).experiment.model


@pytest.mark.slow
def test_the_pages_own_model_is_added_in_one_file(tmp_path):
    """The page is followed literally, with fewer steps."""
    page = (HOWTO / "model.md").read_text()
    (tmp_path / "mine.py").write_text(re.search(r"```python\n# mine\.py\n(.*?)```", page, re.S)[1])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "bits_ae.yaml").write_text(
        re.search(r"```yaml\n# model/bits_ae\.yaml\n(.*?)```", page, re.S)[1]
    )
    commands = re.findall(r"^python -m aejax .*$", page, re.M)
    assert len(commands) == 3
    for number, command in enumerate(commands):
        where = "hydra.sweep.dir" if " -m " in command.removeprefix("python -m") else "hydra.run.dir"
        words = [*shlex.split(command)[1:], "steps=300", "log_points=3", "track=off", f"{where}={number}"]
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    decorrelated, bits = (Run.read(tmp_path / number) for number in "01")
    name = "train/decorrelation"
    assert decorrelated.history[-1][name] < 0.05 * decorrelated.history[0][name] + 0.05
    assert set(np.unique(bits.codes["z"])) == {0.0, 1.0}
    assert bits.metrics["recon/mse"] < 0.5 * bits.metrics["baseline/mean_mse"]
    assert "48 jobs -> 2 programs of 24 lanes" in done.stdout
    assert all(Run.read(path.parent).record["status"] == "completed" for path in (tmp_path / "2").glob("*/run.json"))
