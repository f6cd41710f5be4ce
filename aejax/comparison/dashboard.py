"""Comparisons in W&B: runs are read from there, workspaces and reports are saved there."""

import contextlib
import os

from aejax.base.errors import InputError
from aejax.comparison import formats
from aejax.comparison.fields import Entry
from aejax.comparison.reading import flat
from aejax.compat import wandb_compat
from aejax.metrics.table import is_log
from aejax.runs.contents import ERROR, SCORE

TIMEOUT = 15  # seconds that the server has for an answer
STATES = {"finished": "completed", "crashed": "interrupted", "killed": "interrupted"}  # others keep their name
PICTURES = ("figures/reconstructions", "figures/restored", "figures/codes", "figures/samples")


@contextlib.contextmanager
def asked(option, path):
    """Turns what W&B and its server have to say into one line that begins with the option."""
    os.environ.setdefault("WANDB_SILENT", "true")
    wandb_compat.quiet()
    import requests
    import wandb

    try:
        yield
    except (wandb.Error, requests.RequestException, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise InputError(
            f"--{option} {path}: {reason.rstrip('.')}; must be a project that the W&B server has"
        ) from None


def read(path):
    """The Entries of the runs of `entity/project`; raises InputError."""
    with asked("wandb", path):
        import wandb

        return [_entry(run, path) for run in wandb.Api(timeout=TIMEOUT).runs(path, lazy=False)]


def _entry(run, path):
    settings = {name: value for name, value in run.config.items() if not name.startswith("_")}
    choices = settings.pop("choices", {})
    summary = dict(run.summary)
    metrics = {name: value for name, value in summary.items() if _is_metric(name, value)}
    status = STATES.get(run.state, run.state)
    told = {"choices": choices, "settings": flat(settings), "metrics": metrics if status == "completed" else {}}
    return Entry(f"{path}/{run.id}", run.name, status, id=run.id, sweep=path, **told)


def _is_metric(name, value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not name.startswith(("_", "train/", "valid/"))


def panels(found):
    """The panels of a workspace and of a report, by section."""
    import wandb_workspaces.reports.v2 as wr

    keys = [_config(key, found) for key in found.rows + found.cols]
    scored = [name for name in (ERROR, SCORE, *found.metrics) if name in found.runs.metrics]
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


def _config(key, found):
    """The name of a setting in the configuration that W&B has."""
    return f"choices.{key}" if key in found.runs.groups or key in ("model", "data", "noise") else key


def save_workspace(path, found):
    """Saves a workspace in `entity/project`; its address. Raises InputError."""
    entity, project = path.split("/")
    with asked("wandb-workspace", path):
        import wandb_workspaces.workspaces as ws

        sections = [ws.Section(name=name, panels=made, is_open=True) for name, made in panels(found).items()]
        varying = [key for key in found.rows if key in found.runs.varying][:3] or ["model"]
        grouped = ws.RunsetSettings(groupby=[ws.Config(_config(key, found)) for key in varying])
        saved = ws.Workspace(entity, project, "aejax: comparison", sections=sections, runset_settings=grouped)
        return saved.save().url


def save_report(path, found):
    """Saves a report with the table and the verdicts in `entity/project`; its address. Raises InputError."""
    entity, project = path.split("/")
    with asked("wandb-report", path):
        import wandb_workspaces.reports.v2 as wr

        notes = [*formats.told_runs(found.runs), *found.notes]
        blocks = [
            wr.MarkdownBlock(text=formats.markdown(*found.grid, len(found.rows))),
            wr.P(text=found.caption),
            wr.UnorderedList(items=notes),
        ]
        if found.verdicts:
            blocks += [wr.H2(text="Is it real?"), wr.UnorderedList(items=found.verdicts)]
        runs = wr.Runset(entity=entity, project=project, name="runs")
        blocks += [wr.PanelGrid(runsets=[runs], panels=[each for made in panels(found).values() for each in made])]
        report = wr.Report(project, entity, "aejax: comparison", notes[0], blocks=blocks, width="fluid")
        return report.save().url
