"""The files in sweeps/: one question each, launched by one command, with overrides on top."""

import re
import subprocess
import sys

import hydra
import numpy as np
import pytest
from commands import QUICK, sweep
from conftest import CONF, job
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from aejax.runs.folder import Run
from aejax.training.plan import groups

SWEEPS = CONF.parent / "sweeps"
FILES = sorted(path.stem for path in SWEEPS.glob("*.yaml"))
LARGE = (
    "mnist_lr", "letters_lr_width", "letters_latent_dim", "shapes_disentanglement", "mnist_iwae", "mnist_prior",
)  # fmt: skip
GRIDS = [name for name in FILES if "optuna" not in (SWEEPS / f"{name}.yaml").read_text()]


@pytest.mark.parametrize("name", FILES)
def test_a_file_opens_with_its_question_its_command_its_time_and_what_was_found(name):
    lines = (SWEEPS / f"{name}.yaml").read_text().splitlines()
    note = [line for line in lines[1:] if line.startswith("#")]
    assert lines[0] == "# @package _global_"
    assert note[0].endswith("?")
    assert note[1].startswith(f"#   python -m aejax -m +sweep={name} ")
    assert re.search(r"\d+ s of CPU time on 2 cores", note[1])
    assert any(line.startswith("# Found") for line in note)


def expanded(name):
    """The overrides of each job of a file, as Hydra's basic sweeper makes them."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [f"+sweep={name}"], return_hydra_config=True)
    words = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    return BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)[0]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in GRIDS]
)
def test_a_file_is_as_many_jobs_and_programs_as_it_says(name):
    jobs = expanded(name)
    data = ["data=digits"] if name.startswith("mnist") else []  # no prepared set is needed
    of_one_seed = [job(f"+sweep={name}", *words, *data) for words in jobs if "seed=0" in words]
    assert len({each.run_id for each in of_one_seed}) == len(of_one_seed)
    note = (SWEEPS / f"{name}.yaml").read_text()
    assert f"{len(jobs)} jobs as {len(groups(of_one_seed))} program" in note


@pytest.mark.slow
def test_an_override_replaces_an_axis_and_a_setting(tmp_path):
    words = ["seed=5", "noise=none", "evaluate.noise=own", *QUICK]
    sweep(tmp_path, "+sweep=letters_overcomplete", *words, "hydra.sweep.dir=s")
    runs = [Run.read(path.parent) for path in (tmp_path / "s").glob("*/run.json")]
    assert len(runs) == 4
    for run in runs:
        overrides = (run.path / ".hydra" / "overrides.yaml").read_text()
        assert overrides.count("seed=") == 1 and "- seed=5\n" in overrides
        assert [row["step"] for row in run.history] == [5, 10, 15, 20]
        assert run.record["protocol"]["noise"] == "own" and "robust/flip/0.1/mse" not in run.metrics  # grid in the file


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-m", "++seed=7"], "++seed=7: the sweep already varies seed; write seed=... to replace its values"),
        (["-m", "~seed"], "~seed: the sweep already varies seed"),
        ([], "+sweep: asks for more than one run; add -m"),
    ],
)
def test_what_would_not_vary_as_it_says_is_refused(words, told, tmp_path):
    refused(tmp_path, [*words, "+sweep=letters_latent_dim"], told)


def test_two_files_at_once_and_one_that_is_not_there_are_refused(tmp_path):
    two = "+sweep=letters_latent_dim,emoji_beta"
    refused(tmp_path, ["-m", two], f"{two}: must name one file")
    wrong = "sweep=leters_latent_dim: no such choice; did you mean letters_latent_dim"
    refused(tmp_path, ["-m", "+sweep=leters_latent_dim"], wrong)
    below = "sweep=references/pc: no such choice; did you mean references/pca"
    refused(tmp_path, ["-m", "+sweep=references/pc"], below)


def refused(folder, words, told):
    done = subprocess.run([sys.executable, "-m", "aejax", *words], cwd=folder, capture_output=True, text=True)
    assert done.stderr.startswith(f"aejax: {told}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert list(folder.iterdir()) == []


def test_a_sweep_says_once_what_its_data_are_and_what_is_wrong_with_them(command):
    np.save("far.npy", (np.random.default_rng(0).normal(size=(60, 6)) * 40 + 50).astype(np.float32))
    few = [
        "steps=3",
        "log_points=1",
        "net.widths=[4]",
        "figures=false",
        "track=off",
        "evaluate.groups=[reconstruction]",
    ]
    status, out, err = command("-m", "data=arrays", "data.path=far.npy", *few, "seed=0,1", "hydra.sweep.dir=s")
    assert status == 0 and err.count("far from unit scale") == err.count("\n") == 1
    first = "data far.npy: 49 train, 5 valid, 6 test examples of 6, kind real, likelihood gaussian"
    assert out.startswith(f"{first}\n2 jobs") and out.count("kind real") == 1
