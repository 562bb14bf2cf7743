"""Errors of a chunk of rows say which chunk it is, and which row of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from bayesmixed.design.sources.source import Chunk
from bayesmixed.errors import FormulaError
from bayesmixed.estimators.summed.of_chunks import Reading


@contextmanager
def naming(chunk: Chunk, reading: Reading) -> Iterator[None]:
    """Have the errors that are raised within say where the rows are."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = next(kind for kind in (FormulaError, ValueError, TypeError) if isinstance(error, kind))
        raise kind(f"{chunk.where(_first_wrong(chunk.frame, reading))}: {error}") from error


def _first_wrong(frame: pd.DataFrame, reading: Reading) -> int | None:
    """The first row with a value that is missing or infinite, beside text and no text, or no response of the family.

    None: there is none.
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
    """Which rows count: a weight that is missing is wrong itself."""
    if reading.weights not in frame.columns:
        return np.ones(len(frame), dtype=bool)
    return (frame[reading.weights] != 0).to_numpy(dtype=bool, na_value=True)


def _first_refused(values: np.ndarray, check: Callable[[np.ndarray], None]) -> int | None:
    """The first value that a check refuses, by halves."""
    low, high = 0, len(values) + 1  # values[:low] are taken, values[:high] are not
    while high - low > 1:
        middle = (low + high) // 2
        try:
            check(values[:middle])
            low = middle
        except ValueError:
            high = middle
    return low if low < len(values) else None
