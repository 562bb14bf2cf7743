"""Convert what a user passes to the few types the package works with: columns, response, row labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sized
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import _num_samples, column_or_1d

from bayesmixed.errors import FormulaError, quoted, warn
from bayesmixed.formula.names import cure_of_names

_TIMES = ("datetime", "datetime64", "date", "timedelta", "timedelta64", "period")


def to_pandas(X: Any, used: Collection[str] | None = None) -> Any:
    """Turn a frame of another library into a pandas DataFrame; anything that is not a frame passes through.

    Parameters
    ----------
    X : any
    used : collection of str, optional
        The columns whose values are needed; of the others, which may hold anything, only the names are kept. Default:
        all.

    Raises
    ------
    FormulaError
        An Arrow table in which a needed column has the same name as another.
    TypeError
        A frame whose rows are not in memory.
    """
    X = nw.to_native(X, pass_through=True)
    if isinstance(X, pd.DataFrame):
        odd = [name for name, dtype in X.dtypes.items() if _is_odd(dtype) and (used is None or name in used)]
        times: Counter[Any] = Counter(X.columns)
        if odd := [name for name in odd if times[name] == 1]:
            X = X.copy(deep=False)
            for name in odd:
                X[name] = plain(X[name].astype(object))
        return X
    try:
        frame = nw.from_native(X, pass_through=True)
    except nw.exceptions.DuplicateError:  # only Arrow tables may repeat a name
        names = list(X.column_names)
        refuse_repeated(names, names if used is None else used)
        frame = nw.from_native(X.select([at for at, name in enumerate(names) if names.count(name) == 1]))
    if isinstance(frame, nw.LazyFrame):
        library = type(X).__module__.partition(".")[0]
        raise TypeError(
            f"{kind_of(X)} of {library} has no rows in memory yet; pass the frame that X.collect() or X.compute() "
            "returns."
        )
    if not isinstance(frame, nw.DataFrame):
        return X
    nothing: Any = []
    unread = pd.Categorical.from_codes(np.full(len(frame), -1, dtype=np.int8), nothing)
    columns = {name: _values(frame[name]) if used is None or name in used else unread for name in frame.columns}
    return pd.DataFrame(columns, index=range(len(frame)))


def _is_odd(dtype: Any) -> bool:
    """An Arrow type whose values become Python objects: dictionary-encoded text, decimals, dates."""
    return isinstance(dtype, pd.ArrowDtype) and dtype.kind == "O"


def _values(column: nw.Series) -> Any:
    """A column of another library: numbers, text, dates and missing values as in pandas."""
    dtype: Any = column.dtype
    if dtype.is_integer() and column.null_count():
        whole: Any = str(dtype)  # also pandas' name: as floats, labels above 2^53 could not be told apart
        return pd.array(column.to_list(), dtype=whole)
    if isinstance(dtype, nw.Enum):  # its categories have an order; those of a Categorical are as they came
        return pd.Categorical(column.to_list(), categories=dtype.categories, ordered=True)
    if isinstance(dtype, nw.Categorical) or dtype.is_nested() or dtype.is_decimal():
        return plain(pd.Series(column.to_list(), dtype=object))
    values: Any = pd.Series(column.to_numpy())
    zone = getattr(dtype, "time_zone", None)
    return values if zone is None else values.dt.tz_localize("UTC").dt.tz_convert(zone)


def plain(column: pd.Series) -> pd.Series:
    """Objects as their common type, decimals as floats."""
    column = column.infer_objects()
    return column.astype(float) if pd.api.types.infer_dtype(column) == "decimal" else column


def column_names(X: Any) -> list[Any]:
    """Names of a frame's columns; empty for anything that is not a frame."""
    X = nw.to_native(X, pass_through=True)
    if isinstance(X, pd.DataFrame):
        return list(X.columns)
    if hasattr(X, "column_names"):  # an Arrow table, in which a name may occur twice
        return list(X.column_names)
    return list(getattr(nw.from_native(X, pass_through=True), "columns", []))


def refuse_repeated(names: Iterable[Any], used: Iterable[Any]) -> None:
    """Reject a name that several columns share, if it is used.

    Raises
    ------
    FormulaError
    """
    times = Counter(names)
    for name in used:
        if times[name] > 1:
            raise FormulaError(f"X has {times[name]} columns called {name!r}; give each its own name.")


def require_columns(frame: pd.DataFrame, names: tuple[str, ...], formula: str | None, cure: str = "") -> None:
    """Reject a frame that lacks a column; `cure` ends the message."""
    there = set(frame.columns)
    if absent := [name for name in names if name not in there]:
        if any(str(column).endswith(f"__{name}") for column in frame.columns for name in absent):
            cure += " A ColumnTransformer keeps the names under verbose_feature_names_out=False."
        uses = f"formula {formula!r} uses" if formula else "the model uses"
        columns = quoted(map(str, frame.columns), 30)
        if meant := cure_of_names(formula or "", frame.columns, absent):
            cure = f" {meant}{cure}"
        raise FormulaError(f"{uses} {quoted(absent)}, which is not a column of X (columns: {columns}).{cure}")
    refuse_repeated(frame.columns, names)


def read_response(X: Any, y: Any, column: str | None, name: str) -> Any:
    """Take the given response, or the formula's left-hand column of X."""
    if y is not None:
        return y
    if column is None:
        raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
    frame = to_pandas(X, (column,))
    if not isinstance(frame, pd.DataFrame) or column not in frame.columns:
        meant = cure_of_names(column, column_names(frame), (column,))
        raise FormulaError(f"the formula's response {column!r} is not a column of X; pass y. {meant}".rstrip())
    refuse_repeated(frame.columns, (column,))
    return frame[column]


def unmasked(values: Any) -> Any:
    """A masked array with NaN for what is masked, which NumPy would uncover; anything else as it is."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        return np.ma.filled(values.astype(object), np.nan)
    return values


def row_labels(X: Any, start: int = 0) -> np.ndarray:
    """Labels of the rows: the frame's index, or numbers from `start`."""
    X = nw.to_native(X, pass_through=True)
    if not isinstance(X, pd.DataFrame):
        return np.arange(start, start + _num_samples(X))
    index = X.index
    if isinstance(index, pd.MultiIndex) or not isinstance(index.dtype, np.dtype) or index.dtype == object:
        return np.array([str(label) for label in index])
    return index.to_numpy()


def kind_of(X: Any) -> str:
    """What X is, for a message."""
    return "an array" if isinstance(X, np.ndarray) else f"a {type(X).__name__}"


def check_size(y: Sized) -> None:
    """Reject a fit of fewer than two rows.

    Raises
    ------
    ValueError
    """
    if len(y) < 2:
        raise ValueError(f"Found {len(y)} sample(s) with a positive weight, while a minimum of 2 is required.")


def read_column(y: Any, n_rows: int, counts: np.ndarray | None = None) -> pd.Series:
    """Read a response as a single column of any type.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    n_rows : int
    counts : numpy.ndarray of bool, shape (n_rows,), optional
        Rows that count, those with positive weight; only these are returned.

    Returns
    -------
    Series of shape (n,)
        Categorical if y is, or if it is a polars Enum.

    Raises
    ------
    ValueError
        Wrong length or shape.
    """
    y = _only_column(unmasked(nw.to_native(y, pass_through=True)))
    series = nw.from_native(y, series_only=True, pass_through=True)
    if isinstance(y, (list, tuple)):
        y = np.array(y, dtype=object)  # otherwise a number next to text would become text
    values: Any = None
    if isinstance(series, nw.Series) and isinstance(series.dtype, nw.Enum):  # which has an order
        values = pd.Categorical(series.to_list(), categories=series.dtype.categories, ordered=True)
    elif isinstance(getattr(y, "dtype", None), pd.CategoricalDtype):  # a Series, an index, or pd.cut of an array
        values = pd.Categorical(y)
    elif isinstance(y, pd.Series) and not isinstance(y.dtype, np.dtype) and not y.hasnans:
        values = y.to_numpy(dtype=object)  # keeps pandas' nullable integers and booleans as they are
    if values is None:
        values = column_or_1d(y, warn=True)
    if len(values) != n_rows:
        raise ValueError(f"X and y have inconsistent numbers of rows: {n_rows} and {len(values)}.")
    return plain(pd.Series(values if counts is None else values[counts]))


def _only_column(y: Any) -> Any:
    """The column of a frame that has one, which an array would strip of its type; anything else as it is."""
    frame = nw.from_native(y, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame) or frame.shape[1] != 1:
        return y
    warn(
        "A column-vector y was passed when a 1d array was expected. Please pass the column itself, y[name].",
        DataConversionWarning,
    )
    return y.iloc[:, 0] if isinstance(y, pd.DataFrame) else frame[frame.columns[0]].to_native()


def as_numbers(column: pd.Series) -> np.ndarray:
    """A response as float64, shape (n,).

    Raises
    ------
    ValueError
        The response is not numeric, or has missing or infinite values; the message has their number.
    """
    if column.dtype.kind == "c":
        raise ValueError("Complex data not supported: y must be real numbers.")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = plain(column.astype(object))
    if not pd.api.types.is_numeric_dtype(column.dtype):
        cure = "use MixedModelClassifier for classes"
        if (kind := pd.api.types.infer_dtype(column)) in _TIMES:
            cure = f"y holds {kind} values, so convert them, for example to days: (y - start) / pd.Timedelta(days=1)"
        raise ValueError(f"y must be numeric, got dtype {column.dtype}; {cure}.")
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if bad := np.count_nonzero(~np.isfinite(numbers)):
        raise ValueError(
            f"Input y contains NaN or infinity in {bad} of {len(numbers)} rows; drop these rows or impute."
        )
    return numbers
