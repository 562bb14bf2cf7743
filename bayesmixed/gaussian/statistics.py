"""Sufficient statistics: all cross-products of the columns of a Gaussian mixed model, from one pass over the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.spec import Design
from bayesmixed.gaussian.batched import lower
from bayesmixed.gaussian.units import Units


@dataclass(frozen=True)
class Pairs:
    """Cross-products of two factors, for the pairs of levels that occur together.

    Attributes
    ----------
    first, second : numpy.ndarray of int, shape (k,)
        Codes of the pair, sorted by first, then second.
    products : numpy.ndarray of shape (q_first, q_second, k)
        ``Z_first' W Z_second`` over the pair's rows.
    """

    STORED: ClassVar[tuple[str, ...]] = ("first", "second", "products")

    first: np.ndarray
    second: np.ndarray
    products: np.ndarray

    def __add__(self, other: Pairs) -> Pairs:
        """Statistics of both sets of rows."""
        first = np.concatenate([self.first, other.first])
        second = np.concatenate([self.second, other.second])
        return _sum_pairs(first, second, np.concatenate([self.products, other.products], axis=2))


def _sum_pairs(first: np.ndarray, second: np.ndarray, products: np.ndarray) -> Pairs:
    """Add up the products of equal pairs."""
    width = int(second.max(initial=0)) + 1
    keys, place = np.unique(first.astype(np.int64) * width + second, return_inverse=True)
    summed = np.stack([[np.bincount(place, values, len(keys)) for values in row] for row in products])
    return Pairs(keys // width, keys % width, summed)


@dataclass(frozen=True)
class CrossProducts:
    """Everything that a Gaussian mixed model needs to know of its rows; ``a + b`` is that of both sets of rows.

    In working units (`Units`), W being the frequency weights, V = [1, X, y] and P its number of columns:

    Attributes
    ----------
    n : float
        Number of rows; the sum of the weights.
    VV : numpy.ndarray of shape (P, P)
        V' W V.
    S : tuple of numpy.ndarray of shape (q (q + 1) / 2, n_levels)
        Z' W Z of every level of a factor, packed.
    T : tuple of numpy.ndarray of shape (q, P, n_levels)
        Z' W V of every level of a factor.
    pairs : dict of (int, int) to Pairs
        Z_f' W Z_g of the factors f < g.
    """

    STORED: ClassVar[tuple[str, ...]] = ("n", "VV", "S", "T", "pairs")

    n: float
    VV: np.ndarray
    S: tuple[np.ndarray, ...]
    T: tuple[np.ndarray, ...]
    pairs: dict[tuple[int, int], Pairs]

    @classmethod
    def of(cls, design: Design, units: Units) -> CrossProducts:
        """Pass once over the rows of a design."""
        width = design.X.shape[1] + 2 + sum(len(factor.effect_names) for factor in design.groups)
        pieces = chunks(design.n_rows, width, allowed().working)
        total = cls._of_rows(design, units, next(pieces, slice(0)))
        for rows in pieces:
            total = total + cls._of_rows(design, units, rows)
        return total

    @classmethod
    def _of_rows(cls, design: Design, units: Units, rows: slice) -> CrossProducts:
        V = units.common_columns(design, rows)
        weights = None if design.weights is None else design.weights[rows]
        weighted = V if weights is None else V * weights[:, None]
        Z = [units.group_columns(f, factor, rows) for f, factor in enumerate(design.groups)]
        codes = [factor.codes[rows] for factor in design.groups]
        S, T = [], []
        for f, factor in enumerate(design.groups):
            J = len(factor.levels)
            z = Z[f] if weights is None else Z[f] * weights[:, None]
            S.append(np.stack([np.bincount(codes[f], z[:, i] * Z[f][:, j], J) for i, j in lower(z.shape[1])]))
            T.append(np.stack([[np.bincount(codes[f], e * v, J) for v in weighted.T] for e in Z[f].T]))
        pairs = {}
        for g in range(len(Z)):
            for f in range(g):
                z = Z[f] if weights is None else Z[f] * weights[:, None]
                pairs[f, g] = _sum_pairs(codes[f], codes[g], z.T[:, None] * Z[g].T[None])
        return cls(float(len(V) if weights is None else weights.sum()), weighted.T @ V, tuple(S), tuple(T), pairs)

    def __add__(self, other: CrossProducts) -> CrossProducts:
        """Statistics of both sets of rows; a factor may have got further levels at the end of its codes."""
        return CrossProducts(
            self.n + other.n,
            self.VV + other.VV,
            tuple(_add_levels(a, b) for a, b in zip(self.S, other.S, strict=True)),
            tuple(_add_levels(a, b) for a, b in zip(self.T, other.T, strict=True)),
            {key: pairs + other.pairs[key] for key, pairs in self.pairs.items()},
        )

    @property
    def n_levels(self) -> tuple[int, ...]:
        """Levels of each factor."""
        return tuple(S.shape[1] for S in self.S)

    @property
    def n_effects(self) -> tuple[int, ...]:
        """Effects of each factor."""
        return tuple(len(T) for T in self.T)

    def between(self, f: int, g: int) -> Pairs:
        """`Pairs` of two factors in either order."""
        if f < g:
            return self.pairs[f, g]
        turned = self.pairs[g, f]
        order = np.lexsort((turned.first, turned.second))
        return Pairs(turned.second[order], turned.first[order], turned.products.swapaxes(0, 1)[:, :, order])


def _add_levels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    longer, shorter = (a, b) if a.shape[-1] >= b.shape[-1] else (b, a)
    total = longer.copy()
    total[..., : shorter.shape[-1]] += shorter
    return total


def is_nested(statistics: CrossProducts, inner: int, outer: int) -> bool:
    """Whether every level of factor `inner` occurs with a single level of factor `outer`."""
    return len(statistics.between(inner, outer).first) == statistics.n_levels[inner]
