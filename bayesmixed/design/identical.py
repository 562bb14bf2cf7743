"""Identical rows: each set of them is processed once."""

from __future__ import annotations

import numpy as np


def distinct_rows(numbers: np.ndarray, codes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The first of each set of identical rows, in order, (m,), and the set of every row, (n,).

    Parameters
    ----------
    numbers : numpy.ndarray of shape (n, k)
    codes : list of numpy.ndarray of int, shape (n,)
    """
    key = np.column_stack([numbers + 0.0, *(code.astype(float) for code in codes)])  # + 0.0 turns -0.0 into 0.0
    whole = np.ascontiguousarray(key).view(np.dtype((np.void, key.shape[1] * key.itemsize))).ravel()
    _, at, place = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(at)
    return at[order], np.argsort(order)[place.ravel()]
