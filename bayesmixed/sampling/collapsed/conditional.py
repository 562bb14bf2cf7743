"""Exact moments of linear predictors given parts of the covariances' draws, for models with one factor.

Given the covariances and sigma of a draw, gamma and the effects b_j of a level are jointly normal. With g and V the
mean and covariance of gamma, M_j = (Sigma^-1 + S_j)^-1 and A = -M_j Z_j'W X,

    E[b_j] = M_j Z_j'W y + A g,    Cov[gamma, b_j] = V A',    Cov[b_j] = sigma^2 M_j + A V A'.

Over a part of the draws these are averaged by the laws of total expectation and total variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.factors import GroupFactor
from bayesmixed.design.spec import Design
from bayesmixed.gaussian.batched import conditional_root, lower, unpack
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.effects import Points


@dataclass(frozen=True)
class ConditionalMoments:
    """Moments of gamma at the points of the chains, and what is needed for those of the effects; working units.

    Attributes
    ----------
    density : CollapsedDensity
        With one factor.
    points : Points
    mean : numpy.ndarray of shape (P - 1, n)
    covariance : numpy.ndarray of shape (P (P - 1) / 2, n)
        Packed.
    """

    density: CollapsedDensity
    points: Points
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, density: CollapsedDensity, points: Points) -> ConditionalMoments:
        """Evaluate the density at all points."""
        n, p = len(points.s), len(density.residual.prior) - 1
        mean, covariance = np.empty((p, n)), np.empty((p * (p + 1) // 2, n))
        for some in density.chunks(n):
            G = density.elimination.factorise([root[..., some] for root in points.roots]).G
            mean[:, some], covariance[:, some] = density.residual.moments(G, points.s[some])
        return cls(density, points, mean, covariance)

    def linear_predictor(self, design: Design, rows: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the linear predictor over each part of the draws, each (n, K), on the user's scale.

        Parameters
        ----------
        design : Design
            Effects of new levels, and of a factor that is absent, are 0.
        rows : numpy.ndarray of int, shape (n,)
            Fastest if rows of one level are adjacent.
        label : numpy.ndarray of int, shape (S,)
            The part of every draw, 0 to K - 1.
        """
        units = self.density.units
        X = units.scaling.columns(design.X[rows])
        x = np.column_stack([*([np.ones(len(rows))] if units.has_intercept else []), X])
        common = _Common.of(self, label)
        mean = x @ (common.mean + common.centre[:, None])
        variance = _packed_rows(x) @ common.covariance
        for factor in design.groups:
            self._add_effects(factor, rows, common, x, (mean, variance))
        scale = units.scaling.y_scale
        mean = units.scaling.y_location + scale * mean
        if design.offset is not None:
            mean += design.offset[rows, None]
        return mean, np.maximum(variance, 0.0) * scale**2

    def _add_effects(
        self, factor: GroupFactor, rows: np.ndarray, common: _Common, x: np.ndarray, to: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Add the effects of known levels to means and variances of rows, whose common columns are `x`."""
        mean, variance = to
        z = self.density.units.group_columns(0, factor, rows)
        codes = factor.codes[rows]
        known = np.flatnonzero((codes >= 0) & (codes < self.density.statistics.n_levels[0]))
        order = known[np.argsort(codes[known], kind="stable")]
        levels, starts = np.unique(codes[order], return_index=True)
        of_level = np.split(order, starts[1:])
        with_common = (z[:, :, None] * x[:, None]).reshape(len(x), z.shape[1] * x.shape[1])
        columns = np.column_stack([2 * with_common, _packed_rows(z)])
        for some in chunks(len(levels), len(common.averages.at), allowed().effects):
            b, spread = self._of_levels(levels[some], common)
            for at, mine in enumerate(of_level[some]):
                mean[mine] += z[mine] @ b[at]
                variance[mine] += columns[mine] @ spread[at]

    def _of_levels(self, levels: np.ndarray, common: _Common) -> tuple[np.ndarray, np.ndarray]:
        """E[b_j], (k, q, K), and Cov[b_j, gamma] followed by packed Cov[b_j], (k, ., K), over the parts."""
        T = self.density.statistics.T[0][:, :, levels, None]
        averages, g, V = common.averages, common.g, common.V
        q, p = len(T), len(g)
        effects, columns = range(q), range(p)
        root = self.points.roots[0][:, :, None, averages.at]
        F, _ = conditional_root(unpack(self.density.statistics.S[0][:, levels], q)[..., None], root)
        M = [[sum(F[e, i] * F[k, i] for i in effects) for k in effects] for e in effects]
        A = [[-sum(M[e][k] * T[k, i] for k in effects) for i in columns] for e in effects]
        at = unpack(np.arange(len(V)), p)
        AV = [[sum(A[e][i] * V[at[i, j]] for i in columns) for j in columns] for e in effects]
        t = T[:, -1] - sum(T[:, i] * common.centre[i] for i in columns)  # at the centre of gamma
        b = np.stack([sum(M[e][k] * t[k] for k in effects) + sum(A[e][i] * g[i] for i in columns) for e in effects])
        centre = (b @ averages.share)[..., None]  # so that squares do not cancel
        b -= centre
        Eb = averages(b)
        cross = [averages(AV[e][j] + b[e] * g[j]) - Eb[e] * common.mean[j] for e in effects for j in columns]
        variance = np.exp(2 * self.points.s[averages.at])
        own = []
        for e, k in lower(q):
            inner = variance * M[e][k] + sum(AV[e][j] * A[k][j] for j in columns)
            own.append(averages(inner + b[e] * b[k]) - Eb[e] * Eb[k])
        return np.moveaxis(Eb + centre, 1, 0), np.stack([*cross, *own], axis=1)


@dataclass(frozen=True)
class _Common:
    """Moments of gamma at the points of the parts, and over each part.

    Attributes
    ----------
    averages : _Averages
    centre : numpy.ndarray of shape (P - 1,)
        Mean of gamma; the other means are relative to it, so that squares do not cancel.
    g, V : numpy.ndarray of shape (P - 1, N) and (P (P - 1) / 2, N)
        At the points.
    mean, covariance : numpy.ndarray of shape (P - 1, K) and (P (P - 1) / 2, K)
        Over the parts.
    """

    averages: _Averages
    centre: np.ndarray
    g: np.ndarray
    V: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, moments: ConditionalMoments, label: np.ndarray) -> _Common:
        """Average over parts of the draws."""
        averages = _Averages.of(moments.points.which, label)
        g, V = moments.mean[:, averages.at], moments.covariance[:, averages.at]
        centre = g @ averages.share
        g = g - centre[:, None]
        mean = averages(g)
        return cls(averages, centre, g, V, mean, averages(V + _packed_square(g)) - _packed_square(mean))


@dataclass(frozen=True)
class _Averages:
    """Means over parts of the draws, of values known at points.

    Attributes
    ----------
    at : numpy.ndarray of int, shape (N,)
        Points, part after part.
    weight : numpy.ndarray of shape (N,)
        Share of the point among the draws of its part.
    share : numpy.ndarray of shape (N,)
        Its share among all draws.
    starts : numpy.ndarray of int, shape (K,)
        Where each part begins.
    """

    at: np.ndarray
    weight: np.ndarray
    share: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, which: np.ndarray, label: np.ndarray) -> _Averages:
        """For the points `which` of the draws, (S,), and their parts."""
        n = int(which.max()) + 1
        keys, count = np.unique(label.astype(np.int64) * n + which, return_counts=True)
        part, at = keys // n, keys % n
        return cls(at, count / np.bincount(label)[part], count / len(label), np.unique(part, return_index=True)[1])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Means, (..., K), of values (..., N)."""
        return np.add.reduceat(values * self.weight, self.starts, axis=-1)


def _packed_square(v: np.ndarray) -> np.ndarray:
    """Packed v v' of vectors (p, N)."""
    return np.stack([v[i] * v[j] for i, j in lower(len(v))]) if len(v) else np.empty((0, v.shape[1]))


def _packed_rows(x: np.ndarray) -> np.ndarray:
    """What a packed symmetric C is multiplied by to get x'C x, for each row of x (n, p)."""
    pairs = [x[:, i] * x[:, j] * (1 if i == j else 2) for i, j in lower(x.shape[1])]
    return np.stack(pairs, axis=1) if pairs else np.empty((len(x), 0))
