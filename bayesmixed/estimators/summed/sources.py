"""Sums over the rows of a source that are not in memory: chunks that are brought here, partitions that stay."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial, reduce
from itertools import chain
from operator import add
from typing import Any, TypeVar

import pandas as pd

from bayesmixed.design.sources.dask import Partitions, add_up
from bayesmixed.design.sources.known import Known, Wanted, other_rows, refuse_unknown
from bayesmixed.design.sources.source import Chunk, Source
from bayesmixed.design.spec import DesignSpec
from bayesmixed.estimators.summed.of_chunks import Reading, Total
from bayesmixed.estimators.summed.wrong_rows import naming, said_of_partition, say_of_partition
from bayesmixed.sampling.progress import Progress

_Found = TypeVar("_Found")


def sum_source(
    source: Source,
    reading: Reading,
    *,
    spec: DesignSpec | None = None,
    refuse: Callable[[DesignSpec], None] | None = None,
    progressbar: bool = False,
) -> tuple[Any, tuple[Any, ...]]:
    """Sum over the rows of a source that are not in memory.

    Parameters
    ----------
    source : Source
    reading : Reading
    spec : DesignSpec, optional
        What other rows have taught of the columns. Default: learned from these.
    refuse : callable, optional
        Is told what was learned of the columns before rows are summed, and may raise.
    progressbar : bool

    Returns
    -------
    sums : Summed
        Of the kind that `reading` asks for.
    columns : tuple of str
        Names of all columns of the source.

    Raises
    ------
    FormulaError, ValueError, TypeError
        As in a fit, with the chunk, and the row within the source where it is one; for a source that is read once, of
        whose rows something has to be known before; for rows that are others when they are read again.
    """
    if source.columns is not None:
        reading.require(pd.DataFrame(columns=list(source.columns)))
    kind = OnCluster if isinstance(source, Partitions) else Here
    with closing(kind(source, reading, progressbar)) as run:  # type: ignore[arg-type]
        return _sum(run, source, reading, spec, refuse), run.columns


def _sum(
    run: Here | OnCluster,
    source: Source,
    reading: Reading,
    spec: DesignSpec | None,
    refuse: Callable[[DesignSpec], None] | None,
) -> Any:
    """Sums over the rows; see `sum_source`."""
    wanted, known = None, None
    if spec is None:
        wanted, known = _first_pass(run, source, reading)
        spec = run.first(partial(reading.learn, known=known))
        if spec is None and wanted:  # there were rows when it was looked at
            raise ValueError(other_rows(f"{known.n_rows:,} rows, then 0" if known else "some rows, then none"))
        if spec is None:
            raise ValueError(_no_rows(source))
        if refuse is not None:
            refuse(spec)
    total: Total | None = run.fold(partial(reading.add, spec=spec, wanted=wanted), reading.columns, "Summing")
    if known is not None and total is not None and total.known is not None:
        known.refuse(total.known)
    if total is None or not total.parts.parts:
        raise ValueError(_no_rows(source))
    return total.parts.total


def _no_rows(source: Source) -> str:
    once = "" if source.rereadable else " It is read once: make it anew if it was read before."
    return f"the source has no rows of positive weight.{once}"


def _first_pass(run: Here | OnCluster, source: Source, reading: Reading) -> tuple[Wanted | None, Known | None]:
    """What has to be known before columns can be built, and what the rows say of it."""
    wanted = run.first(reading.look)
    if not wanted:
        return wanted, None
    if not source.rereadable:
        refuse_unknown(wanted)
    names = [*wanted.columns, *([] if reading.weights is None else [reading.weights])]
    return wanted, run.fold(partial(reading.find, wanted=wanted), tuple(dict.fromkeys(names)), "First pass")


class Here:
    """Chunks of a source that are brought here, one after the other.

    Parameters
    ----------
    source : Source
    reading : Reading
    progressbar : bool
    """

    def __init__(self, source: Source, reading: Reading, progressbar: bool) -> None:
        self._source, self._reading, self._progressbar = source, reading, progressbar
        self._columns = source.columns
        self._held: Chunk | None = None  # one that was looked at, and is summed without being read again
        self._rest: Iterator[Chunk] = iter(())  # what comes after it

    @property
    def columns(self) -> tuple[Any, ...]:
        """Names of all columns of the source."""
        return self._columns or ()

    def first(self, task: Callable[[pd.DataFrame], _Found | None]) -> _Found | None:
        """What a task says of the first chunk of which it says anything."""
        if self._held is None:
            self._rest = self._source.chunks(self._reading.columns)
        for chunk in self._rest if self._held is None else chain((self._held,), self._rest):
            if self._columns is None:
                self._columns = tuple(chunk.frame.columns)
            with naming(chunk, self._reading):
                found = task(chunk.frame)
            if found is not None:
                self._held = chunk
                return found
        return None

    def fold(self, task: Callable[[pd.DataFrame], _Found], used: tuple[str, ...], text: str) -> _Found | None:
        """The sum of what a task says of each chunk; None where there is none."""
        total: Any = None
        n_rows = self._source.n_rows if self._progressbar else None
        with Progress(self._progressbar, text, "rows", n_rows) as progress, closing(self._chunks(used)) as chunks:
            for chunk in chunks:
                with naming(chunk, self._reading):
                    found: Any = task(chunk.frame)
                    total = found if total is None else total + found
                progress.advance(len(chunk.frame))
        return total  # type: ignore[no-any-return]

    def _chunks(self, used: tuple[str, ...]) -> Generator[Chunk]:
        if self._held is None or used != self._reading.columns:
            self.close()
            yield from self._source.chunks(used)
        else:
            yield self._held
            self._held = None
            yield from self._rest

    def close(self) -> None:
        """Leave the chunks that are not read yet."""
        rest, self._held, self._rest = self._rest, None, iter(())
        if isinstance(rest, Generator):
            rest.close()


class OnCluster:
    """Partitions of a frame of Dask, of which sums travel, and no rows.

    Parameters
    ----------
    source : Partitions
    reading : Reading
    progressbar : bool
    """

    def __init__(self, source: Partitions, reading: Reading, progressbar: bool) -> None:
        self._source, self._reading, self._progressbar = source, reading, progressbar

    @property
    def columns(self) -> tuple[Any, ...]:
        """Names of all columns of the frame."""
        return self._source.columns or ()

    def first(self, task: Callable[[pd.DataFrame], _Found | None]) -> _Found | None:
        """What a task says of the first partition of which it says anything."""
        for number, part in enumerate(self._each(task, self._reading.columns)):
            if (found := said_of_partition(part.compute(), number)) is not None:
                return found  # type: ignore[no-any-return]
        return None

    def fold(self, task: Callable[[pd.DataFrame], _Found], used: tuple[str, ...], text: str) -> _Found | None:
        """The sum of what a task says of each partition."""
        parts = self._each(task, used)
        bar = Progress(self._progressbar, text, "partitions", len(parts))
        return add_up(parts, said_of_partition, partial(reduce, add), bar)  # type: ignore[no-any-return]

    def _each(self, task: Callable[[pd.DataFrame], Any], used: tuple[str, ...]) -> list[Any]:
        return self._source.each(partial(say_of_partition, task, self._reading), used)

    def close(self) -> None:
        """Leave nothing: workers forget what nobody waits for."""
