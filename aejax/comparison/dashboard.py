"""Comparisons in W&B: reads runs, saves workspaces and reports."""

import contextlib
import os

from aejax.base.errors import InputError
from aejax.comparison import formats
from aejax.comparison.fields import Entry
from aejax.comparison.reading import flat
from aejax.compat import wandb_compat
from aejax.metrics.lookup import is_log
from aejax.runs.contents import ERROR, SCORE

TIMEOUT = 15  # seconds to wait for the server's answer
STATES = {"finished": "completed", "crashed": "interrupted", "killed": "interrupted"}  # others keep their name
PICTURES = ("figures/reconstructions", "figures/restored", "figures/codes", "figures/samples")


@contextlib.contextmanager
def server_errors(option, path):
    """Turns errors of W&B and its server into an InputError of one line, which begins with the option."""
    os.environ.setdefault("WANDB_SILENT", "true")
    wandb_compat.quiet()
    import requests
    import wandb

    try:
        yield
    except (wandb.Error, requests.RequestException, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise InputError(f"--{option} {path}: {reason.rstrip('.')}; name a project on the W&B server") from None


def read(path):
    """The Entries of the runs in the project `entity/project`; raises InputError."""
    with server_errors("wandb", path):
        import wandb

        return [_entry(run, path) for run in wandb.Api(timeout=TIMEOUT).runs(path, lazy=False)]


def _entry(run, path):
    settings = {name: value for name, value in run.config.items() if not name.startswith("_")}
    choices = settings.pop("choices", {})
    summary = dict(run.summary)
    metrics = {name: value for name, value in summary.items() if _is_metric(name, value)}
    status = STATES.get(run.state, run.state)
    fields = {"choices": choices, "settings": flat(settings), "metrics": metrics if status == "completed" else {}}
    return Entry(f"{path}/{run.id}", run.name, status, id=run.id, sweep=path, **fields)


def _is_metric(name, value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not name.startswith(("_", "train/", "valid/"))


def panels(comparison):
    """The panels of a workspace or a report: {section: panels}."""
    import wandb_workspaces.reports.v2 as wr

    keys = [_config(key, comparison) for key in comparison.rows + comparison.cols]
    scored = [name for name in (ERROR, SCORE, *comparison.metrics) if name in comparison.runs.metrics]
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key), key) for key in keys]
    columns += [
        wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(name), name, log=is_log(name))
        for name in dict.fromkeys(scored)
    ]
    tradeoff = wr.ScatterPlot(
        title="Reconstruction against separation", x=wr.SummaryMetric(ERROR), y=wr.SummaryMetric(SCORE), log_x=True
    )
    together = {"groupby": wr.Config(keys[0]), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    lines = [
        wr.LinePlot(title=f"{name} by {keys[0]}", x="Step", y=[name], log_y=True, **together)
        for name in ("valid/mse", "train/loss")
    ]
    media = wr.MediaBrowser(title="Pictures", media_keys=list(PICTURES), num_columns=2)
    codes = wr.WeavePanelSummaryTable(table_name="codes")
    return {
        "Comparison": [tradeoff, wr.ParallelCoordinatesPlot(title="Settings and results", columns=columns)],
        "Curves": lines,
        "Pictures": [media, codes],
        "Settings": [wr.RunComparer(diff_only=True)],
    }


def _config(key, comparison):
    """The name of a setting in the configuration that W&B stores."""
    return f"choices.{key}" if key in comparison.runs.groups or key in ("model", "data", "noise") else key


def save_workspace(path, comparison):
    """Saves a workspace in `entity/project` and returns its URL; raises InputError."""
    entity, project = path.split("/")
    with server_errors("wandb-workspace", path):
        import wandb_workspaces.workspaces as ws

        sections = [
            ws.Section(name=name, panels=section_panels, is_open=True)
            for name, section_panels in panels(comparison).items()
        ]
        varying = [key for key in comparison.rows if key in comparison.runs.varying][:3] or ["model"]
        grouped = ws.RunsetSettings(groupby=[ws.Config(_config(key, comparison)) for key in varying])
        saved = ws.Workspace(entity, project, "aejax: comparison", sections=sections, runset_settings=grouped)
        return saved.save().url


def save_report(path, comparison):
    """Saves a report with the table and the verdicts in `entity/project` and returns its URL; raises InputError."""
    entity, project = path.split("/")
    with server_errors("wandb-report", path):
        import wandb_workspaces.reports.v2 as wr

        notes = [*formats.status_lines(comparison.runs), *comparison.notes]
        blocks = [
            wr.MarkdownBlock(text=formats.markdown(*comparison.grid, len(comparison.rows))),
            wr.P(text=comparison.caption),
            wr.UnorderedList(items=notes),
        ]
        if comparison.verdicts:
            blocks += [wr.H2(text="Is it real?"), wr.UnorderedList(items=comparison.verdicts)]
        runs = wr.Runset(entity=entity, project=project, name="runs")
        blocks += [
            wr.PanelGrid(
                runsets=[runs],
                panels=[panel for section_panels in panels(comparison).values() for panel in section_panels],
            )
        ]
        report = wr.Report(project, entity, "aejax: comparison", notes[0], blocks=blocks, width="fluid")
        return report.save().url
