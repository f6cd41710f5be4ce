"""Compares runs: means over seeds with intervals, which differences are real, tables, charts and dashboards."""

import importlib.util
import re
import sys
from pathlib import Path

from rich.console import Console

from aejax.base.errors import InputError
from aejax.base.files import write_whole
from aejax.cli.parsing import Parser, reported
from aejax.comparison import formats
from aejax.comparison.comparison import Comparison, is_condition, say
from aejax.runs.console import Stream

TEXTS = ("csv", "json", "latex", "markdown")
NOT_GIVEN, PRINTED = None, "-"


def build_parser():
    """The parser of the command line."""
    parser = Parser(prog="python -m aejax.compare", description=__doc__)
    parser.set_defaults(argv=None)  # words of the command line; None: those of the process
    parser.add_argument(
        "words", nargs="*", metavar="DIR|CONDITION", help="folders, and conditions such as latent_dim<=8"
    )
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="columns, such as recon/mse or 'robust/*/0.3/mse'")
    parser.add_argument("--rows", nargs="+", metavar="KEY", help="settings that make a row (default: all that vary)")
    parser.add_argument("--cols", nargs="+", metavar="KEY", default=[], help="settings spread over columns")
    parser.add_argument(
        "--where",
        "--filter",
        nargs="+",
        metavar="CONDITION",
        default=[],
        help="conditions, such as model=vae,ae seed<4",
    )
    parser.add_argument("--sort", metavar="COLUMN", help="sort by a column; --sort=-COLUMN puts the largest first")
    parser.add_argument("--iqm", action="store_true", help="show interquartile means")
    parser.add_argument(
        "--compare",
        nargs="+",
        metavar="KEY",
        help="settings whose values are compared in pairs (default: those that make a model)",
    )
    for name in TEXTS:
        parser.add_argument(
            f"--{name}", nargs="?", const=PRINTED, metavar="FILE", help="write this format to FILE, or print it"
        )
    parser.add_argument("--parquet", metavar="FILE", help="write a Parquet file")
    parser.add_argument(
        "--report",
        "--html",
        nargs="?",
        const="report.html",
        metavar="FILE",
        help="write one page with tables and charts",
    )
    parser.add_argument(
        "--watch", nargs="?", const=2.0, type=float, metavar="SECONDS", help="redraw the table while a sweep runs"
    )
    parser.add_argument(
        "--serve", nargs="?", const=8050, type=int, metavar="PORT", help="serve the report on 127.0.0.1"
    )
    parser.add_argument("--wandb", nargs="+", default=[], metavar="ENTITY/PROJECT", help="also read runs from W&B")
    parser.add_argument("--wandb-workspace", metavar="ENTITY/PROJECT", help="save a workspace of these runs")
    parser.add_argument("--wandb-report", metavar="ENTITY/PROJECT", help="save a report with the table")
    return parser


def check(options):
    """Raises InputError where an output cannot be written or a package is missing, before anything is read."""
    for option in (*TEXTS, "parquet", "report"):
        path = getattr(options, option)
        if path is NOT_GIVEN or path == PRINTED:
            continue
        if is_condition(path) and not re.search(r"\.[A-Za-z]\w*$", path):  # a file name has an ending
            raise InputError(f"--{option} {path}: is a condition, not a file; put conditions before the options")
        if Path(path).is_dir():
            raise InputError(f"--{option} {path}: is a folder, not a file; put folders of runs before the options")
        if not Path(path).absolute().parent.is_dir():
            raise InputError(f"--{option} {path}: the folder {Path(path).parent} does not exist")
    if sum(getattr(options, option) == PRINTED for option in TEXTS) > 1:
        raise InputError("compare: more than one format would be printed; give all but one a file name")
    for option in ("wandb", "wandb_workspace", "wandb_report"):
        paths = getattr(options, option) or []
        for path in [paths] if isinstance(paths, str) else paths:
            if not re.fullmatch("[^/]+/[^/]+", path):
                raise InputError(f"--{option.replace('_', '-')} {path}: must be entity/project")
    needs = [(option, module, "report") for option in ("report", "serve") for module in ("vl_convert", "jinja2")]
    needs += [(option, "wandb_workspaces", "wandb") for option in ("wandb_workspace", "wandb_report")]
    for option, module, extra in needs:
        if getattr(options, option) is not NOT_GIVEN and importlib.util.find_spec(module) is None:
            raise InputError(f"--{option.replace('_', '-')}: requires more packages: pip install 'aejax[{extra}]'")


def main(words=None):
    """The command; exit status 0, or 2 for a wrong input."""
    options = build_parser().parse_intermixed_args(words)
    options.argv = words
    with reported("compare"):
        check(options)
        run(options)


def run(options):
    """Prints, serves and writes what the options ask for; raises InputError."""
    console = Console(file=Stream(sys.stdout), highlight=False)
    if options.watch is not None or options.serve is not None:
        from aejax.comparison import live

        return live.serve(options, console) if options.serve is not None else live.watch(options, console)
    comparison = Comparison.of(options)
    printed = next((form for form in TEXTS if getattr(options, form) == PRINTED), None)
    if printed:
        sys.stdout.write(comparison.text(printed))
        if printed != "json":
            say(Console(stderr=True), formats.status_lines(comparison.runs)[1:] + comparison.notes)
    else:
        comparison.show(console)
    say(console if not printed else Console(stderr=True), written(options, comparison))
    return None


def _write(path, content):
    """Writes a file whole, following links; writes into a pipe or a device instead of replacing it."""
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    else:
        write_whole(path, content)


def written(options, comparison):
    """Writes the requested files; returns a line for each."""
    lines = []
    for form in TEXTS:
        if getattr(options, form) not in (NOT_GIVEN, PRINTED):
            _write(getattr(options, form), comparison.text(form))
            lines.append(f"{form}: {getattr(options, form)}")
    if options.parquet:
        _write(options.parquet, formats.tidy(comparison.table).to_parquet(index=False))
        lines.append(f"parquet: {options.parquet}")
    if options.report:
        from aejax.comparison import report

        _write(options.report, report.page(comparison, Path(options.report).absolute().parent))
        lines.append(f"report: {options.report}")
    if options.wandb_workspace or options.wandb_report:
        from aejax.comparison import dashboard

        if options.wandb_workspace:
            lines.append(f"W&B workspace: {dashboard.save_workspace(options.wandb_workspace, comparison)}")
        if options.wandb_report:
            lines.append(f"W&B report: {dashboard.save_report(options.wandb_report, comparison)}")
    return lines
