"""Company does not matter, and numbers make no programs: for every model, net, noise and data set in conf/."""

import copy
import functools
import itertools

import hydra
import jax
import numpy as np
import pytest
from conftest import CONF, job
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from scipy import stats

from aejax.base.errors import InputError
from aejax.runs.console import ConsoleReport
from aejax.runs.group import run_group
from aejax.runs.job import Job
from aejax.runs.record import Clock, Place
from aejax.settings.configuration import without_hydra
from aejax.training import step
from aejax.training.lanes import Layout, lane
from aejax.training.plan import groups, layout_of

FEW = ["steps=2", "log_points=1", "evaluate.groups=[reconstruction]"]
NUMBERS = {  # what may differ inside a program, where an experiment has it
    "seed": (1, 2),
    "latent_dim": (3, 2),
    "optim.lr": (0.01, 0.003),
    "model.beta": (0.5, 2.0),
    "noise.level": (0.1, 0.3),
    "model.k": (2, 1),
    "model.weight": (0.5, 2.0),
    "model.critic_lr": (0.01, 0.003),
    "model.critic_every": (1, 2),
    "model.commitment": (0.25, 0.5),
    "model.temperature": (1.0, 0.7),
}
GROUPS = {
    "vq_vae": 2,
    "rvq_vae": 2,
    "concrete_vae": 2,
    "fsq_vae": 4,
}  # units that a code consists of, and its multiples


def choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


OWN = "own"  # the net that a model comes with
NEEDED = {"masked_ae": "patches"}  # the noise that a model cannot do without
EACH_ONCE = sorted(  # each choice at least once
    {(model, OWN, NEEDED.get(model, "gaussian")) for model in choices("model")}
    | {(model, net, "gaussian") for model in ("ae", "vae") for net in choices("net")}
    | {("vae", "mlp", noise) for noise in choices("noise")}
)
FEW_OF_ALL = [("topk_ae", OWN, "gaussian")]
ALL = sorted(itertools.product(choices("model"), choices("net"), choices("noise")))


def variants(data, model, net, noise, optim="adam"):
    """Two jobs of one composition that differ in all their numbers; skips where the parts do not fit each other."""
    words = [f"data={data}", f"model={model}", f"noise={noise}", f"optim={optim}", "track=off", "figures=false", *FEW]
    words += [] if net == OWN else [f"net={net}"]
    words += ["steps=8"] if model in ("stacked_ae", "rbm_ae") else []  # for each layer, and for the whole
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", words, return_hydra_config=True)
    picked = dict(config.hydra.runtime.choices)
    config, units = without_hydra(config), GROUPS.get(model, 1)
    if "size" in config.model:
        config.model.size = units
    if config.net.widths:
        config.net.widths = [5]  # the linear net has no widths, and keeps that
    jobs = []
    for place in range(2):
        own = copy.deepcopy(config)
        for key, values in NUMBERS.items():
            if OmegaConf.select(own, key) is not None:
                OmegaConf.update(own, key, values[place] * (units if key == "latent_dim" else 1))
        try:
            jobs.append(Job.read(own, picked, LOADED))
        except InputError as error:
            pytest.skip(str(error))
    return jobs


LOADED = {}


def is_alone_as_among_lanes(model, net, noise, optim="adam"):
    jobs = variants("letters", model, net, noise, optim)
    data, steps = jobs[0].dataset.arrays(), step.segments(jobs[0].experiment)[0]
    layout = Layout(2, "vmap")
    experiments = layout.stack([each.experiment for each in jobs])
    width = max(int(each.experiment.latent_dim) for each in jobs)
    init = layout.compiled(lambda own, shared: step.init(own, shared, width), 1, experiments, data)

    def segment(experiment, state, data):
        return step.segment(experiment, state, data, np.int32(0), length=steps)

    states = init(experiments, data)
    trained = layout.compiled(segment, 2, experiments, states, data)(experiments, states, data)
    states, metrics = jax.device_get(trained)  # a lane of them on the devices would take a transfer between those
    losses = []
    solo_init, solo_step = jax.jit(functools.partial(step.init, width=width)), jax.jit(step.step)
    for index, each in enumerate(jobs):
        state, rows = solo_init(each.experiment, data), []
        for at in range(steps):
            state, row = solo_step(each.experiment, state, data, np.int32(at))
            rows.append(row["train/loss"])
        for expected, found in zip(jax.tree.leaves(state), jax.tree.leaves(lane(states, index)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
        if rows:
            assert metrics["train/loss"][index] == pytest.approx(float(np.mean(rows)), rel=1e-5)
        losses.append(float(metrics["train/loss"][index]))
    assert losses[0] != losses[1]  # their numbers reach the program


@pytest.mark.parametrize(("model", "net", "noise"), FEW_OF_ALL)
def test_a_lane_is_its_solo_run_step_by_step(model, net, noise):
    is_alone_as_among_lanes(model, net, noise)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "net", "noise"), [each for each in EACH_ONCE if each[1] != OWN])
def test_a_lane_is_its_solo_run_with_each_net_and_noise(model, net, noise):
    """By SGD: an early step of Adam has the size of the rate; where a gradient is near 0 rounding decides its sign."""
    is_alone_as_among_lanes(model, net, noise, "sgd")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("model", "net", "noise"), ALL)
def test_a_lane_is_its_solo_run_for_every_model_net_and_noise(model, net, noise):
    is_alone_as_among_lanes(model, net, noise)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("letters", marks=pytest.mark.slow),
        *(pytest.param(data, marks=pytest.mark.exhaustive) for data in ("emoji", "digits")),
    ],
)
def test_numbers_are_leaves_on_every_data_set(data):
    kept = 0
    for model, net, noise in EACH_ONCE:
        try:
            jobs = variants(data, model, net, noise)
        except pytest.skip.Exception:
            continue
        assert len({jax.tree.structure(each.experiment) for each in jobs}) == 1, (model, net, noise)
        assert groups(jobs) == [[0, 1]]
        kept += 1
    assert kept > len(EACH_ONCE) / 2


@pytest.mark.slow
def test_a_group_traces_its_training_once(tmp_path, monkeypatch):
    traces, segment = [], step.segment

    def counted(*arguments, **named):
        traces.append(arguments[4])  # the length
        return segment(*arguments, **named)

    monkeypatch.setattr(step, "segment", counted)
    jobs = variants("letters", "vae", "mlp", "flip")
    places = [Place(tmp_path / str(number), tmp_path) for number in range(2)]
    runs = run_group(jobs, places, layout_of(jobs), Clock(0.0), ConsoleReport())
    assert [each.record["status"] for each in runs] == ["completed"] * 2
    assert traces == [2]


@pytest.mark.slow
def test_at_the_end_lanes_and_solo_runs_do_not_differ_in_distribution():
    words = ["model=vae", "noise=flip", "net.widths=[16,8]", "steps=200", "log_points=1", "optim.lr=0.01"]
    jobs = [job(*words, f"seed={seed}") for seed in range(16)]
    layout = Layout(len(jobs), "vmap")
    experiments, data = layout.stack([each.experiment for each in jobs]), jobs[0].dataset.arrays()

    def whole(experiment, data):
        return step.segment(experiment, step.init(experiment, data, 2), data, np.int32(0), length=200)[1]["valid/mse"]

    together = np.asarray(layout.compiled(whole, 1, experiments, data)(experiments, data))
    solo = jax.jit(whole)
    alone = np.array([solo(each.experiment, data) for each in jobs])
    assert np.std(np.log(alone)) > 0.05  # seeds differ, so the test has something to compare
    assert stats.ks_2samp(alone, together).pvalue > 0.05
    assert abs(np.log(alone / together)).mean() < 0.5 * np.std(np.log(alone))  # and each is near itself


def test_a_process_traces_a_program_once_for_each_structure():
    traced, layout = [], Layout(2, "vmap", 1)

    def scaled(own, shared, power):
        traced.append(own.shape)
        return own**power * shared

    for rows in (3, 3, 4):
        stack, shared = layout.stack([np.full(rows, 2.0), np.ones(rows)]), layout.share(np.float32(5))
        result = layout.compiled(scaled, 1, stack, shared, power=3)(stack, shared)
        np.testing.assert_array_equal(result, [[40.0] * rows, [5.0] * rows])
    assert traced == [(3,), (4,)]
    squared = layout.compiled(scaled, 1, stack, shared, power=2)(stack, shared)
    np.testing.assert_array_equal(squared, [[20.0] * 4, [5.0] * 4])
    assert len(traced) == 3
