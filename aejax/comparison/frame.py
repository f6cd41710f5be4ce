"""Entries as a DataFrame, what varies among them, and filters. Each row is a run; settings and metrics are columns."""

import fnmatch
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aejax.base.errors import InputError, matches, near
from aejax.comparison.comparability import aspects, difference, problem
from aejax.comparison.fields import MAIN, OWN, Entry
from aejax.comparison.reading import overridden
from aejax.metrics.lookup import renamed
from aejax.runs.folder import FINISHED

ASIDE = (
    "hydra",
    "track",
    "lanes",
    "mesh",
    "checkpoint",
    "figures",
    "evaluate",
    "objective",
    "experiment",
    "sweep",
    "seed",
)
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
# Between conditions in one text; a value may hold spaces.
BETWEEN = re.compile(r"\s+(?=[\w./+-]+(?:<=|>=|!=|==|=|<|>))")


class Runs:
    """All runs: `frame`, a row each; `metrics` and `settings`, the names of those columns; `notes` for the reader."""

    def __init__(self, entries: list[Entry]) -> None:
        entries, copies = _unique(entries)
        settings = [_settings(entry) for entry in entries]
        known = pd.DataFrame(settings, dtype=object)  # whole numbers stay whole beside missing values
        metrics = pd.DataFrame([entry.metrics for entry in entries], dtype=float)
        columns = pd.DataFrame([{name: getattr(entry, name) for name in OWN} for entry in entries])
        columns["data_fingerprint"] = [entry.data.get("fingerprint") for entry in entries]
        columns["parameters"] = [entry.parameters for entry in entries]
        known = known.drop(columns=[name for name in known if name in columns])
        metrics = metrics.drop(columns=[name for name in metrics if name in columns or name in known])
        self.frame = pd.concat([columns, known, metrics], axis=1)
        for name in (*MAIN, "seed"):
            if name not in self.frame:
                self.frame[name] = pd.Series(None, self.frame.index, dtype=object)
        self.entries = entries
        self.settings, self.metrics = list(known), sorted(metrics)
        self.groups = sorted({group for entry in entries for group in entry.choices})
        message = "1 run is a copy of another" if copies == 1 else f"{copies} runs are copies of others"
        self.notes = [f"{message} and counted once"] if copies else []
        self._fill()
        self._aspects = {id(entry): aspects(entry) for entry in entries}
        self.varying = self._varying()

    def problems(self, metric: str) -> tuple[pd.Series, dict[int, Any]]:
        """A number for each run, equal where values of the metric are comparable, and {number: what it measures}."""
        numbers: dict[Any, int] = {}
        codes = [numbers.setdefault(problem(self._aspects[id(entry)], metric), len(numbers)) for entry in self.entries]
        return pd.Series(codes, self.frame.index, dtype=int), {code: measured for measured, code in numbers.items()}

    def obstacle(self, metric: str, places: Any) -> str | None:
        """Why values of a metric in these rows of the frame are not comparable; None if they are."""
        codes, known = self.problems(metric)
        return difference([known[code] for code in dict.fromkeys(codes[places])])

    def where(self, words: Sequence[str]) -> None:
        """Keeps the runs that meet all conditions, such as `model=vae latent_dim<=8`; raises InputError."""
        for word in words:
            key, test = condition(word, [*self.settings, *self.metrics, *OWN])
            keep = [test(value) for value in self.frame[key]]
            if not any(keep):
                values = sorted({str(value) for value in self.frame[key]})
                raise InputError(f"{word}: no run matches; the runs have {key}={', '.join(values[:10])}")
            self.frame = self.frame[keep].reset_index(drop=True)
            self.entries = [entry for entry, kept in zip(self.entries, keep, strict=True) if kept]
        self.varying = self._varying()

    @property
    def completed(self) -> pd.DataFrame:
        """The rows of the completed runs, over which means are taken."""
        return self.frame[self.frame["status"] == "completed"]

    def _varying(self) -> list[str]:
        """The keys whose values differ, in order: what distinguishes runs, other than the seed.

        A setting of a group, such as noise.level, counts if it differs among runs with the same choice of that group.
        """
        real = self.frame[[bool(entry.settings) for entry in self.entries]]
        names = [name for name in (*MAIN, *self.groups, *sorted(self.settings)) if name in self.frame]
        varying = []
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
                varying.append(name)
        return varying

    @property
    def rows(self) -> list[str]:
        """The default rows of a table: the keys that vary, also among jobs without a run."""
        main = [key for key in MAIN if key in self.varying or self.frame[key].dropna().map(repr).nunique() > 1]
        return [*main, *(key for key in self.varying if key not in MAIN)] or ["model"]

    @property
    def common(self) -> dict[str, Any]:
        """{key: value} of the main settings that all runs share."""
        values = {key: self.frame[key].dropna() for key in MAIN}
        return {key: value.iloc[0] for key, value in values.items() if value.map(repr).nunique() == 1}

    def check_keys(self, option: str, keys: Sequence[str]) -> None:
        """Raises InputError if a key is not a setting."""
        for key in keys:
            if key not in self.settings and key not in MAIN:
                known = list(dict.fromkeys([*self.rows, *MAIN]))
                raise InputError(f"--{option} {key}: no such setting; {_suggestion(key, self.settings, known)}")

    def metrics_of(self, patterns: Sequence[str]) -> list[str]:
        """The metrics that match names and patterns (robust/*/0.3/mse); raises InputError if one matches none."""
        metrics: dict[str, None] = {}
        for pattern in patterns:
            names = fnmatch.filter(self.metrics, pattern)
            if not names and renamed(pattern):
                raise InputError(f"--metrics {pattern}: no such metric; it is now {renamed(pattern)}")
            if not names:
                raise InputError(f"--metrics {pattern}: no run has it; {near(pattern, self.metrics)}")
            metrics |= dict.fromkeys(names)
        return list(metrics)

    def _fill(self) -> None:
        """Gives jobs without a run the settings that their overrides and the rest of their sweep determine."""
        usual: dict[str | None, dict[str, dict[str, Any]]] = {}  # {sweep: {key: the values that its runs have}}
        for entry in self.entries:
            if entry.settings:
                settings = _settings(entry)
                for name in (*MAIN, *self.groups, "seed"):
                    value = settings.get(name)
                    usual.setdefault(entry.sweep, {}).setdefault(name, {})[repr(value)] = value
        columns = set(self.settings) | {*MAIN, "seed"}
        for place, entry in enumerate(self.entries):
            if entry.settings or entry.sweep is None:
                continue
            known = usual.get(entry.sweep, {})
            sure = {name: next(iter(values.values())) for name, values in known.items() if len(values) == 1}
            for name, value in (sure | overridden(entry.overrides)).items():
                if name in columns:
                    self.frame.at[place, name] = value


def _settings(entry: Entry) -> dict[str, Any]:
    data = {"data": entry.data["name"]} if "name" in entry.data else {}
    choices = {name: "none" if choice is None else choice for name, choice in entry.choices.items()}
    return data | entry.settings | choices


def _unique(entries: list[Entry]) -> tuple[list[Entry], int]:
    """The entries without copies of others, and the number of copies."""
    seen, kept = set(), []
    for entry in entries:
        if entry.id is not None and entry.status in FINISHED:
            if entry.id in seen:
                continue
            seen.add(entry.id)
        kept.append(entry)
    return kept, len(entries) - len(kept)


def conditions(text: str) -> list[str]:
    """The conditions in one text, separated by spaces."""
    return BETWEEN.split(text.strip()) if text.strip() else []


def condition(word: str, known: Sequence[str]) -> tuple[str, Callable[[Any], bool]]:
    """The key of a condition and a test of its value; raises InputError if it does not parse."""
    match = CONDITION.fullmatch(word)
    if not match:
        raise InputError(f"{word}: is not a condition; write key=value, or another of {' '.join(SIGNS)}")
    key, sign, text = match.groups()
    if key not in known and renamed(key):
        raise InputError(f"{word}: no such metric; {key} is now {renamed(key)}")
    if key not in known:
        raise InputError(f"{word}: no such setting or metric; {_suggestion(key, known, known)}")
    if sign in ("<", "<=", ">", ">="):
        try:
            limit = float(text)
        except ValueError:
            raise InputError(f"{word}: {text} is not a number; write one after {sign}") from None
        return key, lambda value: _is_number(value) and SIGNS[sign](float(value), limit)
    wanted = [text] if text.startswith("[") else [text, *text.split(",")]
    return key, lambda value: any(_same(value, allowed) for allowed in wanted) is (sign != "!=")


def _same(value: Any, text: str) -> bool:
    if _is_number(value):
        try:
            return float(value) == float(text)
        except ValueError:
            return False
    if text.startswith("["):  # a list, written with spaces or without
        return _word(value).replace(" ", "") == text.replace(" ", "")
    return _word(value) == text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and not np.isnan(value)


def _word(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _suggestion(word: str, known: Sequence[str], short: Sequence[str]) -> str:
    """What `word` may have meant, and the first names of `short`."""
    return f"{matches(word, known)}known: {', '.join(map(str, short[:12]))}{', …' if len(short) > 12 else ''}"
