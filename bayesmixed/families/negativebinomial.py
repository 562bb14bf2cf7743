"""The negative binomial distribution: counts that vary more than Poisson's."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.special import betainc, gammaln, polygamma

from bayesmixed.distributions import InverseGamma, Prior
from bayesmixed.families.base import RARE, Array, CountFamily


class NegativeBinomial(CountFamily):
    """Poisson whose mean varies as gamma with shape ``alpha``: the variance is mean + mean^2 / alpha."""

    name = "negativebinomial"
    auxiliary = ("alpha",)

    def auxiliary_priors(self, scale: float) -> dict[str, Prior]:
        # 1 / sqrt(alpha) is half-normal: the mass is towards Poisson, alpha to infinity
        return {"alpha": InverseGamma(0.5, 0.5)}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        alpha = auxiliary["alpha"]
        excess = np.logaddexp(np.log(alpha), eta) - np.log(alpha)  # log(1 + mean / alpha)
        share = eta - np.logaddexp(np.log(alpha), eta)  # log(mean / (mean + alpha))
        return gammaln(y + alpha) - gammaln(alpha) - gammaln(y + 1) - alpha * excess + y * share

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        alpha = auxiliary["alpha"]
        count = np.floor(np.maximum(y, 0.0))
        return np.where(y < 0, 0.0, betainc(alpha, count + 1, alpha / (alpha + np.exp(eta))))

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        alpha = auxiliary["alpha"]
        return stats.nbinom.ppf(u, alpha, alpha / (alpha + np.exp(eta)))

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        mu = np.exp(eta)
        return mu + np.square(mu) / auxiliary["alpha"]

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return polygamma(1, 1 / (1 / np.maximum(mu, RARE) + 1 / auxiliary["alpha"]))

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return pm.NegativeBinomial, {"mu": pm.math.exp(eta), "alpha": auxiliary["alpha"]}
