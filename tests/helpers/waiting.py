"""A family and a link that only the tests have: waiting times, exponential about a mean on the log scale."""

import numpy as np

from bayesmixed.families.base import Family, Link


class Log(Link):
    name = "log"

    def link(self, mu):
        return np.log(mu)

    def inverse(self, eta):
        return np.exp(eta)

    def marginal(self, m, v):
        return np.exp(m + v / 2)

    def pymc(self, pm, eta):
        return pm.math.exp(eta)


class Waiting(Family):
    name = "waiting"
    links = ("log",)

    def check(self, y, trials=None):
        if (y <= 0).any():
            row = int(np.flatnonzero(y <= 0)[0])
            raise ValueError(f"family='waiting' needs positive numbers; row {row} of y is {y[row]:g}.")

    def location_and_scale(self, response):
        return float(np.log(np.average(response.y, weights=response.weights))), 1.0

    def auxiliary_priors(self, scale, response):
        return {}

    def log_density(self, y, eta, **auxiliary):
        return -eta - y * np.exp(-eta)

    def derivatives(self, y, eta, **auxiliary):
        ratio = y * np.exp(-eta)
        return -eta - ratio, ratio - 1, {}

    def weight(self, y, eta, **auxiliary):
        return y * np.exp(-eta)

    def cdf(self, y, eta, **auxiliary):
        return -np.expm1(-y * np.exp(-eta))

    def quantile(self, u, eta, **auxiliary):
        return -np.log1p(-u) * np.exp(eta)

    def variance(self, eta, **auxiliary):
        return np.exp(2 * eta)

    def latent_variance(self, mu, **auxiliary):
        return np.full_like(mu, np.pi**2 / 6)  # of the log of a standard exponential

    def pymc(self, pm, eta, auxiliary):
        return pm.Exponential, {"scale": self.link.pymc(pm, eta)}
