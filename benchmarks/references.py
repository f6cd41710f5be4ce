"""Published results beside those of the sweeps in sweeps/references/, from the folders of finished sweeps.

    python -m benchmarks references --quick [FOLDER] [WORDS]    trains the short cases in FOLDER, prints the table
    python -m benchmarks references train FOLDER NAMES [WORDS]  trains these cases, or what is missing of them
    python -m benchmarks references show FOLDERS    the table of all sweeps of sweeps/references/ below these folders
    python -m benchmarks references write FOLDERS   docs/results/references.md with it

WORDS are overrides key=value for the cases of MNIST and Fashion-MNIST, which must be prepared (python -m aejax.data
prepare data=mnist data.manual_dir=ORIGINALS), or data.manual_dir=ORIGINALS be one of the words. The short cases take 20
minutes on 2 cores.
"""

import dataclasses
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pandas as pd

from aejax.comparison import tables
from aejax.comparison.intervals import mean_interval
from aejax.config import menu
from aejax.metrics.lookup import better

PAGE = Path(__file__).parents[1] / "docs" / "results" / "references.md"
FOLDER = "outputs/references"  # of --quick, where none is given
OURS = ("+sweep=", "track=", "data.dir=", "data.manual_dir=", "data.download=", "hydra.")  # say nothing of the result


@dataclasses.dataclass(frozen=True)
class Number:
    """A published number: of which metric, in which of a sweep's runs (`where`), and within which interval."""

    label: str
    metric: str
    published: str  # with the digits that were published, half of the last of which is its error
    where: dict = dataclasses.field(default_factory=dict)
    interval: float = 0.0  # half the width of the published one


@dataclasses.dataclass(frozen=True)
class Case:
    """A file in sweeps/references/: its paper, its setting, its numbers, and why a worse result is worse."""

    case: str
    paper: str
    setting: str
    numbers: tuple[Number, ...]
    why: str = ""  # beside a result that is worse, and besides a shortened budget; never decides whether it is
    full: str = ""  # the words of the command with the full budget, beyond 2 cores; empty: the file's own
    quick: str | None = None  # the words that make it short; None: not among the short cases
    note: str = ""  # what the reader of the table should know besides


ACCURACY, NMI = "separation/cluster_accuracy", "separation/nmi"
DEC = "DEC trains each layer with dropout, then all for 100,000 steps, and clusters all 70,000 images; here 10,000"
STACKS = "a linear classifier reads codes that no label has tuned; the paper tunes all layers on the labels"
CASES = {
    "letters_exact": Case(
        "1",
        "ariasnico/sia-tp5-autoencoders",
        "5 x 7 font, 35-20-2-20-35, 6,000 epochs; 27 glyphs, published 32",
        (Number("wrong pixels of the worst glyph", "recon/pixel_errors_max", "0"),),
        "some seeds leave a letter with a wrong pixel; the published number is of one seed",
        quick="",
    ),
    "letters_denoising": Case(
        "2",
        "ariasnico/sia-tp5-autoencoders",
        "5 x 7 font, 35-30-10-30-35, flipped pixels; 27 glyphs, published 32",
        tuple(
            Number(
                f"{level:.0%} flipped: at most one wrong pixel",
                "restore/at_most_one_wrong",
                share,
                {"noise.level": level},
            )
            for level, share in ((0.1, "0.92"), (0.15, "0.80"), (0.2, "0.64"))
        ),
        quick="",
        note="The fonts differ, so that only the size of the shares can be compared. The nearest glyph restores 0.975, "
        "0.927 and 0.838 of ours exactly.",
    ),
    "pca": Case(
        "3",
        "Hinton & Salakhutdinov 2006",
        "MNIST, PCA, 30 units",
        (Number("test squared error of an image", "recon/sse", "13.87"),),
        quick="",
    ),
    "logistic_pca": Case(
        "3",
        "Hinton & Salakhutdinov 2006",
        "MNIST, logistic PCA, 30 units",
        (Number("test squared error of an image", "recon/sse", "8.01"),),
        quick="",
    ),
    "deep_rbm": Case(
        "3",
        "Hinton & Salakhutdinov 2006",
        "MNIST, 784-1000-500-250-30, layers pretrained as RBMs",
        (Number("test squared error of an image", "recon/sse", "3.00"),),
        "the paper pretrains each layer for 50 epochs and tunes all for 200",
        full="epochs=200 log_points=100",
    ),
    "deep_relu": Case(
        "4",
        "a replication of Hinton & Salakhutdinov 2006",
        "MNIST, 784-1000-500-250-30, rectified units, not pretrained",
        (Number("test squared error of an image", "recon/sse", "2.65"),),
        "one seed of model=deep_ae reached 2.92 after 30 epochs",
        full="epochs=200 log_points=100",
    ),
    "vae_static": Case(
        "5",
        "Flax, examples/vae; 10 epochs: the log in its pull request 1361",
        "MNIST, binarized once, 784-500-20, epochs of 50,000 images",
        (
            Number("ELBO after 30 epochs", "elbo", "-107.05", {"epochs": 30}, 0.25),
            Number("ELBO after 10 epochs", "elbo", "-103.60", {"epochs": 10}),
        ),
        quick="epochs=10",
        note="The log in Flax's pull request 1361 has -109.34 after 3 epochs, -106.06 after 5, -103.60 after 10 and "
        "-101.83 after 20, so that 30 epochs of the example reach more than -107.05.",
    ),
    "vae_nll": Case(
        "6",
        "a VAE with one hidden layer, and its replication (89.78)",
        "MNIST, binarized once, 784-400-40, 200 samples",
        (Number("NLL", "nll", "89.9"),),
        full="epochs=500 log_points=100 optim.lr=0.001",
    ),
    "vae_latent_dim": Case(
        "9",
        "Davidson et al. 2018, table 1",
        "MNIST, binarized at each step, 784-256-128-d, 500 samples",
        tuple(
            number
            for units, nll, rate in ((2, "135.7", "7.2"), (5, "110.2", "12.8"), (20, "88.9", "23.5"))
            for number in (
                Number(f"d = {units}: NLL", "nll", nll, {"latent_dim": units}),
                Number(f"d = {units}: KL", "likelihood/rate", rate, {"latent_dim": units}),
            )
        ),
        "the paper trains until validation stops improving",
        full="epochs=400 optim.lr=0.001 batch_size=64 select=best",
        quick="latent_dim=2",
        note="The header of `mnist_latent_dim`, which has the same settings, has all three sizes with 4 seeds.",
    ),
    "clusters_mnist": Case(
        "10",
        "the autoencoder of Xie et al. 2016 (DEC) and k-means",
        "MNIST, 784-500-500-2000-10",
        (Number("cluster accuracy", ACCURACY, "0.88"), Number("NMI", NMI, "0.81")),
        DEC,
        full="epochs=200 log_points=100",
    ),
    "clusters_fashion": Case(
        "11",
        "the same autoencoder on Fashion-MNIST",
        "Fashion-MNIST, 784-500-500-2000-10",
        (Number("cluster accuracy", ACCURACY, "0.61"), Number("NMI", NMI, "0.64")),
        DEC,
        full="epochs=200 log_points=100",
    ),
    "one_class": Case(
        "12",
        "Ruff et al. 2018 (Deep SVDD: 0.948), its convolutional autoencoder",
        "MNIST, one digit is normal, mean over the ten",
        (Number("AUROC", "anomaly/auroc", "0.90"),),
        "one seed reached 0.965 after 30 epochs",
        full="epochs=30 log_points=10",
    ),
    "stacked": Case(
        "13",
        "Vincent et al. 2010, `basic` MNIST: test error 3.46 %, denoising 2.84 %",
        "10,000 images, three layers of 1,000",
        (
            Number("SAE-3: test accuracy", "separation/probe_accuracy", "0.9654", {"noise.level": 0.0}),
            Number("SDAE-3: test accuracy", "separation/probe_accuracy", "0.9716", {"noise.level": 0.25}),
        ),
        STACKS,
        full="epochs=100 log_points=10",
    ),
    "k_sparse": Case(
        "14",
        "Makhzani & Frey 2014: test error 1.35 %",
        "MNIST, 784-1000, k = 25, logistic regression on the code",
        (Number("test accuracy", "separation/probe_accuracy", "0.9865"),),
        "one seed reached 0.983 after 30 epochs",
        full="epochs=200 log_points=100",
        note="The published number is from memory.",
    ),
}


def main(words):
    """The command with these words."""
    given = [word for word in words if "=" in word]
    action, *names = [word for word in words if "=" not in word] or ["show"]
    if action == "--quick":
        folder = Path(*names[:1] or [FOLDER])
        train(folder, {name: case.quick.split() for name, case in CASES.items() if case.quick is not None}, given)
        print("\n".join(table(results([folder]))))
    elif action == "train":
        train(Path(names[0]), {name: [] for name in names[1:]}, given)
    elif action in ("show", "write") and names:
        found = results(map(Path, names))
        if action == "write":
            PAGE.parent.mkdir(exist_ok=True)
            PAGE.write_text("\n".join(page(found)) + "\n")
        else:
            print("\n".join(table(found)))
    else:
        raise SystemExit(__doc__)


def train(folder, chosen, given=()):
    """Runs the sweeps of the `chosen` cases, {name: words}, in `folder`; what is finished there is taken as it is."""
    for name, words in chosen.items():
        of_package = menu.choice("sweep", sweep_of(name)).chosen["data"] == "letters"
        words = [*words, *(word for word in given if not (of_package and word.startswith("data.")))]
        command = ["-m", f"+sweep={sweep_of(name)}", *words, "track=off"]
        command = [sys.executable, "-m", "aejax", *command, f"hydra.sweep.dir={folder / name}"]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"failed: {' '.join(command)}")


@dataclasses.dataclass(frozen=True)
class Result:
    """A number as the runs of one sweep reached it: mean over seeds, and half of the interval, nan below three."""

    case: Case
    number: Number
    value: float
    half: float
    seeds: int
    length: str  # epochs or steps
    seconds: float  # of the training of a run, among the lanes of its program
    words: str  # of the command, that say more than the file does

    @property
    def is_full(self):
        """Whether the runs have the full budget."""
        return set(self.case.full.split()) <= set(self.words.split())

    @property
    def verdict(self):
        """Reached, better, worse; of a metric without direction above or below, by all intervals and the rounding."""
        published = Decimal(self.number.published)
        rounding = float(Decimal(1).scaleb(published.as_tuple().exponent)) / 2 if published else 0.0
        distance = self.value - float(published)
        within = self.number.interval + rounding + (self.half if self.half == self.half else 0.0)
        if abs(distance) <= within:
            return "reached"
        sign = better(self.number.metric)
        if not sign:
            return "above" if distance > 0 else "below"
        reasons = ["shortened"] * (not self.is_full) + [self.case.why] * bool(self.case.why)
        return "better" if distance * sign > 0 else f"worse: {'; '.join(reasons) or 'the reason is not known'}"


def results(folders):
    """{name of a case: its Results} of the sweeps of sweeps/references/ in and below `folders`."""
    found = {name: [] for name in CASES}
    for path in sorted(path for folder in folders for path in folder.rglob("sweep.json")):
        overrides = json.loads(path.read_text())["overrides"]
        name = next(
            (word.partition("references/")[2] for word in overrides if word.startswith("+sweep=references/")), ""
        )
        if name in CASES:
            words = " ".join(word for word in overrides if not word.startswith(OURS))
            found[name] += results_of(CASES[name], path.parent, words)
    return found


def results_of(case, folder, words):
    """The Results of a case in the folder of its sweep, without numbers that no run there has."""
    runs = tables.load([folder]).completed
    for number in case.numbers:
        chosen = runs
        for key, value in number.where.items():
            chosen = chosen[chosen[key].astype(float) == value]
        if not len(chosen) or number.metric not in chosen:
            continue
        by_seed = chosen.groupby("seed")[number.metric].mean()
        record = [json.loads((Path(path) / "run.json").read_text()) for path in chosen["path"]]
        seconds = sum(each["seconds"]["train"] / each["lanes"]["count"] for each in record) / len(record)
        first = chosen.iloc[0]
        steps = "closed form" if first["model"] == "pca" else f"{first['steps']} steps"
        length = steps if pd.isna(first["epochs"]) else f"{first['epochs']} epochs"
        half = float(mean_interval(by_seed.mean(), by_seed.std(), len(by_seed)))
        yield Result(case, number, by_seed.mean(), half, len(by_seed), length, seconds, words)


def table(found):
    """The table as lines of Markdown."""
    header = ("case", "paper", "setting", "number", "published", "ours", "seeds", "budget", "seconds", "verdict")
    yield f"| {' | '.join(header)} |"
    yield "|" + " --- |" * len(header)
    for name, case in CASES.items():
        measured = {result.number.label for result in found[name]}
        for result in found[name]:
            yield row(case, result.number, shown(result))
        for number in case.numbers:
            if number.label not in measured:
                words = " ".join(
                    [f"+sweep={sweep_of(name)}", *(f"{key}={value}" for key, value in number.where.items())]
                )
                yield row(case, number, ("", "", "", "", f"not measured yet: `{words}`"))


def row(case, number, ours):
    """A line of the table."""
    published = number.published + (f" ± {number.interval}" if number.interval else "")
    return f"| {' | '.join((case.case, case.paper, case.setting, number.label, published, *ours))} |"


def shown(result):
    """What the table tells of a result: value, seeds, budget, seconds, verdict."""
    digits = max(-Decimal(result.number.published).as_tuple().exponent, 0) + 1
    value = f"{result.value:.{digits}f}"
    if result.half == result.half:
        value += f" ± {result.half:.{digits}f}"
    budget = result.length + ("" if result.is_full else ", shortened")
    words = [word for word in result.words.split() if word not in words_of(result.number)]
    if words:
        budget += f" (`{' '.join(words)}`)"
    return value, str(result.seeds), budget, f"{result.seconds:.0f}", result.verdict


def page(found):
    """docs/results/references.md as lines."""
    yield from HEAD.splitlines()
    yield from table(found)
    yield ""
    yield from (f"- Case {case.case}: {case.note}" for case in CASES.values() if case.note)
    yield from COMMANDS.splitlines()
    for name, case in CASES.items():
        yield f"python -m aejax -m +sweep={sweep_of(name)}   # case {case.case}"
        if case.full:
            yield f"python -m aejax -m +sweep={sweep_of(name)} {case.full}   # on a GPU"
    yield "```"


def words_of(number):
    """The overrides that give the runs of a number alone."""
    return [f"{key}={value}" for key, value in number.where.items()]


def sweep_of(name):
    """The choice of the group `sweep` for a case."""
    return f"references/{name}"


HEAD = """# Published results

`python -m benchmarks references write FOLDERS` writes this page from the folders of finished sweeps. Published numbers
stand beside the mean over seeds ± half of its 95 % interval (Student's t). The verdict is computed: *reached* where the
two differ by no more than both intervals and the rounding of the published number, otherwise *better* or *worse* by the
direction of the metric; *above* or *below* for a metric without direction. A budget is *shortened* where the sweep has
fewer epochs than the case needs; the command with the full budget stands below. Seconds are the training time of one
run among the lanes of its program, on one of two cores busy with other work. The comment of each file in
`sweeps/references/` describes its conventions. NLL and ELBO are in nats, accuracy and NMI are shares.

"""
COMMANDS = """
Cases 7 and 8, VAE and IWAE with one stochastic layer (Burda et al. 2016), are `+sweep=mnist_iwae`
([MNIST](../mnist.md)).

`python -m benchmarks references --quick` trains the short cases and prints their rows. The commands of all:

```"""


if __name__ == "__main__":
    main(sys.argv[1:])
