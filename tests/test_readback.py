"""What a run saves is what it reported: parameters from its files give its metrics and codes, alone or in company."""

import time

import jax
import numpy as np
import pytest
from conftest import CONF, job
from rich.console import Console

from aejax.evaluate import evaluate
from aejax.group import run_group
from aejax.lanes import Layout
from aejax.record import Clock, Place
from aejax.runs import FORMAT
from aejax.terminal import Report

QUICK = ["log_points=1", "evaluate.what=[reconstruction,code]", "figures=false", "track=off"]
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
FEW = ["topk_ae", "vae"]  # with something running beside the parameters, and with two heads
OWN = {  # what a model needs beside narrow nets: layers that learn one after another need a step each
    "deep_ae": ["net.widths=[6,5]"],
    "rbm_ae": ["net.widths=[6,5]", "steps=12"],
    "stacked_ae": ["steps=12"],
    "topk_ae": ["model.k=2"],
    "linear_ae": ["net.widths=[]"],
    "pca": ["net.widths=[]"],
}


def group(folder, *words, units=(2, 4)):
    """The jobs, and the runs in `folder`, of one program whose lanes have so many code units."""
    jobs = [job(*QUICK, *words, f"latent_dim={count}") for count in units]
    places = [Place(folder / str(count), folder) for count in units]
    report = Report(Console(quiet=True))
    return jobs, run_group(jobs, places, Layout(len(jobs), "vmap"), Clock(time.perf_counter()), report)


def reads_back(folder, *words):
    """Asserts that parameters from disk give metrics.json and codes.npz, for a narrow lane and the widest."""
    for each, run in zip(*group(folder, "steps=8", "net.widths=[5]", *words), strict=True):
        assert run.record["format"] == FORMAT
        metrics, z_NxZ, _ = jax.device_get(jax.jit(evaluate)(each.experiment, run.params, each.dataset.arrays()))
        np.testing.assert_allclose(run.codes["z"], z_NxZ, rtol=1e-5, atol=1e-5)
        assert run.metrics["recon/mse"] > 0
        for name, value in run.metrics.items():
            assert value == pytest.approx(float(metrics[name]), rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("model", FEW)
def test_saved_parameters_give_the_saved_numbers(tmp_path, model):
    reads_back(tmp_path, f"model={model}", *OWN.get(model, []))


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for model in MODELS if model not in FEW])
def test_saved_parameters_give_the_saved_numbers_of_each_model(tmp_path, model):
    reads_back(tmp_path, f"model={model}", *OWN.get(model, []))


@pytest.mark.slow
@pytest.mark.parametrize("words", [["net.tied=true", "net.center=false"], ["net.norm=batch"], ["select=best"]])
def test_saved_parameters_give_the_saved_numbers_with_other_nets(tmp_path, words):
    reads_back(tmp_path, "model=ae", *words)
