"""One number that distinguishes a set of rows, in any order, from others; the numbers of two sets add up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesmixed.design.factors import GroupFactor
from bayesmixed.design.labels import label_text
from bayesmixed.design.spec import Design

_ODD = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: spreads bits when it multiplies


def checksum(design: Design) -> int:
    """Distinguish rows from others.

    The sum over rows, modulo 2^64, of a hash of each: it does not depend on their order, and those of two sets of rows
    add up. Groups enter by their labels, not by codes, which depend on the other rows. Numbers are rounded to 11
    digits: a row's spline columns may differ in the last bit when other rows are evaluated with it.
    """
    one = np.ones(1)  # in every row
    weights = one if design.weights is None else design.weights
    trials = [] if design.trials is None else [design.trials]
    columns = [design.response, weights, *trials, *design.X.T]
    for factor in design.groups:
        effects = [one if at == factor.intercept_at else column for at, column in enumerate(factor.Z.T)]
        columns += [_of_labels(factor)[factor.codes], *effects]
    mixed = np.zeros(design.n_rows, dtype=np.uint64)
    for at, column in enumerate(columns, start=1):
        if column.dtype == np.uint64:
            bits = column
        else:
            bits = (np.asarray(column, dtype=np.float64) + 0.0).view(np.uint64)  # -0.0 is 0.0
            bits = (bits + np.uint64(2**15)) >> np.uint64(16)
        mixed ^= bits
        mixed *= np.uint64(_ODD * (2 * at + 1) % 2**64)
        mixed ^= mixed >> np.uint64(29)
    return int(mixed.sum(dtype=np.uint64))


def _of_labels(factor: GroupFactor) -> np.ndarray:
    """A number for each level of a factor, then for each new label."""
    new = [label_text(label) if isinstance(label, tuple) else label for label in factor.new_labels]
    known = _numbers(factor.levels)
    return np.concatenate([known, _numbers(np.array(new))]) if new else known


def _numbers(labels: np.ndarray) -> np.ndarray:
    """A 64-bit number for each label; for an integer, the same whether it is read as an integer or as a float."""
    if labels.dtype.kind in "iufb":
        return np.asarray(pd.util.hash_array(labels.astype(np.float64)))
    if labels.dtype.kind == "M":
        return np.asarray(pd.util.hash_array(labels.astype("datetime64[ns]").astype(np.int64)))
    return np.asarray(pd.util.hash_array(labels.astype(object), categorize=False))
