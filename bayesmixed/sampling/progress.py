"""A progress bar, shown only for work that takes a while."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

_PATIENCE = 1.0  # seconds before anything is shown


class Progress:
    """Counts what is done; shows itself on a terminal or in a notebook once the work takes more than a second.

    Parameters
    ----------
    wanted : bool
        Whether to show anything at all.
    text : str
    unit : str, default="evaluations of the density"
        What is counted.
    total : int, optional
        How many there are, where that is known.
    """

    def __init__(
        self, wanted: bool, text: str, unit: str = "evaluations of the density", total: int | None = None
    ) -> None:
        self._wanted = wanted
        self._text = text
        self._unit = unit if total is None else f"of {total:,} {unit}"
        self._started = time.perf_counter()
        self._done = 0
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, n: int) -> None:
        """Report `n` more."""
        self._done += n
        if not self._wanted:
            return
        if self._bar is None and time.perf_counter() - self._started > _PATIENCE:
            from rich.progress import Progress as Bar  # noqa: PLC0415 - only if something is shown
            from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

            self._bar = Bar(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._task = self._bar.add_task(self._text, total=None)
            self._bar.start()
        if self._bar is not None:
            self._bar.update(self._task, description=f"{self._text}: {self._done:,} {self._unit}")
