"""python -m aejax.evaluate RUN…: finished runs are measured again, without training."""

import argparse
import contextlib
import copy
import datetime
import math
import os
import sys
from pathlib import Path

import hydra
import numpy as np
from hydra.core.utils import setup_globals
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aejax.base.confinement import can_enter, check_links, confined
from aejax.base.errors import InputError
from aejax.base.files import locked
from aejax.base.version import VERSION
from aejax.cli.parsing import Parser, fail
from aejax.config.explain import CONF, KNOWN, explained
from aejax.runs import contents

USE = """all that there is:       python -m aejax.evaluate RUN RUN2
some groups of metrics:  python -m aejax.evaluate multirun/DAY/TIME/* groups=[nll,generation] samples=5000
error on others' data:   python -m aejax.evaluate RUN RUN2 --across

Settings are those of evaluate= (conf/evaluate), beginning with evaluate=full; with groups=... no robust/* is measured,
unless noise=grid asks for it. What metrics.json already holds stays.
First each run's own numbers are computed again; one whose parameters do not give them is left as it is."""
SAME = 1e-4  # relative difference up to which two evaluations of one run agree


def main(words=None):
    """The command; exit status 0, 1 for a run that does not give its own numbers, 2 for a wrong input.

    A wrong input ends it before anything is compiled or written.
    """
    parser = Parser(
        "python -m aejax.evaluate",
        description=__doc__,
        epilog=USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", metavar="RUN | key=value", help="folders of runs, and settings")
    parser.add_argument("--across", action="store_true", help="also the error of each run on the data of the others")
    parser.add_argument(
        "--trust", action="store_true", help="read classes that are not aejax's own, prepare or download data"
    )
    asked = parser.parse_intermixed_args(words)
    folders = [Path(word) for word in asked.words if "=" not in word or Path(word).exists()]
    overrides = [word for word in asked.words if Path(word) not in folders]
    try:
        if not folders:
            raise InputError("no run is named; name at least one folder of a run")
        with contextlib.ExitStack() as stack:
            if not asked.trust:
                for folder in folders:
                    check_links(folder)
                stack.enter_context(confined(*folders))
            settings = _settings(overrides)
            _use_cores(len(folders))
            trained = _read_all(folders, settings, asked.trust)
            for each in trained:
                stack.enter_context(locked(each.run.path))
            sound = _reproduced(trained)
            _evaluate_all(sound)
            if asked.across and sound:
                _across(sound)
            if len(sound) < len(trained):
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


def _settings(overrides):
    """The settings of evaluate=full with these changes, as a plain dict; without its grid where groups are named."""
    known = {"groups", "noise", "samples"}
    for word in overrides:
        if word.startswith("what="):
            raise InputError(f"{word}: no such setting; it is now groups={word.removeprefix('what=')}")
        if word.split("=")[0] not in known:
            raise InputError(f"{word}: no such setting; must be one of {', '.join(sorted(known))}")
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


def _read_all(folders, settings, trust):
    """A SavedRun for each folder; raises InputError for the first that cannot be evaluated."""
    loaded = {}
    return [_read(folder, settings, trust, loaded) for folder in folders]


def _read(folder, settings, trust, loaded):
    from aejax.runs.folder import FORMAT, Run

    run = Run.read(folder)
    if run.format != FORMAT:
        raise InputError(
            f"{folder}: its files are of format {run.format}, not {FORMAT}; train it again with this version"
        )
    return _trained(run, folder, settings, trust, loaded)


def _trained(run, folder, settings, trust, loaded):
    from aejax.runs.folder import FINISHED
    from aejax.runs.job import Job
    from aejax.runs.reproduction import SavedRun

    record = run.record
    if record["status"] not in FINISHED:
        raise InputError(f"{folder}: its status is {record['status']}; must be {' or '.join(FINISHED)}")
    version = record.get("versions", {}).get("aejax")
    if version != VERSION:
        raise InputError(f"{folder}: is of aejax {version}; must be of {VERSION}, as this one is")
    for name in ("params.safetensors", "codes.npz", "metrics.json", ".hydra/config.yaml", ".hydra/hydra.yaml"):
        if not (run.path / name).exists():
            raise InputError(f"{folder}: holds no {name}; must be the whole folder of a run")
    try:
        config = contents.config(run.path / ".hydra" / "config.yaml")
        choices = contents.choices(run.path / ".hydra" / "hydra.yaml")
        if not choices:
            raise ValueError("hydra.yaml tells no choices")
        cwd = Path(contents.config(run.path / ".hydra" / "hydra.yaml").hydra.runtime.cwd)
        asked = copy.deepcopy(config)
        asked.evaluate = settings
        sourceless = "_target_" not in config.data
    except InputError:
        raise
    except (OSError, ValueError, TypeError, OmegaConfBaseException, AttributeError) as error:
        raise InputError(f"{folder}: its .hydra cannot be read ({' '.join(str(error).split())})") from None
    if sourceless:
        raise InputError(f"{folder}: was trained on a Dataset of a program, which cannot be read again")
    here = Path.cwd()
    try:
        if can_enter(cwd):  # relative paths in the configuration start there
            os.chdir(cwd)
    except OSError as error:
        raise InputError(f"{folder}: was begun in {cwd}, which cannot be entered ({error.strerror})") from None
    try:
        job, asked = (
            Job.read(each, choices, loaded, trusted=None if trust else ("aejax",)) for each in (config, asked)
        )
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    finally:
        os.chdir(here)
    if job.dataset.fingerprint != record.get("data", {}).get("fingerprint"):
        raise InputError(f"{folder}: its data have changed since it was trained")
    return SavedRun(run, job, asked)


def _reproduced(trained):
    """The runs whose parameters give the numbers that they report; of the others a line says what differs."""
    from aejax.runs.reproduction import differences

    sound = []
    for each, difference in zip(trained, differences(trained), strict=True):
        if difference is None:
            sound.append(each)
            continue
        told = f"aejax: {each.name}: its parameters do not give the numbers that it reports, so nothing is added"
        print(f"{told}: {difference}", file=sys.stderr)
    return sound


def _evaluate_all(trained):
    """Measures runs by the settings that are asked for, and adds what is found to each run's files."""
    from aejax.evaluation.usefulness import usefulness
    from aejax.runs.reproduction import measured

    kept = {}
    results = measured(trained, [each.requested.experiment for each in trained])
    for each, (metrics, z_NxZ, details) in zip(trained, results, strict=True):
        experiment, useful = each.requested.experiment, None
        if "usefulness" in experiment.evaluate.groups and experiment.form.classes > 1:
            useful = usefulness(experiment, each.params, each.requested.dataset.arrays(), kept)
        _add(each, metrics, z_NxZ, details, useful)


def _add(each, metrics, z_NxZ, details, useful):
    """Adds metrics and findings to a run's files; what is there stays, and is told where it differs."""
    from aejax.runs.record import recorded

    new, evaluation = recorded(each.requested, metrics, z_NxZ, details)
    if useful is not None:
        evaluation["usefulness"] = useful
        for name, values in useful.items():
            new |= {f"usefulness/{name}_{key}": values[key] for key in ("accuracy", "bytes")}
    _write(each, new, evaluation)


def _write(each, new, evaluation):
    run, old = each.run, each.run.metrics
    new = {name: value if math.isfinite(value) else None for name, value in new.items()}
    for name in sorted(old.keys() & new.keys()):
        if not _agree(old[name], new[name]):
            print(f"{each.name}: {name} is {old[name]} there and {new[name]} now; stays as it is")
    added = {name: value for name, value in new.items() if name not in old}
    whole = dict(sorted((old | added).items()))
    before = run.record.get("evaluation", {})
    reasons = {name: why for name, why in evaluation.pop("absent", {}).items() if name in added}
    merged = evaluation | before | {"absent": reasons | before.get("absent", {})}
    merged |= {key: before.get(key, {}) | evaluation[key] for key in ("cross_data",) if key in evaluation}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    again = {"at": now, "added": len(added), **each.requested.experiment.evaluate.described}
    whole = {name: math.nan if value is None else value for name, value in whole.items()}
    run.write_again(whole, evaluation=merged, evaluated_again=[*run.record.get("evaluated_again", []), again])
    print(f"{each.name}: {len(added)} metrics added, {len(old)} were there")


def _agree(old, new):
    if old is None or new is None:
        return old is new
    return math.isclose(old, new, rel_tol=SAME, abs_tol=1e-6)


def _across(trained):
    """The error of each run on the test examples of every data set among the runs, a matrix; added to the records."""
    import jax

    from aejax.evaluation.encoding import reconstructed

    sets = {dataset_key(each.job.dataset): each.job.dataset for each in trained}
    error = jax.jit(lambda experiment, params, x: ((reconstructed(experiment, params, x) - x) ** 2).mean())
    print("\nmean squared error, test examples of")
    for key, dataset in sets.items():
        labels = f", labels {', '.join(dataset.label_names)}" if dataset.label_names else ""
        print(f"  {key}: {len(dataset.test.x):,} examples{labels}")
    for each in trained:
        form, row = each.job.experiment.form, {}
        for key, dataset in sets.items():
            if dataset.form.shape == form.shape and (dataset.kind == "real") == (form.kind == "real"):
                x_NxP = dataset.form.scaled(dataset.test.x.reshape(len(dataset.test.x), -1))
                row[key] = float(str(np.float32(error(each.job.experiment, each.params, x_NxP))))
        print("  ".join(f"{row[key]:10.5f}" if key in row else f"{'-':>10}" for key in sets) + f"  {each.name}")
        told = {key: {"fingerprint": sets[key].fingerprint, "labels": list(sets[key].label_names)} for key in row}
        _write(each, {f"cross_data/{key}_mse": value for key, value in row.items()}, {"cross_data": told})


def dataset_key(dataset):
    """A name for a data set, and the beginning of its fingerprint: the same letters with other labels are others."""
    return f"{dataset.name}-{dataset.fingerprint[:8]}"
