"""Swept columns: where default priors are stated, so that they do not depend on where a covariate has its zero.

Column j *contains* the columns of earlier terms in its variables (`ColumnsSpec.contains`): ``arm:year`` contains
``arm`` and ``year``, ``I(x**2)`` contains ``x``, everything contains the intercept. Swept of these columns it is

    x^s_j = x_j - its weighted least-squares fit on the columns it contains,

so that ``x^s = x T`` with T unit upper triangular when the columns are ordered by their terms. The linear predictor
``x beta`` is ``x^s beta^s`` with ``beta = T beta^s``. Shifting or scaling a covariate changes x^s only by a factor:
independent priors of beta^s, scaled by 1 / sd(x^s), are then priors of the same model, whatever the origin. Centring
is the first row of T; for the rest, see Nelder (1977), A reformulation of linear models, Journal of the Royal
Statistical Society A 140, section 2, on what a coefficient means next to the terms that contain its own.

T is computed from cross-products only, so rows may come in any number of pieces.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bayesmixed.design.moments import Moments

NOTHING_LEFT = 1e-7  # of a column's norm: the least that sums of squares with 16 digits can tell from rounding
_ROUNDING = 1e-14  # of a column's size: below it, a spread, a mean or a part is rounding

Swept = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Sweep:
    """How columns are swept.

    Attributes
    ----------
    location : numpy.ndarray of shape (k,)
        Coefficient of the intercept in each column's fit; 0 where nothing is swept of it.
    coefficients : numpy.ndarray of shape (k, k)
        Of column l in column j's fit, at (l, j).
    scale : numpy.ndarray of shape (k,)
        Standard deviation of the column swept of all that it contains; root mean square without any intercept.
    undetermined : numpy.ndarray of bool, shape (k,)
        Columns of which sweeping leaves nothing: they stay unswept, with the scale of their term's other columns, or 1.
    """

    location: np.ndarray
    coefficients: np.ndarray
    scale: np.ndarray
    undetermined: np.ndarray

    def entries(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """The non-zero coefficients of each column's fit, as plain data."""
        found: dict[str, dict[str, float]] = {}
        for j, name in enumerate(names):
            own = {"Intercept": float(self.location[j])} if self.location[j] else {}
            own |= {other: float(at) for other, at in zip(names, self.coefficients[:, j], strict=True) if at}
            if own:
                found[name] = own
        return found


def sweep(
    moments: Moments,
    contains: Sequence[Collection[int]],
    terms: Sequence[str],
    *,
    centred: bool,
    of_intercept: bool,
    kept: Collection[int] = (),
) -> Sweep:
    """Sweep every column of those that it contains.

    Parameters
    ----------
    moments : Moments
        Of k columns, without the intercept.
    contains : sequence of collections of int, length k
        As `ColumnsSpec.contains`.
    terms : sequence of str, length k
        The term of each column.
    centred : bool
        Whether there is an intercept, so that a scale is a standard deviation.
    of_intercept : bool
        Whether columns are swept of it.
    kept : collection of int
        Columns that are not swept out of others: their priors hold for their coefficients as written. Scales are still
        those of columns swept of all that they contain, the part that the data can inform.
    """
    k = len(moments.mean)
    raw = moments.covariance + np.outer(moments.mean, moments.mean)
    whole, fitted = (moments.covariance if has else raw for has in (centred, of_intercept))
    location, coefficients = np.zeros(k), np.zeros((k, k))
    undetermined, scale = np.zeros(k, dtype=bool), np.ones(k)
    for j in sorted(range(k), key=lambda j: len(contains[j])):  # what a column contains comes before it
        inside = [at for at in contains[j] if not undetermined[at]]
        left = _less(whole, inside, j)
        scale[j] = np.sqrt(max(left @ whole @ left, 0.0))
        floor = max(NOTHING_LEFT * np.sqrt(whole[j, j]), _ROUNDING * np.sqrt(raw[j, j]))
        undetermined[j] = scale[j] <= floor
        if undetermined[j]:
            continue
        of = [at for at in inside if at not in kept]
        own = left if of == inside and of_intercept == centred else _less(fitted, of, j)
        own[np.abs(own) * np.sqrt(np.diag(whole)) <= _ROUNDING * scale[j]] = 0.0
        coefficients[:, j] = -own
        coefficients[j, j] = 0.0
        at_zero = own @ moments.mean if of_intercept else 0.0
        location[j] = at_zero if abs(at_zero) > _ROUNDING * scale[j] else 0.0  # rounding, in a centred column
    for j in np.flatnonzero(undetermined).tolist():
        others = [i for i in range(k) if terms[i] == terms[j] and not undetermined[i]]
        scale[j] = np.sqrt(np.mean(np.square(scale[others]))) if others else 1.0
    return Sweep(location, coefficients, scale, undetermined)


def _less(products: np.ndarray, of: list[int], j: int) -> np.ndarray:
    """Column j less its least-squares fit on others, as a combination of columns, (k,), from cross-products."""
    own = np.zeros(len(products))
    own[j] = 1.0
    if of:
        size = np.sqrt(np.diag(products)[of])
        size = np.where(size > 0, size, 1.0)
        scaled = products[np.ix_(of, of)] / np.outer(size, size)
        own[of] = -np.linalg.lstsq(scaled, products[of, j] / size, rcond=NOTHING_LEFT**2)[0] / size
    return own


def sweep_matrix(swept: Swept, names: Sequence[str]) -> np.ndarray:
    """T of shape (k, k) over named columns, the intercept among them: ``x^s = x T``.

    Examples
    --------
    >>> sweep_matrix({"Days": {"Intercept": 4.5}}, ["Intercept", "Days"])
    array([[ 1. , -4.5],
           [ 0. ,  1. ]])
    """
    T = np.eye(len(names))
    position = {name: at for at, name in enumerate(names)}
    for name, fit in swept.items():
        for other, coefficient in fit.items():
            T[position[other], position[name]] = -coefficient
    return T


def swept_columns(T: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """``columns @ T``, (n, k), entry by entry, so that a row's numbers do not depend on the other rows."""
    result = columns
    for at, j in _entries(T):
        result = columns.copy() if result is columns else result
        result[:, j] += T[at, j] * columns[:, at]
    return result


def swept_effects(T: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """``T @ effects``, (k, ...), entry by entry: coefficients as written, from those of swept columns."""
    result = effects
    for at, j in _entries(T):
        result = effects.copy() if result is effects else result
        result[at] += T[at, j] * effects[j]
    return result


def _entries(T: np.ndarray) -> list[tuple[int, int]]:
    """Positions of T's non-zero entries off the diagonal."""
    rows, columns = np.nonzero(T - np.diag(np.diag(T)))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
