"""What the comparison says of real runs, beside what was trained."""

import contextlib
import functools
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

COMMON = ("figures=false", "track=off", "steps=60", "net.widths=[12]")


@functools.cache
def _sweep(*words):
    """The folder of a sweep of these words."""
    folder = Path(tempfile.mkdtemp(prefix="aejax-check-")) / "sweep"
    command = [sys.executable, "-m", "aejax", "-m", *COMMON, *words, f"hydra.sweep.dir={folder}"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder.parent)
    return folder


def _told(folder, *words):
    """What `python -m aejax.compare` prints of a folder."""
    from aejax.cli.compare import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([str(folder), *words])
    return out.getvalue()


def _pairs(folder, *words):
    return json.loads(_told(folder, *words, "--json"))["comparisons"]


def check_an_elbo_is_compared_within_a_family_of_likelihoods_only():
    """The ELBO of a Bernoulli and of a Gaussian are not compared; those of two Gaussians and all errors are."""
    folder = _sweep("model=vae", "likelihood=bernoulli,gaussian,learned", "seed=range(4)")
    found = {}
    for pair in _pairs(folder, "--metrics", "elbo", "recon/mse"):
        families = {"bernoulli" if "bernoulli" in pair[side] else "gaussian" for side in "ab"}
        found.setdefault((pair["metric"], len(families)), set()).add(pair["difference"] is not None)
    expected = {("elbo", 1): {True}, ("elbo", 2): {False}, ("recon/mse", 1): {True}, ("recon/mse", 2): {True}}
    return f"compared: {found}", found == expected


def check_other_test_data_are_not_compared_and_other_training_data_are():
    """Runs on other test examples are not compared; runs on fewer training examples of the same data are."""
    other = _pairs(_sweep("data=letters,emoji", "seed=range(4)"), "--compare", "data", "--metrics", "recon/mse")
    arrays = Path(tempfile.mkdtemp(prefix="aejax-check-")) / "own.npz"
    np.savez(arrays, x=np.random.default_rng(0).random((200, 6), np.float32).round(3))
    fewer = _pairs(
        _sweep("data=arrays", f"data.path={arrays}", "data.limit=null,50", "seed=range(4)"), "--metrics", "recon/mse"
    )
    told = [pair["difference"] is not None for pair in (*other, *fewer)]
    return f"other data, fewer training examples: compared {told}", told == [False, True]


def check_three_seeds_claim_nothing():
    """Differences on three seeds make no claim, four of them can."""
    folder = _sweep("model=ae,vae", "latent_dim=4", "seed=range(4)")
    words = ("--metrics", "recon/mse")
    three, four = _pairs(folder, "seed<3", *words)[0], _pairs(folder, *words)[0]
    told = three["p"], four["p"]
    return f"p: {told}", three["p"] is None and "no claim" in three["verdict"] and four["p"] >= 2 / 4**4


def check_a_foreign_index_changes_nothing():
    """An index of a sweep with other numbers in it is not believed."""
    folder = _sweep("model=ae,vae", "latent_dim=4", "seed=range(4)")
    before = _told(folder, "--json")
    index = folder / ".compare.json"
    index.write_text(index.read_text().replace("0.", "7."))
    after = _told(folder, "--json")
    index.unlink()
    return f"same table: {before == after}", before == after


def check_every_metric_of_a_run_has_a_direction_or_is_neutral():
    """Every metric of a run that is measured in full has a row in the table, which says what is better."""
    from aejax.metrics.lookup import metric

    folder = _sweep("model=vae", "noise=flip", "evaluate=full", "evaluate.samples=5", "seed=0,1")
    names = set().union(*(json.loads(path.read_text()) for path in folder.glob("*/metrics.json")))
    unknown = sorted(name for name in names if metric(name) is None)
    return f"{len(names)} metrics, {len(unknown)} unknown {unknown[:3]}", bool(names) and not unknown
