"""Statistics in one file, for a site to send."""

from __future__ import annotations

import os
from typing import TypeVar

import numpy as np

from bayesmixed.design.summed.summed import Summed
from bayesmixed.errors import quoted, warn
from bayesmixed.estimators.summed.cells import small_cells

NAME = "SufficientStatistics"
PARTS = ("statistics",)
FEW = 5  # a group of fewer rows is small

_Sums = TypeVar("_Sums", bound=Summed)


def save(path: str | os.PathLike[str], statistics: Summed, minimum: int) -> None:
    """Write statistics; see `SufficientStatistics.save`."""
    from bayesmixed.estimators import archive  # noqa: PLC0415 - knows what every engine stores

    if small := _small(statistics, minimum):
        raise ValueError(
            f"the file would hold statistics of fewer than {minimum} rows: {small}. Leave out these rows, or merge "
            "groups, before making the statistics."
        )
    if minimum == 1 and (small := _small(statistics, FEW)):
        warn(
            f"the file reveals the contents of small sets of rows: {small} of fewer than {FEW} rows. "
            f"save(..., minimum={FEW}) raises an error instead."
        )
    archive.write(path, NAME, {"statistics": statistics.state})


def _small(statistics: Summed, minimum: int) -> str:
    """Groups, cells and levels of categories with fewer than `minimum` rows, in words."""
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
    """Statistics from the contents of a file."""
    from bayesmixed.estimators import archive  # noqa: PLC0415 - knows what every engine stores

    with archive.damaged(path):
        return kind.from_state(tree["statistics"])
