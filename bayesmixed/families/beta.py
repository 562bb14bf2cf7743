"""The beta distribution: a proportion in (0, 1) that is not a share of counted trials."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import betainc, betaincinv, betaln, digamma, expit, gammaln, logit, polygamma, xlog1py, xlogy

from bayesmixed.distributions import LogNormal, Prior
from bayesmixed.families.base import Array, Family, ProbabilityLink, Response, refuse
from bayesmixed.families.links import link_of_mean

_INSIDE = np.finfo(float).tiny, 1 - 2.0**-53  # the doubles nearest to 0 and 1
_SMALLEST = 1e-300  # shape where 0 is rejected; the derivative, about its inverse, still fits a double


class Beta(Family):
    """Beta with precision ``kappa``: Beta(mean kappa, (1 - mean) kappa)."""

    name = "beta"
    links = ("logit", "probit", "cloglog")
    auxiliary = ("kappa",)
    link: ProbabilityLink

    def check(self, y: Array, trials: Array | None = None) -> None:
        cure = (
            "for shares of counted trials use family='binomial'; values rounded to 0 or 1 may be moved inside, "
            "for example by y * (n - 1) / n + 0.5 / n with n = len(y)"
        )
        refuse(self, y, (y <= 0) | (y >= 1), "numbers between 0 and 1, both excluded", cure=cure)

    def working(self, y: Array) -> Array:
        return logit(y)

    def from_working(self, x: Array) -> Array:
        return expit(x)

    def log_jacobian(self, y: Array) -> Array:
        return -np.log(y) - np.log1p(-y)

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        return link_of_mean(self.link, np.average(response.y, weights=response.weights), response), self.link.scale

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        return {"kappa": LogNormal(2.0, 1.5)}

    def _shapes(self, eta: Array, kappa: Array) -> tuple[Array, Array]:
        return np.exp(self.link.log_inverse(eta)) * kappa, np.exp(self.link.log_complement(eta)) * kappa

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        a, b = self._shapes(eta, auxiliary["kappa"])
        return xlogy(a - 1, y) + xlog1py(b - 1, -y) - betaln(a, b)

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        kappa = auxiliary["kappa"]
        a, b = self._shapes(eta, kappa)
        by_a, by_b = np.log(y) - digamma(a), np.log1p(-y) - digamma(b)
        up, _ = self.link.log_slopes(eta)
        by_kappa = (a * by_a + b * by_b) / kappa + digamma(kappa)
        log_density = a * np.log(y) + b * np.log1p(-y) - gammaln(a) - gammaln(b) + gammaln(kappa)
        return log_density, a * up * (by_a - by_b), {"kappa": by_kappa}

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        """The expected curvature."""
        a, b = self._shapes(eta, auxiliary["kappa"])
        up, _ = self.link.log_slopes(eta)
        return np.square(a * up) * (polygamma(1, a) + polygamma(1, b))

    def concentration(self, **auxiliary: Array) -> Array:
        return auxiliary["kappa"]

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return betainc(*self._shapes(eta, auxiliary["kappa"]), np.clip(y, 0.0, 1.0))

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        # SciPy has no quantiles of a shape of 0; of the smallest one they are 0, or 1 if it is the second
        a, b = (np.maximum(shape, _SMALLEST) for shape in self._shapes(eta, auxiliary["kappa"]))
        return np.clip(betaincinv(a, b, u), *_INSIDE)

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        mu = self.link.inverse(eta)
        return mu * (1 - mu) / (1 + auxiliary["kappa"])

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        """By the delta method: the variance over the squared slope of the inverse link."""
        return mu * (1 - mu) / (1 + auxiliary["kappa"]) / np.square(self.link.slope(mu))

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        (log_mu, log_rest), kappa = self.link.pymc_logs(pm, eta), auxiliary["kappa"]
        a, b = pm.math.exp(log_mu) * kappa, pm.math.exp(log_rest) * kappa
        return pm.Beta, {"alpha": pm.math.maximum(a, _SMALLEST), "beta": pm.math.maximum(b, _SMALLEST)}
