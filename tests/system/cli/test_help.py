"""What --help, --cfg and --version print, and what Tab completes: as Hydra composes it, from conf/ as it is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import CONF
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import aejax
from aejax.cli.completion import INSTALL, candidates
from aejax.config import hints, menu


def differences(group, name):
    """The settings of a choice that menu reads from its files otherwise than Hydra composes them."""
    composed = OmegaConf.to_container(compose("config", [f"{group}={name}"]), resolve=False)
    for key, entry in menu.choice(group, name).settings.items():
        written = entry.value
        if written in ("", "???") or "${" in written:
            continue
        there = OmegaConf.select(OmegaConf.create(composed), key)
        if there not in (written, yaml.safe_load(written)):
            yield f"{group}={name} {key}", there, written


@pytest.mark.parametrize(
    "some",
    [
        {
            "model": ("beta_vae", "sparse_ae", "conv_vae"),
            "noise": ("chain",),
            "data": ("mnist",),
            "evaluate": ("full",),
        },
        pytest.param(menu.groups(), marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_settings_as_written_are_those_that_hydra_composes(some):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        differ = [differences(group, name) for group in some if group != "sweep" for name in some[group]]
        assert not [line for lines in differ for line in lines]


@pytest.mark.parametrize("words", [["model=vae", "net=conv"], ["model=sparse_ae", "noise=chain"], ["-p", "optim"]])
def test_cfg_prints_what_hydra_does_with_the_comments(command, words):
    from aejax.cli.train import run

    status, out, err = command("--cfg", "job", *words)
    assert (status, err) == (0, "")
    _, plain, _ = command("--cfg", "job", *words, main=run)
    assert yaml.safe_load(out) == yaml.safe_load(plain)
    assert [line.split(" #")[0].rstrip() for line in out.splitlines()] == [
        line.split(" #")[0].rstrip() for line in plain.splitlines()
    ]
    assert "# peak learning rate; above 0" in out and "peak learning rate" not in plain


def test_help_beside_a_choice_shows_its_settings_with_their_comments(command):
    status, out, _ = command("model=sparse_ae", "--help")
    assert status == 0
    assert out.startswith("model=sparse_ae: An overcomplete code of sigmoid units")
    assert "model.rho=0.1                        target mean activation of each unit; above 0, below 1\n" in out
    assert "latent_dim=64                        code units; 1 to 65,536" in out
    assert "_target_" not in out and "${" not in out
    _, out, _ = command("model=conv_vae", "data=emoji", "--help")
    assert "chooses net=conv" in out and "model.beta=1.0" in out and "data.color=rgb" in out
    status, _, err = command("model=vea", "--help")
    assert (status, err.count("\n"), "did you mean vae?" in err) == (2, 1, True)


def test_help_knows_a_folder_of_ones_own(command, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# Mine.\ndefaults:\n  - vae\n  - _self_\nbeta: 7  # of mine\n")
    assert ", mine, " in command("--config-dir", ".", "--help")[1]
    out = command("--config-dir=.", "model=mine", "--help")[1]
    assert "model=mine: Mine." in out and "of mine" in out and "model.free_bits=0.0" in out


def test_version_is_its_own(command):
    assert command("--version") == (0, f"aejax {aejax.__version__}\n", "")


COMPLETED = {
    "mod": ["model.", "model="],
    "model=to": ["model=topk_ae "],
    "model=ae,to": ["model=ae,topk_ae "],
    "model=vae model.be": ["model.beta="],
    "model.be": [],
    "model=vae model.beta=": ["model.beta=1.0 "],
    "+sweep=mnist_i": ["+sweep=mnist_iwae "],
    "net=conv net.k": ["net.kernel="],
    "model=conv_ae net.k": ["net.kernel="],
    "--he": ["--help "],
    "--cfg ": ["job ", "hydra ", "all "],
    "optim.l": ["optim.lr="],
    "latent": ["latent_dim="],
}


@pytest.mark.parametrize("line", COMPLETED)
def test_candidates(line):
    *words, word = line.split(" ")
    assert candidates(words, word) == COMPLETED[line]


def test_every_candidate_for_an_empty_word_is_a_key_or_leads_to_one():
    known = [f"{key}=" for key in (*hints.keys({}), *menu.groups())]
    for candidate in candidates([], ""):
        assert candidate.endswith(("=", "."))
        assert any(key.startswith(candidate) for key in known)


@pytest.mark.parametrize("path", [False, True])
def test_bash_completes_what_the_installed_function_says(tmp_path, path):
    """A real bash: what `-sc install=bash` prints is evaluated, and its function called as readline calls it."""
    script = tmp_path / "aejax"  # as pip makes it
    script.write_text(f"#!{sys.executable}\nfrom aejax.cli.train import main\nmain()\n")
    script.chmod(0o755)
    program = [sys.executable, str(Path(aejax.__file__).parent / "__main__.py")] if path else [str(script)]
    install = " ".join([*program, "-sc", "install=bash"])
    asked = """
complete_line() {
    COMP_LINE="$1" COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=1
    _aejax_complete
    printf "%s|" "${COMPREPLY[@]}"
}
"""
    lines = ["aejax model=to", f"{sys.executable} -m aejax noise=gau", f"{sys.executable} other.py model=to"]
    calls = "\n".join(f"complete_line '{line}'; echo" for line in lines)
    done = subprocess.run(
        ["bash", "-c", f'eval "$({install})"\ncomplete -p aejax python\n{asked}{calls}'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(CONF.parent)},
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[2:] == ["topk_ae |", "gaussian |", "|"]
    assert done.stdout.count("-F _aejax_complete") == 2
    assert "-F _aejax_complete aejax python" in INSTALL


def test_the_script_finds_a_module_beside_the_user(tmp_path):
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "aejax"
    script.write_text("from aejax.cli.train import main\nmain()\n")
    (tmp_path / "mine.py").write_text("raise RuntimeError('mine was imported')\n")
    done = subprocess.run(
        [sys.executable, str(script), "noise._target_=mine.Noise"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(CONF.parent)},
    )
    assert "RuntimeError: mine was imported" in done.stderr
