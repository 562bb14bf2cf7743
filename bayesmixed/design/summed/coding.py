"""Levels of a category that no row has: remove their columns, as if they had never been declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

import numpy as np
from scipy.linalg import block_diag

from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.errors import FormulaError
from bayesmixed.formula.terms import Component

Seen = Mapping[str, np.ndarray]


def without_unseen(columns: ColumnsSpec, seen: Seen) -> tuple[ColumnsSpec, np.ndarray]:
    """The columns that a fit to just the rows would have, and the matrix to them from the present columns.

    Parameters
    ----------
    columns : ColumnsSpec
    seen : dict of str to numpy.ndarray of int, shape (n_levels,)
        By categoric component, how many rows have each level.

    Returns
    -------
    ColumnsSpec
    numpy.ndarray of shape (p, p_seen)
    """
    terms, maps = [], [np.empty((0, 0))]
    for term in columns.terms:
        coded = [_reduced(component, seen.get(component.name)) for component in term]
        terms.append(tuple(component for component, _ in coded))
        if term[0].kind != "offset":
            maps.append(reduce(_kron, [A for _, A in coded]))  # the last component varies fastest
    return replace(columns, terms=tuple(terms)), block_diag(*maps)


def _kron(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.kron(a, b))


def _reduced(component: Component, count: np.ndarray | None) -> tuple[Component, np.ndarray]:
    """A component with only the levels that occur, and the matrix from its columns to those of all levels."""
    A = np.eye(len(component.labels))
    if count is None or count.all():
        return component, A
    there = np.flatnonzero(count)
    levels = component.levels or ()
    if len(there) < 2:
        level = f"a single level, {levels[there[0]]!r}" if len(there) else "no level"
        raise FormulaError(f"{component.name!r} has {level}, in all rows; drop it from the formula.")
    contrasts = np.array(component.contrasts)
    if len(component.labels) > 1 and (contrasts[:, 0] == 1).all():  # sum coding without an intercept: their mean
        rest = replace(component, labels=component.labels[1:], contrasts=tuple(map(tuple, contrasts[:, 1:].tolist())))
        inner, A = _reduced(rest, count)
        rows = tuple((1.0, *row) for row in inner.contrasts or ())
        return replace(inner, labels=(component.labels[0], *inner.labels), contrasts=rows), block_diag(1.0, A)
    own = contrasts.argmax(axis=1)  # the column of each level that has one
    reference = [at for at, row in enumerate(contrasts) if not (row == 1).any()]
    if len(reference) > 1 or not np.isin(contrasts, (0, 1, -1)).all():
        raise FormulaError(
            f"the coding of {component.name!r} does not allow levels without rows to be left out; these are "
            f"{[level for level, n in zip(levels, count, strict=True) if not n]!r}. Remove them from its categories."
        )
    kept = there.tolist()
    if reference and reference[0] in kept:
        kept.remove(reference[0])
    elif reference:  # another level becomes the reference: in sum coding the last, otherwise the first
        is_sum = (contrasts[reference[0]] == -1).any()
        other = kept.pop(-1 if is_sum else 0)
        A[own[other]] -= is_sum * (1 - A[own[other]])
    A = A[:, own[kept]]
    return replace(
        component,
        labels=tuple(component.labels[at] for at in own[kept]),
        levels=tuple(levels[at] for at in there),
        contrasts=tuple(map(tuple, (contrasts[there] @ A).tolist())),
    ), A
