"""Runs that are made to harm who loads them: each is refused in one line, before it takes time or memory."""

import collections
import json
import shutil
import sys
import time
import tracemalloc

import numpy as np
import pytest
import yaml
from conftest import CONF, called

import aejax
from aejax.base import archive
from aejax.base.errors import InputError
from aejax.cli.train import main
from aejax.runs.folder import Run
from aejax.runs.sharing import shared

sys.path.append(str(CONF.parent))  # where benchmarks/ is
from benchmarks import hostile
from benchmarks.mutations import Plain, made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "vae"
    assert called(main, *hostile.COMMON, *hostile.RUNS["vae"], f"hydra.run.dir={path}") == 0
    return path


@pytest.mark.slow
def test_eighty_changes_are_loaded_or_refused(folder, tmp_path):
    runs, counts = [shared(Run.read(folder))], collections.Counter()
    place = tmp_path / "outer" / "place"
    for number in range(80):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        path, what = made(number, "quick", runs, place)
        before, begin = hostile.listed(tmp_path, tmp_path / "none"), time.process_time()
        outcome = hostile.used(aejax, path)
        assert time.process_time() - begin < hostile.SECONDS, what
        assert hostile.listed(tmp_path, tmp_path / "none") == before, what
        counts[outcome.partition(":")[0]] += 1
    assert counts.keys() == {hostile.LOADED, hostile.REFUSED} and min(counts.values()) > 10, counts


@pytest.mark.exhaustive
def test_many_changes_harm_no_process(tmp_path):
    failed, counts, _, _ = hostile.failures(hostile.trained(tmp_path), range(800), "slow")
    assert not failed, "\n".join(failed)
    assert min(counts[hostile.LOADED], counts[hostile.REFUSED]) > 100, counts


@pytest.fixture
def refused(folder, tmp_path):
    """The line with which a copy of the run is refused after `change` of (record, settings)."""

    def attempt(change):
        path = tmp_path / "run"
        shutil.copytree(folder, path)
        record = json.loads((path / "run.json").read_text())
        settings = yaml.safe_load((path / ".hydra" / "config.yaml").read_text())
        change(record, settings)
        (path / "run.json").write_text(json.dumps(record))
        (path / ".hydra" / "config.yaml").write_text(yaml.dump(settings, Dumper=Plain))
        with pytest.raises(InputError) as caught:
            aejax.load(path)
        line = str(caught.value)
        assert line.startswith(str(path)) and line.isprintable() and len(line) <= 1000
        return line.removeprefix(f"{path}: ").removeprefix(f"{path}/")

    return attempt


def doubling(settings, form):
    """40 settings, each of which refers to the next one twice."""
    settings |= {f"b{number}": form(f"${{b{number + 1}}}") for number in range(40)} | {"b40": 1, "seed": "${b0}"}


SETTINGS = [
    (lambda s: s["net"].update(widths=[65_536] * 9), "params.safetensors: decoder.Dense_0.bias is"),
    (lambda s: s["net"].update(widths=[10**9]), "net.widths=[1000000000]: must be a list of whole numbers"),
    (lambda s: s["net"].update(widths=[8] * 50), "params.safetensors: holds 1 layers; must be 50, by net.widths"),
    (lambda s: s["net"].update(widths=[8] * 150), "net.widths: 150 entries; the most that can be loaded are 100"),
    (lambda s: s["net"].update(widths=[8] * 9000), ".hydra/config.yaml: cannot be read (has more than 5,000 values)"),
    (lambda s: s.update(latent_dim=65_536), "params.safetensors: from_code.kernel is [3, 8]; must be [65536, 8]"),
    (lambda s: s.update(latent_dim=10**400), ".hydra/config.yaml: cannot be read (line"),
    (lambda s: s["optim"].update(lr=float("nan")), "optim.lr=nan: must be a number"),
    (lambda s: s["optim"].update(lr="a\x1b[2J\nb"), r"optim.lr=a\x1b[2J b: must be a number"),
    (lambda s: s.update(seed="${oc.env:HOME}"), "seed=${oc.env:HOME}: only plain references, as ${model.beta}, are"),
    (lambda s: s.update(seed="1${steps}"), "seed=1${steps}: only plain references"),
    (lambda s: s.update(seed="${model.${seed}}"), "seed=${model.${seed}}: only plain references"),
    (lambda s: s.update(seed="${seed}"), "seed=${seed}: is a reference in a circle"),
    (lambda s: s["net"].update(x="${model}", init="${net}"), "net.init=${net}: is a reference in a circle"),
    (lambda s: s.update(seed="${none.x}"), "seed=${none.x}: must name a setting, and there is no none"),
    (lambda s: doubling(s, lambda text: {"x": text, "y": text}), "over too many others"),
    (lambda s: doubling(s, lambda text: text + text), "b0=${b1}${b1}: only plain references"),
    (lambda s: s.update(net="${big}", big=[["${much}"] * 10] * 10, much=[1] * 60), "has more than 5,000 values"),
    (lambda s: s["net"].update(_target_="os.system"), "net._target_=os.system: only classes of aejax.models, "),
    (lambda s: s["net"].update(_target_="aejax.figures.codes.Grid"), "aejax.figures.codes.Grid: only classes of"),
    (lambda s: s["net"].update(_target_="aejax.modelsx.A"), "aejax.modelsx.A: only classes of"),
    (lambda s: s["net"].update(_target_="aejax.models.nets.dense.DenseEncoder"), "must name a dataclass that has"),
    (lambda s: s.update(bound=s["noise"]), "bound._target_=aejax.models.noise.Clean: must name a dataclass that"),
    (lambda s: s["net"].update(_target_=["a"]), "must name a dataclass with its module"),
    (lambda s: s.update({"net": "1:" * 9000 + "1"}), "has a number of more than 100 digits"),
    (lambda s: s["model"].update(solver=None), "model.solver=null: must be a mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), SETTINGS, ids=[told[:30] for _, told in SETTINGS])
def test_settings_that_would_take_all_time_or_memory_are_refused(change, told, refused):
    assert told in refused(lambda record, settings: change(settings))


RECORDS = [
    (lambda d, r: d.update(shape=[2**20, 2**20, 3]), "data.shape must be"),
    (lambda d, r: d.update(shape=[10**400]), "data.shape must be"),
    (lambda d, r: d.update(shape=[True]), "data.shape must be"),
    (lambda d, r: d["examples"].update(train=10**400), "data.examples must be numbers of examples"),
    (lambda d, r: d.update(normal=[["a"]]), "data.normal must be labels"),
    (lambda d, r: d.update(normal={"a": 1}), "data.normal must be labels"),
    (lambda d, r: d.update(factors={"a": -1}), "data.factors must be numbers of values by name"),
    (lambda d, r: d.update(standardized={"mean": [10**400], "std": [1]}), "data.standardized must be mean and std"),
    (lambda d, r: r["protocol"].update(binarize=["none"]), "protocol.binarize must be one of none"),
    (lambda d, r: r["evaluation"].update(anomaly=[]), "evaluation.anomaly.error.threshold must be a number"),
    (lambda d, r: r["evaluation"].update(anomaly={"error": {"threshold": "1"}}), "threshold must be a number"),
    (lambda d, r: r.update(x=[[]] * 200_000), "run.json: cannot be read (has more than 100,000 mappings and lists)"),
    (lambda d, r: r.update(status="a\x1b[2J"), r"its status is a\x1b[2J; must be completed"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), RECORDS, ids=[told[:30] for _, told in RECORDS])
def test_a_record_of_wrong_values_is_refused(change, told, refused):
    assert told in refused(lambda record, settings: change(record["data"], record))


def test_labels_by_the_hundred_thousand_take_no_time(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    run = Run.read(tmp_path / "run")
    labels = [str(number) for number in range(100_000)]
    run.note(data=run.record["data"] | {"labels": labels, "normal": labels[::-1]})
    begin = time.process_time()
    assert len(aejax.load(tmp_path / "run").labels) == 100_000
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_parameters_of_another_type_are_refused(dtype, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "params.safetensors"
    arrays = archive.from_tensors(path.read_bytes())
    path.write_bytes(
        archive.tensors(arrays | {"encoder.Dense_0.kernel": arrays["encoder.Dense_0.kernel"].astype(dtype)})
    )
    told = rf"params\.safetensors: encoder\.Dense_0\.kernel is {np.dtype(dtype)}; must be float32"
    with pytest.raises(InputError, match=told):
        aejax.load(tmp_path / "run")


def test_more_arrays_than_a_header_may_name_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "params.safetensors"
    arrays = archive.from_tensors(path.read_bytes())
    many = {f"encoder.t{number}": np.zeros(0, np.float32) for number in range(20_000)}
    path.write_bytes(archive.tensors(arrays | many))
    with pytest.raises(
        InputError, match=r"params\.safetensors: cannot be read \(its header has more than 1,048,576 bytes"
    ):
        aejax.load(tmp_path / "run")


def test_a_feature_map_that_no_memory_holds_is_refused(folder, monkeypatch):
    monkeypatch.setattr("aejax.inference.model.memory", lambda: 1000)
    with pytest.raises(InputError, match=r"vae: a batch of 256 examples takes .* of memory, and there are 0\.0 MiB"):
        aejax.load(folder)


def test_kernels_that_take_long_to_trace_are_refused(refused):
    def change(record, settings):
        conv = "aejax.models.nets.conv.Conv"
        settings["net"] = settings["net"] | {"_target_": conv, "kernel": 64, "stride": 1, "widths": [2]}
        del settings["net"]["tied"]

    assert "net.kernel=64: with 1 layers of stride 1, too large" in refused(change)


def test_sizes_are_compared_before_memory_is_taken(refused):
    def change(record, settings):
        settings["net"]["widths"] = [65_536] * 9
        settings["latent_dim"] = 65_536

    tracemalloc.start()
    try:
        assert "params.safetensors: decoder.Dense_0.bias is [35]; must be [65536], by" in refused(change)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
