"""Draws of similar covariances and noise, put together: what is averaged over a part loses little."""

from __future__ import annotations

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
        return cls(np.zeros(int(np.prod(draws.shape)), dtype=int))

    @classmethod
    def alike(
        cls, draws: Draws, spec: DesignSpec, auxiliary: tuple[str, ...], n_parts: int, noise: float = 1.0
    ) -> Parts:
        """At most `n_parts` parts, evenly spread over the draws' standard deviations, correlations and noise.

        The part that scatters most is split in two, at its mean along the direction in which it scatters most, until
        there are enough. Standard deviations and noise are measured by their root mean squares, so that neither units
        nor the rows of a call matter; the noise counts `noise` times as much as the others.
        """
        S = int(np.prod(draws.shape))
        scales = {f"sd_{factor.name}": 1.0 for factor in spec.groups} | dict.fromkeys(auxiliary, noise)
        columns = [factor * _relative(draws.flat(name).reshape(S, -1)) for name, factor in scales.items()]
        columns += [draws.flat(f"corr_{factor.name}") for factor in spec.groups if factor.pairs]
        return cls(_split(np.hstack(columns), n_parts))

    @cached_property
    def weights(self) -> np.ndarray:
        """Share of the draws in every part, (K,)."""
        return np.bincount(self.label) / len(self.label)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the draws of every part, (K, ...), of values (S, ...)."""
        order = np.argsort(self.label, kind="stable")
        count = np.bincount(self.label)
        starts = np.concatenate([[0], np.cumsum(count)[:-1]])
        return np.add.reduceat(values[order], starts) / count.reshape(-1, *[1] * (values.ndim - 1))


def _relative(values: np.ndarray) -> np.ndarray:
    """Over the root mean square of each column; a column of zeros stays."""
    size = np.sqrt(np.square(values).mean(axis=0))
    return np.divide(values, size, out=np.zeros_like(values), where=size > 0)


def _split(points: np.ndarray, n_parts: int) -> np.ndarray:
    """Labels, (S,), of at most `n_parts` parts of points (S, d); equal points are never parted."""
    parts = [np.arange(len(points))]
    scatter = [_scatter(points)]
    while len(parts) < n_parts and max(total for total, _ in scatter) > 0:
        at = max(range(len(parts)), key=lambda part: scatter[part][0])
        mine, axis = parts[at], scatter[at][1]
        values = points[mine, axis]
        low = values <= values.mean()
        if low.all():  # rounding has put the mean at the largest value
            scatter[at] = (0.0, axis)
            continue
        parts[at : at + 1] = [mine[low], mine[~low]]
        scatter[at : at + 1] = [_scatter(points[part]) for part in (mine[low], mine[~low])]
    label = np.empty(len(points), dtype=int)
    for at, part in enumerate(parts):
        label[part] = at
    return label


def _scatter(points: np.ndarray) -> tuple[float, int]:
    """Sum of squares about the mean, and the axis with the largest share in it."""
    by_axis = np.square(points - points.mean(axis=0)).sum(axis=0)
    return float(by_axis.sum()), int(by_axis.argmax())
