"""Name the common columns that separate successes from failures without error; only priors bound their coefficients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linprog

from bayesmixed.design.spec import Design
from bayesmixed.errors import quoted, warn

MAX_COLUMNS = 50  # limit for a linear program that takes hardly any time
MAX_ROWS = 10_000  # distinct ones
_SEPARATES = 1e-6  # smallest separating coefficient, in units of the column's scale


def warn_separated(design: Design) -> None:
    """Warn of complete or quasi-complete separation by the common columns.

    There is a direction w with ``x_i'w >= 0`` in every row of successes only, ``<= 0`` in every row of failures only,
    ``= 0`` in rows of both, and not 0 in all rows: along it the likelihood has no maximum (Albert & Anderson, 1984, On
    the existence of maximum likelihood estimates in logistic regression models, Biometrika 71). A linear program finds
    the direction that separates most (Konis, 2007, Linear programming algorithms for detecting separated data in binary
    logistic regression models, section 3).

    Ordered classes are separated if every row's x_i'w lies between the thresholds of its class, also unknown.

    Parameters
    ----------
    design : Design
        Successes in `observed`, among `trials`, or one trial in each row; or positions of classes.

    Warns
    -----
    UserWarning
    """
    if design.trials is None and len(np.unique(design.observed)) > 2:
        _warn_separated_classes(design)
        return
    trials = np.ones(design.n_rows) if design.trials is None else design.trials
    outcome = np.where(design.observed == 0, -1.0, np.where(design.observed == trials, 1.0, 0.0))
    if np.ptp(outcome) == 0 and outcome[0]:
        kind = "successes" if outcome[0] > 0 else "failures"
        warn(f"y holds only {kind}: the priors decide how far the linear predictor is from zero.")
        return
    if not 0 < design.X.shape[1] <= MAX_COLUMNS:
        return
    rows = np.unique(np.column_stack([design.X, outcome]), axis=0)
    columns, outcome = rows[:, :-1], rows[:, -1]
    if len(rows) > MAX_ROWS:
        return
    _warn_of(design, columns, lambda V: _separates(V, outcome, design.has_intercept), "successes from failures")


def _warn_separated_classes(design: Design) -> None:
    """The same for more than two classes, leaving out those without rows."""
    if not 0 < design.X.shape[1] <= MAX_COLUMNS:
        return
    rows = np.unique(np.column_stack([design.X, design.observed]), axis=0)
    classes, at = np.unique(rows[:, -1], return_inverse=True)
    if len(rows) > MAX_ROWS:
        return
    _warn_of(design, rows[:, :-1], lambda V: _tells_apart(V, at, len(classes)), "ordered classes from each other")


def _warn_of(design: Design, columns: np.ndarray, separates: Callable[[np.ndarray], bool], what: str) -> None:
    V = columns / np.maximum(np.abs(columns).max(axis=0), 1e-300)
    if separates(V):
        alone = [separates(V[:, [at]]) for at in range(V.shape[1])]
        names = [name for name, one in zip(design.common_names, alone, strict=True) if one or not any(alone)]
        warn(
            f"the common effects {quoted(names)} separate {what} without error: the data bound their coefficients on "
            "only one side, and the priors decide how large they are."
        )


def _tells_apart(columns: np.ndarray, at: np.ndarray, n_classes: int) -> bool:
    """Whether a direction of columns of order one puts every row between thresholds of its class, `at`."""
    threshold = np.eye(n_classes)[:, : n_classes - 1]
    above = np.column_stack([columns, -np.roll(threshold, 1, axis=0)[at]])[at > 0]
    below = np.column_stack([-columns, threshold[at]])[at < n_classes - 1]
    return _has_direction(np.concatenate([above, below]), columns.shape[1])


def _separates(columns: np.ndarray, outcome: np.ndarray, has_intercept: bool) -> bool:
    """Whether a direction of columns of order one separates rows of 1 from rows of -1, and rows of 0 lie on it."""
    V = np.column_stack([np.ones((len(columns), int(has_intercept))), columns])
    both = outcome == 0
    if both.all():
        return False
    return _has_direction(outcome[~both, None] * V[~both], 1, V[both] if both.any() else None)


def _has_direction(signed: np.ndarray, reach: float, on: np.ndarray | None = None) -> bool:
    """Whether some w within `reach` of 0 has ``signed w >= 0``, not all 0, and ``on w = 0``."""
    found = linprog(
        -signed.sum(axis=0),
        A_ub=-signed,
        b_ub=np.zeros(len(signed)),
        A_eq=on,
        b_eq=None if on is None else np.zeros(len(on)),
        bounds=(-reach, reach),
    )
    return bool(found.status == 0 and -found.fun > _SEPARATES * np.sqrt(len(signed)))
