"""Sum the rows of a frame: columns are read and checked as in a fit, by a formula that may have been learned before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from bayesmixed.design.columns import UnknownLevelsError
from bayesmixed.design.doubts import warn_doubtful
from bayesmixed.design.frames import as_numbers
from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.design.summed.summed import Summed
from bayesmixed.design.table import Category, Table
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.estimators.identification.undetermined import check_units
from bayesmixed.families.base import Family
from bayesmixed.formula.parse import ParsedFormula
from bayesmixed.formula.terms import FIXED_SPLINE, calls_that_learn
from bayesmixed.posterior.container import check_columns, check_names

_Sums = TypeVar("_Sums", bound=Summed)


def summed(
    kind: type[_Sums],
    parsed: ParsedFormula | None,
    rows: tuple[pd.DataFrame, pd.Series, np.ndarray | None],
    family: Family,
    *,
    spec: DesignSpec | None = None,
    categories: Mapping[str, Any] | None = None,
    whole: bool = True,
) -> _Sums:
    """Sum over rows.

    Parameters
    ----------
    kind : type
        `Summed`, or the subclass to return.
    parsed : ParsedFormula, or None
        None: all columns are common effects.
    rows : tuple of DataFrame, Series and numpy.ndarray or None
        Columns, response and weights of rows that count.
    family : Family
    spec : DesignSpec, optional
        What was learned about the columns from other rows. Default: learned from these.
    categories : dict of str, optional
        Levels of common categoricals.
    whole : bool, default=True
        Whether these are all rows of their source.

    Raises
    ------
    FormulaError, ValueError
        As in a fit; also for a level that `spec` does not have.
    """
    frame, column, weights = rows
    y = as_numbers(column)
    family.check(y)
    frame = declared(frame, categories)
    table = _read(parsed, frame, y, weights)
    if spec is None:
        spec, design = _learn(parsed, frame, table)
        check_names(spec, family)
        warn_doubtful(spec.parts, table, whole=whole)
    else:
        try:
            spec, design = spec.releveled(table)
        except UnknownLevelsError as error:
            levels = list(error.component.levels or ())
            name = next(name for name in error.component.variables if name in table.columns)  # not a contrast's
            cure = error.other_type or (
                f"State all levels before the first part, categories={{{name!r}: [...]}}, or make the column a "
                "Categorical with all categories; if they are a sample from a population, make it a group effect, "
                f"(1 | {name})."
            )
            raise FormulaError(
                f"{error.component.name!r} has levels that the first rows did not have: {quoted(error.unknown)} (known "
                f"levels: {quoted(levels)}; a fit keeps only levels that its rows have). {cure}"
            ) from None
    check_units(design)
    return kind.of_rows(spec, design, table, family)


def _read(parsed: ParsedFormula | None, frame: pd.DataFrame, y: np.ndarray, weights: np.ndarray | None) -> Table:
    if parsed is None:
        return DesignSpec.plain(frame.head(0))[0].read(frame, y=y, weights=weights)
    check_columns(parsed.columns)
    return DesignSpec.table_of(parsed, frame, y=y, weights=weights, all_categories=True)


def _learn(parsed: ParsedFormula | None, frame: pd.DataFrame, table: Table) -> tuple[DesignSpec, Design]:
    if parsed is None:
        spec, _ = DesignSpec.plain(frame.head(0))
        return spec, spec.evaluate(table)
    try:
        return DesignSpec.learn_from(parsed, table)
    except FormulaError as error:
        if not (single := _of_one_level(parsed, table)):
            raise
        stated = ", ".join(f"{name!r}: [...]" for name in single)
        raise FormulaError(
            f"{error} These rows have a single level of {quoted(single)}; if others have more, state all of them, "
            f"categories={{{stated}}}, or make the column a Categorical with all categories."
        ) from None


def _of_one_level(parsed: ParsedFormula, table: Table) -> list[str]:
    """Columns that are categories, by type or by C(), and have at most one known level."""
    text, found = parsed.text.replace(" ", ""), []
    for name, column in table.columns.items():
        if isinstance(column, Category):
            n_levels = len(column.levels)
        else:
            is_category = column.dtype.kind != "f" or f"C({name}" in text
            n_levels = len(np.unique(column)) if is_category else 2
        found += [name] if n_levels < 2 else []
    return found


def declared(frame: pd.DataFrame, categories: Mapping[str, Any] | None) -> pd.DataFrame:
    """The frame with the stated levels of its categories.

    Raises
    ------
    FormulaError
        If a column is missing, or has a value that is not one of its levels; if levels are stated without an order or
        twice.
    """
    refuse_absent(categories or {}, frame)
    for name, levels in (categories or {}).items():
        if isinstance(levels, (str, set, frozenset)):
            raise FormulaError(
                f"categories needs a list of the levels of {name!r}, in order (the first is the one that others are "
                f"compared with), got {levels!r}."
            )
        column, known = frame[name], list(levels)
        stated = pd.Series(known, dtype=object)
        if again := stated[stated.duplicated()].tolist():
            raise FormulaError(f"categories lists {quoted(again)} of {name!r} twice; state each level once.")
        if unknown := column[~column.isin(known) & column.notna()].unique().tolist():
            raise FormulaError(f"column {name!r} holds {quoted(unknown)}, but categories lists only {quoted(levels)}.")
        frame = frame.assign(**{name: pd.Categorical(column, categories=known)})
    return frame


def refuse_absent(categories: Iterable[str], frame: pd.DataFrame) -> None:
    """Reject levels that are stated for a missing column.

    Raises
    ------
    FormulaError
    """
    for name in categories:
        if name not in frame.columns:
            raise FormulaError(f"categories names {name!r}, which is not a column of X.")


def refuse_learning(parsed: ParsedFormula | None, where: str, calls: Iterable[str] | None = None) -> None:
    """Reject calls that would have to see all rows before the first is summed.

    Parameters
    ----------
    parsed : ParsedFormula or None
    where : str
        Where the rows come from.
    calls : iterable of str, optional
        The calls to reject. Default: all that learn.

    Raises
    ------
    FormulaError
        Names the calls, and says what to do.
    """
    if calls is None:
        calls = [] if parsed is None else [call for text in parsed.texts for call in calls_that_learn(text)]
    if found := list(dict.fromkeys(calls)):
        has_spline = any(call.startswith("bs(") for call in found)
        spline = f" A spline with stated knots learns nothing: {FIXED_SPLINE}." if has_spline else ""
        raise FormulaError(
            f"{quoted(found)} would learn only from the first rows of {where}, and others would give other values. "
            "Compute the column with numbers that do not depend on the rows, X.assign(z=(X['x'] - 50) / 10), or write "
            f"the bare column: default priors do not depend on its origin or unit.{spline} For statistics, let one "
            "part learn for all: SufficientStatistics.of(..., like=first)."
        )
