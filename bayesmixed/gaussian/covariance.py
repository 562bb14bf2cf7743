"""Coordinates of the group covariances, relative to sigma, with their prior density."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bayesmixed.design.summed.summed import Measured
from bayesmixed.distributions import Prior
from bayesmixed.gaussian.units import Units
from bayesmixed.priors import lkj
from bayesmixed.priors.priors import Priors

Blocks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class FactorPrior:
    """The parts of the prior of one factor's covariance.

    Attributes
    ----------
    blocks : tuple of tuple of int
        Effects that correlate, in the order of the vine; LKJ does not depend on it.
    eta : float
        Shape of the LKJ prior.
    sds : tuple of Prior, length q
        Of the standard deviations on the user's scale, of the swept columns' effects.
    scale : numpy.ndarray of shape (q,)
        Size of a working unit on the user's scale.
    at_zero : numpy.ndarray of shape (q,) or None
        The group intercept at the place where its prior is stated, as a combination of the effects in user units, if it
        is sampled at the mean of its slopes; otherwise None.
    intercept_at : int or None
    """

    STORED: ClassVar[tuple[str, ...]] = ("blocks", "eta", "sds", "scale", "at_zero", "intercept_at")

    blocks: Blocks
    eta: float
    sds: tuple[Prior, ...]
    scale: np.ndarray
    at_zero: np.ndarray | None
    intercept_at: int | None


@dataclass(frozen=True)
class Relative:
    """Group covariances in units of sigma^2 at N points, and the part of their prior that does not depend on sigma.

    Attributes
    ----------
    roots : list of numpy.ndarray of shape (q, q, N)
        Per factor, Sigma / sigma^2 = root root'.
    sds : numpy.ndarray of shape (K, N)
        The standard deviations with priors, for all factors, on the user's scale and divided by sigma.
    log_prior : numpy.ndarray of shape (N,)
        Log prior density of the coordinates, without that of the sds.
    """

    roots: list[np.ndarray]
    sds: np.ndarray
    log_prior: np.ndarray


@dataclass(frozen=True)
class Covariances:
    """Coordinates of all group covariances: ``log(lambda)`` of every effect, then the partial correlations' ``v``.

    lambda = sd / sigma in working units. The correlation matrix of a block is a C-vine (`lkj`), whose partial
    correlations are tanh(s v).

    Attributes
    ----------
    factors : tuple of FactorPrior
    """

    STORED: ClassVar[tuple[str, ...]] = ("factors",)

    factors: tuple[FactorPrior, ...]

    @classmethod
    def of(cls, design: Measured, priors: Priors, units: Units) -> Covariances:
        """Gather the priors of a model."""
        factors = []
        for f, factor in enumerate(design.groups):
            at_zero, at = None, units.intercept_at[f]
            if units.location[f].any():
                at_zero = -units.location[f]
                at_zero[at] = 1.0
            sds = tuple(priors.group_sd[factor.name][effect] for effect in factor.effect_names)
            eta = priors.lkj_eta.get(factor.name, 1.0)
            factors.append(FactorPrior(factor.blocks, eta, sds, units.effect_units(f), at_zero, at))
        return cls(tuple(factors))

    @property
    def sd_priors(self) -> list[Prior]:
        """Priors of all standard deviations, factor by factor."""
        return [prior for factor in self.factors for prior in factor.sds]

    @property
    def n_sds(self) -> int:
        """Number of standard deviations, K."""
        return len(self.sd_priors)

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return self.n_sds + sum(len(b) * (len(b) - 1) // 2 for factor in self.factors for b in factor.blocks)

    @property
    def far_scales(self) -> np.ndarray:
        """Per standard deviation: the lambda of a far slope that adds as much at zero as an intercept of lambda 1.

        1 where nothing is far, shape (K,).
        """
        found = []
        for factor in self.factors:
            scales = np.ones(len(factor.sds))
            if factor.at_zero is not None and factor.intercept_at is not None:
                reach = np.abs(factor.at_zero) * factor.scale / factor.scale[factor.intercept_at]
                scales = 1 / np.maximum(reach, 1.0)
            found.append(scales)
        return np.concatenate(found) if found else np.empty(0)

    def reordered(self, blocks: Sequence[Blocks]) -> Covariances:
        """The same model with another order of the effects in the vines."""
        return Covariances(tuple(replace(f, blocks=b) for f, b in zip(self.factors, blocks, strict=True)))

    def at(self, theta: np.ndarray) -> Relative:
        """Evaluate coordinates of shape (dimension, N)."""
        n_sds = self.n_sds
        log_lambda, v = theta[:n_sds], iter(theta[n_sds:])
        log_prior = log_lambda.sum(axis=0)  # d sd / d log(lambda), up to sigma
        roots, sds, first = [], [], 0
        for factor in self.factors:
            q = len(factor.sds)
            lam = np.exp(log_lambda[first : first + q])
            first += q
            root = np.zeros((q, q, theta.shape[1]))
            for block in factor.blocks:
                rows, log_density = _vine(len(block), factor.eta, v)
                log_prior = log_prior + log_density
                for k, row in enumerate(rows):
                    for i, entry in enumerate(row):
                        root[block[k], block[i]] = lam[block[k]] * entry
            stated = lam * factor.scale[:, None]
            if factor.at_zero is not None:
                log_prior = log_prior + self._move_to_zero(factor, root, stated)
            roots.append(root)
            sds.append(stated)
        return Relative(roots, np.concatenate(sds) if sds else np.empty((0, theta.shape[1])), log_prior)

    @staticmethod
    def _move_to_zero(factor: FactorPrior, root: np.ndarray, sds: np.ndarray) -> np.ndarray:
        """Replace the intercept's sd at the slopes' means by that at zero; return the change in log density.

        The prior of (sd, R) at zero, seen from the sampled coordinates, is
        p(sd) LKJ(R) (sd_at_mean / sd)^q with det R = det R_at_mean (sd_at_mean / sd)^2; see
        `bayesmixed.sampling.nuts.pymc_model`, which does the same.
        """
        at = factor.intercept_at
        weights = factor.at_zero * factor.scale
        at_mean = sds[at].copy()
        sds[at] = np.sqrt(np.square((weights[:, None, None] * root).sum(axis=0)).sum(axis=0))
        q = next(len(block) for block in factor.blocks if at in block)
        return (q + 2 * (factor.eta - 1)) * (np.log(at_mean) - np.log(sds[at]))


def _vine(m: int, eta: float, v: Iterator[np.ndarray]) -> tuple[list[list[np.ndarray]], np.ndarray | float]:
    """Rows of the Cholesky factor of a block's correlation matrix, and the log prior density of its v's, (N,)."""
    log_densities = []

    def partial(k: int, i: int) -> tuple[np.ndarray, np.ndarray]:
        rho, root_of_rest, log_density = lkj.from_unbounded(next(v), lkj.alpha(i, m, eta))
        log_densities.append(log_density)
        return rho, root_of_rest

    rows = lkj.cholesky_rows(m, partial, sqrt=lambda root: root)
    return rows, sum(log_densities, 0.0)
