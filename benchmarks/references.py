"""Published results beside those of the sweeps in sweeps/references/, from the folders of finished sweeps.

    python -m benchmarks references --quick [FOLDER] [WORDS]    trains the short cases in FOLDER, prints the table
    python -m benchmarks references train FOLDER NAMES [WORDS]  trains these cases, or what is missing of them
    python -m benchmarks references torch FOLDERS [WORDS]       trains the networks of shortened runs in PyTorch
    python -m benchmarks references show FOLDERS    the table of all sweeps of sweeps/references/ below these folders
    python -m benchmarks references write [FOLDERS] docs/results/references.md with them and what was measured before

WORDS are overrides key=value for the cases of MNIST and Fashion-MNIST, which must be prepared (python -m aejax.data
prepare data=mnist data.manual_dir=ORIGINALS), or data.manual_dir=ORIGINALS be one of the words. The short cases take 20
minutes on 2 cores. `write` keeps all results in benchmarks/results/references.json; what is measured again replaces the
same number at the same budget. What PyTorch reaches in the same steps is recorded beside each run; for `torch` WORDS
say where the data are now, as data.dir=DIR.
"""

import argparse
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from aejax.base.errors import InputError, near
from aejax.cli.parsing import Parser, reported
from aejax.config import menu
from benchmarks.published import CASES
from benchmarks.reference_results import RECORD, joined, read, recorded, results, shortened_runs
from benchmarks.torch_references import check_words, train_beside

PAGE = Path(__file__).parents[1] / "docs" / "results" / "references.md"
FOLDER = "outputs/references"  # of --quick, where none is given
TORCH = "PyTorch, same steps"
ACTIONS = ("train", "torch", "show", "write")


def main(words):
    """The command with these words: exit status 2 for a wrong one, 1 if a sweep failed."""
    parser = Parser(
        "python -m benchmarks references", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="train the short cases")
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"{', '.join(ACTIONS)}, and what they need")
    asked = parser.parse_intermixed_args(words)
    given = [word for word in asked.words if "=" in word]
    names = [word for word in asked.words if "=" not in word]
    with reported(FOLDER):
        if asked.quick:
            return quick(names, given)
        if not asked.words:
            print(__doc__)
            return 0
        if not names or names[0] not in ACTIONS:
            raise InputError(f"{asked.words[0]}: no such action; {near(asked.words[0], ACTIONS)}")
        action, *names = names
        return train_named(names, given) if action == "train" else from_folders(action, names, given)


def quick(names, given):
    """Trains the short cases, and prints their table."""
    if len(names) > 1:
        raise InputError(f"{names[1]}: --quick takes one folder")
    folder = Path(*names or [FOLDER])
    status = train(folder, {name: case.quick.split() for name, case in CASES.items() if case.quick is not None}, given)
    if not status:
        print("\n".join(table(results([folder]))))
    return status


def train_named(names, given):
    """Trains the named cases."""
    if len(names) < 2:
        raise InputError(f"train needs a folder and the names of cases; {near('', CASES)}")
    folder, *names = names
    for name in names:
        if name not in CASES:
            raise InputError(f"{name}: no such case; {near(name, CASES)}")
    return train(Path(folder), {name: [] for name in names}, given)


def from_folders(action, names, given):
    """Shows or writes the table of sweeps in these folders, or trains their networks in PyTorch."""
    if not names and action != "write":
        raise InputError(f"{action} needs the folders of finished sweeps")
    for name in names:
        if not Path(name).is_dir():
            raise InputError(f"{name}: no such folder")
    folders = [Path(name) for name in names]
    if action == "torch":
        check_words(given)
        train_beside(shortened_runs(folders), given)
        return 0
    if given:
        raise InputError(f"{given[0]}: {action} takes no settings")
    by_case = results(folders)
    if names and not any(by_case.values()):
        raise InputError(f"{', '.join(names)}: no finished sweep of sweeps/references/ is there or below")
    if action == "write":
        by_case = joined(read(json.loads(RECORD.read_text(encoding="utf-8"))), by_case)
        RECORD.write_text(json.dumps(recorded(by_case), indent=1) + "\n", encoding="utf-8")
        PAGE.write_text("\n".join(page(by_case)) + "\n", encoding="utf-8")
    else:
        print("\n".join(table(by_case)))
    return 0


def train(folder, chosen, given=()):
    """Runs the sweeps of the `chosen` cases, {name: words}, in `folder`; what is finished there is taken as it is.

    Returns 1 if a sweep failed; those after it are not run.
    """
    for name, words in chosen.items():
        of_package = menu.choice("sweep", sweep_of(name)).chosen["data"] == "letters"
        words = [*words, *(word for word in given if not (of_package and word.startswith("data.")))]
        command = ["-m", f"+sweep={sweep_of(name)}", *words, "track=off"]
        command = [sys.executable, "-m", "aejax", *command, f"hydra.sweep.dir={folder / name}"]
        if subprocess.run(command, check=False).returncode:
            print(f"failed: {' '.join(command)}", file=sys.stderr)
            return 1
    return 0


def table(by_case):
    """The table as lines of Markdown."""
    header = ("case", "paper", "setting", "number", "published", "ours", "seeds", "budget", "seconds", TORCH, "verdict")
    yield f"| {' | '.join(header)} |"
    yield "|" + " --- |" * len(header)
    for name, case in CASES.items():
        measured = {result.number.label for result in by_case[name]}
        for result in sorted(by_case[name], key=lambda result: case.numbers.index(result.number)):
            yield row(case, result.number, shown(result))
        for number in case.numbers:
            if number.label not in measured:
                words = " ".join(
                    [f"+sweep={sweep_of(name)}", *(f"{key}={value}" for key, value in number.where.items())]
                )
                yield row(case, number, ("", "", "", "", "", f"not measured yet: `{words}`"))


def row(case, number, ours):
    """A line of the table."""
    published = number.published + (f" ± {number.interval}" if number.interval else "")
    return f"| {' | '.join((case.case, case.paper, case.setting, number.label, published, *ours))} |"


def shown(result):
    """What the table tells of a result: value, seeds, budget, seconds, PyTorch's value, verdict."""
    budget = result.length + ("" if result.is_full else ", shortened")
    if result.words:
        budget += f" (`{result.words}`)"
    value = rounded(result.number, result.value, result.half)
    return value, str(result.seeds), budget, f"{result.seconds:.0f}", shown_torch(result), result.verdict


def shown_torch(result):
    """What the table tells of PyTorch in the same steps; nothing of a full budget."""
    if result.is_full:
        return ""
    if result.torch is None:
        return "not measured yet"
    value = rounded(result.number, result.torch.value, result.torch.half)
    return value if result.torch.seeds == result.seeds else f"{value} ({result.torch.seeds} of {result.seeds} seeds)"


def rounded(number, value, half):
    """A value and half of its interval, if it has one, with a digit more than was published."""
    digits = max(-Decimal(number.published).as_tuple().exponent, 0) + 1
    return f"{value:.{digits}f}" + (f" ± {half:.{digits}f}" if half == half else "")


def page(by_case):
    """docs/results/references.md as lines."""
    yield from HEAD.splitlines()
    yield from table(by_case)
    yield ""
    yield from (f"- Case {case.case}: {case.note}" for case in CASES.values() if case.note)
    yield from COMMANDS.splitlines()
    for name, case in CASES.items():
        yield f"python -m aejax -m +sweep={sweep_of(name)}   # case {case.case}"
        if case.full:
            yield f"python -m aejax -m +sweep={sweep_of(name)} {case.full}   # on a GPU"
    yield "```"


def sweep_of(name):
    """The choice of the group `sweep` for a case."""
    return f"references/{name}"


HEAD = """# Published results

`python -m benchmarks references write FOLDERS` writes this page from the folders of finished sweeps, and keeps what it
has of earlier ones in `benchmarks/results/references.json`. Published numbers stand beside the mean over seeds ± half
of its 95 % interval (Student's t). The verdict is computed: *reached* where the two differ by no more than both
intervals and the rounding of the published number, otherwise *better* or *worse* by the direction of the metric;
*above* or *below* for a metric without direction. A budget is *shortened* where the sweep has fewer epochs than the
case needs; the command with the full budget stands below. Such a result has a second target, what PyTorch reaches in
the same steps: the same network and initial distribution, data, batches, noise, pretraining, loss, optimizer and
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
