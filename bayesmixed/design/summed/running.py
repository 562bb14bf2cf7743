"""A sum of very many parts, small and large, that does not copy a large part for every small one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from bayesmixed.design.summed.summed import Summed

_Part = TypeVar("_Part", bound=Summed)


@dataclass(frozen=True)
class Running(Generic[_Part]):
    """Parts whose sum is needed later.

    Each has at least twice as many levels as the next, so that together they have at most twice as many as their sum,
    and the number of times a level is copied grows with the logarithm of the number of levels.

    Attributes
    ----------
    parts : tuple of Summed
    """

    parts: tuple[_Part, ...] = ()

    def plus(self, part: _Part) -> Running[_Part]:
        """These parts and one more.

        Raises
        ------
        ValueError
            If it does not add up with them.
        """
        for one in self.parts:
            one.refuse(part)
        parts = [*self.parts, part]
        while len(parts) > 1 and _size(parts[-2]) < 2 * _size(parts[-1]):
            last = parts.pop()
            parts[-1] = parts[-1] + last
        return Running(tuple(parts))

    @property
    def total(self) -> _Part:
        """The sum; needs at least one part."""
        *others, total = self.parts
        for part in reversed(others):
            total = part + total
        return total

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return sum(part.n_rows for part in self.parts)


def _size(part: Summed) -> int:
    products = part.sums.products
    return 1 + sum(products.n_levels) + sum(len(pairs.first) for pairs in products.pairs.values())
