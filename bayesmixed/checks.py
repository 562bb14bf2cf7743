"""Refuse data that no model can be fitted to: a bad response, collinear columns, an exact fit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design import Design
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.priors import moments
from bayesmixed.scaling import SIGMA_FLOOR

# relative size below which a column, or a residual, is rounding error
_ROUNDING = 1e-10


def check_response(y: Any, n_rows: int) -> np.ndarray:
    """The response as float64, shape (n,).

    Raises
    ------
    ValueError
        Wrong length or shape, not numeric, missing or infinite values (with their number), constant.
    """
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {values.shape} instead.")
    if len(values) != n_rows:
        raise ValueError(f"X and y have inconsistent numbers of rows: {n_rows} and {len(values)}.")
    if np.iscomplexobj(values):
        raise ValueError("Complex data not supported: y must be real numbers.")
    column = pd.Series(values).infer_objects()
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise ValueError(f"y must be numeric, got dtype {column.dtype}.")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if bad := np.count_nonzero(~np.isfinite(values)):
        raise ValueError(f"Input y contains NaN or infinity in {bad} of {n_rows} rows; drop these rows or impute.")
    if np.ptp(values) == 0:
        raise ValueError(f"y is constant ({values[0]} in all {n_rows} rows): there is nothing to explain.")
    return values


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
    message = f"the common effects {quoted(design.common_names)} fit y without error (all residuals are zero)"
    if refuse:
        raise FormulaError(f"{message}; is one of them computed from y?")
    warnings.warn(f"{message}; sigma is kept above {SIGMA_FLOOR:g} sd(y).", UserWarning, stacklevel=3)
