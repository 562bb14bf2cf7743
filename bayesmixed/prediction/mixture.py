"""Quantiles of a mixture: of a response, with one component per draw of its linear predictor or few weighted ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from bayesmixed.families.base import Family, PositiveFamily
from bayesmixed.families.gaussian import Gaussian
from bayesmixed.families.links import Identity

# The last Newton step, in standard deviations of the narrowest component: the error it leaves is of the order of its
# square
_LAST_STEP = 1e-3
_POINT = 1e-9  # or half the width of the last bracket, in the same unit
_ITERATIONS = 200  # at most: a bracket halved that often is a point
_ROUNDING = 1e-12  # of an average of distribution functions
_POSITIVE = np.finfo(float).tiny, np.finfo(float).max
GAUSSIAN = Gaussian(Identity())


def mixture_quantiles(
    family: Family,
    eta: np.ndarray,
    auxiliary: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Solve ``mean over draws of cdf(t, eta, **auxiliary) = p`` for t, row by row.

    The noise is integrated, not drawn: a row's quantiles depend only on the draws of its linear predictor. For a
    discrete response they are the smallest numbers at which the averaged distribution function is at least p.

    Parameters
    ----------
    family : Family
    eta : numpy.ndarray of shape (n, S)
        Draws of the linear predictor.
    auxiliary : dict of str to numpy.ndarray of shape (S,), (n, S) or (n, 1)
    probabilities : numpy.ndarray of shape (k,)
        In (0, 1).
    weights : numpy.ndarray of shape (S,), optional
        Weights of the components, summing to one; equal by default.

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
    mixture = _Mixture(family, eta, auxiliary, weights)
    if family.discrete:
        return np.stack([_whole(mixture, p) for p in probabilities], axis=1)
    if family.collapses:  # normal on the real line
        variance = family.latent_variance(eta, **auxiliary)
        starts, narrow = _starts(eta, variance, weights, probabilities), np.sqrt(variance.min(axis=1))
        if not family.linear:  # solved before its logarithm is undone, which may overflow
            mixture = _Mixture(GAUSSIAN, eta, {"sigma": np.sqrt(variance)}, weights)
    else:
        starts, narrow = None, (mixture.components(0.84) - mixture.components(0.16)).min(axis=1) / 2
    result = np.empty((len(eta), len(probabilities)))
    for at, p in enumerate(probabilities):
        result[:, at] = _solve(mixture, p, None if starts is None else starts[:, at], narrow)
    found = family.from_working(result)
    if isinstance(mixture.family, PositiveFamily):
        found[found > _POSITIVE[1] / 2] = np.inf
    return found


@dataclass(frozen=True)
class _Mixture:
    """Averages over the components, row by row: a row's value does not depend on the other rows."""

    family: Family
    eta: np.ndarray
    auxiliary: Mapping[str, np.ndarray]
    weights: np.ndarray | None

    def components(self, p: float) -> np.ndarray:
        """Quantiles of the components on the real line (`Family.working`), (n, S)."""
        quantile = self.family.quantile(np.asarray(p), self.eta, **self.auxiliary)
        if isinstance(self.family, PositiveFamily):  # neither 0 nor infinite: both would have no logarithm
            quantile = np.clip(quantile, *_POSITIVE)
        return self.family.working(quantile)

    def cdf(self, y: np.ndarray, rows: Any) -> np.ndarray:
        """Distribution function of some rows, each at its y."""
        eta, auxiliary = self._of(rows)
        return _mean(self.family.cdf(y[:, None], eta, **auxiliary), self.weights)

    def density(self, y: np.ndarray, rows: Any) -> np.ndarray:
        """Density on the real line of some rows, each at its y."""
        eta, auxiliary = self._of(rows)
        log_density = self.family.log_density(y[:, None], eta, **auxiliary) - self.family.log_jacobian(y)[:, None]
        return _mean(np.exp(log_density), self.weights)

    def _of(self, rows: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        some = {name: values if values.ndim == 1 else values[rows] for name, values in self.auxiliary.items()}
        return self.eta[rows], some


def _solve(mixture: _Mixture, p: float, start: np.ndarray | None, narrow: np.ndarray) -> np.ndarray:
    """Newton's method in a bracket, on the real line."""
    components = mixture.components(p)
    # a quantile of a mixture lies between those of its components
    low, high = components.min(axis=1), components.max(axis=1)
    x = np.clip(_mean(components, mixture.weights) if start is None else start, low, high)
    x = np.where(np.isfinite(x), x, low / 2 + high / 2)  # the moments that it is computed from have overflowed
    active, step = np.arange(len(x)), np.full(len(x), np.inf)
    for _ in range(_ITERATIONS):
        mine = slice(None) if len(active) == len(x) else active  # no copy while all are active
        here = mixture.family.from_working(x[active])
        excess, density = mixture.cdf(here, mine) - p, mixture.density(here, mine)
        low[active] = np.where(excess < 0, x[active], low[active])
        high[active] = np.where(excess > 0, x[active], high[active])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # the density may be 0 between components
            newton = x[active] - excess / density
        # far out in a tail, Newton's steps hardly get shorter
        fits = (newton >= low[active]) & (newton <= high[active])
        fits &= np.abs(newton - x[active]) <= step[active] / 2
        new = np.where(fits, newton, low[active] / 2 + high[active] / 2)
        step[active] = np.abs(new - x[active])
        x[active] = new
        last = np.where(fits, _LAST_STEP, _POINT) * narrow[active]
        active = active[step[active] > last]  # False for NaN
        if not len(active):
            break
    return x


def _whole(mixture: _Mixture, p: float) -> np.ndarray:
    """Smallest whole number at which the averaged distribution function is at least p: doubling, then bisection.

    Beyond 2^53, where doubles skip whole numbers, the smallest one that is a double. Infinite if the mean overflows.
    """

    def reaches(t: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return mixture.cdf(t[rows], rows) >= p - _ROUNDING

    n = len(mixture.eta)
    low, high = np.full(n, -1.0), np.zeros(n)
    finite = ~np.isnan(mixture.eta).any(axis=1)
    active = np.flatnonzero(finite)
    while len(active := active[np.isfinite(high[active]) & ~reaches(high, active)]):
        with np.errstate(over="ignore"):
            low[active], high[active] = high[active], 2 * high[active] + 1
    middle = np.floor(low / 2 + high / 2)
    while len(active := np.flatnonzero(finite & np.isfinite(high) & (low < middle) & (middle < high))):
        above = reaches(middle, active)
        high[active[above]], low[active[~above]] = middle[active[above]], middle[active[~above]]
        middle = np.floor(low / 2 + high / 2)
    return np.where(finite, high, np.nan)


def _mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Mean over the components, row by row: a row's value does not depend on the other rows."""
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
