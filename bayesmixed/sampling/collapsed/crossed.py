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

from bayesmixed.sampling.collapsed.batched import back_substitute, eliminate, log_det
from bayesmixed.sampling.collapsed.elimination import Columns

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
        rows, G = self._cholesky(values, roots)
        return G, log_det(rows)

    def factor(self, values: np.ndarray, roots: list[np.ndarray]) -> CrossedFactors:
        """Eliminate, and keep what drawing the effects needs."""
        rows, G = self._cholesky(values, roots)
        return CrossedFactors(self.columns, G, rows, roots)

    def _cholesky(self, values: np.ndarray, roots: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky rows [R_zz, R_zv], (m, m + P, N), and G."""
        m = self.columns.m
        matrix = self._matrix(values, roots)
        if m >= _LAPACK:
            R = _upper(matrix)
            if R is not None:
                return R[:m], np.einsum("ian,ibn->abn", R[m:, m:], R[m:, m:])
        below = np.tril_indices(self.columns.total, -1)
        matrix[below[::-1]] = matrix[below]
        return eliminate(matrix, m, least=1.0)

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


def _upper(matrices: np.ndarray) -> np.ndarray | None:
    """Cholesky factors R of ``R'R = matrix``, (k, k, N), of which the lower triangles are read; None if one has none.

    One has none where columns of V determine others.
    """
    L = np.empty((matrices.shape[2], *matrices.shape[:2]))
    for n in range(len(L)):
        # the lower triangle of an array in C order is the upper one of LAPACK's, in Fortran order
        R, info = dpotrf(matrices[:, :, n].T, lower=0, clean=1)
        if info:
            return None
        L[n] = R.T  # as it lies in memory
    return L.transpose(2, 1, 0)


@dataclass(frozen=True)
class CrossedFactors:
    """An elimination whose effects can be drawn.

    Attributes
    ----------
    G : numpy.ndarray of shape (P, P, N)
    rows : numpy.ndarray of shape (m, m + P, N)
        Cholesky rows [R_zz, R_zv].
    roots : list of numpy.ndarray of shape (q, q, N)
    """

    columns: Columns
    G: np.ndarray
    rows: np.ndarray
    roots: list[np.ndarray]

    def draw(
        self, gamma: np.ndarray, sigma: np.ndarray, normals: list[np.ndarray], which: np.ndarray
    ) -> list[np.ndarray]:
        """Effects given the common ones; as `NestedFactors.draw`."""
        # columns of the matrix: level after level, effect within level
        z = np.concatenate([n.swapaxes(0, 1).reshape(-1, n.shape[2]) for n in normals])
        u = self._solve(gamma, sigma, z, which)
        drawn = []
        columns = self.columns
        for root, offset, q, J in zip(self.roots, columns.offsets, columns.n_effects, columns.n_levels, strict=True):
            own = u[offset : offset + q * J].reshape(J, q, -1).swapaxes(0, 1)
            drawn.append((root[:, :, None, which] * own).sum(axis=1))
        return drawn

    def _solve(self, gamma: np.ndarray, sigma: np.ndarray, z: np.ndarray, which: np.ndarray) -> np.ndarray:
        """The u of ``R_zz u = (R_zy - R_zx gamma) / sigma + z``, times sigma; shape (m, S)."""
        m = self.columns.m
        if m < _LAPACK:
            rows = self.rows[..., which]
            return back_substitute(rows, rows[:, -1] - (rows[:, m:-1] * gamma).sum(axis=1) + sigma * z)
        u = np.empty_like(z)
        for n in range(self.G.shape[2]):
            mine = np.flatnonzero(which == n)
            rows = self.rows[:, :, n]
            right = rows[:, -1:] - rows[:, m:-1] @ gamma[:, mine] + sigma[mine] * z[:, mine]
            u[:, mine] = solve_triangular(rows[:, :m], right, check_finite=False)
        return u
