"""Every choice of the groups composes, trains two steps and is finite; those that make no sense are refused."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONF, job

from aejax import train
from aejax.errors import InputError
from aejax.nets import ACTIVATIONS
from aejax.runs import Run


def choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def takes_two_steps(*overrides):
    each = job("steps=2", *overrides)
    if each.experiment.net.widths:
        each = job("steps=2", *overrides, "net.widths=[5,4]")

    def two(experiment, data):
        state, metrics = train.init(experiment, data, 2), {}
        for at in range(0 if experiment.model.fit.closed_form else 2):
            state, metrics = train.step(experiment, state, data, jnp.int32(at))
        return state.params, metrics, train.validation_mse(experiment, state.params, data)

    finite = jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all()), two(each.experiment, each.dataset.arrays()))
    assert all(jax.tree.leaves(finite)), finite


@pytest.mark.parametrize("noise", choices("noise"))
@pytest.mark.parametrize("net", choices("net"))
@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("data", choices("data"))
def test_data_model_net_noise(data, model, net, noise):
    overrides = [f"data={data}", f"model={model}", f"net={net}", f"noise={noise}"]
    if (model, net) == ("pca", "mlp") or (data, noise) == ("emoji", "flip"):
        with pytest.raises(InputError, match=r"^(net|noise)"):
            job(*overrides)
    else:
        takes_two_steps(*overrides)


@pytest.mark.parametrize("optim", choices("optim"))
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_optim_and_schedule(optim, schedule):
    takes_two_steps(f"optim={optim}", f"optim.schedule={schedule}", "optim.warmup=0.5", "optim.clip=1", "net=linear")


@pytest.mark.parametrize("likelihood", choices("likelihood"))
@pytest.mark.parametrize("data", choices("data"))
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


def test_the_readmes_own_data_and_noise_are_found_and_trained(tmp_path):
    readme = (CONF.parent / "README.md").read_text()
    code = re.findall(r"```python\n# mine\.py\n(.*?)```", readme, re.S)
    assert len(code) == 2
    (tmp_path / "mine.py").write_text("\n".join(code))
    for group in ("data", "noise"):
        (tmp_path / group).mkdir()
    (tmp_path / "data" / "waves.yaml").write_text(re.search(r"```yaml\n# data/waves\.yaml\n(.*?)```", readme, re.S)[1])
    (tmp_path / "noise" / "drift.yaml").write_text("_target_: mine.Drift\nlevel: 0.2\n")
    command = re.search(r"^python -m aejax --config-dir .*$", readme, re.M)[0].split()
    quick = ["steps=5", "log_points=1", "hydra.run.dir=run", "track=off", "noise=drift"]
    done = subprocess.run([sys.executable, *command[1:], *quick], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    run = Run.read(tmp_path / "run")
    assert run.record["data"]["examples"] == {"train": 300, "valid": 100, "test": 100}
    assert run.codes["z"].shape == (100, 2)
    assert run.metrics["restore/mse"] > 0
    assert not any(name.startswith("separation/") for name in run.metrics)  # there are no labels
    assert len(list((run.path / "figures").glob("*.png"))) == 5
