"""Moments of columns: weights, means and products that add up over any partition of the rows.

They are kept about an origin near the data, in the columns' own units, so that sums of squares lose no digits where
a column is far from zero: with d the old origin minus the new one, and sums taken about the old one,

    sum w (x + d) = sum w x + d sum w,      sum w (x + d)(x + d)' = sum w x x' + s d' + d s' + d d' sum w,

and about its own mean s is only rounding, so that all terms of a merged sum of squares are positive (Chan, Golub &
LeVeque, 1983, Algorithms for computing the sample variance: analysis and recommendations, The American Statistician
37).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CONSTANT = 1e-14  # of a column's size: a spread that is only rounding


@dataclass(frozen=True)
class Moments:
    """First and second moments of columns; ``a + b`` is that of both sets of rows.

    Attributes
    ----------
    weight : float
        Sum of the weights; the number of rows if each counts once.
    origin : numpy.ndarray of shape (k,)
        Near the mean, in the columns' units: the rounded mean, or the origin of a caller's sums.
    sums : numpy.ndarray of shape (k,)
        Of the columns minus the origin, weighted.
    products : numpy.ndarray of shape (k, k)
        Cross-products of the columns minus the origin, weighted.
    """

    weight: float
    origin: np.ndarray
    sums: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray, weights: np.ndarray | None = None) -> Moments:
        """Measure columns, (n, k), with weights, (n,), about their mean."""
        origin = mean(columns, weights)
        centred = columns - origin
        weighted = centred if weights is None else centred * weights[:, None]
        weight = float(len(columns) if weights is None else weights.sum())
        return cls(weight, origin, weighted.sum(axis=0), centred.T @ weighted)

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets of rows, about the mean of all."""
        weight = self.weight + other.weight
        step = (other.origin - self.origin) + (other.sums / other.weight - self.sums / self.weight)
        origin = self.origin + (self.sums / self.weight + step * (other.weight / weight))
        a, b = self.about(origin), other.about(origin)
        return Moments(weight, origin, a.sums + b.sums, a.products + b.products)

    def about(self, origin: np.ndarray) -> Moments:
        """The same moments about another origin."""
        d = self.origin - origin
        cross = np.outer(self.sums, d)
        products = self.products + (cross + cross.T) + self.weight * np.outer(d, d)
        return Moments(self.weight, origin, self.sums + self.weight * d, products)

    def select(self, at: slice | list[int]) -> Moments:
        """Moments of some of the columns."""
        return Moments(self.weight, self.origin[at], self.sums[at], self.products[at][:, at])

    def combined(self, T: np.ndarray, shift: np.ndarray | float = 0.0) -> Moments:
        """Moments of ``columns @ T + shift``, without the rows."""
        return Moments(self.weight, self.origin @ T + shift, self.sums @ T, T.T @ self.products @ T)

    @property
    def mean(self) -> np.ndarray:
        """Means, shape (k,)."""
        return self.origin + self.sums / self.weight

    @property
    def covariance(self) -> np.ndarray:
        """Covariances, with ddof 0, shape (k, k)."""
        return (self.products - np.outer(self.sums, self.sums) / self.weight) / self.weight

    @property
    def raw(self) -> np.ndarray:
        """Second moments about zero, shape (k, k)."""
        return self.covariance + np.outer(self.mean, self.mean)

    def size_about(self, location: np.ndarray) -> np.ndarray:
        """Root mean square of the columns minus a location, (k,); 1 where that is zero."""
        d = (self.origin - location) + self.sums / self.weight
        square = np.diag(self.covariance) + np.square(d)
        return np.where(square > 0, np.sqrt(np.maximum(square, 0.0)), 1.0)

    def location_and_scale(self, centred: bool) -> tuple[np.ndarray, np.ndarray]:
        """Location and scale of the columns, each (k,).

        Parameters
        ----------
        centred : bool
            True: mean and standard deviation. False: zero and root mean square.

        Returns
        -------
        location, scale : numpy.ndarray of shape (k,)
            The scale of a constant column is its root mean square, that of a zero column 1.
        """
        rms = self.size_about(np.zeros(len(self.origin)))
        if not centred:
            return np.zeros(len(rms)), rms
        spread = np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        return self.mean, np.where(spread > _CONSTANT * rms, spread, rms)


def mean(columns: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Weighted mean of columns, (n, k); 0 without rows."""
    if len(columns) == 0:
        return np.zeros(columns.shape[1])
    share = np.full(len(columns), 1 / len(columns)) if weights is None else weights / weights.sum()
    return np.asarray(share @ columns)


def binary(columns: np.ndarray) -> np.ndarray:
    """Which columns, of (n, k), hold only zeros and ones; bool (k,)."""
    few = columns[:1000]  # enough to rule out most other columns
    return np.array([all(map(_is_binary, (few[:, k], columns[:, k]))) for k in range(columns.shape[1])], dtype=bool)


def _is_binary(column: np.ndarray) -> bool:
    return bool(np.all((column == 0) | (column == 1)))
