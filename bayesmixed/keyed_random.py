"""Random numbers that depend only on a key: same key, same numbers, whatever the order or the batch.

A key is digested (BLAKE2b, never ``hash()``) into the key of a Philox counter-based generator, whose raw
stream NumPy keeps stable across versions.

References
----------
Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, SC '11.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from scipy.special import ndtri

_WORDS_PER_STEP = 4  # of the Philox counter


def uniforms(key: tuple[int | str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers in (0, 1) for one key.

    Parameters
    ----------
    key : tuple of int and str
        E.g. ``(seed, "effect", "Subject", "i:308")``.
    shape : tuple of int
        Asking for more numbers does not change the first ones.

    Examples
    --------
    >>> bool(uniforms((0, "a"), (2,))[0] == uniforms((0, "a"), (5,))[0])
    True
    """
    words = _generator(key).random_raw(int(np.prod(shape)))
    return _to_unit(words).reshape(shape)


def normals(key: tuple[int | str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers for one key; see `uniforms`."""
    return ndtri(uniforms(key, shape))


def row_uniforms(key: tuple[int | str, ...], start: int, stop: int, width: int) -> np.ndarray:
    """Uniform numbers of rows `start` to `stop` of an endless table, shape (stop - start, width).

    Row i is the same whichever rows are asked for with it.
    """
    stride = -(-width // _WORDS_PER_STEP)  # steps of the counter per row
    generator = _generator(key)
    generator.advance(start * stride)
    words = generator.random_raw((stop - start) * stride * _WORDS_PER_STEP)
    return _to_unit(words.reshape(stop - start, -1)[:, :width])


def cell_uniforms(
    key: tuple[int | str, ...], rows: np.ndarray, columns: np.ndarray, count: int, width: int
) -> np.ndarray:
    """Runs of numbers from the table of `row_uniforms`, without the rest of their rows.

    Parameters
    ----------
    key : tuple of int and str
    rows, columns : numpy.ndarray of int, shape (k,)
        Where each run starts.
    count : int
        Length of the runs, which must end within their rows.
    width : int
        Of the table.

    Returns
    -------
    numpy.ndarray of shape (k, count)
    """
    stride = -(-width // _WORDS_PER_STEP)
    steps = rows.astype(np.int64) * stride + columns // _WORDS_PER_STEP
    within, read = columns % _WORDS_PER_STEP, count + _WORDS_PER_STEP - 1
    words = np.empty((len(rows), read), dtype=np.uint64)
    generator, here = _generator(key), 0
    for at in np.argsort(steps, kind="stable"):
        generator.advance(int(steps[at]) - here)
        words[at] = generator.random_raw(read)
        here = int(steps[at]) - (-read // _WORDS_PER_STEP)
    taken = np.take_along_axis(words, within[:, None] + np.arange(count), axis=1)
    return _to_unit(taken)


def _generator(key: tuple[int | str, ...]) -> np.random.Philox:
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).digest()
    return np.random.Philox(key=int.from_bytes(digest, "little"))


def _to_unit(words: np.ndarray) -> np.ndarray:
    # the upper 53 bits, moved off both ends
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
