"""Run folders made up for tests of what reads them, written as runs write theirs."""

import contextlib
import json

import numpy as np
import pytest
import yaml

from aejax.runs.folder import Run

VERSIONS = {"aejax": "0.1.0", "jax": "0.10.2"}
GROUPS = {"model": "ae", "data": "letters", "noise": "none", "net": "mlp"}


def make_run(
    path, metrics, status="completed", versions=VERSIONS, fingerprint="f00d", hydra=True, record=None, **settings
):
    """A run with these settings, a dot in a name written as two underlines: model="vae", noise__level=0.1.

    `record` are more fields of run.json; those of `data` are added to the usual ones.
    """
    run = Run(path)
    groups = GROUPS | {name: settings.pop(name) for name in GROUPS if name in settings}
    values = {"latent_dim": 2, "seed": 0, "steps": 20} | settings
    nested = {name: {"_target_": f"aejax.{name}.{choice.title()}"} for name, choice in groups.items()}
    for name, value in values.items():
        group, _, key = name.rpartition("__")
        (nested.setdefault(group, {}) if group else nested)[key] = value
    if hydra:
        (run.path / ".hydra").mkdir(parents=True)
        (run.path / ".hydra" / "config.yaml").write_text(yaml.safe_dump(nested))
        choices = {"hydra": {"runtime": {"choices": groups | {"hydra/launcher": "vmap"}}}}
        (run.path / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(choices))
    name = f"{groups['model']} {groups['data']} d={values['latent_dim']} s={values['seed']}"
    own = json.dumps([groups, values, versions, fingerprint, record], sort_keys=True)
    data = {"name": groups["data"], "fingerprint": fingerprint, "shape": [2, 2, 1], "kind": "binary"}
    record = record or {}
    own_record = {"versions": versions, "parameters": 9} | record | {"data": data | record.get("data", {})}
    run.note(**{"id": own, "name": name, "status": status, "error": None} | own_record)
    if status in ("completed", "diverged"):
        run.write_metrics(metrics)
        run.write_history([{"step": step, "valid/mse": 1.0 / step} for step in (10, 20)])
        run.write_codes(np.arange(4 * values["latent_dim"], dtype=np.float32).reshape(4, -1), np.arange(4) % 2)
    return run


@contextlib.contextmanager
def not_synced():
    """Files made up for a test need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@not_synced()
def make_sweep(folder, runs, failed=()):
    """A sweep of runs {name of a folder: (metrics, settings)}; `failed` are (overrides, error) of jobs without one."""
    jobs = []
    for number, (name, (metrics, settings)) in enumerate(runs.items()):
        run = make_run(folder / name, metrics, **settings)
        overrides = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        jobs.append({"number": number, "folder": name, "id": run.record["id"], "name": run.record["name"]})
        jobs[-1] |= {"overrides": overrides, "status": run.record["status"], "error": None}
    for overrides, error in failed:
        jobs.append({"number": len(jobs), "folder": None, "id": None, "name": None, "overrides": overrides})
        jobs[-1] |= {"status": "failed", "error": error}
    folder.mkdir(exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps({"overrides": [], "jobs": jobs, "programs": []}))
    return folder


def make_grid(folder, models=("ae", "vae"), noises=("none", "flip"), dims=(2, 4), seeds=4, data=("letters",), **more):
    """A sweep over all of these with metrics that are known functions of them and a little of the seed."""
    runs, number = {}, 0
    for place, name in enumerate(data):
        for model in models:
            for noise in noises:
                for dim in dims:
                    for seed in range(seeds):
                        draw = np.random.default_rng([seed, number]).normal()
                        metrics = {
                            "recon/mse": 0.1 / dim + 0.05 * models.index(model) + 0.002 * draw,
                            "restore/mse": 0.2 / dim + 0.002 * draw,
                            "separation/knn_accuracy": 0.5 + 0.1 * models.index(model) + 0.01 * draw,
                            "baseline/mean_mse": 0.2,
                            "baseline/pca_mse": 0.15 / dim,
                        }
                        settings = {"model": model, "noise": noise, "latent_dim": dim, "seed": seed, "data": name}
                        own = {"fingerprint": f"f{place}"} | more
                        runs[str(number)] = metrics, settings | own
                        number += 1
    return make_sweep(folder, runs)
