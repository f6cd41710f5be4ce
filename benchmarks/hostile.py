"""Runs that are damaged, or made to harm who loads them: each is loaded and used, or refused in one line.

    python -m benchmarks.hostile              10,000 cases, some 30 minutes on one core
    python -m benchmarks.hostile 200 --seed 1
    python -m benchmarks.hostile 2500 --first 7500
    python -m benchmarks.hostile --case 4711  one case: what was changed, and what came of it

Finished runs are packed by `aejax.share`'s own functions, changed, and loaded by another process, as an archive or as a
folder. A case fails where that process dies, raises anything but InputError, takes more than 10 s of a core or 1 GB, or
where a file appears outside of the folder of the case.
"""

import argparse
import collections
import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from benchmarks.mutations import made

SECONDS, MEMORY = 10, 2**30
WAITING = 120  # seconds by the clock, on a machine that does other work too
FRESH = 250  # cases that a process loads before the next one begins
COMMON = ["steps=20", "log_points=1", "figures=false", "track=off", "evaluate.groups=[reconstruction]", "latent_dim=3"]
RUNS = {
    "vae": ["model=vae", "data=letters", "net.widths=[8]"],
    "conv": ["model=conv_ae", "data=letters", "net.widths=[4]"],
    "cvae": ["model=cvae", "prior=mixture", "data=letters", "net.widths=[6,5]"],
}
LOADED, REFUSED = "loaded", "refused"


def work():
    """Loads each path that comes in, and says in a line what came of it."""
    import aejax

    used(aejax, "nothing")  # imports, which do not count
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            outcome = used(aejax, line.rstrip("\n"))
        except BaseException:
            outcome = traceback.format_exc(limit=-6)
        print(json.dumps(outcome), flush=True)


def used(aejax, path):
    """LOADED where all of a run can be used, REFUSED and the line where it is not; raises anything else."""
    from aejax.base.errors import InputError

    try:
        run = aejax.load(path, force=True)
        label = 0 if run.experiment.model.is_conditional else None
        z = run.encode(np.zeros(run.experiment.form.shape), label=label)
        x = run.decode(z if np.isfinite(z).all() else np.zeros(z.shape), label=label)
        assert z.shape == (run.latent_dim,) and x.shape == run.experiment.form.shape
        for name in ("metrics", "codes", "history", "choices", "title", "figures"):
            with contextlib.suppress(FileNotFoundError):
                getattr(run.run, name)
        assert run.threshold is None or isinstance(run.threshold, int | float)
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) < 2000, str(error)[:3000]
        return f"{REFUSED}: {error}"
    return LOADED


class Worker:
    """A process that loads cases, and how much memory it takes; it starts again when it has died."""

    def __init__(self, place):
        self.place, self.process, self.loads = place, None, 0
        (place / "here").mkdir()
        self.cache = place / "cache"

    def load(self, path):
        """What came of a case: a line, the seconds of a core, the most bytes in use."""
        if self.process is None or self.loads >= FRESH:
            self._start()
        self.loads += 1
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # begins to measure the most anew
        begin, before, most = time.monotonic(), self._seconds(), 0
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        while not select.select([self.process.stdout], [], [], 0.02)[0]:
            seconds, most = self._seconds() - before, self._most()
            if seconds > SECONDS or most > MEMORY or time.monotonic() - begin > WAITING:
                self.stop()
                return "takes too long, or too much memory", max(seconds, 0.0), most
        line = self.process.stdout.readline()
        if line:
            return json.loads(line), self._seconds() - before, self._most()
        code = self.process.wait()
        self.stop()
        return f"the process ended with status {code}", 0.0, most

    def stop(self):
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None

    def _start(self):
        self.stop()
        root = str(Path(__file__).parents[1])
        environment = os.environ | {
            "PYTHONPATH": root,
            "HOME": str(self.place / "here"),
            "TMPDIR": str(self.place / "here"),
        }
        environment |= {"XDG_CACHE_HOME": str(self.cache)}
        words = [sys.executable, "-P", "-m", "benchmarks.hostile", "--work"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(words, cwd=self.place / "here", env=environment, **pipes)
        assert self.process.stdout.readline() == "ready\n"
        self.loads = 0

    def _seconds(self):
        """The time that its threads have spent on cores, whatever else the machine does."""
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def _most(self):
        with contextlib.suppress(OSError):
            match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
            return int(match[1]) * 1024 if match else 0
        return 0


def trained(folder):
    """The shared files of all RUNS, each {name: bytes}; those that `folder` lacks are trained there."""
    from aejax.runs.finished import finished
    from aejax.runs.sharing import shared

    for name, words in RUNS.items():
        if not (folder / name).exists():
            command = [sys.executable, "-m", "aejax", *COMMON, *words, f"hydra.run.dir={folder / name}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [shared(finished(folder / name)) for name in RUNS]


def failures(runs, cases, seed=0, say=lambda line: None):
    """A line for each of these cases that fails; {outcome: count}; the most seconds and bytes, each with its case."""
    failed, counts, longest, largest = [], collections.Counter(), (0.0, None), (0, None)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "outer" / "place"
        place.mkdir(parents=True)
        worker = Worker(place)
        try:
            for number in cases:
                shutil.rmtree(place / "case", ignore_errors=True)
                (place / "case").mkdir()
                path, what = made(number, seed, runs, place / "case")
                before = listed(Path(temporary), worker.cache)
                outcome, seconds, most = worker.load(path)
                longest, largest = (
                    max(longest, (seconds, number), key=lambda pair: pair[0]),
                    max(largest, (most, number), key=lambda pair: pair[0]),
                )
                kind = outcome.partition(":")[0]
                written = sorted(listed(Path(temporary), worker.cache) ^ before)
                if kind not in (LOADED, REFUSED) or seconds > SECONDS or most > MEMORY or written:
                    kind = "failed"
                    lines = [f"case {number}: {what}", f"{seconds:.1f} s, {most >> 20} MB {written}", outcome.rstrip()]
                    failed.append("\n  ".join(lines))
                    say(failed[-1])
                counts[kind] += 1
                if sum(counts.values()) % 1000 == 0:
                    say(f"{sum(counts.values()):,} cases: {dict(counts)}")
                if len(cases) == 1:
                    say(f"{what}\n{outcome} ({seconds:.2f} s, {most >> 20} MB)")
        finally:
            worker.stop()
    return failed, counts, longest, largest


def listed(folder, cache):
    """All paths below a folder, without those of the cache of compiled programs."""
    return {str(path) for path in folder.rglob("*") if cache != path and cache not in path.parents}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--runs", type=Path, help="a folder to train the runs in, or where they are already")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work()
    cases = range(options.first, options.first + options.cases) if options.case is None else [options.case]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        runs = trained(options.runs or Path(temporary))
    failed, counts, longest, largest = failures(runs, cases, options.seed, lambda line: print(line, flush=True))
    print("| case | number |\n| --- | --- |")
    for name, count in counts.items():
        print(f"| {name} | {count} |")
    print(f"| longest, s | {longest[0]:.1f} in case {longest[1]} |")
    print(f"| most memory, MB | {largest[0] >> 20} in case {largest[1]} |")
    print(f"{len(cases):,} cases in {time.monotonic() - begin:.0f} s")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
