"""The shared columns at many points: crossed factors' effects and common effects, in one dense matrix.

With L a root of their prior covariance and H what is left of their cross-products when the nested factors are
integrated out, ``I + L'H L = R'R``. Pivots are at least one but for rounding; a point where rounding leaves no factor
is ruled out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from scipy.linalg.lapack import dtrtrs

from bayesmixed.gaussian.batched import packed_size, total, unpack
from bayesmixed.sampling.transport.constants import FEW_SHARED
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
        """L or L' times values of shape (m, ..., N or 1); (m, ..., N)."""
        if self._diagonal is not None:
            return values * self._diagonal.reshape(len(values), *(1,) * (values.ndim - 2), len(self.scale))
        found = values * self.scale  # of the common effects; the others' rows are overwritten
        for at, root in self._blocks():
            q, middle = len(root), (1,) * (values.ndim - 1)
            own = values[at].reshape(q, -1, *values.shape[1:])
            turned = (root.swapaxes(0, 1) if transposed else root).reshape(q, q, *middle, -1)
            found[at] = total(turned[:, k] * own[k] for k in range(q)).reshape(-1, *found.shape[1:])
        return found

    @cached_property
    def _diagonal(self) -> np.ndarray | None:
        """Diagonal of L, (m, N); None if a factor has several effects."""
        if any(len(root) > 1 for root in self.crossed):
            return None
        sizes = *self.layout.n_levels[self.layout.nested :], self.layout.p
        return np.repeat([*(root[0, 0] for root in self.crossed), self.scale], sizes, axis=0)

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
    lower : numpy.ndarray of shape (N, m, m)
        R'.
    inverse : numpy.ndarray of shape (N, m, m), or None
        R'^-1; None if there are more than `FEW_SHARED` columns, where solving point by point is faster.
    centre : numpy.ndarray of shape (m, N)
        R^-T c.
    log_det, quadratic : numpy.ndarray of shape (N,)
        log det R'R and c' (R'R)^-1 c.
    """

    roots: Roots
    lower: np.ndarray
    inverse: np.ndarray | None
    centre: np.ndarray
    log_det: np.ndarray
    quadratic: np.ndarray

    def take(self, n: int) -> SharedFactor:
        """The first n points."""
        roots = Roots(self.roots.layout, [root[..., :n] for root in self.roots.crossed], self.roots.scale[:n])
        inverse = None if self.inverse is None else self.inverse[:n]
        return SharedFactor(roots, self.lower[:n], inverse, self.centre[:, :n], self.log_det[:n], self.quadratic[:n])

    def effects(self, z: np.ndarray) -> np.ndarray:
        """Shared effects w' from noise, both (m, N)."""
        return self.roots.times(_solve(self.lower, self.inverse, self.centre + z, transposed=True))

    def noise(self, w: np.ndarray) -> np.ndarray:
        """Inverse of `effects`."""
        return np.einsum("nji,jn->in", self.lower, self.roots.solve(w)) - self.centre

    def adjoint(self, by_effect: np.ndarray) -> np.ndarray:
        """Turn `by_effect`, a derivative with respect to w', into that with respect to z; both (m, ..., N)."""
        return _solve(self.lower, self.inverse, self.roots.times(by_effect, transposed=True))


def _solve(lower: np.ndarray, inverse: np.ndarray | None, right: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    """Solve R' x = right, or R x = right if `transposed`, at every point; `right` is (m, ..., N)."""
    if inverse is not None:
        columns = right.reshape(len(right), prod(right.shape[1:-1]), len(lower)).transpose(2, 0, 1)
        product = (inverse.transpose(0, 2, 1) if transposed else inverse) @ columns
        return product.transpose(1, 2, 0).reshape(right.shape)
    found = np.empty_like(right)
    for n, own in enumerate(lower):
        # a lower triangle in C order is an upper one in LAPACK's order
        found[..., n] = dtrtrs(own.T, right[..., n], lower=0, trans=0 if transposed else 1)[0]
    return found


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
    roots, m = Roots(layout, crossed, scale), layout.n_shared
    size = packed_size(m)
    matrix = roots.times(unpack(left[:size], m), transposed=True)
    matrix = roots.times(np.ascontiguousarray(matrix.swapaxes(0, 1)), transposed=True)
    c = roots.times(left[size:-1], transposed=True) * scale
    lower, log_det = _root(matrix.transpose(2, 0, 1) + np.eye(m))
    inverse = np.linalg.inv(lower) if m <= FEW_SHARED else None
    centre = np.where(np.isinf(log_det), 0.0, _solve(lower, inverse, c))
    return SharedFactor(roots, lower, inverse, centre, log_det, np.square(centre).sum(axis=0))


def _root(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower Cholesky factors of matrices (N, m, m), and log determinants, (N,): infinite where there is no factor."""
    try:
        lower = np.linalg.cholesky(matrices)
        return lower, 2 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    except np.linalg.LinAlgError:  # far out, where rounding has left no factor; halve until that point is isolated
        if len(matrices) > 1:
            lowers, log_dets = zip(*(_root(half) for half in np.array_split(matrices, 2)), strict=True)
            return np.concatenate(lowers), np.concatenate(log_dets)
        return np.eye(matrices.shape[1])[None], np.full(1, np.inf)  # an infinite determinant rules the point out
