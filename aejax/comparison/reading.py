"""Folders of runs and sweeps -> one Entry for every run and every job, whole or not.

An index in the sweep's folder caches what was read; an entry is valid until the run's files change.
"""

import contextlib
import csv
import dataclasses
import hashlib
import json
import math
import os
import sys
from pathlib import Path

import yaml

from aejax.base.confinement import is_below
from aejax.base.errors import InputError
from aejax.base.files import octets, write_whole
from aejax.base.nested import dotted
from aejax.base.version import VERSION
from aejax.comparison import fields
from aejax.comparison.fields import Entry
from aejax.comparison.plain import plain
from aejax.metrics.lookup import renamed
from aejax.runs import contents
from aejax.runs.folder import FINISHED, LEDGER, SETTINGS, Run

INDEX = ".compare.json"
FORMAT = 4  # of the index; one of another format is rebuilt
NAMED = 3  # the first format of runs in which metrics have their present names
# The files that an Entry comes from.
READ = ("run.json", "metrics.json", "history.csv", f"{SETTINGS}/config.yaml", f"{SETTINGS}/hydra.yaml")
REST = ("history.csv", "params.safetensors", "codes.npz")  # each of these shows that a folder was a run's
UNREAD = {"wandb", "figures", SETTINGS}  # folders in which no runs are looked for
FAULTS = (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError, csv.Error)
# What reading a damaged or foreign file may raise; InputError is a ValueError.


def read(folders):
    """The Entries of all runs in and below `folders`; raises InputError if a folder holds none."""
    entries = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"{folder}: is not a folder; name the folder of a run or a sweep, or one above them")
        entries_below = list(_below(folder, set(), os.path.realpath(folder)))
        if not entries_below:
            raise InputError(f"{folder}: holds no runs; name the folder of a run or a sweep, or one above them")
        entries |= {os.path.abspath(entry.path): entry for entry in entries_below}
    return list(entries.values())


def _below(folder, seen, top, linked=False):
    """The Entries of a folder: of the run that it is, or of the runs and sweeps in it.

    `seen` holds the folders that were read, because links may form a cycle; `linked`: whether a link led to this one.
    A link that leaves the named folder `top` is followed only if it leads to a run or a sweep.
    """
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        names = {item.name for item in os.scandir(folder)}
    except OSError as error:  # the other folders are still read
        yield _unlisted(folder, error)
        return
    if "run.json" in names or (LEDGER not in names and names & {SETTINGS, *REST}):
        yield _entry(Run(folder))
    elif LEDGER in names or "multirun.yaml" in names:
        yield from _sweep(folder, top, keep=not linked)
    elif is_below(real, top):
        for name in _inside(folder):
            yield from _below(folder / name, seen, top, linked or (folder / name).is_symlink())
    else:
        reason = "is a link out of the named folder and neither a run nor a sweep; left out"
        print(f"aejax: {plain(str(folder))}: {reason}", file=sys.stderr)


def _unlisted(folder, error, sweep=None):
    """The Entry of a folder that cannot be listed."""
    return Entry(str(folder), plain(folder.name), "damaged", f"cannot be listed ({error.strerror})", None, sweep)


def _inside(folder):
    """The names of the folders in a folder that may be runs or hold some."""
    names = (item.name for item in os.scandir(folder) if os.path.isdir(item.path))  # False for a broken link
    return sorted((name for name in names if name not in UNREAD), key=_natural)


def _natural(name):
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _stamps(folder, top, above=""):
    """{path in the sweep's folder: stamp} of its runs, which hydra.sweep.subdir may nest."""
    stamps = {}
    for name in _inside(folder):
        if folder.resolve().is_relative_to(os.path.realpath(folder / name)):
            continue  # a link that forms a cycle
        stamp = _stamp(folder / name)
        if any(stamp) or any(os.path.exists(folder / name / file) for file in REST):
            stamps[above + name] = stamp
        elif is_below(folder / name, top):
            try:
                stamps |= _stamps(folder / name, top, f"{above}{name}/")
            except OSError:  # the Entry says why
                stamps[above + name] = stamp
    return stamps


def _sweep(folder, top, keep=True):
    """The Entries of a sweep: of the jobs in its ledger, and of runs that the ledger does not list.

    `keep`: whether to write the index; nothing is written outside the named folders.
    """
    index, fresh, jobs, stamps = _index(folder), {}, {}, _stamps(folder, os.path.realpath(folder) if not keep else top)
    try:
        jobs = {job["folder"] or f"job {job['number']}": job for job in _jobs(folder)}
    except FAULTS as error:  # then only the folders show which runs there are
        yield Entry(str(folder / LEDGER), LEDGER, "damaged", f"cannot be read ({_first(error)})")
    for name in [*stamps, *(name for name in jobs if name not in stamps)]:
        run, job = Run(folder / name), jobs.get(name, {})
        if name not in stamps:
            yield _unbegun(folder, name, job)
            continue
        stamp, known = stamps[name], None
        if name in index and index[name][0] == stamp:
            known = index[name][1]
        else:
            known = dataclasses.asdict(_entry(run, folder.name))
        fresh[name] = [stamp, known]
        origin = {"path": str(run.path), "sweep": folder.name, "overrides": job.get("overrides", [])}
        entry = Entry(**known | origin)
        if job.get("status") == "failed" and entry.status != "completed":
            entry.status, entry.reason = "failed", job.get("error")
        yield entry
    if fresh != index and keep:
        text = json.dumps(fresh, separators=(",", ":"))
        content = {"format": [FORMAT, VERSION], "digest": _digest(text), "runs": text}
        with contextlib.suppress(OSError):  # the index only saves time, and the folder may be read-only
            write_whole(folder / INDEX, json.dumps(content, separators=(",", ":")))


def _index(folder):
    """{name of a run: [stamp, fields of its Entry]} of the index; empty if it is damaged or of another version."""
    try:
        content = json.loads(octets(folder / INDEX, contents.MOST_LEDGER))
        if content["format"] != [FORMAT, VERSION] or content["digest"] != _digest(content["runs"]):
            return {}
        runs = json.loads(content["runs"])
        for stamp, known in runs.values():
            fields.check_all(known)
            if not isinstance(stamp, list):
                return {}
        return runs
    except (*FAULTS, AttributeError):  # none yet, or not ours: rebuilt
        return {}


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _jobs(folder):
    """The jobs in the ledger; empty without a ledger. Raises ValueError, KeyError or TypeError."""
    if not (folder / LEDGER).exists():  # Hydra's basic launcher writes none
        return []
    jobs = json.loads(octets(folder / LEDGER, contents.MOST_LEDGER))["jobs"]
    jobs = [{"folder": None, "overrides": [], "status": "planned"} | job for job in jobs]
    for job in jobs:
        text = (str, None)
        fields.check(job, folder=text, overrides=(list,), status=(str,), id=text, name=text, error=text)
        fields.check_items("overrides", job["overrides"], (str,))
        job |= {name: plain(job[name]) for name in ("id", "name", "status", "error") if job.get(name) is not None}
    return jobs


def _stamp(path):
    """The modification times and sizes of a run's files; zeros for absent ones."""
    stamp = []
    for name in READ:
        try:
            state = os.stat(f"{path}/{name}")
            stamp += [state.st_mtime_ns, state.st_size]
        except OSError:
            stamp += [0, 0]
    return stamp


def _unbegun(folder, name, job):
    """The Entry of a job without a run."""
    status, reason = job["status"], job.get("error")
    if status not in ("failed", "planned"):
        status, reason = "missing", "its folder is gone"
    label = job.get("name") or plain(" ".join(job["overrides"]) or name)
    return Entry(str(folder / name), label, status, reason, job.get("id"), folder.name, overrides=job["overrides"])


def _entry(run, sweep=None):
    """The Entry of a folder that holds a run, or what is left of one."""
    entry = Entry(str(run.path), plain(run.path.name), "half-deleted", None, None, sweep)
    faults = []  # why its settings cannot be read
    try:
        settings = flat(run.settings)
        choices = {plain(group): choice for group, choice in run.choices.items()}
        fields.check(choices, **dict.fromkeys(choices, (str, None)))
        if not choices:
            raise ValueError("hydra.yaml holds no choices")
        entry.settings = settings
        entry.choices = {group: None if choice is None else plain(choice) for group, choice in choices.items()}
    except FileNotFoundError:
        faults.append("no .hydra")
    except FAULTS as error:
        faults.append(f".hydra cannot be read ({_first(error)})")
    try:
        run = Run.read(run.path)
        record = fields.of_record(run.record)
    except FAULTS as error:
        exists = os.path.exists(run.path / "run.json")
        entry.status = "damaged" if exists else "half-deleted"
        reason = _first(error).removeprefix(f"{run.path}: ")
        entry.reason = f"run.json cannot be read ({reason})" if exists else "no run.json"
        try:
            os.listdir(run.path)
        except OSError as error:
            return _unlisted(run.path, error, sweep)
        return entry
    entry = dataclasses.replace(entry, **record)
    if entry.status in FINISHED:
        try:
            entry.metrics = _present(fields.of_metrics(run.metrics), run)
        except FileNotFoundError:
            entry.status, entry.reason = "half-deleted", "no metrics.json"
        except FAULTS as error:
            entry.status, entry.reason = "damaged", f"metrics.json cannot be read ({_first(error)})"
    if entry.status in FINISHED:
        try:
            entry.metrics = _validation(run, entry.settings.get("select")) | entry.metrics
        except FAULTS as error:
            entry.status, entry.reason = "damaged", f"history.csv cannot be read ({_first(error)})"
    if faults and entry.status in FINISHED:
        entry.status, entry.reason = "half-deleted" if faults == ["no .hydra"] else "damaged", faults[0]
    return entry


def _present(metrics, run):
    """The metrics of a run under their present names; runs of older formats use former ones."""
    return metrics if run.format >= NAMED else {renamed(name) or name: value for name, value in metrics.items()}


def _validation(run, select):
    """{valid/…: value} at the step whose parameters were kept; empty without a history."""
    if not (run.path / "history.csv").exists():
        return {}
    kept = {name: value for name, value in run.kept(select).items() if name.startswith("valid/")}
    return fields.of_metrics({name: value if math.isfinite(value) else None for name, value in kept.items()})


def _first(error):
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    return plain(text.splitlines()[0])[:200] if text else type(error).__name__


def flat(settings):
    """Settings by dotted name; lists become text, so that they can be compared."""
    return {plain(name): _scalar(value) for name, value in dotted(settings)}


def _scalar(value):
    """A setting's value as a number, a bool, None or text."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    return plain(json.dumps(value, default=str) if isinstance(value, list | dict) else value)


def overridden(words):
    """{key: value} of the settings and choices that a job's overrides set."""
    values = {}
    for word in words:
        key, sign, value = word.partition("=")
        if sign:
            try:
                value = yaml.safe_load(value)
            except (yaml.YAMLError, *FAULTS):  # keep the text
                pass
            values[plain(key.lstrip("+"))] = _scalar(value)
    return values
