"""A frame of Dask: partitions, which stay where they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

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

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        """Partitions, one after the other, brought here."""
        start = 0
        for number, part in enumerate(self.delayed(used)):
            frame = part.compute()
            yield Chunk(frame, number, start, unit="partition")
            start += len(frame)

    def delayed(self, used: Collection[str] | None = None) -> list[Any]:
        """Partitions as delayed frames, of the columns that are used.

        Categories that Dask does not know, as each partition has its own, are the text that they stand for.
        """
        frame = self.frame if used is None else self.frame[list(used)]
        categories = [name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.CategoricalDtype)]
        if unknown := [name for name in categories if not frame[name].cat.known]:
            return of_each(_Plain(tuple(unknown)), frame.to_delayed())
        return list(frame.to_delayed())


@dataclass(frozen=True)
class _Plain:
    """Columns of objects in place of categories."""

    names: tuple[str, ...]

    def __call__(self, frame: pd.DataFrame, number: int) -> pd.DataFrame:
        return frame.astype(dict.fromkeys(self.names, object))


class Progress(Protocol):
    """What is told how many tasks are done."""

    def advance(self, n: int) -> None:
        """Report `n` more."""


def is_dask(X: Any) -> bool:
    """Whether X is a DataFrame of Dask; Dask is not imported for that."""
    dask = sys.modules.get("dask.dataframe")
    return dask is not None and isinstance(X, dask.DataFrame)


def of_each(task: Callable[[Any, int], Any], parts: Sequence[Any]) -> list[Any]:
    """What a task will say of each part and its number, delayed."""
    from dask import delayed  # noqa: PLC0415 - whoever has delayed parts has it

    step = delayed(task, pure=False)
    return [step(part, number) for number, part in enumerate(parts)]


def add_up(parts: Sequence[Any], add: Callable[[list[Any]], Any], bar: AbstractContextManager[Progress]) -> Any:
    """Compute the sum of delayed values: a tree, so that no worker holds many, in which the order is always the same.

    Where Dask's own schedulers compute it, the bar is told of every part.
    """
    from dask import delayed  # noqa: PLC0415
    from dask.callbacks import Callback  # noqa: PLC0415

    keys = {part.key for part in parts}
    task = delayed(add, pure=False)
    while len(parts) > 1:
        parts = [task(list(parts[at : at + _FAN])) for at in range(0, len(parts), _FAN)]
    with bar as progress, Callback(posttask=lambda key, *_: progress.advance(int(key in keys))):
        return parts[0].compute()
