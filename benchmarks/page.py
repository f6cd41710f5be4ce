"""docs/results/speed.md, from the records of the benchmarks."""

from pathlib import Path

from benchmarks.rows import Row

PAGE = Path(__file__).parents[1] / "docs" / "results" / "speed.md"
LINE = "Writes docs/results/speed.md from the JSON files."
COLUMNS = ("case", "against", "aejax", "other", "unit", "ratio (min to max)", "target", "reached", "note")
HEAD = """# Speed

Written by `python -m benchmarks write` from the records that `python -m benchmarks NAME` leaves in `benchmarks/results/`; do
not edit it. The sides of a row take turns. A ratio is the median over the rounds, with the smallest and the largest; above 1
aejax is faster, except where the target is an upper bound (≤): there it is aejax's time over the other. Beside a limit it is
the share that aejax reaches. Machines differ, so trust ratios more than seconds.
"""  # noqa: E501
QUICK = "**This is the output of a quick run, which only shows that the benchmark works. Its numbers are no results.**"


def text(records):
    """The page."""
    return "\n".join([HEAD, *(section(record) for record in records)])


def section(record):
    """The part of one benchmark: where it was measured, and its table."""
    machine, versions = record["machine"], record["versions"]
    products, memories = (
        " and ".join(f"{machine['rates'][when][what] / 1e9:,.0f}" for when in ("before", "after"))
        for what in ("product", "memory")
    )
    lines = [f"## {record['name']}", ""]
    if record["quick"]:
        lines += [QUICK, ""]
    lines += [
        f"`{record['command']}`, {record['date']}: {machine['cores']} cores ({machine['kind']}), load before and after "
        f"{machine['load']['before']:.1f} and {machine['load']['after']:.1f}, matrix product {products} GFLOP/s, "
        f"memory {memories} GB/s. "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- " * len(COLUMNS) + "|",
        *(f"| {' | '.join(cells(Row.read(row)))} |" for row in record["rows"]),
        "",
    ]
    return "\n".join(lines)


def cells(row):
    """The cells of a row."""
    ratio = (
        "" if row.ratio is None else f"{number(row.ratio.median)} ({number(row.ratio.low)} to {number(row.ratio.high)})"
    )
    target = "" if row.target is None else f"{'≤' if row.at_most else '≥'} {row.target:g}"
    reached = {None: "", True: "yes", False: "no"}[row.reached]
    texts = (row.case, row.against, number(row.ours), number(row.other), row.unit, ratio, target, reached, row.note)
    return [text.replace("|", "/").replace("\n", " ") for text in texts]


def number(value):
    """A number with three digits, or all those before the point; nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
