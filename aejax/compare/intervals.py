"""Intervals and comparisons that hold for the few seeds that there are."""

import numpy as np
from scipy import stats

LEVEL = 0.95
LEAST = 3  # runs; fewer make no interval and no claim


def mean_interval(mean, std, n):
    """Half the width of Student's interval of a mean, from the sample's mean, standard deviation and size; arrays.

    nan where n < 3. Covers for normal data at any n, where a percentile bootstrap of so few values is too narrow.
    """
    n = np.asarray(n, float)
    enough = np.where(n >= LEAST, n, np.nan)
    return stats.t.ppf(0.5 + LEVEL / 2, enough - 1) * np.asarray(std, float) / np.sqrt(enough)


def interquartile(values):
    """The interquartile mean of a sample without nan, and half the width of its interval, nan where n < 3.

    The quarter of the values at either end is left out (as many as fit whole). The interval is Student's with the
    winsorised variance (Tukey & McLaughlin 1963).
    """
    values = np.sort(np.asarray(values, float))
    n, cut = len(values), len(values) // 4
    mean = stats.trim_mean(values, 0.25)
    if n < LEAST:
        return mean, np.nan
    winsorised = np.clip(values, values[cut], values[n - 1 - cut])
    error = np.std(winsorised, ddof=1) / ((1 - 2 * cut / n) * np.sqrt(n))
    return mean, stats.t.ppf(0.5 + LEVEL / 2, n - 2 * cut - 1) * error


def paired(mean, std, n):
    """The p-value of Student's paired test, from the mean, standard deviation and number of the differences; arrays.

    nan where n < 3. Differences that are all alike leave no doubt: p is 1 where they are 0, else 0.
    """
    mean, n = np.asarray(mean, float), np.asarray(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(mean == 0, 0.0, mean / (np.asarray(std, float) / np.sqrt(n)))
    return np.where(n >= LEAST, 2 * stats.t.sf(np.abs(score), np.maximum(n - 1, 1)), np.nan)


def holm(p):
    """Holm's adjusted p-values (1979): the chance of any false finding among all of these stays below the level."""
    p = np.asarray(p, float)
    adjusted, known = np.full(p.shape, np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def improvement(a, b, higher):
    """The probability that a new run of `a` is better than one of `b`, ties by half (Agarwal et al. 2021, eq. 1)."""
    a, b = np.asarray(a)[:, None], np.asarray(b)[None]
    better = a > b if higher else a < b
    return float(np.mean(better + 0.5 * (a == b)))
