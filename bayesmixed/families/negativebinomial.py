"""The negative binomial distribution: counts that vary more than Poisson's."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.special import betainc, betaln, digamma, gammaln, polygamma

from bayesmixed.distributions import InverseGamma, Prior
from bayesmixed.families.base import RARE, Array, Response
from bayesmixed.families.gamma import gamma_quantile
from bayesmixed.families.poisson import CountFamily

_LARGE = 1e15  # mean from which quantiles are those of the gamma distribution of Poisson's mean


class NegativeBinomial(CountFamily):
    """Poisson with a gamma-distributed mean of shape ``alpha``: the variance is mean + mean^2 / alpha."""

    name = "negativebinomial"
    auxiliary = ("alpha",)

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        # 1 / sqrt(alpha) is half-normal: the mass is towards Poisson, alpha to infinity
        return {"alpha": InverseGamma(0.5, 0.5)}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        alpha = auxiliary["alpha"]
        excess = np.logaddexp(np.log(alpha), eta) - np.log(alpha)  # log(1 + mean / alpha)
        share = eta - np.logaddexp(np.log(alpha), eta)  # log(mean / (mean + alpha))
        return gammaln(y + alpha) - gammaln(alpha) - gammaln(y + 1) - alpha * excess + y * share

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        alpha, (rising, by_rising) = auxiliary["alpha"], _rising(y, auxiliary["alpha"])
        mu = np.exp(eta)
        share = mu / (alpha + mu)
        excess = np.log1p(mu / alpha)
        by_alpha = by_rising - excess + share - y / (alpha + mu)
        return rising + y * (eta - excess) - alpha * excess, y - (y + alpha) * share, {"alpha": by_alpha}

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        alpha, mu = auxiliary["alpha"], np.exp(eta)
        return (y + alpha) * alpha * mu / np.square(alpha + mu)

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        alpha = auxiliary["alpha"]
        count = np.floor(np.maximum(y, 0.0))
        return np.where(y < 0, 0.0, betainc(alpha, count + 1, alpha / (alpha + np.exp(eta))))

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        alpha, mu = auxiliary["alpha"], np.exp(eta)
        few = stats.nbinom.ppf(u, alpha, alpha / (alpha + np.minimum(mu, _LARGE)))
        # beyond it SciPy's may not end; Poisson's part of the variance is alpha / mean of the other
        return np.where(mu < _LARGE, few, np.ceil(gamma_quantile(u, eta, alpha))) if np.any(mu >= _LARGE) else few

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        mu = np.exp(eta)
        return mu + np.square(mu) / auxiliary["alpha"]

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return polygamma(1, 1 / (1 / np.maximum(mu, RARE) + 1 / auxiliary["alpha"]))

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return pm.NegativeBinomial, {"mu": pm.math.exp(eta), "alpha": auxiliary["alpha"]}


def _rising(y: Array, alpha: Array) -> tuple[Array, Array]:
    """Log of Gamma(y + alpha) / (Gamma(alpha) alpha^y), and psi(y + alpha) - psi(alpha), once per distinct count."""
    counts, place = np.unique(y, return_inverse=True)
    counts = counts[:, None]
    positive = np.maximum(counts, 1.0)
    # by the beta function, as a difference of log Gamma loses all digits where alpha is large
    log_rising = np.where(counts > 0, gammaln(positive) - betaln(alpha, positive) - counts * np.log(alpha), 0.0)
    place = place.ravel()
    return log_rising[place], (digamma(counts + alpha) - digamma(alpha))[place]
