"""Factors that are nearly nested: how slowly their effects move, and the step that moves them all at once.

If few levels of one factor meet several of another, b_f and b_w hold each other in place. The effects of all factors
but the largest, w, are then drawn once more, given theta, sigma and the shared effects, with all of b_w integrated out:
from the normal distribution with the precision, over sigma^2,

    Q = Sigma_o^-1 + Z_o'W Z_o - A_ow M_w A_wo,      A_ow = Z_o'W Z_w,  M_w = (Sigma_w^-1 + S_w)^-1,

by solving Q b = right-hand side + N(0, sigma^2 Q) with conjugate gradients (Papandreou & Yuille, 2010, Gaussian
sampling by local perturbations, NIPS 23; for crossed effects Pandolfi, Papaspiliopoulos & Zanella, 2024, arXiv
2411.04729). This leaves b_w outdated: the update of w must follow before anything is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse

from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import SamplerError
from bayesmixed.gaussian.batched import conditional_effects, lower, total
from bayesmixed.gaussian.units import Units
from bayesmixed.sampling.gibbs.chains import Chains
from bayesmixed.sampling.gibbs.constants import MAX_ITERATIONS, NOISE_TOLERANCE, POWER, TOLERANCE
from bayesmixed.sampling.gibbs.model import Arrangement


def rate(chains: Chains, rng: np.random.Generator) -> float:
    """Share of the effects' deviations that survives a sweep, at the mean of the chains' coordinates.

    Conditional means are linear in the other factors' effects, so with y = 0 and no noise sweeps become a power
    iteration.
    """
    quiet = Chains(chains.arrangement.silent(), chains.theta.mean(axis=1, keepdims=True), chains.s.mean(keepdims=True))
    if len(quiet.deviations) == 1:
        return 0.0
    for i, deviations in enumerate(quiet.deviations):
        quiet.place(i, rng.standard_normal(deviations.shape))
    norms = []
    for _ in range(POWER):
        for i, deviations in enumerate(quiet.deviations):
            quiet.update(i, lambda i, x, log_density: x, np.zeros_like(quiet.shared), np.zeros_like(deviations))
        norms.append(np.sqrt(np.square(quiet.deviations[-1]).sum()))
    late = POWER // 3
    return float((norms[-1] / norms[-1 - late]) ** (1 / late)) if norms[-1] > 0 else 0.0


@dataclass(frozen=True)
class Cells:
    """Rows of all factors' columns, with equal rows joined: the source of noise with precision Z'WZ.

    New rows may make another factor the largest, or a small one large: so all are kept, in the model's order.

    Attributes
    ----------
    codes : tuple of numpy.ndarray of int, shape (m,)
        Of every factor.
    Z : tuple of numpy.ndarray of shape (q, m)
        Multiplied by the root of the cell's weight.
    """

    STORED: ClassVar[tuple[str, ...]] = ("codes", "Z")

    codes: tuple[np.ndarray, ...]
    Z: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, design: Measured, units: Units) -> Cells:
        """Read the rows of a design, or sums over the pairs of levels of two factors without slopes.

        Raises
        ------
        SamplerError
            If the sums do not determine the rows.
        """
        if isinstance(design, Summed):
            return cls._of_pairs(design, units)
        Z = [units.group_columns(f, factor, slice(None)).T for f, factor in enumerate(design.groups)]
        codes = [np.asarray(factor.codes) for factor in design.groups]
        weights = np.ones(design.n_rows) if design.weights is None else np.asarray(design.weights, dtype=float)
        return cls._joined(codes, Z, weights)

    @classmethod
    def _of_pairs(cls, design: Summed, units: Units) -> Cells:
        if len(design.groups) != 2 or any(group.effect_names != ("Intercept",) for group in design.groups):
            raise SamplerError(
                "its factors are nearly nested, and there are slopes or more than two factors: that needs the rows"
            )
        pairs = design.statistics.products.between(0, 1)
        Z = [np.full((1, len(pairs.first)), 1 / scale) for scale in units.scale]
        return cls._joined([pairs.first, pairs.second], Z, pairs.products[0, 0])

    @classmethod
    def _joined(cls, codes: list[np.ndarray], Z: list[np.ndarray], weights: np.ndarray) -> Cells:
        columns = [*codes, *(row for z in Z for row in z)]
        order = np.lexsort(columns)
        new = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
        start = np.concatenate([[0], np.flatnonzero(new) + 1])
        root = np.sqrt(np.add.reduceat(weights[order], start))
        at = order[start]
        return cls(tuple(code[at] for code in codes), tuple(z[:, at] * root for z in Z))

    def __add__(self, other: Cells) -> Cells:
        """Cells of both sets of rows."""
        paired = zip(self.codes, other.codes, strict=True), zip(self.Z, other.Z, strict=True)
        return Cells(*(tuple(np.concatenate(pair, axis=-1) for pair in pairs) for pairs in paired))

    def load(self, f: int, n_levels: int) -> sparse.csr_array:
        """The matrix from cells to Z' of the factor at position f, (q * J, m)."""
        codes, Z = self.codes[f], self.Z[f]
        rows = np.concatenate([e * n_levels + codes for e in range(len(Z))])
        columns = np.tile(np.arange(len(codes)), len(Z))
        return sparse.csr_array((Z.ravel(), (rows, columns)), (len(Z) * n_levels, len(codes)))


class Redraw:
    """The step, for one arrangement and the cells of its rows.

    Parameters
    ----------
    arrangement : Arrangement
    cells : Cells
    """

    def __init__(self, arrangement: Arrangement, cells: Cells) -> None:
        self._arrangement = arrangement
        factors = arrangement.factors
        self._loads = [cells.load(factor.position, factor.J) for factor in factors]
        self._last = len(factors) - 1
        q, J = factors[-1].q, factors[-1].J
        self._squares = []  # by factor: from packed M_w to the diagonal of A_gw M_w A_wg
        for g in range(self._last):
            A = arrangement.crossing[g, self._last]
            parts = [A[:, k * J : (k + 1) * J] for k in range(q)]
            self._squares.append([(1 + (k != m)) * parts[k].multiply(parts[m]).tocsr() for k, m in lower(q)])

    def __call__(self, chains: Chains, rng: np.random.Generator) -> int:
        """Draw the effects and set them; returns the number of iterations.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the iterations do not converge.
        """
        factors, sigma = self._arrangement.factors, np.exp(chains.s)
        roots = self._arrangement.density.covariances.at(chains.theta).roots
        inverse = [_inverse(roots[factor.position] / sigma) for factor in factors]
        F = factors[-1].roots(roots[factors[-1].position] / sigma)
        right = self._right_hand_sides(chains, inverse, rng)
        mean = _shrink(F, right.pop())
        right = [own - self._arrangement.crossing[g, self._last] @ mean for g, own in enumerate(right)]
        ends = np.cumsum([len(own) for own in right])[:-1]
        precision = [total(row[:, None] * row[None] for row in one) for one in inverse[: self._last]]

        def product(x: np.ndarray) -> np.ndarray:
            return np.concatenate(self._product(np.split(x, ends), precision, F))

        joined = np.concatenate(right)
        goal = self._goal(joined, roots, sigma)
        x, iterations = conjugate_gradients(product, joined, self._diagonal(precision, F), goal)
        for g, b in enumerate(np.split(x, ends)):
            chains.place(g, b.reshape(chains.deviations[g].shape))
        return iterations

    def _goal(self, right: np.ndarray, roots: list[np.ndarray], sigma: np.ndarray) -> np.ndarray:
        """Length of the residual r, (C,), at which an error is small relative to the right-hand side and to the noise.

        An error e = Q^-1 r has e'Qe <= r'r / lambda, where lambda is the smallest eigenvalue of Q, at least that of the
        prior precisions, which is at least 1 / |L|^2. Q has such directions, as one factor's effects may gain what
        another's lose. If sds are large compared with sigma, these directions are only a small part of the right-hand
        side, but all of their spread.
        """
        redrawn = [roots[factor.position] for factor in self._arrangement.factors[:-1]]
        largest = np.max([np.square(root).sum(axis=(0, 1)) for root in redrawn], axis=0)
        length = np.sqrt(np.square(right).sum(axis=0))
        return np.minimum(TOLERANCE * length, NOISE_TOLERANCE * sigma**2 / np.sqrt(largest))

    def _right_hand_sides(
        self, chains: Chains, inverse: list[np.ndarray], rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Z'W (y' - shared) - Sigma^-1 centre + noise with the joint precision as covariance, per factor (q * J, C)."""
        sigma, C = np.exp(chains.s), len(chains.s)
        e = rng.standard_normal((self._loads[0].shape[1], C))
        found = []
        for factor, load, own in zip(self._arrangement.factors, self._loads, inverse, strict=True):
            # in rows of L^-1: with its own precision L'^-1 (z - L^-1 centre)
            z = sigma * rng.standard_normal((factor.q, factor.J, C))
            z -= total(own[:, k, None] * factor.centre[k][:, None] for k in range(factor.q))
            prior = total(own[k, :, None] * z[k] for k in range(factor.q))
            data = factor.T[-1][:, None] - factor.T[:-1].T @ chains.shared
            found.append(data + sigma * (load @ e) + prior.reshape(-1, C))
        return found

    def _product(self, x: list[np.ndarray], precision: list[np.ndarray], F: np.ndarray) -> list[np.ndarray]:
        """Q x, per factor (q * J, C)."""
        crossing, last = self._arrangement.crossing, self._last
        inner = _shrink(F, total(crossing[last, g] @ own for g, own in enumerate(x)))
        result = []
        for g, own in enumerate(x):
            factor = self._arrangement.factors[g]
            b = own.reshape(factor.q, factor.J, -1)
            rows = [
                total((factor.S[e, k][:, None] + precision[g][e, k]) * b[k] for k in range(factor.q))
                for e in range(factor.q)
            ]
            met = [crossing[g, h] @ other for h, other in enumerate(x) if h != g]
            result.append(total([np.stack(rows).reshape(own.shape), *met]) - crossing[g, last] @ inner)
        return result

    def _diagonal(self, precision: list[np.ndarray], F: np.ndarray) -> np.ndarray:
        """The diagonal of Q, (., C)."""
        M = [total(F[i, k] * F[j, k] for k in range(len(F))) for i, j in lower(len(F))]
        found = []
        for g, squares in enumerate(self._squares):
            factor = self._arrangement.factors[g]
            own = np.concatenate([factor.S[e, e][:, None] + precision[g][e, e] for e in range(factor.q)])
            left = own - total(square @ m for square, m in zip(squares, M, strict=True))
            found.append(np.maximum(left, 1e-6 * own))
        return np.concatenate(found)


def _inverse(root: np.ndarray) -> np.ndarray:
    """L^-1 of lower triangular roots, (q, q, C)."""
    return np.moveaxis(np.linalg.inv(np.moveaxis(root, -1, 0)), 0, -1)


def _shrink(F: np.ndarray, t: np.ndarray) -> np.ndarray:
    """M_w t, (q * J, C)."""
    shaped = t.reshape(F.shape[1:])
    return conditional_effects(F, shaped, np.zeros_like(shaped)).reshape(t.shape)


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray], right: np.ndarray, diagonal: np.ndarray, goal: np.ndarray
) -> tuple[np.ndarray, int]:
    """Solve one system per column, (m, C), with the diagonal as preconditioner; also returns the number of iterations.

    `goal` is the length at which a residual is small enough, (C,).

    Raises
    ------
    numpy.linalg.LinAlgError
        If a residual is not small enough after `MAX_ITERATIONS`.
    """
    x, left = np.zeros_like(right), right.copy()
    z = left / diagonal
    direction, size = z, (left * z).sum(axis=0)
    for iteration in range(MAX_ITERATIONS):
        if (np.sqrt(np.square(left).sum(axis=0)) <= goal).all():
            return x, iteration
        taken = product(direction)
        curvature = (direction * taken).sum(axis=0)
        step = np.divide(size, curvature, out=np.zeros_like(size), where=curvature > 0)
        x += step * direction
        left -= step * taken
        z = left / diagonal
        before, size = size, (left * z).sum(axis=0)
        direction = z + np.divide(size, before, out=np.zeros_like(size), where=before > 0) * direction
    raise np.linalg.LinAlgError(f"conjugate gradients did not converge in {MAX_ITERATIONS} iterations")
