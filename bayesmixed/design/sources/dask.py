"""A frame of Dask: partitions, which stay where they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bayesmixed.design.sources.source import Chunk

_FAN = 8  # results that one task adds up


@dataclass(frozen=True)
class Partitions:
    """A frame of Dask.

    Attributes
    ----------
    frame : dask.dataframe.DataFrame
    """

    frame: Any
    rereadable = True
    in_memory = False
    n_rows = None

    @property
    def columns(self) -> tuple[Any, ...] | None:
        return tuple(self.frame.columns)

    @property
    def dtypes(self) -> Any:
        """The type of each column, a Series."""
        return self.frame.dtypes

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        """Partitions, one after the other, brought here."""
        start = 0
        for number, part in enumerate(self.delayed(used)):
            frame = part.compute()
            yield Chunk(frame, number, start, unit="partition")
            start += len(frame)

    def delayed(self, used: Collection[str] | None = None) -> list[Any]:
        """Partitions as delayed frames, of the columns that are used."""
        frame = self.frame if used is None else self.frame[[name for name in used if name in self.frame.columns]]
        return frame.to_delayed()


def is_dask(X: Any) -> bool:
    """Whether X is a DataFrame of Dask; Dask is not imported for that."""
    dask = sys.modules.get("dask.dataframe")
    return dask is not None and isinstance(X, dask.DataFrame)


def add_up(parts: Sequence[Any], add: Callable[[list[Any]], Any]) -> Any:
    """One delayed value of many: a tree of sums, so that none waits for all, and no worker holds many."""
    from dask import delayed  # noqa: PLC0415 - whoever has delayed values has it

    task = delayed(add)
    while len(parts) > 1:
        parts = [task(list(parts[at : at + _FAN])) for at in range(0, len(parts), _FAN)]
    return parts[0]
