"""A linear model without groups: sigma is all there is to sample, and its posterior is a curve.

With standardised coefficients gamma = m + V0^(1/2) d and the singular value decomposition U diag(a) Q' of
W^(1/2) X V0^(1/2), the marginal density of the data given sigma is a product over the singular directions,

    log p(y | sigma) = -(n - r) log(sigma) - sum_i log(sigma^2 + a_i^2) / 2 - (sum_i c_i^2 / (sigma^2 + a_i^2)
                       + rss / sigma^2) / 2 + const,      c = U'W^(1/2)(y - X m),

(e.g. Hastie, Tibshirani & Friedman, 2009, The Elements of Statistical Learning, section 3.4.1, for the rotation).
The density is tabulated on a grid, and sigma is drawn by inverting the distribution function.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.linalg import solve_triangular

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.statistics import CrossProducts
from bayesmixed.design.summed.summed import Measured, Named
from bayesmixed.distributions import Prior
from bayesmixed.families.gaussian import SIGMA_FLOOR
from bayesmixed.gaussian.leave_one_out import left_out_density
from bayesmixed.gaussian.statistics import working_products
from bayesmixed.gaussian.units import Units
from bayesmixed.keyed_random import normals, uniforms
from bayesmixed.posterior.draws import Draws
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.clock import Clock
from bayesmixed.sampling.shared import common_values

_COARSE, _FINE = 2000, 4000  # points of the grids: to find the mass, and to invert its distribution function
_NEGLIGIBLE = 40.0  # below the maximum of the log density
_WIDEST = 12.0  # log(sigma) ranges from its floor to this, in units of sd(y)


@dataclass(frozen=True)
class Rotated:
    """The rows of a linear model in the singular directions of its columns, from their cross-products.

    Attributes
    ----------
    n : float
        Sum of the weights.
    a, c : numpy.ndarray of shape (r,)
        Singular values, and the response in these directions.
    rss : float
        The part of the response that no direction reaches.
    directions : numpy.ndarray of shape (P - 1, r)
        Q.
    mean, scale : numpy.ndarray of shape (P - 1,) and (P - 1, P - 1)
        m and V0^(1/2).
    """

    STORED: ClassVar[tuple[str, ...]] = ("n", "a", "c", "rss", "directions", "mean", "scale")

    n: float
    a: np.ndarray
    c: np.ndarray
    rss: float
    directions: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, design: Measured, priors: Priors, units: Units) -> Rotated:
        """Apply the priors, and decompose the weighted rows."""
        stated = units.stated_prior(design, priors)
        root, shift = stated[:, :-1], stated[:, -1]
        scale = solve_triangular(root, np.eye(len(root))) if len(root) else root
        mean = scale @ shift
        nothing = cls(0.0, np.empty(0), np.empty(0), 0.0, np.empty((len(root), 0)), mean, scale)
        return nothing.with_rows(working_products(design, units))

    def with_rows(self, products: CrossProducts) -> Rotated:
        """Add new rows; the earlier ones are represented by ``r`` rows in the singular directions."""
        V = _few_rows(products.VV)
        rows = np.vstack([self.a[:, None] * self.directions.T, V[:, :-1] @ self.scale])
        residual = np.concatenate([self.c, V[:, -1] - V[:, :-1] @ self.mean])
        U, a, Qt = np.linalg.svd(rows, full_matrices=False)
        c = U.T @ residual
        outside = residual - U @ c
        return replace(self, n=self.n + products.n, a=a, c=c, rss=self.rss + float(outside @ outside), directions=Qt.T)

    def log_likelihood(self, s: np.ndarray) -> np.ndarray:
        """Log of p(y | sigma = e^s), shape (N,)."""
        variance = np.exp(2 * s)
        own = variance[:, None] + np.square(self.a)
        total = (self.n - len(self.a)) * s + 0.5 * np.log(own).sum(axis=1)
        total = total + 0.5 * (np.square(self.c) / own).sum(axis=1) + 0.5 * self.rss / variance
        return -total - 0.5 * self.n * np.log(2 * np.pi)

    def draw(self, s: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Conditional mean and a draw of gamma, each (P - 1, S), for s (S,) and normals (P - 1, S).

        In direction i the posterior is Normal(a_i c_i / (sigma^2 + a_i^2), sigma^2 / (sigma^2 + a_i^2)); a direction
        that the rows do not reach keeps its prior.
        """
        variance = np.exp(2 * s)
        own = variance + np.square(self.a)[:, None]
        Q, a, c = self.directions, self.a[:, None], self.c[:, None]
        mean = self.mean[:, None] + self.scale @ (Q @ (a * c / own))
        # the prior's spread everywhere, shrunk in the directions of the rows
        spread = normals + Q @ ((np.sqrt(variance / own) - 1) * (Q.T @ normals))
        return mean, mean + self.scale @ spread


def _few_rows(products: np.ndarray) -> np.ndarray:
    """The smallest set of rows with the cross-products of all, (r, P).

    Cross-products determine a singular value of columns of size one to 1e-8; anything smaller counts as zero.
    """
    size = np.sqrt(np.maximum(np.diag(products), 0.0))
    size = np.where(size > 0, size, 1.0)
    values, directions = np.linalg.eigh(products / np.outer(size, size))
    there = values > len(size) * np.finfo(float).eps * values.max(initial=0.0)
    return np.asarray(np.sqrt(values[there])[:, None] * directions[:, there].T * size)


def sample_log_sigma(
    rotated: Rotated, prior: Prior, y_scale: float, log_floor: float, uniforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Independent draws of log(sigma), and their log density, each (S,).

    Parameters
    ----------
    rotated : Rotated
    prior : Prior
        Of sigma on the user's scale.
    y_scale : float
        One working unit of sigma on the user's scale.
    log_floor : float
    uniforms : numpy.ndarray of shape (S,)
        In (0, 1).
    """

    def log_density(s: np.ndarray) -> np.ndarray:
        return rotated.log_likelihood(s) + prior.log_density(y_scale * np.exp(s)) + s

    coarse = np.linspace(log_floor, _WIDEST, _COARSE)
    values = log_density(coarse)
    inside = np.flatnonzero(values > values.max() - _NEGLIGIBLE)
    low, high = coarse[max(inside[0] - 1, 0)], coarse[min(inside[-1] + 1, _COARSE - 1)]
    grid = np.linspace(low, high, _FINE)
    values = log_density(grid)
    # trapezoids: the distribution function is a quadratic in each cell, inverted there
    height = np.exp(values - values.max())
    area = np.concatenate([[0.0], np.cumsum((height[1:] + height[:-1]) / 2)])
    goal = uniforms * area[-1]
    cell = np.clip(np.searchsorted(area, goal, side="right") - 1, 0, _FINE - 2)
    left, slope, over = height[cell], height[cell + 1] - height[cell], goal - area[cell]
    within = 2 * over / (left + np.sqrt(np.maximum(np.square(left) + 2 * slope * over, 0.0)))
    s = grid[cell] + (grid[1] - grid[0]) * np.clip(within, 0.0, 1.0)
    return s, log_density(s)


@dataclass(frozen=True)
class Regression:
    """What a fit without groups keeps: its rows, compressed, and how they are sampled.

    Attributes
    ----------
    rotated : Rotated
    units : Units
    sigma_prior : Prior
        On the user's scale.
    """

    STORED: ClassVar[tuple[str, ...]] = ("rotated", "units", "sigma_prior")

    rotated: Rotated
    units: Units
    sigma_prior: Prior

    @property
    def coefficients(self) -> None:
        """None; see `FitState.coefficients`."""

    def sample(self, design: Named, shape: tuple[int, int], seed: int) -> Draws:
        """Independent draws, of `shape` (chain, draw)."""
        rotated, scaling = self.rotated, self.units.scaling
        floor = float(np.log(SIGMA_FLOOR))
        total = shape[0] * shape[1]
        u = uniforms((seed, "sigma"), (total,))
        s, lp = sample_log_sigma(rotated, self.sigma_prior, scaling.y_scale, floor, u)
        gamma_mean, gamma = rotated.draw(s, normals((seed, "common"), (total, len(rotated.mean))).T)
        values, means = common_values(design, self.units, gamma, gamma_mean, shape)
        values["sigma"] = (scaling.y_scale * np.exp(s)).reshape(shape)
        stats = {
            "lp": lp.reshape(shape),
            "acceptance_rate": np.ones(shape),
            "diverging": np.zeros(shape, dtype=bool),
        }
        return Draws(values, stats, {"sampler": "collapsed", "acceptance": 1.0}, means, self)

    def update(self, draws: Draws, spec: DesignSpec, design: Design, *, seed: int, progressbar: bool) -> Draws:
        """Learn from new rows by making independent draws anew; see `FitState.update`."""
        clock = Clock()
        more = replace(self, rotated=self.rotated.with_rows(working_products(design, self.units)))
        result = more.sample(spec, draws.shape, seed)
        clock.lap("sample")
        result.diagnostics.update(reason="condition: independent draws given all rows", seconds=clock.seconds)
        return result

    def leave_one_out(self, draws: Draws, design: Design, keep: np.ndarray) -> np.ndarray:
        """Log density of each row given all others; see `FitState.leave_one_out`."""
        sigma = draws.flat("sigma")[keep]
        rotated, y_scale = self.rotated, self.units.scaling.y_scale
        V = self.units.common_columns(design, slice(None))
        loads = V[:, :-1] @ rotated.scale
        inside = loads @ rotated.directions
        variance = np.square(sigma / y_scale)[:, None]
        shrunk = variance + np.square(rotated.a)
        spread = (variance / shrunk) @ np.square(inside).T  # rows of the fit have no part outside its directions
        residual = V[:, -1] - V[:, :-1] @ rotated.mean - (rotated.a * rotated.c / shrunk) @ inside.T
        return left_out_density(residual, spread, variance, design.weights, y_scale)

    def refit_without(self, draws: Draws, design: Design, row: int, *, seed: int, progressbar: bool) -> None:
        """Not offered; see `FitState.refit_without`."""
