"""What is printed at the terminal: progress, a short table, where the files are."""

import contextlib
import os
import sys
import time
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from aejax.metrics.lookup import better
from aejax.metrics.table import HEADLINES
from aejax.runs.folder import Run

LINES = 10  # log lines of a training where there is no terminal


class Stream:
    """An output whose closed pipe, full disk or narrow character set never ends a run."""

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
            self.stream = open(os.devnull, "w")  # noqa: SIM115


class ConsoleReport:
    """Shows the progress of a training: one bar where there is a terminal, plain lines where there is none."""

    def __init__(self, console=None):
        self.console = console or Console(file=Stream(sys.stdout), highlight=False, soft_wrap=True)

    def data(self, jobs):
        """Prints a line for each data set of the jobs: its examples, their shape and kind, and the likelihoods."""
        likelihoods, datasets = {}, {}
        for job in jobs:
            datasets[id(job.dataset)] = job.dataset
            name = type(job.experiment.likelihood).__name__.lower()
            likelihoods.setdefault(id(job.dataset), {})[name] = None
        for key, dataset in datasets.items():
            summary = dataset.described
            sizes = ", ".join(f"{count:,} {name}" for name, count in summary["examples"].items())
            shape = "x".join(map(str, summary["shape"]))
            kind = (
                summary["kind"]
                + ", drawn at each step" * dataset.dynamic
                + ", standardized" * bool(dataset.standardization)
            )
            self.say(
                f"data {summary['name']}: {sizes} examples of {shape}, kind {kind}, "
                f"likelihood {' or '.join(likelihoods[key])}"
            )

    @contextlib.contextmanager
    def training(self, steps, name, done=0):
        """A function (step, loss, phase) that shows the progress of a training that begins after `done` steps."""
        started = time.perf_counter()

        def rate(step):
            return (step - done) / max(time.perf_counter() - started, 1e-9)

        if self.console.is_terminal:
            with self._bar(name, steps, done) as update:
                yield lambda step, loss, phase: update(
                    step, f"{step}/{steps}  {phase}loss {loss:.5g}  {rate(step):,.0f} steps/s"
                )
            return
        due = [at for part in range(1, LINES + 1) if (at := steps * part // LINES) > done]

        def show_line(step, loss, phase):
            passed = [at for at in due if at <= step]
            if passed:
                del due[: len(passed)]
                left = (steps - step) / max(rate(step), 1e-9)
                speed = f"{rate(step):,.0f} steps/s  {left:.0f} s left"
                self.say(f"{name}: step {step}/{steps}  {phase}loss {loss:.5g}  {speed}")

        yield show_line

    @contextlib.contextmanager
    def _bar(self, name, total, done):
        """A function (completed, status, name) that moves a bar."""
        columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
        columns += [TextColumn("{task.fields[status]}"), TimeRemainingColumn()]
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(name, total=total, completed=done, status="")

            def update(completed, status, name=name):
                progress.update(task, completed=completed, status=status, description=name)

            yield update

    def say(self, text):
        """Prints one line."""
        self.console.print(text, markup=False)

    def result(self, run):
        """Prints a finished Run beside the mean image and PCA, and where its files are."""
        record, metrics = run.record, run.metrics
        diverged = record["status"] == "diverged"
        if diverged:
            last = int(run.history[-1]["step"])
            self.say(f"diverged: the loss was no longer finite by step {last}; a smaller optim.lr may help")
        if "wandb_lost" in record:
            self.say(f"W&B has not all of it ({record['wandb_lost']}); wandb sync {run.path}/wandb uploads the rest")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("", "recon/mse", "psnr dB", "kNN", "silhouette"):
            table.add_column(column, justify="left" if not column else "right")
        separated = [_shown(metrics.get(f"separation/{key}")) for key in ("knn_accuracy", "silhouette")]
        errors = [_shown(metrics.get(f"recon/{key}")) for key in ("mse", "psnr")]
        table.add_row(record["name"], *errors, *separated)
        table.add_row("PCA, as many units", _shown(metrics.get("baseline/pca_mse")))
        table.add_row("mean image", _shown(metrics.get("baseline/mean_mse")))
        self.console.print(table)
        if "recon/exact" in metrics:
            line = f"without a wrong pixel: {metrics['recon/exact']:.1%} of the examples"
            restored = metrics.get("restore/at_most_one_wrong")
            self.say(line if restored is None else f"{line}; restored with at most one: {restored:.1%}")
        if metrics.get("anomaly/auroc") is not None:
            prefixes = {"reconstruction error": "", "-ELBO": "elbo_", "code distance": "code_"}
            aurocs = [(name, metrics.get(f"anomaly/{prefix}auroc")) for name, prefix in prefixes.items()]
            self.say("AUROC by " + ", ".join(f"{name} {value:.3f}" for name, value in aurocs if value is not None))
        if not diverged:  # where it has, the code is not to blame
            for remark in record.get("evaluation", {}).get("remarks", ()):
                self.say(remark)
        self.say(f"{record['seconds']['total']:.1f} s; files in {run.path}")


class SweepReport(ConsoleReport):
    """Shows the progress of a sweep: one bar over all its lanes where there is a terminal, else one line a program."""

    def __init__(self, programs, console=None, first=1, count=None):
        """`programs` are the Layout and the steps of each; the `first` has this number, of `count`."""
        super().__init__(console)
        self.programs, self.first, self.count = programs, first, count or len(programs)
        self.number, self.done = 0, 0  # done: steps times lanes
        self._update = None  # moves the bar, where there is one

    def plan(self, finished):
        """Prints what will be trained, and how many of the jobs were `finished` before."""
        counts = [layout.count for layout, _ in self.programs]
        lanes = str(counts[0]) if len(set(counts)) == 1 else " + ".join(map(str, counts)) or "no"
        how = " or ".join(sorted({layout.how for layout, _ in self.programs if layout.how}))
        devices = _plural(max((layout.devices * layout.data for layout, _ in self.programs), default=0), "device")
        self.say(
            f"{_plural(sum(counts), 'job')} -> {_plural(len(counts), 'program')} of {lanes}"
            f" lane{'' if lanes == '1' else 's'}{f', {how} on {devices}' if how else ''}"
            f"{f'; {finished} finished before' if finished else ''}"
        )

    @contextlib.contextmanager
    def running(self):
        """The context in which a bar is shown, where there is a terminal."""
        if not self.console.is_terminal:
            yield
            return
        with self._bar("", sum(layout.count * steps for layout, steps in self.programs), 0) as self._update:
            yield

    @contextlib.contextmanager
    def group(self):
        """The context in which the next program trains."""
        layout, steps = self.programs[self.number]
        self.number, self.layout = self.number + 1, layout
        place = f"{self.first + self.number - 1}/{self.count}"
        self.name = f"program {place}: {_plural(layout.count, 'lane')} by {layout.how}"
        if self._update:
            self._update(self.done, "compiling", self.name)
        yield
        self.done += layout.count * steps
        if self._update:
            self._update(self.done, "", self.name)

    @contextlib.contextmanager
    def training(self, steps, name, done=0):
        """Like that of ConsoleReport, for all lanes of a program."""
        if self._update:
            yield lambda step, loss, phase: self._update(
                self.done + step * self.layout.count, f"step {step}/{steps}  {phase}mean loss {loss:.5g}", self.name
            )
            return
        started = time.perf_counter()
        yield lambda step, loss, phase: None
        span = f"steps {done} to {steps}" if done else f"{steps} steps"
        devices = _plural(self.layout.devices * self.layout.data, "device")
        self.say(f"{self.name} on {devices}: {span} in {time.perf_counter() - started:.1f} s")

    def summary(self, folder, paths, failed, seconds):
        """Prints counts, the best runs, the `failed` (job, reason) by reason, and how to compare the runs."""
        runs = [Run.read(path) for path in paths]
        counts = Counter(run.record["status"] for run in runs) + Counter({"failed": len(failed)})
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        self.say(f"{statuses} in {seconds:.1f} s; runs in {folder}")
        for name in HEADLINES:
            best = max if better(name) > 0 else min
            scored = [(run.metrics[name], run) for run in runs if run.metrics.get(name) is not None]
            if scored:
                value, run = best(scored, key=lambda pair: pair[0])
                self.say(f"best {name}: {value:.4g}, {run.record['name']} ({run.path})")
        for reason, count in Counter(reason for _, reason in failed).items():
            first = next(job for job, message in failed if message == reason)
            self.say(f"failed, {_plural(count, 'job')}: {reason} ({'first: ' if count > 1 else ''}{first})")
        if paths:
            self.say(f"to compare them: python -m aejax.compare {folder}")


def _plural(number, word):
    return f"{number} {word}{'' if number == 1 else 's'}"


def _shown(value):
    return "-" if value is None else f"{value:.4g}"
