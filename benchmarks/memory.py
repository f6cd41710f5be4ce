"""The memory of commands at the most: single runs, and sweeps of more and more jobs.

python -m benchmarks memory       some 5 minutes on 2 cores
"""

import tempfile

from benchmarks import commands
from benchmarks.rows import Row

SHORT = ["steps=2", "log_points=1", "figures=false", "track=off", "net.widths=[5]"]
SINGLE = {
    "main command, model=vae data=emoji": ["model=vae", "data=emoji"],
    "27 letters, 2 steps": SHORT,
}
JOBS = (8, 256, 1024)


def rows(quick=False):
    """The single runs, then the sweeps."""
    quickly = ["steps=2", "log_points=1"] if quick else []
    with tempfile.TemporaryDirectory() as folder:
        for number, (case, words) in enumerate(SINGLE.items()):
            yield Row(case, "", "GB", commands.peak(folder, *words, *quickly, f"hydra.run.dir=run{number}") / 1e9)
        for jobs in JOBS[: 1 if quick else None]:
            words = ["-m", f"seed=range({jobs})", *SHORT, f"hydra.sweep.dir=sweep{jobs}"]
            yield Row(f"a sweep of {jobs:,} jobs of letters, 2 steps", "", "GB", commands.peak(folder, *words) / 1e9)
