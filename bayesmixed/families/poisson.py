"""The Poisson distribution: counts whose variance is their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.special import gammaln, ndtri, pdtr, polygamma

from bayesmixed.distributions import Prior
from bayesmixed.families.base import RARE, Array, Family, Response, counts, log_rate

_LARGE = 1e8  # mean from which quantiles are expanded about the normal distribution


class CountFamily(Family):
    """A family of counts on the log scale."""

    links = ("log",)
    discrete = True

    def check(self, y: Array, trials: Array | None = None) -> None:
        counts(self, y)

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        return log_rate(response, 0.5), self.link.scale


class Poisson(CountFamily):
    """Poisson about the exponential of the linear predictor; an exposure is ``offset(log(exposure))``."""

    name = "poisson"
    summable = True

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        return {}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return y * eta - np.exp(eta) - gammaln(y + 1)

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        mu = np.exp(eta)
        return y * eta - mu, y - mu, {}

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return np.exp(eta)

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return np.where(y < 0, 0.0, pdtr(np.floor(np.maximum(y, 0.0)), np.exp(eta)))

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        mu = np.exp(eta)
        few = stats.poisson.ppf(u, np.minimum(mu, _LARGE))
        if not np.any(mu >= _LARGE):
            return few
        # SciPy takes ever longer, and has none from about 3e10 on. The Cornish-Fisher expansion to third moments
        # (Abramowitz & Stegun, 1964, Handbook of Mathematical Functions, 26.2.49), rounded, gives the same from 1e6 on
        z = ndtri(u)
        many = mu * (1 + z / np.sqrt(np.maximum(mu, 1.0))) + (np.square(z) - 1) / 6
        return np.where(mu < _LARGE, few, np.rint(many))

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        return np.exp(eta)

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return polygamma(1, np.maximum(mu, RARE))

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return pm.Poisson, {"mu": pm.math.exp(eta)}
