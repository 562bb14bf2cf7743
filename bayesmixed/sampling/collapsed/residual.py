"""Integrate out the common effects, and handle sigma: all that is left once the group effects are gone.

Given lambda (the group covariances relative to sigma^2), the data enter through G = V' V_lambda^-1 V with V = [X, y]
and D = log det V_lambda. With gamma ~ N(m, V0) and s = log(sigma), H = G e^(-2s) + [I, m]' V0^-1 [I, m] is the
quadratic form of (gamma, -1), so that eliminating its first rows integrates gamma out:

    log p(y, lambda, s) = log p(lambda) + K s + sum_k log p_k(r_k e^s) + log p(sigma = e^s) + s
                          - n s - (D + log det H_xx - log det V0^-1 + H_yy.x + n log 2 pi) / 2,

K being the number of group sds, r_k e^s their values on the user's scale, and H_yy.x the Schur complement.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from bayesmixed.distributions import Prior
from bayesmixed.sampling.collapsed.batched import back_substitute, eliminate, log_det

_STEP = 0.03  # of log(sigma), for derivatives
_NEWTON = 25  # iterations at most
_LAPACK = 8  # common columns from which LAPACK, matrix by matrix, is faster than elimination of all at once
_TINY = 1e-300
_CLOSE = 0.2  # stop when a step is below so many standard deviations


@dataclass(frozen=True)
class Reduced:
    """What is left of the model at N points lambda, for any sigma.

    Attributes
    ----------
    G : numpy.ndarray of shape (P, P, N)
    log_det : numpy.ndarray of shape (N,)
        D.
    sds : numpy.ndarray of shape (K, N)
        Standard deviations on the user's scale, divided by sigma (in working units).
    log_prior : numpy.ndarray of shape (N,)
        Log prior density of lambda's coordinates, but for the sds' own.
    """

    G: np.ndarray
    log_det: np.ndarray
    sds: np.ndarray
    log_prior: np.ndarray

    def take(self, which: np.ndarray) -> Reduced:
        """Some of the points, in any order."""
        return Reduced(self.G[..., which], self.log_det[which], self.sds[:, which], self.log_prior[which])


@dataclass(frozen=True)
class Residual:
    """Sigma and the common effects of one model.

    Attributes
    ----------
    n : float
        Number of rows; the sum of the weights.
    prior : numpy.ndarray of shape (P, P)
        [I, m]' V0^-1 [I, m].
    sigma_prior : Prior
        On the user's scale.
    sd_priors : list of Prior, length K
    y_scale : float
        One unit of sigma on the user's scale.
    log_floor : float
        Least log(sigma), working units.
    """

    n: float
    prior: np.ndarray
    sigma_prior: Prior
    sd_priors: list[Prior]
    y_scale: float
    log_floor: float

    def log_density(self, reduced: Reduced, s: np.ndarray) -> np.ndarray:
        """Log of p(y, lambda, s), shape (N,), for s of shape (N,); -inf below the floor of sigma."""
        log_det_xx, quadratic = _complete_square(reduced.G * np.exp(-2 * s) + self.prior[:, :, None])
        total = reduced.log_prior + (len(self.sd_priors) + 1 - self.n) * s
        total = total - 0.5 * (reduced.log_det + log_det_xx + quadratic + self._constant)
        sigma = np.exp(s)
        for prior, sd in zip(self.sd_priors, reduced.sds, strict=True):
            total = total + prior.log_density(sd * sigma)
        total = total + self.sigma_prior.log_density(self.y_scale * sigma)
        return np.where(s >= self.log_floor, total, -np.inf)

    @property
    def _constant(self) -> float:
        p = len(self.prior) - 1
        return self.n * np.log(2 * np.pi) - (np.linalg.slogdet(self.prior[:p, :p])[1] if p else 0.0)

    def laplace(self, reduced: Reduced) -> tuple[np.ndarray, np.ndarray]:
        """Mode and standard deviation of s at every point, by Newton's method on three values a step."""
        H = self._start(reduced)
        s = np.maximum(0.5 * np.log(H), self.log_floor + 0.1)
        sd = np.ones_like(s)
        active = np.arange(len(s))
        for _ in range(_NEWTON):
            points = reduced.take(active)
            low, mid, high = (self.log_density(points, s[active] + k * _STEP) for k in (-1, 0, 1))
            slope = (high - low) / (2 * _STEP)
            # a curvature that rounding, or a flat likelihood, makes too small would throw the step far away
            curvature = np.maximum(-(high - 2 * mid + low) / _STEP**2, 0.5 + 0.1 * self.n)
            sd[active] = 1 / np.sqrt(curvature)
            step = np.clip(np.nan_to_num(slope / curvature), -1, 1)
            s[active] = np.maximum(s[active] + step, self.log_floor + 2 * _STEP)
            active = active[np.abs(step) > _CLOSE * sd[active]]
            if not len(active):
                break
        return s, sd

    def _start(self, reduced: Reduced) -> np.ndarray:
        """A rough sigma^2: twice the residual sum of squares over n, from the variance of y."""
        p = len(self.prior) - 1
        variance = np.maximum(reduced.G[p, p] / self.n, 1e-300)
        for _ in range(2):
            _, quadratic = _complete_square(reduced.G + self.prior[:, :, None] * variance)
            variance = np.maximum(quadratic / self.n, 1e-300)
        return variance

    def draw(self, G: np.ndarray, s: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Conditional mean and a draw of gamma, each (P - 1, S), for G (P, P, S), s (S,), normals (P - 1, S)."""
        p = len(self.prior) - 1
        rows, _ = eliminate(G * np.exp(-2 * s) + self.prior[:, :, None], p)
        return back_substitute(rows, rows[:, -1]), back_substitute(rows, rows[:, -1] + normals)


def _complete_square(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log determinant of H_xx and Schur complement H_yy.x, each (N,), of matrices (P, P, N), overwritten."""
    p = len(H) - 1
    if p >= _LAPACK:
        with suppress(np.linalg.LinAlgError):  # rounding, far out in the tails: the elimination goes on
            pivots = np.diagonal(np.linalg.cholesky(np.moveaxis(H, -1, 0)), axis1=1, axis2=2)
            return 2 * np.log(pivots[:, :p]).sum(axis=1), np.square(pivots[:, p])
    rows, rest = eliminate(H, p, least=_TINY)
    return log_det(rows), rest[0, 0]
