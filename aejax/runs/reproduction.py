"""Finished runs read back from their folders, and whether their parameters reproduce the numbers that they report."""

import math

import jax
import numpy as np

from aejax.evaluation.evaluate import evaluate
from aejax.metrics.lookup import metric
from aejax.runs.contents import ERROR
from aejax.runs.parameters import check_parameters, check_shapes, shapes_of
from aejax.runs.record import recorded, versions
from aejax.training.lanes import Layout, lane

ORDER = ("recon/", "restore/", "elbo", "nll", "likelihood/", "code/")  # of metrics in a line, before all others
ROUNDING = 5e-7  # of a reconstructed pixel in float32: how far the root of a squared error may be off
# Relative and absolute differences that count as none. On the device and with the versions of the run:
SAME_SMOOTH, SAME_SHARE = (1e-3, 1e-5), (5e-3, 5e-3)
# Elsewhere, where products may be rounded to 10 bits, and always for what is iterated, such as clusters and probes:
CLOSE, CLOSE_SHARE = (1e-2, 1e-5), (5e-2, 5e-2)
CODES, CODES_CLOSE = 1e-3, 1e-2  # of the codes' standard deviation
NAMED = 6  # metrics that a line names


class SavedRun:
    """A finished run, its parameters, its Job, and that with the `requested` settings of evaluation."""

    def __init__(self, run, job, requested):
        """Raises InputError or OSError where a file of the run is damaged or does not fit its configuration."""
        self.run, self.job, self.requested, self.params = run, job, requested, check_parameters(run, job.experiment)
        expected = {"z": [len(job.dataset.test.x), int(job.experiment.latent_dim)]}
        check_shapes(run.path / "codes.npz", shapes_of({"z": run.codes["z"]}), expected)

    @property
    def name(self):
        """The name of the run and its folder, in one line."""
        return self.run.title


def measured(runs, experiments):
    """(metrics, z_NxZ, details) of each SavedRun by its experiment; those of equal structure share a program."""
    groups, results, params = {}, [None] * len(runs), [run.params for run in runs]
    for place, (run, experiment) in enumerate(zip(runs, experiments, strict=True)):
        structure = jax.tree.structure((experiment, run.params))
        groups.setdefault((structure, int(experiment.latent_dim)), []).append(place)
    for places in groups.values():
        layout = Layout(len(places), "map")
        stacks = [layout.stack([trees[place] for place in places]) for trees in (experiments, params)]
        factors = experiments[places[0]].evaluate.uses_factors
        data = layout.share(runs[places[0]].job.dataset.arrays(factors=factors))
        metrics, z, details = jax.device_get(layout.compiled(evaluate, 2, *stacks, data)(*stacks, data))
        for index, place in enumerate(places):
            results[place] = lane(metrics, index), z[index], lane(details, index)
    return results


def differences(runs):
    """For each SavedRun the numbers that its parameters do not reproduce, in words; None where they reproduce all."""
    return [
        _difference(run, *result)
        for run, result in zip(runs, measured(runs, [run.job.experiment for run in runs]), strict=True)
    ]


def _difference(saved, metrics, z_NxZ, details):
    saved_NxZ, reported = saved.run.codes["z"], saved.run.metrics
    same = _is_same_machine(saved.run.record)
    now = {
        name: value if math.isfinite(value) else None
        for name, value in recorded(saved.job, metrics, z_NxZ, details)[0].items()
    }
    phrases = [
        f"{name} is {reported[name]} there and {now[name]} now"
        for name in sorted(now.keys() & reported.keys(), key=_place)
        if not name.startswith("baseline/untrained_")
        and not is_close(name, reported[name], now[name], same)  # baselines are the data's
    ]
    phrases, hidden = phrases[:NAMED], len(phrases) - NAMED
    phrases += [f"{hidden} more differ"] if hidden > 0 else []
    spread = float(np.nanstd(saved_NxZ)) if np.isfinite(saved_NxZ).any() else 0.0
    share = CODES if same else CODES_CLOSE
    if not np.allclose(z_NxZ, saved_NxZ, rtol=share, atol=max(share * spread, CLOSE[1]), equal_nan=True):
        distance = np.abs(z_NxZ - saved_NxZ).max()
        phrases.append(f"codes are up to {distance:.4g} apart where their standard deviation is {spread:.4g}")
    return "; ".join(phrases) or None


def _place(name):
    """The sort key of a metric in a line: the squared error first, then in that ORDER, then by name."""
    place = next((place for place, prefix in enumerate(ORDER) if name.startswith(prefix)), len(ORDER))
    return name != ERROR, place, name


def _is_same_machine(record):
    """Whether the run was measured by the same versions on the same kind of device."""
    return record.get("versions") == versions() and record.get("device") == jax.devices()[0].device_kind


def is_close(name, old, new, same):
    """Whether two evaluations of the same parameters may give these values, on the `same` device or another."""
    row = metric(name)
    agreement = row.agreement if row else "loose"
    if old is None or new is None or agreement == "exact":
        return old == new
    if isinstance(old, int) and isinstance(new, int):
        return abs(old - new) <= 1  # a count of values near a threshold
    if row and row.unit == "dB":
        old, new = (10 ** (-value / 10) for value in (old, new))
    if agreement == "root" and min(old, new) >= 0:
        relative = (SAME_SMOOTH if same else CLOSE)[0]
        return abs(math.sqrt(old) - math.sqrt(new)) <= relative * math.sqrt(old) + ROUNDING
    if agreement in ("smooth", "root"):  # moves as little as parameters do
        relative, absolute = SAME_SMOOTH if same else CLOSE
    else:  # shares of what is at a threshold; all else, as what is iterated
        relative, absolute = SAME_SHARE if same and agreement == "share" else CLOSE_SHARE
    return abs(old - new) <= relative * abs(old) + absolute
