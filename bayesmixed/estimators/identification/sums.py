"""What effects leave of the response, from sums over the rows only.

Sums of squares have 16 digits, so what is left is known to 1e-15 of the whole as long as nothing is divided by a
number that is itself nearly zero: directions in which a level's columns hardly vary are left out.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from bayesmixed.design.statistics import CrossProducts
from bayesmixed.design.summed.summed import Summed

_NULL = 1e-4  # of the largest: a level's sum of squares in a direction that is not reliable
_COLUMN = 1e-13  # of a column's sum of squares: what is left is rounding
_ROUGH, _FINE = 1e-4, 1e-9  # tolerances of the iteration for several factors: whether to look closer, and that look
_ITERATIONS = 50, 1000  # likewise


def standard(design: Summed) -> CrossProducts:
    """Cross-products of columns of size one, [1, X, y] and Z; centred if there is an intercept."""
    sums, p = design.sums, len(design.common_names)
    location, scale = sums.common.location_and_scale(design.has_intercept)
    A = np.zeros((p + 2, p + 2))
    A[0, 0] = 1.0
    A[0, 1:] = (sums.origin - location) / scale
    A[1:, 1:] = np.diag(1 / scale)
    B = []
    for measured, origin, at in zip(sums.effects, sums.effect_origins, sums.intercept_at, strict=True):
        location, scale = measured.location_and_scale(at is not None)
        b = np.diag(1 / scale)
        if at is not None:
            b[at] = (origin - location) / scale
            b[at, at] = 1.0
        B.append(b)
    return sums.products.combined(A, B)


def left_by_common(products: CrossProducts, has_intercept: bool) -> float:
    """Share of y's sum of squares left by common effects."""
    VV = products.VV if has_intercept else products.VV[1:, 1:]
    left, _ = _left(VV, np.diag(VV))
    return left / float(VV[-1, -1])


def left_by_factor(products: CrossProducts, f: int, q: int, has_intercept: bool) -> tuple[float, float]:
    """Share of y's sum of squares left by common effects and a factor's first q, and the rows to spare."""
    packed, T = products.S[f][: q * (q + 1) // 2], np.moveaxis(products.T[f][:q], -1, 0)
    rows, columns = np.tril_indices(q)
    S = np.empty((T.shape[0], q, q))
    S[:, rows, columns] = S[:, columns, rows] = packed.T
    values, directions = np.linalg.eigh(S)
    there = values > _NULL * values[:, -1:]
    along = np.swapaxes(directions, 1, 2) @ T / np.sqrt(np.where(there, values, 1.0))[..., None]
    along = along[there]  # rows with the same cross-products as the columns that the effects span
    whole = products.VV if has_intercept else products.VV[1:, 1:]
    along = along if has_intercept else along[:, 1:]
    left, rank = _left(whole - along.T @ along, np.diag(whole))
    return left / float(whole[-1, -1]), max(products.n_rows, products.n) - int(there.sum()) - rank


def _left(products: np.ndarray, whole: np.ndarray) -> tuple[float, int]:
    """What the columns leave of the last one's sum of squares, and their rank; the sums were `whole` before."""
    there = np.flatnonzero(np.diag(products)[:-1] > _COLUMN * whole[:-1])
    size = np.sqrt(np.diag(products)[there])
    values, directions = np.linalg.eigh(products[np.ix_(there, there)] / np.outer(size, size))
    some = values > _NULL**2 * values.max(initial=0.0)
    reached = directions[:, some].T @ (products[there, -1] / size)
    return float(products[-1, -1] - (np.square(reached) / values[some]).sum()), int(some.sum())


def left_together(products: CrossProducts, has_intercept: bool, floor: float) -> bool:
    """Whether all effects leave less than a share `floor` of y's sum of squares, though rows outnumber them.

    Least squares by conjugate gradients on the normal equations of all columns, which are sparse. What is left shows in
    a few steps; if nothing seems to be, a second run looks closer.
    """
    first = 0 if has_intercept else 1
    G, c, yy = _normal_equations(products, first)
    if max(products.n_rows, products.n) <= len(c):
        return False
    root = 1 / np.sqrt(np.where(G.diagonal() > 0, G.diagonal(), 1.0))
    scaled = LinearOperator(G.shape, matvec=lambda x: root * (G @ (root * x)), dtype=float)
    left = yy
    for tolerance, iterations in zip((_ROUGH, _FINE), _ITERATIONS, strict=True):
        x = root * cg(scaled, root * c, rtol=tolerance, maxiter=iterations)[0]
        left = yy - 2 * (c @ x) + x @ (G @ x)
        if left > max(floor, (10 * tolerance) ** 2) * yy:
            return False
    return bool(left <= floor * yy)


def _normal_equations(products: CrossProducts, first: int) -> tuple[sparse.csr_array, np.ndarray, float]:
    """For the common columns from `first` on and all effects: matrix, right-hand side, and y's sum of squares."""
    VV = products.VV[first:, first:]
    F, sizes = len(products.S), [q * J for q, J in zip(products.n_effects, products.n_levels, strict=True)]
    blocks: list[list[sparse.csr_array]] = [[sparse.csr_array(VV[:-1, :-1])]]
    blocks[0] += [sparse.csr_array(T[:, first:-1].transpose(1, 0, 2).reshape(len(VV) - 1, -1)) for T in products.T]
    for f in range(F):
        own: list[sparse.csr_array] = [blocks[0][1 + f].T.tocsr()]
        for g in range(F):
            (q, J), (r, K) = ((products.n_effects[h], products.n_levels[h]) for h in (f, g))
            if f == g:
                at = np.arange(J)
                rows, columns = np.tril_indices(q)
                entries = np.empty((q, q, J))
                entries[rows, columns] = entries[columns, rows] = products.S[f]
                first_code, second_code = at, at
            else:
                pairs = products.between(f, g)
                entries, first_code, second_code = pairs.products, pairs.first, pairs.second
            i = np.arange(q)[:, None, None] * J + first_code + np.zeros((1, r, 1), dtype=int)
            k = np.arange(r)[None, :, None] * K + second_code + np.zeros((q, 1, 1), dtype=int)
            own.append(sparse.csr_array((entries.ravel(), (i.ravel(), k.ravel())), (sizes[f], sizes[g])))
        blocks.append(own)
    right = np.concatenate([VV[:-1, -1], *(T[:, -1].ravel() for T in products.T)])
    return sparse.csr_array(sparse.block_array(blocks, format="csr")), right, float(VV[-1, -1])
