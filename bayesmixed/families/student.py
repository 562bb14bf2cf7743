"""Student's t distribution: a response with outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import digamma, gammaln, stdtr, stdtrit

from bayesmixed.distributions import Gamma, HalfStudentT, Prior, Truncated
from bayesmixed.families.base import Array, Family, Response
from bayesmixed.families.gaussian import SIGMA_FLOOR

_NU_FLOOR = 1.0  # without a mean there is nothing to predict


class StudentT(Family):
    """Student's t about the linear predictor, with scale ``sigma`` and ``nu`` degrees of freedom, above one."""

    name = "t"
    links = ("identity",)
    auxiliary = ("sigma", "nu")
    linear = residual = True

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        """Median and 1.4826 times the median absolute deviation, which outliers do not move; sd where that is 0."""
        y = response.y if response.offset is None else response.y - response.offset
        location = quantile_of_rows(y, response.weights, 0.5) if response.centred else 0.0
        scale = 1.4826 * quantile_of_rows(np.abs(y - location), response.weights, 0.5)
        return location, scale if scale > 0 else response.scale

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        return {"sigma": HalfStudentT(4.0, scale), "nu": Truncated(Gamma(2.0, 0.1), _NU_FLOOR)}

    def floors(self, scale: float) -> dict[str, float]:
        return {"sigma": SIGMA_FLOOR * scale, "nu": _NU_FLOOR}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        sigma, nu = auxiliary["sigma"], auxiliary["nu"]
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi) - np.log(sigma)
        return constant - (nu + 1) / 2 * np.log1p(np.square((y - eta) / sigma) / nu)

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        sigma, nu = auxiliary["sigma"], auxiliary["nu"]
        r = (y - eta) / sigma
        square = np.square(r) / nu
        log_tail, pull = np.log1p(square), (nu + 1) / nu / (1 + square)
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu) - np.log(sigma)
        by_nu = 0.5 * (digamma((nu + 1) / 2) - digamma(nu / 2) - 1 / nu - log_tail + pull * square)
        return (
            constant - (nu + 1) / 2 * log_tail,
            pull * r / sigma,
            {"sigma": (pull * np.square(r) - 1) / sigma, "nu": by_nu},
        )

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        """Weight of iteratively reweighted least squares: the observed curvature is negative at an outlier."""
        sigma, nu = auxiliary["sigma"], auxiliary["nu"]
        return (nu + 1) / (nu + np.square((y - eta) / sigma)) / np.square(sigma)

    def concentration(self, **auxiliary: Array) -> Array:
        return 1 / np.square(auxiliary["sigma"])

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return stdtr(auxiliary["nu"], (y - eta) / auxiliary["sigma"])

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        return eta + auxiliary["sigma"] * stdtrit(auxiliary["nu"], u)

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        """Infinite where nu is at most 2."""
        nu = auxiliary["nu"]
        ratio = np.divide(nu, nu - 2, out=np.full(np.shape(nu), np.inf), where=nu > 2)
        return np.square(auxiliary["sigma"]) * ratio + np.zeros_like(eta)

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        """The squared scale: the variance itself does not exist where nu is at most 2."""
        return np.square(auxiliary["sigma"]) + np.zeros_like(mu)

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return pm.StudentT, {"nu": auxiliary["nu"], "mu": eta, "sigma": auxiliary["sigma"]}


def quantile_of_rows(values: Array, weights: Array | None, p: float) -> float:
    """Quantile of values in which a row of weight w counts w times; the median averages the two middle values."""
    if weights is None:
        return float(np.quantile(values, p))
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    goal, ends = p * total[-1], values[order]
    at = np.searchsorted(total, goal * (1 - 1e-12))
    after = min(at + int(np.isclose(total[at], goal)), len(ends) - 1)
    return float((ends[at] + ends[after]) / 2)
