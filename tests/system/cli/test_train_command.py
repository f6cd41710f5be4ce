"""The command line: quick answers, and one line for every wrong input."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import job

from aejax.base.files import locked
from aejax.runs import destination
from aejax.runs.folder import Run

QUICK = ["steps=4", "log_points=2", "net.widths=[5]", "figures=false", "track=off"]
QUICK += ["evaluate.groups=[reconstruction]"]


WRONG = {
    # unknown names, with the near matches
    "model=vea": "model=vea: no such choice; did you mean vae",
    "data=emojis": "data=emojis: no such choice; did you mean emoji?",
    "net=mpl": "net=mpl: no such choice",
    "noise=salt_peper": "noise=salt_peper: no such choice; did you mean salt_pepper?",
    "optim=adm": "optim=adm: no such choice; did you mean adam or adamw?",
    "track=onlin": "track=onlin: no such choice; did you mean online",
    "experiment=leters": "experiment=leters: no such choice; did you mean letters",
    "ltent_dim=3": "ltent_dim: no such key; did you mean latent_dim?",
    "optim.rl=1": "optim.rl: no such key; did you mean optim.lr",
    "+optim.momentun=1": "optim.momentun: no such key; known: b1, b2, clip, lr, schedule, warmup",
    "+depth=1": "depth: no such key",
    "net.kernel=3": "net.kernel: no such key; only with net=conv; --cfg job prints all of them",
    # no number, or not a finite one
    "latent_dim=two": "latent_dim=two: must be a whole number at least 1 and at most 65,536",
    "optim.lr=fast": "optim.lr=fast: must be a number above 0",
    "optim.lr=nan": "optim.lr=nan: must be a number above 0",
    "optim.lr=inf": "optim.lr=inf: must be a number above 0",
    "likelihood.variance=-inf": "likelihood.variance=-inf: must be a number above 0",
    "seed=true": "seed=true: must be a whole number at least 0 and at most 4,294,967,295",
    # out of range
    "net.widths=[8,-1]": "net.widths=[8, -1]: must be a list of whole numbers at least 1 and at most 65,536",
    "net.widths=[0]": "net.widths=[0]: must be a list",
    "net.widths=8": "net.widths=8: must be a list",
    "steps=0": "steps=0: must be a whole number at least 1",
    "steps=-5": "steps=-5: must be a whole number at least 1",
    "steps=null": "steps=null, epochs=null: one of the two must be a number",
    "epochs=0": "epochs=0: must be a number above 0",
    "log_points=0": "log_points=0: must be a whole number at least 1",
    "batch_size=0": "batch_size=0: must be a whole number at least 1",
    "batch_size=-2": "batch_size=-2: must be a whole number at least 1",
    "batch_size=28": "batch_size=28: must be at most the number of training examples, 27",
    "latent_dim=0": "latent_dim=0: must be a whole number at least 1",
    "latent_dim=-3": "latent_dim=-3: must be a whole number at least 1",
    "latent_dim=1.5": "latent_dim=1.5: must be a whole number at least 1",
    "noise=flip noise.level=1.01": "noise.level=1.01: must be a number at least 0 and at most 1",
    "noise=masking noise.level=-0.1": "noise.level=-0.1: must be a number at least 0 and at most 1",
    "noise=gaussian noise.level=-1": "noise.level=-1: must be a number at least 0 and at most 100",
    "model=vae model.beta=-1": "model.beta=-1: must be a number at least 0",
    "seed=-1": "seed=-1: must be a whole number at least 0",
    "seed=4294967296": "seed=4294967296: must be a whole number at least 0 and at most 4,294,967,295",
    "select=first": "select=first: must be one of last, best",
    "figures=maybe": "figures=maybe: must be true (png), false, or a list of some of png, pdf, svg",
    "net.activation=reul": "net.activation=reul: must be one of",
    "data=emoji data.color=blue": "data.color=blue: must be one of rgb, gray",
    "track.timeout=60": "track.timeout=60: must be a number above 0 and at most 14",
    # parts that do not fit each other or the data
    "data=emoji noise=flip": "noise=flip: needs binary data, and data=emoji is rgb",
    "model=pca net=mlp": "net.widths=[128, 64]: model=pca has no hidden layers; use net=linear",
    "model=pca likelihood=bernoulli": "likelihood: model=pca minimizes the squared error; use likelihood=linear",
    "noise._target_=os.getcwd": "noise._target_=os.getcwd: must name a dataclass",
    "latent_dim=${nothing}": "Interpolation key 'nothing' not found",
    "latent_dim=1,2": "latent_dim=1,2: several values; add -m to sweep over them, or write [1,2] for a list",
    "data=null": "data=null: no such choice; known: arrays, audio",
    "model=2": "model=2: no such choice; known: adversarial_ae, ae,",
    "track=1e309": "track=1e309: no such choice; known: off, offline, online",
    "~noise=1e3": "~noise=1e3: no such choice; known: chain",
    "hydra.run=${seed}": "hydra.run=0: must be a mapping; write hydra.run.dir=FOLDER",
    "hydra.sweeper.params=${oc.env:HOME}": "hydra.sweeper.params=",
    "data=letters model=2": "model=2: no such choice; known: adversarial_ae, ae,",
    "data=digits ~noise=1e3": "~noise=1e3: no such choice; known: chain",
    "data=[letters] track=null": "track=null: no such choice; did you mean track=off?",
    "steps==3": "Error parsing override 'steps==3'",
    "data='a\0b'": r"embedded null byte (in: data='a\x00b')",
    "hydra.run.dir='a\0b'": "hydra.run.dir: holds a null byte; must be the name of a folder",
    "data=arrays data.path='a\0b'": "data.path: holds a null byte, which is not allowed",
    # parts without a class, or with one that is something else
    "~model._target_": "model._target_: is missing; name a dataclass there",
    "~model.solver._target_": "model.solver._target_: is missing; name a dataclass there",
    "~data._target_": "data._target_: is missing; name a dataclass there",
    "data=[]": "data._target_: is missing; name a dataclass there",
    "checkpoint._target_=../..": "checkpoint._target_=../..: must name a dataclass with its module",
    "net._target_=aejax.models.noise.Clean": "net._target_=aejax.models.noise.Clean: must name a dataclass that",
    "data._target_=aejax.models.noise.Clean": "data._target_=aejax.models.noise.Clean: must have a load method",
    "model.terms=3": "model.terms=3: must be a mapping of names to components",
    # whole numbers that no float holds
    f"optim.lr={'9' * 300}": f"optim.lr={'9' * 300}: must be a number above 0",
    f"seed={'9' * 300}": f"seed={'9' * 300}: must be a whole number at least 0",
    f"latent_dim={'9' * 400}": f"latent_dim={'9' * 400}: must be a whole number at least 1",
    # two where one counts
    "epochs=5 steps=4": "steps=4 epochs=5: give one of the two, or epochs=null to count steps",
    # what other programs call it
    "lr=0.1": "lr: no such key; did you mean optim.lr? --cfg job prints all of them",
    "~lr": "~lr: no such key; did you mean optim.lr? --cfg job prints all of them",
    "data=letters MODEL=vae": "MODEL: no such key; did you mean model=ae|pca|rae|vae|cvae|hvae|...?",
    "LATENT_DIM=3": "LATENT_DIM: no such key; did you mean latent_dim? --cfg",
    "noise=gaussian noise.std=0.1": "noise.std: no such key; did you mean noise.level? --cfg",
    "--config-dir nowhere": "Additional config directory",
    "--steps 50": "--steps: no such option; settings are written as steps=VALUE",
    "-q": "-q: no such option",
    "VAE": "VAE: must be key=value; did you mean model=vae?",
    "model=denoising": "model=denoising: no such choice; did you mean noise=gaussian, with which any model denoises?",
    # data
    "data=arrays": "data.path=???: must be given",
    "data=arrays data.path=none.npz": "data.path=none.npz: is not a file; must be .npy or .npz",
    "data=images data.path=none": "data.path=none: is not a folder; must be one with files of .bmp",
    "data=mnist": "data.name=mnist: is not prepared in ",
    "data=mnist data.dir=new data.manual_dir=none": "data.manual_dir=none: lacks t10k-images-idx3-ubyte.gz",
    "data.validation=-1": "data.validation=-1: must be a number at least 0",
    "data.validation=0 select=best": "select=best: needs validation examples; set data.validation above 0",
    "data.limit=1": "data.limit=1: must be a whole number at least 2",
    "data.classes=[xx]": "data.classes=['xx']: no label xx",
    "data.classes=a": "data.classes=a: must be a list of names or whole numbers",
    "data.binarize=static": "data.binarize=static: must be none, because the data are binary",
    # folders
    "hydra.run.dir=/dev/null/run": "hydra.run.dir=/dev/null/run: cannot be written (Not a directory)",
    "hydra.run.dir=/proc/run": "hydra.run.dir=/proc/run: cannot be written",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_input_gets_one_line_status_2_and_no_folder(command, words, tmp_path, monkeypatch):
    monkeypatch.setattr("aejax.training.lanes.Layout.compiled", lambda *_, **__: pytest.fail("something was compiled"))
    status, out, err = command(*words.split())
    assert err.startswith(f"aejax: {WRONG[words]}")
    assert err.count("\n") == 1
    assert (status, out, list(tmp_path.iterdir())) == (2, "", [])


def test_a_finished_run_is_not_overwritten(command):
    assert command(*QUICK, "hydra.run.dir=run")[0] == 0
    before = {path: path.read_bytes() for path in Run.read("run").path.rglob("*") if path.is_file()}
    status, _, err = command(*QUICK, "hydra.run.dir=run", "seed=1")
    assert (status, err.count("\n")) == (2, 1)
    assert "run: holds another run (seed: 0 there, 1 here); choose another folder" in err
    assert {path: path.read_bytes() for path in Run.read("run").path.rglob("*") if path.is_file()} == before


def test_a_folder_that_is_a_file_is_refused(command, tmp_path):
    (tmp_path / "run").write_text("mine")
    status, _, err = command("hydra.run.dir=run")
    assert (status, err.count("\n")) == (2, 1)
    assert "cannot be written" in err
    assert (tmp_path / "run").read_text() == "mine"


def test_a_refused_run_deletes_nothing_of_the_users(command, tmp_path):
    mine = [tmp_path / "wandb" / "precious", tmp_path / ".hydra" / "mine", tmp_path / "run.json"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"status": "interrupted"}')
    status, _, err = command(*QUICK, "track=online", "hydra.run.dir=.")
    assert (status, err.count("\n")) == (2, 1)
    assert all(path.read_text() == '{"status": "interrupted"}' for path in mine)


def test_a_folder_that_another_process_works_on_is_refused(command, tmp_path):
    with locked(tmp_path / "run"):
        status, _, err = command(*QUICK, "hydra.run.dir=run")
        assert (status, err.count("\n")) == (2, 1)
        assert "another process is using it" in err
    assert command(*QUICK, "hydra.run.dir=run")[0] == 0


@pytest.mark.slow
def test_an_unfinished_run_is_replaced_whole(command, tmp_path):
    (tmp_path / "run" / "figures").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text(f'{{"status": "running", "id": "{job(*QUICK).run_id}"}}')
    for name in ("restored.png", "restored.pdf"):
        (tmp_path / "run" / "figures" / name).write_bytes(b"old")
    assert command(*QUICK, "hydra.run.dir=run")[0] == 0
    assert not list((tmp_path / "run" / "figures").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("reader", [pytest.param("true", marks=pytest.mark.slow), "head -n 1"])
def test_a_closed_pipe_does_not_end_a_run(tmp_path, reader):
    words = " ".join([sys.executable, "-m", "aejax", *(f"'{word}'" for word in QUICK), "hydra.run.dir=run"])
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{words} | {reader}"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert Run.read(tmp_path / "run").record["status"] == "completed"


@pytest.mark.slow
def test_a_full_or_narrow_terminal_does_not_end_a_run(tmp_path):
    words = [sys.executable, "-m", "aejax", *QUICK]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*words, "hydra.run.dir=a"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    narrow = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*words, "hydra.run.dir='ñ ☃'"], cwd=tmp_path, capture_output=True, env=narrow)
    assert (done.returncode, done.stderr) == (0, b"")
    assert Run.read(tmp_path / "ñ ☃").record["status"] == "completed"


@pytest.mark.slow
def test_a_terminal_shows_a_bar_that_reaches_its_end(tmp_path):
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "aejax", *QUICK, "steps=400", "log_points=20", "hydra.run.dir=run"]
    running = subprocess.Popen(
        words, cwd=tmp_path, stdout=slave, stderr=slave, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    )
    os.close(slave)
    told = b""
    with contextlib.suppress(OSError):  # how a pseudo-terminal says that the other side is gone
        while part := os.read(master, 4096):
            told += part
    os.close(master)
    assert running.wait(timeout=60) == 0
    assert b"400/400" in told
    assert b"loss" in told and b"steps/s" in told


def test_a_full_disk_is_told_before_anything_begins(command, tmp_path, monkeypatch):
    monkeypatch.setattr(destination.shutil, "disk_usage", lambda _: destination.shutil._ntuple_diskusage(10, 9, 1))
    status, _, err = command("hydra.run.dir=a/b")
    assert (status, err.count("\n")) == (2, 1)
    assert "no space left, 0.0 MiB free; a run needs 16 MiB" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_disk_that_fills_during_the_run_is_told_in_one_line(tmp_path):
    words = [sys.executable, "-m", "aejax", "steps=2", "track=off", "figures=false"]
    subprocess.run([*words, "hydra.run.dir=first"], cwd=tmp_path, check=True)  # fills the cache of compiled programs
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "bash", *words, "hydra.run.dir=run"]  # no file above 20 KiB
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        f"aejax: {tmp_path}/run/params.safetensors: File too large\n",
    )
    failed = Run.read(tmp_path / "run")
    assert failed.record["status"] == "failed"
    assert "File too large" in failed.record["error"]
    assert sorted(path.name for path in failed.path.iterdir()) == [".hydra", "history.csv", "metrics.json", "run.json"]


def test_a_run_that_diverges_is_recorded_and_told(command):
    status, out, err = command(
        "optim=sgd", "optim.lr=1e30", "optim.clip=null", "hydra.run.dir=run", "track=off", "steps=50", "net.widths=[5]"
    )
    run = Run.read("run")
    assert (status, err, run.record["status"]) == (1, "", "diverged")
    assert "diverged" in out
    assert 1 <= len(run.history) < 50  # it stopped early
    assert all(np.isfinite(array).all() for module in run.params.values() for array in leaves(module))
    assert all(value is None or np.isfinite(value) for value in run.metrics.values())
    assert (run.path / "figures" / "curves.png").exists()


def leaves(tree):
    return [leaf for node in tree.values() for leaf in leaves(node)] if isinstance(tree, dict) else [tree]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_leaves_an_interrupted_run_with_its_history(tmp_path, how):
    script = "from aejax.cli import train; from aejax.runs import segments; segments.SAVE_SECONDS = 0.1; train.main()"
    words = ["steps=50000000", "log_points=50000", "evaluate.groups=[reconstruction]", "track=off", "hydra.run.dir=run"]
    running = subprocess.Popen(
        [sys.executable, "-c", script, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(600):
            time.sleep(0.1)
            if (tmp_path / "run" / "history.csv").exists():
                break
        running.send_signal(how)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    run = Run.read(tmp_path / "run")
    assert (running.returncode, err, run.record["status"]) == (130, "", "interrupted")
    assert "interrupted" in out
    steps = [row["step"] for row in run.history]
    assert len(steps) >= 1
    assert steps == list(range(1000, 1000 * len(steps) + 1, 1000))


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"], ["--cfg", "job", "experiment=emoji", "--resolve"]])
def test_help_and_cfg_never_import_jax(tmp_path, words):
    script = (
        "import sys; from aejax.cli.train import main\n"
        "try: main()\n"
        "finally: assert not {'jax', 'flax', 'wandb', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


def test_help_shows_groups_choices_and_five_commands(command):
    status, out, _ = command("--help")
    assert status == 0
    for group in (
        "data: arrays, audio, cifar10, digits, dsprites, emoji",
        "model: adversarial_ae, ae, barlow_ae, beta_tc_vae, beta_vae",
        "noise: chain, downsample, flip, gaussian",
    ):
        assert group in out
    assert out.split("Five useful commands")[1].count("\npython -m aejax") == 5
