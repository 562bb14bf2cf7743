"""The binomial distribution: successes among counted trials; and its case of one trial, Bernoulli's."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import bdtr, gammaln
from scipy.stats import binom

from bayesmixed.distributions import Prior
from bayesmixed.families.base import Array, Family, ProbabilityLink, Response, counts, link_of_mean, refuse


class Binomial(Family):
    """Successes among ``trials``, which methods take among the auxiliary parameters; the mean is their expectation."""

    name = "binomial"
    links = ("logit", "probit", "cloglog")
    discrete = counts_trials = True
    link: ProbabilityLink

    def check(self, y: Array, trials: Array | None = None) -> None:
        counts(self, y)
        if trials is not None:
            self.check_trials(trials)
            refuse(self, y, y > trials, "at most as many successes as trials", cure="y holds successes, not a share")

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        w = np.ones_like(response.y) if response.weights is None else response.weights
        n = np.ones_like(response.y) if response.trials is None else response.trials
        return link_of_mean(self.link, (w @ response.y + 0.5) / (w @ n + 1), response), self.link.scale

    def auxiliary_priors(self, scale: float) -> dict[str, Prior]:
        return {}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        n = auxiliary["trials"]
        ways = gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)
        return ways + _times(y, self.link.log_inverse(eta)) + _times(n - y, self.link.log_complement(eta))

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        failures = auxiliary["trials"] - y
        log_p, log_q = self.link.log_inverse(eta), self.link.log_complement(eta)
        up, down = self.link.log_slopes(eta)
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
        return pm.Binomial, {"n": auxiliary["trials"], "p": self.link.pymc(pm, eta)}


def _times(count: Array, log_probability: Array) -> Array:
    """Their product, 0 for a count of 0, whatever the probability."""
    return np.where(count > 0, count * np.where(count > 0, log_probability, 0.0), 0.0)
