"""Modes of a log density: Newton's method from several starts at once, all points of a step in one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from bayesmixed.errors import SamplerError

LogDensity = Callable[[np.ndarray], np.ndarray]

_STEP = 0.02  # step in a coordinate, for derivatives
_MIN_CURVATURE = 1 / 9  # a direction without curvature has a scale of 3
_ITERATIONS = 30
_CLOSE = 0.02  # squared length of a step, in standard deviations, below which a start has converged
_NEAR = 4.0  # squared length of a step, in standard deviations, below which no other length is tried
_LENGTHS = np.array([1.5, 1.0, 0.5, 0.2, 0.05, 0.01])  # fractions of a Newton step
_FAR = 3.0  # no coordinate moves farther in one step
_SAME = 0.5  # standard deviations within which two modes are one
_RULED_OUT, _NOWHERE = -1e200, -1e300  # log density of a point that is ruled out, or less; in place of less


@dataclass(frozen=True)
class Mode:
    """A local maximum.

    Attributes
    ----------
    x : numpy.ndarray of shape (d,)
    log_density : float
    covariance : numpy.ndarray of shape (d, d)
        Inverse of the negative Hessian.
    """

    x: np.ndarray
    log_density: float
    covariance: np.ndarray

    @property
    def log_mass(self) -> float:
        """Laplace's approximation of the log of the integral, up to a constant."""
        return self.log_density + 0.5 * np.linalg.slogdet(self.covariance)[1]


def find_modes(log_density: LogDensity, starts: np.ndarray) -> list[Mode]:
    """Climb from every start, (d, k), to distinct modes, the one with the largest mass first.

    Parameters
    ----------
    log_density : callable
        Takes points (d, N), returns (N,); below -1e200 where the density is zero.
    starts : numpy.ndarray of shape (d, k)
        Those with zero density are left out.

    Raises
    ------
    SamplerError
        The density is zero at every start.
    """
    x = starts.astype(float)
    value, gradient, curvature = _derivatives(log_density, x)
    active = np.flatnonzero(value > _RULED_OUT)
    found = active
    if not len(active):
        raise SamplerError("the posterior density is zero at every point where the search for its modes begins")
    fell = np.zeros(len(value), dtype=bool)  # starts whose last step did not climb
    for _ in range(_ITERATIONS):
        step = np.linalg.solve(curvature[active], gradient[active, :, None])[:, :, 0]
        length = (gradient[active] * step).sum(axis=1)  # squared, in standard deviations
        moving = length > _CLOSE
        active, step, length = active[moving], step[moving], length[moving]
        if not len(active):
            break
        step *= np.minimum(1, _FAR / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-300))
        far = (length > _NEAR) | fell[active]
        if far.any():
            step[far] *= _best_lengths(log_density, x[:, active[far]], step[far])[:, None]
        tried = x[:, active] + step.T
        values, *derivatives = _derivatives(log_density, tried)
        higher = values > value[active]
        fell[active] = ~higher
        to = active[higher]
        x[:, to], value[to] = tried[:, higher], values[higher]
        gradient[to], curvature[to] = (each[higher] for each in derivatives)
        active = active[higher | ~far]
    return _distinct([Mode(x[:, i], float(value[i]), np.linalg.inv(curvature[i])) for i in found])


def _best_lengths(log_density: LogDensity, x: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The fraction of each step, (k, d), that climbs most from the points x, (d, k)."""
    tried = x[:, :, None] + step.T[:, :, None] * _LENGTHS
    return _LENGTHS[log_density(tried.reshape(len(x), -1)).reshape(len(step), -1).argmax(axis=1)]


def _derivatives(log_density: LogDensity, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value (k,), gradient (k, d) and negative Hessian (k, d, d), made positive definite, by central differences."""
    d, k = x.shape
    unit = np.eye(d) * _STEP
    pairs = [(i, j) for i in range(d) for j in range(i)]
    moves = [np.zeros(d), *unit, *-unit, *(s * (unit[i] + unit[j]) for i, j in pairs for s in (1, -1))]
    moved = x[:, :, None] + np.array(moves).T[:, None]
    values = np.maximum(log_density(moved.reshape(d, -1)), _NOWHERE).reshape(k, -1)
    values = np.where(values > _RULED_OUT, values, values[:, :1] - 1e3)  # a step over the edge of the domain
    mid, plus, minus = values[:, :1], values[:, 1 : d + 1], values[:, d + 1 : 2 * d + 1]
    gradient = (plus - minus) / (2 * _STEP)
    hessian = np.zeros((k, d, d))
    own = plus - 2 * mid + minus
    hessian[:, np.arange(d), np.arange(d)] = own
    for at, (i, j) in enumerate(pairs):
        both = values[:, 2 * d + 1 + 2 * at] - 2 * mid[:, 0] + values[:, 2 * d + 2 + 2 * at]
        hessian[:, i, j] = hessian[:, j, i] = (both - own[:, i] - own[:, j]) / 2
    w, Q = np.linalg.eigh(-hessian / _STEP**2)
    w = np.maximum(np.abs(w), _MIN_CURVATURE)
    return mid[:, 0], gradient, (Q * w[:, None]) @ np.swapaxes(Q, 1, 2)


def _distinct(modes: list[Mode]) -> list[Mode]:
    """Keep one of the modes that coincide."""
    kept: list[Mode] = []
    for mode in sorted(modes, key=lambda mode: -mode.log_mass):
        apart = [np.linalg.solve(other.covariance, mode.x - other.x) @ (mode.x - other.x) for other in kept]
        if all(distance > _SAME**2 for distance in apart):
            kept.append(mode)
    return kept


def peaks(log_density: LogDensity, axes: list[tuple[np.ndarray, tuple[float, ...]]]) -> np.ndarray:
    """Starts for `find_modes`: the points of a grid that are higher than their neighbours.

    Parameters
    ----------
    log_density : callable
    axes : list of (numpy.ndarray of shape (d,), tuple of float)
        The directions of the grid, and the distances along each, in order.

    Returns
    -------
    numpy.ndarray of shape (d, k)
    """
    grid = np.array(list(product(*(values for _, values in axes))))
    points = grid @ np.array([direction for direction, _ in axes])
    heights = log_density(points.T).reshape([len(values) for _, values in axes])
    is_peak = heights > _RULED_OUT
    heights = np.where(is_peak, heights, -np.inf)
    for axis in range(len(axes)):
        padded = np.pad(heights, [(int(a == axis),) * 2 for a in range(len(axes))], constant_values=-np.inf)
        for shift in (0, 2):
            is_peak &= heights >= np.take(padded, np.arange(heights.shape[axis]) + shift, axis=axis)
    return points[is_peak.ravel()].T
