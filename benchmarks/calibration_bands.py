"""Simultaneous bands of the empirical distribution, and of the histogram, of ranks that are uniform.

The number of N ranks below r is binomial, so each r has an interval. For a given share of data sets to lie inside all
intervals at once, the intervals have smaller tails, gamma / 2 each; gamma is found by simulation.

References
----------
Säilynoja, Bürkner & Vehtari (2022), Graphical test for discrete uniformity and its applications in goodness-of-fit
evaluation and multiple sample comparison, Statistics and Computing 32, 32.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.stats import binom

SIMULATIONS, CHUNK = 100_000, 10_000


@cache
def _tails(n: int, n_ranks: int) -> np.ndarray:
    """Twice the smaller tail at k of n ranks below r, for k = 0, ..., n and r = 1, ..., n_ranks - 1."""
    k, z = np.arange(n + 1)[:, None], np.arange(1, n_ranks) / n_ranks
    return 2 * np.minimum(binom.cdf(k, n, z), binom.sf(k - 1, n, z))


@cache
def _least_tails(n: int, n_ranks: int) -> np.ndarray:
    """Simulate the least tail over all r of n uniform ranks; sorted."""
    rng, tails, at = np.random.default_rng(0), _tails(n, n_ranks), np.arange(n_ranks - 1)
    found = []
    for _ in range(0, SIMULATIONS, CHUNK):
        frequencies = rng.multinomial(n, np.full(n_ranks, 1 / n_ranks), size=CHUNK)
        found.append(tails[frequencies.cumsum(axis=1)[:, :-1], at].min(axis=1))
    return np.sort(np.concatenate(found))


def counts_below(ranks: np.ndarray, n_ranks: int) -> np.ndarray:
    """Count the ranks below 1, ..., n_ranks - 1."""
    return np.bincount(ranks, minlength=n_ranks).cumsum()[:-1]


def band(n: int, n_ranks: int, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest counts below 1, ..., n_ranks - 1 of uniform ranks; all hold at once with this probability.

    Parameters
    ----------
    n : int
        Number of ranks.
    n_ranks : int
        Ranks are 0, ..., n_ranks - 1.
    coverage : float
        At least; counts are whole numbers.
    """
    gamma = np.quantile(_least_tails(n, n_ranks), 1 - coverage, method="lower")
    inside = _tails(n, n_ranks) >= gamma
    return inside.argmax(axis=0), n - inside[::-1].argmax(axis=0)


def outside(ranks: np.ndarray, n_ranks: int, coverage: float) -> np.ndarray:
    """Whether the count below each of 1, ..., n_ranks - 1 lies outside of the band."""
    low, high = band(len(ranks), n_ranks, coverage)
    counts = counts_below(ranks, n_ranks)
    return (counts < low) | (counts > high)


def histogram(ranks: np.ndarray, n_ranks: int, n_bins: int) -> np.ndarray:
    """Count the ranks in equal bins; their number divides the number of ranks."""
    return np.bincount(ranks // (n_ranks // n_bins), minlength=n_bins)


def histogram_band(n: int, n_bins: int, coverage: float) -> tuple[int, int]:
    """Least and greatest counts in equal bins of n uniform ranks; those of all bins hold at once with this probability.

    As `band`, of the counts in the bins in place of those below.
    """
    k, z = np.arange(n + 1), 1 / n_bins
    tails = 2 * np.minimum(binom.cdf(k, n, z), binom.sf(k - 1, n, z))
    counts = np.random.default_rng(0).multinomial(n, np.full(n_bins, z), size=SIMULATIONS)
    inside = tails >= np.quantile(tails[counts].min(axis=1), 1 - coverage, method="lower")
    return int(inside.argmax()), int(n - inside[::-1].argmax())


def p_value(ranks: np.ndarray, n_ranks: int) -> float:
    """How often uniform ranks come as near to the edge of a band, or nearer."""
    n = len(ranks)
    least = _tails(n, n_ranks)[counts_below(ranks, n_ranks), np.arange(n_ranks - 1)].min()
    return (np.searchsorted(_least_tails(n, n_ranks), least, side="right") + 1) / (SIMULATIONS + 1)
