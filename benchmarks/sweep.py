"""A sweep with all its records beside the same jobs by fresh processes, PyTorch scripts and Hydra's other launchers.

python -m benchmarks sweep       some 15 minutes on 2 cores

Jobs are letters with 16 (64) seeds x 4 code sizes x 4 learning rates, widths 20 and 10, 5,000 full-batch steps;
folders, metrics and offline W&B runs included on all sides, no pictures. The other ways are measured on a few of the
jobs in each round and extrapolated, as if each further job took as long. Compiled programs are kept from before.
"""

import dataclasses
import importlib.util
import itertools
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import commands, timing
from benchmarks.rows import Row, absent

SCRIPT = Path(__file__).with_name("torch_script.py")
UNITS, RATES = (2, 3, 4, 8), (0.003, 0.005, 0.01, 0.02)
FRESH, TORCH, BASIC = "a fresh process each", "a PyTorch script each", "Hydra's basic launcher, one warm process"
JOBLIB = "Hydra's joblib launcher, 2 warm processes"
TARGETS = {FRESH: 40, TORCH: 20}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Seeds of the sweep and of a larger one, jobs one by one in a round, rounds, steps, jobs that only record.

    `warm` are the jobs that a warm process adds; they take less than its start varies.
    """

    seeds: int = 16
    more_seeds: int | None = 64
    apart: int = 4
    warm: int = 12
    rounds: int = 3
    steps: int = 5000
    recorded: int = 256


SIZES = {False: Sizes(), True: Sizes(1, None, 1, 1, 1, 20, 4)}  # by quick


def rows(quick=False):
    """The sweep beside the other ways, and what a job costs beyond its training."""
    sizes = SIZES[quick]
    with tempfile.TemporaryDirectory() as name:
        yield from Sweeps(Path(name), sizes).rows()


class Sweeps:
    """Sweeps and single jobs in a folder, each with a name of its own."""

    def __init__(self, folder, sizes):
        self.folder, self.sizes, self.numbers = folder, sizes, itertools.count()
        self.common = ["net.widths=[20,10]", f"steps={sizes.steps}", "figures=false"]
        self.environment = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
        self.joint = None  # the folder of the last joint sweep

    def rows(self):
        """All rows."""
        sizes, count = self.sizes, 16 * self.sizes.seeds
        sides = {"ours": self.together, FRESH: self.fresh}
        missing = {}
        if importlib.util.find_spec("torch") is None:
            missing[TORCH] = "torch is not installed; the extra bench has it"
        else:
            sides[TORCH] = self.scripts()
        several = {BASIC: "basic", JOBLIB: "joblib"}
        if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
            missing[JOBLIB] = "hydra-joblib-launcher is not installed; the extra bench has it"
            del several[JOBLIB]
        for against, launcher in several.items():
            first = {"basic": 1, "joblib": 2}[launcher]  # each of joblib's two processes starts with one
            sides[f"{against}, first"] = lambda kind=launcher, first=first: self.launched(kind, first)
            sides[against] = lambda kind=launcher, first=first: self.launched(kind, first + sizes.warm)
        took = timing.interleaved(sides, sizes.rounds)
        for against in several:  # what more jobs add
            firsts = took.pop(f"{against}, first")
            took[against] = [whole - first for whole, first in zip(took[against], firsts, strict=True)]
        ours = took.pop("ours")
        case = f"{count} jobs"
        for against in (FRESH, TORCH, BASIC, JOBLIB):
            if against in missing:
                yield absent(case, against, missing[against])
                continue
            jobs = sizes.warm if against in several else sizes.apart
            other = [seconds / jobs * count for seconds in took[against]]
            medians = (timing.Spread.of(each).median for each in (ours, other))
            note = f"the other from {jobs} jobs a round"
            yield Row(case, against, "s", *medians, timing.ratio(other, ours), TARGETS.get(against), note=note)
        training, programs = inside(self.joint)
        yield Row(f"programs compiled for {case}", "", "", programs)
        yield Row("share of the time outside training and compiling", "", "", 1 - training / ours[-1])
        yield from self.of_a_job()
        if sizes.more_seeds:
            yield from self.larger(timing.Spread.of(ours).median)

    def together(self):
        """The sweep."""
        self.joint = self.folder / f"joint{next(self.numbers)}"
        self.swept(self.sizes.seeds, self.joint)

    def swept(self, seeds, folder):
        """The sweep with so many seeds; its seconds."""
        words = [f"seed=range({seeds})", f"latent_dim={joined(UNITS)}", f"optim.lr={joined(RATES)}"]
        return self.run("-m", *words, *self.common, f"hydra.sweep.dir={folder}")

    def run(self, *words):
        """Seconds of a command."""
        return commands.aejax(self.folder, *words, **self.environment)

    def fresh(self):
        """Some jobs, a process each."""
        for units in itertools.islice(itertools.cycle(UNITS[:2]), self.sizes.apart):
            number = next(self.numbers)
            self.run(*self.common, f"seed={number}", f"latent_dim={units}", f"hydra.run.dir=fresh{number}")

    def scripts(self):
        """A call that does some jobs by a PyTorch script each, one after another."""
        from aejax.datasets.sources.letters import Letters

        examples = self.folder / "letters.npy"
        x = Letters().load().train.x
        np.save(examples, x.reshape(len(x), -1))

        def call():
            for units in itertools.islice(itertools.cycle(UNITS[:2]), self.sizes.apart):
                number = next(self.numbers)
                words = ["--seed", number, "--latent-dim", units, "--steps", self.sizes.steps]
                commands.python(self.folder, SCRIPT, examples, f"torch{number}", *words)

        return call

    def launched(self, launcher, jobs):
        """So many jobs by another launcher of Hydra's."""
        words = [f"hydra/launcher={launcher}", f"seed=range({jobs})", f"hydra.sweep.dir=launched{next(self.numbers)}"]
        self.run("-m", *words, *self.common, *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []))

    def of_a_job(self):
        """What a job of one step takes beyond training, and of that the composing."""
        for case, words, target in (
            ("a job composed, read, recorded", ["evaluate.groups=[reconstruction]"], 10),
            ("a job composed, read, recorded and evaluated", [], None),
        ):
            each = self.beside(*words)
            note = f"{each.low:.1f} to {each.high:.1f} ms in {each.rounds} rounds"
            yield Row(case, "", "ms", each.median, target=target, at_most=target is not None, note=note)
        yield Row("composing alone, twice, as Hydra's basic launcher does", "", "ms", 2 * composing(self.common))

    def beside(self, *words):
        """Milliseconds a job takes beyond training and W&B, a Spread: what more jobs of one step add to two."""
        words = [*words, *self.common, "steps=1", "track=off"]

        def call(jobs):
            self.run("-m", f"seed=range({jobs})", *words, f"hydra.sweep.dir=beside{next(self.numbers)}")

        more = self.sizes.recorded
        took = timing.interleaved({"many": lambda: call(2 + more), "two": lambda: call(2)}, self.sizes.rounds)
        return timing.Spread.of((many - two) / more * 1000 for many, two in zip(*took.values(), strict=True))

    def larger(self, smaller):
        """The larger sweep."""
        seeds, folder = self.sizes.more_seeds, self.folder / "larger"
        seconds = self.swept(seeds, folder)
        note = f"{seconds / smaller:.2f} times the {16 * self.sizes.seeds}"
        yield Row(f"{16 * seeds:,} jobs", "", "s", seconds, note=note)


def joined(values):
    """The values of an override."""
    return ",".join(map(str, values))


def composing(words, jobs=20):
    """Milliseconds in which Hydra composes a job."""
    from hydra import compose, initialize_config_dir

    from aejax.config.explain import CONF

    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose("config", [], return_hydra_config=True)
        started = time.perf_counter()
        for seed in range(jobs):
            compose("config", [f"seed={seed}", *words], return_hydra_config=True)
    return (time.perf_counter() - started) / jobs * 1000


def inside(sweep):
    """Seconds of training and compiling, and the number of programs, of a sweep's groups."""
    seconds = [json.loads(path.read_text())["seconds"] for path in sweep.glob("*/run.json")]
    groups = {(each["train"], each["compile"]) for each in seconds}  # the same for all lanes of a group
    return sum(train + compiling for train, compiling in groups), len(groups)
