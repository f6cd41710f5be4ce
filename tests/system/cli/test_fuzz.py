"""Words that nobody should give: whatever they are, a job is composed or refused in one line."""

import collections
import random
import traceback

import hydra
import pytest
from conftest import CONF
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from aejax.config import hints, menu
from aejax.config.explain import KNOWN, check_lengths, explained, folder_of
from aejax.runs.preparation import Shared, prepare
from aejax.settings.configuration import without_hydra
from aejax.sweeps.composition import Composition

WORDS = 2_000
TEXT = """0 -1 1 2 0.5 -0.0 1e3 1e-30 1e38 1e309 -1e309 1e-400 nan inf -inf 0x10 1_000 65536 4294967296 true false null
[] {} [1,2] [[1]] {a:1} {a:{b:1}} {1:2} {null:1} [null] [a,3] [1e309] text none vae mlp gaussian a/b ../.. . /
.. .a a. a..b ${seed} ${nothing} ${model} ${model.beta} ${oc.env:HOME} ${oc.env:NO_SUCH} ${hydra:run.dir}
${data.validation} ${now:%Y} ${ ??? '???' ' ' ' [ { " \\ $ % #x @ a@b ~ +1 * & - a=b a,b range(3) glob(*)
sort(3,2) choice(1,2) interval(0,1) int(3) str(3) os.getcwd os.path builtins.int aejax.models.autoencoder.Autoencoder
aejax.models.noise.Gaussian aejax.training.optim.Adam aejax.models.objective.KL
{_target_:null} {_target_:1} {_target_:[]} {_target_:aejax.models.noise.Gaussian} [{_target_:x}]
!!python/object:os.system ñ☃"""
VALUES = [*TEXT.split(), "", "\0", "'a\0b'", "9" * 300, f"-{'9' * 300}", "x" * 5000]
LETTERS = "abz019=+~@.,:[]{}()$'\"\\ _-\0é\n\t"
BEGINNINGS = ["model=vae", "noise=gaussian", "noise=chain", "net=conv", "data=emoji", "pretrain=greedy", "model=pca"]


def keys():
    """All keys that some choice has, and what is in them, with Hydra's own that decide where a run goes."""
    known = set(menu.common())
    for group, names in menu.groups().items():
        known |= {key for name in names for key in menu.choice(group, name).settings}
    parts = [key.split(".") for key in known]
    every = {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}
    return sorted(every | {"hydra.run.dir", "hydra.job.name", "hydra.run", "hydra.sweeper.params", "", "a.b", "seed."})


def word(draw, known, groups):
    """One override, mostly of a key that there is, by one of VALUES; or letters at random."""
    key = draw.choice(draw.choices([groups, hints.keys({}), known], [1, 5, 4])[0])
    kind, value = draw.random(), draw.choice(VALUES)
    if kind < 0.08:
        return draw.choice([f"~{key}", f"~{key}", f"~{key}={value}"])
    if kind < 0.16:
        return f"{draw.choice(['+', '++'])}{key}{draw.choice(['', '.x', '._target_', '._args_'])}={value}"
    if kind < 0.18:
        return f"{key}@{draw.choice(known)}={value}"
    if kind < 0.23:
        return "".join(draw.choice(LETTERS) for _ in range(draw.randrange(12)))
    return f"{key}={value}"


def line_of(composition, words, shared):
    """What the command says of these words, None where it would begin to train; raises where that is a traceback."""
    try:
        config = composition.job(words)
    except Exception as error:  # Hydra's own, and what it lets through, before there is a configuration
        return str(explained(error, words))
    HydraConfig.instance().cfg = config
    try:
        check_lengths(config)
        prepare(without_hydra(config), config.hydra, folder_of(config, "run"), "hydra.run.dir", shared=shared)
    except KNOWN as error:
        return str(explained(error, words))
    return None


@pytest.mark.slow
def test_no_word_makes_a_traceback(here):
    draw, tracebacks, lines = random.Random(0), {}, collections.Counter()
    known, groups, shared = keys(), list(menu.groups()), Shared()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        composition = Composition(loader, loader.load_configuration("config", [], run_mode=RunMode.RUN))
        for _ in range(WORDS):
            words = [word(draw, known, groups)]
            if draw.random() < 0.15:
                words.insert(0, draw.choice(BEGINNINGS))
            try:
                line = line_of(composition, words, shared)
            except Exception:
                tracebacks[" ".join(words)[:80]] = traceback.format_exc(limit=-2)
            else:
                lines[line is None] += 1
                assert line is None or line.strip(), words
    assert not tracebacks, "\n".join(f"{words}\n{told}" for words, told in tracebacks.items())
    assert lines[True] > 40 and lines[False] > 400 and not list(here.glob("[!c]*"))
