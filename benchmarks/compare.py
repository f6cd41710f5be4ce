"""How long the comparison takes to read many runs, for the first time and later.

python -m benchmarks compare       some 3 minutes on 2 cores

One run is trained, and copied into sweeps with another seed in each; seconds of the reading alone, and of the whole
command with its imports, from nothing and with the index that the first reading leaves.
"""

import json
import tempfile
from pathlib import Path

from aejax.comparison.reading import INDEX, READ, read
from benchmarks import commands, timing
from benchmarks.rows import Row


def copies(run, sweep, count):
    """A sweep of `count` runs that are as `run` but for seed, id and error."""
    texts = {name: (run / name).read_text() for name in READ}
    record, metrics = json.loads(texts["run.json"]), json.loads(texts["metrics.json"])
    for seed in range(count):
        own = texts | {".hydra/config.yaml": texts[".hydra/config.yaml"].replace("\nseed: 0\n", f"\nseed: {seed}\n")}
        own["run.json"] = json.dumps(record | {"id": f"{seed:016x}"}, indent=2)
        own["metrics.json"] = json.dumps(metrics | {"recon/mse": 0.1 + seed % 17 / 1000}, indent=2)
        for name, text in own.items():
            path = sweep / str(seed) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    jobs = [{"number": n, "folder": str(n), "overrides": [f"seed={n}"], "status": "completed"} for n in range(count)]
    (sweep / "sweep.json").write_text(json.dumps({"overrides": [], "jobs": jobs, "programs": []}))


def first(sweep):
    """Reads a sweep that has no index."""
    (sweep / INDEX).unlink(missing_ok=True)
    read([sweep])


def rows(quick=False):
    """Seconds by number of runs."""
    with tempfile.TemporaryDirectory() as folder:
        run, repeats = Path(folder) / "run", 1 if quick else 3
        commands.aejax(folder, "steps=2", "figures=false", "track=off", f"hydra.run.dir={run}")
        for count in (20,) if quick else (1000, 10_000):
            sweep = Path(folder) / str(count)
            copies(run, sweep, count)
            actions = {
                "read for the first time": lambda s=sweep: first(s),
                "read again": lambda s=sweep: read([s]),
                "the whole command again": lambda s=sweep: commands.python(folder, "-m", "aejax.compare", s),
            }
            for name, action in actions.items():
                seconds = timing.median_seconds(action, repeats)
                yield Row(f"{count:,} runs, {name}", "", "s", seconds)
