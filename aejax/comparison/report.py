"""report.html: the whole comparison in one self-contained file that needs no network."""

import contextlib
import functools
from importlib import metadata, resources

import jinja2
import numpy as np
import platformdirs
import vl_convert

from aejax.base.files import write_whole
from aejax.comparison import about, charts, details, formats, sections

PAIRS = 500  # pairs, and sentences about them, at most
ASSETS = resources.files("aejax.comparison") / "assets"


def page(comparison, folder):
    """The HTML page of a Comparison; links to runs are relative to `folder`."""
    content, parts, damage = payload(comparison, folder)
    title, *casualties = formats.status_lines(comparison.runs)
    template = _templates().get_template("page.html.jinja")
    return template.render(
        title=title,
        style=(ASSETS / "page.css").read_text(),
        script=(ASSETS / "page.js").read_text(),
        library=library().replace("</script", r"<\/script"),
        content=content,
        about=[*_common(comparison), *about.lines(comparison.runs, comparison.words)],
        caption=comparison.caption,
        notes=[*casualties, *damage, *comparison.notes],
        groups=(*comparison.grid, len(comparison.rows)),
        verdicts=_first(comparison.verdicts, "sentences"),
        pairs=(*formats.pair_cells(comparison.pairs[:PAIRS]), 4) if len(comparison.pairs) else None,
        sections=parts,
        runs=(*details.cells(comparison.runs), 2, [run["id"] for run in content["runs"]]),
    )


def payload(comparison, folder):
    """The data for the page's script, the Sections of charts, and a line for each run with damaged codes."""
    runs = comparison.runs
    varying = [key for key in runs.settings if len({repr(entry.settings.get(key)) for entry in runs.entries}) > 1]
    left, parts = details.left(runs.entries), sections.of_runs(runs)
    content = {
        "runs": details.of_runs(runs, left, varying, folder),
        "charts": [{"name": figure.name, "spec": figure.spec} for part in parts for figure in part.figures],
        "codes": charts.codes(),
        "classes": charts.class_colors(details.classes(left)),
        "common": len(runs.settings) - len(varying),
    }
    return content, parts, details.damage(runs.entries, left)


@functools.cache
def _templates():
    """The templates of the page; they escape all values."""
    loader = jinja2.PackageLoader("aejax.comparison", "assets")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {
        "separators": (",", ":"),
        "ensure_ascii": False,
        "allow_nan": False,
        "default": np.generic.item,  # older pandas leave numpy's integers as keys of groups
    }
    return environment


@functools.cache
def library():
    """Vega, Vega-Lite and Vega-Embed as one script; bundling takes seconds, so the user's cache keeps it."""
    name = f"vega-{metadata.version('vl-convert-python')}.js"
    path = platformdirs.user_cache_path("aejax") / name
    with contextlib.suppress(OSError):
        return path.read_text()
    script = vl_convert.javascript_bundle()
    with contextlib.suppress(OSError):  # in a read-only home every report is bundled again
        write_whole(path, script)
    return script


def _common(comparison):
    return [("In all runs", text.partition(": ")[2]) for text in comparison.common]


def _first(lines, kind):
    """The first PAIRS lines, and a line with the number of the rest."""
    rest = [f"and {len(lines) - PAIRS} more {kind} and pairs: --json"] if len(lines) > PAIRS else []
    return [*lines[:PAIRS], *rest]
