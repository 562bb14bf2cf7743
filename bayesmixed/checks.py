"""Read a response, refuse data that no model can be fitted to, and tell one set of rows from another."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import column_or_1d

from bayesmixed.defaults import moments
from bayesmixed.design import Design
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.frames import plain
from bayesmixed.grouping import GroupFactor
from bayesmixed.swept import NOTHING_LEFT

MOST_NAMED = 10  # columns in one warning
_TINY = 1e-100  # of numbers whose squares, and sums of these, are safe
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


def check_units(design: Design) -> None:
    """Refuse numbers whose squares are beyond what a double can hold.

    Raises
    ------
    FormulaError
        Names the column, or y, and the cure.
    """
    columns = {name: design.X[:, at] for at, name in enumerate(design.common_names)}
    for factor in design.groups:
        columns |= {name: factor.Z[:, at] for at, name in enumerate(factor.effect_names)}
    for name, values in {"y": design.response, **columns}.items():
        largest = np.abs(values).max(initial=0.0)
        if largest > 1 / _TINY or 0 < largest < _TINY:
            raise FormulaError(
                f"the values of {name!r} go up to {largest:.3g} in size, expected {_TINY:g} to {1 / _TINY:g}, whose "
                "squares a computer can hold; express it in another unit."
            )


def warn_undetermined(design: Design) -> None:
    """Name the columns that the data cannot tell from others, in one warning; they are fitted, by their priors.

    These are columns that are constant beside an intercept, all zero, or a combination of others: of the common part,
    or left of one bar.

    Warns
    -----
    UserWarning
    """
    weights = design.weights
    found = _undetermined(design.X, weights, design.common_names, design.has_intercept)
    for factor in design.groups:
        names = factor.effect_names
        for block in factor.blocks:
            slopes = [k for k in block if names[k] != "Intercept"]
            # with columns of other bars they may be combinations: (1 | g) + (0 + k | g) means what it says
            has_intercept = len(slopes) < len(block) or (len(block) == 1 and "Intercept" in names)
            own = _undetermined(factor.Z[:, slopes], weights, tuple(names[k] for k in slopes), has_intercept)
            found += [f"{text} left of the bar of {factor.name!r}" for text in own]
        found += [f"{text} left of the bars of {factor.name!r}" for text in _proportional(factor)]
    if found:
        few = found if len(found) <= MOST_NAMED else [*found[:MOST_NAMED], f"{len(found) - MOST_NAMED} more"]
        warnings.warn(
            f"the data cannot tell some columns from others, only their priors do: {'; '.join(few)}. They are fitted; "
            "where a whole term is redundant, drop it from the formula.",
            UserWarning,
            stacklevel=5,
        )


def _proportional(factor: GroupFactor) -> list[str]:
    """Slopes in different blocks of which one is a multiple of another, with its name."""
    size = np.linalg.norm(factor.Z, axis=0)
    unit = factor.Z / np.where(size > 0, size, 1.0)
    alike = np.abs(unit.T @ unit) > 1 - NOTHING_LEFT**2
    block = {k: at for at, block in enumerate(factor.blocks) for k in block}
    names = factor.effect_names
    pairs = [(i, j) for j in range(len(names)) for i in range(j) if alike[i, j] and block[i] != block[j]]
    return [f"{names[j]!r} is a multiple of {names[i]!r}" for i, j in pairs if names[i] != "Intercept"]


def _undetermined(
    columns: np.ndarray, weights: np.ndarray | None, names: tuple[str, ...], has_intercept: bool
) -> list[str]:
    """What is wrong with each column that earlier ones and the intercept determine, with its name."""
    mean, scale = moments(columns, weights, has_intercept)
    root = np.linalg.qr((columns - mean) / scale, mode="r")  # the same inner products, in few rows
    basis = np.empty((len(root), 0))
    independent: list[int] = []
    found = []
    for j, name in enumerate(names):
        size = np.linalg.norm(root[:, j])
        left = root[:, j]
        for _ in range(2):  # once is not enough, twice is (Kahan; see Giraud, Langou & Rozloznik, 2005)
            left = left - basis @ (basis.T @ left)
        if np.ptp(columns[:, j]) == 0 and (has_intercept or not columns[0, j]):
            found.append(f"{str(name)!r} is {'constant' if columns[0, j] else 'all zero'}")
        elif np.linalg.norm(left) <= NOTHING_LEFT * size:
            weight = np.linalg.lstsq(root[:, independent], root[:, j], rcond=None)[0]
            of = [str(names[k]) for k, w in zip(independent, weight, strict=True) if abs(w) > NOTHING_LEFT]
            intercept = " and the intercept" if has_intercept else ""
            found.append(f"{str(name)!r} is a combination of {quoted(of)}{intercept}")
        else:
            basis = np.column_stack([basis, left / np.linalg.norm(left)])
            independent.append(j)
    return found


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
