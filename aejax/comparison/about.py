"""The facts a report lists about its runs: data, sizes, training, versions, the date and the command."""

import datetime
import shlex
import sys

import numpy as np

from aejax.base.version import VERSION
from aejax.comparison.plain import plain, word

SHOWN = 6  # values of a setting that are listed at most


def lines(runs, words):
    """(label, text) pairs: all that a reader needs to judge or repeat a comparison of `runs`.

    `words` are the arguments of the command; None stands for those of this process.
    """
    done = [entry for entry in runs.entries if entry.status == "completed"]
    facts = [("Data", text) for text in dict.fromkeys(map(_data, done))]
    for label, values in (
        ("Steps", [entry.settings.get("steps") if entry.settings.get("epochs") is None else None for entry in done]),
        ("Epochs", [_epochs(entry) for entry in done]),
        ("Batch size", [_batch(entry) for entry in done]),
        ("Seeds", [entry.settings.get("seed") for entry in done]),
        ("Parameters", [entry.parameters for entry in done]),
    ):
        values = [value for value in values if value is not None]
        facts += [(label, _listed(values))] if values else []
    for name in dict.fromkeys(name for entry in done for name in entry.versions):
        facts.append(
            (f"Version of {name}", _listed([entry.versions[name] for entry in done if name in entry.versions]))
        )
    now = datetime.datetime.now(datetime.UTC).isoformat(sep=" ", timespec="minutes").replace("+00:00", " UTC")
    facts.append(("Made", f"{now}, by aejax {VERSION}"))
    words = sys.argv[1:] if words is None else words
    return [*facts, ("Command", plain(shlex.join(["python", "-m", "aejax.compare", *map(str, words)])))]


def _data(entry):
    """`mnist: gray 28 x 28 x 1; 54,000 training, 6,000 validation, 10,000 test examples; fingerprint …`."""
    data, sizes = entry.data, entry.data.get("examples") or {}
    kind = " ".join([data.get("kind") or "", " x ".join(map(str, data.get("shape") or []))]).strip()
    named = (("train", "training"), ("valid", "validation"), ("test", "test"))
    counts = ", ".join(f"{sizes[name]:,} {purpose}" for name, purpose in named if name in sizes)
    parts = [kind, f"{counts} examples" if counts else "", f"fingerprint {data.get('fingerprint', 'not recorded')}"]
    return f"{data.get('name') or entry.choices.get('data')}: {'; '.join(part for part in parts if part)}"


def _batch(entry):
    """Examples per step; null means all of up to 1,024 examples, and 128 of a larger set (conf/config.yaml)."""
    batch, examples = entry.settings.get("batch_size"), (entry.data.get("examples") or {}).get("train")
    if batch is not None or examples is None:
        return batch
    return "all examples" if examples <= 1024 else 128


def _epochs(entry):
    """Passes over the training examples, as set or as computed from the steps; None if unknown."""
    epochs, steps = entry.settings.get("epochs"), entry.settings.get("steps")
    examples, batch = (entry.data.get("examples") or {}).get("train"), _batch(entry)
    if epochs is not None or not examples or not isinstance(steps, int | float):
        return epochs
    batch = examples if batch == "all examples" else batch
    return steps * batch / examples if isinstance(batch, int | float) else None


def _listed(values):
    """The values as text: all if there are few, only the smallest and the largest of many numbers."""
    values = list(dict.fromkeys(values))
    are_numbers = all(isinstance(value, int | float) and np.isfinite(value) for value in values)
    values = sorted(values) if are_numbers else values
    texts = [
        f"{value:,.6g}" if isinstance(value, float) or (are_numbers and value >= 1e4) else word(value)
        for value in values
    ]
    if len(texts) <= SHOWN:
        return ", ".join(texts)
    return f"{texts[0]} to {texts[-1]}" if are_numbers else f"{', '.join(texts[:SHOWN])}, …"
