"""Quantiles of a response whose mean is known by draws: of a mixture with one component per draw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtri

from bayesmixed.families import Family

# A Newton step of so many standard deviations is the last: what it leaves is of the order of its square, while the
# Monte Carlo error of some thousand draws is a hundredth
_LAST_STEP = 3e-4
_ITERATIONS = 100  # at most: a bracket halved so often is a point


def mixture_quantiles(
    family: Family, mu: np.ndarray, auxiliary: Mapping[str, np.ndarray], probabilities: np.ndarray
) -> np.ndarray:
    """Solve ``mean over draws of cdf(t, mu, **auxiliary) = p`` for t, row by row, by Newton's method in a bracket.

    The noise is integrated, not drawn: a row's quantiles depend on nothing but the draws of its mean.

    Parameters
    ----------
    family : Family
        Of a continuous response.
    mu : numpy.ndarray of shape (S, n)
        Draws of the mean.
    auxiliary : dict of str to numpy.ndarray of shape (S, 1) or (S, n)
    probabilities : numpy.ndarray of shape (k,)
        In (0, 1).

    Returns
    -------
    numpy.ndarray of shape (k, n)
        NaN where `mu` is.

    Examples
    --------
    >>> from bayesmixed.families import get_family
    >>> mu, sigma = np.array([[0.0], [0.0]]), np.array([[1.0], [1.0]])
    >>> mixture_quantiles(get_family("gaussian"), mu, {"sigma": sigma}, np.array([0.5, 0.975])).round(2).tolist()
    [[0.0], [1.96]]
    """
    centre = mu.mean(axis=0)
    spread = np.sqrt(mu.var(axis=0) + np.mean(family.variance(mu, **auxiliary), axis=0))
    result = np.empty((len(probabilities), mu.shape[1]))
    for at, p in enumerate(probabilities):
        components = family.quantile(p, mu, **auxiliary)
        # a quantile of a mixture is between those of its components
        low, high = components.min(axis=0), components.max(axis=0)
        t = np.clip(centre + spread * ndtri(p), low, high)
        active = np.arange(mu.shape[1])
        for _ in range(_ITERATIONS):
            every = len(active) == mu.shape[1]
            some_mu = mu if every else mu[:, active]
            some = dict(auxiliary) if every else {key: _take(values, active) for key, values in auxiliary.items()}
            excess = np.mean(family.cdf(t[active], some_mu, **some), axis=0) - p
            density = np.mean(np.exp(family.log_density(t[active], some_mu, **some)), axis=0)
            low[active] = np.where(excess < 0, t[active], low[active])
            high[active] = np.where(excess > 0, t[active], high[active])
            with np.errstate(divide="ignore", invalid="ignore"):  # between two components there may be no density
                newton = t[active] - excess / density
            inside = (newton >= low[active]) & (newton <= high[active])
            new = np.where(inside, newton, (low[active] + high[active]) / 2)
            moved = np.abs(new - t[active])
            t[active] = new
            last = np.where(inside, _LAST_STEP, 1e-9) * spread[active]
            active = active[moved > last]  # not so for NaN
            if not len(active):
                break
        result[at] = t
    return result


def _take(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return values[:, rows] if values.shape[1] > 1 else values
