"""Lazy frames: of polars, DuckDB, Ibis."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import narwhals as nw

from bayesmixed.design.sources.arrow import import_arrow, in_chunks, reader_of, rows_at_once
from bayesmixed.design.sources.frames import Frames
from bayesmixed.design.sources.source import Chunk


@dataclass(frozen=True)
class Lazy:
    """A query that is run whenever it is read, for the columns that are used alone.

    Attributes
    ----------
    query : polars.LazyFrame, duckdb.DuckDBPyRelation, ibis.Table
        Or another that narwhals knows and that has Arrow's C stream.
    """

    query: Any
    rereadable = True
    in_memory = False
    n_rows = None

    @cached_property
    def columns(self) -> tuple[Any, ...] | None:
        return tuple(nw.from_native(self.query).collect_schema().names())

    @property
    def reader(self) -> Any:
        """All columns, as a `pyarrow.RecordBatchReader`."""
        if not hasattr(self.query, "collect_batches"):
            return _reader(self.query, rows_at_once(len(self.columns or ())))
        schema = self.query.head(0).collect().to_arrow().schema
        frames = self.query.collect_batches(chunk_size=rows_at_once(len(schema)), maintain_order=True)
        batches = (batch for frame in frames for batch in frame.to_arrow().to_batches())
        return import_arrow("Arrow streams").RecordBatchReader.from_batches(schema, batches)

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        names = list(self.columns or ()) if used is None else [name for name in used if name in (self.columns or ())]
        query = nw.from_native(self.query).select(*names).to_native()
        if hasattr(query, "collect_batches"):
            return Frames(query.collect_batches(chunk_size=rows_at_once(len(names)), maintain_order=True)).chunks(names)
        return in_chunks(_batches(query, rows_at_once(len(names))), names)


def _batches(query: Any, rows: int) -> Iterator[tuple[Any, None]]:
    """Batches of a query; a connection may have no other while its result is open."""
    with _reader(query, rows) as reader:
        for batch in reader:
            yield batch, None


def _reader(query: Any, rows: int) -> Any:
    """DuckDB's own reader, by its name of today and that before: from a stream old versions hold the whole result."""
    own = getattr(query, "to_arrow_reader", None) or getattr(query, "fetch_arrow_reader", None)
    return reader_of(query) if own is None else own(rows)
