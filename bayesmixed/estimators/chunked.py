"""Predictions for rows that are not in memory: lazily for a Dask DataFrame, batch by batch for a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.sources.dask import is_dask
from bayesmixed.design.sources.find import find_source
from bayesmixed.errors import quoted

if TYPE_CHECKING:
    import pyarrow as pa

_P = ParamSpec("_P")
_Found = TypeVar("_Found")


def in_chunks(method: Callable[Concatenate[Any, Any, _P], _Found]) -> Callable[Concatenate[Any, Any, _P], _Found]:
    """Let a method that predicts rows also accept rows that are not in memory.

    For a Dask DataFrame it then returns a Dask Series or DataFrame with the rows' index; for a stream, a
    ``pyarrow.RecordBatchReader`` of the stream's columns and the predictions.
    """
    parameters = signature(method)

    @wraps(method)
    def predict(est: Any, X: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        lazy = is_dask(X)
        batches = None if lazy else getattr(find_source(X), "reader", None)
        if not lazy and batches is None:
            return method(est, X, *args, **kwargs)
        check_is_fitted(est)
        arguments = parameters.bind(est, X, *args, **kwargs)
        arguments.apply_defaults()
        call = _Call(method.__name__, args, kwargs)
        columns = _columns(est, method.__name__, arguments.arguments)
        return _of_dask(est, X, call, columns) if lazy else _of_stream(est, batches, call, columns)

    return predict


@dataclass(frozen=True)
class _Call:
    """A method and its arguments except the rows; it is sent to workers."""

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, est: Any, rows: Any) -> list[np.ndarray]:
        """The predictions for some rows, as columns."""
        found = getattr(est, self.method)(rows, *self.args, **self.kwargs)
        parts = found if isinstance(found, tuple) else (found,)
        return [column for part in parts for column in part.reshape(len(part), int(np.prod(part.shape[1:]))).T]


def _columns(est: Any, method: str, arguments: dict[str, Any]) -> dict[str, np.dtype]:
    """Names and types of the columns that a method predicts."""
    number = np.dtype(np.float64)
    if method == "predict":
        classes = getattr(est, "classes_", None)
        std = {"std": number} if arguments.get("return_std") else {}
        return {"prediction": number if classes is None else classes.dtype} | std
    if method == "decision_function":
        return {"decision": number}
    if method in ("predict_proba", "predict_log_proba"):
        prefix = method.removeprefix("predict_")
        return {f"{prefix}_{label}": number for label in est.classes_}
    if method == "predict_interval":
        names = ["lower", "upper"]
    else:
        names = [f"q{p:g}" for p in np.atleast_1d(arguments["quantiles"])]
        if again := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"several quantiles would have the name {quoted(again)}; request each in its own call.")
    if est._posterior.family.mean_shape and arguments["kind"] == "mean":  # of every class
        names = [f"{name}_{label}" for label in est.classes_ for name in names]
    return dict.fromkeys(names, number)


def _of_dask(est: Any, X: Any, call: _Call, columns: dict[str, np.dtype]) -> Any:
    """A lazy Series for one column, otherwise a DataFrame."""
    import dask  # noqa: PLC0415 - X is Dask's

    if est.formula is not None:
        call(est, X._meta)  # errors about columns or arguments are raised now, and not on a worker
    meta: Any = pd.DataFrame({name: np.empty(0, dtype) for name, dtype in columns.items()}, index=X._meta.index)
    if len(columns) == 1:
        meta = meta.iloc[:, 0]
    # as a separate object in the graph it is sent to a worker once, not with every partition; a scattered object would
    # be lost with the worker that holds it
    return X.map_partitions(_of_partition, dask.delayed(est, traverse=False), call, meta, meta=meta)


def _of_partition(rows: pd.DataFrame, est: Any, call: _Call, meta: Any) -> Any:
    if not len(rows):
        return meta.set_axis(rows.index)
    found = dict(enumerate(call(est, rows)))
    if isinstance(meta, pd.Series):
        return pd.Series(found[0], index=rows.index, name=meta.name)
    return pd.DataFrame(found, index=rows.index).set_axis(meta.columns, axis=1)


def _of_stream(est: Any, batches: pa.RecordBatchReader, call: _Call, columns: dict[str, np.dtype]) -> Any:
    """A stream of the rows with their predictions; the old stream is read as the new one is."""
    import pyarrow as pa  # noqa: PLC0415 - X was read by it

    if taken := [name for name in columns if name in batches.schema.names]:
        raise ValueError(
            f"the stream has columns {quoted(taken)}, names needed for the predictions that are added to its columns; "
            "rename them."
        )
    if est.formula is not None:
        call(est, batches.schema.empty_table())
    schema = batches.schema
    for name, dtype in columns.items():
        schema = schema.append(pa.field(name, pa.array(np.empty(0, dtype)).type))

    def with_predictions() -> Iterator[pa.RecordBatch]:
        start = 0
        for number, batch in enumerate(batches):
            if not batch.num_rows:
                continue
            try:
                found = [pa.array(column) for column in call(est, pa.Table.from_batches([batch]))]
            except ValueError as error:
                error.add_note(f"This is batch {number} of the stream; its first row is row {start} of all.")
                raise
            start += batch.num_rows
            yield pa.RecordBatch.from_arrays([*batch.columns, *found], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, with_predictions())
