"""What PyTorch reaches in the steps of a finished run: the same network, data and optimizer numbers, measured by aejax.

The training alone is PyTorch's, eager. Its weights are then put into the tree of the run's parameters, and measured as
the run was. RUN/torch.json holds the result; a run that has one is not trained again.
"""

import importlib.util
import json
import math
import os
import platform
import time
from pathlib import Path

from aejax.base.errors import InputError, near

RECORD = "torch.json"


def record_of(folder):
    """The record of PyTorch's training beside the run in `folder`; None where there is none of that run."""
    path, run = Path(folder) / RECORD, json.loads((Path(folder) / "run.json").read_text())
    record = json.loads(path.read_text()) if path.exists() else {}
    return record if record.get("run") == run["id"] else None


def train_beside(folders, words=()):
    """Trains beside the runs in `folders` that have no record yet: first seeds, then the others, short runs first.

    `words` are overrides that say where the data are. Raises InputError where PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError("torch is not installed; pip install -e '.[bench]'")
    import torch

    from aejax.base.files import write_whole

    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    loaded = {}
    for folder in sorted((folder for folder in folders if record_of(folder) is None), key=turn):
        saved = saved_run(folder, words, loaded)
        content = recorded_training(saved)
        write_whole(Path(folder) / RECORD, json.dumps(content, indent=1) + "\n")
        print(f"{folder}: {content['seconds']}", flush=True)


def turn(folder):
    """Whether a run is of a later seed than 0, how long it took among the lanes of its program, and its seed."""
    from aejax.runs.folder import Run

    run = Run.read(folder)
    seed, seconds = run.settings["seed"], run.record["seconds"]["train"] / run.record["lanes"]["count"]
    return seed > 0, seconds, seed


def check_words(words):
    """Raises InputError for words that are not about the place of the data."""
    from aejax.training.experiment import PLACES

    allowed = [f"data.{place}" for place in PLACES]
    for word in words:
        key = word.partition("=")[0]
        if key not in allowed:
            raise InputError(f"{word}: all but the place of the data is the run's; {near(key, allowed)}")


def saved_run(folder, words=(), loaded=None):
    """The SavedRun in `folder`, its data where these words say; raises InputError for other words and other data."""
    from omegaconf import OmegaConf

    from aejax.runs.finished import finished
    from aejax.runs.recorded import Recorded
    from aejax.runs.reproduction import SavedRun

    check_words(words)
    run, kept = finished(folder), Recorded.read(Path(folder))
    for word in words:
        key, _, value = word.partition("=")
        if key.endswith("dir") and value != "null":  # relative paths start here, not where the run was started
            word = f"{key}={Path(value).absolute()}"
        OmegaConf.update(kept.config, key, OmegaConf.select(OmegaConf.from_dotlist([word]), key))
    job = kept.job(loaded)
    if job.dataset.fingerprint != run.record["data"]["fingerprint"]:
        raise InputError(f"{folder}: its data have changed since it was trained")
    return SavedRun(run, job, job)


def recorded_training(saved):
    """What is recorded of a training beside a run: versions, steps, seconds, and the metrics of the run."""
    import torch

    from aejax.base.version import VERSION
    from aejax.runs.record import recorded
    from aejax.runs.reproduction import measured
    from benchmarks.torch_networks import params_of
    from benchmarks.torch_training import trained

    experiment, began = saved.job.experiment, time.perf_counter()
    network = trained(experiment, saved.job.dataset, int(experiment.seed))
    ended = time.perf_counter()
    saved.params = params_of(network, experiment.net)
    [result] = measured([saved], [experiment])
    metrics, _ = recorded(saved.job, *result)
    return {
        "run": saved.run.record["id"],
        "versions": {"torch": torch.__version__, "python": platform.python_version(), "aejax": VERSION},
        "threads": torch.get_num_threads(),
        "seed": int(experiment.seed),
        "steps": experiment.steps,
        "batch_size": experiment.batch_size,
        "seconds": {"train": round(ended - began, 1), "evaluate": round(time.perf_counter() - ended, 1)},
        "metrics": {name: value if math.isfinite(value) else None for name, value in metrics.items()},
    }
