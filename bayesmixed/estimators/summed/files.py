"""Statistics as one file: what a site sends."""

from __future__ import annotations

import os
from typing import TypeVar

import numpy as np

from bayesmixed.design.summed.summed import Summed
from bayesmixed.errors import quoted, warn
from bayesmixed.estimators.summed.cells import small_cells

NAME = "SufficientStatistics"
PARTS = ("statistics",)
FEW = 5  # rows of a group below which it is small

_Sums = TypeVar("_Sums", bound=Summed)


def save(path: str | os.PathLike[str], statistics: Summed, minimum: int) -> None:
    """Write statistics; see `SufficientStatistics.save`."""
    from bayesmixed.estimators import archive  # noqa: PLC0415 - knows what every engine stores

    if small := _small(statistics, minimum):
        raise ValueError(
            f"statistics of fewer than {minimum} rows would be written: {small}. Leave these rows out, or join groups, "
            "before the statistics are made."
        )
    if minimum == 1 and (small := _small(statistics, FEW)):
        warn(
            f"the file gives away what few rows hold: {small} of fewer than {FEW} rows. save(..., minimum={FEW}) "
            "refuses them."
        )
    archive.write(path, NAME, {"statistics": statistics.state})


def _small(statistics: Summed, minimum: int) -> str:
    """Groups, cells and levels of categories of fewer rows, in words."""
    found = [f"{statistics.n_rows:,} rows in all"] if 0 < statistics.n_rows < minimum else []
    found += [f"{number:,} groups of {name!r}" for name, number in statistics.few(minimum).items()]
    names = [group.name for group in statistics.groups]
    for (f, g), pairs in statistics.sums.products.pairs.items():
        if number := int(np.count_nonzero(pairs.counts < minimum)):
            found.append(f"{number:,} pairs of {quoted([names[f], names[g]])}")
    for name, count in statistics.seen.items():
        if number := int(np.count_nonzero((count > 0) & (count < minimum))):
            found.append(f"{number:,} levels of {name!r}")
    return ", ".join(found + small_cells(statistics, minimum))


def load(path: str | os.PathLike[str], kind: type[_Sums]) -> _Sums:
    """Read statistics; see `SufficientStatistics.load`."""
    from bayesmixed.estimators import archive  # noqa: PLC0415 - knows what every engine stores

    _, tree = archive.read(path, {NAME: PARTS})
    return restore(path, kind, tree)


def restore(path: str | os.PathLike[str], kind: type[_Sums], tree: dict) -> _Sums:
    """Statistics of what a file holds."""
    from bayesmixed.estimators import archive  # noqa: PLC0415 - knows what every engine stores

    with archive.damaged(path):
        return kind.from_state(tree["statistics"])
