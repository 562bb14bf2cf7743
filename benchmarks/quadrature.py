"""The likelihood of a model with one scalar group effect: SciPy's densities, and quadrature over the effect.

The brute-force version of what glmer and glmmTMB maximise, for every family, and of what our samplers draw from: its
maximum, and importance weights. It shares no line with the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats
from scipy.special import expit, logsumexp

N_NODES = 41
INVERSE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda eta: eta,
    "log": np.exp,
    "logit": expit,
    "probit": stats.norm.cdf,
    "cloglog": lambda eta: -np.expm1(-np.exp(eta)),
}


def inside(mu: np.ndarray) -> np.ndarray:
    """Not what has rounded to 0 or 1, where responses are impossible, or have no density."""
    return np.clip(mu, 1e-300, 1 - 1e-16)


# auxiliary parameters; log density of y at the mean mu, the number of trials n, and those
DENSITY: dict[str, tuple[tuple[str, ...], Callable[..., np.ndarray]]] = {
    "poisson": ((), lambda y, mu, n: stats.poisson.logpmf(y, mu)),
    "negativebinomial": (("alpha",), lambda y, mu, n, alpha: stats.nbinom.logpmf(y, alpha, alpha / (alpha + mu))),
    "binomial": ((), lambda y, mu, n: stats.binom.logpmf(y, n, inside(mu))),
    "gamma": (("alpha",), lambda y, mu, n, alpha: stats.gamma.logpdf(y, alpha, scale=mu / alpha)),
    "beta": (("kappa",), lambda y, mu, n, kappa: stats.beta.logpdf(y, inside(mu) * kappa, (1 - inside(mu)) * kappa)),
    "t": (("sigma", "nu"), lambda y, mu, n, sigma, nu: stats.t.logpdf(y, nu, mu, sigma)),
    "lognormal": (("sigma",), lambda y, mu, n, sigma: stats.lognorm.logpdf(y, sigma, scale=np.exp(mu))),
}


class Point(NamedTuple):
    """Of the parameters.

    Attributes
    ----------
    beta : numpy.ndarray of shape (p,)
    sd : float
        Of the group effect.
    auxiliary : numpy.ndarray
        In the order of `DENSITY`.
    """

    beta: np.ndarray
    sd: float
    auxiliary: np.ndarray


@dataclass(frozen=True)
class Likelihood:
    """Of a model with one scalar effect, which is integrated out.

    Parameters
    ----------
    family, link : str
    y : numpy.ndarray of shape (n,)
    X : numpy.ndarray of shape (n, p)
        All columns of the common effects, the intercept's among them.
    codes : numpy.ndarray of shape (n,)
        Position of each row's level.
    offset, trials : numpy.ndarray of shape (n,), or None
    """

    family: str
    link: str
    y: np.ndarray
    X: np.ndarray
    codes: np.ndarray
    offset: np.ndarray | None = None
    trials: np.ndarray | None = None

    def given(self, at: Point, b: np.ndarray) -> np.ndarray:
        """Log likelihood of each level's rows at values of its effect, both of shape (J, k)."""
        eta = (self.X @ at.beta + (0.0 if self.offset is None else self.offset))[:, None] + b[self.codes]
        trials = None if self.trials is None else self.trials[:, None]
        rows = DENSITY[self.family][1](self.y[:, None], INVERSE[self.link](eta), trials, *at.auxiliary)
        levels = np.zeros(b.shape)
        np.add.at(levels, self.codes, rows)
        return levels

    def normal(self, at: Point) -> tuple[np.ndarray, np.ndarray]:
        """Each level's likelihood of its effect, roughly: precision, and precision times mean, both (J, 1).

        From mean and variance of the effect given its rows, on two grids, the second about what the first found.
        """
        J = self.codes.max() + 1
        centre, spread = np.zeros((J, 1)), np.full((J, 1), at.sd)
        for _ in range(2):
            b = centre + spread * np.linspace(-8, 8, 161)
            log_p = self.given(at, b) + stats.norm.logpdf(b, 0, at.sd)
            p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            centre = (p * b).sum(axis=1, keepdims=True)
            variance = (p * np.square(b - centre)).sum(axis=1, keepdims=True)
            spread = np.maximum(np.sqrt(variance), (b[:, 1:2] - b[:, :1]) / 2)
        return np.maximum(1 / spread**2 - 1 / at.sd**2, 0.0), centre / spread**2

    def log(self, at: Point, normal: tuple[np.ndarray, np.ndarray]) -> float:
        """Log likelihood, by Gauss-Hermite nodes about the effect's mean under `normal` and its N(0, sd^2)."""
        precision = normal[0] + 1 / at.sd**2
        x, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
        b = normal[1] / precision + x / np.sqrt(precision)
        log_f = self.given(at, b) + stats.norm.logpdf(b, 0, at.sd)
        return float((logsumexp(log_f + np.log(weights) + x**2 / 2, axis=1) - 0.5 * np.log(precision[:, 0])).sum())

    def maximise(self, start: Point, errors: np.ndarray) -> Point:
        """Climb from a start; `errors` are the units that the search of `beta` is made in.

        The nodes' places stay during a search, and are found again for the next, until the maximum stays.
        """
        p = len(start.beta)
        x = np.concatenate([np.zeros(p), np.log([start.sd, *start.auxiliary])])

        def point(x: np.ndarray) -> Point:
            scales = np.exp(np.clip(x[p:], -20, 20))  # the first step of a line search may go anywhere
            return Point(start.beta + errors * x[:p], float(scales[0]), scales[1:])

        for _ in range(10):
            normal, before = self.normal(point(x)), x
            climb = optimize.minimize(lambda x, at=normal: -self.log(point(x), at), x, options={"gtol": 1e-3})
            x = climb.x
            if np.abs(x - before).max() < 1e-3 and np.abs(climb.jac).max() < 0.02:
                return point(x)
        raise RuntimeError("the maximum of the likelihood was not found in 10 searches")


def weighted_draws(
    likelihood: Likelihood, draws: np.ndarray, n_draws: int = 4000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Points from a wider distribution than that of `draws`, and what the likelihood gives them as log weights.

    Parameters
    ----------
    likelihood : Likelihood
    draws : numpy.ndarray of shape (m, p + 1 + number of auxiliary parameters)
        About the posterior: common effects, the group's standard deviation, logs of the auxiliary parameters. Only
        their mean and covariance are used. (The log of a standard deviation that may be 0 has too long a tail.)
    n_draws, seed : int

    Returns
    -------
    points : numpy.ndarray of shape (n_draws, same)
    log_weights : numpy.ndarray of shape (n_draws,)
        Log likelihood less the log density that the points were drawn from; minus infinity for no standard deviation.
    """
    p = likelihood.X.shape[1]
    wide = stats.multivariate_t(draws.mean(axis=0), np.cov(draws.T), df=5, seed=seed)
    points = wide.rvs(n_draws)

    def point(x: np.ndarray) -> Point:
        return Point(x[:p], float(x[p]), np.exp(x[p + 1 :]))

    normal = likelihood.normal(point(draws.mean(axis=0)))
    log_likelihood = [likelihood.log(point(x), normal) if x[p] > 0 else -np.inf for x in points]
    return points, np.array(log_likelihood) - wide.logpdf(points)
