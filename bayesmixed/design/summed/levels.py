"""Join the levels of a grouping factor in two sets of rows: sorted, whichever came first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design.labels import EXACT, Labels
from bayesmixed.design.levels import ColumnLevels, FactorLevels, spelled_alike
from bayesmixed.errors import FormulaError, quoted, warn

Orders = Mapping[str, np.ndarray]


def joined(a: FactorLevels, b: FactorLevels, orders: Orders) -> tuple[FactorLevels, np.ndarray, np.ndarray]:
    """Levels of both sets of rows, and the new code of each level of `a` and of `b`.

    Parameters
    ----------
    a, b : FactorLevels
        Of the same columns.
    orders : dict of str to numpy.ndarray
        By column, the order of its labels if they have their own; others are sorted.

    Raises
    ------
    FormulaError
        If the labels of a column are not of one type.

    Warns
    -----
    UserWarning
        If all labels of one set are new to the other, and one of them only by how it is written.
    """
    parts, places = [], []
    for column, mine, theirs in zip(a.columns, a.parts, b.parts, strict=True):
        part, *place = _join(mine, theirs, orders.get(column), column)
        parts.append(part)
        places.append(place)
    if len(parts) == 1:
        one = FactorLevels(a.columns, (parts[0],), np.arange(len(parts[0].labels))[:, None])
        return one, places[0][0], places[0][1]
    sizes = [len(part.labels) for part in parts]
    flat = [
        np.ravel_multi_index([place[side][code] for place, code in zip(places, own.combinations.T, strict=True)], sizes)
        for side, own in enumerate((a, b))
    ]
    every = np.unique(np.concatenate(flat))
    levels = FactorLevels(a.columns, tuple(parts), np.stack(np.unravel_index(every, sizes), axis=1))
    levels.check_texts()
    return levels, np.searchsorted(every, flat[0]), np.searchsorted(every, flat[1])


def refuse_levels(a: FactorLevels, b: FactorLevels) -> None:
    """Reject levels of `b` that cannot be joined with those of `a`, without joining them unless that is necessary.

    Raises
    ------
    FormulaError
    """
    for column, mine, theirs in zip(a.columns, a.parts, b.parts, strict=True):
        _kind(mine, theirs, column)
    if len(a.columns) > 1 and any(":" in str(label) for part in b.parts for label in part.labels.tolist()):
        joined(a, b, {})  # different levels may have the same text if a label has a colon


def selected(levels: FactorLevels, at: np.ndarray) -> FactorLevels:
    """Some of the levels, in the same order; labels of a column that none of them uses are dropped."""
    combinations = levels.combinations[at]
    parts, codes = [], []
    for part, own in zip(levels.parts, combinations.T, strict=True):
        used, code = np.unique(own, return_inverse=True)
        parts.append(replace(part, labels=part.labels[used]))
        codes.append(code)
    return FactorLevels(levels.columns, tuple(parts), np.stack(codes, axis=1))


def relabelled(levels: FactorLevels, column: str, labels: ColumnLevels) -> tuple[FactorLevels, np.ndarray]:
    """The levels with new labels of one column, one for each old label, and the new code of each level."""
    order = np.argsort(labels.labels, kind="stable")
    rank = np.argsort(order)
    parts, codes = list(levels.parts), levels.combinations.copy()
    for k, name in enumerate(levels.columns):
        if name == column:
            parts[k], codes[:, k] = replace(labels, labels=labels.labels[order]), rank[codes[:, k]]
    by_code = np.lexsort(codes.T[::-1])
    found = FactorLevels(levels.columns, tuple(parts), codes[by_code])
    found.check_texts()
    return found, np.argsort(by_code)


def renamed(part: ColumnLevels, column: str, mapping: Mapping[Any, Any]) -> ColumnLevels:
    """New labels of a column, in the order of the old ones.

    Raises
    ------
    ValueError
        If a level has no new label, or two have the same.
    """
    old = part.labels.tolist() if part.labels.dtype.kind != "M" else list(part.labels)
    has_default = hasattr(type(mapping), "__missing__")
    if absent := [label for label in old if not has_default and label not in mapping]:
        raise ValueError(
            f"with_labels needs a new label for every level of {column!r}, but has none for {quoted(absent)}."
        )
    new = pd.Series([mapping[label] for label in old], name=column)
    levels, codes = ColumnLevels.learn(Labels.of(new))
    if len(levels.labels) < len(old) or (codes < 0).any():
        raise ValueError(
            f"with_labels gives two levels of {column!r} the same label, or a missing label; each needs its own."
        )
    return replace(levels, labels=levels.labels[codes])


def _join(
    a: ColumnLevels, b: ColumnLevels, order: np.ndarray | None, column: str
) -> tuple[ColumnLevels, np.ndarray, np.ndarray]:
    kind = _kind(a, b, column)
    if np.array_equal(a.labels, b.labels):
        return replace(a, kind=kind), np.arange(len(a.labels)), np.arange(len(a.labels))
    mine, theirs = (own.labels.astype(np.result_type(a.labels, b.labels), copy=False) for own in (a, b))
    if kind == "str" and (_odd(a.labels) or _odd(b.labels)):
        for new, known in ((b, a), (a, b)):
            if alike := spelled_alike(column, new.labels, known.labels):
                warn(alike)
                break
    if order is None and _is_sorted(mine) and _is_sorted(theirs):
        labels, place, other = _merged(mine, theirs)
        return ColumnLevels(labels, kind), place, other
    every = np.unique(np.concatenate([mine, theirs]))
    if order is not None:
        every = every[np.argsort(pd.Index(order).get_indexer(pd.Index(every)), kind="stable")]
    index = pd.Index(every)
    return ColumnLevels(every, kind), index.get_indexer(pd.Index(mine)), index.get_indexer(pd.Index(theirs))


def _odd(texts: np.ndarray) -> bool:
    """Whether a text is written in a way that `spelled_alike` considers; without one, two sets cannot be alike."""
    return bool(np.any(np.strings.endswith(texts, ".0") | (np.strings.strip(texts) != texts)))


def _kind(a: ColumnLevels, b: ColumnLevels, column: str) -> str:
    """The type of both sets of labels."""
    kind = a.kind if a.kind == b.kind else "float" if {a.kind, b.kind} == {"int", "float"} else ""
    if not kind:
        raise FormulaError(
            f"column {column!r} holds {a.kind} labels in one part (such as {quoted(a.labels[:1].astype(str))}) and "
            f"{b.kind} labels in the other ({quoted(b.labels[:1].astype(str))}); convert it to one type."
        )
    if a.kind != b.kind:
        whole = a.labels if a.kind == "int" else b.labels
        if len(large := whole[(whole <= -EXACT) | (whole >= EXACT)]):
            raise FormulaError(
                f"column {column!r} holds integers in one part and floats in the other, which cannot distinguish "
                f"integers as large as {large[0]}; convert it to integers, or to text, in both."
            )
    return kind


def _is_sorted(labels: np.ndarray) -> bool:
    return bool(np.all(labels[1:] > labels[:-1]))


def _merged(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted labels of two sorted arrays, and the position of each array's labels; fast if one array is short."""
    at = np.searchsorted(a, b)
    known = np.zeros(len(b), dtype=bool)
    inside = at < len(a)
    known[inside] = a[at[inside]] == b[inside]
    before = at[~known]
    place = np.arange(len(a)) + np.searchsorted(before, np.arange(len(a)), side="right")
    others = np.empty(len(b), dtype=np.int64)
    others[known] = place[at[known]]
    others[~known] = before + np.arange(len(before))
    return np.insert(a, before, b[~known]), place, others
