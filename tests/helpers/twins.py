"""Slow, obvious versions of what the package does with arrays."""

import functools
import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pandas as pd

from bayesmixed.design.labels import label_key


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


def exact_moments(columns, weights):
    """Mean and covariance (ddof 0) of columns in rational numbers: Fractions, (k,) and (k, k) as lists."""
    rows = [[Fraction(float(value)) for value in row] for row in columns]
    weights = [Fraction(float(w)) for w in weights]
    total, k = sum(weights), len(rows[0])
    mean = [sum(w * row[i] for w, row in zip(weights, rows, strict=True)) / total for i in range(k)]
    covariance = [
        [
            sum(w * (row[i] - mean[i]) * (row[j] - mean[j]) for w, row in zip(weights, rows, strict=True)) / total
            for j in range(k)
        ]
        for i in range(k)
    ]
    return mean, covariance


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


def swept_by_rows(columns, weights, contains, *, centred, of_intercept, kept=()):
    """Swept columns one by one, by weighted least squares on the rows."""
    w = np.sqrt(np.ones(len(columns)) if weights is None else np.asarray(weights, dtype=float))
    one = np.ones((len(columns), 1))
    result = np.array(columns, dtype=float)
    for j, inner in enumerate(contains):
        of = np.column_stack([*([one] if of_intercept else []), columns[:, [at for at in inner if at not in kept]]])
        fit = np.linalg.lstsq(of * w[:, None], columns[:, j] * w, rcond=None)[0] if of.shape[1] else np.empty(0)
        result[:, j] -= of @ fit
    mean = np.average(result, axis=0, weights=w**2) if centred else 0.0
    return result, np.sqrt(np.average((result - mean) ** 2, axis=0, weights=w**2))


def sweep_of(swept, names):
    """T with ``x^s = x T``, entry by entry."""
    T = np.eye(len(names))
    for j, name in enumerate(names):
        for i, other in enumerate(names):
            T[i, j] -= swept.get(name, {}).get(other, 0.0)
    return T


def common_sweep_of(priors):
    """T of the common part, the intercept first, if there is one."""
    return sweep_of(priors.swept, [*(["Intercept"] if priors.intercept else []), *priors.common])


def where_stated(priors, factor, sd, R):
    """A factor's sds and correlations, as written, where their prior is stated: of the swept columns' effects."""
    inverse = np.linalg.inv(sweep_of(priors.group_swept.get(factor.name, {}), factor.effect_names))
    covariance = inverse @ (np.outer(sd, sd) * R) @ inverse.T
    size = np.sqrt(np.diag(covariance))
    return size, covariance / np.outer(size, size)
