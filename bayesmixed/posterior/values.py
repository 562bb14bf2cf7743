"""Arrays by name, some of which are made when they are first read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

Waiting = Callable[[], np.ndarray]


class Values(Mapping[str, np.ndarray]):
    """Arrays by name; one that waits is made when it is first read, and stays.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray or callable
        A callable has no parameters, and returns the array.

    Examples
    --------
    >>> values = Values({"sigma": np.ones(2), "b_g": lambda: np.zeros(3)})
    >>> "b_g" in values, values["b_g"]
    (True, array([0., 0., 0.]))
    """

    def __init__(self, arrays: Mapping[str, np.ndarray | Waiting]) -> None:
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        found = self._arrays[name]
        if callable(found):
            found = self._arrays[name] = found()
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __or__(self, others: Mapping[str, np.ndarray]) -> Values:
        """These and others, which win."""
        return Values(self._arrays | dict(others))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles have the arrays, and not what they are made of."""
        return Values, (dict(self),)
