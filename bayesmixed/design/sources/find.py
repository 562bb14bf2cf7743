"""What kind of source X is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import narwhals as nw

from bayesmixed.design.sources.arrow import Dataset, Parquet, Stream
from bayesmixed.design.sources.dask import Partitions, is_dask
from bayesmixed.design.sources.frames import Frame, Frames, Made
from bayesmixed.design.sources.lazy import Lazy
from bayesmixed.design.sources.source import Source

_PATH = (str, os.PathLike)


def find_source(X: Any) -> Source | None:
    """Tell sources of rows apart; nothing is read.

    Parameters
    ----------
    X : any
        In this order: a path, a list of paths or a folder of Parquet files; a frame in memory; a lazy frame or a
        stream (of Dask, polars, DuckDB, Ibis; a dataset or batches of pyarrow; whatever has Arrow's C stream); an
        iterable of frames, or a callable that returns one.

    Returns
    -------
    Source or None
        None: an array, a list of numbers, or what else has no columns with names.

    Examples
    --------
    >>> type(find_source("rows.parquet")).__name__, find_source([[1.0, 2.0]])
    ('Parquet', None)
    """
    for kind in (_of_paths, _of_one_frame, _of_a_stream, _of_frames):
        if (source := kind(X)) is not None:
            return source
    return None


def _of_paths(X: Any) -> Source | None:
    several = isinstance(X, (list, tuple)) and X and all(isinstance(path, _PATH) for path in X)
    return Parquet(X) if isinstance(X, _PATH) or several else None


def _of_one_frame(X: Any) -> Source | None:
    """A frame, in memory or lazy."""
    if is_dask(X):  # narwhals would warn
        return Partitions(X)
    try:
        frame = nw.from_native(X, pass_through=True)
    except nw.exceptions.DuplicateError:  # of Arrow's tables alone
        return Frame(X)
    if isinstance(frame, nw.DataFrame):
        return Frame(X)
    native: Any = nw.to_native(frame, pass_through=True)
    streams = hasattr(native, "collect_batches") or hasattr(native, "__arrow_c_stream__")
    return Lazy(native) if isinstance(frame, nw.LazyFrame) and streams else None


def _of_a_stream(X: Any) -> Source | None:
    if (datasets := sys.modules.get("pyarrow.dataset")) and isinstance(X, datasets.Dataset):
        return Dataset(X)
    is_column = hasattr(X, "dtype") or hasattr(X, "type")  # a table of another library may have a shape
    return Stream(X) if hasattr(X, "__arrow_c_stream__") and not is_column else None


def _of_frames(X: Any) -> Source | None:
    """A callable, or an iterable; of a sequence the first tells whether it holds frames."""
    if callable(X):
        return None if isinstance(X, type) else Made(X, find_source)
    if isinstance(X, (str, bytes, Mapping, Set)) or not isinstance(X, Iterable) or _is_array(X):
        return None
    return None if isinstance(X, Sequence) and X and not _is_frame(X[0]) else Frames(X)


def _is_array(X: Any) -> bool:
    """One array, which may be iterable, too."""
    return any(hasattr(X, name) for name in ("dtype", "type", "shape", "__array__"))


def _is_frame(X: Any) -> bool:
    """Whether X may be one of several frames."""
    batch = getattr(sys.modules.get("pyarrow"), "RecordBatch", ())
    return isinstance(X, batch) or isinstance(_of_one_frame(X), Frame)
