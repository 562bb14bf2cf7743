"""A user's columns, each converted and checked once, from which design, groups and response are made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design.frames import plain, require_columns
from bayesmixed.design.labels import Labels, label_text
from bayesmixed.errors import FormulaError

MAX_REPEATED = 10_000_000  # rows


@dataclass(frozen=True)
class Category:
    """A column of categories with an order.

    Attributes
    ----------
    codes : numpy.ndarray of int, shape (n,)
        Position in `categories`.
    categories : pandas.Index of length k
        Those that occur, as given if they are numbers, booleans or text, otherwise as their text.
    levels : numpy.ndarray of shape (k,)
        The same as numbers, booleans or text.
    """

    codes: np.ndarray
    categories: Any
    levels: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The level of each row, shape (n,)."""
        return self.levels[self.codes]


@dataclass(frozen=True)
class Table:
    """One set of rows in typed, checked columns.

    Attributes
    ----------
    n_rows : int
    columns : dict of str to numpy.ndarray of shape (n,) or Category
        Columns from which effects are computed: float64, bool, or text as objects; without missing or infinite values.
    labels : dict of str to Labels
        Columns that make up grouping factors; labels may be missing.
    y : numpy.ndarray of shape (n,), or None
        The response.
    weights : numpy.ndarray of shape (n,), or None
        Frequency weights, all positive; None when every row counts once.
    trials : numpy.ndarray of shape (n,), or None
        Number of trials of each row, where the response counts successes.
    mixed : tuple of str
        Those of `columns` that held values of several types and became text.
    """

    n_rows: int
    columns: Mapping[str, np.ndarray | Category]
    labels: Mapping[str, Labels]
    y: np.ndarray | None = None
    weights: np.ndarray | None = None
    trials: np.ndarray | None = None
    mixed: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        frame: pd.DataFrame,
        columns: tuple[str, ...] = (),
        labels: tuple[str, ...] = (),
        *,
        formula: str | None = None,
        trials: str | None = None,
        y: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        all_categories: bool | Collection[str] = False,
    ) -> Table:
        """Take the columns of a user's frame that a model needs; a column may be used for both.

        Parameters
        ----------
        frame : DataFrame of shape (n, k)
        columns : tuple of str
            Those from which effects are computed. Numbers become float64, booleans bool, text and values of several
            types text. A Categorical of any kind keeps the order of its used categories.
        labels : tuple of str
            Those that make up grouping factors.
        formula : str, optional
            For messages.
        trials : str, optional
            The column with the numbers of trials.
        y, weights : numpy.ndarray of shape (n,), optional
            As checked by `read_column`, `as_numbers` and scikit-learn.
        all_categories : bool or collection of str, default=False
            Whether a Categorical keeps categories that do not occur, as other rows may have them; or the names of the
            columns that do.

        Raises
        ------
        FormulaError
            For a column that is absent, not unique, or, if effects are computed from it, neither numeric, boolean nor
            categorical; for a Categorical in which two categories have the same text.
        ValueError
            For missing or infinite values in such a column, with its name and their number.
        """
        require_columns(frame, tuple(dict.fromkeys([*columns, *labels])), formula)
        if trials is not None:
            require_columns(frame, (trials,), None, " It holds the numbers of trials.")
        kept = () if isinstance(all_categories, bool) else all_categories
        typed = {
            name: _read(frame[name], name, all_categories is True or name in kept) for name in dict.fromkeys(columns)
        }
        coded = {name: Labels.of(frame[name]) for name in dict.fromkeys(labels)}
        counted = None if trials is None else _numbers(_read(frame[trials], trials), trials)
        mixed = tuple(name for name, column in typed.items() if _was_mixed(frame[name], column))
        return cls(len(frame), typed, coded, y, weights, counted, mixed)

    @property
    def counts(self) -> np.ndarray | None:
        """Weights as numbers of rows, if they are whole and small enough to repeat the rows."""
        weights = self.weights
        if weights is None or np.any(weights != np.floor(weights)) or weights.sum() > MAX_REPEATED:
            return None
        return weights.astype(np.int64)

    def of_levels_that_occur(self) -> Table:
        """The same without categories that no row has; the table itself if there are none."""
        found = {name: _that_occur(column) for name, column in self.columns.items() if isinstance(column, Category)}
        if all(column is self.columns[name] for name, column in found.items()):
            return self
        return replace(self, columns=dict(self.columns) | found)

    def values(self, name: str) -> np.ndarray:
        """A column from which effects are computed, shape (n,), with a category as its levels."""
        column = self.columns[name]
        return column.values if isinstance(column, Category) else column

    def frame(self, names: tuple[str, ...], *, learning: bool = False) -> pd.DataFrame:
        """These columns for formulae; while formulae learns, categories keep their order (it would sort them)."""
        found: dict[str, Any] = {}
        for name in names:
            column = self.columns[name]
            if learning and isinstance(column, Category):
                found[name] = pd.Categorical.from_codes(column.codes, categories=column.categories, ordered=True)
            else:
                found[name] = self.values(name)
        return pd.DataFrame(found, index=range(self.n_rows))

    def refuse_missing_labels(self, columns: tuple[str, ...], factor: str) -> None:
        """Reject rows of a fit whose group is unknown.

        Raises
        ------
        ValueError
        """
        for column in columns:
            if missing := np.count_nonzero(self.labels[column].codes < 0):
                raise ValueError(
                    f"grouping factor {factor!r}: column {column!r} has {missing} missing labels (NaN) in "
                    f"{self.n_rows} rows; a row without a group cannot be fitted. Drop the rows, or give them a label "
                    "of their own."
                )


def _numbers(column: np.ndarray | Category, name: str) -> np.ndarray:
    if isinstance(column, Category) or column.dtype.kind != "f":
        raise FormulaError(f"column {name!r} must hold the number of trials of each row, but it does not hold numbers.")
    return column


def _read(column: pd.Series, name: str, all_categories: bool = False) -> np.ndarray | Category:
    if missing := int(column.isna().sum()):
        raise ValueError(
            f"column {name!r} has {missing} missing values (NaN) in {len(column)} rows. Rows are never dropped "
            f"silently: drop them yourself, for example X.dropna(subset=[{name!r}]), or impute."
        )
    read: np.ndarray | Category
    if isinstance(column.dtype, pd.CategoricalDtype):
        read = _category(column, name, all_categories)
        values = read.values
    else:
        read = values = _typed(column, name)
    if values.dtype.kind == "f" and (infinite := np.count_nonzero(np.isinf(values))):
        raise ValueError(f"column {name!r} has {infinite} infinite values (inf) in {len(column)} rows.")
    return read


def _category(column: pd.Series, name: str, all_categories: bool) -> Category:
    """A Categorical; categories that are neither numbers, booleans nor text, such as intervals, become their text.

    This is decided from all of them, including those that do not occur, so that rows of one frame are read alike.
    """
    codes, categories = column.cat.codes.to_numpy(), column.cat.categories
    levels = _plain_values(pd.Series(np.asarray(categories)))
    if levels is None:
        levels = np.array([label_text(category) for category in categories], dtype=object)
        categories = pd.Index(levels)
    used = np.arange(len(categories)) if all_categories else np.unique(codes)
    if len(set(levels[used])) < len(used):
        again = pd.Series(levels[used]).duplicated().to_numpy()
        raise FormulaError(
            f"column {name!r} has different categories with the same text, {levels[used][again][0]!r}; rename one."
        )
    return Category(np.searchsorted(used, codes), categories[used], levels[used])


def _that_occur(column: Category) -> Category:
    used = np.unique(column.codes)
    if len(used) == len(column.categories):
        return column
    return Category(np.searchsorted(used, column.codes), column.categories[used], column.levels[used])


def _typed(column: pd.Series, name: str) -> np.ndarray:
    """A column without missing values as float64, bool, or text."""
    values = _plain_values(column)
    if values is not None:
        return values
    if column.dtype == object and _is_mixed(column):
        return np.array([label_text(value) for value in column], dtype=object)
    raise FormulaError(
        f"column {name!r} has dtype {column.dtype}, which is not numeric, boolean or text; convert it first (for "
        f"example a date to days since a start), or make it a category, X[{name!r}].astype('category')."
    )


def _plain_values(column: pd.Series) -> np.ndarray | None:
    """Numbers as float64, booleans, text; None for anything else."""
    if column.dtype == object:
        column = plain(column)
        if column.dtype == object and all(isinstance(value, (Real, Decimal)) for value in column):
            booleans = {isinstance(value, bool) for value in column}
            column = column.astype(bool if booleans == {True} else float) if len(booleans) == 1 else column
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=bool)
    if pd.api.types.is_integer_dtype(column.dtype) or pd.api.types.is_float_dtype(column.dtype):
        # including integers, whose arithmetic would wrap around silently
        return column.to_numpy(dtype=np.float64)
    is_text = isinstance(column.dtype, pd.StringDtype)
    # of no rows, objects may be text as well as anything else
    if is_text or pd.api.types.infer_dtype(column, skipna=False) in ("string", "empty"):
        return column.to_numpy(dtype=object)
    return None


def _is_mixed(column: pd.Series) -> bool:
    """Whether objects have several types."""
    return len(set(map(type, column))) > 1


def _was_mixed(column: pd.Series, read: np.ndarray | Category) -> bool:
    return column.dtype == object and not isinstance(read, Category) and read.dtype == object and _is_mixed(column)
