"""Integrate out the common effects, and handle sigma: what remains once the group effects are integrated out.

Given lambda (the group covariances relative to sigma^2), the data enter through G = V' V_lambda^-1 V with V = [X, y]
and D = log det V_lambda. With gamma ~ N(m, V0) and s = log(sigma), H = G e^(-2s) + [I, m]' V0^-1 [I, m] is the
quadratic form of (gamma, -1), so that eliminating its first rows integrates gamma out:

    log p(y, lambda, s) = log p(lambda) + K s + sum_k log p_k(r_k e^s) + log p(sigma = e^s) + s
                          - n s - (D + log det H_xx - log det V0^-1 + H_yy.x + n log 2 pi) / 2,

K being the number of group sds, r_k e^s their values on the user's scale, and H_yy.x the Schur complement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs

from bayesmixed.chunks import allowed, chunks
from bayesmixed.distributions import Prior
from bayesmixed.gaussian.batched import back_substitute, eliminate, pack

_STEP = 0.03  # of log(sigma), for derivatives; with many rows, one over the square root of their number
_MIN_CURVATURE = 0.25  # of the log density of log(sigma): a standard deviation of 2
_NEWTON = 25  # iterations at most
_LAPACK = 8  # common columns from which LAPACK, matrix by matrix, is faster than elimination of all at once
_TINY = 1e-300  # smallest pivot, and smallest sigma^2 to start from
_HUGE = 1e300  # bound of derivatives: infinite where the density is zero on one side
_THREE = np.array([[-1.0], [0.0], [1.0]])
_MIN_LEFT = 0.1  # share of the rows, in addition to as many as there are common effects that the data determine
_CLOSE = 0.2  # stop when a step is shorter than this many standard deviations


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
        Log prior density of lambda's coordinates, without that of the sds.
    """

    G: np.ndarray
    log_det: np.ndarray
    sds: np.ndarray
    log_prior: np.ndarray

    def take(self, which: np.ndarray) -> Reduced:
        """Some of the points, in any order."""
        G = self.G[..., which]
        if len(G) > _LAPACK:
            G = _by_point(np.ascontiguousarray(np.moveaxis(self.G, -1, 0)[which]))
        return Reduced(G, self.log_det[which], self.sds[:, which], self.log_prior[which])


@dataclass(frozen=True)
class Residual:
    """Sigma and the common effects of one model.

    Attributes
    ----------
    n : float
        Number of rows; the sum of the weights.
    prior : numpy.ndarray of shape (P, P)
        [I, m]' V0^-1 [I, m].
    prior_log_det : float
        log det V0^-1.
    sigma_prior : Prior
        On the user's scale.
    sd_priors : list of Prior, length K
    y_scale : float
        One unit of sigma on the user's scale.
    log_floor : float
        Smallest log(sigma), working units.
    """

    STORED: ClassVar[tuple[str, ...]] = (
        "n",
        "prior",
        "prior_log_det",
        "sigma_prior",
        "sd_priors",
        "y_scale",
        "log_floor",
    )

    n: float
    prior: np.ndarray
    prior_log_det: float
    sigma_prior: Prior
    sd_priors: list[Prior]
    y_scale: float
    log_floor: float

    def log_density(self, reduced: Reduced, s: np.ndarray) -> np.ndarray:
        """Log of p(y, lambda, s) for s of shape (N,), or (k, N): k values per point; -inf below the floor of sigma."""
        log_det_xx, quadratic = _complete_square(reduced.G, np.exp(-2 * s), self.prior)
        total = reduced.log_prior + (len(self.sd_priors) + 1 - self.n) * s
        constant = self.n * np.log(2 * np.pi) - self.prior_log_det
        total = total - 0.5 * (reduced.log_det + log_det_xx + quadratic + constant)
        sigma = np.exp(s)
        for prior, sd in zip(self.sd_priors, reduced.sds, strict=True):
            total = total + prior.log_density(sd * sigma)
        total = total + self.sigma_prior.log_density(self.y_scale * sigma)
        return np.where(s >= self.log_floor, total, -np.inf)

    def laplace(self, reduced: Reduced) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mode and standard deviation of s at every point, by Newton's method on three values per step.

        Also the log density at the mode, from the parabola through the last three values.
        """
        s = np.maximum(0.5 * np.log(self._start(reduced)), self.log_floor + 0.1)
        h = min(_STEP, 1 / np.sqrt(self.n))
        sd, height = np.ones_like(s), np.empty_like(s)
        active = np.arange(len(s))
        for _ in range(_NEWTON):
            points = reduced if len(active) == len(s) else reduced.take(active)
            low, mid, high = self.log_density(points, s[active] + h * _THREE)
            with np.errstate(invalid="ignore"):  # points that are ruled out for any sigma
                slope, curvature = (high - low) / (2 * h), (2 * mid - high - low) / h**2
            for values in (slope, curvature):
                values[np.isnan(values)] = 0.0
            slope = np.minimum(np.maximum(slope, -_HUGE), _HUGE)
            # it may be convex, or nearly flat, on the way
            curvature = np.minimum(np.maximum(curvature, _MIN_CURVATURE), _HUGE)
            sd[active] = 1 / np.sqrt(curvature)
            step = np.minimum(np.maximum(slope / curvature, -1), 1)
            height[active] = mid + slope * step - 0.5 * curvature * step**2
            s[active] = np.maximum(s[active] + step, self.log_floor + 2 * _STEP)
            active = active[np.abs(step) > _CLOSE * sd[active]]
            if not len(active):
                break
        return s, sd, height

    def _start(self, reduced: Reduced) -> np.ndarray:
        """A rough sigma^2, (N,), found in two steps from the variance of y: the residual sum of squares over n - r.

        r is the number of common effects that the data, not their prior, determine: H e^(2s) is G plus the prior times
        sigma^2, and its log determinant grows by one with log(sigma^2) for each of the others. If they leave hardly
        a row for sigma, as when there are more columns than rows, the density falls off slowly to the left, and the
        search begins at its right.
        """
        p = len(self.prior) - 1
        first = np.maximum(reduced.G[p, p] / self.n, _TINY)
        log_det_first, quadratic = _complete_square(reduced.G, 1.0, self.prior, first)
        second = np.maximum(quadratic / self.n, _TINY)
        log_det_second, quadratic = _complete_square(reduced.G, 1.0, self.prior, second)
        with np.errstate(divide="ignore", invalid="ignore"):
            unknown = (log_det_first - log_det_second) / (np.log(first) - np.log(second))
        r = p - np.where(unknown > 0, np.minimum(unknown, p), 0.0)
        left = self.n - r
        return np.maximum(np.where(left > _MIN_LEFT * self.n, quadratic / np.maximum(left, _TINY), first), _TINY)

    def draw(
        self, G: np.ndarray, s: np.ndarray, normals: np.ndarray, which: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Conditional means and draws of gamma.

        Parameters
        ----------
        G : numpy.ndarray of shape (P, P, N)
        s : numpy.ndarray of shape (N,)
        normals : numpy.ndarray of shape (P - 1, S)
        which : numpy.ndarray of int, shape (S,), optional
            The point that each draw belongs to; default: one draw per point.

        Returns
        -------
        mean, gamma : numpy.ndarray of shape (P - 1, S)
        """
        p = len(self.prior) - 1
        which = np.arange(len(s)) if which is None else which
        if p < _LAPACK:
            rows, _ = eliminate(_quadratic_form(G[..., which], np.exp(-2 * s[which]), self.prior), p, least=_TINY)
            return back_substitute(rows, rows[:, -1]), back_substitute(rows, rows[:, -1] + normals)
        mean, gamma = np.empty((2, p, len(which)))
        H = np.ascontiguousarray(np.moveaxis(G, -1, 0)) * np.exp(-2 * s)[:, None, None] + self.prior
        order = np.argsort(which, kind="stable")
        points, starts = np.unique(which[order], return_index=True)
        for n, mine in zip(points, np.split(order, starts[1:]), strict=True):
            R, half = _cholesky_rows(H[n])
            both, _ = dtrtrs(R, np.column_stack([half, half[:, None] + normals[:, mine]]))
            mean[:, mine], gamma[:, mine] = both[:, :1], both[:, 1:]  # R^-1 z has covariance H_xx^-1
        return mean, gamma

    def moments(self, G: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Conditional mean (P - 1, S) and packed covariance (P (P - 1) / 2, S) of gamma, for G (P, P, S) and s (S,)."""
        p = len(self.prior) - 1
        H = np.moveaxis(G * np.exp(-2 * s) + self.prior[:, :, None], -1, 0)
        L = np.linalg.cholesky(H[:, :p, :p])
        half = np.linalg.solve(L, np.concatenate([H[:, :p, p:], np.broadcast_to(np.eye(p), (len(H), p, p))], axis=2))
        root = half[:, :, 1:]  # L^-1: the covariance is its square
        mean = (root.swapaxes(1, 2) @ half[:, :, :1])[:, :, 0]
        return mean.T, pack(np.moveaxis(root.swapaxes(1, 2) @ root, 0, -1))


def products_of(P: int, N: int) -> np.ndarray:
    """Allocate N matrices, (P, P, N); each is contiguous if LAPACK will be used."""
    return np.empty((P, P, N)) if P <= _LAPACK else _by_point(np.empty((N, P, P)))


def _by_point(matrices: np.ndarray) -> np.ndarray:
    """View of matrices (N, P, P) as (P, P, N)."""
    return np.moveaxis(matrices, 0, -1)


def _quadratic_form(
    G: np.ndarray, scale: np.ndarray | float, prior: np.ndarray, variance: np.ndarray | float = 1.0
) -> np.ndarray:
    """H = scale G + variance prior, (P, P, ..., N), or part of a row; `scale` is (..., N), `variance` (N,)."""
    new = (1,) * (np.ndim(scale) - 1)
    return G.reshape(*prior.shape, *new, -1) * scale + prior.reshape(*prior.shape, *new, 1) * variance


def _complete_square(
    G: np.ndarray, scale: np.ndarray | float, prior: np.ndarray, variance: np.ndarray | float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Log determinant of H_xx and Schur complement H_yy.x, each (..., N), of `_quadratic_form`.

    A point spoilt by rounding has zero density: its determinant is infinite, and its complement, whose rounded value
    could be minus infinity, is set to 0, so that their sum is a number or infinite.
    """
    p = len(G) - 1
    if p >= _LAPACK:
        shape = np.broadcast_shapes(np.shape(scale), np.shape(variance), G.shape[2:])
        pivots = _pivots(G, np.broadcast_to(scale, shape), np.broadcast_to(variance, shape), prior)
        lost = np.isinf(pivots[..., p])
        return 2 * np.log(pivots[..., :p]).sum(axis=-1), np.where(lost, 0.0, np.square(pivots[..., p]))
    # row by row of the upper triangle, keeping only the pivots: small models spend most of their time here
    with np.errstate(over="ignore", invalid="ignore"):  # a lost pivot: the density of such a point is zero
        rows = [_quadratic_form(G[i, i:], scale, prior[i, i:], variance) for i in range(p + 1)]
        log_det, lost = np.zeros(rows[p].shape[1:]), np.zeros(rows[p].shape[1:], dtype=bool)
        for i in range(p):
            pivot, right = np.maximum(rows[i][0], _TINY), rows[i][1:]
            for j, share in enumerate(right / pivot):
                rows[i + 1 + j] -= share * right[j:]
            log_det += np.log(pivot)
            lost |= pivot <= _TINY
    return np.where(lost, np.inf, log_det), np.where(lost, 0.0, rows[p][0])


def _pivots(G: np.ndarray, scale: np.ndarray, variance: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Diagonals of the Cholesky factors of ``scale G + variance prior``, (..., N, P), a few points at a time."""
    pivots, matrices = np.empty((*scale.shape, len(G))), np.moveaxis(G, -1, 0)
    for some in chunks(G.shape[2], prior.size, allowed().matrices):
        mine = np.ascontiguousarray(matrices[some])
        for at in np.ndindex(scale.shape[:-1]):
            a, b = scale[(*at, some)], variance[(*at, some)]
            pivots[(*at, some)] = _cholesky_pivots(mine * a[:, None, None] + prior * b[:, None, None])
    return pivots


def _cholesky_pivots(H: np.ndarray) -> np.ndarray:
    """Diagonals of the Cholesky factors of matrices (N, P, P); infinite where rounding has left no factor."""
    try:
        return np.diagonal(np.linalg.cholesky(H), axis1=1, axis2=2)
    except np.linalg.LinAlgError:  # far out in the tails; halve until the failing matrix is isolated
        if len(H) > 1:
            return np.concatenate([_cholesky_pivots(half) for half in np.array_split(H, 2)])
        return np.full((1, H.shape[1]), np.inf)


def _cholesky_rows(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper Cholesky factor R of H_xx, and R'^-1 H_xy, of one matrix, (P, P).

    Raises
    ------
    numpy.linalg.LinAlgError
    """
    R, failed = dpotrf(H[:-1, :-1].T)
    if failed:
        raise np.linalg.LinAlgError("the covariance of the common effects is not positive definite")
    half, _ = dtrtrs(R, H[:-1, -1], trans=1)
    return R, half
