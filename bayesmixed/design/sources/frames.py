"""Frames in memory: one, or one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bayesmixed.design.frames import column_names, kind_of, to_pandas
from bayesmixed.design.sources.source import Chunk, Source


@dataclass(frozen=True)
class Frame:
    """One frame, whose rows are in memory; one chunk."""

    frame: Any
    rereadable = in_memory = True

    @property
    def columns(self) -> tuple[Any, ...] | None:
        return tuple(column_names(self.frame))

    @property
    def n_rows(self) -> int | None:
        return len(self.frame)

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        yield Chunk(to_pandas(self.frame, used), 0, 0)


@dataclass(frozen=True)
class Frames:
    """An iterable of frames, each a chunk."""

    parts: Iterable[Any]
    in_memory = False
    columns = None
    n_rows = None

    @property
    def rereadable(self) -> bool:
        """Whether it can be read again: an iterator, such as a generator, cannot."""
        return not isinstance(self.parts, Iterator)

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        start = 0
        for number, part in enumerate(self.parts):
            frame = to_pandas(_as_table(part), used)
            if not isinstance(frame, pd.DataFrame):
                raise TypeError(f"part {number} of source must be a DataFrame, got {kind_of(part)}.")
            yield Chunk(frame, number, start)
            start += len(frame)


@dataclass(frozen=True)
class Made:
    """What a callable returns: any source, made anew whenever it is read.

    Attributes
    ----------
    make : callable
    find : callable
        Distinguishes sources: `find_source`.
    """

    make: Callable[[], Any]
    find: Callable[[Any], Source | None]
    rereadable = True
    in_memory = False
    columns = None
    n_rows = None

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        made = self.make()
        source = None if callable(made) else self.find(made)
        if source is None:
            raise TypeError(f"a callable source must return frames or another source, got {kind_of(made)}.")
        yield from source.chunks(used)


def _as_table(part: Any) -> Any:
    """A frame; a record batch becomes a table."""
    arrow = sys.modules.get("pyarrow")  # imported if there is a batch
    return arrow.Table.from_batches([part]) if arrow and isinstance(part, arrow.RecordBatch) else part
