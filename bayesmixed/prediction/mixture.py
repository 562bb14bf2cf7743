"""Quantiles of a response, of a mixture with a component per draw of its linear predictor, or with few and weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtri

from bayesmixed.families.base import Family

# A Newton step of so many standard deviations of the narrowest component is the last: what it leaves is of the order of
# its square
_LAST_STEP = 1e-3
_POINT = 1e-9  # half a bracket so narrow, in the same unit, is the last step
_ITERATIONS = 200  # at most: a bracket halved so often is a point


def mixture_quantiles(
    family: Family,
    eta: np.ndarray,
    auxiliary: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Solve ``mean over draws of cdf(t, eta, **auxiliary) = p`` for t, row by row, by Newton's method in a bracket.

    The noise is integrated, not drawn: a row's quantiles depend on nothing but the draws of its linear predictor.

    Parameters
    ----------
    family : Family
        Of a continuous response.
    eta : numpy.ndarray of shape (n, S)
        Draws of the linear predictor.
    auxiliary : dict of str to numpy.ndarray of shape (S,) or (n, S)
    probabilities : numpy.ndarray of shape (k,)
        In (0, 1).
    weights : numpy.ndarray of shape (S,), optional
        Of the components, with a sum of one; default: equal ones.

    Returns
    -------
    numpy.ndarray of shape (n, k)
        NaN where `eta` is.

    Examples
    --------
    >>> from bayesmixed.families import get_family
    >>> eta, sigma = np.array([[0.0, 0.0]]), np.array([1.0, 1.0])
    >>> mixture_quantiles(get_family("gaussian"), eta, {"sigma": sigma}, np.array([0.5, 0.975])).round(2).tolist()
    [[0.0, 1.96]]
    """
    variance = family.variance(eta, **auxiliary)
    starts = _starts(family.mean(eta, **auxiliary), variance, weights, probabilities)
    narrow = np.sqrt(variance.min(axis=1))
    result = np.empty(starts.shape)
    for at, p in enumerate(probabilities):
        # a quantile of a mixture is between those of its components
        components = family.quantile(p, eta, **auxiliary)
        low, high = components.min(axis=1), components.max(axis=1)
        t = np.clip(starts[:, at], low, high)
        active, step = np.arange(len(eta)), np.full(len(eta), np.inf)
        for _ in range(_ITERATIONS):
            mine = slice(None) if len(active) == len(eta) else active  # without a copy while all are active
            some = {name: values if values.ndim == 1 else values[mine] for name, values in auxiliary.items()}
            here = t[active, None]
            excess = _mean(family.cdf(here, eta[mine], **some), weights) - p
            density = _mean(np.exp(family.log_density(here, eta[mine], **some)), weights)
            low[active] = np.where(excess < 0, t[active], low[active])
            high[active] = np.where(excess > 0, t[active], high[active])
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # between components there may be none
                newton = t[active] - excess / density
            # far out in a tail, Newton's steps hardly get shorter
            fits = (newton >= low[active]) & (newton <= high[active])
            fits &= np.abs(newton - t[active]) <= step[active] / 2
            new = np.where(fits, newton, (low[active] + high[active]) / 2)
            step[active] = np.abs(new - t[active])
            t[active] = new
            last = np.where(fits, _LAST_STEP, _POINT) * narrow[active]
            active = active[step[active] > last]  # not so for NaN
            if not len(active):
                break
        result[:, at] = t
    return result


def _mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Over the components, row by row: a row's number does not depend on the others."""
    return values.mean(axis=1) if weights is None else np.einsum("ns,s->n", values, weights)


def _starts(mu: np.ndarray, variance: np.ndarray, weights: np.ndarray | None, probabilities: np.ndarray) -> np.ndarray:
    """Approximate quantiles, (n, k), of mixtures of normal components.

    The Cornish-Fisher expansion to the fourth moment (e.g. Abramowitz & Stegun, 1964, Handbook of Mathematical
    Functions, 26.2.49).
    """
    centre = _mean(mu, weights)[:, None]
    d = mu - centre
    d2 = np.square(d)
    second = _mean(d2 + variance, weights)
    third = _mean(d * (d2 + 3 * variance), weights)
    fourth = _mean(d2 * (d2 + 6 * variance) + 3 * np.square(variance), weights)
    spread = np.sqrt(second)
    skew = (third / spread**3)[:, None]
    excess = (fourth / second**2)[:, None] - 3
    z = ndtri(probabilities)
    w = z + skew * (z**2 - 1) / 6 + excess * (z**3 - 3 * z) / 24 - skew**2 * (2 * z**3 - 5 * z) / 36
    return centre + spread[:, None] * w
