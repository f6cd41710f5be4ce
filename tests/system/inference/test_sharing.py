"""A run in one file: what is left out, what is not, and which archives are not read."""

import io
import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import called, state_of
from made import make_sweep
from PIL import Image

import aejax
from aejax.base.errors import InputError
from aejax.cli import evaluate, share, train
from aejax.runs.folder import Run

USER, HOST, KEY = "alicesmith", "hal9000.lab", "0123456789abcdef0123456789abcdef01234567"
WORDS = ["model=vae", "data=images", "net.widths=[12]", "steps=10", "log_points=1", "figures=true", "latent_dim=3"]
WORDS += ["evaluate.groups=[reconstruction]", f"track.entity={USER}", "track=off", f"track.project={USER}s-project"]
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (4, 8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A home folder in which somebody has trained a run, beside files that W&B and a killed process leave."""
    home = tmp_path_factory.mktemp("home") / USER
    pictures = home / "my pictures" / "faces"
    for number in range(24):
        path = pictures / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    (home / "work").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home / "work")
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        assert called(train.main, *WORDS, f"data.path='{pictures}'", f"hydra.run.dir={home}/runs/a") == 0
    (home / "runs" / "a" / "wandb").mkdir()
    for name in ("wandb/run.wandb", ".lock", "checkpoint-0.safetensors", "notes.txt", ".env"):
        (home / "runs" / "a" / name).write_text(KEY)
    record = json.loads((home / "runs" / "a" / "run.json").read_text())
    record |= {"wandb_id": KEY, "wandb_lost": f"{home}/x", "same_as": f"{home}/b", "host": HOST}
    record["data"]["note"] = f"from {pictures} of {USER} on {HOST}, key {KEY}"
    record["evaluation"]["remarks"] = [f"see {home}/a/b.txt, ~/c.txt and C:\\d\\e.txt; loss/step is 1/2"]
    (home / "runs" / "a" / "run.json").write_text(json.dumps(record))
    return home


@pytest.fixture
def user(place, monkeypatch):
    """This process is that user's, on that machine, with a key in the environment."""
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr("getpass.getuser", lambda: USER)
    monkeypatch.setattr("socket.gethostname", lambda: HOST)
    monkeypatch.chdir(place / "work")


@pytest.fixture
def packed(user, place, tmp_path):
    """The archive of the run."""
    path = tmp_path / "a.zip"
    share.main([str(place / "runs" / "a"), str(path)])
    return path


def test_nothing_tells_of_the_machine_and_its_user(packed, place):
    with zipfile.ZipFile(packed) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    contents = [packed.read_bytes(), *files.values(), *(name.encode() for name in files)]
    words = [str(place), str(place / "work"), str(place.parent), "my pictures", USER, HOST, "hal9000", KEY, "wandb_"]
    for word in words:
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):  # numpy's texts are UTF-32
            assert not any(word.encode(encoding) in content for content in contents), word
    assert sorted(name for name in files if not name.startswith("figures/")) == [
        ".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "codes.npz", "history.csv",
        "metrics.json", "params.safetensors", "run.json",
    ]  # fmt: skip
    assert len(files) > 9 and all(name.endswith(".png") for name in files if name.startswith("figures/"))
    settings = yaml.safe_load(files[".hydra/config.yaml"])
    assert settings["data"]["path"] == "faces" and settings["track"]["mode"] == "off"
    assert json.loads(files["run.json"])["data"]["note"] == "from faces of … on …, key …"
    assert json.loads(files["run.json"])["evaluation"]["remarks"] == ["see b.txt, c.txt and e.txt; loss/step is 1/2"]
    assert "data.path='faces'" in yaml.safe_load(files[".hydra/overrides.yaml"])


def test_what_is_measured_and_learned_is_unchanged(packed, place):
    folder = place / "runs" / "a"
    with zipfile.ZipFile(packed) as archive:
        for name in ("params.safetensors", "metrics.json", "history.csv", "codes.npz", "figures/codes.png"):
            assert archive.read(name) == (folder / name).read_bytes(), name
        record = json.loads(archive.read("run.json"))
    before = json.loads((folder / "run.json").read_text())
    for name in ("id", "name", "versions", "protocol", "lanes", "seconds", "started"):
        assert record[name] == before[name], name


def test_the_same_run_gives_the_same_bytes(packed, place, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(place / "runs" / "a", copy)
    os.utime(copy / "metrics.json", (10**9, 10**9))
    monkeypatch.chdir(tmp_path)
    share.main([str(copy), "again.zip"])
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_an_archive_does_all_that_the_folder_does(packed, place):
    there, here = aejax.load(place / "runs" / "a"), aejax.load(packed)
    for method, inputs in {"encode": [X], "score": [X], "sample": [3, 1]}.items():
        np.testing.assert_array_equal(getattr(here, method)(*inputs), getattr(there, method)(*inputs), method)
    np.testing.assert_array_equal(here.arithmetic("a - b"), there.arithmetic("a - b"))  # which reads the codes
    assert here.labels == ("a", "b") and repr(here) == f"<Trained vae images d=3 s=0 ({packed})>"
    for name in ("metrics", "history", "choices", "has_settings"):
        assert getattr(here.run, name) == getattr(there.run, name), name
    packed.unlink()
    read = pickle.loads(pickle.dumps(here))
    np.testing.assert_array_equal(read.encode(X), there.encode(X))
    np.testing.assert_array_equal(read.run.codes["name"], there.run.codes["name"])


def test_the_archive_of_a_file_manager_is_read(packed, place, tmp_path):
    for base in (place / "runs" / "a", place / "runs"):  # with one folder above, and without
        path = shutil.make_archive(
            str(tmp_path / f"by-{base.name}"), "zip", place / "runs", "a" if base.name == "a" else None
        )
        np.testing.assert_array_equal(aejax.load(path).encode(X), aejax.load(packed).encode(X))
    aejax.Encoder(path).fit(X.reshape(4, -1))
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "folder")
    np.testing.assert_array_equal(aejax.load(tmp_path / "folder").encode(X), aejax.load(packed).encode(X))
    assert aejax.load(tmp_path / "folder").run.metrics == Run.read(packed).metrics


def test_reading_an_archive_writes_nothing(packed, tmp_path):
    before = state_of(tmp_path)
    aejax.load(packed).encode(X)
    with pytest.raises((InputError, TypeError)):
        Run.read(packed).note(name="x")
    assert state_of(tmp_path) == before


def test_the_command_needs_no_jax_and_says_what_it_wrote(place, tmp_path):
    code = "import sys; from aejax.share import main; main(); assert not {'jax', 'wandb'} & set(sys.modules)"
    words = [sys.executable, "-c", code, str(place / "runs" / "a"), str(tmp_path / "a.zip")]
    done = subprocess.run(
        words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'a.zip'}: ") and done.stdout.endswith(" bytes\n")


@pytest.fixture
def refused(capfd):
    """Runs `python -m aejax.share`; gives the line with which it refuses, after a look that nothing was written."""

    def attempt(*words, main=share.main):
        before = state_of(Path(words[1]).parent)
        capfd.readouterr()
        status = called(lambda: main([*map(str, words)]))
        out, err = capfd.readouterr()
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert state_of(Path(words[1]).parent) == before
        return err

    return attempt


def test_wrong_words_get_one_line(refused, place, tmp_path):
    run, out = place / "runs" / "a", tmp_path / "x.zip"
    assert "none: must be the folder of a run" in refused(tmp_path / "none", out)
    assert "x.tar: must end with .zip" in refused(run, tmp_path / "x.tar")
    assert "the folder" in refused(run, tmp_path / "no" / "x.zip")
    assert "holds no run that can be read (no run.json)" in refused(tmp_path, out)
    make_sweep(tmp_path / "s", {str(seed): ({"recon/mse": 0.1}, {"seed": seed}) for seed in range(12)})
    line = refused(tmp_path / "s", out)
    assert (
        f"s: is the folder of a sweep; name one of its jobs: {tmp_path / 's' / '0'}, " in line and "and 7 more" in line
    )
    out.write_bytes(b"mine")
    assert "x.zip: exists; --overwrite replaces it" in refused(run, out)
    share.main([str(run), str(out), "--overwrite"])
    assert aejax.load(out).latent_dim == 3 and Run.find(out) is None  # no place for a run
    assert "must be the folder of a run, to which metrics" in refused(
        out, tmp_path / "y", main=lambda w: evaluate.main(w[:1])
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda run: run.note(status="running"), "its status is running; must be completed; --force uses"),
        (lambda run: run.note(status="diverged"), "its status is diverged; must be completed; --force uses"),
        (lambda run: (run.path / "params.safetensors").write_bytes(b"x"), "params.safetensors is missing or damaged"),
        (lambda run: (run.path / ".hydra" / "config.yaml").unlink(), "holds no .hydra/config.yaml"),
        (lambda run: set_setting(run, "optim", "lr", "${oc.env:LR}"), "optim.lr=${oc.env:LR}: only plain references"),
    ],
)
def test_a_run_that_cannot_be_shared_gets_one_line(refused, place, tmp_path, change, told):
    shutil.copytree(place / "runs" / "a", tmp_path / "a")
    change(Run.read(tmp_path / "a"))
    assert told in refused(tmp_path / "a", tmp_path / "x.zip")


def set_setting(run, group, name, value):
    path = run.path / ".hydra" / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    settings[group][name] = value
    path.write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_run_that_did_not_complete_is_shared_and_loaded_by_force(status, place, tmp_path):
    shutil.copytree(place / "runs" / "a", tmp_path / "a")
    Run.read(tmp_path / "a").note(status=status)
    share.main([str(tmp_path / "a"), str(tmp_path / "x.zip"), "--force"])
    with pytest.raises(InputError, match=rf"x\.zip: .*{status}"):
        aejax.load(tmp_path / "x.zip")
    assert aejax.load(tmp_path / "x.zip", force=True).latent_dim == 3


def added(name, content=b"", mode=0o100644):
    def add(archive):
        entry = zipfile.ZipInfo(name)
        entry.filename, entry.external_attr = name, mode << 16
        archive.writestr(entry, content)

    return add


def grown(name, size):
    """Another content of a file of the run: so many zeros, deflated."""

    def grow(archive):
        archive.filelist = [entry for entry in archive.filelist if entry.filename != name]
        del archive.NameToInfo[name]
        archive.writestr(name, bytes(size), zipfile.ZIP_DEFLATED)

    return grow


def nested(archive):
    """The marker of a run, two folders deep."""
    archive.filelist = [entry for entry in archive.filelist if entry.filename != "run.json"]
    del archive.NameToInfo["run.json"]
    archive.writestr("a/b/run.json", b"{}")


def many(archive):
    for number in range(3000):
        archive.writestr(f"figures/{number}.png", b"")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (added("../evil"), r"has the name '\.\./evil', which is not allowed"),
        (added("/evil"), "has the name '/evil', which is not allowed"),
        (added("a/../../evil"), "which is not allowed"),
        (added("..\\evil"), "which is not allowed"),
        (added("C:evil"), "which is not allowed"),
        (added("figures/con.png"), "which is not allowed"),
        (added("figures/a.png "), "which is not allowed"),
        (added("a\x1b[2J"), r"has the name 'a\\x1b\[2J', which is not allowed"),
        (added("x" * 2000), "which is not allowed"),
        (added("figures/a.png", b"/etc/passwd", stat.S_IFLNK | 0o777), "'figures/a.png' is a link or a device"),
        (added("RUN.JSON"), "has the name 'RUN.JSON' twice"),
        (added("0/run.json"), "holds 2 files run.json; must be one"),
        (nested, "holds run.json in 'a/b/'; must be at the top or in one folder"),
        (many, "lists 3,0.. members in .* bytes; the most are 2,000"),
        (grown("metrics.json", 2**23), "metrics.json has 8,388,608 bytes; the most are 4,194,304"),
        (grown("params.safetensors", 2**26), "unpacks to .* bytes, from .*; the most are 67,108,864"),
        (grown("params.safetensors", 2**20), "params.safetensors: cannot be read"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_could_do_harm_is_refused(change, told, packed):
    with zipfile.ZipFile(packed, "a") as archive:
        change(archive)
    before = state_of(packed.parents[1])
    with pytest.raises(InputError, match=told) as caught:
        aejax.load(packed)
    assert str(caught.value).startswith(str(packed)) and str(caught.value).isprintable()
    assert state_of(packed.parents[1]) == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is neither the folder of a run nor a zip archive"),
        (b"PK\x03\x04" + bytes(100), "is not a zip file, or its end is missing"),
        (b"\x1f\x8b" + bytes(100), "is neither the folder of a run nor a zip archive"),
    ],
)
def test_a_file_that_is_no_archive_is_refused(content, told, tmp_path):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(InputError, match=told):
        aejax.load(tmp_path / "x.zip")


def test_sizes_that_are_not_true_are_found(packed):
    data = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        name = "params.safetensors"
        size = archive.getinfo(name).file_size
    at = data.rindex(name.encode()) - 46 + 24  # in the directory: the size when unpacked
    for wrong in (size - 1, size + 1, 2**31):
        data[at : at + 4] = wrong.to_bytes(4, "little")
        packed.write_bytes(data)
        with pytest.raises(InputError, match=r"cannot be read|unpacks to|announces"):
            aejax.load(packed)


def test_an_empty_archive_holds_no_run(tmp_path):
    data = io.BytesIO()
    zipfile.ZipFile(data, "w").close()
    (tmp_path / "x.zip").write_bytes(data.getvalue())
    with pytest.raises(InputError, match=r"holds 0 files run\.json; must be one"):
        aejax.load(tmp_path / "x.zip")
