"""Compares runs: means over seeds with intervals, which differences are real, tables, charts and dashboards."""

import importlib.util
import re
import sys
from pathlib import Path

from rich.console import Console

from aejax.base.errors import InputError
from aejax.base.files import write_whole
from aejax.cli.parsing import Parser, fail
from aejax.comparison import formats
from aejax.comparison.comparison import Comparison, is_condition, say
from aejax.runs.console import Stream

TEXTS = ("csv", "json", "latex", "markdown")
NOT_GIVEN, PRINTED = None, "-"


def parser():
    """The options."""
    made = Parser(prog="python -m aejax.compare", description=__doc__)
    made.set_defaults(argv=None)  # the words of the command, those of the process where they are not given
    made.add_argument("words", nargs="*", metavar="DIR|CONDITION", help="folders, and conditions such as latent_dim<=8")
    made.add_argument("--metrics", nargs="+", metavar="NAME", help="columns, such as recon/mse or 'robust/*/0.3/mse'")
    made.add_argument("--rows", nargs="+", metavar="KEY", help="settings that make a row (default: all that vary)")
    made.add_argument("--cols", nargs="+", metavar="KEY", default=[], help="settings spread over columns")
    made.add_argument(
        "--where",
        "--filter",
        nargs="+",
        metavar="CONDITION",
        default=[],
        help="conditions, such as model=vae,ae seed<4",
    )
    made.add_argument("--sort", metavar="COLUMN", help="sort by a column; --sort=-COLUMN puts the largest first")
    made.add_argument("--iqm", action="store_true", help="show interquartile means")
    made.add_argument(
        "--compare",
        nargs="+",
        metavar="KEY",
        help="settings whose values are compared in pairs (default: those that make a model)",
    )
    for name in TEXTS:
        made.add_argument(
            f"--{name}", nargs="?", const=PRINTED, metavar="FILE", help="write this format to FILE, or print it"
        )
    made.add_argument("--parquet", metavar="FILE", help="write a Parquet file")
    made.add_argument(
        "--report",
        "--html",
        nargs="?",
        const="report.html",
        metavar="FILE",
        help="write one page with tables and charts",
    )
    made.add_argument(
        "--watch", nargs="?", const=2.0, type=float, metavar="SECONDS", help="redraw the table while a sweep runs"
    )
    made.add_argument("--serve", nargs="?", const=8050, type=int, metavar="PORT", help="serve the report on 127.0.0.1")
    made.add_argument("--wandb", nargs="+", default=[], metavar="ENTITY/PROJECT", help="also read runs from W&B")
    made.add_argument("--wandb-workspace", metavar="ENTITY/PROJECT", help="save a workspace of these runs")
    made.add_argument("--wandb-report", metavar="ENTITY/PROJECT", help="save a report with the table")
    return made


def check(given):
    """Raises InputError where an output cannot be what it is asked to be, before anything is read."""
    for option in (*TEXTS, "parquet", "report"):
        path = getattr(given, option)
        if path is NOT_GIVEN or path == PRINTED:
            continue
        if is_condition(path) and not re.search(r"\.[A-Za-z]\w*$", path):  # a file has an ending
            raise InputError(f"--{option} {path}: reads as a condition; conditions stand before options")
        if Path(path).is_dir():
            raise InputError(
                f"--{option} {path}: is a folder; must be a file, and folders of runs stand before options"
            )
        if not Path(path).absolute().parent.is_dir():
            raise InputError(f"--{option} {path}: there is no folder {Path(path).parent}")
    if sum(getattr(given, option) == PRINTED for option in TEXTS) > 1:
        raise InputError("compare: more than one format would be printed; give all but one a file name")
    for option in ("wandb", "wandb_workspace", "wandb_report"):
        paths = getattr(given, option) or []
        for path in [paths] if isinstance(paths, str) else paths:
            if not re.fullmatch("[^/]+/[^/]+", path):
                raise InputError(f"--{option.replace('_', '-')} {path}: must be entity/project")
    needs = [(option, module, "report") for option in ("report", "serve") for module in ("vl_convert", "jinja2")]
    needs += [(option, "wandb_workspaces", "wandb") for option in ("wandb_workspace", "wandb_report")]
    for option, module, extra in needs:
        if getattr(given, option) is not NOT_GIVEN and importlib.util.find_spec(module) is None:
            raise InputError(f"--{option.replace('_', '-')}: requires more packages: pip install 'aejax[{extra}]'")


def main(words=None):
    """The command; exit status 0, 2 for a wrong input."""
    given = parser().parse_intermixed_args(words)
    given.argv = words
    try:
        check(given)
        run(given)
    except InputError as error:
        fail(error)
    except OSError as error:
        fail(f"{error.filename or 'compare'}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(given):
    """Does what the options ask for; raises InputError."""
    console = Console(file=Stream(sys.stdout), highlight=False)
    if given.watch is not None or given.serve is not None:
        from aejax.comparison import live

        return live.serve(given, console) if given.serve is not None else live.watch(given, console)
    found = Comparison.of(given)
    printed = next((form for form in TEXTS if getattr(given, form) == PRINTED), None)
    if printed:
        sys.stdout.write(found.text(printed))
        if printed != "json":
            say(Console(stderr=True), formats.told_runs(found.runs)[1:] + found.notes)
    else:
        found.show(console)
    say(console if not printed else Console(stderr=True), written(given, found))
    return None


def _leave(path, content):
    """Writes a file whole, also where a link leads; a pipe or a device stays what it is."""
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    else:
        write_whole(path, content)


def written(given, found):
    """Writes the files that are asked for; the lines that tell of them."""
    lines = []
    for form in TEXTS:
        if getattr(given, form) not in (NOT_GIVEN, PRINTED):
            _leave(getattr(given, form), found.text(form))
            lines.append(f"{form}: {getattr(given, form)}")
    if given.parquet:
        _leave(given.parquet, formats.tidy(found.table).to_parquet(index=False))
        lines.append(f"parquet: {given.parquet}")
    if given.report:
        from aejax.comparison import report

        _leave(given.report, report.page(found, Path(given.report).absolute().parent))
        lines.append(f"report: {given.report}")
    if given.wandb_workspace or given.wandb_report:
        from aejax.comparison import dashboard

        if given.wandb_workspace:
            lines.append(f"W&B workspace: {dashboard.save_workspace(given.wandb_workspace, found)}")
        if given.wandb_report:
            lines.append(f"W&B report: {dashboard.save_report(given.wandb_report, found)}")
    return lines
