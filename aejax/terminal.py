"""What a person at the terminal sees: progress, a short table, where the files are."""

import contextlib
import os
import sys
import time
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from aejax.runs import Run

LINES = 10  # log lines of a training where there is no terminal


class Stream:
    """An output that a closed pipe, a full disk or a narrow character set never turns into the end of a run."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        """Writes the text with what cannot be encoded replaced, or gives the stream up."""
        encoding = self.stream.encoding or "utf-8"
        self._attempt(lambda: self.stream.write(text.encode(encoding, "replace").decode(encoding)))

    def flush(self):
        """Flushes, or gives the stream up."""
        self._attempt(self.stream.flush)

    def _attempt(self, action):
        try:
            action()
        except (OSError, ValueError):
            self.stream = sys.stdout = open(os.devnull, "w")  # noqa: SIM115, also for Python's own flush at exit


class Report:
    """Shows how a training goes on: one bar where there is a terminal, plain lines where there is none."""

    def __init__(self, console=None):
        self.console = console or Console(file=Stream(sys.stdout), highlight=False, soft_wrap=True)

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

    def result(self, run):
        """The table of a finished Run against the mean image and PCA, and where its files are."""
        record, metrics = run.record, run.metrics
        if record["status"] == "diverged":
            last = int(run.history[-1]["step"])
            self.say(f"diverged: the loss was no longer finite by step {last}; kept what was before")
        if "wandb_lost" in record:
            self.say(f"W&B has not all of it ({record['wandb_lost']}); wandb sync {run.path}/wandb uploads the rest")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("", "recon/mse", "psnr dB", "kNN", "silhouette"):
            table.add_column(column, justify="left" if not column else "right")
        separated = [_shown(metrics.get(f"separation/{key}")) for key in ("knn_accuracy", "silhouette")]
        table.add_row(record["name"], _shown(metrics["recon/mse"]), _shown(metrics["recon/psnr"]), *separated)
        table.add_row("PCA, as many units", _shown(metrics["floor/pca_mse"]))
        table.add_row("mean image", _shown(metrics["floor/mean_mse"]))
        self.console.print(table)
        if "recon/exact" in metrics:
            told = f"without a wrong pixel: {metrics['recon/exact']:.1%} of the examples"
            restored = metrics.get("restore/at_most_one_wrong")
            self.say(told if restored is None else f"{told}; restored with at most one: {restored:.1%}")
        self.say(f"{record['seconds']['total']:.1f} s; files in {run.path}")


class SweepReport(Report):
    """Shows how a sweep goes on: one bar where there is a terminal, one line a group where there is none."""

    def __init__(self, jobs, groups, console=None):
        super().__init__(console)
        self.jobs, self.groups, self.done = jobs, groups, 0

    def plan(self, groups, devices):
        """What will be trained: lists of jobs that share a program."""
        sizes = " + ".join(str(len(group)) for group in groups)
        self.say(f"{self.jobs} jobs -> {self.groups} programs of {sizes or 'no'} lanes on {_plural(devices, 'device')}")

    def group(self, jobs, layout):
        """A group begins."""
        self.done += 1
        lanes = _plural(layout.count, "lane")
        self.name = f"program {self.done}/{self.groups}: {lanes} by {layout.how} on {_plural(layout.devices, 'device')}"

    @contextlib.contextmanager
    def training(self, steps, name):
        """As Report's, for all lanes of a group."""
        if self.console.is_terminal:
            with super().training(steps, self.name) as show:
                yield show
        else:
            started = time.perf_counter()
            yield lambda step, loss: None
            self.say(f"{self.name}: {steps} steps in {time.perf_counter() - started:.1f} s")

    def summary(self, folder, runs, failed, seconds):
        """Counts, the best runs, every failure with its reason, and where to go on."""
        read = [Run.read(path) for path in runs]
        counts = Counter(run.record["status"] for run in read) + Counter({"failed": len(failed)})
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        self.say(f"{told} in {seconds:.1f} s; runs in {folder}")
        for name, best in (("recon/mse", min), ("separation/knn_accuracy", max)):
            scored = [(run.metrics[name], run) for run in read if run.metrics.get(name) is not None]
            if scored:
                value, run = best(scored, key=lambda pair: pair[0])
                self.say(f"best {name}: {value:.4g}, {run.record['name']} ({run.path})")
        for reason, count in Counter(reason for _, reason in failed).items():
            first = next(words for words, each in failed if each == reason)
            self.say(f"failed, {_plural(count, 'job')}: {reason} ({'first: ' if count > 1 else ''}{first})")


def _plural(number, word):
    return f"{number} {word}{'' if number == 1 else 's'}"


def _shown(value):
    return "-" if value is None else f"{value:.4g}"
