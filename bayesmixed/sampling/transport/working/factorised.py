"""The transport: from standard normal noise z to effects w, at given covariances, and back.

The effects of the working Gaussian at N points, drawn exactly with noise z: the shared ones first, then nested factor
by factor from the root to the leaves. In units where the concentration is one, ``w' = kappa^(1/2) w``, Sigma' = kappa
Sigma, r' = kappa^(1/2) r and T' = kappa^(1/2) T. With F F' = (Sigma'^-1 + S)^-1 for each group (`conditional_root`)

    u = R^-1 (R^-T c + z_shared),  w'_shared = L u,     R'R = I + L'H L,  c = L' (r' reduced),
    b'_j = F_j (F_j' t_j + z_j),                        t_j = T'_j - C_j' w'_above.

It is affine in z. The transpose of its linear part (`adjoint`), its inverse (`noise`) and the log of the Gaussian's
integral (`log_integral`) are here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bayesmixed.gaussian.batched import (
    conditional_effects,
    conditional_root,
    gram,
    lower_indices,
    pack,
    packed_size,
    total,
)
from bayesmixed.sampling.transport.working.layout import Layout
from bayesmixed.sampling.transport.working.products import Matrix, NestedProducts, WorkingGaussian
from bayesmixed.sampling.transport.working.shared import SharedFactor, factorise_shared


@dataclass(frozen=True)
class NestedFactor:
    """One nested factor's groups at N points, before the levels above it are known.

    Attributes
    ----------
    F : numpy.ndarray of shape (q, q, J, N)
    above : list of numpy.ndarray of shape (q, q_k, J, N or 1)
    shared : matrix of shape (q J, m), or numpy.ndarray of shape (q, m, J, N)
    T : numpy.ndarray of shape (q, J, N or 1)
        Without the factor kappa^(1/2).
    """

    F: np.ndarray
    above: list[np.ndarray]
    shared: Matrix
    T: np.ndarray


@dataclass(frozen=True)
class Factorised:
    """The working Gaussian at N points.

    Attributes
    ----------
    layout : Layout
    nested : list of NestedFactor
    shared : SharedFactor
    scale : numpy.ndarray of shape (N,)
        kappa^(1/2).
    log_integral : numpy.ndarray of shape (N,)
        Log of the integral over w of the quadratic's exponential under the effects' prior.
    width : int
        Points per matrix product.
    """

    layout: Layout
    nested: list[NestedFactor]
    shared: SharedFactor
    scale: np.ndarray
    log_integral: np.ndarray
    width: int

    def take(self, n: int) -> Factorised:
        """The first n points."""
        nested = [
            NestedFactor(
                factor.F[..., :n],
                [own[..., :n] for own in factor.above],
                factor.shared if factor.shared.ndim == 2 else factor.shared[..., :n],
                factor.T[..., :n],
            )
            for factor in self.nested
        ]
        return Factorised(self.layout, nested, self.shared.take(n), self.scale[:n], self.log_integral[:n], self.width)

    def effects(self, z: np.ndarray) -> np.ndarray:
        """w, (size, N), from noise z of the same shape."""
        layout, w = self.layout, np.empty_like(z)
        shared = w[layout.start :] = self.shared.effects(z[layout.start :])
        for i in reversed(range(layout.nested)):
            t = self._known(i, w, shared)
            layout.own(w, i)[:] = conditional_effects(self.nested[i].F, t, layout.own(z, i))
        return w / self.scale

    def noise(self, w: np.ndarray) -> np.ndarray:
        """Inverse of `effects`."""
        layout, w, z = self.layout, w * self.scale, np.empty_like(w)
        shared = w[layout.start :]
        z[layout.start :] = self.shared.noise(shared)
        for i in range(layout.nested):
            F, t = self.nested[i].F, self._known(i, w, shared)
            inner = np.linalg.solve(np.moveaxis(F, (0, 1), (-2, -1)), np.moveaxis(layout.own(w, i), 0, -1)[..., None])
            layout.own(z, i)[:] = np.moveaxis(inner[..., 0], -1, 0) - (F * t[:, None]).sum(axis=0)
        return z

    def adjoint(self, by_effect: np.ndarray) -> np.ndarray:
        """Turn `by_effect`, a derivative with respect to w, into that with respect to z, (size, N)."""
        layout, left, found = self.layout, by_effect / self.scale, np.empty_like(by_effect)
        for i in range(layout.nested):
            F, own, goal = self.nested[i].F, layout.own(left, i), layout.own(found, i)
            q = len(F)
            for e in range(q):
                goal[e] = total(F[k, e] * own[k] for k in range(q))
            t = np.stack([total(F[e, k] * goal[k] for k in range(q)) for e in range(q)])
            self._take(i, t, left)
        found[layout.start :] = self.shared.adjoint(left[layout.start :])
        return found

    def _known(self, i: int, w: np.ndarray, shared: np.ndarray) -> np.ndarray:
        """t_j of factor i's groups given the levels above them and the shared effects, (q, J, N)."""
        factor = self.nested[i]
        t = factor.T * self.scale - _times(factor.shared, shared, factor.T.shape, self.width)
        for k, products in enumerate(factor.above, start=i + 1):
            above = self.layout.own(w, k)[:, self.layout.ancestors[i, k]]
            t -= (products * above).sum(axis=1) if len(products) > 1 or len(above) > 1 else products[:, 0] * above
        return t

    def _take(self, i: int, t: np.ndarray, left: np.ndarray) -> None:
        """Subtract factor i's contribution to the effects that it is conditional on."""
        layout, factor = self.layout, self.nested[i]
        left[layout.start :] -= _transposed_times(factor.shared, t)
        for k, products in enumerate(factor.above, start=i + 1):
            passed = (products * t[:, None]).sum(axis=0)  # (q_k, J, N)
            own = layout.own(left, k)
            for e in range(len(passed)):
                own[e] -= layout.sums[i, k] @ passed[e]


def _times(shared: Matrix, values: np.ndarray, shape: tuple[int, ...], width: int) -> np.ndarray:
    """C w_shared of every group, (q, J, N)."""
    if shared.ndim == 2:
        return _product(shared, values, width).reshape(shape[0], shape[1], -1)
    return (shared * values[:, None]).sum(axis=1)


def _product(matrix: Matrix, values: np.ndarray, width: int) -> np.ndarray:
    """``matrix @ values``, some columns at a time."""
    if sparse.issparse(matrix) or width >= values.shape[1]:
        return matrix @ values
    starts = range(0, values.shape[1], width)
    return np.concatenate([matrix @ np.ascontiguousarray(values[:, at : at + width]) for at in starts], axis=1)


def _transposed_times(shared: Matrix, t: np.ndarray) -> np.ndarray:
    """C't summed over the groups, (m, N)."""
    if shared.ndim == 2:
        return shared.T @ t.reshape(shared.shape[0], -1)
    return (shared * t[:, None]).sum(axis=(0, 2))


def factorise(
    gaussian: WorkingGaussian, roots: list[np.ndarray], kappa: np.ndarray, moved: np.ndarray, width: int
) -> Factorised:
    """Integrate the effects out at N points.

    Parameters
    ----------
    gaussian : WorkingGaussian
    roots : list of numpy.ndarray of shape (q, q, N)
        Of each factor's covariance, in the layout's order.
    kappa : numpy.ndarray of shape (N,)
    moved : numpy.ndarray of shape (1 + k, N)
        The coefficient of each part of the linear term there, from `WorkingGaussian.moved`.
    width : int
        Points that matrix products take together: a product's last digits may depend on it, and on nothing else.
    """
    layout, scale = gaussian.layout, np.sqrt(kappa)
    roots = [root * scale for root in roots]
    n = len(kappa)
    log_det = np.zeros(n)
    nested = [Products.of(products, moved) for products in gaussian.nested]
    left = _packed(gaussian.E, _together(gaussian.r, moved))
    factors = []
    for i, own in enumerate(nested):
        F, own_log_det = conditional_root(own.S, roots[i][:, :, None])
        log_det += own_log_det.sum(axis=0)
        factors.append(NestedFactor(F, own.above, own.shared, own.T))
        if gaussian.first_terms is None:
            left = left - _eliminate(layout, i, F, nested)
        else:
            covariances = gram(F).reshape(gaussian.first_terms.shape[1], n)
            left = left - _bordered(_product(gaussian.first_terms, covariances, width), moved, layout.n_shared)
    shared = factorise_shared(layout, left, roots[layout.nested :], scale)
    quadratic = np.square(scale) * -left[-1] + shared.quadratic
    log_integral = 0.5 * (quadratic - log_det - shared.log_det)
    return Factorised(layout, factors, shared, scale, log_integral, width)


def _packed(E: np.ndarray, r: np.ndarray) -> np.ndarray:
    """[E, r; r', 0], packed, of r (m, N or 1)."""
    flat = np.broadcast_to(pack(E)[:, None], (packed_size(len(E)), r.shape[1]))
    return np.concatenate([flat, r, np.zeros((1, r.shape[1]))])


def _together(parts: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The linear term's parts (1 + k, ...) put together: (..., N), or (..., 1) if there is only one."""
    return parts[0][..., None] if len(parts) == 1 else np.einsum("k...,kn->...n", parts, moved)


def _bordered(packed: np.ndarray, moved: np.ndarray, m: int) -> np.ndarray:
    """[E, r; r', c] of [E, R; R', C] with a border of 1 + k columns, both packed: r = R moved, c = moved' C moved."""
    k = len(moved)
    if k == 1:
        return packed
    starts = [(m + i) * (m + i + 1) // 2 for i in range(k)]
    r = total(moved[i] * packed[start : start + m] for i, start in enumerate(starts))
    corner = total(
        moved[i] * moved[j] * (2 - (i == j)) * packed[start + m + j]
        for i, start in enumerate(starts)
        for j in range(i + 1)
    )
    return np.concatenate([packed[: starts[0]], r, corner[None]])


@dataclass
class Products:
    """Cross-products of one nested factor's groups at N points, while the factors below it are integrated out.

    Attributes
    ----------
    S : numpy.ndarray of shape (q, q, J, N or 1)
    above : list of numpy.ndarray of shape (q, q_k, J, N or 1)
    shared : matrix of shape (q J, m), or numpy.ndarray of shape (q, m, J, N)
    T : numpy.ndarray of shape (q, J, N or 1)
    """

    S: np.ndarray
    above: list[np.ndarray]
    shared: Matrix
    T: np.ndarray

    @classmethod
    def of(cls, rows: NestedProducts, moved: np.ndarray) -> Products:
        """The products of the rows."""
        T = _together(rows.T, moved)
        return cls(rows.S[..., None], [own[..., None] for own in rows.above], rows.shared, T)

    def columns(self, n: int) -> np.ndarray:
        """Products with everything a group is conditional on, then T, side by side: (q, k, J, n)."""
        parts = [*self.above, by_group(self.shared, len(self.T)), self.T[:, None]]
        return np.concatenate([np.broadcast_to(part, (*part.shape[:-1], n)) for part in parts], axis=1)


def by_group(shared: Matrix, q: int) -> np.ndarray:
    """Products with the shared columns as (q, m, J, N or 1)."""
    if shared.ndim == 4:
        return shared
    dense = shared if isinstance(shared, np.ndarray) else shared.toarray()
    return dense.reshape(q, len(dense) // q, dense.shape[1]).transpose(0, 2, 1)[..., None]


def _eliminate(layout: Layout, i: int, F: np.ndarray, nested: list[Products]) -> np.ndarray:
    """Integrate factor i out of the levels above it, updating these; returns what is taken from the shared, (t, N).

    That is C_j' F_j F_j' C_j of every group, C_j being its products with the effects above, the shared ones, and T.
    """
    q, _, J, n = F.shape
    columns = nested[i].columns(n)
    turned = total(F[k, :, None] * columns[k] for k in range(q))  # F'C, (q, k, J, N)
    at = 0
    for k in range(i + 1, len(nested)):
        target, q_k = nested[k], layout.n_effects[k]
        own = turned[:, at : at + q_k]
        # with itself and all later columns; levels first, for the sums
        taken = np.einsum("eajn,ebjn->jabn", own, turned[:, at:])
        summed = (layout.sums[i, k] @ taken.reshape(J, -1)).reshape(-1, *taken.shape[1:]).transpose(1, 2, 0, 3)
        parts = np.split(summed, np.cumsum([q_k, *(above.shape[1] for above in target.above), layout.n_shared]), axis=1)
        target.S = target.S - parts[0]
        target.above = [above - less for above, less in zip(target.above, parts[1:-2], strict=True)]
        target.shared = by_group(target.shared, q_k) - parts[-2]
        target.T = target.T - parts[-1][:, 0]
        at += q_k
    rest = turned[:, at:]
    by_point = rest.transpose(3, 1, 0, 2).reshape(n, rest.shape[1], q * J)  # one product each
    rows, columns = lower_indices(rest.shape[1])
    return (by_point @ by_point.transpose(0, 2, 1))[:, rows, columns].T
