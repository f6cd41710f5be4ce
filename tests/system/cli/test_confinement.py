"""Somebody's folder: to resume, evaluate or compare it writes nothing outside of it and runs nothing of theirs."""

import errno
import json
import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from conftest import called, state_of
from made import make_run, make_sweep

import aejax.cli.evaluate
import aejax.cli.resume
from aejax.base.confinement import confined, is_confined, is_inside
from aejax.base.errors import InputError
from aejax.base.files import locked, write_whole
from aejax.cli.resume import command_of
from aejax.comparison.reading import INDEX
from aejax.runs.folder import Run
from aejax.sweeps.ledger import Ledger

QUICK = ["steps=2", "log_points=1", "net.widths=[4]", "figures=false", "track=off", "evaluate.groups=[reconstruction]"]
KINDS = {"MULTIRUN": "multirun.yaml", "RUN": ".hydra/hydra.yaml"}
RAN = []  # what a pickle in a folder did


@pytest.fixture
def foreign(here):
    """Makes the folder place/F, as an archive of somebody's would, of a command of these words; gives its path."""

    def make(*task, hydra=(), mode="MULTIRUN", cwd=here):
        folder = here / "place" / "F"
        (folder / ".hydra").mkdir(parents=True)
        runtime = {"cwd": str(cwd), "config_sources": []}
        words = {"task": [*QUICK, *task], "hydra": list(hydra)}
        record = {"hydra": {"mode": mode, "overrides": words, "runtime": runtime}}
        (folder / KINDS[mode]).write_text(yaml.safe_dump(record))
        (folder / ".hydra" / "config.yaml").write_text("data: {_target_: aejax.datasets.sources.letters.Letters}")
        (here / "place" / "evil.yaml").write_text("# @package _global_\nhydra: {callbacks: {x: {_target_: os.getcwd}}}")
        return folder

    return make


@pytest.fixture
def resume(capfd):
    """Resumes a folder in this process; gives its exit status and stderr. Nothing beside the folder may change."""

    def attempt(folder, *words):
        before = around(folder)
        status = called(lambda: aejax.cli.resume.main([str(folder), *words]))
        err = capfd.readouterr().err
        assert around(folder) == before
        assert not is_confined()
        return status, err

    return attempt


def around(folder):
    """What there is around the folder place/F, and in the folder above it; caches are the user's own."""
    top = folder.parents[1]
    paths = [path for path in top.rglob("*") if folder != path and folder not in path.parents]
    paths = [path for path in paths if top / "cache" not in (path, *path.parents)]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


def ran(word):
    RAN.append(word)


class Payload:
    def __reduce__(self):
        return ran, ("pickle",)


OUTSIDE = ["hydra.sweep.subdir=../X", "hydra.sweep.subdir={top}/X", "hydra.sweep.subdir=a/../../X${{hydra.job.num}}"]
OUTSIDE += ["hydra.sweep.subdir=${{oc.env:HOME}}", "hydra.sweep.subdir=${{data.split_seed}}/../../X"]
OUTSIDE += ["hydra.output_subdir=../../X", "hydra.output_subdir={top}/X"]


@pytest.mark.parametrize("word", OUTSIDE)
def test_a_sweep_that_would_write_elsewhere_is_refused_with_the_path(foreign, resume, here, word):
    word = word.format(top=here)
    status, err = resume(foreign("seed=0,1", hydra=[word]))
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"aejax: {word.partition('=')[0]}=/")
    assert f": is outside of {here}/place/F; keep it inside, or add --trust" in err
    assert not list((here / "place" / "F").glob("*/run.json"))


@pytest.mark.parametrize("word", ["hydra.output_subdir=../X", "hydra.output_subdir={top}/X"])
def test_a_run_that_would_write_elsewhere_is_refused_with_the_path(foreign, resume, here, word):
    status, err = resume(foreign(hydra=[word.format(top=here)], mode="RUN"))
    assert (status, err.count("\n")) == (2, 1)
    assert f"is outside of {here}/place/F; keep it inside" in err
    assert not (here / "place" / "F" / "run.json").exists()


ASKED = [
    "hydra.searchpath=[file:///tmp]", "hydra.searchpath=[pkg://evil]", "hydra.job.chdir=true", "+hydra.job.env_set.A=b",
    "hydra.job.env_copy=[HOME]", "+hydra.callbacks.x._target_=os.getcwd", "~hydra.callbacks.aejax", "hydra={{}}",
    "hydra/job_logging=default", "hydra.job_logging.handlers.file.filename=X", "hydra.hydra_logging.version=1",
    "hydra.job.name=../../X", "hydra/launcher=basic", "hydra/launcher=joblib", "hydra.launcher.temp_folder=X",
    "hydra.launcher._target_=hydra_plugins.evil.Evil", "hydra/sweeper=../../evil", "hydra.sweeper.storage=X",
    "+hydra.sweeper.params.model=ae", "hydra.sweeper._target_=hydra_plugins.evil.Evil", "hydra/help=X",
    "hydra/callbacks=../../evil", "hydra/output=X", "hydra.runtime.output_dir=X", "hydra.verbose=true",
    "hydra.sweep.subdir=a,b", "~hydra.sweep.subdir",
    "model=../../../../../../../../../..{top}/place/evil", "model=/{top}/place/evil", "model=ae,../../evil",
    "model=${{oc.env:HOME}}", "model='${{data.path}}'", "+data@hydra.job.env_set=letters", "+data@_global_=letters",
    "+noise@hydra=flip", "+noise._target_=os.system", "noise={{_target_: os.system}}", "+x/y=../evil",
]  # fmt: skip


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("word", ASKED)
def test_settings_that_name_a_place_or_a_class_need_trust(foreign, resume, here, word, mode):
    """Also where Hydra would never have written them: among the words of the task."""
    word = word.format(top=here)
    for where in ({"hydra": [word]}, None):
        folder = foreign(hydra=[word], mode=mode) if where else foreign(word, mode=mode)
        with pytest.raises(InputError, match=r"repeat its own command, or add --trust") as caught:
            command_of(folder)
        assert f"uses {word};" in str(caught.value)
        assert word in command_of(folder, trust=True)[0]
        shutil.rmtree(folder)


@pytest.mark.parametrize("trust", [[], ["--trust"]])
@pytest.mark.parametrize("mode", KINDS)
def test_a_word_that_is_an_option_is_never_given(foreign, resume, mode, trust):
    """--experimental-rerun would load a pickle."""
    folder = foreign(mode=mode)
    (folder / "x.pkl").write_bytes(pickle.dumps(Payload()))
    record = folder / KINDS[mode]
    content = yaml.safe_load(record.read_text())
    content["hydra"]["overrides"]["task"].insert(0, f"--experimental-rerun={folder}/x.pkl")
    record.write_text(yaml.safe_dump(content))
    status, err = resume(folder, *trust)
    assert (status, err.count("\n"), RAN) == (2, 1, [])
    assert f"{record}: cannot be read" in err


def test_a_config_folder_needs_trust(foreign):
    folder = foreign()
    record = folder / "multirun.yaml"
    content = yaml.safe_load(record.read_text())
    content["hydra"]["runtime"]["config_sources"] = [{"provider": "command-line", "path": "/evil", "schema": "file"}]
    record.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="uses /evil; repeat its own command"):
        command_of(folder)
    assert command_of(folder, trust=True)[0][1:3] == ["--config-dir", "/evil"]


def test_a_class_that_an_interpolation_hides_is_not_made(foreign, resume, monkeypatch):
    """No word holds _target_, what they make does."""
    folder = foreign("seed=0", "noise=\"${oc.decode:'{_tar${oc.decode:get}_: wave.Wave_read}'}\"", mode="RUN")
    status, err = resume(folder)
    assert (status, err.count("\n")) == (2, 1)
    assert "noise" in err and not (folder / "run.json").exists()


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("name", [".lock", "figures", ".hydra/config.yaml", "0", "a/b", "wandb", ".run.json.7.part"])
def test_a_link_out_of_the_folder_is_refused(foreign, resume, here, name, mode):
    folder = foreign("seed=0,1" if mode == "MULTIRUN" else "seed=0", mode=mode)
    (here / "place" / "kept").mkdir()
    (here / "place" / "kept" / "a.png").write_text("a picture")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    target = here / "place" / "kept" / ("a.png" if "." in name else "")
    path.symlink_to(os.path.relpath(target, path.parent))
    status, err = resume(folder)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{path}: is a link to {target}, outside of {folder}; keep it inside, or add --trust" in err


def test_links_within_the_folder_are_no_harm_and_neither_are_those_of_wandb(foreign, here):
    folder = foreign("seed=0", mode="RUN")
    (folder / "figures").symlink_to("pictures")
    (folder / "round").symlink_to("round")
    logs = folder / "wandb" / "offline-run-20261121_155419-3fbec9a43a4d5bc0" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(here / "core.log")
    command_of(folder)
    (logs / "debug.log").symlink_to(here / "core.log")
    with pytest.raises(InputError, match=r"debug\.log: is a link to"):
        command_of(folder)


@pytest.mark.slow
def test_places_below_the_folder_need_no_trust(foreign, resume):
    words = ["hydra.sweep.subdir=${hydra:runtime.choices.model}/s${seed}", "hydra.output_subdir=asked"]
    folder = foreign("seed=0,1", "noise=chain", "noise@noise.parts.a=flip", hydra=[*words, "hydra/sweeper=basic"])
    assert resume(folder) == (0, "")
    assert all((folder / "ae" / seed / "asked" / "config.yaml").exists() for seed in ("s0", "s1"))


@pytest.mark.parametrize("name", ["it's", "a\\b", "end\\", "a\\'b", "a b", "a=b,c"])
def test_a_name_of_a_folder_is_only_a_name(run, resume, name):
    folder = run.rename(run.with_name(name))
    assert resume(folder) == (0, "")


def test_a_name_that_hydra_would_resolve_is_refused(foreign, resume):
    folder = foreign("seed=0", mode="RUN")
    folder = folder.rename(folder.with_name("a${seed}"))
    assert resume(folder, "--trust") == (2, f"aejax: {folder}: has ${{ in its name; rename it\n")


@pytest.mark.parametrize("mode", KINDS)
def test_neither_the_network_nor_a_preparation_of_data_comes_with_a_folder(foreign, resume, here, mode):
    online = foreign("track=online", "track.entity=somebody", mode=mode)
    status, err = resume(online)
    assert (status, err.count("\n")) == (2, 1)
    assert "track=online: sends to W&B's somebody/aejax" in err and "add --trust to allow it" in err
    shutil.rmtree(online)
    for word in ("data.download=true", "data.manual_dir=place"):
        folder = foreign("data=mnist", "data.dir=place/X", word, mode=mode)
        status, err = resume(folder)
        assert (status, err.count("\n")) == (2, 1)
        assert f"{word}: prepares mnist in place/X" in err
        shutil.rmtree(folder)


def test_settings_of_wandb_are_not_brought_in(foreign, here, monkeypatch):
    folder = foreign("track=offline", cwd=here / "place" / "F")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "settings").write_text("[default]\nx_files_dir=/elsewhere\n")
    command_of(folder)  # which is not begun in there
    monkeypatch.chdir(folder)  # where W&B reads them for any command
    with pytest.raises(InputError, match=f"uses {folder}/wandb/settings; repeat its own"):
        command_of(folder)


@pytest.mark.parametrize("mode", KINDS)
def test_no_code_of_the_folder_is_found(foreign, resume, here, monkeypatch, mode):
    """Neither where the record says that its command began, nor where the user stands."""
    folder = foreign("seed=0", mode=mode, cwd=here / "place" / "F")
    (folder / "matplotlibrc").write_text("text.usetex: true")
    seen = []
    monkeypatch.setattr(aejax.cli.train, "run", lambda: seen.append((os.getcwd(), list(sys.path))))
    before = list(sys.path)
    assert resume(folder) == (0, "")
    monkeypatch.setattr(sys, "path", ["", str(folder), *before])
    assert resume(folder) == (0, "")
    (folder / "matplotlibrc").unlink()
    monkeypatch.chdir(folder)
    assert resume(folder) == (0, "")
    assert [place for place, _ in seen] == [str(here), str(here), str(folder)]
    assert not [each for _, path in seen for each in path if not each or str(folder) in each]
    assert sys.path == ["", str(folder), *before]


def test_a_recorded_place_beside_the_folder_gives_data_and_no_code(foreign, resume, here, monkeypatch):
    seen = []
    monkeypatch.setattr(aejax.cli.train, "run", lambda: seen.append((os.getcwd(), list(sys.path))))
    folder = foreign("seed=0", mode="RUN", cwd=here / "place" / "G")
    (here / "place" / "G").mkdir()
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert resume(folder) == (0, "")
    [(place, path)] = seen
    assert place == str(here / "place" / "G") and "" not in path and place not in path
    monkeypatch.chdir(here)
    (here / "place" / "G" / "matplotlibrc").write_text("text.usetex: true")
    assert "G/matplotlibrc; repeat its own command, or add --trust" in resume(folder)[1]


def test_what_python_and_aejax_are_made_of_is_found_wherever_they_stand():
    before = list(sys.path)
    with confined("/"):
        assert [each for each in before if each.startswith(sys.prefix)] == [
            each for each in sys.path if each.startswith(sys.prefix)
        ]
        assert any(each.endswith("_plugins") for each in sys.path)


def test_a_place_that_hydra_would_resolve_twice_is_refused(foreign, resume):
    status, err = resume(foreign("seed=0,1", hydra=[r"hydra.sweep.subdir='\${oc.env:HOME}'"]))
    assert status == 2 and "has ${ in it; write the place out, or add --trust" in err


def test_what_is_inside(tmp_path):
    (tmp_path / "F").mkdir()
    (tmp_path / "F" / "out").symlink_to(tmp_path)
    assert is_inside("/etc")
    with confined(tmp_path / "F"):
        assert is_inside(tmp_path / "F") and is_inside(tmp_path / "F" / "a" / "b") and is_inside(tmp_path / "F/a/../b")
        for path in (tmp_path, tmp_path / "FF", tmp_path / "F" / "..", tmp_path / "F" / "out" / "x", "/", "x"):
            assert not is_inside(path)
    assert is_inside(tmp_path)


def test_a_lock_or_a_part_that_is_a_link_harms_nothing(tmp_path):
    for name in (".lock", f".run.json.{os.getpid()}.part"):
        (tmp_path / "kept").write_text("precious")
        (tmp_path / name).symlink_to("kept")
    with pytest.raises(InputError, match=r"\.lock: is a link; remove it"), locked(tmp_path):
        pass
    write_whole(tmp_path / "run.json", "{}")
    assert (tmp_path / "kept").read_text() == "precious" and (tmp_path / "run.json").read_text() == "{}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("finished") / "place" / "F"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parents[1])
        assert called(aejax.cli.train.main, *QUICK, f"hydra.run.dir={folder}") == 0
    return folder


@pytest.fixture
def run(finished, here):
    shutil.copytree(finished, here / "place" / "F")
    return here / "place" / "F"


def evaluated(folder, *words):
    return called(lambda: aejax.cli.evaluate.main([str(folder), "groups=[reconstruction]", *words]))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"_target_": "wave.Wave_read"}, "only classes of aejax are trusted here"),
        (
            {"_target_": "aejax.datasets.sources.tfds.Tfds", "download": True},
            "data.download=true: prepares mnist in place/X",
        ),
        (
            {"_target_": "aejax.datasets.sources.tfds.Tfds", "manual_dir": "place"},
            "data.manual_dir=place: prepares mnist in place",
        ),
    ],
)
def test_an_evaluation_makes_and_prepares_nothing_of_theirs(run, capfd, data, told):
    path = run / ".hydra" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    if len(data) > 1:
        data = {"name": "mnist", "dir": "place/X", "split": "train", "test_split": "test", "feature": "image"} | data
        data = {"label": "label", "factors": None, "manual_dir": None, "download": False, "kind": "auto"} | data
    config["data"] = {key: value for key, value in config["data"].items() if key != "_target_"} | data
    path.write_text(yaml.safe_dump(config))
    before, outside = state_of(run), around(run)
    assert evaluated(run) == 2
    err = capfd.readouterr().err
    assert told in err and err.count("\n") == 1
    assert (state_of(run), around(run)) == (before, outside)


def test_a_record_is_written_through_no_link(run, here):
    for name in ("metrics.json", "run.json"):
        (run / name).rename(here / "place" / name)
        (run / name).symlink_to(f"../{name}")
    before = around(run)
    found = Run.read(run)
    found.write_metrics(found.metrics)
    found.note(status="completed")
    assert around(run) == before and not (run / "metrics.json").is_symlink() and not (run / "run.json").is_symlink()
    (run / ".lock").symlink_to("../metrics.json")
    assert evaluated(run) == 2
    assert around(run) == before


def test_an_evaluation_of_a_folder_with_a_link_out_of_it_is_refused(run, here, capfd):
    (run / "figures").symlink_to("..")
    assert evaluated(run) == 2
    assert capfd.readouterr().err.startswith(f"aejax: {run}/figures: is a link to {here}/place, outside of {run}; keep")


def test_a_comparison_writes_its_index_into_the_named_folder_only(tmp_path, told):
    make_sweep(tmp_path / "other", {"0": ({"recon/mse": 0.1}, {})})
    folder = make_sweep(tmp_path / "F" / "s", {"0": ({"recon/mse": 0.2}, {"seed": 1})})
    (tmp_path / "F" / "linked").symlink_to(tmp_path / "other")
    (folder / INDEX).symlink_to(tmp_path / "other" / "0" / "metrics.json")
    before = state_of(tmp_path / "other")
    status, out, _ = told(tmp_path / "F")
    assert status == 0 and "2 runs: 2 completed" in out
    assert state_of(tmp_path / "other") == before
    assert not (folder / INDEX).is_symlink()


LEFT = "a link out of the named folder and neither a run nor a sweep"


def test_a_comparison_looks_for_nothing_beyond_links_out_of_the_folder(tmp_path, told, monkeypatch):
    make_sweep(tmp_path / "other" / "deep", {"0": ({"recon/mse": 0.1}, {})})
    folder = make_sweep(tmp_path / "F" / "s", {"0": ({"recon/mse": 0.2}, {"seed": 1})})
    (tmp_path / "F" / "all").symlink_to(tmp_path / "other")
    (folder / "all").symlink_to(tmp_path / "other")
    (folder / "round").symlink_to("round")
    (tmp_path / "G").mkdir()
    (tmp_path / "G" / "sweep").symlink_to(folder)  # a link to a sweep is read, what is linked in there is not
    (tmp_path / "named").symlink_to("F")
    listed, scandir = [], os.scandir

    def scanned(path):
        listed.append(os.path.realpath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scanned)
    for place in ("F", "G", "named"):
        status, out, err = told(tmp_path / place)
        assert status == 0 and "1 run: 1 completed" in out
        assert err == (f"aejax: {tmp_path}/{place}/all: is {LEFT}; left out\n" if place != "G" else "")
    assert not [path for path in listed if path.startswith(str(tmp_path / "other" / "deep"))]


def test_a_folder_that_cannot_be_listed_is_named_and_left_out(tmp_path, told, monkeypatch):
    """Modes of files would not hold an administrator back."""
    sweep = make_sweep(tmp_path / "F" / "s", {"0": ({"recon/mse": 0.2}, {"seed": 1})})
    for path in (tmp_path / "F" / "closed", sweep / "shut"):
        path.mkdir()
    scandir, listdir = os.scandir, os.listdir

    def refusing(real, path):
        if Path(path).name in ("closed", "shut"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", lambda path: refusing(scandir, path))
    monkeypatch.setattr(os, "listdir", lambda path: refusing(listdir, path))
    status, out, err = told(tmp_path / "F")
    assert (status, err) == (0, "") and "3 runs: 1 completed, 2 damaged" in out
    for name in ("closed", "shut"):
        assert re.search(rf"{name}.*cannot be listed \(Permission denied\)", out), out


def test_a_comparison_goes_round_no_circle(tmp_path, told):
    folder = make_sweep(tmp_path / "F" / "s", {"0": ({"recon/mse": 0.2}, {})})
    make_run(tmp_path / "F" / "r", {"recon/mse": 0.1}, seed=1)
    for name in "abcdefgh":  # 8 ** 40 ways
        (tmp_path / "F" / name).symlink_to(".")
        (folder / name).symlink_to("..")
        (folder / f"_{name}").symlink_to(".")
    status, out, _ = told(tmp_path / "F")
    assert status == 0 and "2 runs: 2 completed" in out


def test_a_ledger_names_no_place_and_no_number_of_devices(tmp_path, told):
    folder = make_sweep(tmp_path / "F", {"0": ({"recon/mse": 0.2}, {})})
    content = json.loads((folder / "sweep.json").read_text())
    content["jobs"].append(content["jobs"][0] | {"number": 1, "folder": "../X", "status": "planned"})
    (folder / "sweep.json").write_text(json.dumps(content))
    status, out, _ = told(folder)
    assert status == 0 and "1 completed, 1 planned" in out and not (tmp_path / "X").exists()
    content["programs"] = [{"jobs": [0, 1], "how": "map", "devices": 10**9}]
    (folder / "sweep.json").write_text(json.dumps(content))
    assert Ledger(folder).broken is not None and Ledger(folder).devices == 0
