"""Which numbers of two runs are comparable: those that measure the same thing on the same data.

A run has aspects. A metric depends on some of them; values of runs that differ in one of these are never compared.
"""

import functools
import json

from aejax.metrics.lookup import metric
from aejax.metrics.table import METRICS

FAMILIES = {"bernoulli": "bernoulli", "gaussian": "gaussian", "linear": "gaussian", "learned": "gaussian"}
DATA, TRAINED_ON, SIZE, GIVEN = "data", "training and validation data", "latent_dim", "condition"


def dependences(row):
    """The aspects that a metric, a row of aejax.metrics.table, depends on."""
    examples = () if TRAINED_ON in row.depends else (DATA,)
    given = () if row.group == "baselines" else (GIVEN,)  # a model that sees labels describes p(x | label)
    return frozenset((*examples, *given, *row.depends, *(() if row.across_sizes else (SIZE,))))


DEPENDENTS: dict[str, tuple[str, ...]] = {
    aspect: () for aspect in ("protocol.groups", "protocol.noise")
}  # which metrics are computed, not how: no metric depends on these
for _row in METRICS:
    for _aspect in dependences(_row):
        DEPENDENTS[_aspect] = (*DEPENDENTS.get(_aspect, ()), _row.name)


def aspects(entry):
    """The aspects of a run that decide which of its numbers are comparable with others': ((name, text), …)."""
    data, settings = entry.data, entry.settings
    dataset = " ".join(
        [str(data.get("name") or entry.choices.get("data")),
         *(f"{key.removeprefix('data.')}={settings[key]}" for key in ("data.classes", "data.normal", "data.binarize")
           if settings.get(key) not in (None, "none"))]
    )  # fmt: skip
    whole = data.get("fingerprint")
    test = data.get("test_fingerprint") or whole
    noise = sorted(
        (name.removeprefix("noise."), value) for name, value in settings.items() if name.startswith("noise.")
    )
    levels = [f"{name}={value}" for name, value in noise if not name.startswith("_")]
    is_drawn = likelihood(entry).startswith("bernoulli") and data.get("kind") in ("gray", "rgb")
    values = {
        "data": f"{dataset} ({test})" if test else dataset,
        "training and validation data": f"{dataset} ({whole})" if whole else dataset,
        "likelihood": likelihood(entry),
        "examples beside samples": "draws" if is_drawn else "as they are",
        "noise": " ".join([str(entry.choices.get("noise")), *levels]),
        SIZE: str(settings.get("latent_dim")),
        GIVEN: str(settings.get("model.condition") or "none"),
    }
    values |= {f"protocol.{name}": json.dumps(value, sort_keys=True) for name, value in entry.protocol.items()}
    return tuple(sorted(values.items()))


def likelihood(entry):
    """The family of a run's likelihood and the kind of its data, such as `gaussian of gray data`."""
    kind, choice = entry.data.get("kind"), entry.likelihood or entry.choices.get("likelihood")
    if choice == "auto" and kind:
        choice = "bernoulli" if kind == "binary" else "gaussian"
    family = FAMILIES.get(choice, str(choice))
    return f"{family} of {kind} data" if kind else family


@functools.lru_cache(4096)
def _depends(name, aspect):
    return aspect not in DEPENDENTS or aspect in _known(name)


@functools.lru_cache(4096)
def _known(name):
    """The aspects that a metric depends on; if it has no row, those that all metrics of its namespace share."""
    row, space = metric(name), f"{name.partition('/')[0]}/"
    kin = (
        [dependences(row)]
        if row
        else [dependences(other_row) for other_row in METRICS if other_row.name.startswith(space)]
    )
    return frozenset.intersection(*kin) if kin else {DATA, GIVEN}


@functools.lru_cache(4096)
def problem(aspects, name):
    """The aspects that a metric of this run depends on; values are comparable where these are equal."""
    return tuple(pair for pair in aspects if _depends(name, pair[0]))


def difference(problems):
    """Why values of these problems are not comparable, in words; None if they are."""
    problems = list(map(dict, problems))
    parts = []
    for name in dict.fromkeys(name for measured in problems for name in measured):
        values = list(dict.fromkeys(measured.get(name, "not recorded") for measured in problems))
        if len(values) > 1:
            parts.append(f"{name}: {' against '.join(_short(value) for value in values[:3])}")
    return "different " + "; ".join(parts) if parts else None


def _short(text):
    return text if len(text) <= 60 else f"{text[:57]}..."
