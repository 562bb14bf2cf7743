"""What is asked of a chunk of rows: what has to be known of all, and sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design.doubts import warn_doubtful
from bayesmixed.design.frames import require_columns
from bayesmixed.design.sources.known import Known, Wanted, learned
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.summed.running import Running
from bayesmixed.errors import FormulaError
from bayesmixed.estimators.inputs import rows_that_count
from bayesmixed.estimators.summed.reading import declared, refuse_absent, summed
from bayesmixed.families.base import Family
from bayesmixed.formula.parse import ParsedFormula
from bayesmixed.posterior.container import check_columns, check_names


@dataclass(frozen=True)
class Reading:
    """What is read of a source, and what it is summed to; it travels to workers.

    Attributes
    ----------
    kind : type
        Of the sums.
    parsed : ParsedFormula
        Two-sided.
    family : Family
    weights : str or None
        The column of the weights.
    categories : dict of str
        Levels that are stated.
    """

    kind: type[Any]
    parsed: ParsedFormula
    family: Family
    weights: str | None = None
    categories: Mapping[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that the formula uses, and that of the weights."""
        more = [name for name in (self.parsed.response, self.weights) if name is not None]
        return tuple(dict.fromkeys([*self.parsed.columns, *more]))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read: levels are checked of columns that no formula uses, too."""
        return tuple(dict.fromkeys([*self.used, *self.categories]))

    def require(self, frame: pd.DataFrame) -> None:
        """Refuse a frame that lacks a column that is read.

        Raises
        ------
        FormulaError
        """
        refuse_absent(self.categories, frame)
        if self.weights is not None and self.weights not in frame.columns:
            raise FormulaError(f"sample_weight names {self.weights!r}, which is not a column of the source.")
        require_columns(frame, self.used, self.parsed.text)

    def rows(self, frame: pd.DataFrame, weights: Any = None) -> tuple[pd.DataFrame, pd.Series, np.ndarray | None]:
        """Columns, response and weights of the rows that count; `weights` where they are no column.

        Raises
        ------
        FormulaError
            A column is not there.
        """
        self.require(frame)
        if self.weights is not None:
            weights = frame[self.weights]
            if (weights == 0).all():  # of a chunk, if not of all rows
                frame, weights = frame.head(0), None
        frame, column, w, _ = rows_that_count(np.empty(len(frame)), frame, frame[self.parsed.response], weights)
        return frame, column, w

    def whole(self, frame: pd.DataFrame, weights: Any, spec: DesignSpec | None) -> Any:
        """Sums over all rows of a source, which are in memory.

        Raises
        ------
        ValueError
            No row counts.
        """
        rows = self.rows(frame, weights)
        if not len(rows[0]):
            raise ValueError("the source has no rows of positive weight.")
        return summed(self.kind, self.parsed, rows, self.family, spec=spec, categories=self.categories)

    def look(self, frame: pd.DataFrame) -> Wanted | None:
        """What has to be known of all rows; None where none of these counts."""
        rows, _, _ = self.rows(frame)
        return Wanted.of(self.parsed, rows, self.categories) if len(rows) else None

    def find(self, frame: pd.DataFrame, wanted: Wanted) -> Known:
        """What rows show of it; of all columns, only those that it needs have to be there."""
        weights = None
        if self.weights is not None:
            weights = frame[self.weights].to_numpy(dtype=float, na_value=np.nan)
            counts = (weights > 0) & (weights < np.inf)  # what is infinite is refused where rows are summed
            frame, weights = frame[counts], weights[counts]
        return wanted.find(frame, weights)

    def learn(self, frame: pd.DataFrame, known: Known | None) -> DesignSpec | None:
        """The columns' spec; None where no row counts."""
        rows, _, _ = self.rows(frame)
        if not len(rows):
            return None
        check_columns(self.parsed.columns)
        rows = declared(rows, self.categories)
        spec = learned(self.parsed, rows, known)
        check_names(spec, self.family)
        warn_doubtful(spec.parts, DesignSpec.table_of(self.parsed, rows, all_categories=True), whole=False)
        return spec

    def add(self, frame: pd.DataFrame, spec: DesignSpec, wanted: Wanted | None) -> Total:
        """Sums over rows, and what they show of what was known before."""
        rows = self.rows(frame)
        parts: Running[Any] = Running()
        if len(rows[0]):
            part = summed(self.kind, self.parsed, rows, self.family, spec=spec, categories=self.categories, whole=False)
            parts = parts.plus(part)
        return Total(parts, self.find(frame, wanted) if wanted else None)


@dataclass(frozen=True)
class Total:
    """Sums over some chunks, and what their rows show of what was known before; they add up."""

    parts: Running[Any]
    known: Known | None = None

    def __add__(self, other: Total) -> Total:
        running = self.parts
        for part in other.parts.parts:
            running = running.plus(part)
        known = self.known if other.known is None else other.known if self.known is None else self.known + other.known
        return Total(running, known)
