"""What effects leave of the response, from sums, is what dense least squares on the rows leave."""

import numpy as np
import pytest

from bayesmixed import SufficientStatistics
from bayesmixed.estimators.identification.sums import left_by_common, left_by_factor, left_together, standard
from bayesmixed.formula.parse import parse
from helpers.summed_cases import make_frame

FRAME = make_frame()
FORMULAS = [
    "y ~ x + k + (x + z | pupil) + (1 | item)",
    "y ~ year + (year | pupil) + (z | item)",
    "y ~ 0 + x + (0 + x + z | pupil) + (x | school)",
    "y ~ x + (1 | town/school)",
]


def read(formula, **columns):
    found = SufficientStatistics.of(formula, FRAME.assign(**columns))
    return found.as_fitted(parse(formula), "lkj")


def dense(summed, factors):
    """Share of y's sum of squares that columns leave, and rows less their rank; `factors` with how many effects."""
    spec = summed.spec
    design = spec.evaluate(spec.read(FRAME, y=FRAME["y"].to_numpy()))
    columns = [design.X - design.X.mean(axis=0) if spec.has_intercept else design.X]
    y = design.y - design.y.mean() if spec.has_intercept else design.y
    columns += [np.ones((120, 1))] * spec.has_intercept
    for f, q in factors.items():
        factor = design.groups[f]
        load = np.zeros((120, len(factor.levels), q))
        load[np.arange(120), factor.codes] = factor.Z[:, :q]
        columns.append(load.reshape(120, -1))
    X = np.hstack(columns)
    X = X / np.maximum(np.linalg.norm(X, axis=0), 1e-300)
    coefficients, _, rank, _ = np.linalg.lstsq(X, y, rcond=1e-9)
    left = y - X @ coefficients
    return left @ left / (y @ y), 120 - rank


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_common_effects_leave(formula):
    summed = read(formula)

    assert left_by_common(standard(summed), summed.has_intercept) == pytest.approx(dense(summed, {})[0], rel=1e-9)


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_a_factor_leaves_beside_them(formula):
    summed = read(formula)
    for f, group in enumerate(summed.groups):
        for q in range(1, len(group.effect_names) + 1):
            left, spare = left_by_factor(standard(summed), f, q, summed.has_intercept)
            expected, rows = dense(summed, {f: q})
            assert left == pytest.approx(expected, rel=1e-6, abs=1e-9)
            assert spare == rows


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_all_effects_leave(formula):
    """A share above what they leave is found, one below it is not."""
    summed = read(formula)
    expected, _ = dense(summed, {f: len(group.effect_names) for f, group in enumerate(summed.groups)})
    effects = sum(len(g.effect_names) * len(g.levels) for g in summed.groups) + len(summed.common_names)
    products = standard(summed)

    assert not left_together(products, summed.has_intercept, 0.9 * expected)
    if effects + summed.has_intercept < 120:
        assert left_together(products, summed.has_intercept, 1.1 * expected)
