"""The binomial distribution: successes among counted trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import bdtr, gammaln
from scipy.stats import binom

from bayesmixed.distributions import Prior
from bayesmixed.families.base import Array, Family, ProbabilityLink, Response, counts, refuse
from bayesmixed.families.links import link_of_mean


class Binomial(Family):
    """Successes among ``trials``, which methods take as an auxiliary parameter; the mean is their expected number."""

    name = "binomial"
    links = ("logit", "probit", "cloglog")
    discrete = counts_trials = separable = summable = True
    link: ProbabilityLink

    def check(self, y: Array, trials: Array | None = None) -> None:
        counts(self, y)
        if trials is not None:
            self.check_trials(trials)
            refuse(self, y, y > trials, "at most as many successes as trials", cure="y holds successes, not a share")

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        return pooled_link(self.link, response), self.link.scale

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        return {}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        n = auxiliary["trials"]
        ways = gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)
        return ways + _times(y, self.link.log_inverse(eta)) + _times(n - y, self.link.log_complement(eta))

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        failures = auxiliary["trials"] - y
        log_p, log_q, up, down = self.link.logs(eta)
        return y * log_p + failures * log_q, y * up + failures * down, {}

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        of_success, of_failure = self.link.log_curvatures(eta)
        return y * of_success + (auxiliary["trials"] - y) * of_failure

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        n = auxiliary["trials"]
        found = bdtr(np.clip(np.floor(y), 0.0, n), n.astype(int), self.link.inverse(eta))
        return np.where(y < 0, 0.0, found)

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        return binom.ppf(u, auxiliary["trials"], self.link.inverse(eta))

    def mean(self, eta: Array, **auxiliary: Array) -> Array:
        return auxiliary["trials"] * self.link.inverse(eta)

    def marginal_mean(self, m: Array, v: Array, **auxiliary: Array) -> Array:
        return auxiliary["trials"] * self.link.marginal(m, v)

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        p = self.link.inverse(eta)
        return auxiliary["trials"] * p * (1 - p)

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return np.full_like(mu, self.link.latent_variance)

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return Successes(pm, self.link), {"n": auxiliary["trials"], "eta": eta}


@dataclass(frozen=True)
class Successes:
    """The binomial distribution given the linear predictor, called like a distribution class of PyMC.

    PyMC's own takes the probability; where that rounds to 1, the complement and with it the density become 0.
    """

    pm: Any
    link: ProbabilityLink

    def __call__(self, name: str, n: Any, eta: Any, **options: Any) -> Any:
        return self.pm.CustomDist(name, n, eta, **self._functions, **options)

    def dist(self, n: Any, eta: Any, **options: Any) -> Any:
        return self.pm.CustomDist.dist(n, eta, **self._functions, **options)

    @property
    def _functions(self) -> dict[str, Any]:
        return {"dist": self._drawn, "logp": self._log_density}

    def _drawn(self, n: Any, eta: Any, size: Any) -> Any:
        return self.pm.Binomial.dist(n=n.astype("int64"), p=self.link.pymc(self.pm, eta), size=size)

    def _log_density(self, y: Any, n: Any, eta: Any) -> Any:
        half = np.float64(0.5)  # a plain 0.5 would have single precision
        ways = self.pm.logp(self.pm.Binomial.dist(n=n, p=half), y) + n * np.log(2)
        log_p, log_q = self.link.pymc_logs(self.pm, eta)
        return ways + y * log_p + (n - y) * log_q


def pooled_link(link: ProbabilityLink, response: Response) -> float:
    """Linear predictor of the overall share of successes, with half a success and half a failure added."""
    w = np.ones_like(response.y) if response.weights is None else response.weights
    n = np.ones_like(response.y) if response.trials is None else response.trials
    return link_of_mean(link, (w @ response.y + 0.5) / (w @ n + 1), response)


def _times(count: Array, log_probability: Array) -> Array:
    """Product of the two, taken as 0 where the count is 0."""
    return np.where(count > 0, count * np.where(count > 0, log_probability, 0.0), 0.0)
