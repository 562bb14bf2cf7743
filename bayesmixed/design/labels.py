"""Labels of groups: which ones are equal, and a column of them as codes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.errors import FormulaError

EXACT = 2**53  # from here on, several integers are one float
SCALARS = (bool, int, float, str, np.number, np.bool_, np.datetime64, pd.Timestamp)


def label_key(label: Any) -> str:
    """Text that identifies a label: the same for equal labels and for no others.

    Parameters
    ----------
    label : bool, int, float, numpy.datetime64, str or tuple of these
        A level; a tuple for a level of ``a:b``.

    Examples
    --------
    >>> label_key(308) == label_key(308.0) == label_key(np.int64(308)), label_key("308") == label_key(308)
    (True, False)
    """
    if isinstance(label, tuple):
        return json.dumps([label_key(part) for part in label])
    if isinstance(label, (bool, np.bool_)):
        return f"b:{bool(label)}"
    if isinstance(label, (np.datetime64, pd.Timestamp)):
        # noon in UTC is not noon on a clock whose zone is unknown
        return f"{'d' if getattr(label, 'tzinfo', None) is None else 'z'}:{_nanoseconds(label)}"
    if isinstance(label, (int, np.integer)) or (isinstance(label, (float, np.floating)) and float(label).is_integer()):
        return f"i:{int(label)}"
    if isinstance(label, (float, np.floating)):
        return f"f:{float(label)!r}"
    return f"s:{label}"


def _nanoseconds(date: Any) -> Any:
    """Nanoseconds since 1970; a date outside 1677 to 2262, where they do not fit into an integer, as it is."""
    try:
        return pd.Timestamp(date).value
    except OverflowError:
        return date


def _typed_key(label: Any) -> str:
    """`label_key`, with the type of labels that are known by their text: a date is not equal to its text."""
    return label_key(label) if isinstance(label, SCALARS) else f"{type(label).__name__}:{label}"


def label_text(label: Any) -> str:
    """A level as written in a coordinate: parts of ``a:b`` joined by a colon."""
    return ":".join(map(str, label)) if isinstance(label, tuple) else str(label)


@dataclass(frozen=True)
class Labels:
    """A column of labels in one set of rows, factorised.

    Attributes
    ----------
    name : str
        Name of the column.
    codes : numpy.ndarray of int, shape (n,)
        Position in `distinct`; -1 for a missing label.
    distinct : numpy.ndarray of shape (n_labels,)
        The labels that occur, in order of first appearance, unless they have an order of their own.
    ordered : bool
        Whether they have an order: that of the categories of a Categorical.
    dtype : str
        The column's type, for messages.
    categories : numpy.ndarray of shape (k,), optional
        All labels of a Categorical, including those that do not occur.
    """

    name: str
    codes: np.ndarray
    distinct: np.ndarray
    ordered: bool
    dtype: str
    categories: np.ndarray | None = None

    @classmethod
    def of(cls, column: pd.Series) -> Labels:
        """Factorise a column.

        Raises
        ------
        FormulaError
            For labels that cannot be compared, such as lists.
        """
        name, dtype = str(column.name), str(column.dtype)
        if isinstance(column.dtype, pd.CategoricalDtype):
            used = column.cat.remove_unused_categories()
            codes, labels = used.cat.codes.to_numpy(np.int64), np.asarray(used.cat.categories)
            return cls(name, codes, labels, True, dtype, np.asarray(column.cat.categories))
        if column.dtype == object and any(isinstance(label, (bool, np.bool_)) for label in column):
            # pandas treats True as 1
            codes, _ = pd.factorize(column.map(_typed_key, na_action="ignore"))
            present, first = np.unique(codes, return_index=True)
            distinct = column.to_numpy(dtype=object)[first[present >= 0]]
        else:
            try:
                codes, uniques = pd.factorize(column)
            except TypeError:  # "unhashable type"
                raise FormulaError(
                    f"column {name!r} holds labels of groups that cannot be compared, such as {column.iloc[0]!r}; "
                    f"make them text, X[{name!r}].astype(str)."
                ) from None
            distinct = np.asarray(uniques)
        return cls(name, np.asarray(codes, dtype=np.int64), distinct, False, dtype)

    @property
    def by_appearance(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes and labels, in order of first appearance."""
        if not self.ordered:
            return self.codes, self.distinct
        order = pd.unique(self.codes[self.codes >= 0])
        rank = np.full(len(self.distinct) + 1, -1)  # the last entry is for code -1
        rank[order] = np.arange(len(order))
        return rank[self.codes], self.distinct[order]
