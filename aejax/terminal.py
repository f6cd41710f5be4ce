"""What a person at the terminal sees: progress, a short table, where the files are."""

import contextlib
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

LINES = 10  # log lines of a training where there is no terminal


class Report:
    """Shows how a training goes on: one bar where there is a terminal, plain lines where there is none."""

    def __init__(self, console=None):
        self.console = console or Console(highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def training(self, steps, name):
        """A function (step, loss) that shows how far a training of `steps` steps has come."""
        started = time.perf_counter()

        def rate(step):
            return step / max(time.perf_counter() - started, 1e-9)

        if not self.console.is_terminal:
            due = [steps * part // LINES for part in range(1, LINES + 1)]

            def show_line(step, loss):
                passed = [at for at in due if at <= step]
                if passed:
                    del due[: len(passed)]
                    left = (steps - step) / max(rate(step), 1e-9)
                    speed = f"{rate(step):,.0f} steps/s  {left:.0f} s left"
                    self.say(f"{name}: step {step}/{steps}  loss {loss:.5g}  {speed}")

            yield show_line
            return
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.5g}  {task.fields[rate]:,.0f} steps/s"),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(name, total=steps, loss=float("nan"), rate=0.0)
            yield lambda step, loss: progress.update(task, completed=step, loss=loss, rate=rate(step))

    def say(self, text):
        """One line."""
        self.console.print(text, markup=False)

    def results(self, name, metrics, path, seconds):
        """The table of a finished run against the mean image and PCA, and where its files are."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("", "recon/mse", "psnr dB", "kNN", "silhouette"):
            table.add_column(column, justify="left" if not column else "right")
        separated = [_shown(metrics.get(f"separation/{key}")) for key in ("knn_accuracy", "silhouette")]
        table.add_row(name, _shown(metrics["recon/mse"]), _shown(metrics["recon/psnr"]), *separated)
        table.add_row("PCA, as many units", _shown(metrics["floor/pca_mse"]))
        table.add_row("mean image", _shown(metrics["floor/mean_mse"]))
        self.console.print(table)
        if "recon/exact" in metrics:
            self.say(
                f"without a wrong pixel: {metrics['recon/exact']:.1%} of the examples"
                + (
                    f"; restored with at most one: {metrics['restore/at_most_one_wrong']:.1%}"
                    if "restore/at_most_one_wrong" in metrics
                    else ""
                )
            )
        self.say(f"{seconds:.1f} s; files in {path}")


def _shown(value):
    return "-" if value is None else f"{value:.4g}"
