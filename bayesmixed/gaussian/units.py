"""The units in which the collapsed sampler works, and the way back to the user's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmixed.design.factors import GroupFactor
from bayesmixed.design.spec import Design
from bayesmixed.design.summed.summed import Measured
from bayesmixed.distributions import Normal
from bayesmixed.families.base import Family
from bayesmixed.families.gaussian import Gaussian
from bayesmixed.families.links import Identity
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.scaling import Scaling, far_means, parts
from bayesmixed.priors.swept import swept_columns, swept_effects

# A slope's covariance is sampled at its column's mean if that is at least this many standard deviations from zero.
# Measured: if it is closer, the prior stated at zero can have two modes in coordinates at the mean but has one in
# those at zero; if farther, coordinates at zero become a ridge whose end a search misses
_FAR = 10.0
_GAUSSIAN = Gaussian(Identity())


@dataclass(frozen=True)
class Units:
    """Units that make response, common columns and effects' columns all of order one.

    The model in working units is ``y_w = V_x gamma + sum_f Z_w b_w + sigma_w e`` with V_x = [1, X_c], X_c swept,
    centred and scaled as `Scaling` says, ``y_w = (y - y_location) / y_scale``, ``Z_w = (Z T - location) / scale``.

    Attributes
    ----------
    scaling : Scaling
    has_intercept : bool
    location, scale : tuple of numpy.ndarray of shape (q,)
        Per factor. A slope column that is far from zero where its prior is stated is moved to its mean, which the group
        intercept absorbs.
    T : tuple of numpy.ndarray of shape (q, q)
        Per factor: the swept columns on which its prior is stated (`bayesmixed.priors.swept`).
    intercept_at : tuple of int or None
        Per factor: position of the group intercept.
    """

    STORED: ClassVar[tuple[str, ...]] = ("scaling", "has_intercept", "location", "scale", "T", "intercept_at")

    scaling: Scaling
    has_intercept: bool
    location: tuple[np.ndarray, ...]
    scale: tuple[np.ndarray, ...]
    T: tuple[np.ndarray, ...]
    intercept_at: tuple[int | None, ...]

    @classmethod
    def learn(cls, design: Measured, priors: Priors, family: Family = _GAUSSIAN) -> Units:
        """Measure a design; the units of the linear predictor are its family's."""
        T = tuple(priors.group_sweep(factor.name, factor.effect_names) for factor in design.groups)
        statistics = design.statistics
        swept = [measured.combined(own) for measured, own in zip(statistics.effects, T, strict=True)]
        location = tuple(
            far_means(measured, is_binary, factor, _FAR)
            for measured, is_binary, factor in zip(swept, statistics.is_binary, design.groups, strict=True)
        )
        scale = tuple(measured.size_about(mean) for measured, mean in zip(swept, location, strict=True))
        intercept_at = tuple(factor.intercept_at for factor in design.groups)
        return cls(Scaling.learn(design, family, priors), design.has_intercept, location, scale, T, intercept_at)

    def common_columns(self, design: Design, rows: slice | np.ndarray) -> np.ndarray:
        """V = [1, X_c, y_w] of some rows, shape (n, P)."""
        scaling = self.scaling
        y = (design.response[rows] - scaling.y_location) / scaling.y_scale
        return np.column_stack([self.explaining_columns(design, rows), y])

    def explaining_columns(self, design: Design, rows: slice | np.ndarray) -> np.ndarray:
        """V_x = [1, X_c] of some rows, shape (n, P - 1)."""
        X = self.scaling.columns(design.X[rows])
        return np.column_stack([np.ones(len(X)), X]) if self.has_intercept else X

    def group_columns(self, f: int, factor: GroupFactor, rows: slice | np.ndarray) -> np.ndarray:
        """Z_w of some rows, shape (n, q)."""
        return (swept_columns(self.T[f], factor.Z[rows]) - self.location[f]) / self.scale[f]

    def common_map(self, origin: np.ndarray) -> np.ndarray:
        """V of ``[1, X - origin, response - origin]``: the matrix from these to V, (p + 2, P)."""
        scaling, p = self.scaling, len(self.scaling.x_scale)
        among, shift = parts(scaling.T, p)
        A = np.zeros((p + 2, p + 2))
        A[0, 0] = 1.0
        A[1:-1, 1:-1] = among / scaling.x_scale
        A[0, 1:-1] = (origin[:p] @ among + shift - scaling.x_location) / scaling.x_scale
        A[:, -1] = [(origin[p] - scaling.y_location) / scaling.y_scale, *np.zeros(p), 1 / scaling.y_scale]
        return A if self.has_intercept else A[:, 1:]

    def group_map(self, f: int, origin: np.ndarray) -> np.ndarray:
        """The matrix from a factor's columns minus their origin, which is 0 for its intercept, to Z_w; (q, q)."""
        B = self.T[f].copy()
        if (at := self.intercept_at[f]) is not None:
            B[at] += origin @ self.T[f] - self.location[f]
        return B / self.scale[f]

    def effect_units(self, f: int) -> np.ndarray:
        """Size of one working unit of each effect of a factor, on the user's scale; shape (q,)."""
        return self.scaling.y_scale / self.scale[f]

    def stated_prior(self, design: Measured, priors: Priors) -> np.ndarray:
        """Rows whose square is the prior of gamma: ``rows' rows = [I, m]' V0^-1 [I, m]``, shape (P - 1, P).

        The priors are stated for (Intercept_s, beta_s) = c + A gamma of the swept columns, independent normal with
        means mu and sds d, so that the rows are ``[A, mu - c] / d``; A is upper triangular.
        """
        scaling, p = self.scaling, len(design.common_names)
        stated = {name: priors.common[name] for name in design.common_names}
        slopes = scaling.y_scale / scaling.x_scale
        A, origin = np.diag(slopes), np.zeros(p)
        if priors.intercept is not None:
            first = np.concatenate([[scaling.y_scale], -scaling.x_location * slopes])
            A = np.vstack([first, np.column_stack([np.zeros(p), A])])
            stated, origin = {"Intercept": priors.intercept, **stated}, np.concatenate([[scaling.y_location], origin])
        normal = [prior for prior in stated.values() if isinstance(prior, Normal)]
        mu = np.array([float(prior.mu) for prior in normal])
        sigma = np.array([float(prior.sigma) for prior in normal])
        return np.column_stack([A, mu - origin]) / sigma[:, None]

    def common_effects(self, gamma: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Intercept (...) or None, and beta (p, ...), on the user's scale, from gamma (P - 1, ...)."""
        scaling = self.scaling
        column = (-1,) + (1,) * (gamma.ndim - 1)
        slopes = gamma[int(self.has_intercept) :]
        beta = slopes * (scaling.y_scale / scaling.x_scale).reshape(column)
        if not self.has_intercept:
            return None, swept_effects(scaling.T, beta)
        shift = (scaling.x_location.reshape(column) * beta).sum(axis=0)
        intercept = scaling.y_location + scaling.y_scale * gamma[0] - shift
        written = swept_effects(scaling.T, np.concatenate([intercept[None], beta]))
        return written[0], written[1:]

    def group_effects(self, f: int, b: np.ndarray) -> np.ndarray:
        """Effects of a factor on the user's scale, as written, from working ones; shape (q, ...)."""
        column = (-1,) + (1,) * (b.ndim - 1)
        b = b * self.effect_units(f).reshape(column)
        at = self.intercept_at[f]
        for k in np.flatnonzero(self.location[f]):
            b[at] -= self.location[f][k] * b[k]
        return swept_effects(self.T[f], b)

    def working_effects(self, f: int, b: np.ndarray) -> np.ndarray:
        """Inverse of `group_effects`; shape (q, ...)."""
        column = (-1,) + (1,) * (b.ndim - 1)
        b = swept_effects(np.linalg.inv(self.T[f]), b)
        if self.location[f].any():
            at, b = self.intercept_at[f], b.copy()
            for k in np.flatnonzero(self.location[f]):
                b[at] += self.location[f][k] * b[k]
        return b / self.effect_units(f).reshape(column)

    def group_covariance(self, f: int, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sds (q, ...) and correlations (q, q, ...) on the user's scale, from a root of the covariance (q, q, ...)."""
        root = self.group_effects(f, root)  # column by column: a root is a set of effects
        sd = np.sqrt(np.square(root).sum(axis=1))
        rows = root / sd[:, None]
        return sd, np.clip((rows[:, None] * rows[None]).sum(axis=2), -1.0, 1.0)


@dataclass(frozen=True)
class WorkingRows:
    """Some rows in working units, with the factors in the order of their elimination.

    Attributes
    ----------
    Z : list of numpy.ndarray of shape (q, n)
    codes : list of numpy.ndarray of int, shape (n,)
    V : numpy.ndarray of shape (P, n)
    weights : numpy.ndarray of shape (n,), or None
    """

    Z: list[np.ndarray]
    codes: list[np.ndarray]
    V: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(cls, units: Units, order: tuple[int, ...], design: Design, at: np.ndarray) -> WorkingRows:
        """Read some rows of a design."""
        Z = [units.group_columns(f, design.groups[f], at).T for f in order]
        codes = [design.groups[f].codes[at] for f in order]
        weights = None if design.weights is None else design.weights[at]
        return cls(Z, codes, units.common_columns(design, at).T, weights)
