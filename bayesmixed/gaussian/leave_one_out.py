"""The density of every row given all others, with group and common effects integrated out, at the chains' points.

Given the group covariances and sigma, let eta_i be the linear predictor of row i, with posterior mean m_i and variance
h_i, and kappa_i = w_i h_i / sigma^2. Removing the row leaves a normal density in closed form,

    y_i | y_-i, theta, sigma ~ N(y_i - e_i / (1 - kappa_i), sigma^2 / (w_i (1 - kappa_i))),      e_i = y_i - m_i,

(e.g. Vehtari, Mononen, Tolvanen, Sivula & Winther, 2016, Bayesian leave-one-out cross-validation approximations for
Gaussian latent variable models, Journal of Machine Learning Research 17(103), section 3). A frequency weight stands
for w_i equal rows, which are left out together.

m_i and h_i come from the elimination that gives the density: eliminating b_j from a row [z_i, v_i] leaves
v_i - C_j' M_j z_i of it and adds sigma^2 z_i' M_j z_i to the variance, M_j = (Sigma^-1 + S_j)^-1.
"""

from __future__ import annotations

import numpy as np

from bayesmixed.chunks import allowed, chunks
from bayesmixed.design.spec import Design
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.effects import Points
from bayesmixed.gaussian.units import WorkingRows

_MIN_KEPT = 1e-15  # lower bound of 1 - kappa, against rounding


def leave_one_out(density: CollapsedDensity, points: Points, design: Design) -> np.ndarray:
    """Log densities of the rows, each given all others, at every draw.

    Parameters
    ----------
    density : CollapsedDensity
    points : Points
        Of the draws.
    design : Design
        The rows of `density`.

    Returns
    -------
    numpy.ndarray of shape (S, n)
        On the user's scale.
    """
    elimination, order = density.elimination, density.elimination.first.order
    found = np.empty((len(points.s), design.n_rows))
    by_level = np.argsort(design.groups[order[0]].codes, kind="stable")  # rows of a level share the work
    width = len(density.residual.prior) + elimination.row_size
    for some in density.chunks(len(points.s)):
        s = points.s[some]
        factorised = elimination.factorise([root[..., some] for root in points.roots])
        for some_rows in chunks(design.n_rows, width * len(s), allowed().working):
            at = by_level[some_rows]
            rows = WorkingRows.of(density.units, order, design, at)
            left, variance = factorised.without(rows)
            residual, spread = last_step(density.residual.prior, factorised.G, s, left)
            spread += variance * np.exp(2 * s)
            variances = np.exp(2 * s)[:, None]
            y_scale = density.units.scaling.y_scale
            found[some, at] = left_out_density(residual.T, spread.T, variances, rows.weights, y_scale)
    return found[points.which]


def last_step(prior: np.ndarray, G: np.ndarray, s: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals e and variances, each (n, N), when the common effects are eliminated from rows `left`, (P, n, N)."""
    p = len(prior) - 1
    H = np.moveaxis(G * np.exp(-2 * s) + prior[:, :, None], -1, 0)
    L = np.linalg.cholesky(H[:, :p, :p])
    goal = np.linalg.solve(L, H[:, :p, p:])  # L'gamma_mean
    w = np.linalg.solve(L, left[:-1].transpose(2, 0, 1))  # (N, p, n)
    return left[-1] - (w * goal).sum(axis=1).T, np.square(w).sum(axis=1).T


def left_out_density(
    residual: np.ndarray, spread: np.ndarray, variance: np.ndarray, weights: np.ndarray | None, y_scale: float
) -> np.ndarray:
    """Log density of each row given all others, (S, n), from residuals and variances given all rows.

    Parameters
    ----------
    residual, spread : numpy.ndarray of shape (S, n)
        y minus the posterior mean of its linear predictor, and the latter's variance; working units.
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
    kept = np.maximum(1 - w * spread / variance, _MIN_KEPT)  # 1 - kappa
    # w equal rows: N(y | ., sigma^2 / w) times (2 pi sigma^2)^(-(w - 1) / 2) w^(-1/2), whose w's cancel
    total = -0.5 * w * np.log(2 * np.pi * variance) + 0.5 * np.log(kept)
    return total - 0.5 * w * np.square(residual) / (variance * kept) - w * np.log(y_scale)
