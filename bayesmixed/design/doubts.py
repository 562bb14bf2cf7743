"""Warn of columns that are probably not what the user meant: categories, and splines beyond their knots."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.design.table import Table
from bayesmixed.errors import warn
from bayesmixed.formula.terms import Component

MOST_LEVELS = 50  # most levels of an unsuspicious category
MOST_NAMED = 5  # most columns of one kind in the warning


def warn_doubtful(parts: Iterable[ColumnsSpec], table: Table, *, whole: bool = True) -> None:
    """Name, in one warning, categories among the effects that were probably meant to be something else.

    These are text that reads as numbers, values of several types, and categories with more than 50 levels, or more than
    half as many levels as rows. Labels of grouping factors are not considered.

    Parameters
    ----------
    parts : iterable of ColumnsSpec
        The common part, and the left sides of bars.
    table : Table of n rows
        The rows from which the parts were learned.
    whole : bool, default=True
        Whether these are all rows, so that a category may have too many levels for their number.

    Warns
    -----
    UserWarning
    """
    components = {c.name: c for part in parts for term in part.terms for c in term if c.kind == "categoric"}
    used = {name for c in components.values() for name in c.variables}
    not_said = {name for c in components.values() if not _is_said(c) for name in c.variables}
    numbers = [name for name in not_said if _reads_as_numbers(table, name)]
    mixed = [name for name in used if name in table.mixed]
    weight = 0.0 if table.weights is None else float(table.weights.sum())
    most = min(MOST_LEVELS, max(table.n_rows, weight) / 2)
    sizes = {name: len(c.levels or ()) for name, c in components.items()}
    large = [name for name, size in sizes.items() if whole and size > most]
    many = [name for name in large if not {*numbers} & {*components[name].variables}]
    found = [
        f"{name!r} is text that reads as numbers and is fitted as a category of {_n_levels(table, name)} levels: "
        f"convert it, X[{name!r}] = pd.to_numeric(X[{name!r}]), or write C({_written(name)}) if it is a category"
        for name in sorted(numbers)[:MOST_NAMED]
    ]
    found += [
        f"{name!r} holds values of several types and is fitted as a category of their {_n_levels(table, name)} texts: "
        f"make it one type, X[{name!r}].astype(str) if it is a category"
        for name in sorted(mixed)[:MOST_NAMED]
    ]
    found += [
        f"{name!r} is a category of {sizes[name]} levels in {table.n_rows} rows, with a coefficient for each: if these "
        f"are a sample from a population, make them a group effect{_as_factor(components[name], table)}"
        for name in many[:MOST_NAMED]
    ]
    if rest := len(numbers) + len(mixed) + len(many) - len(found):
        found.append(f"and {rest} more like these")
    if found:
        warn(f"some categories may have been meant to be something else. {'; '.join(found)}.")


def warn_beyond_knots(parts: Iterable[ColumnsSpec], table: Table) -> None:
    """Name, in one warning, the splines that are evaluated outside the range where they were learned.

    Parameters
    ----------
    parts : iterable of ColumnsSpec
    table : Table of n rows

    Warns
    -----
    UserWarning
    """
    found = dict.fromkeys(found for part in parts for found in part.beyond_knots(table))
    if found:
        texts = [f"{of!r} in {rows} of {table.n_rows} rows ({low:.4g} to {high:.4g})" for of, low, high, rows in found]
        warn(
            f"splines are evaluated beyond their boundary knots: {'; '.join(texts)}. There they are polynomials that "
            "grow without bound and are not supported by data. Leave these rows out, or fit again with bs(..., "
            "lower_bound=..., upper_bound=...)."
        )


def _is_said(component: Component) -> bool:
    """Whether the formula says that it is a category."""
    return component.name.startswith(("C(", "S(", "T("))


def _as_factor(component: Component, table: Table) -> str:
    """How to write a category as a grouping factor, or a numeric column without making it a category."""
    name = component.variables[0]
    column = table.columns[name]
    if isinstance(column, np.ndarray) and column.dtype.kind == "f":
        return f"; if {name!r} is a number, leave out the C()"
    return f", (1 | {_written(name)})"


def _written(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"


def _n_levels(table: Table, name: str) -> int:
    return len(set(table.values(name)))


def _reads_as_numbers(table: Table, name: str) -> bool:
    """Whether a column of text that is not a Categorical holds only numbers."""
    column = table.columns[name]
    if not isinstance(column, np.ndarray) or column.dtype != object or name in table.mixed:
        return False
    return all(map(_is_number, set(column)))


def _is_number(text: str) -> bool:
    for written in (text, text.replace(",", ".", 1), text.replace(",", "")):  # 1,5 and 1,234.5
        try:
            return bool(np.isfinite(float(written)))
        except ValueError:
            continue
    return False
