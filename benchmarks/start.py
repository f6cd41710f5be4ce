"""The main command, cold and warm, and its stages, beside its unavoidable parts: imports and training.

python -m benchmarks start       some 3 minutes on 2 cores

The command is the README's: pictures, evaluation and an offline W&B run included. Cold is an empty folder for compiled
programs. Imports are those of a process that only imports the libraries, of which the command uses each.
"""

import itertools
import tempfile
from pathlib import Path

from benchmarks import commands, timing
from benchmarks.rows import Row

WORDS = "model=vae data=emoji"
LIBRARIES = "hydra, jax, jax.numpy, flax.linen, optax, safetensors.numpy, wandb, rich.table, matplotlib.figure"
TARGETS = {"cold": 2.5, "warm": 1.5}
STAGES = {  # of run.json
    "start": "start: imports, composing, data, checks",
    "compile": "compile",
    "track": "W&B",
    "train": "train",
    "evaluate": "evaluate",
    "figures": "figures",
}
UNAVOIDABLE = "imports + training"


def rows(quick=False):
    """The stages of both, and the whole beside its unavoidable parts."""
    rounds, words = (1, ["steps=20", "log_points=2"]) if quick else (5, [])
    numbers, seconds = itertools.count(), {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def command(kind):
            number = next(numbers)
            kept = folder / "kept" if kind == "warm" else folder / f"kept{number}"
            given = [*WORDS.split(), *words, f"hydra.run.dir={folder / f'run{number}'}"]
            commands.aejax(folder, *given, JAX_COMPILATION_CACHE_DIR=str(kept))
            seconds[kind].append(commands.seconds_of(folder / f"run{number}"))

        sides = {kind: lambda kind=kind: command(kind) for kind in TARGETS}
        took = timing.interleaved(
            sides | {"imports": lambda: commands.python(folder, "-c", f"import {LIBRARIES}")}, rounds
        )
    for kind, target in TARGETS.items():
        stages = seconds[kind][1:]  # of the rounds that count
        names = dict.fromkeys(name for each in stages for name in each if name != "total")
        for name in names:
            each = timing.Spread.of(stage.get(name, 0.0) for stage in stages)
            yield Row(f"main command, {kind}: {STAGES.get(name, name)}", "", "s", each.median)
        outside = [whole - stage["total"] for whole, stage in zip(took[kind], stages, strict=True)]
        yield Row(f"main command, {kind}: before and after", "", "s", timing.Spread.of(outside).median)
        sums = [imports + stage["train"] for imports, stage in zip(took["imports"], stages, strict=True)]
        medians = (timing.Spread.of(each).median for each in (took[kind], sums))
        ratio = timing.ratio(took[kind], sums)
        yield Row(f"main command, {kind}", UNAVOIDABLE, "s", *medians, ratio, target, at_most=True)
    note = f"import {LIBRARIES}"
    yield Row("the imports alone", "", "s", timing.Spread.of(took["imports"]).median, note=note)
