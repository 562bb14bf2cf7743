"""How much is held in memory: one table of budgets, and the one loop over pieces that fit them.

Budgets count numbers of eight bytes. A test, or a machine with little memory, can change them for a while:

>>> with allow(working=100):
...     list(chunks(25, width=10, numbers=allowed().working))
[slice(0, 10, None), slice(10, 20, None), slice(20, 25, None)]
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import numpy as np

# glibc's allocator returns free memory to the system once there is more than twice the largest block, of those up to
# 32 MB, that has been mapped and freed so far (mallopt(3), M_MMAP_THRESHOLD). In a process with only small arrays, fits
# and predictions spend up to a third of their time getting the same pages again. Freeing one block of 16 MB, whose
# pages are never touched, lets the process keep 32 MB.
_ = np.empty(2**24, dtype=np.uint8)
del _


@dataclass(frozen=True)
class Budget:
    """How many numbers an array, or the working arrays of one step, may hold.

    Attributes
    ----------
    columns : int
        Effects of crossed factors other than the largest: one dense matrix is that wide; more raise an error.
    products : int
        The matrix of cross-products (a few GB, including what building it takes); models that need more raise an error.
    working : int
        A pass over rows, levels, points or pairs of columns.
    stored : int
        One factor's draws; larger ones are drawn when asked for. Also the densities that `loo` keeps.
    kept : int
        The draws that a sampler has to keep, for all factors together; runs that need more raise an error.
    moments : int
        The moments from which exact means of effects are taken.
    points : int
        Points at which a density is evaluated together. This and the following are sized for processor caches.
    kinds : int
        Distinct Z_j'W Z_j that are inverted together: their number, whatever their size.
    matrices : int
        Matrices that LAPACK factorises, one after the other.
    effects : int
        One array while effects are drawn or averaged.
    rows : int
        Rows whose log densities are evaluated together, times draws.
    predictions : int
        Rows that are predicted together, times draws.
    diagnosed : int
        Draws of the parameters that are diagnosed together.
    chunk : int
        The columns of a source of rows that are read together: a million rows of eight.
    """

    columns: int = 2500
    products: int = 50_000_000
    working: int = 2_000_000
    stored: int = 20_000_000
    kept: int = 500_000_000
    moments: int = 20_000_000
    points: int = 400_000
    kinds: int = 256
    matrices: int = 50_000
    effects: int = 50_000
    rows: int = 12_000
    predictions: int = 64_000
    diagnosed: int = 2**15
    chunk: int = 8_000_000


_USUAL = Budget()
_ALLOWED: ContextVar[Budget] = ContextVar("budget", default=_USUAL)


def allowed() -> Budget:
    """The budget in force."""
    return _ALLOWED.get()


@contextmanager
def allow(**changes: int) -> Iterator[Budget]:
    """Use other budgets within a ``with`` block, in this thread only; names as in `Budget`."""
    token = _ALLOWED.set(replace(allowed(), **changes))
    try:
        yield allowed()
    finally:
        _ALLOWED.reset(token)


def at_once(width: int, numbers: int) -> int:
    """How many items of `width` numbers each fit; at least one."""
    return max(1, numbers // max(1, width))


def chunks(n: int, width: int, numbers: int) -> Iterator[slice]:
    """Slices of ``range(n)``, in order, each of as many items of `width` numbers as fit; none if n is 0."""
    step = at_once(width, numbers)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
