"""The gamma distribution: a positive response whose coefficient of variation is constant."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import digamma, gammainc, gammaincinv, gammaln, polygamma

from bayesmixed.distributions import LogNormal, Prior
from bayesmixed.families.base import Array, PositiveFamily, Response, log_rate, refuse


class Gamma(PositiveFamily):
    """Gamma with shape ``alpha``: the standard deviation is the mean divided by the square root of alpha."""

    name = "gamma"
    links = ("log",)
    auxiliary = ("alpha",)

    def check(self, y: Array, trials: Array | None = None) -> None:
        refuse(self, y, y <= 0, "positive numbers", cure="a gamma response has no zeros")

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        return log_rate(response), self.link.scale

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        return {"alpha": LogNormal(0.0, 1.5)}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        alpha, ratio = auxiliary["alpha"], np.log(y) - eta  # the log of y over its mean
        return alpha * (np.log(alpha) + ratio - np.exp(ratio)) - gammaln(alpha) - np.log(y)

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        alpha, log_ratio = auxiliary["alpha"], np.log(y) - eta
        ratio = np.exp(log_ratio)
        inner = np.log(alpha) + log_ratio - ratio
        by_alpha = inner + (1 - digamma(alpha))
        return alpha * inner - gammaln(alpha), alpha * (ratio - 1), {"alpha": by_alpha}

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return auxiliary["alpha"] * np.exp(np.log(y) - eta)

    def concentration(self, **auxiliary: Array) -> Array:
        return auxiliary["alpha"]

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return gammainc(auxiliary["alpha"], auxiliary["alpha"] * np.maximum(y, 0.0) * np.exp(-eta))

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        return gamma_quantile(u, eta, auxiliary["alpha"])

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        return np.exp(2 * eta) / auxiliary["alpha"]

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        """Variance of the logarithm."""
        return polygamma(1, auxiliary["alpha"]) + np.zeros_like(mu)

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        alpha = auxiliary["alpha"]
        return pm.Gamma, {"alpha": alpha, "beta": alpha * pm.math.exp(-eta)}


def gamma_quantile(u: Array, log_mean: Array, alpha: Array) -> Array:
    """Quantile at u of the gamma distribution of shape alpha, elementwise; it may be finite where the mean is not."""
    with np.errstate(divide="ignore"):  # a share of 0
        return np.exp(log_mean + np.log(gammaincinv(alpha, u) / alpha))
