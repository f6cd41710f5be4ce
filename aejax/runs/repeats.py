"""Runs that differ in their seed only, and how far they find the same code units."""

import json

import jax.numpy as jnp
import numpy as np

from aejax.base.errors import InputError
from aejax.metrics.code import live_units
from aejax.metrics.udr import udr

ASIDE = ("seed", "track", "lanes", "checkpoint", "figures", "objective", "evaluate")  # settings that may differ


def repeats(saved_runs):
    """The SavedRuns in lists of those that differ in their seed only.

    Raises InputError for a run without another one, and for two of the same seed.
    """
    groups = {}
    for saved in saved_runs:
        settings = {name: value for name, value in saved.job.settings.items() if name not in ASIDE}
        key = json.dumps([settings, saved.job.dataset.fingerprint], sort_keys=True)
        groups.setdefault(key, []).append(saved)
    for runs in groups.values():
        if len(runs) < 2:
            raise InputError(f"--udr: {runs[0].run.path} has no other run that differs in its seed only; add one")
        by_seed = {}
        for saved in runs:
            first = by_seed.setdefault(int(saved.job.experiment.seed), saved)
            if first is not saved:
                raise InputError(
                    f"--udr: {first.run.path} and {saved.run.path} are the same run of seed "
                    f"{int(saved.job.experiment.seed)}; leave one out"
                )
    return list(groups.values())


def agreements(runs):
    """The UDR of each of these SavedRuns, which differ in their seed only; nan for one without informative units."""
    z_RxNxZ = np.stack([saved.run.codes["z"] for saved in runs])
    return np.asarray(udr(jnp.asarray(z_RxNxZ), jnp.stack([_informative(saved) for saved in runs])))


def _informative(saved):
    """Which units [Z] carry more than 0.01 nats, by run.json; without a KL there, which ones vary."""
    z_NxZ = saved.run.codes["z"]
    try:
        kl_Z = np.array(saved.run.record.get("evaluation", {})["unit_kl"], np.float32)
    except (KeyError, TypeError, ValueError):
        return live_units(z_NxZ)
    return live_units(z_NxZ, kl_Z[None]) if kl_Z.shape == z_NxZ.shape[1:] else live_units(z_NxZ)
