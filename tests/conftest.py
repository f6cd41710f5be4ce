"""What all tests share: a strict JAX, a home of their own, and short ways to experiments and runs."""

import importlib.metadata
import os
import tempfile
from pathlib import Path

# Before jax is imported: no test reads or writes what a user has. Workers and sessions share compiled programs.
HOME = tempfile.mkdtemp(prefix="aejax-test-")
PROGRAMS = Path(__file__).parent.parent / ".pytest_cache" / "programs"
COMPILE_SOON = "--xla_backend_optimization_level=0"  # in half the time
JAXLIB = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
if JAXLIB < (0, 11):  # XLA aborts at flags that it does not know, and this one is about to go
    COMPILE_SOON += " --xla_cpu_use_fusion_emitters=false"  # in a third
os.environ |= {
    "HOME": HOME,
    "XDG_CACHE_HOME": f"{HOME}/cache",
    "XDG_CONFIG_HOME": f"{HOME}/config",
    "WANDB_DATA_DIR": f"{HOME}/wandb",
    "WANDB_CACHE_DIR": f"{HOME}/wandb",
    "WANDB_CONFIG_DIR": f"{HOME}/wandb",
    "JAX_COMPILATION_CACHE_DIR": str(PROGRAMS),
    "XLA_FLAGS": os.environ.get("XLA_FLAGS", COMPILE_SOON),
    "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
}
for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_BASE_URL"):
    os.environ.pop(name, None)

import contextlib
import functools
import gc
import io
import pickle
import shutil
import sys
import time

import hydra
import jax
import numpy as np
import pytest
import sets
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from aejax.base.devices import cores
from aejax.base.errors import InputError
from aejax.cli.train import main
from aejax.config.explain import CONF
from aejax.evaluation.evaluate import evaluate
from aejax.runs.console import ConsoleReport
from aejax.runs.folder import Run
from aejax.runs.group import run_group
from aejax.runs.job import Job, compose
from aejax.runs.programs import keep_compiled_programs
from aejax.runs.record import Clock, Place
from aejax.settings.configuration import without_hydra
from aejax.sweeps.composition import Composition
from aejax.training import step
from aejax.training.plan import layout_of

gc.freeze()  # the objects of these modules stay, and what traces leave need not be searched so often
gc.set_threshold(20_000, 20, 20)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", cores())  # as the commands that tests start have them
keep_compiled_programs()


@functools.cache
def parsed(text):
    """A configuration as pickled bytes; OmegaConf's parser is written in Python."""
    return pickle.dumps(LOAD(io.StringIO(text)))


def load(file):
    """OmegaConf.load, which Hydra calls for each of its files whenever it composes; each text is parsed once."""
    text = Path(file).read_text(encoding="utf-8") if isinstance(file, str | Path) else file.read()
    return pickle.loads(parsed(text))


LOAD = OmegaConf.load
OmegaConf.load = staticmethod(load)


def pytest_unconfigure():
    """Each worker has a home of its own, and so has the process that starts them."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def clear_hydra():
    yield
    forget()


@pytest.fixture(autouse=True, scope="module")
def give_programs_back():
    """Each compiled program takes several of the 65,530 memory mappings of a process; beyond them JAX crashes."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to be in, and no decoded arrays of another test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Runs the command in an empty folder of its own; gives its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    return lambda *words, main=main: (called(main, *words), *capfd.readouterr())


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def told(capsys):
    """Runs `python -m aejax.compare`; gives its exit status, stdout and stderr."""
    from aejax.cli.compare import main

    return lambda *words: (called(main, *map(str, words)), *capsys.readouterr())


def called(main, *words):
    """The exit status of a command in this process."""
    before, sys.argv = sys.argv, ["aejax", *words]
    try:
        main()
    except SystemExit as stop:
        return stop.code
    finally:
        sys.argv = before
        forget()
    return 0


def forget():
    """Nothing that Hydra or W&B keep of a process reaches the next test, or a command that it starts."""
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    os.environ.pop("WANDB_SERVICE", None)  # a command would share W&B's process, where a lost run still is in use
    os.environ.pop("WANDB_SILENT", None)


def job(*overrides, loaded=None):
    """The job that these overrides compose; `loaded` keeps the data that jobs have in common."""
    try:
        config = composition(launcher_class()).job(overrides)
    except (HydraException, OmegaConfBaseException):  # a single run is refused with a line of its own
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            compose(overrides, loaded)
        raise
    return Job.read(without_hydra(config), dict(config.hydra.runtime.choices), loaded)


def launcher_class():
    """The class of the launcher's configuration: another one after Hydra has loaded its plugins again."""
    return getattr(sys.modules.get("hydra_plugins.aejax_vmap"), "VmapLauncherConf", None)


@functools.cache
def composition(_launcher_class):
    """Composes as a sweep does, which takes a tenth of the time that Hydra takes, and gives the same.

    Its configurations are pickled, and so are of the `launcher_class` of the time when it was made.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return Composition(loader, loader.load_configuration("config", [], RunMode.MULTIRUN))


def refused(told, *overrides):
    """Asserts that a job of these overrides is refused with one line that begins so."""
    with pytest.raises(InputError) as caught:
        job(*overrides)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def trained(*jobs, width=None):
    """The stacked final State of these jobs, which must be of one structure, and the metrics of every segment."""
    experiments, data = stack([each.experiment for each in jobs]), jobs[0].dataset.arrays()
    width = width or max(int(each.experiment.latent_dim) for each in jobs)
    state = _begun(width)(experiments, data)
    at, rows = 0, []
    for length in step.segments(jobs[0].experiment):
        state, row = _segment(length)(experiments, state, data, np.int32(at))
        at += length
        rows.append(jax.device_get(row))
    return state, rows


def evaluated(state, *jobs):
    """The metrics [L] by name, the codes [L, N, Z] and the details of these jobs' final State."""
    return jax.device_get(_evaluate(stack([each.experiment for each in jobs]), state.chosen, jobs[0].dataset.arrays()))


def stack(experiments):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *experiments)


def over_lanes(function, stacked):
    """One lane's function over all, jitted: the tests' own way, apart from lanes.py."""

    def program(*arguments):
        one = functools.partial(lambda own, shared: function(*own, *shared), shared=arguments[stacked:])
        return jax.lax.map(one, arguments[:stacked])

    return jax.jit(program)


_evaluate = over_lanes(evaluate, 2)


@functools.cache
def _begun(width):
    return over_lanes(functools.partial(step.init, width=width), 1)


@functools.cache
def _segment(length):
    return over_lanes(functools.partial(step.segment, length=length), 2)


def run(folder, *overrides, report=None):
    """The Run that a job of these overrides leaves in `folder`; no pictures, no W&B unless asked for."""
    each = job("figures=false", "track=off", *overrides)
    report = report or ConsoleReport(Console(quiet=True))
    run_group([each], [Place(folder, folder)], layout_of([each]), Clock(time.perf_counter()), report)
    return Run.read(folder)


class Killed(BaseException):
    """Ends a training as SIGKILL does: nothing is left but what was left before."""


class Watch(ConsoleReport):
    """Tells at which step a training began, and kills it once it has come to another."""

    def __init__(self, kill_at=None):
        super().__init__(Console(quiet=True))
        self.kill_at, self.began, self.said = kill_at, None, []

    @contextlib.contextmanager
    def training(self, steps, name, done=0):
        self.began = done

        def show(step, loss, phase):
            if self.kill_at is not None and step >= self.kill_at:
                raise Killed

        yield show

    def say(self, text):
        self.said.append(text)


RESULTS = ("metrics.json", "history.csv", "params.safetensors", "codes.npz")


def results(path):
    """The files of a run that the same command always leaves alike."""
    return {name: (path / name).read_bytes() for name in RESULTS}


def state_of(folder):
    """Contents and times of all files in a folder."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder mnist/ of files like MNIST's, and the images and labels by split."""
    folder, arrays = tmp_path_factory.mktemp("originals") / "mnist", {}
    folder.mkdir()
    for split, count in sets.COUNTS.items():
        x, y = sets.RNG.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(sets.idx(x))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(sets.idx(y))
        arrays[split] = x, y
    return folder, arrays


@pytest.fixture
def mnist(digits, monkeypatch):
    """tensorflow-datasets takes these files for MNIST's."""
    import tensorflow_datasets as tfds  # a third of a second, for those who need it

    monkeypatch.setattr(tfds.builder_cls("mnist"), "url_infos", sets.infos(digits[0], "http://localhost:1"))
    return digits
