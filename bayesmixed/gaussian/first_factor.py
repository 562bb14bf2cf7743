"""Integrate out the first factor, whose groups are independent given everything else.

Let C_j = Z_j'W [Z_rest, V] be the cross-products of group j of the first factor with all other columns, S_j that with
its own. With S_j = Q w Q', R_j = w^(1/2) Q' and c_j = w^(-1/2) Q' C_j, integrating b_j ~ N(0, sigma^2 Sigma) leaves
the cross-products of the other columns as

    B(Sigma) = E + sum_j c_j' (I + R_j Sigma R_j')^-1 c_j,      E = [Z_rest, V]'W[Z_rest, V] - sum_j c_j'c_j,

a sum of positive semi-definite terms for every Sigma: the usual ``B - C' (Sigma^-1 + S)^-1 C`` cancels where Sigma
is large. The determinant of the first factor's part is the product of those of I + R_j Sigma R_j'.

B is linear in the inverses, and groups of equal S_j share one, so B is one matrix product for many Sigma at once. For
one or two effects the inverse is an adjugate over a determinant, both known functions of Sigma, so B is linear in the
inverse determinants, one number per group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.statistics import CrossProducts
from bayesmixed.gaussian.batched import (
    conditional_root,
    gram,
    inverse_above_identity,
    lower,
    packed_size,
    quadratic_form,
    sandwich,
    unpack,
)
from bayesmixed.gaussian.units import WorkingRows

_NULL = 1e-12  # relative eigenvalue below which a direction of S_j has no data
_ALIKE = 12  # decimals, of the largest entry, to which S_j of groups that share an inverse agree
_PARTS = 4  # terms of the adjugate of two effects
_DENSE = 4_000_000  # the matrix is kept dense up to this many entries, and beyond if half of them are not zero


@dataclass(frozen=True)
class Columns:
    """The columns that are left after the first factor: the other factors' effects, then V.

    Attributes
    ----------
    factors : tuple of int
        The other factors, in the order of their columns.
    offsets : tuple of int
        First column of each; effect e of level l is column ``offset + l * q + e``.
    n_effects, n_levels : tuple of int
        Of each.
    m : int
        Number of the factors' columns.
    total : int
        m + P.
    """

    factors: tuple[int, ...]
    offsets: tuple[int, ...]
    n_effects: tuple[int, ...]
    n_levels: tuple[int, ...]
    m: int
    total: int

    @classmethod
    def of(cls, statistics: CrossProducts, factors: tuple[int, ...]) -> Columns:
        """Lay out the columns."""
        q = tuple(statistics.n_effects[f] for f in factors)
        levels = tuple(statistics.n_levels[f] for f in factors)
        ends = np.cumsum([0, *(a * b for a, b in zip(q, levels, strict=True))]).tolist()
        return cls(factors, tuple(ends[:-1]), q, levels, ends[-1], ends[-1] + len(statistics.VV))

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Effects of each factor, (q, J, ...), of values in the order of the columns, (m, ...)."""
        layout = zip(self.offsets, self.n_effects, self.n_levels, strict=True)
        return [values[at : at + q * J].reshape(J, q, *values.shape[1:]).swapaxes(0, 1) for at, q, J in layout]

    def join(self, effects: list[np.ndarray]) -> np.ndarray:
        """Inverse of `split`."""
        return np.concatenate([b.swapaxes(0, 1).reshape(-1, *b.shape[2:]) for b in effects])


@dataclass(frozen=True)
class Entries:
    """C_j column by column: the columns that occur with each group of the first factor.

    Attributes
    ----------
    level, column : numpy.ndarray of int, shape (k,)
        Sorted by level, then column.
    values : numpy.ndarray of shape (q, k)
    """

    level: np.ndarray
    column: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, statistics: CrossProducts, first: int, columns: Columns, levels: np.ndarray | None = None) -> Entries:
        """Read the cross-products of the first factor, for all levels or some distinct ones, renumbered."""
        T = statistics.T[first] if levels is None else statistics.T[first][:, :, levels]
        q, P, J = T.shape
        level = [np.tile(np.arange(J), P)]
        column = [np.repeat(columns.m + np.arange(P), J)]
        values = [T.reshape(q, P * J)]
        number = np.arange(J)
        if levels is not None:
            number = np.full(statistics.n_levels[first], -1)
            number[levels] = np.arange(J)
        for f, offset, q_f in zip(columns.factors, columns.offsets, columns.n_effects, strict=True):
            pairs = statistics.between(first, f)
            mine = number[pairs.first] >= 0
            for e in range(q_f):
                level.append(number[pairs.first[mine]])
                column.append(offset + pairs.second[mine] * q_f + e)
                values.append(pairs.products[:, e, mine])
        all_levels, all_columns = np.concatenate(level), np.concatenate(column)
        order = np.lexsort((all_columns, all_levels))
        return cls(all_levels[order], all_columns[order], np.concatenate(values, axis=1)[:, order])


@dataclass(frozen=True)
class Kinds:
    """The distinct S_j of a factor: groups with equal S_j share what follows from it.

    Attributes
    ----------
    S : numpy.ndarray of shape (q (q + 1) / 2, U)
        Packed.
    of_level : numpy.ndarray of int, shape (n_levels,)
        Position of each group's among these.
    """

    S: np.ndarray
    of_level: np.ndarray

    @classmethod
    def of(cls, S: np.ndarray) -> Kinds:
        """Find the distinct ones among the packed S_j of all groups, (q (q + 1) / 2, n_levels)."""
        scale = np.abs(S).max() or 1.0
        _, at, kind = np.unique(np.round(S / scale, _ALIKE), axis=1, return_index=True, return_inverse=True)
        return cls(S[:, at], kind.ravel())

    @cached_property
    def count(self) -> np.ndarray:
        """Number of groups with each, (U,)."""
        return np.bincount(self.of_level, minlength=self.S.shape[1]).astype(float)


@dataclass(frozen=True)
class FirstFactor:
    """The factor that is integrated out first, and its cross-products with the others.

    Attributes
    ----------
    statistics : CrossProducts
    order : tuple of int
        All factors in the order in which they are integrated out.
    columns : Columns
        Of the others.
    kinds : Kinds
    """

    statistics: CrossProducts
    order: tuple[int, ...]
    columns: Columns
    kinds: Kinds

    @classmethod
    def of(cls, statistics: CrossProducts, order: tuple[int, ...]) -> FirstFactor:
        """Prepare the first factor of an order."""
        return cls(statistics, order, Columns.of(statistics, order[1:]), Kinds.of(statistics.S[order[0]]))

    @property
    def position(self) -> int:
        """Position of the factor among the model's."""
        return self.order[0]

    @property
    def products_kept(self) -> int:
        """Upper bound of the number of entries in the matrix of `Remainder`.

        One per pair of columns that occur with a group and per entry of its inverse; groups of equal S_j share V's.
        """
        P, statistics, columns = len(self.statistics.VV), self.statistics, self.columns
        met = np.zeros(len(self.kinds.of_level), dtype=np.int64)
        for f, q in zip(columns.factors, columns.n_effects, strict=True):
            met += q * np.bincount(statistics.between(self.position, f).first, minlength=len(met))
        with_others = (met * (met + 1) // 2 + P * met).sum()
        h, kinds = self.kinds.S.shape
        return (int(with_others) + kinds * P * (P + 1) // 2) * (_PARTS if h == packed_size(2) else h)

    def entries(self) -> Entries:
        """C_j of all groups."""
        return Entries.of(self.statistics, self.position, self.columns)

    @cached_property
    def cross(self) -> list[sparse.csr_array]:
        """Z_first' W Z_rest, one (n_levels, m) matrix per effect."""
        entries = self.entries()
        keep = entries.column < self.columns.m
        at = (entries.level[keep], entries.column[keep])
        shape = (len(self.kinds.of_level), self.columns.m)
        return [sparse.csr_array((values[keep], at), shape) for values in entries.values]

    def without(self, rows: WorkingRows, root: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eliminate the factor from some rows, for roots of Sigma, (q, q, N).

        Returns
        -------
        g : numpy.ndarray of shape (q, n, N)
            M_j z_i, M_j = (Sigma^-1 + S_j)^-1.
        left : numpy.ndarray of shape (P, n, N)
            What is left of V.
        variance : numpy.ndarray of shape (n, N)
            z_i' M_j z_i.
        """
        kinds, place = np.unique(self.kinds.of_level[rows.codes[0]], return_inverse=True)
        S = unpack(self.kinds.S[:, kinds], len(root))
        F, _ = conditional_root(S[..., None], root[:, :, None])
        g, variance = quadratic_form(F[:, :, place], rows.Z[0][..., None])
        T = self.statistics.T[self.position][:, :, rows.codes[0], None]
        return g, rows.V[..., None] - (g[:, None] * T).sum(axis=0), variance


@dataclass(frozen=True)
class Inverses:
    """(I + R_j Sigma R_j')^-1 of the distinct S_j = R_j'R_j, for any Sigma.

    Attributes
    ----------
    kinds : Kinds
    R : numpy.ndarray of shape (U, q, q)
        w^(1/2) Q'.
    white : numpy.ndarray of shape (U, q, q)
        w^(-1/2) Q', zero in the directions without data: turns C_j into c_j.
    spread : numpy.ndarray of shape (q (q + 1) / 2, U, q (q + 1) / 2)
        Packed R Sigma R' from packed Sigma.
    """

    kinds: Kinds
    R: np.ndarray
    white: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, kinds: Kinds, q: int) -> Inverses:
        """Factorise the distinct S_j."""
        w, Q = np.linalg.eigh(np.moveaxis(unpack(kinds.S, q), -1, 0))
        keep = w > _NULL * w[:, -1:]
        w = np.where(keep, w, 0.0)
        R = np.sqrt(w)[:, :, None] * np.swapaxes(Q, 1, 2)
        white = np.divide(1, np.sqrt(w), out=np.zeros_like(w), where=keep)[:, :, None] * np.swapaxes(Q, 1, 2)
        return cls(kinds, R, white, sandwich(R))

    def at(self, root: np.ndarray, packed: np.ndarray, kinds: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Packed inverses for some kinds, (q (q + 1) / 2, k, N), and log determinants of what is inverted, (k, N).

        `root` holds roots of Sigma, (q, q, N), and `packed` Sigma itself, (q (q + 1) / 2, N).
        """
        q = len(root)
        A = self.spread[:, kinds] @ packed
        det = self.determinants(root, packed, kinds) if q == 2 else None
        for at, (i, j) in enumerate(lower(q)):
            if i == j:
                A[at] += 1
        return inverse_above_identity(A, q, det)

    def determinants(self, root: np.ndarray, packed: np.ndarray, kinds: slice = slice(None)) -> np.ndarray:
        """Determinants of what is inverted, (k, N), for one or two effects; arguments as of `at`.

        det(I + S Sigma) = 1 + tr(S Sigma) + det S det Sigma, without cancellation.
        """
        of_sigma = [np.ones((1, root.shape[2])), packed]
        if len(root) == 2:
            of_sigma.append(np.square(root[0, 0] * root[1, 1] - root[0, 1] * root[1, 0])[None])
        return self._of_determinants[kinds] @ np.concatenate(of_sigma)

    @cached_property
    def _of_determinants(self) -> np.ndarray:
        """Coefficients of 1, packed Sigma and det Sigma, (U, .)."""
        S, one = self.kinds.S, np.ones((1, self.kinds.S.shape[1]))
        if len(S) == 1:
            return np.concatenate([one, S]).T
        trace = (self.spread[0] + self.spread[2]).T
        return np.concatenate([one, trace, np.maximum(S[0] * S[2] - np.square(S[1]), 0.0)[None]]).T


@dataclass(frozen=True)
class Remainder:
    """B, the cross-products that are left after the first factor.

    Attributes
    ----------
    targets : numpy.ndarray of int, shape (t,)
        The entries of B that are not always zero, as ``row * total + column``, row >= column; sorted.
    linear : numpy.ndarray or sparse array
        For q >= 3, of shape (t, q (q + 1) / 2 * U): B's entries are ``constant + linear @ inverses``. Otherwise of
        shape (parts * t, U), with a part for each term of the adjugate (1 and packed Sigma, or only 1): B's entries are
        ``constant + sum(term * (part @ (1 / determinants)))``.
    constant : numpy.ndarray of shape (t,)
        E.
    inverses : Inverses
    """

    targets: np.ndarray
    linear: np.ndarray | sparse.csr_array
    constant: np.ndarray
    inverses: Inverses

    @classmethod
    def of(cls, first: FirstFactor) -> Remainder:
        """Prepare the matrix."""
        statistics, columns, kinds = first.statistics, first.columns, first.kinds
        q = statistics.n_effects[first.position]
        inverses = Inverses.of(kinds, q)
        products = _products(first.entries(), inverses.white, kinds.of_level, columns.total)
        targets, before = products_of_rest(statistics, columns)
        every = np.unique(np.concatenate([targets, *(target for target, _, _ in products)]))
        if q == 2:
            products = [(target, kind, _over_determinant(inverses, kind, some)) for target, kind, some in products]
        linear = _assemble(products, every, q, kinds.S.shape[1])
        at_zero = np.repeat([float(i == j) for i, j in lower(q if q > 2 else 1)], kinds.S.shape[1])
        constant = -(linear[: len(every)] @ at_zero)  # Sigma = 0: all inverses are I
        constant[np.searchsorted(every, targets)] += before
        constant = np.where(every // columns.total == every % columns.total, np.maximum(constant, 0.0), constant)
        return cls(every, linear, constant, inverses)

    @property
    def size(self) -> int:
        """Size of one evaluation's working arrays."""
        inverses = self.linear.shape[1] // len(self.inverses.R)
        return self.linear.shape[0] + 3 * inverses * min(len(self.inverses.R), allowed().kinds)

    @property
    def flops(self) -> float:
        """Approximate floating point operations of one evaluation."""
        return 2.0 * self.linear.size + 10 * self.linear.shape[1]  # for a sparse array, `size` counts its entries

    def reduce(self, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of B at the targets, (t, N), and the log determinant, (N,), for roots of Sigma, (q, q, N)."""
        q, _, N = root.shape
        U = self.inverses.kinds.S.shape[1]
        values, log_det, packed = np.zeros((self.linear.shape[0], N)), np.zeros(N), gram(root)
        together = U if sparse.issparse(self.linear) else allowed().kinds  # sparse arrays are slow to slice
        for kinds in chunks(U, 1, together):
            if q > 2:
                inverse, log_det_kinds = self.inverses.at(root, packed, kinds)
            else:
                inverse, log_det_kinds = 1 / (det := self.inverses.determinants(root, packed, kinds))[None], np.log(det)
            log_det += self.inverses.kinds.count[kinds] @ log_det_kinds
            if together >= U:
                values += self.linear @ inverse.reshape(-1, N)
            else:
                for e, mine in enumerate(inverse):
                    values += self.linear[:, e * U + kinds.start : e * U + kinds.stop] @ mine
        if q == 2:
            first, *others = values.reshape(_PARTS, -1, N)
            values = first + sum(map(np.multiply, packed, others))
        return values + self.constant[:, None], log_det


def pairs_within(level: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions (a, b), b <= a, of all pairs of entries of one level, a few levels at a time."""
    starts = np.searchsorted(level, level)  # of each entry's level
    partners = np.arange(len(level)) - starts + 1
    group = (np.cumsum(partners) - 1) // allowed().working
    for rows in np.split(np.arange(len(level)), np.flatnonzero(np.diff(group)) + 1):
        count = partners[rows]
        a = np.repeat(rows, count)
        within = np.arange(len(a)) - np.repeat(np.cumsum(count) - count, count)
        yield a, starts[a] + within


def _products(
    entries: Entries, inverse: np.ndarray, kind: np.ndarray, total: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Sums over groups of c_j c_j', as triples (target (k,), kind (k,), packed values (h, k))."""
    q, U = entries.values.shape[0], len(inverse)
    of_entry = kind[entries.level]
    c = np.stack([(inverse[of_entry, e].T * entries.values).sum(axis=0) for e in range(q)])
    found = []
    for a, b in pairs_within(entries.level):
        key = (entries.column[a].astype(np.int64) * total + entries.column[b]) * U + of_entry[a]
        keys, place = np.unique(key, return_inverse=True)
        values = [c[i][a] * c[j][b] + (c[j][a] * c[i][b] if i != j else 0.0) for i, j in lower(q)]
        found.append((keys // U, keys % U, np.stack([np.bincount(place, v, len(keys)) for v in values])))
    return found


def _over_determinant(inverses: Inverses, kind: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients of packed inverses of two effects, (3, k), as those of the terms of their adjugates, (4, k).

    Of I + N, N = R Sigma R', these are 1 + n_11, -n_10 and 1 + n_00.
    """
    n00, n10, n11 = inverses.spread[:, kind]
    of_sigma = values[0, :, None] * n11 - values[1, :, None] * n10 + values[2, :, None] * n00
    return np.concatenate([(values[0] + values[2])[None], of_sigma.T])


def _assemble(
    products: list[tuple[np.ndarray, np.ndarray, np.ndarray]], targets: np.ndarray, q: int, U: int
) -> np.ndarray | sparse.csr_array:
    """`Remainder.linear`, from its values for each target and kind."""
    t, h = len(targets), len(products[0][2])
    # packed inverses are side by side, the terms of an adjugate below each other
    down, right, shape = (0, U, (t, h * U)) if q > 2 else (t, 0, (h * t, U))
    each = np.arange(h)[:, None]
    rows = np.concatenate([(np.searchsorted(targets, target) + down * each).ravel() for target, _, _ in products])
    columns = np.concatenate([(kind + right * each).ravel() for _, kind, _ in products])
    values = np.concatenate([some.ravel() for _, _, some in products])
    matrix = sparse.csr_array((values, (rows, columns)), shape)
    return matrix.toarray() if shape[0] * shape[1] <= max(_DENSE, 2 * matrix.nnz) else matrix


def products_of_rest(statistics: CrossProducts, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Targets and values of [Z_rest, V]'W[Z_rest, V], lower triangle."""
    rows, cols, values = [], [], []

    def add(row: np.ndarray, column: np.ndarray, value: np.ndarray) -> None:
        row, column = np.broadcast_arrays(row, column)
        rows.append(np.maximum(row, column).ravel())
        cols.append(np.minimum(row, column).ravel())
        values.append(value.ravel())

    P = len(statistics.VV)
    v = columns.m + np.arange(P)
    for i, j in lower(P):
        add(v[i : i + 1], v[j : j + 1], statistics.VV[i : i + 1, j])
    layout = list(zip(columns.factors, columns.offsets, columns.n_effects, columns.n_levels, strict=True))
    for at, (f, offset, q, J) in enumerate(layout):
        own = offset + q * np.arange(J)
        for of, (i, j) in enumerate(lower(q)):
            add(own + i, own + j, statistics.S[f][of])
        for e in range(q):
            add(v[:, None], own + e, statistics.T[f][e])
        for g, offset_g, q_g, _ in layout[:at]:
            pairs = statistics.between(f, g)
            for e in range(q):
                for k in range(q_g):
                    add(offset + pairs.first * q + e, offset_g + pairs.second * q_g + k, pairs.products[e, k])
    target = np.concatenate(rows).astype(np.int64) * columns.total + np.concatenate(cols)
    order = np.argsort(target)
    return target[order], np.concatenate(values)[order]
