"""Name the common columns that tell successes from failures without error: their coefficients are the priors'."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from bayesmixed.design.spec import Design
from bayesmixed.errors import quoted, warn

MAX_COLUMNS = 50  # of a linear program that takes no time
MAX_ROWS = 10_000  # distinct ones
_SEPARATES = 1e-6  # of a coefficient, in units of the column's scale


def warn_separated(design: Design) -> None:
    """Warn of complete or quasi-complete separation by the common columns.

    There is a direction w with ``x_i'w >= 0`` in every row of successes alone, ``<= 0`` in every row of failures alone,
    ``= 0`` in rows of both, and not 0 in all rows: along it the likelihood has no maximum (Albert & Anderson, 1984, On
    the existence of maximum likelihood estimates in logistic regression models, Biometrika 71). A linear program finds
    the direction that separates most (Konis, 2007, Linear programming algorithms for detecting separated data in binary
    logistic regression models, section 3).

    Parameters
    ----------
    design : Design
        Successes in `observed`, among `trials`, or one trial in each row.

    Warns
    -----
    UserWarning
    """
    trials = np.ones(design.n_rows) if design.trials is None else design.trials
    outcome = np.where(design.observed == 0, -1.0, np.where(design.observed == trials, 1.0, 0.0))
    if np.ptp(outcome) == 0 and outcome[0]:
        kind = "successes" if outcome[0] > 0 else "failures"
        warn(f"y holds {kind} alone: the priors decide how far the linear predictor is from zero.")
        return
    if not 0 < design.X.shape[1] <= MAX_COLUMNS:
        return
    rows = np.unique(np.column_stack([design.X, outcome]), axis=0)
    columns, outcome = rows[:, :-1], rows[:, -1]
    if len(rows) > MAX_ROWS:
        return
    V = columns / np.maximum(np.abs(columns).max(axis=0), 1e-300)
    if _separates(V, outcome, design.has_intercept):
        alone = [_separates(V[:, [at]], outcome, design.has_intercept) for at in range(V.shape[1])]
        names = [name for name, one in zip(design.common_names, alone, strict=True) if one or not any(alone)]
        warn(
            f"the common effects {quoted(names)} separate successes from failures without error: the data bound their "
            "coefficients on one side only, and the priors decide how large they are."
        )


def _separates(columns: np.ndarray, outcome: np.ndarray, has_intercept: bool) -> bool:
    """Whether a direction of columns of order one separates rows of 1 from rows of -1, and rows of 0 lie on it."""
    V = np.column_stack([np.ones((len(columns), int(has_intercept))), columns])
    both = outcome == 0
    if both.all():
        return False
    signed = outcome[~both, None] * V[~both]
    found = linprog(
        -signed.sum(axis=0),
        A_ub=-signed,
        b_ub=np.zeros(len(signed)),
        A_eq=V[both] if both.any() else None,
        b_eq=np.zeros(int(both.sum())) if both.any() else None,
        bounds=(-1, 1),
    )
    return bool(found.status == 0 and -found.fun > _SEPARATES * np.sqrt(len(signed)))
