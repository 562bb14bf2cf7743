"""The log-normal distribution: a positive response whose logarithm is normal."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from bayesmixed.distributions import HalfStudentT, Prior
from bayesmixed.families.base import Array, PositiveFamily, Response, refuse
from bayesmixed.families.gaussian import SIGMA_FLOOR, normal_derivatives


class LogNormal(PositiveFamily):
    """The logarithm is normal about the linear predictor, with standard deviation ``sigma``.

    The linear predictor is the logarithm of the median: the mean is larger by exp(sigma^2 / 2).
    """

    name = "lognormal"
    links = ("identity",)
    auxiliary = ("sigma",)
    collapses = residual = True

    @property
    def scale_name(self) -> str:
        return "log"

    def check(self, y: Array, trials: Array | None = None) -> None:
        refuse(self, y, y <= 0, "positive numbers", cure="a log-normal response has no zeros")

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        return {"sigma": HalfStudentT(4.0, scale)}

    def floors(self, scale: float) -> dict[str, float]:
        return {"sigma": SIGMA_FLOOR * scale}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        sigma, log_y = auxiliary["sigma"], np.log(y)
        return -0.5 * np.square((log_y - eta) / sigma) - np.log(sigma) - 0.5 * np.log(2 * np.pi) - log_y

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        return normal_derivatives(np.log(y), eta, auxiliary["sigma"])

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return self.concentration(**auxiliary) + np.zeros_like(eta)

    def concentration(self, **auxiliary: Array) -> Array:
        return 1 / np.square(auxiliary["sigma"])

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        with np.errstate(divide="ignore"):
            return ndtr((np.log(np.maximum(y, 0.0)) - eta) / auxiliary["sigma"])

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        return np.exp(eta + auxiliary["sigma"] * ndtri(u))

    def mean(self, eta: Array, **auxiliary: Array) -> Array:
        return np.exp(eta + np.square(auxiliary["sigma"]) / 2)

    def marginal_mean(self, m: Array, v: Array, **auxiliary: Array) -> Array:
        return self.mean(m + v / 2, **auxiliary)

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        variance = np.square(auxiliary["sigma"])
        return np.expm1(variance) * np.exp(2 * eta + variance)

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return np.square(auxiliary["sigma"]) + np.zeros_like(mu)

    def widened(self, variance: Array, **auxiliary: Array) -> dict[str, Array]:
        return {"sigma": np.sqrt(np.square(auxiliary["sigma"]) + variance)}

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return pm.LogNormal, {"mu": eta, "sigma": auxiliary["sigma"]}
