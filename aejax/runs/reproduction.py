"""Finished runs read back from their folders, and whether their files give the numbers that they report."""

import math

import jax
import numpy as np

from aejax.base.errors import InputError
from aejax.base.nested import dotted
from aejax.evaluation.evaluate import evaluate
from aejax.models import autoencoder
from aejax.runs.contents import ERROR
from aejax.runs.record import recorded, versions
from aejax.training.lanes import Layout, lane

SMOOTH = ("recon/", "restore/", "elbo", "nll", "likelihood/", "code/")  # metrics that move as little as parameters do,
SHARES = {"exact", "at_most_one_wrong", "sparsity", "correlation"}  # but for shares of what is at a threshold
NEIGHBORS = ("separation/knn", "separation/silhouette", "baseline/untrained_")
FLAGS = {"code/collapsed"}
ROUNDING = 5e-7  # of a reconstructed pixel in float32: what the root of a squared error may be off by
# Relative and absolute differences that are no others. On the device and with the versions of the run:
SAME_SMOOTH, SAME_SHARE = (1e-3, 1e-5), (5e-3, 5e-3)
# Elsewhere, where products may be rounded to 10 bits; and always of what is iterated, as clusters and probes:
CLOSE, CLOSE_SHARE = (1e-2, 1e-5), (5e-2, 5e-2)
CODES, CODES_CLOSE = 1e-3, 1e-2  # of the codes' standard deviation
NAMED = 6  # metrics in a line


class SavedRun:
    """A finished run, its Job with its own settings of evaluation, its parameters, and the Job that is `requested`."""

    def __init__(self, run, job, requested):
        """Raises InputError, OSError where a file of the run is damaged, or does not belong to its configuration."""
        self.run, self.job, self.requested, self.params = run, job, requested, run.params
        shapes = jax.eval_shape(lambda: autoencoder.init(job.experiment, int(job.experiment.latent_dim)))
        _check(run.path / "params.safetensors", _shapes(self.params), _shapes(shapes))
        here = {"z": (len(job.dataset.test.x), int(job.experiment.latent_dim))}
        _check(run.path / "codes.npz", {"z": run.codes["z"].shape}, here)

    @property
    def name(self):
        """Its name and where it is."""
        name = " ".join(self.run.record.get("name", "").split())
        return f"{name.encode('utf-8', 'backslashreplace').decode()} ({self.run.path})"


def _shapes(tree):
    return {name: tuple(leaf.shape) for name, leaf in dotted(tree)}


def _check(path, there, expected):
    for name in sorted(there.keys() | expected.keys()):
        if there.get(name) != expected.get(name):
            told = [list(shapes[name]) if name in shapes else "nothing" for shapes in (there, expected)]
            raise InputError(f"{path}: {name} is {told[0]}; must be {told[1]}, by the run's configuration and data")


def measured(trained, experiments):
    """(metrics, z_NxZ, details) of each SavedRun by its experiment; those of equal structure share a program."""
    groups, results, params = {}, [None] * len(trained), [each.params for each in trained]
    for place, (each, experiment) in enumerate(zip(trained, experiments, strict=True)):
        structure = jax.tree.structure((experiment, each.params))
        groups.setdefault((structure, int(experiment.latent_dim)), []).append(place)
    for places in groups.values():
        layout = Layout(len(places), "map")
        stacks = [layout.stack([trees[place] for place in places]) for trees in (experiments, params)]
        data = layout.share(trained[places[0]].job.dataset.arrays())
        metrics, z, details = jax.device_get(layout.compiled(evaluate, 2, *stacks, data)(*stacks, data))
        for index, place in enumerate(places):
            results[place] = lane(metrics, index), z[index], lane(details, index)
    return results


def differences(trained):
    """What each SavedRun reports and its parameters do not give, in words, None where they give all of it."""
    return [
        _difference(each, *result)
        for each, result in zip(trained, measured(trained, [each.job.experiment for each in trained]), strict=True)
    ]


def _difference(each, metrics, z_NxZ, details):
    there, reported = each.run.codes["z"], each.run.metrics
    same = _is_same_machine(each.run.record)
    now = {
        name: value if math.isfinite(value) else None
        for name, value in recorded(each.job, metrics, z_NxZ, details)[0].items()
    }
    told = [
        f"{name} is {reported[name]} there and {now[name]} now"
        for name in sorted(now.keys() & reported.keys(), key=_place)
        if not name.startswith("baseline/untrained_")
        and not is_close(name, reported[name], now[name], same)  # baselines are the data's
    ]
    told, more = told[:NAMED], len(told) - NAMED
    told += [f"{more} more differ"] if more > 0 else []
    spread = float(np.nanstd(there)) if np.isfinite(there).any() else 0.0
    share = CODES if same else CODES_CLOSE
    if not np.allclose(z_NxZ, there, rtol=share, atol=max(share * spread, CLOSE[1]), equal_nan=True):
        apart = np.abs(z_NxZ - there).max()
        told.append(f"codes are up to {apart:.4g} apart where their standard deviation is {spread:.4g}")
    return "; ".join(told) or None


def _place(name):
    """Where a metric stands in a line: the squared error first, then in the order of SMOOTH, then by name."""
    place = next((place for place, prefix in enumerate(SMOOTH) if name.startswith(prefix)), len(SMOOTH))
    return name != ERROR, place, name


def _is_same_machine(record):
    """Whether the run was measured by the same versions on the same kind of device."""
    return record.get("versions") == versions() and record.get("device") == jax.devices()[0].device_kind


def is_close(name, old, new, same):
    """Whether two evaluations of the same parameters may give these values, on the `same` device or another."""
    if old is None or new is None or name in FLAGS:
        return old == new
    if isinstance(old, int) and isinstance(new, int):
        return abs(old - new) <= 1  # a count, of what is at a threshold
    kind = name.split("/")[-1]
    if kind == "psnr":
        old, new = (10 ** (-value / 10) for value in (old, new))
    if kind in ("mse", "psnr") and min(old, new) >= 0:
        relative = (SAME_SMOOTH if same else CLOSE)[0]
        return abs(math.sqrt(old) - math.sqrt(new)) <= relative * math.sqrt(old) + ROUNDING
    if name.startswith(SMOOTH) and kind not in SHARES:
        relative, absolute = SAME_SMOOTH if same else CLOSE
    else:
        steady = kind in SHARES or name.startswith(NEIGHBORS)
        relative, absolute = SAME_SHARE if same and steady else CLOSE_SHARE
    return abs(old - new) <= relative * abs(old) + absolute
