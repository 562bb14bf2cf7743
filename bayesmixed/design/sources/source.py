"""What a source of rows is, and the chunks in which it is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from bayesmixed.errors import quoted


@dataclass(frozen=True)
class Chunk:
    """Rows of a source that are held together.

    Attributes
    ----------
    frame : DataFrame of shape (n, k)
        At least the columns that are used.
    number : int
        From 0.
    start : int or None
        Number of the first row within the source; None if the rows before it are read elsewhere.
    files : tuple of (int, str)
        If rows come from files: the number within the chunk of the first row of each file, and its path.
    unit : str
        What the source calls a chunk.
    """

    frame: pd.DataFrame
    number: int
    start: int | None = None
    files: tuple[tuple[int, str], ...] = ()
    unit: str = "chunk"

    def where(self, row: int | None = None) -> str:
        """The location of these rows, or of one of them, in words.

        Parameters
        ----------
        row : int, optional
            Its number within the chunk.
        """
        paths = [path for _, path in self.files]
        if row is not None and paths:
            paths = [paths[bisect_right([first for first, _ in self.files], row) - 1]]
        files = f" ({quoted(paths, 3)})" if paths else ""
        if row is None:
            return f"{self.unit} {self.number}{files}"
        of_source = "" if self.start is None else f"{self.start + row} of the source, in"
        return f"row {of_source or f'{row} of'} {self.unit} {self.number}{files}"


class Source(Protocol):
    """Rows that are read in chunks."""

    @property
    def rereadable(self) -> bool:
        """Whether `chunks` may be called again."""

    @property
    def in_memory(self) -> bool:
        """Whether it is one frame with all its rows in memory."""

    @property
    def columns(self) -> tuple[Any, ...] | None:
        """Names of all columns; None if they are unknown until a chunk is read."""

    @property
    def n_rows(self) -> int | None:
        """Number of rows, if it is known without reading them."""

    def chunks(self, used: Collection[str] | None = None) -> Iterator[Chunk]:
        """Read the rows in their order.

        Parameters
        ----------
        used : collection of str, optional
            The columns that are needed; others are not read if the source allows it. Default: all.

        Raises
        ------
        ValueError
            If the source delivers fewer or more rows than it has stated.
        """


def refuse_other_number(read: int, stated: int, what: str) -> None:
    """Reject rows whose number is not the stated one.

    Raises
    ------
    ValueError
    """
    if read != stated:
        raise ValueError(
            f"{what} has delivered {read:,} rows, but its metadata say {stated:,}: it is damaged, or was changed "
            "while it was read. Nothing was learned; read it again."
        )
