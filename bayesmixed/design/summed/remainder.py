"""Rows subtracted from sums: what is left, or why no rows can have such sums, or rounding hides them.

A difference keeps the rounding errors of the minuend: for a sum of squares w, about 1e-16 w. If these hide what is left
of a column, the difference is rejected unless the column is known: it is 0 if no row is left of the level of a category
for which it stands, and 0 or 1 if it holds zeros and ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

import numpy as np

from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.design.factors import GroupSpec
from bayesmixed.design.moments import Moments
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.statistics import Sums
from bayesmixed.errors import quoted
from bayesmixed.formula.terms import Component

Seen = Mapping[str, np.ndarray]

_ROUNDING = 1e-9  # times a sum of squares or weights: how far below zero a difference may be
_HIDDEN = 1e-10  # times a column's sum of squares: if no more is left of it, fewer than six digits are right
_HIDDEN_IN_LEVEL = 1e-11  # the same for one level
_CONSTANT = 1e-13  # times a column's root mean square: a smaller spread is a rounding error
_NO_WEIGHT = 1e-12  # times a level's weight: less than any row has


def remainder(whole: Sums, part: Sums, spec: DesignSpec, seen: Seen) -> Sums:
    """Sums over the rows of `whole` without those of `part`; levels with no rows left are kept.

    Parameters
    ----------
    whole, part : Sums
        Of the same columns and levels.
    spec : DesignSpec
        Of both.
    seen : dict of str to numpy.ndarray of int
        Of what is left, as in `Summed`.

    Raises
    ------
    ValueError
        If counts, weights or sums of squares show that `part` is not part of `whole`, or rounding hides what is left.
    """
    left = whole - part
    if found := _by_counts(left, spec, seen) or _by_weights(whole, left, spec) or _by_squares(whole, left):
        raise ValueError(f"the second statistics are not part of the first: {'; '.join(found)}.")
    if left.products.n_rows == 0:
        return left
    known, value = _constants(whole.common, left.common, np.append(_gone(spec.common, seen), False))
    names = np.array([*spec.common_names, ""])
    zero = {name: np.zeros(1, dtype=int) for name in names[known & (value == 0)].tolist()}
    none = {**zero, **seen}  # products with a column of zeros are also zero
    gone = [np.append(_gone(spec.common, none), False), *(_gone_effects(group, none) for group in spec.groups)]
    moments = zip((whole.common, *whole.effects), (left.common, *left.effects), gone, strict=True)
    constants = [_constants(*each) for each in moments]
    _refuse_hidden(whole, left, spec, [known for known, _ in constants])
    return _with_constants(left, constants, spec.has_intercept)


def zeros_and_ones(moments: Moments) -> np.ndarray:
    """Which columns hold only zeros and ones, as far as sums show; bool (k,).

    For these, sum x^2 = sum x. As x (x - 1) > 0 for any other integer, this holds for no other column of integers, and
    for a column of measured numbers, to so many digits, only by accident.
    """
    square = np.diag(moments.raw)
    return np.asarray(np.abs(square - moments.mean) <= _HIDDEN * square)


# ---- what no rows have


def _by_counts(left: Sums, spec: DesignSpec, seen: Seen) -> list[str]:
    products = left.products
    found = [
        f"levels {quoted(group.levels[counts < 0])} of {group.name!r} have fewer rows in the first"
        for group, counts in zip(spec.groups, products.counts, strict=True)
        if np.any(counts < 0)
    ]
    if not found and any(np.any(pairs.counts < 0) for pairs in products.pairs.values()):
        found.append("levels of two factors meet in fewer rows of the first")
    found += [f"levels of {name!r} have fewer rows in the first" for name, count in seen.items() if np.any(count < 0)]
    if not found and products.n_rows < 0:
        found.append("the first has fewer rows")
    return found


def _by_weights(whole: Sums, left: Sums, spec: DesignSpec) -> list[str]:
    """Weights or squares without rows, and rows without weight."""
    products, n = left.products, whole.products.n
    has_weight = products.n > _NO_WEIGHT * n if products.n_rows else abs(products.n) > _ROUNDING * n
    found = ["all rows"] if has_weight != (products.n_rows > 0) else []
    factors = zip(spec.groups, products.counts, _squares(left), _squares(whole), left.intercept_at, strict=True)
    for group, counts, S, of, at in factors:
        wrong = (counts == 0) & np.any(np.abs(S) > _ROUNDING * of, axis=0)
        if at is not None:
            wrong |= (counts > 0) & (S[at] <= _NO_WEIGHT * of[at])
        if wrong.any():
            found.append(f"levels {quoted(group.levels[wrong])} of {group.name!r}")
    size = [np.sqrt(of) for of in _squares(whole)]
    for (f, g), pairs in products.pairs.items():
        none = pairs.counts == 0
        limit = size[f][:, None, pairs.first[none]] * size[g][None, :, pairs.second[none]]
        if np.any(np.abs(pairs.products[:, :, none]) > _ROUNDING * limit):
            found.append(f"pairs of {quoted([spec.groups[f].name, spec.groups[g].name])}")
    return [f"{name} have different weights or values in the second" for name in found]


def _by_squares(whole: Sums, left: Sums) -> list[str]:
    """Negative sums of squares of some combination of columns, over all rows or those of a level."""
    matrices = [(left.products.VV[:, :, None], np.diag(whole.products.VV)[:, None])]
    matrices += list(zip(left.level_products, _squares(whole), strict=True))
    for products, squares in matrices:
        size = np.sqrt(np.maximum(squares, np.abs(np.einsum("iij->ij", products))))
        size[size == 0] = 1.0
        scaled = np.moveaxis(products / (size[:, None] * size[None]), -1, 0)
        if np.any(np.linalg.eigvalsh(scaled) < -_ROUNDING):
            return ["a sum of squares would be negative"]
    return []


def _squares(sums: Sums) -> list[np.ndarray]:
    """Per factor: sums of squares of every effect of every level, (q, n_levels)."""
    return [np.einsum("iij->ij", products) for products in sums.level_products]


# ---- what rounding hides


def _gone(columns: ColumnsSpec, seen: Seen) -> np.ndarray:
    """Which columns are zero because no row is left of the levels of a category for which they stand."""
    found = [np.empty(0, dtype=bool)]
    for term in columns.terms:
        if term[0].kind != "offset":
            there = [_is_there(component, seen.get(component.name)) for component in term]
            found.append(~reduce(lambda a, b: np.logical_and.outer(a, b).ravel(), there))  # the last varies fastest
    return np.concatenate(found)


def _is_there(component: Component, count: np.ndarray | None) -> np.ndarray:
    """Which columns of a component are not 0 for some level that occurs."""
    if count is None or component.contrasts is None:
        return np.full(len(component.labels), count is None)
    return np.asarray(np.any(np.array(component.contrasts)[count > 0] != 0, axis=0))


def _gone_effects(group: GroupSpec, seen: Seen) -> np.ndarray:
    return np.concatenate([np.append([False] * bar.has_intercept, _gone(bar, seen)) for bar in group.bars]) > 0


def _constants(whole: Moments, left: Moments, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which columns are known to be constant in what is left, and the value of each of them."""
    of = whole.weight * (np.diag(whole.raw) + np.square(whole.origin))
    spread = left.weight * np.diag(left.covariance)
    value = np.where(gone, 0.0, np.round(left.mean))
    off = left.weight * np.abs(left.mean - value)
    is_constant = (np.abs(spread) <= _HIDDEN * of) & (off <= _ROUNDING * np.sqrt(of * whole.weight))
    if np.any(gone & ~is_constant):
        raise ValueError(
            "the second statistics are not part of the first: a level of a category has no rows left, but some weight "
            "or values."
        )
    return gone | (is_constant & zeros_and_ones(whole)), value


def _with_constants(left: Sums, constants: list[tuple[np.ndarray, np.ndarray]], has_intercept: bool) -> Sums:
    """Make columns that are known to be constant exactly so: the value becomes their origin, and sums are 0.

    Without an intercept, sums are about zero, and those of a column of ones have lost nothing.
    """
    (is_known, value), *effects = constants
    if not any(known.any() for known, _ in constants):
        return left
    is_known = is_known & (has_intercept | (value == 0))
    A, B, origins = np.diag(np.append(1.0, ~is_known)), [], []
    for (known, of), origin, at in zip(effects, left.effect_origins, left.intercept_at, strict=True):
        change = known & (of == 0 if at is None else np.arange(len(of)) != at)
        B.append(np.diag(1.0 - change))
        origins.append(np.where(change, of, origin))
    origin = np.where(is_known, value, left.origin)
    return replace(left, origin=origin, effect_origins=tuple(origins), products=left.products.combined(A, B))


def _refuse_hidden(whole: Sums, left: Sums, spec: DesignSpec, known: list[np.ndarray]) -> None:
    """Reject a difference if rounding hides what is left of a column, over all rows or those of a level.

    Raises
    ------
    ValueError
        Names the columns, and says what to do.
    """
    if left.products.n_rows < 2:  # one row has no spread
        return
    names = (*spec.common_names, spec.response or "y")
    lost = _is_hidden(whole.common, left.common, np.diag(whole.products.VV)[1:], spec.has_intercept)
    found = [name for name, wrong in zip(names, lost & ~known[0], strict=True) if wrong]
    squares = zip(_squares(whole), _squares(left), strict=True)
    for f, (group, (of, own)) in enumerate(zip(spec.groups, squares, strict=True)):
        at, a, b = left.intercept_at[f], whole.effects[f], left.effects[f]
        lost = _is_hidden(a, b, of.sum(axis=1), at is not None)
        counts = left.products.counts[f]
        touched = (counts > 0) & (counts != whole.products.counts[f])
        weight = counts * (b.weight / left.products.n_rows) if at is None else own[at]
        typical = np.diag(b.raw if at is None else b.covariance)[:, None] * weight[touched]
        lost |= np.any(_HIDDEN_IN_LEVEL * of[:, touched] > typical, axis=1) & ~_is_constant(a, at is not None)
        lost &= ~known[1 + f]
        if at is not None:
            lost[at] = False
        found += [f"{name} of {group.name}" for name, wrong in zip(group.effect_names, lost, strict=True) if wrong]
    if found:
        raise ValueError(
            f"the subtracted rows are so far from the remaining ones that the difference would hold little but "
            f"rounding errors for {quoted(found)}, or these columns are constant in the remaining rows, which sums do "
            "not show. Sum the remaining rows again, with SufficientStatistics.of."
        )


def _is_hidden(whole: Moments, left: Moments, squares: np.ndarray, centred: bool) -> np.ndarray:
    """Which columns have so little left of their squares that it may be mostly rounding errors."""
    own = left.weight * np.diag(left.covariance if centred else left.raw)
    return np.asarray((own <= _HIDDEN * squares) & ~_is_constant(whole, centred))


def _is_constant(moments: Moments, centred: bool) -> np.ndarray:
    """Which columns vary only by rounding errors, so that there is nothing to hide."""
    spread = np.diag(moments.covariance if centred else moments.raw)
    return np.asarray(spread <= np.square(_CONSTANT) * np.diag(moments.raw))
