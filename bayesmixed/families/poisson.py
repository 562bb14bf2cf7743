"""The Poisson distribution: counts whose variance is their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.special import gammaln, ndtri, pdtr, polygamma

from bayesmixed.distributions import Prior
from bayesmixed.families.base import RARE, Array, Family, Response, counts, log_rate

_NORMAL = 1e15


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
        # SciPy has none where the mean is beyond 2^53, and the distribution is normal
        return np.where(mu < _NORMAL, stats.poisson.ppf(u, np.minimum(mu, _NORMAL)), mu * (1 + ndtri(u) / np.sqrt(mu)))

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        return np.exp(eta)

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return polygamma(1, np.maximum(mu, RARE))

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return pm.Poisson, {"mu": pm.math.exp(eta)}
