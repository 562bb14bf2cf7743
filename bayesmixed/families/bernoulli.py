"""The Bernoulli distribution: one of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmixed.distributions import Prior
from bayesmixed.families.base import Array, ClassFamily, ProbabilityLink, Response
from bayesmixed.families.binomial import Successes, pooled_link

_NEAR = 0.999  # a probability above which its complement loses over three digits and is worth its own evaluation


class Bernoulli(ClassFamily):
    """One of two classes: the second, y = 1, has the inverse link of the linear predictor as its probability."""

    name = "bernoulli"
    links = ("logit", "probit", "cloglog")
    separable = summable = True
    link: ProbabilityLink

    def location_and_scale(self, response: Response) -> tuple[float, float]:
        return pooled_link(self.link, response), self.link.scale

    def auxiliary_priors(self, scale: float, response: Response) -> dict[str, Prior]:
        return {}

    def log_density(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return np.where(y > 0, self.link.log_inverse(eta), self.link.log_complement(eta))

    def derivatives(self, y: Array, eta: Array, **auxiliary: Array) -> tuple[Array, Array, dict[str, Array]]:
        log_p, log_q, up, down = self.link.logs(eta)
        return y * log_p + (1 - y) * log_q, y * up + (1 - y) * down, {}

    def weight(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        of_second, of_first = self.link.log_curvatures(eta)
        return y * of_second + (1 - y) * of_first

    def cdf(self, y: Array, eta: Array, **auxiliary: Array) -> Array:
        return np.where(y < 0, 0.0, np.where(y < 1, self.link.complement(eta), 1.0))

    def quantile(self, u: Array, eta: Array, **auxiliary: Array) -> Array:
        return np.where(np.isnan(eta), np.nan, u > self.link.complement(eta))

    def variance(self, eta: Array, **auxiliary: Array) -> Array:
        return self.link.inverse(eta) * self.link.complement(eta)

    def latent_variance(self, mu: Array, **auxiliary: Array) -> Array:
        return np.full_like(mu, self.link.latent_variance)

    def class_probabilities(self, eta: Array, **auxiliary: Array) -> Array:
        second = self.link.inverse(eta)
        first, near = 1 - second, second > _NEAR
        first[near] = self.link.complement(eta[near])
        return np.array([first, second])

    def marginal_class_probabilities(self, m: Array, v: Array, **auxiliary: Array) -> Array:
        second = self.link.marginal(m, v)
        first, near = 1 - second, second > _NEAR
        first[near] = self.link.marginal_complement(m[near], np.broadcast_to(v, second.shape)[near])
        return np.array([first, second])

    def pymc(self, pm: Any, eta: Any, auxiliary: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return Successes(pm, self.link), {"n": np.int64(1), "eta": eta}
