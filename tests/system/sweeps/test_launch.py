"""Sweeps: few programs, each job its own whole run, equal to what it would be alone."""

import os
import warnings

import hydra
import jax
import numpy as np
import pytest
import yaml
from commands import QUICK, sweep
from conftest import CONF, job
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf._utils import get_omega_conf_dumper

from aejax.base.devices import memory
from aejax.config.written import files_of, yaml_of
from aejax.runs.folder import Run
from aejax.sweeps.composition import Composition
from aejax.sweeps.tasks import names_of
from aejax.training.lanes import CACHED, Lanes, Layout, cut_evenly, turns_of, value_bytes
from aejax.training.plan import groups, most_lanes


def test_hydra_finds_the_launcher():
    found = [f"{each.__module__}.{each.__name__}" for each in Plugins.instance().discover(Launcher)]
    assert "hydra_plugins.aejax_vmap.VmapLauncher" in found


@pytest.fixture
def as_hydra_tests(monkeypatch):
    """What Hydra's suites take for granted: the working folder of a job is its own, and the plugin is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        version.setbase("1.1")
    monkeypatch.setenv("PYTHONPATH", str(CONF.parent / "aejax" / "_plugins"), prepend=os.pathsep)
    yield
    version.setbase("1.3")


@pytest.mark.usefixtures("as_hydra_tests")
@pytest.mark.parametrize("launcher_name, overrides", [("vmap", [])])
class TestConformance(LauncherTestSuite):
    """Hydra's own suite; its jobs are foreign."""


@pytest.mark.usefixtures("as_hydra_tests")
@pytest.mark.parametrize("launcher_name, overrides", [("vmap", ["hydra.sweeper.max_batch_size=2"])])
class TestBatchedConformance(BatchedSweeperTestSuite):
    """Hydra's own suite for batches."""


@pytest.mark.slow
@pytest.mark.usefixtures("as_hydra_tests")
@pytest.mark.parametrize("task_launcher_cfg, extra_flags", [({}, ["-m", "hydra/launcher=vmap"])])
class TestIntegration(IntegrationTestSuite):
    """Hydra's own integration suite."""


def test_jobs_are_grouped_by_structure():
    numbers = ["seed=1", "latent_dim=5", "optim.lr=0.1", "model.beta=0.5", "noise.level=0.3"]
    jobs = [job("model=vae", "noise=flip", "seed=0")]
    jobs += [job("model=vae", "noise=flip", change) for change in numbers]
    jobs += [job("noise=flip"), job("model=vae", "noise=flip", "net.widths=[3]"), job("noise=flip", "seed=3")]
    assert groups(jobs) == [[0, 1, 2, 3, 4, 5], [6, 8], [7]]
    assert groups([job("lanes.max=2", f"seed={seed}") for seed in range(5)]) == [[0], [1, 2], [3, 4]]


def test_the_largest_groups_are_split_until_there_are_enough():
    jobs = [job(f"seed={seed}") for seed in range(5)] + [job("model=vae")]
    assert groups(jobs, 2) == [[0, 1, 2, 3, 4], [5]]
    assert groups(jobs, 3) == [[0, 1], [2, 3, 4], [5]]
    assert groups(jobs, 100) == [[place] for place in range(6)]


def test_cut_evenly():
    assert cut_evenly(list(range(5)), 1) == [[0, 1, 2, 3, 4]]
    assert [len(part) for part in cut_evenly(list(range(10)), 3)] == [3, 3, 4]


def test_names_tell_what_varies():
    overrides = [["model=vae", "noise=flip", f"latent_dim={d}", f"seed={s}", "steps=5"] for d in (2, 4) for s in (0, 1)]
    assert names_of(overrides)[-1] == "d=4 s=1"
    assert names_of([["model=ae", "optim.lr=1"], ["model=vae", "optim.lr=1"]]) == ["ae", "vae"]


@pytest.mark.parametrize(
    ("how", "lanes", "parameters", "expected"),
    [("auto", 1, 10, "map"), ("auto", 8, 10, "vmap"), ("auto", 8, 10**6, "map"), ("map", 8, 10, "map")],
)
def test_the_rule_for_vmap_or_map(how, lanes, parameters, expected):
    assert Lanes(how, None).settle(lanes, parameters) == expected


@pytest.mark.parametrize("how", ["vmap", "map"])
def test_a_stack_is_padded_and_spread(how):
    layout = Layout(3, how)
    stack = layout.stack([{"a": np.float32(value)} for value in (1, 2, 3)])
    doubled = layout.compiled(lambda own, shared: own["a"] * shared, 1, stack, np.float32(2))(stack, np.float32(2))
    np.testing.assert_array_equal(doubled[:3], [2, 4, 6])


@pytest.mark.parametrize(
    ("lanes", "at_once", "turns", "size"),
    [(8, 8, 1, 8), (3, 100, 1, 3), (32, 8, 4, 8), (32, 7, 8, 4), (33, 7, 5, 7), (31, 8, 4, 8), (7, 2, 7, 1)],
)
def test_turns_have_lanes_that_caches_hold_and_few_copies(lanes, at_once, turns, size):
    assert turns_of(lanes, at_once) == (turns, size)


@pytest.mark.parametrize("lanes", [4, 5])
def test_turns_give_what_all_lanes_at_once_give(lanes):
    layout, values = Layout(lanes, "vmap", 1), np.arange(1.0, lanes + 1, dtype=np.float32)
    stack, shared = layout.stack([{"a": np.full((2, 3), value)} for value in values]), layout.share(np.float32(2))

    def doubled(own, shared):
        return {"twice": own["a"] * shared, "sum": own["a"].sum()}

    for parameters in (1, CACHED // 3, CACHED):  # all lanes at once, three, two
        result = layout.compiled(doubled, 1, stack, shared, parameters=parameters)(stack, shared)
        np.testing.assert_array_equal(result["twice"], np.broadcast_to(2 * values[:, None, None], (lanes, 2, 3)))
        np.testing.assert_array_equal(result["sum"], 6 * values)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same sweep by this launcher and by Hydra's basic one."""
    folder = tmp_path_factory.mktemp("sweeps")
    words = ["model=ae,vae", "latent_dim=2,3", "noise=flip", *QUICK]
    told = sweep(folder, *words, "hydra.sweep.dir=joint").stdout
    sweep(folder, *words, "hydra.sweep.dir=basic", "hydra/launcher=basic")
    return folder / "joint", folder / "basic", told


@pytest.mark.slow
def test_the_plan_is_told(both):
    assert "4 jobs -> 2 programs of 2 lanes, vmap on " in both[2]
    assert "4 completed in" in both[2]


@pytest.mark.slow
def test_every_job_leaves_the_files_that_the_basic_launcher_leaves(both):
    joint, basic, _ = both
    for number in range(4):
        names = [
            sorted(str(path.relative_to(each / str(number))) for path in (each / str(number)).rglob("*"))
            for each in (joint, basic)
        ]
        assert names[0] == names[1]
        for name in ("config", "overrides"):
            ours, theirs = ((each / str(number) / ".hydra" / f"{name}.yaml").read_text() for each in (joint, basic))
            assert ours == theirs
        ours, theirs = (
            yaml.safe_load((each / str(number) / ".hydra" / "hydra.yaml").read_text())["hydra"]
            for each in (joint, basic)
        )
        different = {key for key in ours if ours[key] != theirs[key]}
        assert different == {"launcher", "sweep", "overrides", "runtime"}  # what the two commands differ in
        assert ours["job"] == theirs["job"]


@pytest.mark.slow
def test_a_lane_is_the_run_that_it_would_be_alone(both):
    joint, basic, _ = both
    for number in range(4):
        ours, theirs = (Run.read(each / str(number)) for each in (joint, basic))
        assert ours.record["id"] == theirs.record["id"]
        assert ours.record["parameters"] == theirs.record["parameters"]
        for found, expected in zip(ours.history, theirs.history, strict=True):
            assert found == pytest.approx(expected, rel=1e-3)
        assert ours.metrics["recon/mse"] == pytest.approx(theirs.metrics["recon/mse"], rel=1e-3)
        assert ours.codes["z"].shape == theirs.codes["z"].shape
        np.testing.assert_allclose(ours.codes["z"], theirs.codes["z"], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_a_wrong_job_fails_alone_and_a_diverging_lane_is_a_result(tmp_path):
    words = ["optim=sgd", "optim.clip=null", "optim.lr=1e-4,1e30,-1", *QUICK, "hydra.sweep.dir=s"]
    done = sweep(tmp_path, *words, status=1)
    assert Run.read(tmp_path / "s" / "0").record["status"] == "completed"
    assert Run.read(tmp_path / "s" / "1").record["status"] == "diverged"
    assert not (tmp_path / "s" / "2").exists()
    assert "1 completed, 1 diverged, 1 failed" in done.stdout
    assert "optim.lr=-1: must be a number above 0" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_equal_jobs_are_both_recorded_and_trained_once(tmp_path):
    told = sweep(tmp_path, "seed=1,1", *[word for word in QUICK if word != "track=off"], "hydra.sweep.dir=s").stdout
    assert "1 job -> 1 program of 1 lane, map on 1 device" in told
    assert "1 of 2 jobs have the configuration of another" in told
    one, two = (Run.read(tmp_path / "s" / number) for number in "01")
    assert one.record["id"] == two.record["id"]
    assert one.record["status"] == two.record["status"] == "completed"
    assert one.metrics == two.metrics
    assert "same_as" in two.record and "same_as" not in one.record
    assert (tmp_path / "s" / "1" / ".hydra" / "config.yaml").exists()


@pytest.mark.slow
def test_batches_of_jobs_are_launched_one_after_another(tmp_path):
    told = sweep(tmp_path, "seed=0,1,2", *QUICK, "hydra.sweep.dir=s", "hydra.sweeper.max_batch_size=2").stdout
    assert told.count("completed in") == 2
    assert [Run.read(tmp_path / "s" / number).record["status"] for number in "012"] == ["completed"] * 3


@pytest.mark.slow
def test_offline_wandb_runs_of_a_sweep_lie_together(tmp_path):
    words = [word for word in QUICK if word != "track=off"]
    sweep(tmp_path, "seed=0,1,2", *words, "hydra.sweep.dir=s")
    assert len(list((tmp_path / "s" / "wandb").glob("offline-run-*/*.wandb"))) == 3
    assert not list((tmp_path / "s").glob("*/wandb"))


def test_large_groups_are_cut_by_memory_and_always_alike(monkeypatch):
    jobs = [job("net.widths=[50]", f"seed={seed}") for seed in range(10)]
    lane = memory() // most_lanes(jobs)  # the memory that there must be for each
    monkeypatch.setattr("aejax.training.plan.memory", lambda: 4 * lane + 1)
    assert [len(part) for part in groups(jobs)] == [3, 3, 4]
    monkeypatch.setattr("aejax.training.plan.memory", lambda: 0)
    assert [len(part) for part in groups(jobs)] == [1] * 10


def test_the_bytes_of_every_value_are_counted():
    def function(x_5):
        y_5 = x_5 + 1
        return jax.jit(lambda a_5: a_5.astype(np.int8) * 2)(y_5)

    assert value_bytes(jax.make_jaxpr(function)(np.zeros(5, np.float32)).jaxpr) == 5 * 4 + 5 + 5 + 5


SETS = [
    ["seed=3"],
    ["model=vae", "model.beta=0.5", "seed=3", "net.widths=[3,4]"],
    ["noise=flip", "noise.level=0.2", "optim=sgd", "optim.clip=null", "data=emoji"],
    ["experiment=emoji", "latent_dim=4"],
    ["+net.more=1", "seed=1"],
    ["~checkpoint"],
    ["track=off", "lanes.max=3", "figures=false", "net={widths:[5],activation:relu}"],
]


WORDS = [
    "a b",
    "1e-3",
    "yes",
    "null",
    "~",
    "",
    " lead",
    "x: y",
    "# no",
    "'q'",
    '"d"',
    "two\nlines",
    "a\n\n b",
    "tab\tx",
]
WORDS += [
    "é",
    "😀 smile",
    "long " * 40,
    "long 'q' " * 30,
    "-",
    "[1]",
    "{a}",
    "0x1f",
    "on",
    ".5",
    "1:30",
    "\u2028",
    "\x07",
]
WORDS += [
    "a\\b",
    "${x.y}",
    "word" * 50,
    "end \n",
    "tag(log,interval(1e-4,0.1))",
    "2020-01-01",
    "a #b",
    "@a",
    "%p",
    "!t",
]
CONTENTS = [{"a": word, word + "0": [word, {"b": word}]} for word in WORDS]
CONTENTS += [{"a": [1, 0.1, 1e-9, 1e30, None, True, float("inf"), [], {}, [[1], [{"x": []}]]]}]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_yaml_is_written_as_omegaconf_writes_it(content):
    for length in (0, 30):  # of what stands before it in the line
        nested = {"k" * length: content}
        assert yaml_of(nested) == yaml.dump(nested, Dumper=get_omega_conf_dumper(), **YAML)


@pytest.mark.parametrize("words", [[], ["model=sparse_ae", "seed=1"]], ids=["default", "words"])
def test_the_files_of_a_job_are_those_of_hydra(words):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("config", words, return_hydra_config=True)
    own = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    rest = OmegaConf.masked_copy(composed, "hydra")
    parts = {"config": own, "hydra": rest, "overrides": composed.hydra.overrides.task}
    expected = {f"{name}.yaml": OmegaConf.to_yaml(part) for name, part in parts.items()}
    for _ in ("first", "again"):  # again: from what is kept of the first
        assert files_of(composed) == expected


YAML = {"default_flow_style": False, "allow_unicode": True, "sort_keys": False}  # what OmegaConf.to_yaml asks for


@pytest.mark.parametrize("overrides", SETS, ids=" ".join)
def test_the_quick_way_of_composing_gives_what_hydras_own_gives(overrides):
    search_path = create_config_search_path(str(CONF))
    plain = ConfigLoaderImpl(search_path)
    master = plain.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    quick = Composition(plain, master)
    quick.job(["seed=77"])  # a base that others must not see
    ours, theirs = quick.job(overrides), plain.load_sweep_config(master, overrides)
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
    assert ours.hydra.job.override_dirname == theirs.hydra.job.override_dirname
