"""What is sampled besides the noise: the covariances and the auxiliary parameters, whitened.

t --mu + V t--> u --Warp--> x = (log sds, partial correlations, log(auxiliary - floor)) --> roots, auxiliary
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bayesmixed.distributions import Prior
from bayesmixed.gaussian.covariance import Covariances
from bayesmixed.sampling.independence.proposal import Warp
from bayesmixed.sampling.transport.constants import LIMIT


@dataclass(frozen=True)
class Points:
    """N points, evaluated.

    Attributes
    ----------
    x : numpy.ndarray of shape (d, N)
    roots : list of numpy.ndarray of shape (q, q, N)
        Of each factor's covariance, in the model's order.
    auxiliary : dict of str to numpy.ndarray of shape (N,)
    log_prior : numpy.ndarray of shape (N,)
        Log prior density of x.
    """

    x: np.ndarray
    roots: list[np.ndarray]
    auxiliary: dict[str, np.ndarray]
    log_prior: np.ndarray

    def take(self, n: int) -> Points:
        """The first n."""
        auxiliary = {name: values[:n] for name, values in self.auxiliary.items()}
        return Points(self.x[:, :n], [root[..., :n] for root in self.roots], auxiliary, self.log_prior[:n])


@dataclass(frozen=True)
class Parameters:
    """The unconstrained parameters x of a model: log sds in working units, those of the vines, the auxiliary ones.

    Attributes
    ----------
    covariances : Covariances
    priors : dict of str to Prior
        Of the auxiliary parameters.
    floors : dict of str to float
        Lower bounds of these, where they are not zero.
    """

    STORED: ClassVar[tuple[str, ...]] = ("covariances", "priors", "floors")

    covariances: Covariances
    priors: dict[str, Prior]
    floors: dict[str, float]

    @property
    def dimension(self) -> int:
        """Number of coordinates, d."""
        return self.covariances.dimension + len(self.priors)

    def at(self, x: np.ndarray) -> Points:
        """Evaluate points of shape (d, N)."""
        n = self.covariances.dimension
        inside = (np.abs(x) <= LIMIT).all(axis=0)
        x = x if inside.all() else np.clip(x, -LIMIT, LIMIT)
        relative = self.covariances.at(x[:n])
        log_prior = relative.log_prior
        for prior, sd in zip(self.covariances.sd_priors, relative.sds, strict=True):
            log_prior = log_prior + prior.log_density(sd)
        auxiliary = {}
        for (name, prior), log_value in zip(self.priors.items(), x[n:], strict=True):
            auxiliary[name] = value = np.exp(log_value) + self.floors.get(name, 0.0)
            log_prior = log_prior + prior.log_density(value) + log_value
        return Points(x, relative.roots, auxiliary, np.where(inside, log_prior, -np.inf))

    def slope(self, points: Points, by_auxiliary: dict[str, np.ndarray]) -> np.ndarray:
        """Turn `by_auxiliary`, derivatives by the auxiliary parameters, into those by their coordinates x, (k, N)."""
        rest = [np.exp(log_value) for log_value in points.x[self.covariances.dimension :]]
        found = [by_auxiliary[name] * own for name, own in zip(self.priors, rest, strict=True)]
        return np.array(found).reshape(len(found), points.x.shape[1])


@dataclass(frozen=True)
class Coordinates:
    """The whitened coordinates t.

    Attributes
    ----------
    parameters : Parameters
    warp : Warp
        Of the log sds.
    mu : numpy.ndarray of shape (d,)
    V : numpy.ndarray of shape (d, d)
        Lower triangular.
    """

    STORED: ClassVar[tuple[str, ...]] = ("parameters", "warp", "mu", "V")

    parameters: Parameters
    warp: Warp
    mu: np.ndarray
    V: np.ndarray

    def at(self, t: np.ndarray) -> Points:
        """Evaluate points t, (d, N); the log prior density is that of t, up to a constant."""
        x, log_jacobian = self.warp.unwarp(self.mu[:, None] + self.V @ t)
        points = self.parameters.at(x)
        return replace(points, log_prior=points.log_prior + log_jacobian)

    def slope(self, points: Points, by_auxiliary: dict[str, np.ndarray]) -> np.ndarray:
        """As `Parameters.slope`, by t: (d, N)."""
        k = len(self.parameters.priors)
        return self.V[len(self.V) - k :].T @ self.parameters.slope(points, by_auxiliary)

    def whiten(self, x: np.ndarray) -> np.ndarray:
        """Coordinates t, (d, N), of x."""
        return np.linalg.solve(self.V, self.warped(x) - self.mu[:, None])

    def warped(self, x: np.ndarray) -> np.ndarray:
        """Coordinates u, (d, N), of x."""
        return self.warp.warp(x)
