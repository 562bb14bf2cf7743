"""Integrate out the factors that are left when the largest of crossed ones is gone, all together.

Their m columns fill up: B_zz, their cross-products after the first elimination, is dense, and so is the Cholesky
factor of I + L' B_zz L, where L holds a root of each factor's Sigma on its diagonal blocks. The Schur complement of the
bordering V is G (Bates, Alday & Kokandakar, 2025, Mixed-model log-likelihood evaluation via a blocked Cholesky
factorization, arXiv 2505.11674).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf

from bayesmixed.gaussian.batched import back_substitute, eliminate, log_det
from bayesmixed.gaussian.elimination import Columns

_LAPACK = 12  # columns from which LAPACK, matrix by matrix, is faster than elimination of all at once


@dataclass(frozen=True)
class Crossed:
    """The factors beside the first, in one dense matrix.

    Attributes
    ----------
    columns : Columns
    rows, cols : numpy.ndarray of int, shape (t,)
        Where the targets stand in the lower triangle of the (m + P)-square matrix.
    """

    columns: Columns
    rows: np.ndarray
    cols: np.ndarray

    @classmethod
    def of(cls, columns: Columns, targets: np.ndarray) -> Crossed:
        """Read the places of the targets."""
        return cls(columns, targets // columns.total, targets % columns.total)

    @property
    def size(self) -> int:
        """Numbers of one evaluation's working arrays."""
        return 2 * self.columns.total**2

    @property
    def flops(self) -> float:
        """Floating point operations of one evaluation, roughly."""
        return self.columns.m**3 / 3 + 10.0 * self.columns.total**2

    def reduce(self, values: np.ndarray, roots: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """G = V' V_lambda^-1 V, (P, P, N), and log determinant, (N,), of the entries of B and the roots of Sigma."""
        factored = self.factor(values, roots)
        return factored.G, log_det(factored.R)

    def factor(self, values: np.ndarray, roots: list[np.ndarray]) -> CrossedFactors:
        """Eliminate, and keep what drawing the effects needs."""
        m = self.columns.m
        matrix = self._matrix(values, roots)
        if m >= _LAPACK:
            return CrossedFactors(self.columns, *_lapack(matrix, m), roots)
        below = np.tril_indices(self.columns.total, -1)
        matrix[below[::-1]] = matrix[below]
        rows, G = eliminate(matrix, m, least=1.0)
        return CrossedFactors(self.columns, G, rows[:, :m], rows[:, m:], roots)

    def _matrix(self, values: np.ndarray, roots: list[np.ndarray]) -> np.ndarray:
        """[I + L'B_zz L, .; B_vz L, B_vv], its lower triangle at least, shape (m + P, m + P, N)."""
        k, N = self.columns.total, values.shape[1]
        by_point = self.columns.m >= _LAPACK  # LAPACK wants each point's matrix in one piece
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

    Rounding may leave no factor far out, where lambda is huge: its diagonal is infinite there, and so is the log
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
        L[n] = R.T  # as it lies in memory
        right[:, :, n] = solve_triangular(R, matrix[m:, :m, n].T, trans="T", check_finite=False)
        corner = matrix[m:, m:, n]
        G[:, :, n] = np.tril(corner) + np.tril(corner, -1).T - right[:, :, n].T @ right[:, :, n]
    return G, L.transpose(2, 1, 0), right


@dataclass(frozen=True)
class CrossedFactors:
    """An elimination whose effects can be drawn.

    Attributes
    ----------
    columns : Columns
    G : numpy.ndarray of shape (P, P, N)
    R : numpy.ndarray of shape (m, m, N)
        Cholesky factor, ``R'R = I + L'B_zz L``.
    right : numpy.ndarray of shape (m, P, N)
        R^-T L' B_zv.
    roots : list of numpy.ndarray of shape (q, q, N)
    """

    columns: Columns
    G: np.ndarray
    R: np.ndarray
    right: np.ndarray
    roots: list[np.ndarray]

    def draw(
        self, gamma: np.ndarray, sigma: np.ndarray, normals: list[np.ndarray], which: np.ndarray
    ) -> list[np.ndarray]:
        """Effects given the common ones; as `NestedFactors.draw`."""
        # R u = right_y - right_x gamma + sigma z
        known = self.right[..., which]
        goal = known[:, -1] - (known[:, :-1] * gamma).sum(axis=1) + sigma * self.columns.join(normals)
        if len(goal) < _LAPACK:
            u = back_substitute(self.R[..., which], goal)
        else:
            u = np.empty_like(goal)
            for n in range(self.G.shape[2]):
                mine = np.flatnonzero(which == n)
                u[:, mine] = solve_triangular(self.R[:, :, n], goal[:, mine], check_finite=False)
        by_factor = zip(self.roots, self.columns.split(u), strict=True)
        return [(root[:, :, None, which] * own).sum(axis=1) for root, own in by_factor]
