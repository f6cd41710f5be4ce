"""Intervals and comparisons that are valid for few seeds."""

import numpy as np
from scipy import stats

LEVEL = 0.95
LEAST = 3  # runs for an interval
LEAST_PAIRS = 4  # for any claim
LEAST_FLIPS = 7  # pairs for the sign-flip test, which can hardly reach 5 % with fewer


def mean_interval(mean, std, n):
    """Half the width of Student's interval of a mean, from the sample's mean, standard deviation and size; arrays.

    nan where n < 3. Has its nominal coverage for normal data at any n; a percentile bootstrap of so few values is
    too narrow.
    """
    n = np.asarray(n, float)
    enough = np.where(n >= LEAST, n, np.nan)
    return stats.t.ppf(0.5 + LEVEL / 2, enough - 1) * np.asarray(std, float) / np.sqrt(enough)


def interquartile(values):
    """The interquartile mean of a sample without nan, and half the width of its interval (nan if n < 3).

    A quarter of the values is left out at either end, rounded down. The interval is Student's with the
    winsorized variance (Tukey & McLaughlin 1963).
    """
    values = np.sort(np.asarray(values, float))
    n, cut = len(values), len(values) // 4
    mean = stats.trim_mean(values, 0.25)
    if n < LEAST:
        return mean, np.nan
    winsorized = np.clip(values, values[cut], values[n - 1 - cut])
    error = np.std(winsorized, ddof=1) / ((1 - 2 * cut / n) * np.sqrt(n))
    return mean, stats.t.ppf(0.5 + LEVEL / 2, n - 2 * cut - 1) * error


def paired(difference_Mxn):
    """The p-values [M] of M comparisons from their paired differences [M, n]; nan if n < 4, too few for a claim.

    The p-value of Student's paired test, bounded below where only normality would support a claim. It is at least

    - 2 / 4^n. If the runs of two models with the same distribution fall into clusters, such as stuck and not stuck,
      all n differences can be close to the same number other than 0. The chance of that is at most 1/4 for each
      difference, whatever the clusters (Motzkin & Straus 1965), so 2 / 4^n for either sign.
    - the p-value of the exact sign-flip test (Fisher 1935), from n = 7 on, where that test does not reach 5 %.

    `python -m benchmarks.significance` measures the remaining errors.
    """
    difference_Mxn = np.atleast_2d(np.asarray(difference_Mxn, float))
    comparisons, n = difference_Mxn.shape
    if n < LEAST_PAIRS:
        return np.full(comparisons, np.nan)
    mean_M, error_M = difference_Mxn.mean(axis=1), difference_Mxn.std(axis=1, ddof=1) / np.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        score_M = np.where(mean_M == 0, 0.0, mean_M / error_M)
    p_M = np.maximum(2 * stats.t.sf(np.abs(score_M), n - 1), least_p(n))
    claimed = np.flatnonzero(p_M < 1 - LEVEL)
    if len(claimed) and n >= LEAST_FLIPS:
        flipped = sign_flips(difference_Mxn[claimed])
        p_M[claimed] = np.where(flipped < 1 - LEVEL, p_M[claimed], flipped)
    return p_M


def least_p(n):
    """The smallest p-value that n pairs can have, before Holm's correction."""
    return 2 * 4.0**-n


def sign_flips(difference_Mxn):
    """p-values [M] of the two-sided sign-flip test of a mean of 0: all flips up to n = 13, else 9,999 random ones."""
    n = difference_Mxn.shape[1]
    if n <= 13:  # one of each opposite pair, which give the same
        sign_Sxn = 1.0 - 2 * (np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1)
    else:
        drawn = np.random.default_rng(0).choice([-1.0, 1.0], (9999, n))
        sign_Sxn = np.concatenate([np.ones((1, n)), drawn])  # the observed signs are one of them
    p_M = np.empty(len(difference_Mxn))
    for start in range(0, len(p_M), 256):
        part = difference_Mxn[start : start + 256]
        reached = np.abs(part @ sign_Sxn.T) >= (1 - 1e-9) * np.abs(part.sum(axis=1, keepdims=True))
        p_M[start : start + 256] = reached.mean(axis=1)
    return p_M


def holm(p):
    """Holm's adjusted p-values (1979), which bound the chance of any false claim among all comparisons."""
    p = np.asarray(p, float)
    adjusted, known = np.full(p.shape, np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def improvement(a, b, higher):
    """The probability that a new run of `a` is better than one of `b`; ties count half (Agarwal et al. 2021, eq. 1)."""
    a, b = np.asarray(a)[:, None], np.asarray(b)[None]
    better = a > b if higher else a < b
    return float(np.mean(better + 0.5 * (a == b)))
