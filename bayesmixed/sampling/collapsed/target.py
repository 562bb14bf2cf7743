"""What the sampler sees: the collapsed density in warped coordinates, with sigma integrated out or drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bayesmixed.distributions import StudentT
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.sampling.independence.proposal import Warp

_LOG_LAMBDA = (-40.0, 12.0)  # beyond these, rounding errors would dominate
_V = 40.0
_NOWHERE = -1e300  # log density outside; finite, so that differences stay numbers
# The t proposal of log(sigma), in Laplace's standard deviations. Its tails cover the exponential left tail that
# log(sigma) has if there are as many common columns as rows; with 8 degrees of freedom they would not
_SIGMA_SPREAD, _SIGMA_T = 1.03, StudentT(nu=6)


@dataclass(frozen=True)
class Evaluated:
    """Points of the full model: covariances and sigma.

    Attributes
    ----------
    theta : numpy.ndarray of shape (d, N)
        Coordinates of `Covariances`.
    s : numpy.ndarray of shape (N,)
        log(sigma), working units.
    log_joint : numpy.ndarray of shape (N,)
        log p(y, theta, s).
    log_weight : numpy.ndarray of shape (N,)
        The same in warped coordinates, minus the log density of the proposal of s.
    log_integrated : numpy.ndarray of shape (N,)
        As `Target.integrated`.
    at_edge : numpy.ndarray of bool, shape (N,)
        Points within 1 of the domain's upper end of log(lambda), or of an end of v.
    """

    theta: np.ndarray
    s: np.ndarray
    log_joint: np.ndarray
    log_weight: np.ndarray
    log_integrated: np.ndarray
    at_edge: np.ndarray


@dataclass
class Target:
    """The density of one model in the coordinates of a `Warp`.

    Attributes
    ----------
    density : CollapsedDensity
    warp : Warp or None
        None: the coordinates of `Covariances` themselves.
    advance : callable
        Called with the number of points after every chunk.
    evaluations : int
        Points so far.
    """

    density: CollapsedDensity
    warp: Warp | None
    advance: Callable[[int], None]
    evaluations: int = field(default=0)

    def integrated(self, u: np.ndarray) -> np.ndarray:
        """Log density at (d, N), (N,), with sigma integrated out by Laplace's method: exact enough for adaptation."""
        theta, log_jacobian, inside = self._unwarp(u)
        result = np.empty(u.shape[1])
        residual = self.density.residual
        for points in self.density.passes(u.shape[1]):
            reduced = self.density.reduce(theta[:, points])
            _, sd, height = residual.laplace(reduced)
            result[points] = height + np.log(sd)
            self._count(len(sd))
        return _or_nowhere(inside, result + log_jacobian)

    def with_sigma(self, u: np.ndarray, rng: np.random.Generator) -> Evaluated:
        """Propose sigma at every point (d, N), and evaluate the exact joint density there."""
        theta, log_jacobian, inside = self._unwarp(u)
        N = u.shape[1]
        s, log_joint, log_q, log_integrated = (np.empty(N) for _ in range(4))
        t = np.asarray(rng.standard_t(_SIGMA_T.nu, N))
        residual = self.density.residual
        for points in self.density.passes(N):
            reduced = self.density.reduce(theta[:, points])
            mode, sd, height = residual.laplace(reduced)
            log_integrated[points] = height + np.log(sd)
            s[points] = mode + _SIGMA_SPREAD * sd * t[points]
            log_joint[points] = residual.log_density(reduced, s[points])
            log_q[points] = _SIGMA_T.log_density(t[points]) - np.log(_SIGMA_SPREAD * sd)
            self._count(len(sd))
        weight = _or_nowhere(inside, log_joint + log_jacobian - log_q)
        k = self.density.covariances.n_sds
        at_edge = (theta[:k] > _LOG_LAMBDA[1] - 1).any(axis=0) | (np.abs(theta[k:]) > _V - 1).any(axis=0)
        log_integrated = _or_nowhere(inside, log_integrated + log_jacobian)
        return Evaluated(theta, s, log_joint, weight, log_integrated, at_edge)

    def _unwarp(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates within the domain, log Jacobian, and which points were inside."""
        theta, log_jacobian = (u, np.zeros(u.shape[1])) if self.warp is None else self.warp.unwarp(u)
        k = self.density.covariances.n_sds
        edge = np.array([_LOG_LAMBDA] * k + [(-_V, _V)] * (len(u) - k))
        clipped = np.clip(theta, edge[:, :1], edge[:, 1:])
        return clipped, log_jacobian, (clipped == theta).all(axis=0)

    def _count(self, n: int) -> None:
        self.evaluations += n
        self.advance(n)


def _or_nowhere(inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(inside & np.isfinite(values), values, _NOWHERE)
