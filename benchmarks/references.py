"""Published results beside those of the sweeps in sweeps/references/, from the folders of finished sweeps.

    python -m benchmarks references --quick [FOLDER] [WORDS]    trains the short cases in FOLDER, prints the table
    python -m benchmarks references train FOLDER NAMES [WORDS]  trains these cases, or what is missing of them
    python -m benchmarks references torch FOLDERS [WORDS]       trains the networks of shortened runs in PyTorch
    python -m benchmarks references show FOLDERS    the table of all sweeps of sweeps/references/ below these folders
    python -m benchmarks references write FOLDERS   docs/results/references.md with it

WORDS are overrides key=value for the cases of MNIST and Fashion-MNIST, which must be prepared (python -m aejax.data
prepare data=mnist data.manual_dir=ORIGINALS), or data.manual_dir=ORIGINALS be one of the words. The short cases take 20
minutes on 2 cores. What PyTorch reaches in the same steps is recorded beside each run; for `torch` WORDS say where the
data are now, as data.dir=DIR.
"""

import dataclasses
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pandas as pd

from aejax.cli.parsing import reported
from aejax.comparison import tables
from aejax.comparison.intervals import mean_interval
from aejax.config import menu
from aejax.metrics.lookup import better
from benchmarks.published import CASES, Case, Number
from benchmarks.torch_references import record_of, train_beside

PAGE = Path(__file__).parents[1] / "docs" / "results" / "references.md"
FOLDER = "outputs/references"  # of --quick, where none is given
TORCH = "PyTorch, same steps"
OURS = ("+sweep=", "track=", "data.dir=", "data.manual_dir=", "data.download=", "hydra.")  # say nothing of the result


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
    elif action == "torch" and names:
        with reported(names[0]):
            train_beside(shortened_runs(map(Path, names)), given)
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
class Mean:
    """A mean over seeds, and half of its interval, nan below three."""

    value: float
    half: float
    seeds: int

    @classmethod
    def of(cls, by_seed):
        """Of a value for each seed."""
        half = float(mean_interval(by_seed.mean(), by_seed.std(), len(by_seed)))
        return cls(by_seed.mean(), half, len(by_seed))


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
    torch: Mean | None = None  # what PyTorch reached in the same steps

    @property
    def is_full(self):
        """Whether the runs have the full budget."""
        return is_full(self.case, self.words)

    @property
    def verdict(self):
        """Reached, better, worse; of a metric without direction above or below, by all intervals and the rounding.

        Of a shortened budget also how it compares with PyTorch.
        """
        published = Decimal(self.number.published)
        rounding = float(Decimal(1).scaleb(published.as_tuple().exponent)) / 2 if published else 0.0
        within = self.number.interval + rounding + (self.half if self.half == self.half else 0.0)
        word = judged(self.value - float(published), within, self.number.metric, "reached")
        reasons = ["shortened"] * (word == "worse" and not self.is_full)
        reasons += [self.beside_torch] * bool(self.beside_torch)
        reasons += [self.case.why] * bool(word == "worse" and self.case.why)
        if word != "worse":
            return "; ".join([word, *reasons])
        return f"worse: {'; '.join(reasons) or 'the reason is not known'}"

    @property
    def beside_torch(self):
        """A shortened result beside PyTorch's in the same steps; nothing where one of the two has no interval."""
        if self.is_full or self.torch is None or (within := self.half + self.torch.half) != within:
            return ""
        word = judged(self.value - self.torch.value, within, self.number.metric, "as")
        joined = f"{word} than" if word in ("better", "worse") else word
        return f"{joined} PyTorch in the same steps"


def judged(distance, within, metric, same):
    """The word `same` for a distance up to `within`, else better or worse, or above or below, by the metric."""
    if abs(distance) <= within:
        return same
    sign = better(metric)
    if not sign:
        return "above" if distance > 0 else "below"
    return "better" if distance * sign > 0 else "worse"


def is_full(case, words):
    """Whether a sweep with these `words` has the full budget of a case."""
    return set(case.full.split()) <= set(words.split())


def sweeps(folders):
    """(name of a case, its folder, words) of each sweep of sweeps/references/ in and below `folders`."""
    for path in sorted(path for folder in folders for path in folder.rglob("sweep.json")):
        overrides = json.loads(path.read_text())["overrides"]
        name = next(
            (word.partition("references/")[2] for word in overrides if word.startswith("+sweep=references/")), ""
        )
        if name in CASES:
            yield name, path.parent, " ".join(word for word in overrides if not word.startswith(OURS))


def shortened_runs(folders):
    """The folders of completed runs with a shortened budget, of cases for which PyTorch is a target."""
    chosen = [
        folder for name, folder, words in sweeps(folders) if not (is_full(CASES[name], words) or CASES[name].no_target)
    ]
    return [Path(run) for folder in chosen for run in tables.load([folder]).completed["path"]]


def results(folders):
    """{name of a case: its Results} of the sweeps of sweeps/references/ in and below `folders`."""
    found = {name: [] for name in CASES}
    for name, folder, words in sweeps(folders):
        found[name] += results_of(CASES[name], folder, words)
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
        ours = Mean.of(chosen.groupby("seed")[number.metric].mean())
        record = [json.loads((Path(path) / "run.json").read_text()) for path in chosen["path"]]
        seconds = sum(each["seconds"]["train"] / each["lanes"]["count"] for each in record) / len(record)
        first = chosen.iloc[0]
        steps = "closed form" if first["model"] == "pca" else f"{first['steps']} steps"
        length = steps if pd.isna(first["epochs"]) else f"{first['epochs']} epochs"
        told = length, seconds, words, torch_mean(chosen, number.metric)
        yield Result(case, number, ours.value, ours.half, ours.seeds, *told)


def torch_mean(runs, metric):
    """The Mean of PyTorch's records beside these runs, of the seeds whose runs all have one; None without any."""
    records = [record_of(path) or {"metrics": {}} for path in runs["path"]]
    values = pd.Series([record["metrics"].get(metric) for record in records], runs.index, float)
    by_seed = values.groupby(runs["seed"]).apply(lambda of_seed: of_seed.mean(skipna=False)).dropna()
    return Mean.of(by_seed) if len(by_seed) else None


def table(found):
    """The table as lines of Markdown."""
    header = ("case", "paper", "setting", "number", "published", "ours", "seeds", "budget", "seconds", TORCH, "verdict")
    yield f"| {' | '.join(header)} |"
    yield "|" + " --- |" * len(header)
    for name, case in CASES.items():
        measured = {result.number.label for result in found[name]}
        for result in sorted(found[name], key=lambda result: case.numbers.index(result.number)):
            yield row(case, result.number, shown(result))
        for number in case.numbers:
            if number.label not in measured:
                words = " ".join(
                    [f"+sweep={sweep_of(name)}", *(f"{key}={value}" for key, value in number.where.items())]
                )
                yield row(case, number, ("", "", "", "", case.no_target, f"not measured yet: `{words}`"))


def row(case, number, ours):
    """A line of the table."""
    published = number.published + (f" ± {number.interval}" if number.interval else "")
    return f"| {' | '.join((case.case, case.paper, case.setting, number.label, published, *ours))} |"


def shown(result):
    """What the table tells of a result: value, seeds, budget, seconds, PyTorch's value, verdict."""
    budget = result.length + ("" if result.is_full else ", shortened")
    words = [word for word in result.words.split() if word not in words_of(result.number)]
    if words:
        budget += f" (`{' '.join(words)}`)"
    value = rounded(result.number, result.value, result.half)
    return value, str(result.seeds), budget, f"{result.seconds:.0f}", shown_torch(result), result.verdict


def shown_torch(result):
    """What the table tells of PyTorch in the same steps; nothing of a full budget."""
    if result.is_full:
        return ""
    if result.torch is None:
        return result.case.no_target or "not measured yet"
    value = rounded(result.number, result.torch.value, result.torch.half)
    return value if result.torch.seeds == result.seeds else f"{value} ({result.torch.seeds} of {result.seeds} seeds)"


def rounded(number, value, half):
    """A value and half of its interval, if it has one, with a digit more than was published."""
    digits = max(-Decimal(number.published).as_tuple().exponent, 0) + 1
    return f"{value:.{digits}f}" + (f" ± {half:.{digits}f}" if half == half else "")


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
fewer epochs than the case needs; the command with the full budget stands below. Such a result has a second target, what
PyTorch reaches in the same steps: the same network and initial distribution, data, batches, loss, optimizer and
learning rate, for the same seeds, trained in plain PyTorch (`benchmarks/torch_training.py`) and measured as ours. It is
*as PyTorch* where the two differ by no more than both intervals; below three seeds this is not decided. Seconds are the
training time of one run among the lanes of its program, on one of two cores busy with other work. The comment of each
file in `sweeps/references/` describes its conventions. NLL and ELBO are in nats, accuracy and NMI are shares.

"""
COMMANDS = """
Cases 7 and 8, VAE and IWAE with one stochastic layer (Burda et al. 2016), are `+sweep=mnist_iwae`
([MNIST](../mnist.md)).

`python -m benchmarks references --quick` trains the short cases and prints their rows; `python -m benchmarks references
torch FOLDERS` trains in PyTorch beside the runs that have no record of it. The commands of all:

```"""


if __name__ == "__main__":
    main(sys.argv[1:])
