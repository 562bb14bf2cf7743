"""Rows left out: variances from dense matrices, densities in closed form, and from fits without the row."""

import numpy as np
import pytest

from bayesmixed import MixedModelRegressor
from bayesmixed.datasets import load_cbpp
from bayesmixed.sampling.transport.leave_one_out import leave_one_out, variances
from bayesmixed.sampling.transport.model import Prepared
from bayesmixed.sampling.transport.start import find_start, reference_at
from helpers.transport_twins import MODELS, make_model, make_rows

FRAME = make_rows()
WEIGHTS = np.random.default_rng(5).integers(1, 4, len(FRAME)).astype(float)


@pytest.mark.parametrize("name", MODELS)
def test_variances_of_linear_predictors_are_those_of_dense_matrices(name):
    model, design = make_model(*MODELS[name], FRAME)
    prepared = Prepared.of(model, design)
    target = find_start(prepared.rows, prepared.parameters)
    rows, size = prepared.rows, prepared.rows.layout.size
    t = np.random.default_rng(0).standard_normal((target.coordinates.parameters.dimension, 3))
    factorised = target.transport(target.coordinates.at(t))
    zero = np.zeros((size, 3))
    by_z = np.stack(
        [rows.linear(factorised.effects(zero + unit[:, None]) - factorised.effects(zero)) for unit in np.eye(size)]
    )

    np.testing.assert_allclose(variances(rows, factorised), np.square(by_z).sum(axis=0), rtol=1e-8)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
def test_where_the_response_is_normal_the_density_is_exact(weights):
    """The ratio of the collapsed densities of all rows and of all but one, the parameters given."""
    model, design = make_model("gaussian", None, "x + (x | a)", FRAME, weights=weights)
    prepared = Prepared.of(model, design)
    rows = prepared.rows_of(design)
    target = find_start(prepared.rows, prepared.parameters)
    x = target.coordinates.at(np.zeros((target.coordinates.parameters.dimension, 1))).x
    points = prepared.parameters.at(x)
    reference = reference_at(rows, points, np.zeros((rows.layout.size, 1)))
    found = leave_one_out(rows, prepared.parameters, reference, x)

    w = np.ones(len(FRAME)) if weights is None else weights
    sigma, M = points.auxiliary["sigma"][0], _matrix(rows)
    root = _root(rows, points)
    y = (rows.y - rows.offset)[:, 0]

    def log_marginal(keep):
        covariance = M[keep] @ root @ root.T @ M[keep].T + np.diag(sigma**2 / w[keep])
        gap = y[keep]
        _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
        repeated = -0.5 * ((w[keep] - 1) * np.log(2 * np.pi * sigma**2) + np.log(w[keep])).sum()
        return -0.5 * (log_det + gap @ np.linalg.solve(covariance, gap)) + repeated

    every = np.arange(len(FRAME))
    expected = [log_marginal(every) - log_marginal(np.delete(every, i)) for i in range(12)]
    np.testing.assert_allclose(found[0, :12], expected, atol=1e-7)


def _matrix(rows):
    return np.column_stack([rows.linear(unit[:, None])[:, 0] for unit in np.eye(rows.layout.size)])


def _root(rows, points):
    layout = rows.layout
    root = np.eye(layout.size)
    for i, f in enumerate(layout.factors):
        own = slice(layout.offsets[i], layout.offsets[i + 1])
        root[own, own] = np.kron(points.roots[f][..., 0], np.eye(layout.n_levels[i]))
    return root


@pytest.mark.slow
def test_the_sum_is_that_of_fits_without_each_row():
    frame = load_cbpp()
    options = {"family": "binomial", "trials": "size", "random_state": 0, "draws": 1000}
    est = MixedModelRegressor("C(period) + (1 | herd)", **options).fit(frame, frame["incidence"])
    refits = []
    for row in range(len(frame)):
        rest, one = frame.drop(frame.index[row]), frame.iloc[[row]]
        fitted = MixedModelRegressor("C(period) + (1 | herd)", priors=est.priors_, **options)
        eta = fitted.fit(rest, rest["incidence"]).predict_draws(one, kind="linear").values.reshape(1, -1)
        y, trials = (one[name].to_numpy(float)[:, None] for name in ("incidence", "size"))
        refits.append(np.log(np.exp(fitted._posterior.family.log_density(y, eta, trials=trials)).mean()))

    found = est.loo(frame, frame["incidence"])  # whose values ArviZ names by its version
    each = np.asarray(found.loo_i if hasattr(found, "loo_i") else found.elpd_i)
    assert each.sum() == pytest.approx(np.sum(refits), abs=1.2)
    # what the rows left out had to do with the quadratic approximation of the others is what is missing
    np.testing.assert_allclose(each, refits, atol=0.4)
    assert np.asarray(found.pareto_k).max() < 0.7
