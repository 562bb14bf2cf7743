"""The working Gaussian: the rows' quadratic approximation with the effects' prior, and its cross-products.

With weights W and a linear term a of the rows (`Reference`) its log density in w is, up to a constant,

    kappa (a'M w - w'M'WM w / 2) - sum_f b_f' Sigma_f^-1 b_f / 2 - u'u / 2,

kappa being the family's concentration. A row whose weight is zero may have a linear term, so no working response
a / W is ever formed. The linear term may follow auxiliary parameters (`Reference.slopes`): its products have a part
for each slope, and are put together where these parameters are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from bayesmixed.chunks import allowed
from bayesmixed.gaussian.batched import lower, lower_indices
from bayesmixed.gaussian.first_factor import pairs_within
from bayesmixed.sampling.transport.working.layout import Layout
from bayesmixed.sampling.transport.working.rows import Reference, Rows

Matrix: TypeAlias = Any  # an array, or a sparse one


@dataclass(frozen=True)
class NestedProducts:
    """Cross-products of one nested factor's groups.

    Attributes
    ----------
    S : numpy.ndarray of shape (q, q, J)
        Z' W Z of every group.
    above : tuple of numpy.ndarray of shape (q, q_k, J)
        Z' W Z_k with the effects of each factor above, at the group's ancestor.
    shared : matrix of shape (q J, m)
        Z' W with the shared columns.
    T : numpy.ndarray of shape (1 + k, q, J)
        Z' a, and Z' of k slopes.
    """

    S: np.ndarray
    above: tuple[np.ndarray, ...]
    shared: Matrix
    T: np.ndarray


@dataclass(frozen=True)
class WorkingGaussian:
    """Cross-products of the rows at one reference.

    Attributes
    ----------
    layout : Layout
    nested : tuple of NestedProducts
    E : numpy.ndarray of shape (m, m)
        M_shared' W M_shared.
    r : numpy.ndarray of shape (1 + k, m)
        M_shared' a, and M_shared' of k slopes.
    first_terms : matrix of shape (t, q (q + 1) / 2 * J), or None
        Integrating the first factor out subtracts from [E, r; r', 0], packed, this times the groups' packed conditional
        covariances; None if it is nested in another factor, from which something is subtracted too.
    at : dict of str to float
        Values at the reference of the auxiliary parameters that have slopes.
    """

    layout: Layout
    nested: tuple[NestedProducts, ...]
    E: np.ndarray
    r: np.ndarray
    first_terms: Matrix | None
    at: dict[str, float]

    @classmethod
    def of(cls, rows: Rows, reference: Reference) -> WorkingGaussian:
        """Sum over the rows."""
        layout, W, a = rows.layout, reference.W, np.array([reference.a, *reference.slopes.values()])
        shared = rows.shared_columns()
        weighted = shared * W[:, None] if isinstance(shared, np.ndarray) else sparse.diags_array(W) @ shared
        E = shared.T @ weighted
        nested = []
        for i in range(layout.nested):
            Z, codes, J = rows.Z[i], rows.codes[i], layout.n_levels[i]
            heavy = Z * W[:, None]

            def by_group(left: np.ndarray, right: np.ndarray, codes: np.ndarray = codes, J: int = J) -> np.ndarray:
                return np.array([[np.bincount(codes, x * y, J) for y in right.T] for x in left.T])

            above = tuple(by_group(heavy, rows.Z[k]) for k in range(i + 1, layout.nested))
            indicator = rows.indicator(i)
            with_shared = indicator.T @ weighted
            if not isinstance(with_shared, np.ndarray):
                with_shared = with_shared.tocsr()
            T = np.array([[np.bincount(codes, z * own, J) for z in Z.T] for own in a])
            nested.append(NestedProducts(by_group(heavy, Z), above, with_shared, T))
        first_terms = _first_terms(nested[0], layout.n_shared) if layout.nested == 1 else None
        dense = np.asarray(E if isinstance(E, np.ndarray) else E.toarray(), dtype=float)
        r = np.array([shared.T @ own for own in a], dtype=float)
        return cls(layout, tuple(nested), dense, r, first_terms, reference.at)

    def moved(self, auxiliary: dict[str, np.ndarray], n: int) -> np.ndarray:
        """How far the followed parameters, of n points, are from the reference: (1 + k, n), the first ones."""
        return np.array([np.ones(n), *(auxiliary[name] - at for name, at in self.at.items())])


def _first_terms(products: NestedProducts, m: int) -> Matrix:
    """The matrix of `WorkingGaussian.first_terms`: products of each group's entries, for the pairs of its columns."""
    k, q, J = products.T.shape
    if isinstance(products.shared, np.ndarray):
        parts = products.shared.reshape(q, J, m).transpose(0, 2, 1), products.T.swapaxes(0, 1)
        columns = np.concatenate(parts, axis=1)
        where = lower_indices(m + k)
        terms = [_symmetric(columns[i], columns[j], *where, same=i == j) for i, j in lower(q)]
        return np.concatenate(terms, axis=1)
    return _sparse_terms(products, m)


def _symmetric(x: np.ndarray, y: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, same: bool) -> np.ndarray:
    return x[rows] * y[columns] if same else x[rows] * y[columns] + y[rows] * x[columns]


def _sparse_terms(products: NestedProducts, m: int) -> sparse.csr_array:
    """The same if each group occurs with few of the shared columns."""
    (k, q, J), width = products.T.shape, m + len(products.T)
    every = sparse.hstack([products.shared, sparse.csr_array(products.T.reshape(k, q * J).T)]).tocoo()
    effect, level = np.divmod(every.row, J)
    cells, place = np.unique(level.astype(np.int64) * width + every.col, return_inverse=True)
    values = np.zeros((q, len(cells)))
    values[effect, place] = every.data
    level, column = np.divmod(cells, width)
    a, b = (np.concatenate(side) for side in zip(*pairs_within(level), strict=True))
    target = column[a] * (column[a] + 1) // 2 + column[b]
    blocks = []
    for i, j in lower(q):
        own = values[i, a] * values[j, b]
        if i != j:
            own = own + values[j, a] * values[i, b]
        blocks.append(sparse.csr_array((own, (target, level[a])), (width * (width + 1) // 2, J)))
    return sparse.hstack(blocks).tocsr()


def products_needed(layout: Layout, codes: tuple[np.ndarray, ...]) -> str:
    """Why the products for integrating the first factor out cannot be kept; empty if they can."""
    if layout.nested != 1 or len(layout.factors) == 1:
        return ""
    met = np.full(layout.n_levels[0], layout.p + 1.0)
    for i in range(1, len(layout.factors)):
        pairs = np.unique(codes[0].astype(np.int64) * layout.n_levels[i] + codes[i])
        met += layout.n_effects[i] * np.bincount(pairs // layout.n_levels[i], minlength=len(met))
    kept = float((met * (met + 1) / 2).sum()) * layout.n_effects[0] * (layout.n_effects[0] + 1) / 2
    if kept <= allowed().products:
        return ""
    return f"groups of the largest factor occur with so many crossed effects that {kept:.1e} products would be kept"
