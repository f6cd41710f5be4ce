"""python -m aejax.evaluate RUN…: evaluates finished runs again, without training."""

import argparse
import contextlib
import datetime
import math
import sys
from pathlib import Path

import hydra
import numpy as np
from hydra.core.utils import setup_globals
from omegaconf import OmegaConf

from aejax.base.confinement import check_links, confined
from aejax.base.errors import InputError
from aejax.base.files import locked
from aejax.base.version import VERSION
from aejax.cli.parsing import Parser, fail
from aejax.config.explain import CONF, KNOWN, explained

USE = """all metrics:             python -m aejax.evaluate RUN RUN2
some groups of metrics:  python -m aejax.evaluate multirun/DAY/TIME/* groups=[nll,generation] samples=5000
error on other data:     python -m aejax.evaluate RUN RUN2 --across
agreement between seeds: python -m aejax.evaluate multirun/DAY/TIME/* --udr groups=[code]

Settings are those of evaluate= (conf/evaluate), beginning with evaluate=full; with groups=... no robust/* is measured,
unless noise=grid asks for it. Metrics that metrics.json already holds are kept.
First each run's own metrics are computed again; a run whose parameters do not reproduce them is left unchanged."""
UDR = "disentanglement/udr"
FILES = ("params.safetensors", "codes.npz", "metrics.json", ".hydra/config.yaml", ".hydra/hydra.yaml")
SAME = 1e-4  # relative difference up to which two evaluations of one run agree


def main(words=None):
    """The command; exit status 0, 1 where a run does not reproduce its own metrics, 2 for a wrong input.

    A wrong input is refused before anything is compiled or written.
    """
    parser = Parser(
        "python -m aejax.evaluate",
        description=__doc__,
        epilog=USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", metavar="RUN | key=value", help="folders of runs, and settings")
    parser.add_argument("--across", action="store_true", help="also the error of each run on the data of the others")
    parser.add_argument("--udr", action="store_true", help="also whether runs that differ in their seed agree on units")
    parser.add_argument(
        "--trust", action="store_true", help="read classes that are not aejax's own, prepare or download data"
    )
    parser.add_argument("--force", action="store_true", help="also a run that diverged: its parameters from before")
    options = parser.parse_intermixed_args(words)
    folders = [Path(word) for word in options.words if "=" not in word or Path(word).exists()]
    overrides = [word for word in options.words if Path(word) not in folders]
    try:
        if not folders:
            raise InputError("no run is given; name at least one run folder")
        with contextlib.ExitStack() as stack:
            if not options.trust:
                for folder in folders:
                    check_links(folder)
                stack.enter_context(confined(*folders))
            settings = protocol_settings(overrides)
            _use_cores(len(folders))
            saved_runs = read_runs(folders, settings, options.trust, options.force)
            if options.udr:
                _repeats(saved_runs)
            for saved in saved_runs:
                stack.enter_context(locked(saved.run.path))
            runs = "1 run" if len(saved_runs) == 1 else f"{len(saved_runs)} runs"
            print(f"measuring {runs}: what was recorded, then {', '.join(settings['groups'])}", flush=True)
            reproduced = _reproduced(saved_runs)
            _evaluate_all(reproduced)
            if options.across and reproduced:
                _across(reproduced)
            if options.udr and len(reproduced) > 1:
                _agree_on_units(reproduced)
            if len(reproduced) < len(saved_runs):
                sys.exit(1)
    except KNOWN as error:
        fail(explained(error, overrides))
    except OSError as error:
        fail(error)
    except Exception as error:
        from aejax.base.devices import lack_of_memory

        lack = lack_of_memory(error, "groups, samples, or runs at a time")
        if lack is None:
            raise
        fail(lack)


def protocol_settings(overrides):
    """The settings of evaluate=full with these overrides, as a dict; without its noise grid where groups are given."""
    known = {"groups", "noise", "samples"}
    for word in overrides:
        if word.removeprefix("evaluate.").startswith("what="):
            raise InputError(f"{word}: no such setting; it is now groups={word.partition('=')[2]}")
        if word.split("=")[0] not in known:
            raise InputError(f"{word}: no such setting; known: {', '.join(sorted(known))}")
    named = {word.split("=")[0] for word in overrides}
    if "groups" in named and "noise" not in named:
        overrides = [*overrides, "noise=own"]
    setup_globals()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", ["evaluate=full", *(f"evaluate.{word}" for word in overrides)])
    return OmegaConf.to_container(config.evaluate)


def _use_cores(runs):
    import jax

    from aejax.base.devices import cores

    if runs > 1:
        jax.config.update("jax_num_cpu_devices", cores())


def read_runs(folders, settings, trust, force=False):
    """The saved run in each folder; raises InputError for the first that cannot be evaluated."""
    loaded = {}
    return [_read(folder, settings, trust, force, loaded) for folder in folders]


def _read(folder, settings, trust, force, loaded):
    from aejax.runs.finished import finished
    from aejax.runs.recorded import Recorded
    from aejax.runs.reproduction import SavedRun

    if folder.is_file():
        raise InputError(
            f"{folder}: must be the folder of a run, to which metrics can be added; unpack an archive first"
        )
    run = finished(folder, FILES, force, "--force")
    record = run.record
    version = record.get("versions", {}).get("aejax")
    if version != VERSION:
        raise InputError(f"{folder}: was trained with aejax {version}; evaluate it with that version, not {VERSION}")
    recorded, trusted = Recorded.read(folder), None if trust else ("aejax",)
    # The parameters are those of the run itself, whatever they began with.
    job, new_job = (recorded.job(loaded, trusted, init=None, **changes) for changes in ({}, {"evaluate": settings}))
    if job.dataset.fingerprint != record.get("data", {}).get("fingerprint"):
        raise InputError(f"{folder}: its data have changed since it was trained")
    return SavedRun(run, job, new_job)


def _reproduced(saved_runs):
    """The runs whose parameters reproduce their metrics; for each other run a line on stderr says what differs."""
    from aejax.runs.reproduction import differences

    reproduced = []
    for saved, difference in zip(saved_runs, differences(saved_runs), strict=True):
        if difference is None:
            reproduced.append(saved)
            continue
        problem = f"aejax: {saved.name}: its parameters do not reproduce its metrics, so nothing is added"
        print(f"{problem}: {difference}", file=sys.stderr)
    return reproduced


def _evaluate_all(saved_runs):
    """Evaluates the runs with the requested settings, and adds the results to each run's files."""
    from aejax.evaluation.usefulness import usefulness
    from aejax.runs.reproduction import measured

    cache = {}
    results = measured(saved_runs, [saved.requested.experiment for saved in saved_runs])
    for saved, (metrics, z_NxZ, details) in zip(saved_runs, results, strict=True):
        experiment, useful = saved.requested.experiment, None
        if "usefulness" in experiment.evaluate.groups and experiment.form.classes > 1:
            useful = usefulness(experiment, saved.params, saved.requested.dataset.arrays(), cache)
        _add(saved, metrics, z_NxZ, details, useful)


def _add(saved, metrics, z_NxZ, details, useful):
    """Adds metrics and details to a run's files; recorded metrics are kept, and reported where they differ."""
    from aejax.runs.record import recorded

    new, evaluation = recorded(saved.requested, metrics, z_NxZ, details)
    if useful is not None:
        evaluation["usefulness"] = useful
        for name, values in useful.items():
            new |= {f"usefulness/{name}_{key}": values[key] for key in ("accuracy", "bytes")}
    _write(saved, new, evaluation)


def _write(saved, new, evaluation):
    run, old = saved.run, saved.run.metrics
    new = {name: value if math.isfinite(value) else None for name, value in new.items()}
    for name in sorted(old.keys() & new.keys()):
        if not _agree(old[name], new[name]):
            print(
                f"{saved.name}: {name} is {old[name]} in metrics.json and {new[name]} now; the recorded value is kept"
            )
    added = {name: value for name, value in new.items() if name not in old}
    whole = dict(sorted((old | added).items()))
    before = run.record.get("evaluation", {})
    reasons = {name: why for name, why in evaluation.pop("absent", {}).items() if name in added}
    merged = evaluation | before | {"absent": reasons | before.get("absent", {})}
    merged |= {key: before.get(key, {}) | evaluation[key] for key in ("cross_data",) if key in evaluation}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    again = {"at": now, "added": len(added), **saved.requested.experiment.evaluate.described}
    whole = {name: math.nan if value is None else value for name, value in whole.items()}
    run.write_again(whole, evaluation=merged, evaluated_again=[*run.record.get("evaluated_again", []), again])
    print(f"{saved.name}: {len(added)} metrics added, {len(old)} were there")


def _agree(old, new):
    if old is None or new is None:
        return old is new
    return math.isclose(old, new, rel_tol=SAME, abs_tol=1e-6)


def _across(saved_runs):
    """Prints the error of each run on the test examples of every run's data set, and records it."""
    import jax

    from aejax.base.precision import products
    from aejax.evaluation.encoding import reconstructed

    sets = {dataset_key(saved.job.dataset): saved.job.dataset for saved in saved_runs}
    error = jax.jit(lambda experiment, params, x: ((reconstructed(experiment, params, x) - x) ** 2).mean())
    print("\nmean squared error, test examples of")
    for key, dataset in sets.items():
        labels = f", labels {', '.join(dataset.label_names)}" if dataset.label_names else ""
        print(f"  {key}: {len(dataset.test.x):,} examples{labels}")
    for saved in saved_runs:
        form, row = saved.job.experiment.form, {}
        for key, dataset in sets.items():
            if dataset.form.shape == form.shape and (dataset.kind == "real") == (form.kind == "real"):
                x_NxP = dataset.form.scaled(dataset.test.x.reshape(len(dataset.test.x), -1))
                with products("float32"):
                    squared = error(saved.job.experiment, saved.params, x_NxP)
                row[key] = float(str(np.float32(squared)))
        print("  ".join(f"{row[key]:10.5f}" if key in row else f"{'-':>10}" for key in sets) + f"  {saved.name}")
        sources = {key: {"fingerprint": sets[key].fingerprint, "labels": list(sets[key].label_names)} for key in row}
        _write(saved, {f"cross_data/{key}_mse": value for key, value in row.items()}, {"cross_data": sources})


def _repeats(saved_runs):
    from aejax.runs.repeats import repeats

    return repeats(saved_runs)


def _agree_on_units(saved_runs):
    """Prints the UDR of each run among those that differ from it in their seed only, and records it."""
    from aejax.runs.repeats import agreements

    for runs in _repeats(saved_runs):
        print(f"\nUDR among {len(runs)} seeds")
        for saved, score in zip(runs, agreements(runs).tolist(), strict=True):
            print(f"{score:10.5f}  {saved.name}")
            absent = {} if math.isfinite(score) else {UDR: "no code unit is informative"}
            _write(saved, {UDR: float(str(np.float32(score)))}, {"absent": absent, "udr": {"runs": len(runs)}})


def dataset_key(dataset):
    """The name of a data set and the first 8 digits of its fingerprint, which tells apart sets of the same name."""
    return f"{dataset.name}-{dataset.fingerprint[:8]}"
