"""Arrow record batches as chunks: Parquet files, datasets, streams."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bayesmixed.chunks import allowed, at_once
from bayesmixed.design.frames import to_pandas
from bayesmixed.design.sources.source import Chunk, refuse_other_number
from bayesmixed.errors import FormulaError, quoted

_FEW = {"batch_readahead": 1, "fragment_readahead": 1}  # the default readahead may hold more than a whole table
_COUNTED = ("parquet", "feather", "arrow")  # formats whose files state their number of rows
_BATCH = 2**16  # rows


@dataclass(frozen=True)
class Parquet:
    """Parquet files: a path, a list of paths, or a folder.

    Attributes
    ----------
    paths : path-like, or sequence of these
    """

    paths: Any
    rereadable = True
    in_memory = False

    @property
    def columns(self) -> tuple[Any, ...] | None:
        return self._dataset.columns

    @property
    def n_rows(self) -> int | None:
        return self._dataset.n_rows

    @property
    def reader(self) -> Any:
        return self._dataset.reader

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        return self._dataset.chunks(used)

    @cached_property
    def _dataset(self) -> Dataset:
        pa = import_arrow("Parquet files")
        import pyarrow.dataset as ds  # noqa: PLC0415 - only needed to read files

        one = isinstance(self.paths, (str, os.PathLike))
        every = [os.fspath(path) for path in ([self.paths] if one else self.paths)]
        named = quoted(every, 3)
        hive = one and os.path.isdir(every[0])  # the names of its folders may be columns
        try:
            paths = every[0] if one else every
            found = ds.dataset(paths, format="parquet", partitioning="hive" if hive else None)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"{named} cannot be read as Parquet: {str(error).rstrip('.')}. For other files, pass "
                "pyarrow.dataset.dataset(path, format='csv')."
            ) from None
        if hive and not found.files:
            raise ValueError(f"the folder {named} has no files to read.")
        return Dataset(found, by_file=True)


@dataclass(frozen=True)
class Dataset:
    """A pyarrow dataset.

    Attributes
    ----------
    dataset : pyarrow.dataset.Dataset
    by_file : bool, default=False
        Whether types of columns are those of each file, not of the dataset: nobody has stated them, they are the first
        file's.
    """

    dataset: Any
    by_file: bool = False
    rereadable = True
    in_memory = False

    @property
    def columns(self) -> tuple[Any, ...] | None:
        return tuple(self.dataset.schema.names)

    @property
    def n_rows(self) -> int | None:
        fragments = self._fragments
        if fragments is None or not all(_says_rows(fragment) for fragment in fragments):
            return None
        return sum(fragment.count_rows() for fragment in fragments)

    @property
    def reader(self) -> Any:
        """All columns, as a `pyarrow.RecordBatchReader`."""
        return self.dataset.scanner(batch_size=_BATCH, **_FEW).to_reader()

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        names = list(self.columns or ()) if used is None else list(used)
        return in_chunks(self._batches(names), names)

    @cached_property
    def _fragments(self) -> list[Any] | None:
        """The files, or parts in memory; None if the dataset has a filter, which these would not apply."""
        try:
            return list(self.dataset.get_fragments())
        except ValueError:
            return None

    def _batches(self, names: list[str]) -> Iterator[tuple[Any, str | None]]:
        size = min(_BATCH, rows_at_once(len(names)))
        if self._fragments is None:
            for batch in self.dataset.to_batches(columns=names, batch_size=size, **_FEW):
                yield batch, None
            return
        for fragment in self._fragments:
            path = getattr(fragment, "path", None)
            schema = self._schema(fragment)
            if absent := [name for name in names if name not in schema.names]:
                raise FormulaError(
                    f"{'a part of the dataset' if path is None else path} has no column {quoted(absent)} (columns: "
                    f"{quoted(schema.names, 30)})."
                )
            read = 0
            schema = schema if self.by_file else self.dataset.schema
            for batch in fragment.to_batches(schema=schema, columns=names, batch_size=size, **_FEW):
                read += len(batch)
                yield batch, path
            if _says_rows(fragment):
                refuse_other_number(read, fragment.count_rows(), path or "a part of the dataset")

    def _schema(self, fragment: Any) -> Any:
        """The columns with the file's own types, and those that its path defines."""
        import pyarrow.dataset as ds  # noqa: PLC0415 - only needed for a dataset

        schema = fragment.physical_schema
        for name in ds.get_partition_keys(fragment.partition_expression):
            if name not in schema.names:
                schema = schema.append(self.dataset.schema.field(name))
        return schema


@dataclass(frozen=True)
class Stream:
    """Anything that exports an Arrow C stream; it is read once.

    Attributes
    ----------
    stream : pyarrow.RecordBatchReader, or an object with ``__arrow_c_stream__``
    """

    stream: Any
    rereadable = in_memory = False
    n_rows = None

    @property
    def columns(self) -> tuple[Any, ...] | None:
        return tuple(self.reader.schema.names)

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        names = list(self.columns or ()) if used is None else [name for name in used if name in (self.columns or ())]
        return in_chunks(((batch.select(names), None) for batch in self.reader), names)

    @cached_property
    def reader(self) -> Any:
        """A `pyarrow.RecordBatchReader`."""
        return reader_of(self.stream)


def reader_of(stream: Any) -> Any:
    """A `pyarrow.RecordBatchReader` for an object that exports an Arrow C stream."""
    return import_arrow("Arrow streams").RecordBatchReader.from_stream(stream)


def in_chunks(batches: Iterable[tuple[Any, str | None]], names: list[str]) -> Iterator[Chunk]:
    """Record batches, and the files that they come from, gathered into chunks of as many rows as are allowed."""
    rows, number, start = rows_at_once(len(names)), 0, 0
    held: list[Any] = []
    files: dict[str, int] = {}
    size = 0
    for batch, path in _of_at_most(rows, batches):
        if held and (size + len(batch) > rows or batch.schema != held[0].schema):
            yield _chunk(held, names, (number, start), files)
            number, start = number + 1, start + size
            held, files, size = [], {}, 0
        if path is not None:
            files.setdefault(path, size)
        held.append(batch)
        size += len(batch)
    if held:
        yield _chunk(held, names, (number, start), files)


def _of_at_most(rows: int, batches: Iterable[tuple[Any, str | None]]) -> Iterator[tuple[Any, str | None]]:
    for batch, path in batches:
        for at in range(0, len(batch), rows):
            yield batch[at : at + rows], path


def rows_at_once(width: int) -> int:
    """Number of rows in a chunk with `width` columns."""
    return at_once(max(width, 8), allowed().chunk)  # for few columns, the sums need as much memory as the rows


def import_arrow(what: str) -> Any:
    """Import pyarrow.

    Raises
    ------
    ImportError
        If it is not installed; says how to install it.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - only when it is needed
    except ImportError:
        raise ImportError(f'{what} are read by pyarrow: pip install "bayesmixed[parquet]".') from None
    return pa


def _chunk(held: list[Any], names: list[str], at: tuple[int, int], files: dict[str, int]) -> Chunk:
    pa = import_arrow("Arrow streams")
    table = pa.Table.from_batches(held)
    for place, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):  # like frames in memory, whose way takes three times as long
            table = table.set_column(place, column.name, table.column(place).cast(column.type.value_type))
    return Chunk(to_pandas(table, names), *at, tuple((first, path) for path, first in files.items()))


def _says_rows(fragment: Any) -> bool:
    file_format = getattr(fragment, "format", None)
    return file_format is None or file_format.default_extname in _COUNTED
