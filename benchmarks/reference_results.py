"""What the finished sweeps of sweeps/references/ reached, beside the published number and PyTorch in the same steps.

The results of earlier sweeps are kept in benchmarks/results/references.json.
"""

import dataclasses
import json
import math
from decimal import Decimal
from pathlib import Path

import pandas as pd

from aejax.base.errors import InputError
from aejax.comparison import tables
from aejax.comparison.intervals import mean_interval
from aejax.metrics.lookup import better
from aejax.runs.folder import LEDGER
from benchmarks.published import CASES, Case, Number
from benchmarks.torch_references import record_of

RECORD = Path(__file__).parent / "results" / "references.json"
OURS = ("+sweep=", "track=", "data.dir=", "data.manual_dir=", "data.download=", "hydra.")  # say nothing of the result


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
    words: str  # of the command, that say more than the file does and than which runs the number is of
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
    for path in sorted({path.resolve(): path for folder in folders for path in folder.rglob(LEDGER)}.values()):
        overrides = overrides_of(path)
        name = next(
            (word.partition("references/")[2] for word in overrides if word.startswith("+sweep=references/")), ""
        )
        if name in CASES:
            yield name, path.parent, " ".join(word for word in overrides if not word.startswith(OURS))


def overrides_of(path):
    """The overrides of the command that wrote a sweep.json; none for another file of that name.

    Raises InputError for a damaged one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged; {error}") from error
    overrides = content.get("overrides") if isinstance(content, dict) else None
    return overrides if isinstance(overrides, list) else []


def shortened_runs(folders):
    """The folders of completed runs with a shortened budget."""
    chosen = [folder for name, folder, words in sweeps(folders) if not is_full(CASES[name], words)]
    return [Path(run) for folder in chosen for run in tables.load([folder]).completed["path"]]


def results(folders):
    """{name of a case: its Results} of the sweeps of sweeps/references/ in and below `folders`."""
    by_case = {name: [] for name in CASES}
    for name, folder, words in sweeps(folders):
        by_case[name] += results_of(CASES[name], folder, words)
    return by_case


def results_of(case, folder, words):
    """The Results of a case in the folder of its sweep with these `words`, without numbers that no run there has."""
    runs = tables.load([folder]).completed
    for number in case.numbers:
        chosen = runs
        for key, value in number.where.items():
            chosen = chosen[chosen[key].astype(float) == value]
        if not len(chosen) or number.metric not in chosen:
            continue
        ours = Mean.of(chosen.groupby("seed")[number.metric].mean())
        records = [json.loads((Path(path) / "run.json").read_text()) for path in chosen["path"]]
        seconds = sum(each["seconds"]["train"] / each["lanes"]["count"] for each in records) / len(records)
        first = chosen.iloc[0]
        steps = "closed form" if first["model"] == "pca" else f"{first['steps']} steps"
        length = steps if pd.isna(first["epochs"]) else f"{first['epochs']} epochs"
        theirs = torch_mean(chosen, number.metric)
        others = " ".join(word for word in words.split() if word.partition("=")[0] not in number.where)
        yield Result(case, number, ours.value, ours.half, ours.seeds, length, seconds, others, theirs)


def torch_mean(runs, metric):
    """The Mean of PyTorch's records beside these runs, of the seeds whose runs all have one; None without any."""
    records = [record_of(path) or {"metrics": {}} for path in runs["path"]]
    values = pd.Series([record["metrics"].get(metric) for record in records], runs.index, float)
    by_seed = values.groupby(runs["seed"]).apply(lambda of_seed: of_seed.mean(skipna=False)).dropna()
    return Mean.of(by_seed) if len(by_seed) else None


def joined(earlier, later):
    """Two {name of a case: Results}: a number at the same budget is that of the `later` one."""
    by_case = {}
    for name, of_case in later.items():
        measured = {(result.number.label, result.words) for result in of_case}
        rest = [result for result in earlier[name] if (result.number.label, result.words) not in measured]
        by_case[name] = rest + of_case
    return by_case


def recorded(by_case):
    """{name of a case: Results} as JSON holds them; half of an interval that is nan is null."""
    return [
        {"case": name, "number": result.number.label, "words": result.words, "length": result.length}
        | {"seconds": result.seconds, **_of_mean(result), "torch": result.torch and _of_mean(result.torch)}
        for name, of_case in by_case.items()
        for result in of_case
    ]


def _of_mean(mean):
    return {"value": mean.value, "half": None if math.isnan(mean.half) else mean.half, "seeds": mean.seeds}


def read(entries):
    """What `recorded` was made of, without numbers that are no longer compared with."""
    by_case = {name: [] for name in CASES}
    for entry in entries:
        case = CASES.get(entry["case"])
        numbers = {} if case is None else {number.label: number for number in case.numbers}
        if entry["number"] in numbers:
            theirs = entry["torch"] and Mean(*_mean_of(entry["torch"]))
            rest = entry["length"], entry["seconds"], entry["words"], theirs
            by_case[entry["case"]].append(Result(case, numbers[entry["number"]], *_mean_of(entry), *rest))
    return by_case


def _mean_of(entry):
    return entry["value"], math.nan if entry["half"] is None else entry["half"], entry["seeds"]
