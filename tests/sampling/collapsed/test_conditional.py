"""Moments of linear predictors over parts of the covariances' draws, against the dense posterior of coefficients."""

import numpy as np
import pandas as pd
import pytest

from bayesmixed import MixedModelRegressor
from bayesmixed.chunks import allow
from bayesmixed.posterior.parts import Parts
from helpers.collapsed_twins import make_frame

FRAME = make_frame(n=90)
Y = pd.Series(np.random.default_rng(0).normal(5, 2, 90) + FRAME["pupil"] % 3)
FORMULAS = [
    "x + (x | pupil)",
    "0 + x + (x || pupil)",
    "0 + (1 | pupil)",
    "x + offset(x) + (0 + x | pupil)",
    "(x | pupil)",
]

pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning", "ignore:.*:UserWarning")


def dense_moments(state, design, fitted, point):
    """Mean and variance of every row's linear predictor at one point, from the joint precision of gamma and all b."""
    density, units = state.density, state.density.units
    weights = np.ones(fitted.n_rows) if fitted.weights is None else fitted.weights

    def columns(of):
        X = units.scaling.columns(of.X)
        x = np.column_stack([*([np.ones(of.n_rows)] if units.has_intercept else []), X])
        z, codes = units.group_columns(0, of.groups[0], slice(None)), of.groups[0].codes
        J, q = density.statistics.n_levels[0], z.shape[1]
        Z = np.zeros((of.n_rows, J, q))
        known = (codes >= 0) & (codes < J)
        Z[np.flatnonzero(known), codes[known]] = z[known]
        return np.hstack([x, Z.reshape(of.n_rows, -1)])

    rows, p = columns(fitted), len(density.residual.prior) - 1
    y = units.common_columns(fitted, slice(None))[:, -1]
    points = state.points()
    root, variance = points.roots[0][..., point], np.exp(2 * points.s[point])
    J = density.statistics.n_levels[0]
    precision = (rows.T * weights) @ rows / variance
    precision[:p, :p] += density.residual.prior[:p, :p]
    precision[p:, p:] += np.kron(np.eye(J), np.linalg.inv(root @ root.T)) / variance
    goal = (rows.T * weights) @ y / variance
    goal[:p] += density.residual.prior[:p, p]
    covariance, new = np.linalg.inv(precision), columns(design)
    offset = 0.0 if design.offset is None else design.offset
    scale = units.scaling.y_scale
    mean = units.scaling.y_location + scale * (new @ covariance @ goal) + offset
    return mean, scale**2 * np.einsum("ni,ij,nj->n", new, covariance, new)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("formula", FORMULAS)
def test_moments_are_those_of_the_dense_posterior(formula, weighted):
    w = np.random.default_rng(1).integers(1, 4, 90) if weighted else None
    est = MixedModelRegressor(formula, draws=20, chains=2, random_state=0).fit(FRAME, Y, sample_weight=w)
    state, spec = est._posterior.draws.state, est.design_spec_
    fitted = spec.apply(FRAME)
    object.__setattr__(fitted, "y", Y.to_numpy())
    object.__setattr__(fitted, "weights", w)
    new = pd.concat([FRAME.iloc[[3, 50, 4]].assign(x=[9.0, -3, 0]), FRAME.iloc[[5, 6]].assign(pupil=[99, np.nan])])
    design = spec.apply(new)
    label = np.arange(40) % 3
    by_point = [dense_moments(state, design, fitted, point) for point in range(len(state.s))]
    means, variances = (np.array(values)[state.which.ravel()] for values in zip(*by_point, strict=True))

    mean, variance = state.coefficients.linear_predictor(design, np.arange(5), label)
    for part in range(3):
        mine = label == part
        np.testing.assert_allclose(mean[:, part], means[mine].mean(axis=0), rtol=1e-8)
        expected = variances[mine].mean(axis=0) + means[mine].var(axis=0)
        np.testing.assert_allclose(variance[:, part], expected, rtol=1e-6)


def test_moments_do_not_depend_on_the_other_rows_or_on_chunks():
    est = MixedModelRegressor(FORMULAS[0], draws=50, chains=2, random_state=0).fit(FRAME, Y)
    moments, design = est._posterior.draws.state.coefficients, est.design_spec_.apply(FRAME)
    label = Parts.alike(est._posterior.draws, est.design_spec_, ("sigma",), 7).label
    whole = moments.linear_predictor(design, np.arange(90), label)

    for rows in (np.arange(90)[::-1], np.array([17]), np.array([40, 2, 40])):
        with allow(effects=1):
            again = moments.linear_predictor(design, rows, label)
        for found, expected in zip(again, whole, strict=True):
            np.testing.assert_allclose(found, expected[rows], rtol=1e-11)
