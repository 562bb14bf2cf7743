"""The proposal of the independence sampler: mixtures of t distributions, fitted by adaptive importance sampling.

References
----------
.. [1] Cornuet, Marin, Mira & Robert (2012), Adaptive multiple importance sampling, Scandinavian Journal of Statistics
   39, 798-812.
.. [2] Ionides (2008), Truncated importance sampling, Journal of Computational and Graphical Statistics 17, 295-311.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.special import gammaln, log_ndtr

from bayesmixed.sampling.independence.modes import LogDensity, Mode

_NU_WIDE, _WIDE = 3, 5.0  # degrees of freedom of the wide part, and its covariance's factor
_FIRST = (4, 1.25, 0.15)  # around a mode: degrees of freedom, factor of the covariance, share of the wide part
_FITTED = (4, 1.25, 0.1)  # the same for a fitted proposal
_MIN_MASS = 1e-3  # a part of the posterior with less mass than this is left to the wide part of the others
_ROUNDS = 6
_CONVERGED = 1e-14  # relative size of the Newton step at which an inversion has converged
_GOOD, _GOOD_ENOUGH, _STALLED = 0.7, 0.3, 1.1  # efficiencies at which adaptation ends, and gain below which


Centres = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class StudentMixture:
    """A mixture of multivariate t distributions.

    Attributes
    ----------
    weights : numpy.ndarray of shape (k,)
    means : numpy.ndarray of shape (k, d)
    roots : numpy.ndarray of shape (k, d, d)
        Lower Cholesky factors of the scale matrices.
    nu : numpy.ndarray of shape (k,)
        Degrees of freedom.
    """

    weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    nu: np.ndarray

    @classmethod
    def about(
        cls,
        centres: Sequence[tuple[np.ndarray, np.ndarray]],
        nu: float,
        inflation: float,
        share: float,
        *,
        masses: np.ndarray | None = None,
    ) -> StudentMixture:
        """A narrow component, with `nu` degrees of freedom, and a wide one about every (mean, covariance).

        Parameters
        ----------
        centres : sequence of (numpy.ndarray of shape (d,), numpy.ndarray of shape (d, d))
        nu, inflation, share : float
            Degrees of freedom and covariance factor of the narrow ones, share of the wide ones.
        masses : numpy.ndarray of shape (k,), optional
            Of the centres; default: equal.
        """
        k, d = len(centres), len(centres[0][0])
        masses = np.full(k, 1 / k) if masses is None else masses / masses.sum()
        roots = np.array([np.linalg.cholesky(covariance) for _, covariance in centres])
        return cls(
            np.concatenate([(1 - share) * masses, share * masses]),
            np.tile([mean for mean, _ in centres], (2, 1)).reshape(2 * k, d),
            np.concatenate([np.sqrt(inflation) * roots, np.sqrt(_WIDE) * roots]),
            np.repeat([nu, _NU_WIDE], k),
        )

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Independent draws, (d, n)."""
        component = rng.choice(len(self.weights), n, p=self.weights)
        z = rng.standard_normal((n, self.means.shape[1]))
        nu = self.nu[component]
        z *= np.sqrt(nu / rng.chisquare(nu))[:, None]
        x = np.empty_like(z)
        for k in range(len(self.weights)):
            mine = component == k
            x[mine] = self.means[k] + z[mine] @ self.roots[k].T
        return x.T

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Log density at points (d, N)."""
        d = len(x)
        parts = []
        for weight, mean, root, nu in zip(self.weights, self.means, self.roots, self.nu, strict=True):
            z = np.linalg.inv(root) @ (x - mean[:, None])
            constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - d / 2 * np.log(nu * np.pi)
            constant += np.log(weight) - np.log(np.diag(root)).sum()
            parts.append(constant - (nu + d) / 2 * np.log1p(np.square(z).sum(axis=0) / nu))
        return _log_of_sum(np.array(parts))


@dataclass(frozen=True)
class Warp:
    """Coordinates in which the posterior is closer to a normal distribution.

    A density of log(lambda) falls off like e^x as the variance goes to zero, slowly compared with a normal one. With
    ``log(lambda) = centre + log Phi(u) + log(1 + e^u)`` the left tail is that of a normal density in u, the right one
    stays as it was, and u = 0 is the centre.

    Attributes
    ----------
    centre : numpy.ndarray of shape (K,)
        Of the first K coordinates; the others stay as they are.
    """

    STORED: ClassVar[tuple[str, ...]] = ("centre",)

    centre: np.ndarray

    def unwarp(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Original coordinates, (d, N), and the log Jacobian, (N,)."""
        k = len(self.centre)
        x = u.copy()
        value, slope = _warp_curve(u[:k])
        x[:k] = self.centre[:, None] + value
        return x, np.log(slope).sum(axis=0)

    def warp(self, x: np.ndarray) -> np.ndarray:
        """Inverse of `unwarp` for one point, (d,), or many, (d, N), by Newton's method."""
        k = len(self.centre)
        u = x.copy()
        goal = (x[:k].T - self.centre).T
        u[:k] = np.where(goal > 0, goal, -np.sqrt(np.maximum(-2 * goal, 0)))
        for _ in range(50):
            value, slope = _warp_curve(u[:k])
            step = np.clip((value - goal) / slope, -1, 1)
            u[:k] -= step
            if (np.abs(step) <= _CONVERGED * np.maximum(np.abs(u[:k]), 1)).all():
                break
        return u

    def slope(self, u: np.ndarray) -> np.ndarray:
        """Derivative of x with respect to u at one point, (d,)."""
        k = len(self.centre)
        return np.concatenate([_warp_curve(u[:k])[1], np.ones(len(u) - k)])


def _warp_curve(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value log Phi(u) + log(1 + e^u), and its derivative phi(u) / Phi(u) + 1 / (1 + e^-u), elementwise."""
    log_phi, small = log_ndtr(u), np.exp(-np.abs(u))
    ratio = np.exp(-0.5 * np.square(u) - 0.5 * np.log(2 * np.pi) - log_phi)
    return log_phi + np.maximum(u, 0) + np.log1p(small), ratio + np.where(u > 0, 1, small) / (1 + small)


def _log_of_sum(logs: np.ndarray) -> np.ndarray:
    """Log of the sum of exponentials over the first axis; three times as fast as `numpy.logaddexp`."""
    top = logs.max(axis=0)
    return top + np.log(np.exp(logs - top).sum(axis=0))


@dataclass
class Pool:
    """All evaluated points, and all proposals they came from.

    Attributes
    ----------
    x : numpy.ndarray of shape (d, n)
    log_target : numpy.ndarray of shape (n,)
    proposals : list of StudentMixture
    sizes : list of int
        Points of each proposal.
    """

    x: np.ndarray
    log_target: np.ndarray
    proposals: list[StudentMixture]
    sizes: list[int]

    def add(self, x: np.ndarray, log_target: np.ndarray, proposal: StudentMixture) -> None:
        """Add the points of one more proposal."""
        self.x = np.hstack([self.x, x])
        self.log_target = np.concatenate([self.log_target, log_target])
        self.proposals.append(proposal)
        self.sizes.append(x.shape[1])
        vars(self).pop("weights", None)  # computed anew

    @cached_property
    def weights(self) -> np.ndarray:
        """Normalised importance weights: mixture of all proposals [1]_, truncated at sqrt(n) means [2]_."""
        share = np.log(np.array(self.sizes) / sum(self.sizes))
        log_q = _log_of_sum(np.array([a + q.log_density(self.x) for a, q in zip(share, self.proposals, strict=True)]))
        log_w = self.log_target - log_q
        w = np.exp(log_w - log_w.max())
        w = np.minimum(w, w.mean() * np.sqrt(len(w)))
        return w / w.sum()

    def fit(self, previous: Centres) -> tuple[StudentMixture, Centres]:
        """Match t distributions to the weighted moments of the points, one for each part of the posterior.

        A part is the set of points nearest to one of the `previous` centres; most posteriors have a single one. If a
        part has few effective points, half of its previous covariance is kept.

        Returns
        -------
        proposal : StudentMixture
        centres : list of (mean, covariance)
        """
        d = len(self.x)
        w = self.weights
        nu, inflation, share = _FITTED
        part = _nearest(self.x, previous)
        centres, masses, unsure = [], [], 0.0
        for k, (_, old) in enumerate(previous):
            mine = part == k
            mass = w[mine].sum()
            if mass < _MIN_MASS and len(previous) > 1:
                continue
            share_of = w[mine] / mass
            ess = 1 / np.square(share_of).sum()
            mean = self.x[:, mine] @ share_of
            centred = self.x[:, mine] - mean[:, None]
            covariance = (centred * share_of) @ centred.T
            if ess < 4 * d:
                covariance = (covariance + old) / 2
            centres.append((mean, covariance + 1e-10 * np.trace(covariance) / d * np.eye(d)))
            masses.append(mass)
            unsure = max(unsure, 0.5 * min(1.0, 2 * d / ess))
        return StudentMixture.about(centres, nu, inflation + unsure, share, masses=np.array(masses)), centres


def _nearest(x: np.ndarray, centres: Centres) -> np.ndarray:
    """Which centre each point, (d, N), is nearest to, by the normal density about each centre."""
    heights = []
    for mean, covariance in centres:
        L = np.linalg.cholesky(covariance)
        z = np.linalg.solve(L, x - mean[:, None])
        heights.append(-0.5 * np.square(z).sum(axis=0) - np.log(np.diag(L)).sum())
    return np.argmax(heights, axis=0)


def centres_of(modes: list[Mode]) -> Centres:
    """Modes with enough mass, as (mean, covariance); the others are left to the wide part."""
    least = modes[0].log_mass + np.log(_MIN_MASS)
    return [(mode.x, mode.covariance) for mode in modes if mode.log_mass > least]


def start(centres: Centres) -> StudentMixture:
    """Propose about the modes."""
    return StudentMixture.about(centres, *_FIRST)


def adapt(
    log_target: LogDensity, proposal: StudentMixture, centres: Centres, rng: np.random.Generator, size: int
) -> tuple[StudentMixture, Pool, Centres, float]:
    """Fit the proposal to the target by rounds of importance sampling.

    Parameters
    ----------
    log_target : callable
    proposal : StudentMixture
        The initial one.
    centres : list of (mean, covariance)
        Of the parts of the posterior.
    rng : numpy.random.Generator
    size : int
        Points of the first round; later ones grow by half of it.

    Returns
    -------
    proposal : StudentMixture
    pool : Pool
    centres : list of (mean, covariance)
    efficiency : float
        Effective fraction of the last round's points.
    """
    pool = Pool(np.empty((len(centres[0][0]), 0)), np.empty(0), [], [])
    efficiencies: list[float] = []
    for r in range(_ROUNDS):
        x = proposal.sample(rng, int(size * (1 + r / 2)))
        log_p = log_target(x)
        pool.add(x, log_p, proposal)
        efficiencies.append(efficiency(log_p - proposal.log_density(x)))
        proposal, centres = pool.fit(centres)
        e = efficiencies[-1]
        stalled = r >= 2 and e > _GOOD_ENOUGH and e < _STALLED * max(efficiencies[:-1])
        if r >= 1 and (e > _GOOD or stalled):
            break
    return proposal, pool, centres, efficiencies[-1]


def efficiency(log_w: np.ndarray) -> float:
    """Effective sample size of importance weights, as a share of their number."""
    w = np.exp(log_w - log_w.max())
    return float(w.sum() ** 2 / (len(w) * np.square(w).sum()))
