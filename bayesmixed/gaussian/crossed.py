"""Integrate out the largest of several crossed factors, then all the others together.

Their m columns have fill-in: B_zz, their cross-products after the first elimination, is dense, and so is the Cholesky
factor of I + L' B_zz L, where L holds a root of each factor's Sigma on its diagonal blocks. The Schur complement of the
bordering V is G (Bates, Alday & Kokandakar, 2025, Mixed-model log-likelihood evaluation via a blocked Cholesky
factorization, arXiv 2505.11674).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf

from bayesmixed.gaussian.batched import back_substitute, eliminate, log_det
from bayesmixed.gaussian.first_factor import Columns, FirstFactor, Remainder
from bayesmixed.gaussian.units import WorkingRows

_LAPACK = 12  # columns from which LAPACK, matrix by matrix, is faster than elimination of all at once


@dataclass(frozen=True)
class Crossed:
    """Two or more factors of any structure, all except the first in one dense matrix; an `Elimination`.

    Attributes
    ----------
    first : FirstFactor
    remainder : Remainder
    rows, cols : numpy.ndarray of int, shape (t,)
        Positions of the targets in the lower triangle of the (m + P)-square matrix.
    """

    first: FirstFactor
    remainder: Remainder
    rows: np.ndarray
    cols: np.ndarray

    @classmethod
    def of(cls, first: FirstFactor) -> Crossed:
        """Read the positions of the targets."""
        remainder = Remainder.of(first)
        return cls(first, remainder, *np.divmod(remainder.targets, first.columns.total))

    @property
    def columns(self) -> Columns:
        """Of the later factors."""
        return self.first.columns

    @property
    def size(self) -> int:
        """See `Elimination.size`."""
        return self.remainder.size + 2 * self.columns.total**2

    @property
    def flops(self) -> float:
        """See `Elimination.flops`."""
        return self.remainder.flops + self.columns.m**3 / 3 + 10.0 * self.columns.total**2

    @property
    def largest(self) -> int:
        """See `Elimination.largest`."""
        return self.columns.total

    @property
    def row_size(self) -> int:
        """See `Elimination.row_size`."""
        return self.columns.m

    def reduce(self, roots: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """See `Elimination.reduce`."""
        factorised, log_det_first = self._eliminate(roots)
        return factorised.G, log_det_first + log_det(factorised.R)

    def factorise(self, roots: list[np.ndarray]) -> CrossedFactors:
        """See `Elimination.factorise`."""
        return self._eliminate(roots)[0]

    def _eliminate(self, roots: list[np.ndarray]) -> tuple[CrossedFactors, np.ndarray]:
        """Eliminate all factors; also returns the log determinant of the first one's part, (N,)."""
        root, later = roots[self.first.position], [roots[f] for f in self.columns.factors]
        values, log_det_first = self.remainder.reduce(root)
        m, matrix = self.columns.m, self._matrix(values, later)
        if m >= _LAPACK:
            return CrossedFactors(self.first, *_lapack(matrix, m), root, later), log_det_first
        below = np.tril_indices(self.columns.total, -1)
        matrix[below[::-1]] = matrix[below]
        rows, G = eliminate(matrix, m, least=1.0)
        return CrossedFactors(self.first, G, rows[:, :m], rows[:, m:], root, later), log_det_first

    def _matrix(self, values: np.ndarray, roots: list[np.ndarray]) -> np.ndarray:
        """[I + L'B_zz L, .; B_vz L, B_vv], at least its lower triangle, shape (m + P, m + P, N)."""
        k, N = self.columns.total, values.shape[1]
        by_point = self.columns.m >= _LAPACK  # LAPACK needs each point's matrix to be contiguous
        matrix = np.moveaxis(np.zeros((N, k, k)), 0, -1) if by_point else np.zeros((k, k, N))
        if all(q == 1 for q in self.columns.n_effects):  # L is diagonal, and scales entry by entry
            scale = np.ones((k, N))
            for root, offset, _, J in self._layout(roots):
                scale[offset : offset + J] = root[0, 0]
            matrix[self.rows, self.cols] = values * scale[self.rows] * scale[self.cols]
        else:  # L combines entries of both triangles of a diagonal block
            matrix[self.rows, self.cols] = values
            matrix[self.cols, self.rows] = values
            for side in (matrix, matrix.swapaxes(0, 1)):
                self._times_roots(side, roots)
        diagonal = np.arange(self.columns.m)
        matrix[diagonal, diagonal] += 1
        return matrix

    def _times_roots(self, rows: np.ndarray, roots: list[np.ndarray]) -> None:
        """Multiply a matrix, (m + P, ...), by L' from the left, in place."""
        for root, offset, q, J in self._layout(roots):
            blocks = [rows[offset + e : offset + q * J : q].copy() for e in range(q)]
            for e in range(q):
                rows[offset + e : offset + q * J : q] = sum(block * root[i, e] for i, block in enumerate(blocks))

    def _layout(self, roots: list[np.ndarray]) -> zip:
        columns = self.columns
        return zip(roots, columns.offsets, columns.n_effects, columns.n_levels, strict=True)


def _lapack(matrix: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Schur complement G, and Cholesky rows R_zz and R_zv, of matrices (k, k, N), whose lower triangle is read.

    Rounding may leave no factor far out, where lambda is huge: the diagonal is then set to infinity, and so is the log
    determinant, which rules the point out.
    """
    k, N = matrix.shape[1:]
    G, right = np.empty((k - m, k - m, N)), np.empty((m, k - m, N))
    L = np.empty((N, m, m))
    for n in range(N):
        # the lower triangle of an array in C order is the upper one of LAPACK's, in Fortran order
        R, info = dpotrf(matrix[:m, :m, n].T, lower=0, clean=1)
        if info:
            L[n], right[:, :, n], G[:, :, n] = np.diag(np.full(m, np.inf)), 0.0, np.eye(k - m)
            continue
        L[n] = R.T  # as laid out in memory
        right[:, :, n] = solve_triangular(R, matrix[m:, :m, n].T, trans="T", check_finite=False)
        corner = matrix[m:, m:, n]
        G[:, :, n] = np.tril(corner) + np.tril(corner, -1).T - right[:, :, n].T @ right[:, :, n]
    return G, L.transpose(2, 1, 0), right


@dataclass(frozen=True)
class CrossedFactors:
    """Crossed factors after elimination; a `Factorised`.

    Attributes
    ----------
    first : FirstFactor
    G : numpy.ndarray of shape (P, P, N)
    R : numpy.ndarray of shape (m, m, N)
        Cholesky factor, ``R'R = I + L'B_zz L``.
    right : numpy.ndarray of shape (m, P, N)
        R^-T L' B_zv.
    root : numpy.ndarray of shape (q, q, N)
        Of the first factor's Sigma.
    later : list of numpy.ndarray of shape (q, q, N)
        The same for the later factors.
    """

    first: FirstFactor
    G: np.ndarray
    R: np.ndarray
    right: np.ndarray
    root: np.ndarray
    later: list[np.ndarray]

    def draw(
        self, gamma: np.ndarray, sigma: np.ndarray, normals: list[np.ndarray], which: np.ndarray
    ) -> list[np.ndarray]:
        """See `Factorised.draw`."""
        # R u = right_y - right_x gamma + sigma z
        known = self.right[..., which]
        goal = known[:, -1] - (known[:, :-1] * gamma).sum(axis=1) + sigma * self.first.columns.join(normals)
        if len(goal) < _LAPACK:
            u = back_substitute(self.R[..., which], goal)
        else:
            u = np.empty_like(goal)
            for n in range(self.G.shape[2]):
                mine = np.flatnonzero(which == n)
                u[:, mine] = solve_triangular(self.R[:, :, n], goal[:, mine], check_finite=False)
        by_factor = zip(self.later, self.first.columns.split(u), strict=True)
        return [(root[:, :, None, which] * own).sum(axis=1) for root, own in by_factor]

    def without(self, rows: WorkingRows) -> tuple[np.ndarray, np.ndarray]:
        """See `Factorised.without`; the later factors go together.

        Their columns of a row are r = a - sum_e g_e C_e: a holds its own z, C_e the cross-products of its level of the
        first factor. The variance is |H'r|^2, and V loses Q'r (`_covariances`, of every point).
        """
        columns = self.first.columns
        g, left, variance = self.first.without(rows, self.root)
        layout = zip(columns.offsets, columns.n_effects, rows.codes[1:], strict=True)
        at = np.concatenate([offset + codes * q + np.arange(q)[:, None] for offset, q, codes in layout])
        a = np.concatenate(rows.Z[1:])
        levels, place = np.unique(rows.codes[0], return_inverse=True)
        C = [of_effect[levels] for of_effect in self.first.cross]
        later = np.empty(variance.shape)
        for n, (H, Q) in enumerate(self._covariances):
            turned, taken = (sum(value[:, None] * M[own] for value, own in zip(a, at, strict=True)) for M in (H, Q))
            for weight, of_effect in zip(g[:, :, n], C, strict=True):
                turned -= weight[:, None] * (of_effect @ H)[place]
                taken -= weight[:, None] * (of_effect @ Q)[place]
            later[:, n] = np.square(turned).sum(axis=1)  # not r'H H'r term by term, which cancels
            left[:, :, n] -= taken.T
        return left, variance + later

    @cached_property
    def _covariances(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each point, a root H (m, m) of the covariance of the later effects, and Q = H H' B_zv, (m, P).

        The covariance is divided by sigma^2, given the common effects and with the first factor integrated out.
        """
        columns, found = self.first.columns, []
        for n in range(self.G.shape[2]):
            inverse = solve_triangular(self.R[:, :, n], np.eye(columns.m), check_finite=False)
            by_factor = zip(self.later, columns.split(inverse), strict=True)
            H = columns.join([np.tensordot(root[:, :, n], own, 1) for root, own in by_factor])  # L R^-1
            found.append((H, H @ self.right[:, :, n]))
        return found
