"""Make errors in a chunk of rows say which chunk it is, and which row of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed.design.sources.source import Chunk
from bayesmixed.errors import FormulaError
from bayesmixed.estimators.summed.of_chunks import Reading


@dataclass(frozen=True)
class Failed:
    """An error and, if it is about one row, that row within the chunk."""

    error: Exception
    row: int | None

    @classmethod
    def of(cls, error: Exception, frame: pd.DataFrame, reading: Reading) -> Failed:
        """Convert an error to one of three types that a worker can send."""
        kind = next(kind for kind in (FormulaError, ValueError, TypeError) if isinstance(error, kind))
        return cls(kind(str(error)), _first_wrong(frame, reading))

    def at(self, chunk: Chunk) -> Exception:
        """The same error with the location of the rows."""
        return type(self.error)(f"{chunk.where(self.row)}: {self.error}")


@contextmanager
def naming(chunk: Chunk, reading: Reading) -> Iterator[None]:
    """Make errors raised within say where the rows are."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise Failed.of(error, chunk.frame, reading).at(chunk) from error


def say_of_partition(task: Callable[[pd.DataFrame], Any], reading: Reading, frame: pd.DataFrame) -> Any:
    """The result of a task for a partition of unknown number; an error is returned, not raised."""
    try:
        return task(frame)
    except (ValueError, TypeError) as error:
        return Failed.of(error, frame, reading)


def said_of_partition(said: Any, number: int) -> Any:
    """The result for a partition; a returned error is raised, naming the partition."""
    if isinstance(said, Failed):
        raise said.at(Chunk(pd.DataFrame(), number, unit="partition"))
    return said


def _first_wrong(frame: pd.DataFrame, reading: Reading) -> int | None:
    """The first row with a missing or infinite value, a value that mixes text with other types, or an invalid response.

    None if there is none.
    """
    used = [name for name in reading.used if list(frame.columns).count(name) == 1]
    found = [np.flatnonzero(_is_odd(frame[name]) & _counts(frame, reading))[:1] for name in used]
    rows = [int(at[0]) for at in found if len(at)]
    if not rows and reading.parsed.response in used:
        y = frame[reading.parsed.response]
        if y.dtype.kind in "iuf":
            return _first_refused(
                y.to_numpy(dtype=float, na_value=np.nan)[_counts(frame, reading)], reading.family.check
            )
    return min(rows, default=None)


def _is_odd(column: pd.Series) -> np.ndarray:
    odd = column.isna().to_numpy()
    if column.dtype.kind == "f":
        odd = odd | np.isinf(column.to_numpy(dtype=float, na_value=np.nan))
    if column.dtype == object and not odd.any() and len(column):
        is_text = np.array([isinstance(value, str) for value in column])
        odd = is_text != is_text[0]
    return odd


def _counts(frame: pd.DataFrame, reading: Reading) -> np.ndarray:
    """Which rows count; those with a missing weight do, as that is an error itself."""
    if reading.weights not in frame.columns:
        return np.ones(len(frame), dtype=bool)
    return (frame[reading.weights] != 0).to_numpy(dtype=bool, na_value=True)


def _first_refused(values: np.ndarray, check: Callable[[np.ndarray], None]) -> int | None:
    """The first value that a check rejects, by bisection."""
    low, high = 0, len(values) + 1  # values[:low] are accepted, values[:high] are not
    while high - low > 1:
        middle = (low + high) // 2
        try:
            check(values[:middle])
            low = middle
        except ValueError:
            high = middle
    return low if low < len(values) else None
