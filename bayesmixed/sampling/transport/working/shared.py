"""The shared columns at many points: crossed factors' effects and common effects, in one dense matrix.

With L a root of their prior covariance and H what is left of their cross-products when the nested factors are
integrated out, ``I + L'H L = R'R``, with no pivot below one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs

from bayesmixed.gaussian.batched import back_substitute, eliminate, log_det
from bayesmixed.sampling.transport.constants import LAPACK
from bayesmixed.sampling.transport.working.layout import Layout


@dataclass(frozen=True)
class Roots:
    """L, a root of the shared effects' prior covariance: block by block.

    Attributes
    ----------
    layout : Layout
    crossed : list of numpy.ndarray of shape (q, q, N)
    scale : numpy.ndarray of shape (N,)
        Of the common effects.
    """

    layout: Layout
    crossed: list[np.ndarray]
    scale: np.ndarray

    def times(self, values: np.ndarray, *, transposed: bool = False) -> np.ndarray:
        """L or L' times values of shape (m, ..., N)."""
        found = np.empty(np.broadcast_shapes(values.shape, self.scale.shape))
        for at, root in self._blocks():
            own = values[at].reshape(len(root), -1, *values.shape[1:])
            turned = root.swapaxes(0, 1) if transposed else root
            middle = (1,) * (values.ndim - 1)
            result = np.zeros(np.broadcast_shapes((*own.shape[:-1], 1), (len(self.scale),)))
            for k in range(len(root)):
                result += turned[:, k].reshape(len(root), *middle, -1) * own[None, k]
            found[at] = result.reshape(at.stop - at.start, *result.shape[2:])
        found[self._common] = values[self._common] * self.scale
        return found

    def solve(self, values: np.ndarray) -> np.ndarray:
        """L^-1 times values of shape (m, N)."""
        found = np.empty_like(values)
        for at, root in self._blocks():
            own = values[at].reshape(len(root), -1, values.shape[1])
            inner = np.linalg.solve(np.moveaxis(root, -1, 0)[None], np.moveaxis(own, 0, -1)[..., None])
            found[at] = np.moveaxis(inner[..., 0], -1, 0).reshape(at.stop - at.start, -1)
        found[self._common] = values[self._common] / self.scale
        return found

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Position of each crossed factor's effects among the shared ones, and the root of their covariance."""
        offsets, start = self.layout.offsets, self.layout.start
        for i, root in enumerate(self.crossed, start=self.layout.nested):
            yield slice(offsets[i] - start, offsets[i + 1] - start), root

    @property
    def _common(self) -> slice:
        return slice(self.layout.offsets[-1] - self.layout.start, None)


@dataclass(frozen=True)
class SharedFactor:
    """The distribution of the shared effects at N points, with the nested ones integrated out.

    Attributes
    ----------
    roots : Roots
    R : numpy.ndarray of shape (m, m, N), or (N, m, m) for LAPACK
        Upper triangular.
    centre : numpy.ndarray of shape (m, N)
        R^-T c.
    log_det, quadratic : numpy.ndarray of shape (N,)
        log det R'R and c' (R'R)^-1 c.
    by_point : bool
        Whether R is laid out for LAPACK.
    """

    roots: Roots
    R: np.ndarray
    centre: np.ndarray
    log_det: np.ndarray
    quadratic: np.ndarray
    by_point: bool

    def take(self, n: int) -> SharedFactor:
        """The first n points."""
        roots = Roots(self.roots.layout, [root[..., :n] for root in self.roots.crossed], self.roots.scale[:n])
        R = self.R[:n] if self.by_point else self.R[..., :n]
        return SharedFactor(roots, R, self.centre[:, :n], self.log_det[:n], self.quadratic[:n], self.by_point)

    def effects(self, z: np.ndarray) -> np.ndarray:
        """Shared effects w' from noise, both (m, N)."""
        right = self.centre + z
        u = self._solve(right, transposed=False) if self.by_point else back_substitute(self.R, right)
        return self.roots.times(u)

    def noise(self, w: np.ndarray) -> np.ndarray:
        """Inverse of `effects`."""
        u = self.roots.solve(w)
        product = np.einsum("nij,jn->in", self.R, u) if self.by_point else np.einsum("ijn,jn->in", self.R, u)
        return product - self.centre

    def adjoint(self, by_effect: np.ndarray) -> np.ndarray:
        """Turn `by_effect`, a derivative with respect to w', into that with respect to z; both (m, ..., N)."""
        right = self.roots.times(by_effect, transposed=True)
        return self._solve(right, transposed=True) if self.by_point else _forward(self.R, right)

    def _solve(self, right: np.ndarray, *, transposed: bool) -> np.ndarray:
        """Solve R x = right, or R'x = right, point by point."""
        found = np.empty_like(right)
        for n, R in enumerate(self.R):
            # an upper triangle in C order is a lower one in LAPACK's order
            found[..., n] = dtrtrs(R.T, right[..., n], lower=1, trans=0 if transposed else 1)[0]
        return found


def _forward(R: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve R'x = right with upper triangular R, (m, m, N), and right (m, ..., N)."""
    x, middle = np.empty(right.shape), (slice(None), *(None,) * (right.ndim - 2))
    for i in range(len(R)):
        x[i] = (right[i] - (R[:i, i][middle] * x[:i]).sum(axis=0)) / R[i, i]
    return x


def factorise_shared(layout: Layout, left: np.ndarray, crossed: list[np.ndarray], scale: np.ndarray) -> SharedFactor:
    """Factorise what is left of [E, r; r', 0], packed, (t, N), when the nested factors are integrated out.

    Parameters
    ----------
    layout : Layout
    left : numpy.ndarray of shape (t, N)
    crossed : list of numpy.ndarray of shape (q, q, N)
        Roots of the crossed factors' covariances Sigma'.
    scale : numpy.ndarray of shape (N,)
        kappa^(1/2).
    """
    roots, m, n = Roots(layout, crossed, scale), layout.n_shared, len(scale)
    rows, cols = np.tril_indices(m)
    matrix = np.empty((m, m, n))
    matrix[rows, cols] = matrix[cols, rows] = left[: len(rows)]
    matrix = roots.times(matrix, transposed=True)
    matrix = roots.times(np.ascontiguousarray(matrix.swapaxes(0, 1)), transposed=True)
    c = roots.times(left[len(rows) : -1], transposed=True) * scale
    if m >= LAPACK:
        return _by_point(roots, matrix, c)
    diagonal = np.arange(m)
    bordered = np.empty((m + 1, m + 1, n))
    bordered[:m, :m] = matrix
    bordered[diagonal, diagonal] += 1
    bordered[:m, m] = bordered[m, :m] = c
    bordered[m, m] = 0.0
    R, _ = eliminate(bordered, m, least=1.0)
    centre = R[:, m]
    return SharedFactor(roots, R[:, :m], centre, log_det(R), np.square(centre).sum(axis=0), by_point=False)


def _by_point(roots: Roots, matrix: np.ndarray, c: np.ndarray) -> SharedFactor:
    """The same by LAPACK, of L'H L, (m, m, N), and c, (m, N)."""
    m, n = c.shape
    by_point = np.ascontiguousarray(np.moveaxis(matrix, -1, 0))
    by_point[:, np.arange(m), np.arange(m)] += 1
    R, centre = np.empty_like(by_point), np.empty((m, n))
    for k in range(n):
        lower, info = dpotrf(by_point[k].T, lower=1, clean=1)
        if info:  # far out: an infinite determinant rules the point out
            R[k], centre[:, k] = np.diag(np.full(m, np.inf)), 0.0
            continue
        R[k] = lower.T
        centre[:, k] = dtrtrs(lower, c[:, k], lower=1)[0]
    log_dets = 2 * np.log(np.diagonal(R, axis1=1, axis2=2)).sum(axis=1)
    return SharedFactor(roots, R, centre, log_dets, np.square(centre).sum(axis=0), by_point=True)
