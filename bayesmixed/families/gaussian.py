"""The normal distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from bayesmixed.distributions import HalfStudentT, Prior
from bayesmixed.families.base import Array, Family, Response

# The residual sd is kept above this fraction of the response's scale, so that a perfect fit has a posterior.
SIGMA_FLOOR = 1e-6


class Gaussian(Family):
    """Normal about the linear predictor, with standard deviation ``sigma``."""

    name = "gaussian"
    links = ("identity",)
    auxiliary = ("sigma",)
    linear = collapses = residual = True

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        return {"sigma": HalfStudentT(4.0, scale)}

    def floors(self, scale: float) -> dict[str, float]:
        return {"sigma": SIGMA_FLOOR * scale}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        sigma = auxiliary["sigma"]
        return -0.5 * np.square((y - eta) / sigma) - np.log(sigma) - 0.5 * np.log(2 * np.pi)

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        return normal_derivatives(y, eta, auxiliary["sigma"])

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return self.concentration(**auxiliary) + np.zeros_like(eta)

    def concentration(self, **auxiliary: Array) -> Array:
        return 1 / np.square(auxiliary["sigma"])

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return ndtr((y - eta) / auxiliary["sigma"])

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        return eta + auxiliary["sigma"] * ndtri(u)

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        return np.square(auxiliary["sigma"]) + np.zeros_like(eta)

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return self.variance(mu, **auxiliary)

    def widened(self, variance: Array, **auxiliary: Array) -> dict[str, Array]:
        return {"sigma": np.sqrt(np.square(auxiliary["sigma"]) + variance)}

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return pm.Normal, {"mu": eta, "sigma": auxiliary["sigma"]}


def normal_derivatives(y: Array, eta: Array, sigma: Array) -> tuple[Array, Array, dict[str, Array]]:
    """`Family.derivatives` of a normal density about eta."""
    r = (y - eta) / sigma
    square = np.square(r)
    return -0.5 * square - np.log(sigma), r / sigma, {"sigma": (square - 1) / sigma}
