"""Draws with similar covariances and noise, grouped: averaging over a part loses little."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesmixed.design.spec import DesignSpec
from bayesmixed.posterior.draws import Draws


@dataclass(frozen=True)
class Parts:
    """A partition of the draws.

    Attributes
    ----------
    label : numpy.ndarray of int, shape (S,)
        The part of every draw, from 0; none is empty.
    """

    label: np.ndarray

    @classmethod
    def whole(cls, draws: Draws) -> Parts:
        """All draws in one part."""
        return cls(np.zeros(draws.size, dtype=int))

    @classmethod
    def alike(
        cls, draws: Draws, spec: DesignSpec, auxiliary: tuple[str, ...], n_parts: int, noise: float = 1.0
    ) -> Parts:
        """At most `n_parts` parts, evenly spread over the draws' standard deviations, correlations and noise.

        The part with the largest scatter is split in two, at its mean along the direction in which it scatters most,
        until there are enough. Standard deviations and noise are measured relative to their root mean squares, so that
        neither units nor the rows of a call matter; the noise counts `noise` times as much as the others.
        """
        S = draws.size
        scales = {f"sd_{factor.name}": 1.0 for factor in spec.groups} | dict.fromkeys(auxiliary, noise)
        columns = [factor * _relative(draws.flat(name).reshape(S, -1)) for name, factor in scales.items()]
        columns += [draws.flat(f"corr_{factor.name}") for factor in spec.groups if factor.pairs]
        return cls(_split(np.hstack(columns), n_parts))

    @cached_property
    def weights(self) -> np.ndarray:
        """Share of the draws in each part, (K,)."""
        return np.bincount(self.label) / len(self.label)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean of values, (S, ...), over the draws of each part, (K, ...)."""
        order = np.argsort(self.label, kind="stable")
        count = np.bincount(self.label)
        starts = np.concatenate([[0], np.cumsum(count)[:-1]])
        return np.add.reduceat(values[order], starts) / count.reshape(-1, *[1] * (values.ndim - 1))


def _relative(values: np.ndarray) -> np.ndarray:
    """Divide by the root mean square of each column; a column of zeros stays."""
    size = np.sqrt(np.square(values).mean(axis=0))
    return np.divide(values, size, out=np.zeros_like(values), where=size > 0)


def _split(points: np.ndarray, n_parts: int) -> np.ndarray:
    """Labels, (S,), of at most `n_parts` parts of points (S, d); equal points are never separated."""
    label = np.zeros(len(points), dtype=int)
    total, axis = _scatter(points)
    waiting = [(-total, 0, axis, np.arange(len(points)))]  # a heap, the part that scatters most first
    n = 1
    while n < n_parts and waiting and waiting[0][0] < 0:
        _, at, axis, mine = heapq.heappop(waiting)
        values = points[mine, axis]
        low = values <= values.sum() / len(values)
        if low.all():  # the mean is rounded to the largest value
            continue
        for part, name in ((mine[low], at), (mine[~low], n)):
            total, axis = _scatter(points[part])
            heapq.heappush(waiting, (-total, name, axis, part))
        label[mine[~low]] = n
        n += 1
    return label


def _scatter(points: np.ndarray) -> tuple[float, int]:
    """Sum of squares about the mean, and the axis with the largest share in it."""
    centred = points - points.sum(axis=0) / len(points)
    by_axis = np.einsum("sd,sd->d", centred, centred)
    return float(by_axis.sum()), int(by_axis.argmax())
