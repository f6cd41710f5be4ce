"""The private parts of libraries: each is still what aejax relies on, and no module but those of compat uses one."""

import ast
import contextlib
import copy
import gc
import importlib.metadata
import importlib.util
import inspect
import logging
import pickle
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import hydra
import jax
import numpy as np
import pytest
import yaml
from conftest import CONF
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from aejax.base.errors import InputError
from aejax.compat import hydra_compat, jax_compat, omegaconf_compat, tfds_compat, uvicorn_compat, wandb_compat
from aejax.datasets.sources.tfds import Tfds

PACKAGE = CONF.parent / "aejax"


@contextlib.contextmanager
def of(library):
    """Makes of every failure inside one that begins with the library and its version; also a decorator of tests."""
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        told = f"{library} {importlib.metadata.version(library)}: is not what aejax.compat relies on"
        raise AssertionError(f"{told}\n{type(error).__name__}: {error}") from error


@pytest.fixture
def composed():
    """Composes with Hydra's part; Hydra is initialized with conf/ until the test ends."""
    with hydra_compat.initialized(CONF):
        yield lambda *words: hydra.compose("config", list(words), return_hydra_config=True)


@contextlib.contextmanager
def served(**settings):
    """A server that answers with 8 MB, of a protocol with these settings; gives its address and its connections."""
    uvicorn = pytest.importorskip("uvicorn")

    async def answer(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(80):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    protocol = type("Protocol", (uvicorn_compat.LimitedProtocol,), settings)
    config = uvicorn.Config(answer, http=protocol, lifespan="off", ws="none", log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname(), server.server_state.connections
        finally:
            server.should_exit = True
            thread.join()


# What the tests themselves promise


def test_a_failure_names_the_library_and_its_version():
    with pytest.raises(AssertionError, match=r"^hydra-core \d+\.\d+\.\d+: .*\nKeyError: 'gone'"), of("hydra-core"):
        raise KeyError("gone")


# Hydra


@of("hydra-core")
def test_hydra_is_initialized_anew_each_time():
    for _ in range(2):
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"), hydra_compat.initialized(CONF / "model"):
            assert "bottleneck" in hydra.compose("vae")
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(ValueError):
        hydra.initialize_config_dir(str(CONF), version_base="1.3").__enter__()


@of("hydra-core")
def test_hydras_state_is_restored():
    before = HydraConfig.instance()
    with hydra_compat.restored(), hydra_compat.initialized(CONF):
        hydra_compat.set_job(hydra.compose("config", ["seed=7"], return_hydra_config=True))
        assert HydraConfig.get().overrides.task == ["seed=7"] and GlobalHydra.instance().is_initialized()
    assert HydraConfig.instance().cfg is None and before.cfg is not None
    assert not GlobalHydra.instance().is_initialized()


@of("hydra-core")
def test_the_config_loader_knows_the_groups(composed):
    loader = hydra_compat.config_loader()
    assert hydra_compat.is_group(loader, "model") and not hydra_compat.is_group(loader, "seed")
    for name in ("load_configuration", "load_sweep_config"):
        assert callable(getattr(loader, name))
    assert list(inspect.signature(loader.load_sweep_config).parameters) == ["master_config", "sweep_overrides"]


@of("hydra-core")
def test_overrides_are_parsed(composed):
    value, added, deleted, varied = hydra_compat.parsed(["model.beta=0.5", "+new=[1,x]", "~lr", "seed=range(3)"])
    assert (value.key_or_group, value.input_line, value.value()) == ("model.beta", "model.beta=0.5", 0.5)
    assert (value.get_key_element(), value.get_value_element_as_str()) == ("model.beta", "0.5")
    assert (value.package, hydra_compat.parsed(["model@other=vae"])[0].package) == (None, "other")
    assert added.is_add() and added.value() == [1, "x"] and added.get_key_element() == "+new"
    assert deleted.is_delete() and not (deleted.is_add() or deleted.is_sweep_override())
    assert varied.is_sweep_override() and varied.is_discrete_sweep() and varied.is_range_sweep()
    assert list(varied.sweep_iterator()) == [0, 1, 2] and list(varied.sweep_string_iterator()) == ["0", "1", "2"]
    assert list(varied.value().range()) == [0, 1, 2] and (varied.value().step, varied.value().shuffle) == (1, False)
    (interval,) = hydra_compat.parsed(["lr=tag(log,interval(1e-4,0.1))"])
    assert interval.is_interval_sweep() and not interval.is_discrete_sweep() and interval.value().tags == {"log"}
    assert (interval.value().start, interval.value().end) == (1e-4, 0.1)
    assert hydra_compat.parsed(["hydra.verbose=true"])[0].is_hydra_override()
    (matching,) = hydra_compat.parsed(["noise=glob(mask*)"], hydra_compat.config_loader())
    assert list(matching.sweep_string_iterator()) == sorted(p.stem for p in (CONF / "noise").glob("mask*"))


@of("hydra-core")
def test_a_word_that_is_no_override_is_told_with_and_without_a_reference():
    with pytest.raises(OverrideParseException, match=r"(?s)See https://") as caught:
        hydra_compat.parsed(["seed"])
    assert caught.value.override == "seed"
    with pytest.raises(HydraException) as caught:
        hydra_compat.parsed_word("seed")
    assert "See " not in str(caught.value)
    assert hydra_compat.parsed_word("model=2").value() == 2


@of("hydra-core")
def test_overrides_are_applied_to_a_composed_configuration(composed):
    words = ["seed=3", "model.beta=0.5", "latent_dim=${seed}"]
    config = composed("model=beta_vae")
    hydra_compat.apply_overrides(hydra_compat.parsed(words), config)
    assert (config.seed, config.latent_dim, config.model.beta) == (3, 3, 0.5)
    assert {**config, "hydra": None} == {**composed("model=beta_vae", *words), "hydra": None}
    with pytest.raises(HydraException, match="Could not override 'sede'"):
        hydra_compat.apply_overrides(hydra_compat.parsed(["sede=3"]), config)


@of("hydra-core")
def test_the_name_made_of_overrides(composed):
    words = ["seed=3", "model=vae", "latent_dim=2"]
    form = [
        "hydra.job.config.override_dirname.item_sep=+",
        "hydra.job.config.override_dirname.exclude_keys=[latent_dim]",
    ]
    config = composed(*words, *form)
    made = hydra_compat.override_dirname(hydra_compat.parsed(words), config)
    assert made == config.hydra.job.override_dirname == "model=vae+seed=3"


@of("hydra-core")
def test_the_state_of_a_job(composed):
    setup_globals()
    first, second = composed("seed=1"), composed("seed=2")
    hydra_compat.set_job(first)
    before = HydraConfig.instance().cfg
    with hydra_compat.job_state(second):
        assert HydraConfig.get().overrides.task == ["seed=2"]
        assert OmegaConf.create({"a": "${hydra:overrides.task}"}).a == ["seed=2"]
        assert not OmegaConf.is_readonly(second.hydra)
        second.hydra.job.num = 5
        assert HydraConfig.get().job.num == 5
    assert HydraConfig.instance().cfg is before and HydraConfig.get().overrides.task == ["seed=1"]
    with pytest.raises(KeyError), hydra_compat.job_state(second):
        raise KeyError
    assert HydraConfig.instance().cfg is before


@of("hydra-core")
def test_the_basic_launcher():
    basic = hydra_compat.basic_launcher()
    assert isinstance(basic, Launcher)
    assert list(inspect.signature(basic.setup).parameters) == ["hydra_context", "task_function", "config"]
    assert list(inspect.signature(basic.launch).parameters) == ["job_overrides", "initial_job_idx"]
    assert "hydra._internal.core_plugins.basic_launcher.BasicLauncher" in hydra_compat.plugins(Launcher)
    assert "hydra_plugins.aejax_vmap.VmapLauncher" in hydra_compat.plugins(Launcher)


class Listener(Callback):
    """Hears of the end of a job."""

    def on_job_end(self, config, job_return, **kwargs):
        pass


@of("hydra-core")
def test_callbacks_that_hear_of_jobs(composed):
    own = composed()
    assert not hydra_compat.hear_of_jobs(Callbacks()) and not hydra_compat.hear_of_jobs(Callbacks(own))
    listener = f"+hydra.callbacks.mine={{_target_: {__name__}.Listener}}"
    assert hydra_compat.hear_of_jobs(Callbacks(composed(listener)))


@of("hydra-core")
def test_a_failed_job_is_told_by_hydra_and_not_by_a_quiet_return(capsys):
    for kind, told in ((JobReturn, "Error executing job"), (hydra_compat.QuietReturn, "")):
        returned = kind(overrides=["seed=1"])
        returned.return_value = 0.5
        returned.status = JobStatus.COMPLETED
        assert returned.return_value == 0.5
        returned.status, returned.return_value = JobStatus.FAILED, KeyError("why")
        with pytest.raises(KeyError, match="why"):
            _ = returned.return_value
        assert capsys.readouterr().err.startswith(told) and bool(told) == (kind is JobReturn)


@of("hydra-core")
def test_a_quiet_return_composes_what_it_is_asked_for():
    returned = hydra_compat.QuietReturn(overrides=["seed=1"])
    assert returned.hydra_cfg is None and returned.cfg is None
    returned.compose = lambda: OmegaConf.create({"seed": 1, "hydra": {"job": {"num": 3}}})
    read = pickle.loads(pickle.dumps(returned))
    for one in (returned, read):
        assert one.hydra_cfg.hydra.job.num == 3 and one.cfg == {"seed": 1} and list(one.overrides) == ["seed=1"]
    for name in ("cfg", "hydra_cfg"):
        with pytest.raises(AttributeError, match=name):
            setattr(returned, name, OmegaConf.create({}))


@of("hydra-core")
def test_what_hydra_says_of_wrong_words(composed):
    def error(*words):
        with pytest.raises((HydraException, ValueError)) as caught:
            composed(*words)
        return caught.value

    assert hydra_compat.unknown_key(error("sede=1")) == "sede"
    assert hydra_compat.unknown_key(error("~sede")) == "~sede"
    assert hydra_compat.unknown_key(error("model=vea")) is None
    assert hydra_compat.several_values(error("model=ae,vae")) == ("model", "ae,vae")
    assert hydra_compat.several_values(error("model=vea")) is None
    assert hydra_compat.wrong_type(error("hydra.run.dir=[1]"))[0] == "hydra.run.dir=[1]"
    assert hydra_compat.wrong_type(error("model=vea")) is None
    assert hydra_compat.is_of_group_value(error("model=2"))
    assert hydra_compat.is_of_group_value(error("~noise=1e3"))
    assert not hydra_compat.is_of_group_value(error("sede=1"))
    missing = error("model=vea")
    assert isinstance(missing, MissingConfigException)
    assert missing.missing_cfg_file == "model/vea" and "vae" in missing.options


# OmegaConf


@of("omegaconf")
def test_the_dumper_is_the_one_of_to_yaml():
    content = {"a": ["yes", "1e-3", "1", 1, 1e-3, None, "x: y"], "b": {"c": True}}
    dumper = omegaconf_compat.yaml_dumper()
    assert issubclass(dumper, yaml.Dumper) and str in dumper.yaml_representers
    options = {"default_flow_style": False, "allow_unicode": True, "sort_keys": False}
    assert yaml.dump(content, Dumper=dumper, **options) == OmegaConf.to_yaml(OmegaConf.create(content))


@of("omegaconf")
def test_the_plain_containers_of_a_configuration(composed):
    special = {"a": "${b}", "b": [1, None, "???", {}, [], {"c": ["${a}"]}], "d": JobStatus.FAILED, 5: 1.5, "e": True}
    for config in (OmegaConf.create(special), OmegaConf.create({}), composed("model=sparse_ae", "optim.lr=1e-3")):
        expected = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
        assert omegaconf_compat.contents(config) == expected
    assert omegaconf_compat.contents(OmegaConf.create(special))["d"] == "FAILED"


@of("omegaconf")
def test_a_view_without_a_key():
    config = OmegaConf.create({"a": {"b": "${c}", "e": "${hydra.d}"}, "c": 1, "hydra": {"d": 2}})
    view = omegaconf_compat.view_without(config, "hydra")
    assert OmegaConf.to_container(view) == {"a": {"b": "${c}", "e": "${hydra.d}"}, "c": 1}
    assert OmegaConf.to_container(view, resolve=True) == {"a": {"b": 1, "e": 2}, "c": 1}
    config.c = 3  # its nodes are those of the view
    assert (view.a.b, config.hydra.d) == (3, 2)
    with pytest.raises(OmegaConfBaseException, match=r"hydra\.d"):
        OmegaConf.to_container(copy.deepcopy(view), resolve=True)


@of("omegaconf")
def test_what_an_error_tells():
    config = OmegaConf.create({"model": {"beta": "???", "lr": "${gone}"}})
    with pytest.raises(MissingMandatoryValue) as caught:
        OmegaConf.to_container(config.model, throw_on_missing=True)
    assert omegaconf_compat.key_of(caught.value) == "model.beta"
    with pytest.raises(OmegaConfBaseException) as caught:
        _ = config.model.lr
    assert omegaconf_compat.first_part(str(caught.value)).strip() == "Interpolation key 'gone' not found"


# JAX


@of("jax")
def test_the_folder_of_compiled_programs_changes_after_a_reset_only(tmp_path):
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}

    def kept(folder, number):
        """How many files are in the folder after a program of its own was compiled."""
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / folder))
        jax.jit(lambda x: x * number)(np.zeros(3, np.float32))
        return len(list((tmp_path / folder).glob("*")))

    try:
        for name, value in zip(names, (None, 0.0, -1), strict=True):
            jax.config.update(name, value)
        jax_compat.reset_compilation_cache()
        assert kept("first", 41) > 0
        assert kept("second", 42) == 0
        jax_compat.reset_compilation_cache()
        assert kept("third", 43) > 0
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        jax_compat.reset_compilation_cache()


@of("jax")
def test_equations_inside_of_equations():
    def function(x_5):
        y_5 = x_5 + 1
        return jax.lax.scan(lambda a, _: (jax.jit(lambda b: b * 2)(a), None), y_5, length=3)[0]

    walked = list(jax_compat.equations(jax.make_jaxpr(function)(np.zeros(5, np.float32)).jaxpr))
    names = [equation.primitive.name for equation in walked]
    assert sorted(names) in (["add", "jit", "mul", "scan"], ["add", "mul", "pjit", "scan"])
    (product,) = [equation.outvars for equation in walked if equation.primitive.name == "mul"]
    assert [(out.aval.shape, out.aval.dtype, out.aval.size) for out in product] == [((5,), np.float32, 5)]


@of("jax")
def test_a_traced_program_runs_with_other_functions_in_place_of_primitives():
    def function(x_5):
        padded = jax.jit(lambda a: jax.numpy.pad(jax.nn.relu(a), 1))(x_5)
        return jax.lax.cond(padded[1] > 0, lambda a: a * 2, lambda a: a, padded), jax.lax.top_k(padded, 2)[0]

    x_5, calls = np.float32([1, -2, 3, 4, 5]), []
    traced = jax.make_jaxpr(function)(x_5)

    def padded(*operands, **params):
        calls.append(params["padding_config"])
        return jax.lax.pad(*operands, **params)

    for otherwise in ({}, {"pad": padded}):
        results = jax_compat.evaluated(traced, [x_5], otherwise)
        np.testing.assert_array_equal(results[0], [0, 2, 0, 6, 8, 10, 0])
        np.testing.assert_array_equal(results[1], [5, 4])
    assert calls == [((1, 1, 0),)]


@of("jax")
def test_the_memory_of_an_accelerator():
    device = jax.devices()[0]
    if device.platform == "cpu":
        pytest.skip("there is no accelerator")
    assert 2**30 < jax_compat.bytes_limit(device) < 2**40


@of("jax")
def test_the_lack_of_memory():
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.block_until_ready(jax.jit(lambda: jax.numpy.zeros((1 << 47,), np.int8) + 1)())
    told = jax_compat.lack_of_memory(caught.value)
    assert told.startswith("Out of memory allocating") and "\n" not in told
    assert jax_compat.lack_of_memory(jax.errors.JaxRuntimeError("INTERNAL: another")) is None
    assert jax_compat.lack_of_memory(ValueError("RESOURCE_EXHAUSTED: not XLA's")) is None


MEET = """
import os, signal, jax, numpy
from aejax.compat import jax_compat
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
jax_compat.join("127.0.0.1:{port}", 1, 0, 20)
os.kill(os.getpid(), signal.SIGTERM)
print(jax.distributed.is_initialized(), jax_compat.gathered(numpy.int32([3])), jax_compat.broadcast(numpy.uint8([255])))
"""


@of("jax")
def test_processes_meet_and_signals_still_reach_them():
    """With itself; test_mesh.py starts two."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = subprocess.run([sys.executable, "-c", MEET.format(port=port)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("heard\nTrue [[3]] [255]\n", ""), done


@of("jax")
def test_a_lost_process_is_told_from_other_errors():
    lost = "UNKNOWN: Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:46271\nat a place"
    for kind in (ValueError, jax.errors.JaxRuntimeError):
        assert jax_compat.lost_process(kind(lost)) == lost.splitlines()[0]
    for error in (OSError(lost), ValueError("incompatible shapes"), ValueError(), InputError("no connection")):
        assert jax_compat.lost_process(error) is None


@of("jax")
def test_jaxs_callback_of_the_garbage_collector():
    names = [callback.__code__.co_name for callback in gc.callbacks if hasattr(callback, "__code__")]
    assert "_xla_gc_callback" in names

    def _xla_gc_callback():
        return jax_compat.is_in_garbage_callback(sys._getframe())

    assert _xla_gc_callback()
    assert not jax_compat.is_in_garbage_callback(sys._getframe()) and not jax_compat.is_in_garbage_callback(None)


# W&B


@of("wandb")
def test_what_wandb_imports_to_log_a_table():
    lines = "import sys", "from aejax.compat import wandb_compat", "wandb_compat.import_pandas()"
    code = "\n".join([*lines, "print('pandas' in sys.modules)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(importlib.util.find_spec("pandas") is not None)


@of("wandb")
def test_an_offline_run(tmp_path, monkeypatch):
    import wandb

    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    logger = logging.getLogger("wandb")
    level = logger.level
    wandb_compat.quiet()
    assert wandb_compat.log_level() == logging.CRITICAL
    assert not wandb_compat.has_service()
    settings = wandb.Settings(silent=True, console="off", disable_git=True, **wandb_compat.unmeasured())
    assert {name: getattr(settings, name) for name in wandb_compat.unmeasured()} == wandb_compat.unmeasured()
    run = wandb.init(mode="offline", dir=str(tmp_path), id="abc", reinit="create_new", settings=settings)
    try:
        assert wandb_compat.has_service() and wandb_compat.has_service({"WANDB_SERVICE": "x"})
        assert logger.handlers, "its log file is written by another logger"
        wandb_compat.ignore_log_failures()
        logger.handlers[-1].handleError(None)
        run.log({"x": 1})
    finally:
        run.finish()
        wandb.teardown()
        wandb_compat.set_log_level(level)
    file = wandb_compat.sync_file(run)
    assert file.is_file() and file.stat().st_size > 0 and file.name == "run-abc.wandb"
    assert wandb_compat.run_folders(tmp_path, "abc") == [file.parent] and not wandb_compat.run_folders(tmp_path, "bc")
    links = [path for path in file.parent.rglob("*") if path.is_symlink()]
    assert all(wandb_compat.is_log_link(path.relative_to(tmp_path)) for path in links), links
    assert not wandb_compat.is_log_link(file.relative_to(tmp_path))
    assert not (file.parent / "files" / "requirements.txt").exists()


# tensorflow-datasets


@of("tensorflow-datasets")
def test_the_registered_files():
    import tensorflow_datasets as tfds

    files = {info.filename: info.checksum for info in tfds_compat.registered_files(tfds.builder_cls("mnist")).values()}
    assert sorted(files) == [
        f"{split}-{kind}-ubyte.gz" for split in ("t10k", "train") for kind in ("images-idx3", "labels-idx1")
    ]
    assert files["train-images-idx3-ubyte.gz"][:16] == "440fcabf73cc546f"
    assert all(url.startswith("https://") for url in tfds_compat.registered_files(tfds.builder_cls("mnist")))


@of("tensorflow-datasets")
def test_a_subclass_is_not_registered():
    import tensorflow_datasets as tfds

    registered = tfds.builder_cls("mnist")
    with tfds_compat.unregistered():
        type("Mnist", (registered,), {})
    assert tfds.builder_cls("mnist") is registered
    with pytest.raises(ValueError, match="already registered"):
        type("Mnist", (registered,), {"__module__": __name__})


@of("tensorflow-datasets")
def test_what_stands_beside_a_prepared_set(mnist, tmp_path):
    import tensorflow_datasets as tfds

    Tfds("mnist", "train", "test", "image", "label", "auto", str(tmp_path), str(mnist[0]), False, None).load()
    (folder,) = (tmp_path / "mnist").glob("*.*.*")
    assert tfds_compat.file_format(folder) == "array_record"
    classes = tfds_compat.feature_classes(folder)
    assert {name.rpartition(".")[2] for name in classes} == {"FeaturesDict", "Image", "ClassLabel"}
    assert all(name.startswith("tensorflow_datasets.core.features.") for name in classes)
    assert tfds_compat.license(tfds.builder_from_directory(str(folder)).info) != ""
    (folder / "dataset_info.json").write_text("[]")
    with pytest.raises(ValueError):
        tfds_compat.file_format(folder)


# uvicorn


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ends(connection):
    """Whether the server drops the connection within some seconds."""
    connection.settimeout(5)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@of("uvicorn")
def test_uvicorn_drops_connections_that_are_slow_or_endless():
    assert uvicorn_compat.LimitedProtocol.slow == 60
    with served(slow=0.3) as (address, connections):
        with socket.create_connection(address) as silent, socket.create_connection(address) as slow:
            slow.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n123")
            assert ends(silent)
            assert slow.makefile("rb").read(12) in (b"", b"HTTP/1.1 200")
        with socket.create_connection(address) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(GET)
            for _ in range(100):
                time.sleep(0.05)
                if not connections:
                    break
            assert not connections
    with served() as (address, connections), socket.create_connection(address) as endless:
        endless.sendall(GET[:-2])
        with contextlib.suppress(OSError):
            for number in range(2000):
                endless.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1000))
        assert ends(endless)


@of("uvicorn")
def test_uvicorn_answers_over_one_connection_and_refuses_one_too_many(monkeypatch):
    with served(slow=0.5) as (address, _), socket.create_connection(address) as connection:
        answers = connection.makefile("rb")
        for _ in range(3):  # each in time, all together not
            connection.sendall(GET)
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            while answers.readline() != b"0\r\n":
                pass
            answers.readline()
            time.sleep(0.2)
    monkeypatch.setattr(uvicorn_compat, "CONNECTIONS", 1)
    with served() as (address, connections), socket.create_connection(address):
        while not connections:
            time.sleep(0.01)
        with socket.create_connection(address) as second:
            answer = second.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 503 ") and answer.endswith(b'{"error":"too many connections"}')
    with served() as (address, _), socket.create_connection(address) as other:
        other.sendall(b"HELLO\r\n\r\n")
        assert other.makefile("rb").read().endswith(b'{"error":"the request is not HTTP/1.1"}')


# No other module uses a private part

DOCUMENTED = {  # modules of libraries with private parts, as their references or example plugins show them
    "hydra", "hydra.types", "hydra.errors", "hydra.plugins.launcher", "hydra.plugins.sweeper", "hydra.core.plugins",
    "hydra.core.config_store", "hydra.core.hydra_config", "hydra.core.utils", "hydra.experimental.callback",
    "omegaconf", "omegaconf.errors",
    "jax", "jax.numpy", "jax.sharding", "jax.random", "jax.lax", "jax.nn", "jax.scipy", "jax.errors", "jax.tree",
    "flax", "flax.struct", "flax.linen",
    "wandb", "wandb_workspaces.reports.v2", "wandb_workspaces.workspaces",
    "tensorflow_datasets", "optuna", "matplotlib", "vl_convert", "requests", "safetensors", "optax", "rich",
}  # fmt: skip
WHOLE = {"matplotlib", "rich", "safetensors", "optax"}  # where every module without an underscore is documented
UNDOCUMENTED = {  # names that no reference has; those with a dot as they stand in the code
    "memory_stats", "subjaxprs", "compilation_cache", "GlobalHydra", "Singleton", "OverridesParser", "repository",
    "sync_file", "url_infos", "skip_registration", "redistribution_info", "WANDB_SERVICE", "_xla_gc_callback",
    "_content", "_return_value", "full_key", "set_config", "HydraConfig.instance", "jaxlib", "jax.extend",
    "jax.experimental", "tfds.core.registered",
}  # fmt: skip
COMPAT = [path.stem for path in (PACKAGE / "compat").glob("*_compat.py")]
PUBLIC = {"_exit", "_target_"}  # names that begin with one and are documented
MODULES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "compat"]


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def is_undocumented(module):
    library = module.split(".")[0]
    if any(is_private(part) for part in module.split(".")):
        return True
    if library in {name.split(".")[0] for name in DOCUMENTED} | {"jaxlib"} and library not in WHOLE:
        return module not in DOCUMENTED
    return False


def private_parts(source):
    """The private parts of libraries that a module uses: what it imports, asks of objects, and names in texts.

    An attribute with a leading underscore is the module's own where the module itself gives something that name.
    """
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            yield from (f"{line}: {alias.name}" for alias in node.names if is_undocumented(alias.name))
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if is_undocumented(node.module) or any(is_private(name) or name in UNDOCUMENTED for name in names):
                yield f"{line}: {node.module} {names}"
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            hidden = is_private(node.attr) and node.attr not in own
            listed = node.attr in UNDOCUMENTED or f"{owner}.{node.attr}" in UNDOCUMENTED
            hidden = (hidden or node.attr == "__dict__") and owner not in ("self", "cls")
            if (hidden or listed) and owner not in COMPAT:
                yield f"{line}: {owner}.{node.attr}"
        elif isinstance(node, ast.Constant) and node.value in UNDOCUMENTED:
            yield f"{line}: {node.value!r}"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("getattr", "setattr", "hasattr"):
            name = node.args[1].value if len(node.args) > 1 and isinstance(node.args[1], ast.Constant) else ""
            if is_private(str(name)):
                yield f"{line}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "source",
    [
        "import jax._src.core",
        "from jax._src import core",
        "from jax import _src",
        "import jax\njax._src.core",
        "import jax\njax.experimental.compilation_cache",
        "from jax.extend.core import subjaxprs",
        "from jax.experimental import pallas",
        "import jaxlib",
        "from hydra._internal import utils",
        "from hydra.core.singleton import Singleton",
        "from omegaconf.basecontainer import BaseContainer",
        "config._content",
        "config.__dict__['x']",
        "getattr(config, '_metadata')",
        "self.run._backend",
        "self._return_value",
        "HydraConfig.instance().cfg = None",
        "os.environ['WANDB_SERVICE']",
        "builder.url_infos",
        "tfds.core.registered.list_imported_builders",
        "from tensorflow_datasets.core import registered",
        "from wandb.sdk import wandb_run",
        "import matplotlib._pylab_helpers",
    ],
)
def test_a_private_part_is_seen(source):
    assert list(private_parts(source))


@pytest.mark.parametrize(
    "source",
    [
        "import jax.numpy as jnp\nfrom jax.sharding import AxisType",
        "from hydra.core.config_store import ConfigStore",
        "os._exit(1)",
        "node._target_",
        "self._x = cls._y",
        "def _a(): pass\nother._a()",
        "type(error).__name__",
        "from matplotlib.figure import Figure",
    ],
)
def test_what_is_documented_is_not_taken_for_private(source):
    assert not list(private_parts(source))


@pytest.mark.parametrize("module", MODULES)
def test_only_compat_uses_private_parts_of_libraries(module):
    found = list(private_parts((PACKAGE / module).read_text()))
    assert not found, f"{module} {found}: put it into aejax/compat, with a test above"


def test_compat_uses_what_it_is_for():
    """The list of names that are not documented holds none that nobody uses any more."""
    text = "\n".join(path.read_text() for path in (PACKAGE / "compat").glob("*.py"))
    assert not {name for name in UNDOCUMENTED - {"jaxlib"} if name.split(".")[-1] not in text}


def test_every_function_of_compat_is_used_and_tested():
    text, tests = "\n".join((PACKAGE / module).read_text() for module in MODULES), Path(__file__).read_text()
    for name in COMPAT:
        for node in ast.parse((PACKAGE / "compat" / f"{name}.py").read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name} does not say what it relies on"
                assert f"{name}.{node.name}" in tests, f"{name}.{node.name} has no test"
                assert node.name in text, f"{name}.{node.name} has no use"
