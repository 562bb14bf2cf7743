"""A factor and the one in which it is nested, as one block: classes and their schools, crossed with items.

If w is nested in h, their sds can hardly be told apart given the effects of either. Given those of all other large
factors, b_w and then b_h integrate out in linear time, as in `bayesmixed.gaussian.nested`: without b_w, a level s of h
has the cross-products

    S_s = S_hs - sum_j C_j' M_j C_j,    T_s = T_hs - sum_j C_j' M_j T_j      (j: the levels of w in s; C_j = Z_j'W Z_s)

with its own and the shared columns, the levels are independent of each other, and M_s = (Sigma_h^-1 + S_s)^-1 is all
that is inverted. (theta_h, theta_w, theta_small, sigma) are drawn with both factors' and the shared effects integrated
out, then b_h with b_w integrated out; this leaves b_w outdated, so its update must follow immediately.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from bayesmixed.gaussian.batched import conditional_effects, conditional_root, lower, total, unpack
from bayesmixed.gaussian.common import Reduced
from bayesmixed.gaussian.statistics import is_nested, sums_by
from bayesmixed.sampling.gibbs.chains import Chains, Move
from bayesmixed.sampling.gibbs.constants import MAX_DIMENSION
from bayesmixed.sampling.gibbs.factor import Given, whiten
from bayesmixed.sampling.gibbs.model import Arrangement, Block, block_of, scaled


@dataclass(frozen=True)
class Left:
    """What the other large factors leave to both.

    Attributes
    ----------
    inner : Given
        To w.
    own : numpy.ndarray of shape (q_h, J_h, C)
        T_s of the residual, without what the inverses add.
    products : numpy.ndarray of shape (q_h, q (q + 1) / 2, k, C)
        Products of c of Z_s and of the residual, by cell of `Nest.cell`, packed over the effects of w.
    """

    inner: Given
    own: np.ndarray
    products: np.ndarray


@dataclass(frozen=True)
class Reached:
    """Both factors integrated out, at N points.

    Attributes
    ----------
    F : numpy.ndarray of shape (q_h, q_h, J_h, N)
        Roots of M_s.
    Tx : numpy.ndarray of shape (q_h, K - 1, J_h, N)
        T_s of the shared columns.
    Te : numpy.ndarray of shape (q_h, J_h, N)
        T_s of the residual about the centre of h.
    pulled : numpy.ndarray of shape (q_h, J_h, N)
        (I + Sigma_h S_s)^-1 times the centre: the part of it that is not in the conditional mean of b_h.
    small : list of numpy.ndarray
        As in `Evaluated`.
    reduced : Reduced
    """

    F: np.ndarray
    Tx: np.ndarray
    Te: np.ndarray
    pulled: np.ndarray
    small: list[np.ndarray]
    reduced: Reduced


@dataclass(frozen=True)
class Nest(Block):
    """The step, for a factor w and a factor h of an arrangement.

    Attributes
    ----------
    arrangement : Arrangement
    inner, outer : int
        Positions of w and h among its factors.
    c : numpy.ndarray of shape (q_w, q_h, J_w)
        Whitened C_j.
    constant : numpy.ndarray of shape (q_h (q_h + 1) / 2 * J_h + q_h * (K - 1) * J_h,)
        Packed S_s, then T_s of the shared columns, without what the inverses add.
    linear : sparse array of shape (len(constant), q (q + 1) / 2 * U)
        What they add.
    cell : sparse array of shape (k, J_w)
        Sums over the levels of w in the same level of h and with the same S_j.
    kind : numpy.ndarray of int, shape (k,)
        Which S_j that is.
    of_cells, of_levels : sparse array of shape (J_h, k), (J_h, J_w)
        Sums over the cells, and over the levels of w, of a level of h.
    """

    arrangement: Arrangement
    inner: int
    outer: int
    c: np.ndarray
    constant: np.ndarray
    linear: sparse.csr_array
    cell: sparse.csr_array
    kind: np.ndarray
    of_cells: sparse.csr_array
    of_levels: sparse.csr_array

    @classmethod
    def of(cls, arrangement: Arrangement, inner: int, outer: int) -> Nest:
        """Prepare the step."""
        w, h, columns = arrangement.factors[inner], arrangement.factors[outer], arrangement.columns
        pairs = arrangement.density.statistics.between(w.position, h.position)
        parent = np.empty(w.J, dtype=int)
        parent[pairs.first] = pairs.second
        C = np.zeros((w.q, h.q, w.J))
        C[:, :, pairs.first] = pairs.products
        c = whiten(w.inverses, C.swapaxes(1, 2)).swapaxes(1, 2)
        kinds = w.inverses.kinds
        cells, place = np.unique(parent * kinds.S.shape[1] + kinds.of_level, return_inverse=True)
        level, kind = np.divmod(cells, kinds.S.shape[1])
        cell = sums_by(place, len(cells))
        # products to sum within levels of h: of its own columns, then of these with the shared ones
        white, T = w.white.reshape(-1, w.q, w.J), h.T[:-1].reshape(-1, h.q, h.J)
        sums = [(h.S[e, k], c[:, e], c[:, k]) for e, k in lower(h.q)]
        sums += [(T[k, e], c[:, e], white[k]) for e in range(h.q) for k in range(len(white))]
        constant, linear, shape = [], [], (h.J, kinds.S.shape[1])
        for whole, a, b in sums:
            constant.append(whole - np.bincount(parent, (a * b).sum(axis=0), h.J))
            linear.append(_linear([cell @ one for one in _products(a, b)], level, kind, shape))
        block = block_of(arrangement.density, (h.position, w.position), columns)
        every = np.concatenate(constant), sparse.vstack(linear, format="csr")
        return cls(*block, arrangement, inner, outer, c, *every, cell, kind, sums_by(level, h.J), sums_by(parent, h.J))

    def left(self, chains: Chains) -> Left:
        """What the effects of the other large factors leave."""
        w, h = self.arrangement.factors[self.inner], self.arrangement.factors[self.outer]
        given = chains.given(self.inner, without=(self.outer,))
        own = chains.left_to(self.outer, without=(self.inner,))
        mine = [self.c[:, e, :, None] for e in range(h.q)]
        own = own - np.stack([self.of_levels @ (c * given.c).sum(axis=0) for c in mine])
        about = w.about_centre(given.c)
        return Left(given, own, np.array([[self.cell @ one for one in _products(c, about)] for c in mine]))

    def at(self, left: Left, x: np.ndarray) -> Reached:
        """Integrate out both factors at points x, (D, C * N), chain after chain."""
        w, h = self.arrangement.factors[self.inner], self.arrangement.factors[self.outer]
        s, C = x[-1], left.own.shape[2]
        absolute = self.covariances.at(x[:-1])
        sigma = np.exp(s)
        root = absolute.roots[0] / sigma
        inverse, log_det = w.inverses_at(absolute.roots[1] / sigma)
        G = w.products_at(left.inner, inverse)
        values = (self.constant[:, None] + self.linear @ inverse).reshape(-1, h.J, len(s))
        S, Tx = np.split(values, [len(lower(h.q))])
        S, Tx = unpack(S, h.q), Tx.reshape(h.q, self.columns.total - 1, h.J, len(s))
        each = inverse.reshape(len(lower(w.q)), -1, C, len(s) // C)[:, self.kind]  # (packed, k, C, N)
        met = [total(one[..., None] * inv for one, inv in zip(own, each, strict=True)) for own in left.products]
        added = np.stack([self.of_cells @ one.reshape(len(one), -1) for one in met])
        Te = (left.own[..., None] + added.reshape(h.q, h.J, C, -1)).reshape(h.q, h.J, -1)
        F, log_det_h = conditional_root(S, root[:, :, None])
        centre = np.broadcast_to(h.centre[..., None], Te.shape)
        pulled = _pulled(F, root, centre)
        G = _eliminate(G, (F, S, np.concatenate([Tx, Te[:, None]], axis=1)), pulled, centre)
        reduced = self.reduced(G, log_det + log_det_h.sum(axis=0), absolute, s)
        return Reached(F, Tx, Te, pulled, absolute.roots[2:], reduced)

    def log_density(self, left: Left, x: np.ndarray) -> np.ndarray:
        """Log density, (C, N), at points x of shape (D, C, N), up to a constant."""
        return self.density(x, lambda flat: self.at(left, flat).reduced)

    def __call__(self, chains: Chains, number: int, move: Move, rng: np.random.Generator) -> None:
        """Draw the coordinates and b_h; the update of w must follow. `number` is that of the step's proposal."""
        h, left = self.arrangement.factors[self.outer], self.left(chains)
        x = move(number, self.point(chains.theta, chains.s), partial(self.log_density, left))
        chains.theta[self.index], chains.s = x[:-1], x[-1]
        at = self.at(left, x)
        _, shared = self.residual.draw(at.reduced.G, chains.s, rng.standard_normal(chains.shared.shape))
        shared = scaled(shared, self.columns, at.small)
        t = at.Te - np.einsum("ekjc,kc->ejc", at.Tx, shared)
        noise = np.exp(chains.s) * rng.standard_normal((h.q, h.J, len(chains.s)))
        chains.place(self.outer, conditional_effects(at.F, t, noise) - at.pulled)


def _products(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """The coefficients in a' X b of the packed entries of a symmetric X, for a and b of shape (q, ...)."""
    return [a[i] * b[j] + (a[j] * b[i] if i != j else 0.0) for i, j in lower(len(a))]


def _linear(values: list[np.ndarray], level: np.ndarray, kind: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """The matrix from packed inverses to sums by level, from the cells' coefficients of each entry."""
    rows, at = np.tile(level, len(values)), np.concatenate([shape[1] * e + kind for e in range(len(values))])
    return sparse.csr_array((np.concatenate(values), (rows, at)), (shape[0], shape[1] * len(values)))


def _pulled(F: np.ndarray, root: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(I + Sigma S)^-1 b = M Sigma^-1 b of centres b, (q, J, N)."""
    q, b = len(F), list(centre)
    with np.errstate(all="ignore"):  # rounding may have spoilt Sigma: such a point has no density
        for i in range(q):
            b[i] = (b[i] - sum(root[i, k] * b[k] for k in range(i))) / root[i, i]
        for i in reversed(range(q)):
            b[i] = (b[i] - sum(root[k, i] * b[k] for k in range(i + 1, q))) / root[i, i]
        return conditional_effects(F, np.array(b), np.zeros_like(centre))


def _eliminate(G: np.ndarray, reached: tuple[np.ndarray, ...], pulled: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """G without b_h, whose centre is subtracted from the residual; `reached` is F, S_s and T_s of all columns.

    With e the residual minus Z b for centres b, e'e loses T_e'M T_e and gains what is left of Z b without M's part:
    2 T_e'p + p'S b, p = (I + Sigma S)^-1 b; x'e loses T_x'M T_e and gains T_x'p. Nothing cancels.
    """
    F, S, T = reached
    half = np.stack([total(F[k, e] * T[k] for k in range(len(F))) for e in range(len(F))])  # (q, K, J, N)
    flat = half.transpose(3, 1, 0, 2).reshape(G.shape[2], len(G), -1)
    G = G - np.moveaxis(flat @ flat.swapaxes(1, 2), 0, -1)
    gained = (T * pulled[:, None]).sum(axis=(0, 2))  # (K, N)
    G[-1] += gained
    G[:, -1] += gained
    G[-1, -1] += total(pulled[i] * S[i, j] * centre[j] for i in range(len(S)) for j in range(len(S))).sum(axis=0)
    return G


def nests_of(arrangement: Arrangement) -> tuple[Nest, ...]:
    """A step for every large factor that is nested in another; among several, in the one with most levels."""
    statistics, factors = arrangement.density.statistics, arrangement.factors
    found = []
    for i, w in enumerate(factors):
        above = [j for j, h in enumerate(factors) if j != i and is_nested(statistics, w.position, h.position)]
        if not above:
            continue
        nest = Nest.of(arrangement, i, max(above, key=lambda j: factors[j].J))
        if nest.dimension <= MAX_DIMENSION + 1:
            found.append(nest)
    return tuple(found)
