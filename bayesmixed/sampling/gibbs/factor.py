"""One large factor: what the data say about its effects and the shared ones, given the other large factors.

With r_j = Z_j'W (y - sum_g Z_g b_g) over the other large factors g, integrating b_j ~ N(0, sigma^2 Sigma) out of the
residual e leaves the cross-products of [Z_small, V_x, e], as in `bayesmixed.gaussian.first_factor`,

    G(Sigma) = E + sum_j c_j' (I + R_j Sigma R_j')^-1 c_j,      c_j = w^(-1/2) Q' [T_j, r_j],

where groups of equal S_j share an inverse. Only the parts that involve e change from sweep to sweep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bayesmixed.design.statistics import CrossProducts
from bayesmixed.gaussian.batched import conditional_effects, conditional_root, gram, lower, total, unpack
from bayesmixed.gaussian.first_factor import Columns, Entries, Inverses, Kinds
from bayesmixed.gaussian.statistics import sums_by


@dataclass(frozen=True)
class Given:
    """What the other large factors' effects, of C chains, leave of the data.

    Attributes
    ----------
    t, c : numpy.ndarray of shape (q, J, C)
        r_j about the centre, and the whitened r_j minus the centre's part.
    own : numpy.ndarray of shape (K, C)
        The last column of E.
    moments : numpy.ndarray of shape (C, K, q (q + 1) / 2 * U)
        By chain, the matrix from packed inverses to the last column of G minus `own`.
    """

    t: np.ndarray
    c: np.ndarray
    own: np.ndarray
    moments: np.ndarray


@dataclass(frozen=True)
class LargeFactor:
    """The constants of a factor with J levels and q effects; K columns are shared, the last of them the response.

    Attributes
    ----------
    position : int
        Among the model's factors.
    inverses : Inverses
    S : numpy.ndarray of shape (q, q, J)
    T : numpy.ndarray of shape (K, q * J)
        Z'W [Z_small, V_x, y'], where y' is the response minus all large factors' centres.
    centre : numpy.ndarray of shape (q, J)
        Effects from which deviations are small if sigma is.
    own : numpy.ndarray of shape (K (K - 1) / 2,)
        Packed E of the explanatory columns.
    products : numpy.ndarray of shape (K (K - 1) / 2, q (q + 1) / 2 * U)
        From packed inverses to packed G of these columns minus `own`.
    white : numpy.ndarray of shape (K - 1, q * J)
        c of the explanatory columns.
    spread : sparse array of shape ((K - 1) * q (q + 1) / 2 * U, q * J)
        From c of a column to its moments with the explanatory ones.
    by_kind : sparse array of shape (U, J)
        Sums over the levels of equal S_j.
    """

    position: int
    inverses: Inverses
    S: np.ndarray
    T: np.ndarray
    centre: np.ndarray
    own: np.ndarray
    products: np.ndarray
    white: np.ndarray
    spread: sparse.csr_array
    by_kind: sparse.csr_array

    @classmethod
    def of(cls, statistics: CrossProducts, f: int, columns: Columns, VV: np.ndarray) -> LargeFactor:
        """Prepare a factor; `VV` are the cross-products of the shared columns, (K, K)."""
        q, J, K = statistics.n_effects[f], statistics.n_levels[f], columns.total
        entries = Entries.of(statistics, f, columns)
        by_effect = np.zeros((q, K, J))
        by_effect[:, entries.column, entries.level] = entries.values
        T = by_effect.swapaxes(0, 1).reshape(K, q * J)
        kinds = Kinds.of(statistics.S[f])
        inverses, h = Inverses.of(kinds, q), len(kinds.S)
        by_kind = sums_by(kinds.of_level, kinds.S.shape[1])
        c = whiten(inverses, T[:-1].T.reshape(q, J, K - 1))
        spread, white = _spread(c, kinds), c.reshape(q * J, K - 1).T.copy()
        moments = (spread @ white.T).reshape(K - 1, h * kinds.S.shape[1], K - 1)
        E = VV[:-1, :-1] - white @ white.T
        E[np.diag_indices(K - 1)] = np.maximum(np.diag(E), 0.0)
        pairs = lower(K - 1)
        own = np.array([E[pair] for pair in pairs])
        products = np.array([moments[i, :, j] for i, j in pairs]).reshape(len(pairs), h * kinds.S.shape[1])
        S, centre = unpack(statistics.S[f], q), np.zeros((q, J))
        return cls(f, inverses, S, T, centre, own, products, white, spread, by_kind)

    @property
    def q(self) -> int:
        """Number of effects of a level."""
        return len(self.S)

    @property
    def J(self) -> int:  # noqa: N802 - its name in the equations
        """Number of levels."""
        return self.S.shape[2]

    def given(self, r: np.ndarray, products: np.ndarray) -> Given:
        """What a residual leaves to this factor.

        Parameters
        ----------
        r : numpy.ndarray of shape (q, J, C)
            Z'W e', where e' is y' minus the deviations of the other factors' effects.
        products : numpy.ndarray of shape (K, C)
            [Z_small, V_x, e']'W e'.
        """
        q, J, C = r.shape
        K, U = len(products), self.by_kind.shape[0]
        c = whiten(self.inverses, r)
        own = products.copy()
        own[:-1] -= self.white @ c.reshape(q * J, C)
        own[-1] = np.maximum(own[-1] - np.square(c).sum(axis=(0, 1)), 0.0)
        t = r + _each(self.S, self.centre[..., None])
        about = self.about_centre(c)
        pairs = lower(q)
        moments = np.empty((C, K, len(pairs) * U))
        moments[:, :-1] = (self.spread @ about.reshape(q * J, C)).reshape(K - 1, len(pairs) * U, C).transpose(2, 0, 1)
        for at, (a, b) in enumerate(pairs):
            squares = (self.by_kind @ (about[a] * about[b])) * (1.0 if a == b else 2.0)
            moments[:, -1, at * U : (at + 1) * U] = squares.T
        return Given(t, c, own, moments)

    def about_centre(self, c: np.ndarray) -> np.ndarray:
        """Turn c of r into that of t, by adding the centre's part of the residual; (q, J, C)."""
        return c + _each(_of_levels(self.inverses, self.inverses.R), self.centre[..., None])

    def inverses_at(self, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Packed inverses, (q (q + 1) / 2 * U, N), and the log determinant of what is integrated out, (N,).

        `root` is that of Sigma relative to sigma^2, (q, q, N).
        """
        inverse, log_det = self.inverses.at(root, gram(root))
        return inverse.reshape(-1, root.shape[2]), self.inverses.kinds.count @ log_det

    def products_at(self, given: Given, inverse: np.ndarray) -> np.ndarray:
        """G, (K, K, C * N), of inverses at N points of every chain, chain after chain."""
        C, K, width = given.moments.shape
        last = given.moments @ inverse.reshape(width, C, -1).swapaxes(0, 1) + given.own.T[:, :, None]
        G = np.empty((K, K, inverse.shape[1]))
        G[:-1, :-1] = unpack(self.own[:, None] + self.products @ inverse, K - 1)
        G[-1] = G[:, -1] = last.swapaxes(0, 1).reshape(K, -1)
        return G

    def draw(self, given: Given, F: np.ndarray, shared: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Effects given the shared ones: ``F (F' (t - T'shared) + noise)``; (q, J, C).

        Parameters
        ----------
        given : Given
        F : numpy.ndarray of shape (q, q, J, C)
            Of `roots`.
        shared : numpy.ndarray of shape (K - 1, C)
        noise : numpy.ndarray of shape (q, J, C)
            sigma times standard normal numbers.
        """
        t = given.t - (self.T[:-1].T @ shared).reshape(given.t.shape)
        return conditional_effects(F, t, noise)

    def roots(self, root: np.ndarray) -> np.ndarray:
        """F of `conditional_root` for all levels, (q, q, J, C); levels of equal S_j are computed once."""
        kinds = self.inverses.kinds
        F, _ = conditional_root(unpack(kinds.S, self.q)[..., None], root[:, :, None])
        return F[:, :, kinds.of_level]


def whiten(inverses: Inverses, t: np.ndarray) -> np.ndarray:
    """w^(-1/2) Q' t_j of all levels, for t of shape (q, J, C)."""
    return _each(_of_levels(inverses, inverses.white), t)


def _of_levels(inverses: Inverses, matrices: np.ndarray) -> np.ndarray:
    """Matrices of the distinct S_j, (U, q, q), as (q, q, J)."""
    return np.moveaxis(matrices[inverses.kinds.of_level], 0, -1)


def _each(matrices: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Products of matrices (q, q, J) and vectors (q, J, C)."""
    return np.stack([total(row[e, :, None] * t[e] for e in range(len(t))) for row in matrices])


def _spread(c: np.ndarray, kinds: Kinds) -> sparse.csr_array:
    """See `LargeFactor.spread`; c of the explanatory columns is (q, J, K - 1)."""
    q, J, k = c.shape
    U = kinds.S.shape[1]
    rows, columns, values = [], [], []
    level, column = np.arange(J)[:, None], np.arange(k)
    for at, (a, b) in enumerate(lower(q)):
        row = (column * len(lower(q)) + at) * U + kinds.of_level[:, None]
        for mine, other in {(a, b), (b, a)}:
            rows.append(row.ravel())
            columns.append(np.broadcast_to(other * J + level, row.shape).ravel())
            values.append(c[mine].ravel())
    shape = (k * len(lower(q)) * U, q * J)
    return sparse.csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape)
