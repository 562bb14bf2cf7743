"""The density of every row given all others, group and common effects integrated out, at the chains' points.

Given the group covariances and sigma, let eta_i be the linear predictor of row i, with posterior mean m_i and variance
h_i, and kappa_i = w_i h_i / sigma^2. Taking the row out again leaves a normal density in closed form,

    y_i | y_-i, theta, sigma ~ N(y_i - e_i / (1 - kappa_i), sigma^2 / (w_i (1 - kappa_i))),      e_i = y_i - m_i,

(e.g. Vehtari, Mononen, Tolvanen, Sivula & Winther, 2016, Bayesian leave-one-out cross-validation approximations for
Gaussian latent variable models, Journal of Machine Learning Research 17(103), section 3). A frequency weight stands
for w_i equal rows, which are left out together.

m_i and h_i come from the elimination that gives the density: eliminating b_j from a row [z_i, v_i] leaves
v_i - C_j' M_j z_i of it and adds sigma^2 z_i' M_j z_i to the variance, M_j = (Sigma^-1 + S_j)^-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular

from bayesmixed.design.spec import Design
from bayesmixed.gaussian.batched import conditional_root, unpack
from bayesmixed.gaussian.crossed import CrossedFactors
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.effects import Points
from bayesmixed.gaussian.elimination import Columns, cross_products
from bayesmixed.gaussian.nested import Nested, NestedFactors

_LEAST_KEPT = 1e-15  # of 1 - kappa, beyond rounding
_WORK = 2_000_000  # numbers in the working arrays of one chunk of rows and points


def leave_one_out(density: CollapsedDensity, points: Points, design: Design) -> np.ndarray:
    """Log densities of the rows, each given all others, at every draw.

    Parameters
    ----------
    density : CollapsedDensity
    points : Points
        Of the draws.
    design : Design
        The rows that `density` knows.

    Returns
    -------
    numpy.ndarray of shape (S, n)
        On the user's scale.
    """
    first, columns = density.order[0], density.columns
    found = np.empty((len(points.s), design.n_rows))
    by_level = np.argsort(design.groups[first].codes, kind="stable")  # rows of a level share what crossed factors cost
    nested = isinstance(density.others, Nested)
    cross = [] if nested else cross_products(density.statistics, first, columns)
    width = len(density.residual.prior) + (sum(density.statistics.n_effects) if nested else columns.m)
    for start in range(0, len(points.s), density.at_once):
        some = slice(start, start + density.at_once)
        roots, s = [root[..., some] for root in points.roots], points.s[some]
        factored = density.factor(roots)
        later = [] if isinstance(factored, NestedFactors) else _later_covariances(factored)
        step = max(1, _WORK // (width * len(s)))
        for first_row in range(0, design.n_rows, step):
            at = by_level[first_row : first_row + step]
            rows = WorkingRows.of(density, design, at)
            g, left, variance = rows.without_first(density, roots[first])
            if isinstance(factored, NestedFactors):
                left, further = rows.without_nested(density, factored, g, left)
            else:
                left, further = rows.without_crossed(columns, later, cross, g, left)
            residual, spread = _last_step(density.residual.prior, factored.G, s, left)
            spread += (variance + further) * np.exp(2 * s)
            variances = np.exp(2 * s)[:, None]
            y_scale = density.units.scaling.y_scale
            found[some, at] = left_out_density(residual.T, spread.T, variances, rows.weights, y_scale)
    return found[points.which]


def _last_step(prior: np.ndarray, G: np.ndarray, s: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals e and variances, each (n, N), when the common effects are eliminated from rows left, (P, n, N)."""
    p = len(prior) - 1
    H = np.moveaxis(G * np.exp(-2 * s) + prior[:, :, None], -1, 0)
    L = np.linalg.cholesky(H[:, :p, :p])
    goal = np.linalg.solve(L, H[:, :p, p:])  # L'gamma_mean
    w = np.linalg.solve(L, left[:-1].transpose(2, 0, 1))  # (N, p, n)
    return left[-1] - (w * goal).sum(axis=1).T, np.square(w).sum(axis=1).T


def _later_covariances(factored: CrossedFactors) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per point, a root H (m, m) of the covariance of the later effects, and Q = H H' B_zv, (m, P).

    The covariance is over sigma^2, given the common effects and with the first factor integrated out.
    """
    columns, found = factored.columns, []
    for n in range(factored.G.shape[2]):
        inverse = solve_triangular(factored.R[:, :, n], np.eye(columns.m), check_finite=False)
        by_factor = zip(factored.roots, columns.split(inverse), strict=True)
        H = columns.join([np.tensordot(root[:, :, n], own, 1) for root, own in by_factor])  # L R^-1
        found.append((H, H @ factored.right[:, :, n]))
    return found


@dataclass(frozen=True)
class WorkingRows:
    """Some rows, in working units, with the factors in the order of their elimination.

    Attributes
    ----------
    Z : list of numpy.ndarray of shape (q, n)
    codes : list of numpy.ndarray of int, shape (n,)
    V : numpy.ndarray of shape (P, n)
    weights : numpy.ndarray of shape (n,), or None
    """

    Z: list[np.ndarray]
    codes: list[np.ndarray]
    V: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(cls, density: CollapsedDensity, design: Design, at: np.ndarray) -> WorkingRows:
        """Read some rows of a design."""
        Z = [density.units.group_columns(f, design.groups[f], at).T for f in density.order]
        codes = [design.groups[f].codes[at] for f in density.order]
        weights = None if design.weights is None else design.weights[at]
        return cls(Z, codes, density.units.common_columns(design, at).T, weights)

    def without_first(self, density: CollapsedDensity, root: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eliminate the first factor: g = M_j z_i, (q, n, N); what is left of V, (P, n, N); z_i'M_j z_i, (n, N)."""
        kinds, place = np.unique(density.first.kind[self.codes[0]], return_inverse=True)
        S = unpack(density.first.S[:, kinds], len(self.Z[0]))
        F, _ = conditional_root(S[..., None], root[:, :, None])
        g, variance = _own_part(F[:, :, place], self.Z[0][..., None])
        T = density.statistics.T[density.order[0]][:, :, self.codes[0], None]
        return g, self.V[..., None] - (g[:, None] * T).sum(axis=0), variance

    def without_nested(
        self, density: CollapsedDensity, factored: NestedFactors, g: np.ndarray, left: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eliminate the later factors one by one; returns what is left of V, and the variance of their part."""
        columns = []
        for f, Z in zip(density.columns.factors, self.Z[1:], strict=True):
            # a level of the first factor occurs with a single one of each later factor
            C = density.statistics.between(density.order[0], f).products[:, :, self.codes[0], None]
            columns += list(Z[..., None] - (g[:, None] * C).sum(axis=0))
        rest, variance = [*columns, *left], np.zeros(left.shape[1:])
        for (F, C), codes in zip(factored.kept, self.codes[1:], strict=True):
            q = len(F)
            g, own = _own_part(F[:, :, codes], np.array(rest[:q]))
            taken = (g[:, None] * C[:, :, codes]).sum(axis=0)
            rest = [value - less for value, less in zip(rest[q:], taken, strict=True)]
            variance += own
        return np.array(rest), variance

    def without_crossed(
        self,
        columns: Columns,
        later: list[tuple[np.ndarray, np.ndarray]],
        cross: list[sparse.csr_array],
        g: np.ndarray,
        left: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eliminate the later factors together; returns what is left of V, and the variance of their part.

        Their columns of a row are r = a - sum_e g_e C_e: a holds its own z, C_e the cross-products of its level of the
        first factor (`cross`). The variance is |H'r|^2, and V loses Q'r (`later`, of every point).
        """
        layout = zip(columns.offsets, columns.n_effects, self.codes[1:], strict=True)
        at = np.concatenate([offset + codes * q + np.arange(q)[:, None] for offset, q, codes in layout])
        a = np.concatenate(self.Z[1:])
        levels, place = np.unique(self.codes[0], return_inverse=True)
        C = [of_effect[levels] for of_effect in cross]
        left, variance = left.copy(), np.empty(left.shape[1:])
        for n, (H, Q) in enumerate(later):
            turned, taken = (sum(value[:, None] * M[own] for value, own in zip(a, at, strict=True)) for M in (H, Q))
            for weight, of_effect in zip(g[:, :, n], C, strict=True):
                turned -= weight[:, None] * (of_effect @ H)[place]
                taken -= weight[:, None] * (of_effect @ Q)[place]
            variance[:, n] = np.square(turned).sum(axis=1)  # not r'H H'r term by term, which cancels
            left[:, :, n] -= taken.T
        return left, variance


def _own_part(F: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """M z, (q, n, N), and z'M z, (n, N), for M = F F', F of shape (q, q, n, N), z of (q, n, 1 or N)."""
    inner = (F * z[:, None]).sum(axis=0)
    return (F * inner).sum(axis=1), np.square(inner).sum(axis=0)


def left_out_density(
    residual: np.ndarray, spread: np.ndarray, variance: np.ndarray, weights: np.ndarray | None, y_scale: float
) -> np.ndarray:
    """Log density of each row given all others, (S, n), from what they say of it themselves.

    Parameters
    ----------
    residual, spread : numpy.ndarray of shape (S, n)
        y less the posterior mean of its linear predictor, and that one's variance; working units.
    variance : numpy.ndarray of shape (S, 1)
        sigma^2, working units.
    weights : numpy.ndarray of shape (n,), or None
    y_scale : float
        A working unit.

    Notes
    -----
    See `bayesmixed.gaussian.leave_one_out`.
    """
    w = np.ones(1) if weights is None else weights
    kept = np.maximum(1 - w * spread / variance, _LEAST_KEPT)  # 1 - kappa
    # w equal rows: N(y | ., sigma^2 / w) times (2 pi sigma^2)^(-(w - 1) / 2) w^(-1/2), whose w's cancel
    total = -0.5 * w * np.log(2 * np.pi * variance) + 0.5 * np.log(kept)
    return total - 0.5 * w * np.square(residual) / (variance * kept) - w * np.log(y_scale)
