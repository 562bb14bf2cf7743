"""LKJ(eta) correlations as a C-vine: the only place that knows how they are built.

The partial correlation rho of effects i < k of a block of m, given the effects before i, is 2 Beta(alpha, alpha) - 1
with alpha as in `alpha`, all independent; products of the remainders make the Cholesky factor of the correlations.

References
----------
Lewandowski, Kurowicka & Joe (2009), Generating random correlation matrices based on vines and extended onion
method, Journal of Multivariate Analysis 100, 1989-2001, section 2.4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.special import polygamma


def alpha(i: int, m: int, eta: float) -> float:
    """Shape of the partial correlations with effect `i` of a block of `m`, counted from 0.

    Examples
    --------
    >>> alpha(0, 2, eta=2.0)
    2.0
    """
    return eta + (m - 2 - i) / 2


def cholesky_rows(
    m: int, partial: Callable[[int, int], tuple[Any, Any]], sqrt: Callable[[Any], Any] = np.sqrt
) -> list[list[Any]]:
    """Rows of the Cholesky factor of the correlation matrix of a block of `m`, up to the diagonal.

    Parameters
    ----------
    m : int
    partial : callable
        Gives rho and 1 - rho^2 of effects (k, i), i < k; called once for each, row by row; numbers, arrays or tensors.
    sqrt : callable
        For values of that kind; the identity if `partial` gives the root of 1 - rho^2, which underflows later.

    Examples
    --------
    >>> [[float(entry) for entry in row] for row in cholesky_rows(2, lambda k, i: (0.6, 0.64))]
    [[1.0], [0.6, 0.8]]
    """
    rows = []
    for k in range(m):
        row, left = [], 1.0  # what is left: 1 - sum of squares of the row so far
        for i in range(k):
            rho, rest = partial(k, i)
            row.append(rho * sqrt(left))
            left = left * rest
        rows.append([*row, sqrt(left)])
    return rows


def from_beta(u: Any) -> tuple[Any, Any]:
    """Rho and 1 - rho^2 of a Beta(alpha, alpha) variable."""
    return 2 * u - 1, 4 * u * (1 - u)


@cache
def _spread(shape: float) -> float:
    return float(np.sqrt(polygamma(1, shape) / 2))


def from_unbounded(v: np.ndarray, shape: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rho, (1 - rho^2)^(1/2) and the log prior density of v up to a constant, where rho = tanh(s v); elementwise.

    With s^2 = psi'(alpha) / 2, the variance of atanh(rho), v is of order one.
    """
    y = _spread(shape) * v
    log_cosh = np.abs(y) + np.log1p(np.exp(-2 * np.abs(y))) - np.log(2)
    # 1 - tanh(y)^2 = cosh(y)^-2; the density of y is its power alpha, Jacobian included
    return np.tanh(y), np.exp(-log_cosh), -2 * shape * log_cosh
