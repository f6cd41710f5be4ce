"""python -m benchmarks NAME...: measures, and records what was measured with the machine and the versions."""

import argparse
import ast
import sys
from pathlib import Path

from aejax.base.errors import InputError, near
from aejax.cli.parsing import Parser, reported
from benchmarks import page, record, references

FOLDER = Path(__file__).parent
NAMES = ("train", "lanes", "sweep", "start", "evaluate", "compare", "data", "memory")
ALL, WRITE = "all", "write"
REFERENCES = "references"  # has words of its own


def main(words=None):
    """The command: the exit status is 2 for a wrong name, 1 if a benchmark failed."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == [REFERENCES]:
        return references.main(words[1:])
    parser = Parser("python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = f"{', '.join(NAMES)}; {ALL}; {WRITE}: {page.LINE}; {REFERENCES}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--quick", action="store_true", help="whether it runs: small, no result, apart from those")
    parser.add_argument("--out", type=Path, help="the folder of the JSON files, by default benchmarks/results/")
    parser.add_argument("--originals", type=Path, help="the folder of the original files of MNIST, for data")
    parser.add_argument("--page", type=Path, help=f"what {WRITE} writes")
    asked = parser.parse_intermixed_args(words)
    out = asked.out or FOLDER / "results" / ("quick" if asked.quick else "")
    target = asked.page or (out / page.PAGE.name if asked.quick else page.PAGE)
    with reported(out):
        names = chosen(asked.names)
        if not asked.names:
            lines = [f"{name:<12}{line(name)}" for name in (*NAMES, REFERENCES)]
            print(*lines, f"{WRITE:<12}{page.LINE}", sep="\n")
        options = ["--quick"] * asked.quick + ["--originals FOLDER"] * (asked.originals is not None)
        command = " ".join(["python -m benchmarks", *asked.names, *options])
        given = {"data": {"originals": asked.originals}}
        failed = [name for name in names if not record.measured(name, command, asked.quick, out, **given.get(name, {}))]
        if WRITE in asked.names:
            text = page.text(record.read(out, NAMES))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return int(bool(failed))


def chosen(words):
    """The names of the benchmarks that these words ask for, in their order."""
    for word in words:
        if word == REFERENCES:
            raise InputError(f"{word} comes first and alone: python -m benchmarks {word} ...")
        if word not in (*NAMES, ALL, WRITE):
            raise InputError(f"{word}: no such benchmark; {near(word, (*NAMES, ALL, WRITE))}")
    return [name for name in NAMES if name in words or ALL in words]


def line(name):
    """The first line of a benchmark's docstring; the module is not imported."""
    return ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))).splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
