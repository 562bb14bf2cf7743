"""A Dask DataFrame: its partitions stay where they are."""

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
    """A Dask DataFrame.

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
        """Partitions, read here one after the other."""
        start = 0
        for number, part in enumerate(self.each(_itself, used)):
            frame = part.compute()
            yield Chunk(frame, number, start, unit="partition")
            start += len(frame)

    def each(self, task: Callable[[pd.DataFrame], Any], used: Collection[str] | None = None) -> list[Any]:
        """The delayed results of a task for each partition; its rows stay within the task.

        Categories that Dask does not know, because each partition has its own, are read as text.
        """
        frame = self.frame if used is None else self.frame[list(used)]
        categories = [name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.CategoricalDtype)]
        if unknown := [name for name in categories if not frame[name].cat.known]:
            task = _Plain(task, tuple(unknown))
        said = frame.map_partitions(task, meta=pd.Series(dtype=object), enforce_metadata=False)
        return list(said.to_delayed())


@dataclass(frozen=True)
class _Plain:
    """A task for a frame in which some categories are turned into objects."""

    task: Callable[[pd.DataFrame], Any]
    names: tuple[str, ...]

    def __call__(self, frame: pd.DataFrame) -> Any:
        return self.task(frame.astype(dict.fromkeys(self.names, object)))


def _itself(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


class Progress(Protocol):
    """What is informed about the number of completed tasks."""

    def advance(self, n: int) -> None:
        """Report `n` more."""


def is_dask(X: Any) -> bool:
    """Whether X is a Dask DataFrame; Dask is not imported to find out."""
    dask = sys.modules.get("dask.dataframe")
    return dask is not None and isinstance(X, dask.DataFrame)


def add_up(
    parts: Sequence[Any],
    check: Callable[[Any, int], Any],
    add: Callable[[list[Any]], Any],
    bar: AbstractContextManager[Progress],
) -> Any:
    """Compute the sum of delayed values as a tree: no worker holds many, and the order is always the same.

    Parameters
    ----------
    parts : sequence of delayed values
    check : callable
        Called with each value and its number; returns what is added.
    add : callable
    bar : context manager of Progress
        Informed about every part, if Dask's own schedulers compute it.
    """
    from dask import delayed  # noqa: PLC0415 - delayed values come from it
    from dask.callbacks import Callback  # noqa: PLC0415

    checked, added = delayed(check, pure=False), delayed(add, pure=False)
    parts = [checked(part, number) for number, part in enumerate(parts)]
    keys = {part.key for part in parts}
    while len(parts) > 1:
        parts = [added(list(parts[at : at + _FAN])) for at in range(0, len(parts), _FAN)]
    with bar as progress, Callback(posttask=lambda key, *_: progress.advance(int(key in keys))):
        return parts[0].compute()
