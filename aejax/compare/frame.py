"""Entries as a DataFrame, what varies among them, and filters. A row is a run; settings and metrics are columns."""

import fnmatch
import operator
import re

import numpy as np
import pandas as pd

from aejax.compare.reading import Entry, overridden
from aejax.errors import InputError, matches, near

ALWAYS = ("model", "data", "noise", "latent_dim")  # the rows of the table, whether they vary or not
ASIDE = ("hydra", "track", "lanes", "checkpoint", "figures", "evaluate", "objective", "experiment", "sweep", "seed")
OWN = ("path", "name", "status", "reason", "id", "sweep")  # columns that are neither settings nor metrics
HIGHER = {  # last parts of names; better when larger
    "psnr", "ssim", "exact", "at_most_one_wrong", "knn_accuracy", "probe_accuracy", "silhouette", "nmi", "ari",
    "calinski_harabasz", "accuracy", "purity", "trustworthiness", "continuity", "elbo",
}  # fmt: skip
LOWER = {  # better when smaller
    "mse", "sse", "bce", "mae", "rmse", "lpips", "pixel_errors_mean", "pixel_errors_max", "davies_bouldin", "nll",
    "bpd", "fid",
}  # fmt: skip
SIGNS = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
CONDITION = re.compile(r"([\w./+-]+?)(<=|>=|!=|==|=|<|>)(?!=)(.+)")
BETWEEN = re.compile(r"\s+(?=[\w./+-]+(?:<=|>=|!=|==|=|<|>))")  # conditions in one text; a value may have spaces


def better(metric):
    """1 where a larger value of this metric is better, -1 where a smaller one is, 0 where neither can be said."""
    last = metric.rpartition("/")[2]
    return int(last in HIGHER) - int(last in LOWER)


class Runs:
    """All runs: `frame`, a row each; `metrics` and `settings`, the names of those columns; `notes`, what to tell."""

    def __init__(self, entries):
        entries, copies = _unique(entries)
        settings = [_settings(entry) for entry in entries]
        known = pd.DataFrame(settings, dtype=object)  # whole numbers stay whole beside what is absent
        metrics = pd.DataFrame([entry.metrics for entry in entries], dtype=float)
        own = pd.DataFrame([{name: getattr(entry, name) for name in OWN} for entry in entries])
        own["data_fingerprint"] = [entry.data.get("fingerprint") for entry in entries]
        own["parameters"] = [entry.parameters for entry in entries]
        known = known.drop(columns=[name for name in known if name in own or name in metrics])
        self.frame = pd.concat([own, known, metrics], axis=1)
        for name in (*ALWAYS, "seed"):
            if name not in self.frame:
                self.frame[name] = pd.Series(None, self.frame.index, dtype=object)
        self.entries = entries
        self.settings, self.metrics = list(known), sorted(metrics)
        self.groups = sorted({group for entry in entries for group in entry.choices})
        told = "1 run is a copy of another" if copies == 1 else f"{copies} runs are copies of others"
        self.notes = [f"{told} and counted once"] if copies else []
        self._fill()
        self.varying = self._varying()

    def where(self, words):
        """Keeps the runs that fulfil all conditions, as `model=vae latent_dim<=8`; raises InputError."""
        for word in words:
            key, test = condition(word, [*self.settings, *self.metrics, *OWN])
            keep = [test(value) for value in self.frame[key]]
            self.frame = self.frame[keep].reset_index(drop=True)
            self.entries = [entry for entry, kept in zip(self.entries, keep, strict=True) if kept]
            if self.frame.empty:
                raise InputError(f"{word}: no run is left; must keep one at the least")
        self.varying = self._varying()

    @property
    def completed(self):
        """The rows of the runs that make the means."""
        return self.frame[self.frame["status"] == "completed"]

    def _varying(self):
        """The keys whose values differ, in their order: what a run is told by, but for its seed.

        A setting of a group, as noise.level, counts where it differs among runs of the same choice of that group.
        """
        real = self.frame[[bool(entry.settings) for entry in self.entries]]
        names = [name for name in (*ALWAYS, *self.groups, *sorted(self.settings)) if name in self.frame]
        found = []
        for name in dict.fromkeys(names):
            group = name.partition(".")[0]
            if group in ASIDE or name in OWN:
                continue
            values = real[name].map(repr)
            if "." in name and group in self.groups:
                differs = (values.groupby(real[group].map(repr)).nunique() > 1).any()
            else:
                differs = values.nunique() > 1
            if differs:
                found.append(name)
        return found

    @property
    def rows(self):
        """The keys that the rows of a table stand for by default."""
        return [*ALWAYS, *(name for name in self.varying if name not in ALWAYS)]

    def check_keys(self, option, keys):
        """Raises InputError where one of the keys is no setting."""
        for key in keys:
            if key not in self.settings and key not in ALWAYS:
                raise InputError(f"--{option} {key}: no such setting; {_told(key, self.settings, self.rows)}")

    def metrics_of(self, patterns):
        """The metrics that names and patterns (robust/*/0.3/mse) stand for; raises InputError where one fits none."""
        found = {}
        for pattern in patterns:
            names = fnmatch.filter(self.metrics, pattern)
            if not names:
                raise InputError(f"--metrics {pattern}: no run has it; {near(pattern, self.metrics)}")
            found |= dict.fromkeys(names)
        return list(found)

    def _fill(self):
        """Gives jobs without a run the settings that their overrides and the rest of their sweep leave no doubt of."""
        usual = {}  # {sweep: {key: the values that its runs have}}
        for entry in self.entries:
            if entry.settings:
                own = _settings(entry)
                for name in (*ALWAYS, *self.groups, "seed"):
                    usual.setdefault(entry.sweep, {}).setdefault(name, {})[repr(own.get(name))] = own.get(name)
        columns = set(self.settings) | {*ALWAYS, "seed"}
        for place, entry in enumerate(self.entries):
            if entry.settings or entry.sweep is None:
                continue
            known = usual.get(entry.sweep, {})
            sure = {name: next(iter(values.values())) for name, values in known.items() if len(values) == 1}
            for name, value in (sure | overridden(entry.overrides)).items():
                if name in columns:
                    self.frame.at[place, name] = value


def _settings(entry: Entry):
    data = {"data": entry.data["name"]} if "name" in entry.data else {}
    choices = {name: "none" if choice is None else choice for name, choice in entry.choices.items()}
    return data | entry.settings | choices


def _unique(entries):
    """The entries without copies of others, and how many those were."""
    seen, kept = set(), []
    for entry in entries:
        if entry.id is not None and entry.status in ("completed", "diverged"):
            if entry.id in seen:
                continue
            seen.add(entry.id)
        kept.append(entry)
    return kept, len(entries) - len(kept)


def conditions(text):
    """The conditions in one text, which spaces divide."""
    return BETWEEN.split(text.strip()) if text.strip() else []


def condition(word, known):
    """The key of a condition and the test of a value; raises InputError where it does not parse."""
    found = CONDITION.fullmatch(word)
    if not found:
        raise InputError(f"{word}: is no condition; must be key=value, or with one of {' '.join(SIGNS)}")
    key, sign, text = found.groups()
    if key not in known:
        raise InputError(f"{word}: no such setting or metric; {_told(key, known, known)}")
    if sign in ("<", "<=", ">", ">="):
        try:
            limit = float(text)
        except ValueError:
            raise InputError(f"{word}: {text} is no number; must be one after {sign}") from None
        return key, lambda value: _is_number(value) and SIGNS[sign](float(value), limit)
    wanted = [text] if text.startswith("[") else [text, *text.split(",")]
    return key, lambda value: any(_same(value, each) for each in wanted) is (sign != "!=")


def _same(value, text):
    if _is_number(value):
        try:
            return float(value) == float(text)
        except ValueError:
            return False
    if text.startswith("["):  # a list, written with spaces or without
        return _word(value).replace(" ", "") == text.replace(" ", "")
    return _word(value) == text


def _is_number(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and not np.isnan(value)


def _word(value):
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _told(word, known, short):
    """What `word` may have meant, and the most useful of what is known."""
    return f"{matches(word, known)}known: {', '.join(map(str, short[:12]))}{', …' if len(short) > 12 else ''}"
