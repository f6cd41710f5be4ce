"""aejax as others install it: from a built wheel, in any working folder."""

import os
import subprocess
import sys
import zipfile

import pytest
from conftest import CONF

pytestmark = pytest.mark.slow


ROOT = CONF.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout, and the folder that it is installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [path] = folder.glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder / "site"),
        str(path),
    ]
    subprocess.run([*pip, str(path)], check=True, capture_output=True)
    return path, folder / "site"


def test_the_wheel_holds_the_configuration_the_data_and_their_licenses(wheel):
    names = zipfile.ZipFile(wheel[0]).namelist()
    for path in CONF.rglob("*.yaml"):
        assert f"aejax/_data/conf/{path.relative_to(CONF)}" in names
    for path in (ROOT / "sweeps").rglob("*.yaml"):
        assert f"aejax/_data/{path.relative_to(ROOT)}" in names
    for path in (ROOT / "aejax").glob("*/assets/*"):
        assert str(path.relative_to(ROOT)) in names
    assert "aejax/py.typed" in names
    for name in ("emoji_12x12.npz", "NOTICE.txt", "LICENSE-Apache-2.0.txt"):
        assert f"aejax/datasets/assets/{name}" in names
    assert not any(name.startswith(("tests/", "benchmarks/", "sweeps/")) for name in names)


def test_the_installed_wheel_runs_in_any_folder(wheel, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(wheel[1])}
    words = [sys.executable, "-m", "aejax", "data=emoji", "model=vae", "steps=2", "figures=false", "hydra.run.dir=run"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    config = (tmp_path / "run" / ".hydra" / "hydra.yaml").read_text()
    assert str(wheel[1] / "aejax" / "_data" / "conf") in config
    assert str(ROOT) not in config.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    "chosen",
    [
        ["+sweep=letters_overcomplete", "noise=none", "latent_dim=2", "evaluate.noise=own"],
        ["+sweep=references/letters_denoising", "noise.level=0.1", "seed=range(3)"],
    ],
    ids=["sweep", "reference"],
)
def test_the_installed_wheel_knows_the_sweeps(wheel, tmp_path, chosen):
    words = [sys.executable, "-m", "aejax", "-m", *chosen, "steps=2"]
    environment = os.environ | {"PYTHONPATH": str(wheel[1])}
    words += ["net.widths=[4]", "track=off", "hydra.sweep.dir=s"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 jobs -> 1 program of 3 lanes" in done.stdout


def test_the_console_script_is_the_command(wheel, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(wheel[1])}
    script = wheel[1] / "bin" / "aejax"
    told = subprocess.run(
        [sys.executable, script, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert told.returncode == 0
    assert "python -m aejax [group=choice]" in told.stdout


def test_a_checkout_runs_without_installation(tmp_path):
    words = [sys.executable, "-S", "-c", "import sys; sys.path[:0] = sys.argv.pop(1).split(':')\n"]
    paths = ":".join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])
    script = words[-1] + "import aejax.cli.train as c; c.main()"
    told = subprocess.run([*words[:-1], script, paths, "--cfg", "job"], cwd=tmp_path, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
    assert "latent_dim: 2" in told.stdout
