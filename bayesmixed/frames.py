"""What a user hands in, as the few types the package works with: columns, response, row labels."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from sklearn.utils.validation import _num_samples

from bayesmixed.errors import FormulaError, quoted


def to_pandas(X: Any) -> Any:
    """Turn a frame of another library into pandas' own; what is no frame, or pandas' already, passes through.

    Raises
    ------
    TypeError
        A frame that is not in memory yet.
    """
    if isinstance(X, pd.DataFrame):
        return X
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(f"the rows of {kind_of(X)} are not in memory yet; collect them first, as in X.collect().")
    if not isinstance(frame, nw.DataFrame):
        return X
    columns = {name: _to_pandas(frame[name]) for name in frame.columns}
    return pd.DataFrame(columns, index=range(len(frame)))


def _to_pandas(column: nw.Series) -> Any:
    """A column of another library: numbers, text, dates and missing values as pandas has them."""
    dtype: Any = column.dtype
    if dtype.is_integer() and column.null_count():
        whole: Any = str(dtype)  # pandas' name, too: as floats, labels above 2^53 would not be told apart
        return pd.array(column.to_list(), dtype=whole)
    if isinstance(dtype, nw.Enum):  # its categories have an order, while those of a Categorical are as they came
        return pd.Categorical(column.to_list(), categories=dtype.categories, ordered=True)
    values: Any = pd.Series(column.to_list(), dtype=object) if dtype.is_nested() else pd.Series(column.to_numpy())
    zone = getattr(dtype, "time_zone", None)
    return values if zone is None else values.dt.tz_localize("UTC").dt.tz_convert(zone)


def read_columns(
    frame: pd.DataFrame, names: tuple[str, ...], *, formula: str | None, learning: bool = False
) -> pd.DataFrame:
    """Take columns from a user's frame in the few types that formulae and we agree on.

    Numbers become float64, booleans bool, everything categorical text or plain values. While
    learning, a Categorical keeps the order of its used categories (formulae would sort them).

    Raises
    ------
    FormulaError
        For a column that is absent, not unique, or of a type that is neither number, boolean nor category.
    ValueError
        For missing or infinite values: the column and their number.
    """
    require_columns(frame, names, formula)
    return pd.DataFrame({name: _read(frame[name], name, learning) for name in names}, index=range(len(frame)))


def require_columns(frame: pd.DataFrame, names: tuple[str, ...], formula: str | None, cure: str = "") -> None:
    """Refuse a frame that lacks a column; `cure` ends the message."""
    if absent := [name for name in names if name not in frame.columns]:
        uses = f"formula {formula!r} uses" if formula else "the model uses"
        columns = quoted(map(str, frame.columns), 30)
        raise FormulaError(f"{uses} {quoted(absent)}, which is not a column of X (columns: {columns}).{cure}")
    for name in names:
        if isinstance(frame[name], pd.DataFrame):
            raise FormulaError(f"X has {frame[name].shape[1]} columns called {name!r}; give each its own name.")


def refuse_missing_labels(frame: pd.DataFrame, columns: tuple[str, ...], factor: str) -> None:
    """Refuse a training frame in which a group is unknown."""
    for column in columns:
        if missing := int(frame[column].isna().sum()):
            raise ValueError(
                f"grouping factor {factor!r}: column {column!r} has {missing} missing labels (NaN) in {len(frame)} "
                "rows; a row of unknown group cannot be fitted. Drop the rows, or give them a label of their own."
            )


def _read(column: pd.Series, name: str, learning: bool) -> Any:
    if missing := int(column.isna().sum()):
        raise ValueError(
            f"column {name!r} has {missing} missing values (NaN) in {len(column)} rows. Rows are never dropped "
            f"silently: drop them yourself, for example X.dropna(subset=[{name!r}]), or impute."
        )
    if isinstance(column.dtype, pd.CategoricalDtype):
        if learning:
            return pd.Categorical(column.cat.remove_unused_categories().array, ordered=True)
        column = pd.Series(np.asarray(column))
    if isinstance(column.dtype, pd.ArrowDtype) and column.dtype.kind == "O":
        column = column.astype(object)  # a dictionary of text, decimals
    if column.dtype == object:
        column = column.infer_objects()
        if pd.api.types.infer_dtype(column) == "decimal":
            column = column.astype(float)
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=bool)
    if pd.api.types.is_integer_dtype(column.dtype) or pd.api.types.is_float_dtype(column.dtype):
        # integers, too: their arithmetic would wrap around silently
        values = column.to_numpy(dtype=np.float64)
        if infinite := np.count_nonzero(np.isinf(values)):
            raise ValueError(f"column {name!r} has {infinite} infinite values (inf) in {len(column)} rows.")
        return values
    if pd.api.types.is_string_dtype(column.dtype) and all(isinstance(value, str) for value in column):
        return column.to_numpy(dtype=object)
    raise FormulaError(
        f"column {name!r} has dtype {column.dtype}, which is neither a number, a boolean nor a category of text; "
        "convert it first (a date, for example, to days since a start)."
    )


def read_response(X: Any, y: Any, column: str | None, name: str) -> Any:
    """Take the response that was given, or the formula's left-hand column of X."""
    if y is not None:
        return y
    if column is None:
        raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
    frame = to_pandas(X)
    if not isinstance(frame, pd.DataFrame) or column not in frame.columns:
        raise FormulaError(f"the formula's response {column!r} is not a column of X; pass y.")
    return frame[column]


def row_labels(X: Any, start: int = 0) -> np.ndarray:
    """Labels of the rows: the frame's index, else numbers from `start`."""
    if not isinstance(X, pd.DataFrame):
        return np.arange(start, start + _num_samples(X))
    index = X.index
    if isinstance(index, pd.MultiIndex) or not isinstance(index.dtype, np.dtype) or index.dtype == object:
        return np.array([str(label) for label in index])
    return index.to_numpy()


def kind_of(X: Any) -> str:
    """What X is, for a message."""
    return "an array" if isinstance(X, np.ndarray) else f"a {type(X).__name__}"
