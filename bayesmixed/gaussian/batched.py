"""Small matrices, one per parameter point: the trailing axes are the batch, and every step is one array operation.

Symmetric matrices are passed as their lower triangle, *packed*: entry (i, j), i >= j, at position i (i + 1) / 2 + j.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, reduce
from operator import add

import numpy as np


def total(terms: Iterable[np.ndarray]) -> np.ndarray:
    """Sum of arrays, at least one: `sum` would begin by adding the first to 0."""
    return reduce(add, terms)


def lower(q: int) -> list[tuple[int, int]]:
    """Positions (i, j) of a packed symmetric q x q matrix.

    Examples
    --------
    >>> lower(2)
    [(0, 0), (1, 0), (1, 1)]
    """
    return [(i, j) for i in range(q) for j in range(i + 1)]


def packed_size(q: int) -> int:
    """Number of entries of a packed q x q matrix."""
    return q * (q + 1) // 2


@lru_cache(maxsize=16)
def lower_indices(q: int) -> tuple[np.ndarray, np.ndarray]:
    """`lower` as index arrays: rows and columns, each (q (q + 1) / 2,)."""
    rows, columns = np.tril_indices(q)
    rows.flags.writeable = columns.flags.writeable = False  # the next call returns the same
    return rows, columns


@lru_cache(maxsize=16)
def _places(q: int) -> np.ndarray:
    """Where a packed q x q matrix has each entry, (q, q)."""
    places, (rows, columns) = np.zeros((q, q), dtype=int), lower_indices(q)
    places[rows, columns] = places[columns, rows] = np.arange(packed_size(q))
    places.flags.writeable = False
    return places


def pack(matrix: np.ndarray) -> np.ndarray:
    """Lower triangle of matrices of shape (q, q, ...), as (q (q + 1) / 2, ...)."""
    return matrix[lower_indices(len(matrix))]


def unpack(packed: np.ndarray, q: int) -> np.ndarray:
    """Inverse of `pack`: symmetric matrices of shape (q, q, ...)."""
    return packed[_places(q)]


def gram(root: np.ndarray) -> np.ndarray:
    """Packed ``root root'`` of matrices of shape (q, q, ...)."""
    return np.stack([(root[i] * root[j]).sum(axis=0) for i, j in lower(len(root))])


def sandwich(R: np.ndarray) -> np.ndarray:
    """The linear map from packed Sigma to packed R Sigma R', (h, U, h), for every R of shape (U, q, q)."""
    q = R.shape[1]
    result = np.zeros((packed_size(q), len(R), packed_size(q)))
    for at, (i, j) in enumerate(lower(q)):
        for of, (k, m) in enumerate(lower(q)):
            result[at, :, of] = R[:, i, k] * R[:, j, m] + (R[:, i, m] * R[:, j, k] if k != m else 0.0)
    return result


def inverse_above_identity(packed: np.ndarray, q: int, det: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Inverse and log determinant of A = I + (positive semi-definite), both packed in and out.

    Parameters
    ----------
    packed : numpy.ndarray of shape (q (q + 1) / 2, ...)
        Overwritten.
    q : int
    det : numpy.ndarray of shape (...), optional
        det A, if the caller knows it without cancellation; used for q = 2.

    Returns
    -------
    inverse : numpy.ndarray of shape (q (q + 1) / 2, ...)
    log_det : numpy.ndarray of shape (...)

    Notes
    -----
    No pivot of such a matrix is below 1; pivots that are, through rounding, are corrected, so this never fails.
    """
    if q == 1:
        return 1 / packed, np.log(packed[0])
    if q == 2:
        a, b, c = packed
        det = np.maximum(a * c - b * b, 1.0) if det is None else det
        over = 1 / det
        b *= -over
        packed[0], packed[2] = c * over, a * over
        return packed, np.log(det)
    A = unpack(packed, q)
    det = np.ones(A.shape[2:])
    log_det = np.zeros(A.shape[2:])
    for k in range(q):  # the sweep operator: after all pivots A holds -A^-1
        pivot = np.maximum(A[k, k], 1.0)
        det = det * pivot
        if k % 8 == 7:  # before a product of pivots could overflow
            log_det, det = log_det + np.log(det), np.ones_like(det)
        row = A[k] / pivot
        A -= A[:, k, None] * row[None]
        A[k] = A[:, k] = row
        A[k, k] = -1 / pivot
    return -pack(A), log_det + np.log(det)


def eliminate(matrix: np.ndarray, m: int, least: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Cholesky-eliminate the first m rows of symmetric matrices.

    Parameters
    ----------
    matrix : numpy.ndarray of shape (k, k, ...)
        Overwritten.
    m : int
    least : float, default=0.0
        Smallest pivot, if theory provides one.

    Returns
    -------
    rows : numpy.ndarray of shape (m, k, ...)
        Upper Cholesky rows R: the first m columns are triangular, and ``R'R`` has the first m rows of `matrix`.
    rest : numpy.ndarray of shape (k - m, k - m, ...)
        Schur complement.
    """
    rows = np.zeros((m, *matrix.shape[1:]))
    for i in range(m):
        pivot = np.sqrt(np.maximum(matrix[i, i], least))
        rows[i, i] = pivot
        rows[i, i + 1 :] = matrix[i, i + 1 :] / pivot
        matrix[i + 1 :, i + 1 :] -= rows[i, i + 1 :, None] * rows[i, None, i + 1 :]
    return rows, matrix[m:, m:]


def log_det(rows: np.ndarray) -> np.ndarray:
    """Log determinant of the matrices whose Cholesky rows are `rows`, (m, >= m, ...)."""
    diagonal = np.arange(len(rows))
    return 2 * np.log(rows[diagonal, diagonal]).sum(axis=0)


def back_substitute(rows: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve ``R x = right`` with upper triangular R, (m, >= m, ...), and right of shape (m, ...)."""
    x = np.zeros(np.broadcast_shapes(rows[:, 0].shape, right.shape)) if len(rows) else right
    for i in reversed(range(len(rows))):
        x[i] = (right[i] - (rows[i, i + 1 : len(rows)] * x[i + 1 :]).sum(axis=0)) / rows[i, i]
    return x


def conditional_root(S: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A root F of one group's conditional covariance, F F' = (Sigma^-1 + S)^-1, and log det (I + S Sigma).

    With Sigma = root root' and I + root' S root = R R' (Cholesky), F = root R^-T: no inverse of Sigma is needed, so a
    variance of zero is allowed.

    Parameters
    ----------
    S : numpy.ndarray of shape (q, q, ...)
    root : numpy.ndarray of shape (q, q, ...)
        Batch axes that broadcast with those of S.

    Returns
    -------
    F : numpy.ndarray of shape (q, q, ...)
    log_det : numpy.ndarray of shape (...)

    Notes
    -----
    Elementwise throughout: to the last bit, a point's numbers do not depend on the other points of the call.
    """
    q = len(S)
    SL = [[total(S[i, k] * root[k, j] for k in range(q)) for j in range(q)] for i in range(q)]
    F = np.empty((q, q, *np.broadcast_shapes(S.shape[2:], root.shape[2:])))
    R: list[list[np.ndarray]] = []
    det: np.ndarray | float = 1.0
    for i in range(q):
        R.append([])
        for j in range(i + 1):
            value = total(root[k, i] * SL[k][j] for k in range(q))
            for k in range(j):
                value = value - R[i][k] * R[j][k]
            R[i].append(value / R[j][j] if j < i else np.sqrt(np.maximum(value + 1, 1.0)))
        det = det * R[i][i]
    for j in range(q):  # F R' = root, column by column
        for i in range(q):
            value = root[i, j]
            for k in range(j):
                value = value - F[i, k] * R[j][k]
            F[i, j] = value / R[j][j]
    return F, 2 * np.log(det)


def conditional_effects(F: np.ndarray, t: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Effects with mean F F' t and root F of their covariance, ``F (F' t + noise)``; elementwise.

    Parameters
    ----------
    F : numpy.ndarray of shape (q, q, ...)
    t, noise : numpy.ndarray of shape (q, ...)
    """
    q = len(F)
    inner = [total(F[k, e] * t[k] for k in range(q)) + noise[e] for e in range(q)]
    return np.stack([total(F[e, k] * inner[k] for k in range(q)) for e in range(q)])


def quadratic_form(F: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """M z, (q, ...), and z'M z, (...), for M = F F', F of shape (q, q, ...) and z of shape (q, ...)."""
    inner = (F * z[:, None]).sum(axis=0)
    return (F * inner).sum(axis=1), np.square(inner).sum(axis=0)
