"""Sufficient statistics: all cross-products of a design's columns, from one pass over its rows; they add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.moments import Moments, binary, mean

if TYPE_CHECKING:
    from bayesmixed.design.factors import GroupFactor
    from bayesmixed.design.spec import Design


@dataclass(frozen=True)
class Pairs:
    """Cross-products of two factors, for the pairs of levels that occur together.

    Attributes
    ----------
    first, second : numpy.ndarray of int, shape (k,)
        Codes of the pair, sorted by first, then second.
    products : numpy.ndarray of shape (q_first, q_second, k)
        ``Z_first' W Z_second`` over the pair's rows.
    counts : numpy.ndarray of int, shape (k,)
        Number of the pair's rows, regardless of weight.
    """

    STORED: ClassVar[tuple[str, ...]] = ("first", "second", "products", "counts")

    first: np.ndarray
    second: np.ndarray
    products: np.ndarray
    counts: np.ndarray

    def __add__(self, other: Pairs) -> Pairs:
        """Statistics of both sets of rows."""
        first = np.concatenate([self.first, other.first])
        second = np.concatenate([self.second, other.second])
        products = np.concatenate([self.products, other.products], axis=2)
        return _sum_pairs(first, second, products, np.concatenate([self.counts, other.counts]))

    def __neg__(self) -> Pairs:
        return replace(self, products=-self.products, counts=-self.counts)

    def recoded(self, first: np.ndarray, second: np.ndarray) -> Pairs:
        """The same pairs with new codes: code k of a factor becomes ``first[k]``, or ``second[k]``."""
        if _is_in_place(first) and _is_in_place(second):
            return self
        first, second = first[self.first], second[self.second]
        order = np.lexsort((second, first))
        return Pairs(first[order], second[order], self.products[:, :, order], self.counts[order])

    def that_occur(self) -> Pairs:
        """Drop pairs without rows."""
        there = self.counts != 0
        return Pairs(self.first[there], self.second[there], self.products[:, :, there], self.counts[there])


def _sum_pairs(first: np.ndarray, second: np.ndarray, products: np.ndarray, counts: np.ndarray | None = None) -> Pairs:
    """Add up the products of equal pairs, and their numbers of rows, which are one each without `counts`."""
    width = int(second.max(initial=0)) + 1
    keys, place, times = np.unique(first.astype(np.int64) * width + second, return_inverse=True, return_counts=True)
    summed = np.stack([[np.bincount(place, values, len(keys)) for values in row] for row in products])
    if counts is not None:  # as floats they are exact up to 2^53
        times = np.bincount(place, counts, len(keys)).astype(np.int64)
    return Pairs(keys // width, keys % width, summed, times)


@dataclass(frozen=True)
class CrossProducts:
    """Everything that a Gaussian mixed model needs to know about its rows; ``a + b`` is that of both sets of rows.

    W are the frequency weights, V the P columns of the common part and the response, and Z those of a factor's effects,
    in units chosen by the owner:

    Attributes
    ----------
    n : float
        Number of rows; the sum of the weights.
    VV : numpy.ndarray of shape (P, P)
        V' W V.
    S : tuple of numpy.ndarray of shape (q (q + 1) / 2, n_levels)
        Z' W Z of every level of a factor: its lower triangle, row by row.
    T : tuple of numpy.ndarray of shape (q, P, n_levels)
        Z' W V of every level of a factor.
    pairs : dict of (int, int) to Pairs
        Z_f' W Z_g of the factors f < g.
    n_rows : int
        Number of rows, regardless of weight.
    counts : tuple of numpy.ndarray of int, shape (n_levels,)
        The same for every level of a factor.
    """

    STORED: ClassVar[tuple[str, ...]] = ("n", "VV", "S", "T", "pairs", "n_rows", "counts")

    n: float
    VV: np.ndarray
    S: tuple[np.ndarray, ...]
    T: tuple[np.ndarray, ...]
    pairs: dict[tuple[int, int], Pairs]
    n_rows: int
    counts: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls, V: np.ndarray, Z: list[np.ndarray], codes: list[np.ndarray], levels: list[int], weights: np.ndarray | None
    ) -> CrossProducts:
        """Sum over rows: of V (n, P), and per factor Z (n, q), codes (n,) and the number of its levels."""
        weighted = V if weights is None else V * weights[:, None]
        heavy = Z if weights is None else [z * weights[:, None] for z in Z]
        S, T = [], []
        for f, J in enumerate(levels):
            lower = zip(*np.tril_indices(Z[f].shape[1]), strict=True)
            # without rows, `bincount` returns integers
            S.append(np.array([np.bincount(codes[f], heavy[f][:, i] * Z[f][:, j], J) for i, j in lower], float))
            T.append(np.array([[np.bincount(codes[f], e * v, J) for v in weighted.T] for e in Z[f].T], float))
        pairs = {
            (f, g): _sum_pairs(codes[f], codes[g], heavy[f].T[:, None] * Z[g].T[None])
            for g in range(len(Z))
            for f in range(g)
        }
        counts = tuple(np.bincount(own, minlength=J) for own, J in zip(codes, levels, strict=True))
        n = float(len(V) if weights is None else weights.sum())
        return cls(n, weighted.T @ V, tuple(S), tuple(T), pairs, len(V), counts)

    def __add__(self, other: CrossProducts) -> CrossProducts:
        """Statistics of both sets of rows; a factor may have got new levels at the end of its codes."""
        return CrossProducts(
            self.n + other.n,
            self.VV + other.VV,
            tuple(_add_levels(a, b) for a, b in zip(self.S, other.S, strict=True)),
            tuple(_add_levels(a, b) for a, b in zip(self.T, other.T, strict=True)),
            {key: pairs + other.pairs[key] for key, pairs in self.pairs.items()},
            self.n_rows + other.n_rows,
            tuple(_add_levels(a, b) for a, b in zip(self.counts, other.counts, strict=True)),
        )

    def __neg__(self) -> CrossProducts:
        return CrossProducts(
            -self.n,
            -self.VV,
            tuple(-S for S in self.S),
            tuple(-T for T in self.T),
            {key: -pairs for key, pairs in self.pairs.items()},
            -self.n_rows,
            tuple(-counts for counts in self.counts),
        )

    def joined(
        self, other: CrossProducts, mine: list[np.ndarray], theirs: list[np.ndarray], levels: list[int]
    ) -> CrossProducts:
        """Statistics of both sets of rows; the code k of factor f becomes ``mine[f][k]``, or ``theirs[f][k]``.

        One array of all levels is made of each kind, however few of them either set has.
        """

        def both(own: np.ndarray, others: np.ndarray, f: int) -> np.ndarray:
            total = _placed(own, mine[f], levels[f])
            total[..., theirs[f]] += others
            return total

        S, T, counts = (
            tuple(both(own, others, f) for f, (own, others) in enumerate(zip(*pair, strict=True)))
            for pair in ((self.S, other.S), (self.T, other.T), (self.counts, other.counts))
        )
        pairs = {
            (f, g): own.recoded(mine[f], mine[g]) + other.pairs[f, g].recoded(theirs[f], theirs[g])
            for (f, g), own in self.pairs.items()
        }
        return CrossProducts(self.n + other.n, self.VV + other.VV, S, T, pairs, self.n_rows + other.n_rows, counts)

    def recoded(self, places: list[np.ndarray], levels: list[int]) -> CrossProducts:
        """The same rows with other codes of levels: the code k of factor f is ``places[f][k]``, of ``levels[f]``."""
        S, T, counts = list(self.S), list(self.T), list(self.counts)
        for f, (place, J) in enumerate(zip(places, levels, strict=True)):
            if len(place) < J or not _is_in_place(place):
                S[f], T[f], counts[f] = (_placed(sums, place, J) for sums in (S[f], T[f], counts[f]))
        pairs = {(f, g): pairs.recoded(places[f], places[g]) for (f, g), pairs in self.pairs.items()}
        return replace(self, S=tuple(S), T=tuple(T), counts=tuple(counts), pairs=pairs)

    def that_occur(self) -> tuple[CrossProducts, list[np.ndarray]]:
        """Drop levels, and pairs of them, without rows; also returns which levels remain, per factor."""
        there = [np.flatnonzero(counts) for counts in self.counts]
        places = [np.cumsum(counts != 0) - 1 for counts in self.counts]
        pairs = {(f, g): pairs.that_occur().recoded(places[f], places[g]) for (f, g), pairs in self.pairs.items()}
        S, T, counts = (
            tuple(sums[..., at] for sums, at in zip(every, there, strict=True))
            for every in (self.S, self.T, self.counts)
        )
        return replace(self, S=S, T=T, counts=counts, pairs=pairs), there

    def combined(self, A: np.ndarray, B: list[np.ndarray]) -> CrossProducts:
        """Statistics of the columns ``V @ A`` and, per factor, ``Z @ B``, without the rows."""
        return replace(
            self,
            VV=A.T @ self.VV @ A,
            S=tuple(_packed(_both_sides(b, _unpacked(S, len(b)), b)) for S, b in zip(self.S, B, strict=True)),
            T=tuple(_both_sides(b, T, A) for T, b in zip(self.T, B, strict=True)),
            pairs={
                (f, g): replace(pairs, products=_both_sides(B[f], pairs.products, B[g]))
                for (f, g), pairs in self.pairs.items()
            },
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
        products = turned.products.swapaxes(0, 1)[:, :, order]
        return Pairs(turned.second[order], turned.first[order], products, turned.counts[order])


def _add_levels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    longer, shorter = (a, b) if a.shape[-1] >= b.shape[-1] else (b, a)
    total = longer.copy()
    total[..., : shorter.shape[-1]] += shorter
    return total


def _is_in_place(place: np.ndarray) -> bool:
    return bool(np.array_equal(place, np.arange(len(place))))


def _placed(sums: np.ndarray, place: np.ndarray, n_levels: int) -> np.ndarray:
    """Sums of levels, (..., J), at their places among more levels; 0 elsewhere."""
    found = np.zeros((*sums.shape[:-1], n_levels), sums.dtype)
    found[..., place] = sums
    return found


def _both_sides(left: np.ndarray, products: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left' M right`` of every matrix M of an array (a, b, J)."""
    return np.matmul(right.T, np.tensordot(left.T, products, 1))


def _unpacked(S: np.ndarray, q: int) -> np.ndarray:
    """Symmetric matrices, (q, q, J), of their lower triangles."""
    rows, columns = np.tril_indices(q)
    full = np.empty((q, q, S.shape[1]))
    full[rows, columns] = full[columns, rows] = S
    return full


def _packed(full: np.ndarray) -> np.ndarray:
    return full[np.tril_indices(len(full))]


@dataclass(frozen=True)
class Sums:
    """What a Gaussian fit learns from its rows, in the columns' own units; ``a + b`` is that of both sets of rows.

    The columns are kept about an origin, so that sums of squares lose no digits where a column is far from zero, and
    sums about two origins are shifted to that of the part with more weight. A part with a share s of the weight has its
    mean within sqrt(1 / s - 1) standard deviations of that of all rows: squares lose at most the factor 1 / s. Columns
    without an intercept next to them stay as they are, as their zero is meaningful.

    Attributes
    ----------
    origin : numpy.ndarray of shape (p + 1,)
        Of X and the response, which is y minus the offset.
    effect_origins : tuple of numpy.ndarray of shape (q,)
        Of the columns of each factor's effects; 0 for its intercept.
    intercept_at : tuple of int or None
        Position of each factor's intercept.
    products : CrossProducts
        Of V = [1, X, response] and Z, minus their origins.
    is_binary : tuple of numpy.ndarray of bool, shape (q,)
        Which columns of each factor's effects hold only zeros and ones.
    """

    STORED: ClassVar[tuple[str, ...]] = ("origin", "effect_origins", "intercept_at", "products", "is_binary")

    origin: np.ndarray
    effect_origins: tuple[np.ndarray, ...]
    intercept_at: tuple[int | None, ...]
    products: CrossProducts
    is_binary: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, design: Design) -> Sums:
        """Pass once over the rows of a design that has a response; the first rows' means are the origin."""
        first, *others = parts(design)
        total = cls._of_rows(design, first, None)
        for rows in others:
            total = total + cls._of_rows(design, rows, total)
        return total

    @classmethod
    def _of_rows(cls, design: Design, rows: slice, like: Sums | None) -> Sums:
        n, p = design.X[rows].shape
        V = np.ones((n, p + 2), order="F")  # sums run along columns
        V[:, 1:-1], V[:, -1] = design.X[rows], design.response[rows]
        columns = V[:, 1:]
        weights = None if design.weights is None else design.weights[rows]
        Z, codes = [factor.Z[rows] for factor in design.groups], [factor.codes[rows] for factor in design.groups]
        if like is None:
            origin = mean(columns, weights) * design.has_intercept
            effect_origins = tuple(_origin(factor, z, weights) for factor, z in zip(design.groups, Z, strict=True))
        else:
            origin, effect_origins = like.origin, like.effect_origins
        columns -= origin
        moved = [np.subtract(z, at, order="F") for z, at in zip(Z, effect_origins, strict=True)]
        levels = [len(factor.levels) for factor in design.groups]
        return cls(
            origin,
            effect_origins,
            tuple(factor.intercept_at for factor in design.groups),
            CrossProducts.of(V, moved, codes, levels, weights),
            tuple(map(binary, Z)),
        )

    def __add__(self, other: Sums) -> Sums:
        """Statistics of both sets of rows; a factor may have got new levels at the end of its codes."""
        heavy, light = (self, other) if self.products.n >= other.products.n else (other, self)
        return replace(
            heavy,
            products=heavy.products + light._about(heavy.origin, heavy.effect_origins),
            is_binary=tuple(a & b for a, b in zip(heavy.is_binary, light.is_binary, strict=True)),
        )

    def joined(self, other: Sums, mine: list[np.ndarray], theirs: list[np.ndarray], levels: list[int]) -> Sums:
        """The same for parts with different levels; see `CrossProducts.joined`."""
        heavy = self if self.products.n >= other.products.n else other
        a, b = (own._about(heavy.origin, heavy.effect_origins) for own in (self, other))
        is_binary = tuple(x & y for x, y in zip(self.is_binary, other.is_binary, strict=True))
        return replace(heavy, products=a.joined(b, mine, theirs, levels), is_binary=is_binary)

    def __sub__(self, other: Sums) -> Sums:
        """Statistics of the rows that are not in `other`; both have the same levels.

        Whether a column holds only zeros and ones is not known for the remaining rows: it is taken from all rows.
        """
        return replace(self, products=self.products + -other._about(self.origin, self.effect_origins))

    def of_columns(self, A: np.ndarray, B: list[np.ndarray]) -> Sums:
        """Statistics of the columns ``X @ A`` and, per factor, ``Z @ B``; columns of B for intercepts stay as such."""
        whole = np.zeros((len(A) + 2, A.shape[1] + 2))
        whole[0, 0] = whole[-1, -1] = 1.0
        whole[1:-1, 1:-1] = A
        one = [(b != 0).sum(axis=0) == 1 for b in B]
        return Sums(
            np.append(self.origin[:-1] @ A, self.origin[-1]),
            tuple(origin @ b for origin, b in zip(self.effect_origins, B, strict=True)),
            tuple(None if at is None else int(np.argmax(b[at])) for at, b in zip(self.intercept_at, B, strict=True)),
            self.products.combined(whole, B),
            tuple(alone & own[np.abs(b).argmax(axis=0)] for alone, own, b in zip(one, self.is_binary, B, strict=True)),
        )

    def about(self, origin: np.ndarray, effect_origins: tuple[np.ndarray, ...]) -> Sums:
        """The same about other origins."""
        products = self._about(origin, effect_origins)
        return replace(self, origin=origin, effect_origins=effect_origins, products=products)

    def _about(self, origin: np.ndarray, effect_origins: tuple[np.ndarray, ...]) -> CrossProducts:
        """Cross-products about other origins."""
        moves = [self.origin - origin, *(a - b for a, b in zip(self.effect_origins, effect_origins, strict=True))]
        if not any(move.any() for move in moves):
            return self.products
        A, B = np.eye(len(origin) + 1), [np.eye(len(move)) for move in moves[1:]]
        A[0, 1:] = moves[0]
        for own, move, at in zip(B, moves[1:], self.intercept_at, strict=True):
            if at is not None:
                own[at] += move
        return self.products.combined(A, B)

    @cached_property
    def common(self) -> Moments:
        """Moments of X, then the response."""
        VV = self.products.VV
        return Moments(self.products.n, self.origin, VV[0, 1:], VV[1:, 1:])

    @property
    def level_products(self) -> tuple[np.ndarray, ...]:
        """Per factor the matrix Z' W Z of every level, (q, q, n_levels)."""
        return tuple(_unpacked(S, q) for S, q in zip(self.products.S, self.products.n_effects, strict=True))

    @cached_property
    def effects(self) -> tuple[Moments, ...]:
        """Moments of the columns of each factor's effects."""
        found = []
        for f, at in enumerate(self.intercept_at):
            origin, sums = self.effect_origins[f].copy(), self.products.T[f][:, 0].sum(axis=1)
            products = _unpacked(self.products.S[f].sum(axis=1, keepdims=True), len(sums))[:, :, 0]
            if at is not None:  # a column of ones is its own origin
                origin[at], sums[at] = 1.0, 0.0
                products[at] = products[:, at] = 0.0
            found.append(Moments(self.products.n, origin, sums, products))
        return tuple(found)


def parts(design: Design) -> Iterator[slice]:
    """Rows of a design that are read together; at least one part, possibly empty."""
    width = design.X.shape[1] + 2 + sum(len(factor.effect_names) for factor in design.groups)
    return chunks(max(design.n_rows, 1), width, allowed().working)


def _origin(factor: GroupFactor, Z: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Means of a factor's columns if it has an intercept, otherwise zero."""
    at = factor.intercept_at
    if at is None:
        return np.zeros(Z.shape[1])
    origin = mean(Z, weights)
    origin[at] = 0.0
    return origin
