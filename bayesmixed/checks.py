"""Read a response, refuse data that no model can be fitted to, and tell one set of rows from another."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import column_or_1d

from bayesmixed.design import Design
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.frames import plain
from bayesmixed.priors import moments
from bayesmixed.scaling import SIGMA_FLOOR

# relative size below which a column, or a residual, is rounding error
_ROUNDING = 1e-10
_ODD = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: spreads bits when it multiplies


def check_response(y: np.ndarray) -> None:
    """Refuse a response of a fit, as `read_numbers` has read it, that leaves nothing to explain.

    Raises
    ------
    ValueError
        Fewer than two rows, or all of them equal.
    """
    if len(y) < 2:
        raise ValueError(f"Found {len(y)} sample(s) with a positive weight, while a minimum of 2 is required.")
    if np.ptp(y) == 0:
        raise ValueError(f"y is constant ({y[0]} in all {len(y)} rows): there is nothing to explain.")


def read_numbers(y: Any, n_rows: int, counts: np.ndarray | None = None) -> np.ndarray:
    """Read a response as float64, shape (n,).

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    n_rows : int
    counts : numpy.ndarray of bool, shape (n_rows,), optional
        Rows that count, those of positive weight; only they are returned.

    Raises
    ------
    ValueError
        Wrong length or shape, not numeric, missing or infinite values (with their number).
    """
    values = column_or_1d(y, warn=True)
    if len(values) != n_rows:
        raise ValueError(f"X and y have inconsistent numbers of rows: {n_rows} and {len(values)}.")
    if np.iscomplexobj(values):
        raise ValueError("Complex data not supported: y must be real numbers.")
    column = plain(pd.Series(values if counts is None else values[counts]))
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise ValueError(f"y must be numeric, got dtype {column.dtype}.")
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if bad := np.count_nonzero(~np.isfinite(numbers)):
        raise ValueError(
            f"Input y contains NaN or infinity in {bad} of {len(numbers)} rows; drop these rows or impute."
        )
    return numbers


def check_rank(design: Design) -> None:
    """Refuse a common column that others determine, when there are more rows than columns.

    Raises
    ------
    FormulaError
        Names the column and those it depends on.
    """
    p = design.X.shape[1]
    if p == 0 or design.n_rows <= p + design.has_intercept:
        return
    location, scale = moments(design.X, design.weights, design.has_intercept)
    constant = np.ptp(design.X, axis=0) == 0
    if design.has_intercept and constant.any():
        names = quoted(np.array(design.common_names)[constant])
        raise FormulaError(f"common effect {names} is constant, as the intercept is; drop it from the formula.")
    columns = (design.X - location) / scale
    R = np.linalg.qr(columns, mode="r")
    # a column that earlier ones determine leaves nothing on the diagonal
    dependent = np.flatnonzero(np.abs(np.diag(R)) <= _ROUNDING * np.linalg.norm(R, axis=0))
    if len(dependent):
        j = int(dependent[0])
        weights = np.linalg.lstsq(columns[:, :j], columns[:, j], rcond=None)[0]
        of = [design.common_names[k] for k in np.flatnonzero(np.abs(weights) > 1e-8)]
        raise FormulaError(
            f"common effect {design.common_names[j]!r} is collinear: it is determined by {quoted(of) or 'zeros alone'}"
            f"{' and the intercept' if design.has_intercept else ''}; drop one of these terms from the formula."
        )


def check_residuals(design: Design, refuse: bool) -> None:
    """Refuse, or warn of, common effects that fit the response without error.

    Parameters
    ----------
    design : Design
    refuse : bool
        Raise instead of warn.
    """
    if design.n_rows <= design.X.shape[1] + design.has_intercept:
        return
    location, scale = moments(design.X, design.weights, design.has_intercept)
    y_location, _ = moments(design.response, design.weights, design.has_intercept)
    columns, y = (design.X - location) / scale, design.response - y_location
    rounding = max(_ROUNDING * np.abs(y).max(), 1e-14 * np.abs(np.asarray(design.y)).max())
    residual = y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    if np.abs(residual).max() > rounding:
        return
    effects = quoted(design.common_names) or "(the intercept alone)"
    message = f"the common effects {effects} fit y without error (all residuals are zero)"
    if refuse:
        raise FormulaError(f"{message}; is one of them computed from y?")
    warnings.warn(f"{message}; sigma is kept above {SIGMA_FLOOR:g} sd(y).", UserWarning, stacklevel=5)


def checksum(design: Design) -> int:
    """Tell the rows of a fit from others.

    A sum over rows, modulo 2^64, of a mixed-up number of each: it does not depend on their order, and those of two
    sets of rows add up. Numbers are rounded to 11 digits: a row's columns of a spline may differ in the last bit from
    those of the same row among others.
    """
    weights = np.ones(design.n_rows) if design.weights is None else design.weights
    columns = [design.response, weights, *design.X.T]
    for factor in design.groups:
        columns += [factor.codes, *factor.Z.T]
    mixed = np.zeros(design.n_rows, dtype=np.uint64)
    for at, column in enumerate(columns, start=1):
        bits = (np.asarray(column, dtype=np.float64) + 0.0).view(np.uint64)  # -0.0 is 0.0
        bits = (bits + np.uint64(2**15)) >> np.uint64(16)
        mixed = (mixed ^ bits) * np.uint64(_ODD * (2 * at + 1) % 2**64)
        mixed ^= mixed >> np.uint64(29)
    return int(mixed.sum(dtype=np.uint64))
