"""Moves of one conditional's coordinates: a random walk, and iterated sampling importance resampling (i-SIR).

i-SIR picks among the current point and N fresh ones from a fixed distribution, in proportion to density over proposal;
it leaves the density invariant (Andrieu, Lee & Vihola, 2018, Uniform ergodicity of the iterated conditional SMC and
geometric ergodicity of particle Gibbs samplers, Bernoulli 24, 842-872, whose one-step case it is).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayesmixed.sampling.gibbs.constants import DEGREES

LogDensity = Callable[[np.ndarray], np.ndarray]  # of points (D, C, N), (C, N)


@dataclass(frozen=True)
class Spread:
    """A location and the root of a covariance of D coordinates.

    Attributes
    ----------
    mean : numpy.ndarray of shape (D,)
    root : numpy.ndarray of shape (D, D)
        Lower triangular.
    """

    mean: np.ndarray
    root: np.ndarray

    @classmethod
    def fitted(cls, points: np.ndarray, wider: float) -> Spread:
        """Fitted to points (D, n), with `wider` times their covariance."""
        D, n = points.shape
        covariance = np.cov(points).reshape(D, D)
        own = np.diag(np.diag(covariance)) + 1e-10 * np.eye(D)
        share = D / (D + n / 10)  # few points say little about correlations
        return cls(points.mean(axis=1), np.linalg.cholesky(wider * ((1 - share) * covariance + share * own)))

    def leading(self, q: int) -> Spread:
        """The spread of the first q coordinates."""
        return Spread(self.mean[:q], self.root[:q, :q])

    def about(self, x: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Points x plus the root times normals, both (D, ...)."""
        return x + np.tensordot(self.root, normals, 1)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Points of the t distribution, (D, ...)."""
        normals = rng.standard_normal((len(self.mean), *shape))
        size = np.sqrt(rng.chisquare(DEGREES, shape) / DEGREES)
        return self.about(self.mean.reshape(-1, *(1,) * len(shape)), normals / size)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Log density of the t distribution at (D, ...), up to a constant."""
        flat = x.reshape(len(x), -1) - self.mean[:, None]
        square = np.square(np.linalg.solve(self.root, flat)).sum(axis=0)
        return -0.5 * (DEGREES + len(x)) * np.log1p(square / DEGREES).reshape(x.shape[1:])


def walk(
    x: np.ndarray, log_density: LogDensity, step: Spread, steps: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Some steps of a random walk from points x, (D, C); returns the points and each one's share of moves, (C,)."""
    now, moved = log_density(x[:, :, None])[:, 0], np.zeros(x.shape[1])
    for _ in range(steps):
        new = step.about(x, rng.standard_normal(x.shape))
        density = log_density(new[:, :, None])[:, 0]
        accepted = np.log(rng.uniform(size=len(now))) < density - now
        x, now = np.where(accepted, new, x), np.where(accepted, density, now)
        moved += accepted / steps
    return x, moved


def resample(
    x: np.ndarray, log_density: LogDensity, proposal: Spread, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A step of i-SIR with n fresh points.

    Returns
    -------
    x : numpy.ndarray of shape (D, C)
    moved : numpy.ndarray of bool, shape (C,)
    log_density : numpy.ndarray of shape (C,)
        At x.
    """
    C = x.shape[1]
    points = np.concatenate([x[:, :, None], proposal.sample(rng, (C, n))], axis=2)
    density = log_density(points)
    log_w = density - proposal.log_density(points)
    weights = np.exp(log_w - log_w.max(axis=1, keepdims=True)).cumsum(axis=1)
    pick = (weights < rng.uniform(size=(C, 1)) * weights[:, -1:]).sum(axis=1)
    chains = np.arange(C)
    return points[:, chains, pick], pick > 0, density[chains, pick]
