"""Slow, obvious versions of what the package does with arrays."""

import functools
import json
import subprocess
import sys

import numpy as np
import pandas as pd

from bayesmixed.levels import label_key


def code_by_dict(known, values):
    """Codes and new labels as `ColumnLevels.code` gives them, row by row."""
    table = {label_key(label): code for code, label in enumerate(known)}
    codes, new = [], []
    for value in values:
        parts = value if isinstance(value, tuple) else (value,)
        if any(pd.isna(part) for part in parts):
            codes.append(-1)
            continue
        if label_key(value) not in table:
            table[label_key(value)] = len(table)
            new.append(value)
        codes.append(table[label_key(value)])
    return codes, new


def one_hot(codes, n_levels):
    """Dense indicator matrix, shape (n, n_levels); a row of unknown level is zero."""
    return np.array([[float(code == level) for level in range(n_levels)] for code in codes])


def indicators(frame, *columns):
    """Columns of a term before any contrast: products of numbers and of one indicator per level."""
    parts = [np.ones((len(frame), 1))]
    for column in columns:
        values = frame[column]
        is_number = pd.api.types.is_numeric_dtype(values)
        parts.append(values.to_numpy(float)[:, None] if is_number else pd.get_dummies(values).to_numpy(float))
    return functools.reduce(lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(len(frame), -1), parts)


def same_span(a, b):
    """Whether two matrices have the same column space."""
    ranks = [np.linalg.matrix_rank(matrix) for matrix in (a, b, np.column_stack([a, b]))]
    return len(set(ranks)) == 1


def in_new_process(code, given, *options, **settings):
    """Run `code` in a fresh interpreter that finds `given` as JSON on stdin; what it prints, from JSON.

    `options` are the interpreter's, `settings` those of `subprocess.run`.
    """
    run = subprocess.run(
        [sys.executable, *options, "-c", code],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        **settings,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
