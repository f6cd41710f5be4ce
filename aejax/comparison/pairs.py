"""Is a difference real? Configurations compared pairwise on the same seeds, with Holm's correction."""

import itertools

import numpy as np
import pandas as pd

from aejax.comparison.comparability import difference
from aejax.comparison.frame import Runs
from aejax.comparison.intervals import LEAST_PAIRS, LEVEL, holm, improvement, least_p, mean_interval, paired
from aejax.comparison.labels import names
from aejax.metrics.lookup import better

CIRCUMSTANCES = ("data", "noise", "latent_dim")  # under which models are compared, unless these are the question
MOST = 3000  # comparisons; with more, Holm's correction could hardly show any difference
BETTER, WORSE, OPEN, INCOMPARABLE = "better", "worse", "open", "not comparable"
FEW = f"n < {LEAST_PAIRS}: no claim"
NAMED = 2  # pairs named with a reason why they are not comparable


def question(runs: Runs, rows, keys=None):
    """What is compared, and under which circumstances: two lists of settings.

    By default what makes a model is compared: all rows but data, noise and code size; if nothing else varies, the
    first of noise, code size and data that does.
    """
    varying = [key for key in rows if key in runs.varying]
    if keys:
        factors = list(keys)
    else:
        factors = [key for key in varying if key.partition(".")[0] not in CIRCUMSTANCES]
        for group in ("noise", "latent_dim", "data"):
            factors = factors or [key for key in varying if key.partition(".")[0] == group]
    return factors, [key for key in _free(runs, factors) if key in rows]


def _free(runs, factors):
    """The settings that can be held equal: all that vary, but the compared ones and what follows from them."""
    if not factors:
        return []
    done = runs.completed
    by = [done[key].map(repr) for key in factors]
    rest = [key for key in runs.varying if key not in factors]
    return [key for key in rest if (done[key].map(repr).groupby(by).nunique() > 1).any()]


def compared(runs: Runs, rows, metrics, keys=None):
    """A DataFrame with a row for each metric, set of circumstances, and pair of configurations `a` and `b`.

    Runs are paired by seed and by whatever else was averaged over; the pairs of a seed are averaged, so n is the
    number of seeds. `difference` is a minus b, with its own 95 % interval; `improvement` is the probability that a
    run of a is better; `p_holm` is corrected over all of these rows. The verdict says what a is: better, worse
    (higher, lower where neither is better), open, or why there is no claim; what is not comparable is null, and
    `reason` says why.
    """
    factors, rest = question(runs, rows, keys)
    if not factors:
        return _none()
    done = runs.completed
    label = names(done, factors)
    partner = [key for key in _free(runs, factors) if key not in rest]
    columns = {"label": label, "where": names(done, rest), "seed": done["seed"].map(repr).to_numpy()}
    frame = pd.DataFrame(columns | {"partner": names(done, partner)}, done.index)
    order = list(dict.fromkeys(label))
    comparisons = []
    for metric in metrics:
        codes, known = runs.problems(metric)
        values = frame.assign(value=done[metric], problem=codes[done.index]).dropna(subset="value")
        for where, part in values.groupby("where", sort=False):
            grid = part.pivot_table(index=["seed", "partner"], columns="label", values="value")
            measured = part.groupby("label")["problem"].unique()
            is_single = grid.index.get_level_values("seed").is_unique
            for a, b in itertools.combinations([name for name in order if name in grid], 2):
                both = grid[[a, b]].dropna()
                both = both.to_numpy() if is_single else both.groupby("seed").mean().to_numpy()
                reason = difference([known[code] for code in dict.fromkeys([*measured[a], *measured[b]])])
                if len(both):
                    comparisons.append((metric, where, a, b, both, reason))
                if len(comparisons) > MOST:
                    return _none(
                        f"more than {MOST:,} pairs: --compare KEY chooses among them, a condition leaves runs out"
                    )
    return _tested(comparisons) if comparisons else _none()


def _none(reason=None):
    """An empty DataFrame, with the reason in its attrs."""
    empty = pd.DataFrame(columns=["metric", "a", "b", "verdict", "reason"])
    empty.attrs["reason"] = reason
    return empty


def _tested(comparisons):
    """The DataFrame of `comparisons`: (metric, where, a, b, values [n, 2], why they are not comparable) of each."""
    directions = [better(metric) for metric, *_ in comparisons]
    reasons = [reason for *_, reason in comparisons]
    values = [both if reason is None else both[:0] for *_, both, reason in comparisons]
    differences = [both[:, 0] - both[:, 1] for both in values]
    n = np.array([len(difference_n) for difference_n in differences])
    mean = np.array([difference_n.mean() if len(difference_n) else np.nan for difference_n in differences])
    std = np.array([difference_n.std(ddof=1) if len(difference_n) > 1 else np.nan for difference_n in differences])
    half, p = mean_interval(mean, std, n), np.full(len(comparisons), np.nan)
    for size in set(n.tolist()) - {0}:
        alike = np.flatnonzero(n == size)
        p[alike] = paired(np.array([differences[place] for place in alike]))
    p_holm = holm(p)
    signs = np.where(p_holm < 1 - LEVEL, np.sign(mean), 0)
    return pd.DataFrame(
        {
            "metric": [row[0] for row in comparisons],
            "where": [row[1] for row in comparisons],
            "a": [row[2] for row in comparisons],
            "b": [row[3] for row in comparisons],
            "n": [len(both) for *_, both, _ in comparisons],
            "difference": mean,
            "low": mean - half,
            "high": mean + half,
            "improvement": [
                np.nan if np.isnan(known) or not direction else improvement(both[:, 0], both[:, 1], direction > 0)
                for both, direction, known in zip(values, directions, p, strict=True)
            ],
            "p": p,
            "p_holm": p_holm,
            "verdict": [_verdict(*row) for row in zip(reasons, p, signs, directions, strict=True)],
            "reason": pd.Series(reasons, dtype=object),
        }
    )


def _verdict(reason, p, sign, direction):
    """The verdict about a, from the sign of the difference (0 if none is shown) and the direction that is better."""
    if reason:
        return INCOMPARABLE
    if np.isnan(p):
        return FEW
    if not sign:
        return OPEN
    if not direction:
        return "higher" if sign > 0 else "lower"
    return BETTER if sign == direction else WORSE


def verdicts(pairs, rest):
    """A sentence for each metric and pair: under how many of the circumstances `rest` one beats the other."""
    lines = [pairs.attrs["reason"]] if pairs.attrs.get("reason") else []
    kinds = "data sets" if rest == ["data"] else f"combinations of {', '.join(rest)}"
    for (metric, a, b), part in pairs.groupby(["metric", "a", "b"], sort=False):
        part = part[part["verdict"] != INCOMPARABLE]
        if part.empty:
            continue
        counts = part["verdict"].value_counts()
        judged = len(part) - counts.get(FEW, 0)
        if not judged:
            lines.append(f"{metric}: no claim about {a} and {b}: fewer than {LEAST_PAIRS} seeds in common")
            continue
        few = f"; no claim on {counts[FEW]} with n < {LEAST_PAIRS}" if counts.get(FEW, 0) else ""
        won, lost = counts.get(BETTER, 0), counts.get(WORSE, 0)
        if better(metric) == 0:
            up, down = counts.get("higher", 0), counts.get("lower", 0)
            lines.append(f"{metric}: {a} is higher than {b} on {up} and lower on {down} of {judged}{few}")
            continue
        first, second, wins, losses = (a, b, won, lost) if won >= lost else (b, a, lost, won)
        if len(part) == 1:
            one = part.iloc[0]
            result = f"{first} beats {second}" if wins else f"no difference between {a} and {b} is shown"
            chance = one["improvement"] if first == a else 1 - one["improvement"]
            who = f", better in {chance:.0%} of the pairs of runs" if wins else ""
            lines.append(f"{metric}: {result} (n = {one['n']}, Holm p = {one['p_holm']:.2g}{who})")
        elif wins:
            lines.append(
                f"{metric}: {first} beats {second} on {wins} of {judged} {kinds}, loses on {losses}, open on "
                f"{judged - wins - losses}{few}"
            )
        else:
            lines.append(f"{metric}: no difference between {a} and {b} is shown on any of {judged} {kinds}{few}")
    return _too_few(pairs) + lines + _obstacles(pairs[pairs["verdict"] == INCOMPARABLE])


def _too_few(pairs):
    """A line if there are so many comparisons that their seeds could show no difference, however large."""
    tested = pairs[pairs["p"].notna()] if "p" in pairs else pairs
    family = len(tested)
    hopeless = tested[least_p(tested["n"]) * family >= 1 - LEVEL] if family else tested
    if hopeless.empty:
        return []
    n = int(hopeless["n"].max())
    needed = next(seeds for seeds in range(n, 100) if least_p(seeds) * family < 1 - LEVEL)
    return [
        f"n = {n} can show no difference among {family} comparisons, however large: {needed} seeds can, or fewer "
        "comparisons (--compare, --metrics, a condition)"
    ]


def _obstacles(pairs):
    """A line for each reason why pairs are not comparable, with the metrics and pairs."""
    lines = []
    for reason, part in pairs.groupby("reason", sort=False):
        both = list(dict.fromkeys(f"{a} and {b}" for a, b in zip(part["a"], part["b"], strict=True)))
        remainder = f" and {len(both) - NAMED} more pairs" if len(both) > NAMED else ""
        metrics = ", ".join(dict.fromkeys(part["metric"]))
        lines.append(f"{metrics}: not comparable for {'; '.join(both[:NAMED])}{remainder}: {reason}")
    return lines
