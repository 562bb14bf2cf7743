"""A model as the sampler sees it: large factors, and the shared columns, which include the small factors' effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag

from bayesmixed.design.spec import Design
from bayesmixed.design.statistics import CrossProducts
from bayesmixed.gaussian.batched import total
from bayesmixed.gaussian.common import Reduced, Residual
from bayesmixed.gaussian.covariance import Covariances, Relative
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.first_factor import Columns, products_of_rest
from bayesmixed.gaussian.units import Units
from bayesmixed.sampling.gibbs.constants import LOG_SD, V
from bayesmixed.sampling.gibbs.factor import Given, LargeFactor
from bayesmixed.sampling.gibbs.limits import split


@dataclass(frozen=True)
class Evaluated:
    """The conditional of one large factor at N points of every chain.

    Attributes
    ----------
    root : numpy.ndarray of shape (q, q, C * N)
        Of the factor's Sigma relative to sigma^2.
    small : list of numpy.ndarray of shape (q, q, C * N)
        Of the small factors' Sigma itself.
    reduced : Reduced
        G of the shared columns, those of small factors multiplied by their roots.
    """

    root: np.ndarray
    small: list[np.ndarray]
    reduced: Reduced


@dataclass(frozen=True)
class Block:
    """Coordinates that are drawn together: covariances of some factors, then log(sigma).

    Attributes
    ----------
    columns : Columns
        The shared ones.
    covariances : Covariances
        Of the block's own factors, then of the small ones.
    residual : Residual
        Of the small factors' u, the common effects and sigma.
    index : numpy.ndarray of int, shape (D - 1,)
        Positions of the coordinates among those of all factors.
    """

    columns: Columns
    covariances: Covariances
    residual: Residual
    index: np.ndarray

    @property
    def dimension(self) -> int:
        """D, the number of coordinates including log(sigma)."""
        return len(self.index) + 1

    def point(self, theta: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Coordinates, (D, C), among those of all factors, (d, C), and log(sigma), (C,)."""
        return np.vstack([theta[self.index], s])

    def reduced(self, G: np.ndarray, log_det: np.ndarray, absolute: Relative, s: np.ndarray) -> Reduced:
        """The input of `Residual`, from cross-products of the shared columns with those of small factors unscaled."""
        small = absolute.roots[len(absolute.roots) - len(self.columns.factors) :]
        for _ in range(2):  # rows, then columns
            G = scaled(G, self.columns, small).swapaxes(0, 1)
        log_prior = absolute.log_prior - self.covariances.n_sds * s  # `Residual` expects relative sds
        return Reduced(G, log_det, absolute.sds / np.exp(s), log_prior)

    def density(self, x: np.ndarray, reduce: Callable[[np.ndarray], Reduced]) -> np.ndarray:
        """Log density, (C, N), at coordinates x of shape (D, C, N); -inf where rounding errors would dominate."""
        K, flat = self.covariances.n_sds, x.reshape(len(x), -1)
        inside = (np.abs(flat[K:-1]) < V).all(axis=0) & (flat[-1] >= self.residual.log_floor) & (flat[-1] < LOG_SD[1])
        inside &= ((flat[:K] > LOG_SD[0]) & (flat[:K] < LOG_SD[1])).all(axis=0)
        flat = np.where(inside, flat, 0.0)
        values = self.residual.log_density(reduce(flat), flat[-1])
        return np.where(inside & np.isfinite(values), values, -np.inf).reshape(x.shape[1:])


@dataclass(frozen=True)
class Conditional(Block):
    """p(theta_f, theta_small, sigma | y, b_g) of a large factor f: its effects and the shared ones are integrated out.

    The coordinates are those of `Covariances`, with the standard deviations themselves in place of those relative to
    sigma, then log(sigma). A small factor's effects are b = L u with u standard normal, so that L may be singular.

    Attributes
    ----------
    factor : LargeFactor
    """

    factor: LargeFactor

    def at(self, given: Given, x: np.ndarray) -> Evaluated:
        """Integrate out the factor's effects at points x, (D, C * N), chain after chain."""
        absolute = self.covariances.at(x[:-1])
        root = absolute.roots[0] / np.exp(x[-1])
        inverse, log_det = self.factor.inverses_at(root)
        G = self.factor.products_at(given, inverse)
        return Evaluated(root, absolute.roots[1:], self.reduced(G, log_det, absolute, x[-1]))

    def log_density(self, given: Given, x: np.ndarray) -> np.ndarray:
        """Log density, (C, N), at points x of shape (D, C, N), up to a constant."""
        return self.density(x, lambda flat: self.at(given, flat).reduced)

    def draw(
        self, given: Given, x: np.ndarray, normals: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Conditional means and draws of the shared effects and of the factor's.

        Parameters
        ----------
        given : Given
        x : numpy.ndarray of shape (D, C)
        normals : numpy.ndarray of shape (K - 1, C)
        noise : numpy.ndarray of shape (q, J, C)
            Standard normal.

        Returns
        -------
        shared_mean, shared : numpy.ndarray of shape (K - 1, C)
            The small factors' effects, then the common ones.
        mean, b : numpy.ndarray of shape (q, J, C)
        """
        at = self.at(given, x)
        both = np.concatenate(self.residual.draw(at.reduced.G, x[-1], normals), axis=1)
        both = scaled(both, self.columns, [np.tile(root, 2) for root in at.small])
        shared_mean, shared = np.hsplit(both, 2)
        F = self.factor.roots(at.root)
        mean = self.factor.draw(given, F, shared_mean, np.zeros_like(noise))
        return shared_mean, shared, mean, self.factor.draw(given, F, shared, np.exp(x[-1]) * noise)


def scaled(values: np.ndarray, columns: Columns, roots: list[np.ndarray]) -> np.ndarray:
    """L'values for the small factors' rows, (K, ..., N), or L u for effects u, (K - 1, N); others are unchanged."""
    result = values.copy()
    transposed = values.ndim == 3  # cross-products
    for root, at, q, J in zip(roots, columns.offsets, columns.n_effects, columns.n_levels, strict=True):
        mine = values[at : at + q * J].reshape(J, q, *values.shape[1:])
        new = [total((root[k, e] if transposed else root[e, k]) * mine[:, k] for k in range(q)) for e in range(q)]
        result[at : at + q * J] = np.stack(new, axis=1).reshape(q * J, *values.shape[1:])
    return result


@dataclass(frozen=True)
class Arrangement:
    """A model ready to be sampled.

    Attributes
    ----------
    density : CollapsedDensity
        With its statistics, units and priors.
    columns : Columns
        The shared ones: the small factors' effects, then V.
    VV : numpy.ndarray of shape (K, K)
        Their cross-products, those of y' last.
    factors : tuple of LargeFactor
        The largest last.
    conditionals : tuple of Conditional
        One for each.
    crossing : dict of (int, int) to sparse array of shape (q_f * J_f, q_g * J_g)
        Z_f'W Z_g of the large factors at positions f and g in `factors`, effect after effect.
    """

    density: CollapsedDensity
    columns: Columns
    VV: np.ndarray
    factors: tuple[LargeFactor, ...]
    conditionals: tuple[Conditional, ...]
    crossing: dict[tuple[int, int], sparse.csr_array]

    @classmethod
    def of(cls, density: CollapsedDensity) -> Arrangement:
        """Prepare a model; its large factors have no centres yet."""
        statistics = density.statistics
        large, small = split(statistics.n_effects, statistics.n_levels)
        columns = Columns.of(statistics, small)
        target, values = products_of_rest(statistics, columns)
        VV = np.zeros((columns.total, columns.total))
        rows, cols = target // columns.total, target % columns.total
        VV[rows, cols] = VV[cols, rows] = values
        factors = tuple(LargeFactor.of(statistics, f, columns, VV) for f in large)
        conditionals = tuple(_conditional(density, factor, columns) for factor in factors)
        pairs = [(i, j) for i in range(len(large)) for j in range(len(large)) if i != j]
        met = {(i, j): crossing(statistics, large[i], large[j]) for i, j in pairs}
        return cls(density, columns, VV, factors, conditionals, met)

    def about(self, centres: list[np.ndarray]) -> Arrangement:
        """The same about centres (q, J) of the large factors' effects."""
        T_y = [factor.T[-1].copy() for factor in self.factors]
        VV, new = self.VV.copy(), []
        flat = [centre.ravel() for centre in centres]
        for i, factor in enumerate(self.factors):
            T_y[i] -= np.einsum("ekj,kj->ej", factor.S, centres[i]).ravel()
            T_y[i] -= sum(self.crossing[i, j] @ flat[j] for j in range(len(flat)) if j != i)
        # y'y minus twice Z'y b plus b'Z'Z b is y'y - b'(Z'y + Z'y')
        for factor, left, b in zip(self.factors, T_y, flat, strict=True):
            VV[-1, -1] -= b @ (factor.T[-1] + left)
            taken = factor.T[:-1] @ b
            VV[-1, :-1] -= taken
            VV[:-1, -1] -= taken
            new.append(
                replace(
                    factor, T=np.vstack([factor.T[:-1], left]), centre=factor.centre + b.reshape(factor.centre.shape)
                )
            )
        VV[-1, -1] = max(VV[-1, -1], 0.0)
        return self._with(VV, new, self.conditionals)

    def silent(self) -> Arrangement:
        """The same with y = 0 and prior means of 0: all that is left of an update is its dependence on the others."""
        VV, prior = self.VV.copy(), self.conditionals[0].residual.prior.copy()
        for matrix in (VV, prior):
            matrix[-1] = matrix[:, -1] = 0.0
        new = [
            replace(factor, T=np.vstack([factor.T[:-1], 0 * factor.T[-1]]), centre=np.zeros_like(factor.centre))
            for factor in self.factors
        ]
        quiet = [replace(c, residual=replace(c.residual, prior=prior)) for c in self.conditionals]
        return self._with(VV, new, quiet)

    def _with(self, VV: np.ndarray, factors: list[LargeFactor], conditionals: Sequence[Conditional]) -> Arrangement:
        paired = zip(conditionals, factors, strict=True)
        return replace(
            self,
            VV=VV,
            factors=tuple(factors),
            conditionals=tuple(replace(c, factor=factor) for c, factor in paired),
        )


def shared_columns(columns: Columns, units: Units, design: Design, at: np.ndarray) -> np.ndarray:
    """[Z_small, V] of some rows, (K, n)."""
    found = np.zeros((columns.total, len(at)))
    for f, offset, q in zip(columns.factors, columns.offsets, columns.n_effects, strict=True):
        factor = design.groups[f]
        for e, z in enumerate(units.group_columns(f, factor, at).T):
            found[offset + factor.codes[at] * q + e, np.arange(len(at))] = z
    found[columns.m :] = units.common_columns(design, at).T
    return found


def _conditional(density: CollapsedDensity, factor: LargeFactor, columns: Columns) -> Conditional:
    """The conditional of one factor, with the priors of the whole model."""
    return Conditional(*block_of(density, (factor.position,), columns), factor)


def block_of(
    density: CollapsedDensity, own: tuple[int, ...], columns: Columns
) -> tuple[Columns, Covariances, Residual, np.ndarray]:
    """The attributes of a `Block` of some factors, by position."""
    factors = (*own, *columns.factors)
    covariances = Covariances(tuple(density.covariances.factors[f] for f in factors))
    prior = block_diag(np.eye(columns.m), density.residual.prior)
    residual = replace(density.residual, prior=prior, sd_priors=covariances.sd_priors)
    return columns, covariances, residual, coordinates(density.covariances, factors)


def coordinates(covariances: Covariances, factors: tuple[int, ...]) -> np.ndarray:
    """Positions of the coordinates of some factors among those of all, in the order of `Covariances` of the former."""
    sds, vines, at, where = [], [], 0, covariances.n_sds
    for factor in covariances.factors:
        n = sum(len(block) * (len(block) - 1) // 2 for block in factor.blocks)
        sds.append(np.arange(at, at + len(factor.sds)))
        vines.append(np.arange(where, where + n))
        at, where = at + len(factor.sds), where + n
    return np.concatenate([*(sds[f] for f in factors), *(vines[f] for f in factors)]).astype(int)


def covariance_log_prior(covariances: Covariances, f: int, theta: np.ndarray) -> np.ndarray:
    """Log prior density of one factor's coordinates among those of all, (d, N), on the absolute scale; shape (N,)."""
    own = Covariances((covariances.factors[f],))
    at = own.at(theta[coordinates(covariances, (f,))])
    return at.log_prior + total(prior.log_density(sd) for prior, sd in zip(own.sd_priors, at.sds, strict=True))


def crossing(statistics: CrossProducts, f: int, g: int) -> sparse.csr_array:
    """Z_f'W Z_g, effect after effect."""
    pairs = statistics.between(f, g)
    q_f, q_g = statistics.n_effects[f], statistics.n_effects[g]
    J_f, J_g = statistics.n_levels[f], statistics.n_levels[g]
    effects = [(e, k) for e in range(q_f) for k in range(q_g)]
    rows = np.concatenate([e * J_f + pairs.first for e, _ in effects])
    columns = np.concatenate([k * J_g + pairs.second for _, k in effects])
    values = np.concatenate([pairs.products[e, k] for e, k in effects])
    return sparse.csr_array((values, (rows, columns)), (q_f * J_f, q_g * J_g))
