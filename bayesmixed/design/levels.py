"""The levels of a grouping factor: labels in a fixed order, rows as integer codes, known and new levels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design.labels import EXACT, SCALARS, Labels, label_key
from bayesmixed.design.table import Table
from bayesmixed.errors import FormulaError, quoted

State = dict[str, Any]
_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True)
class ColumnLevels:
    """The distinct labels of one column, in order.

    Attributes
    ----------
    labels : numpy.ndarray of shape (n_levels,)
        NumPy int, float, bool, datetime64[ns] or str.
    kind : str
        What the labels are: "int", "float", "bool", "datetime", "str", or "other" when they were turned
        into text by ``str``.
    """

    labels: np.ndarray
    kind: str

    @classmethod
    def learn(cls, column: Labels) -> tuple[ColumnLevels, np.ndarray]:
        """Find the levels of a column without missing labels; return them and each row's code, int (n,)."""
        labels, kind = canonical(column.distinct)
        _refuse_inexact(labels, kind, column.name)
        # labels that are known by their text are ordered by it, so that it does not matter which came first
        order = np.arange(len(labels)) if column.ordered else np.argsort(labels, kind="stable")
        labels = labels[order]
        if kind == "float" and not np.all(labels == np.floor(labels)):
            raise FormulaError(
                f"grouping factor {column.name!r} has fractional labels, such as "
                f"{labels[labels != np.floor(labels)][0]}; a factor needs integers, text, dates or booleans. "
                "If a transformer has scaled it, pass it through unchanged; to bin a number, use pandas.cut first."
            )
        if len(set(labels.tolist())) < len(labels):
            raise FormulaError(
                f"grouping factor {column.name!r} has different labels with the same text, {_first_twice(labels)!r}; "
                "make them one type first."
            )
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return cls(labels, kind), rank[column.codes]

    def code(self, column: Labels) -> tuple[np.ndarray, tuple[Any, ...]]:
        """Code new data.

        Returns
        -------
        codes : numpy.ndarray of int, shape (n,)
            Position in `labels`; -1 for a missing label; ``len(labels) + k`` for the k-th new label.
        new_labels : tuple
            The labels not in `labels`, in order of first appearance.
        """
        codes, uniques = column.by_appearance
        labels, kind = (_texts(uniques), "other") if self.kind == "other" else canonical(uniques)
        numbers = {"int", "float"}
        if self.kind in numbers:
            _refuse_inexact(labels, kind, column.name)
        if kind == "float" and self.kind == "int" and np.all(np.isfinite(labels) & (labels == np.floor(labels))):
            labels, kind = labels.astype(np.int64), "int"  # integers that became floats because of a missing label
        if kind == self.kind or {kind, self.kind} <= numbers:
            known = pd.Index(self.labels).get_indexer(pd.Index(labels))
        else:  # 308 is not "308", but a column of both keeps them apart
            if kind == "other":
                labels = np.empty(len(uniques), dtype=object)
                labels[:] = [label if isinstance(label, SCALARS) else str(label) for label in uniques]
            position = {label_key(label): i for i, label in enumerate(_scalars(self.labels))}
            known = np.array([position.get(label_key(label), -1) for label in _scalars(labels)], dtype=np.int64)
        new = np.flatnonzero(known < 0)
        lookup = np.append(known, -1)  # the last entry is for code -1, the missing label
        lookup[new] = len(self.labels) + np.arange(len(new))
        return lookup[codes], tuple(_scalars(labels[new]))

    def extended(self, new_labels: tuple[Any, ...], column: str) -> ColumnLevels:
        """These labels, then new ones as `code` returned them; the codes of old ones stay.

        Raises
        ------
        ValueError
            A new label differs in type from the fitted ones: it would have become a level by mistake.
        """
        if wrong := [label for label in new_labels if not _is_of_kind(label, self.kind)]:
            known = self.labels[:1].astype(str) if self.kind == "datetime" else self.labels[:1].tolist()
            raise ValueError(
                f"column {column!r} had {self.kind} labels in fit (such as {quoted(known)}), but its new "
                f"levels include {quoted(wrong)}; convert the column to the type used in fit."
            )
        new = np.array(new_labels, dtype=None if self.kind in ("str", "other") else self.labels.dtype)
        return replace(self, labels=np.concatenate([self.labels, new])) if len(new) else self

    @property
    def state(self) -> State:
        """Plain data for JSON."""
        values = self.labels.astype(np.int64) if self.kind == "datetime" else self.labels
        return {"kind": self.kind, "labels": values.tolist()}

    @classmethod
    def from_state(cls, state: State) -> ColumnLevels:
        """Inverse of `state`."""
        types: dict[str, Any] = {"int": np.int64, "float": float, "bool": bool, "datetime": np.int64}
        labels = np.array(state["labels"], dtype=types.get(state["kind"], str))
        return cls(labels.view("datetime64[ns]") if state["kind"] == "datetime" else labels, state["kind"])


@dataclass(frozen=True)
class FactorLevels:
    """The levels of a grouping factor made of one or more columns; only observed combinations are levels.

    Attributes
    ----------
    columns : tuple of str
        The columns, e.g. ``("batch", "cask")``.
    parts : tuple of ColumnLevels
        The levels of each column.
    combinations : numpy.ndarray of int, shape (n_levels, n_columns)
        For each level of the factor, the position of its part in each of `parts`.
    """

    columns: tuple[str, ...]
    parts: tuple[ColumnLevels, ...]
    combinations: np.ndarray

    @classmethod
    def learn(cls, table: Table, columns: tuple[str, ...]) -> tuple[FactorLevels, np.ndarray]:
        """Find the levels in training data; return them and each row's code, int (n,)."""
        learned = [ColumnLevels.learn(table.labels[column]) for column in columns]
        parts = tuple(levels for levels, _ in learned)
        if len(parts) == 1:
            return cls(columns, parts, np.arange(len(parts[0].labels))[:, None]), learned[0][1]
        sizes = [len(part.labels) for part in parts]
        flat, codes = np.unique(_ravel([codes for _, codes in learned], sizes), return_inverse=True)
        levels = cls(columns, parts, np.stack(np.unravel_index(flat, sizes), axis=1))
        levels.check_texts()
        return levels, codes

    def code(self, table: Table) -> tuple[np.ndarray, tuple[Any, ...]]:
        """Code new data, as `ColumnLevels.code`; a pair not seen in ``fit`` is new even if both parts are known."""
        coded = [part.code(table.labels[column]) for part, column in zip(self.parts, self.columns, strict=True)]
        if len(coded) == 1:
            return coded[0]
        sizes = [len(part.labels) + len(new) for part, (_, new) in zip(self.parts, coded, strict=True)]
        missing = np.any([codes < 0 for codes, _ in coded], axis=0)
        flat = _ravel([np.where(missing, 0, codes) for codes, _ in coded], sizes)
        known_flat = _ravel(list(self.combinations.T), sizes)
        first_row, uniques = _in_order_of_appearance(flat[~missing])
        order = np.argsort(known_flat, kind="stable")  # levels that came later are at the end
        positions = order[np.minimum(np.searchsorted(known_flat, uniques, sorter=order), len(order) - 1)]
        known = known_flat[positions] == uniques
        target = np.where(known, positions, len(known_flat) + np.cumsum(~known) - 1)
        codes = np.full(table.n_rows, -1)
        codes[~missing] = target[first_row]
        cells = np.unravel_index(uniques[~known], sizes)
        names = [[*_scalars(part.labels), *new] for part, (_, new) in zip(self.parts, coded, strict=True)]
        labels = tuple(tuple(names[k][cell[k]] for k in range(len(names))) for cell in zip(*cells, strict=True))
        return codes, labels

    def extended(self, new_labels: tuple[Any, ...]) -> FactorLevels:
        """These levels, then new ones as `code` returned them; the codes of old ones stay.

        Raises
        ------
        ValueError
            As in `ColumnLevels.extended`; and for different levels of ``a:b`` with the same text.
        """
        if not new_labels:
            return self
        by_part = list(zip(*new_labels, strict=True)) if len(self.parts) > 1 else [new_labels]
        parts, codes = [], []
        for part, labels, column in zip(self.parts, by_part, self.columns, strict=True):
            position = {label_key(label): i for i, label in enumerate(_scalars(part.labels))}
            unseen = {label_key(label): label for label in labels if label_key(label) not in position}
            position |= {key: len(part.labels) + i for i, key in enumerate(unseen)}
            parts.append(part.extended(tuple(unseen.values()), column))
            codes.append([position[label_key(label)] for label in labels])
        levels = FactorLevels(self.columns, tuple(parts), np.vstack([self.combinations, np.transpose(codes)]))
        levels.check_texts()
        return levels

    def check_texts(self) -> None:
        """Reject levels of ``a:b`` that have the same text.

        Raises
        ------
        FormulaError
        """
        texts = self.labels
        if len(self.parts) > 1 and len(set(texts.tolist())) < len(texts):
            raise FormulaError(
                f"grouping factor {':'.join(self.columns)!r}: two levels have the same text because a label contains "
                "':'; rename the labels of one of the columns."
            )

    @property
    def labels(self) -> np.ndarray:
        """Coordinate values, shape (n_levels,): the column's own labels, or ``"a:b"`` texts."""
        if len(self.parts) == 1:
            return self.parts[0].labels
        names = [[str(label) for label in _scalars(part.labels)] for part in self.parts]
        return np.array([":".join(names[k][i] for k, i in enumerate(cell)) for cell in self.combinations])

    def type_mismatch(self, table: Table, codes: np.ndarray) -> str | None:
        """A sentence about labels that are new only because their type differs from the fitted one, if any."""
        present = codes[codes >= 0]
        if len(present) == 0 or present.min() < len(self.combinations):
            return None
        for column, part in zip(self.columns, self.parts, strict=True):
            uniques, dtype = table.labels[column].distinct, table.labels[column].dtype
            labels, kind = canonical(uniques)
            if {kind, part.kind} <= {"int", "float"}:
                continue
            if kind == part.kind == "str" and (alike := spelled_alike(column, uniques, part.labels)):
                return alike
            if {kind, part.kind} == {"datetime", "other"} and _have_zones(labels if kind == "other" else part.labels):
                zone = "dates with a time zone", "dates without one"
                before, now = zone if part.kind == "other" else zone[::-1]
                return (
                    f"All labels of {column!r} are new: fit saw {before}, but the new data hold {now} (dtype {dtype}). "
                    "Convert the column to the type used in fit."
                )
            if kind != part.kind and {*map(_reading, uniques)} & {*map(_reading, part.labels)}:
                return (
                    f"All labels of {column!r} are new, yet their text matches fitted labels: fit saw {part.kind} "
                    f"labels, but the new data hold {kind} labels (dtype {dtype}). Convert the column to the type used "
                    "in fit."
                )
        return None

    @property
    def state(self) -> State:
        """Plain data for JSON."""
        combinations = self.combinations.tolist() if len(self.parts) > 1 else None  # trivial for one column
        return {
            "columns": list(self.columns),
            "parts": [part.state for part in self.parts],
            "combinations": combinations,
        }

    @classmethod
    def from_state(cls, state: State) -> FactorLevels:
        """Inverse of `state`."""
        parts = tuple(ColumnLevels.from_state(part) for part in state["parts"])
        if len(parts) == 1:
            return cls(tuple(state["columns"]), parts, np.arange(len(parts[0].labels))[:, None])
        combinations = np.array(state["combinations"], dtype=np.int64).reshape(-1, len(parts))
        return cls(tuple(state["columns"]), parts, combinations)


def canonical(uniques: np.ndarray) -> tuple[np.ndarray, str]:
    """Distinct labels in one of the NumPy types of the naming contract, and its kind; see `ColumnLevels`."""
    kinds = {"b": "bool", "i": "int", "u": "int", "f": "float", "M": "datetime", "U": "str"}
    kind = kinds.get(uniques.dtype.kind)
    if kind is None and uniques.dtype.kind == "O":
        values = list(uniques)
        if all(isinstance(value, str) for value in values):
            kind = "str"
        elif all(isinstance(value, (bool, np.bool_)) for value in values):
            kind = "bool"
        elif all(
            isinstance(value, (int, float, np.number, Decimal)) and not isinstance(value, bool) for value in values
        ):
            kind = "int" if all(isinstance(value, (int, np.integer)) for value in values) else "float"
        elif all(type(value) is date for value in values):  # a datetime is a date too, but may have a time zone
            uniques, kind = uniques.astype("datetime64[D]"), "datetime"
    if kind == "datetime" and len(uniques) and not _within_nanoseconds(uniques):
        kind = None
    if kind == "int" and len(uniques) and not _INT64.min <= min(uniques) <= max(uniques) <= _INT64.max:
        kind = None
    if kind is None:  # anything else becomes its text
        return _texts(uniques), "other"
    types: dict[str, Any] = {"bool": bool, "int": np.int64, "float": float, "datetime": "datetime64[ns]", "str": str}
    return uniques.astype(types[kind]), kind


def _refuse_inexact(labels: np.ndarray, kind: str, column: str) -> None:
    """Reject floats that may have been several integers.

    Raises
    ------
    FormulaError
    """
    if kind == "float" and np.any(large := np.isfinite(labels) & (np.abs(labels) >= EXACT)):
        raise FormulaError(
            f"column {column!r} holds labels of groups as floats, which cannot distinguish integers as large as "
            f"{int(labels[large][0])}: different groups would be one. Read the column as integers (the dtype 'Int64' "
            "has missing ones, too) or as text."
        )


def _reading(label: Any) -> str:
    """How a label reads whatever its type: 1, 1.0, True and "1" alike, and so a date and its text."""
    if isinstance(label, bytes):
        label = label.decode(errors="replace")
    if isinstance(label, np.datetime64):
        label = pd.Timestamp(label)
    text = str(label).strip().removesuffix(".0").removesuffix(" 00:00:00")
    return {"True": "1", "False": "0"}.get(text, text)


def spelled_alike(column: str, labels: np.ndarray, known: np.ndarray) -> str | None:
    """A sentence about texts of which none is known, and one differs from a known one only in how it is written.

    Such differences are blanks around a label, and ".0" at its end.
    """
    there = pd.Index(known.astype(object))
    for write in (str, str.strip, lambda text: text.strip().removesuffix(".0"), lambda text: f"{text}.0"):
        written = [write(str(label)) for label in labels]
        if (found := np.flatnonzero(there.get_indexer(pd.Index(written, dtype=object)) >= 0)).size:
            if write is str:
                return None
            at = found[0]
            return (
                f"All labels of {column!r} are new, yet {str(labels[at])!r} differs from the earlier label "
                f"{written[at]!r} only in how it is written, and is a level of its own. Write both alike."
            )
    return None


def _have_zones(texts: np.ndarray) -> bool:
    """Whether labels that became texts are dates with a time zone."""
    return len(texts) > 0 and all(str(text).endswith("+00:00") for text in texts)


def _is_of_kind(label: Any, kind: str) -> bool:
    """Whether a label may be a level of a column of this kind; a number has to be whole, as in fit."""
    if kind in ("int", "float"):
        whole = isinstance(label, (int, float)) and not isinstance(label, bool) and float(label).is_integer()
        return whole and (_INT64.min <= label <= _INT64.max if kind == "int" else abs(label) < EXACT)
    return isinstance(label, {"bool": bool, "datetime": np.datetime64}.get(kind, str))


def _first_twice(labels: np.ndarray) -> Any:
    values = labels.tolist()
    return next(value for value in values if values.count(value) > 1)


def _texts(values: np.ndarray) -> np.ndarray:
    """The text of each value; a duration regardless of its unit, a timestamp in UTC."""

    def text(value: Any) -> str:
        if isinstance(value, np.timedelta64):
            value = pd.Timedelta(value)
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            value = int(value)  # as it may have been next to other labels
        if isinstance(value, pd.Timestamp) and value.tz is not None:
            value = value.tz_convert("UTC")
        return str(value)

    return np.array([text(value) for value in values], dtype=str)


def _within_nanoseconds(dates: np.ndarray) -> bool:
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    return bool(pd.Timestamp.min.year < years.min() and years.max() < pd.Timestamp.max.year)


def _scalars(labels: np.ndarray) -> list[Any]:
    """Labels as Python scalars (dates stay NumPy's)."""
    return list(labels) if labels.dtype.kind == "M" else labels.tolist()


def _ravel(codes: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    if np.prod([float(size) for size in sizes]) > np.iinfo(np.int64).max:
        raise FormulaError(f"the columns have too many combinations of levels to count: {quoted(sizes)} levels.")
    return np.ravel_multi_index(codes, sizes)


def _in_order_of_appearance(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, uniques = pd.factorize(values)
    return np.asarray(codes), np.asarray(uniques)
