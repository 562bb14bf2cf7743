"""Rows left out: variances from dense matrices, densities in closed form, and from fits without the row."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayesmixed import MixedModelRegressor, SamplerError
from bayesmixed.datasets import load_cbpp
from bayesmixed.estimators import after_fit
from bayesmixed.sampling.transport import state
from bayesmixed.sampling.transport.leave_one_out import bridge, leave_one_out, variances
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


# ---- rows of which all others say little


def outlying(row=13, count=20):
    """Counts in eight groups of three, one of which is far from all others; labelled from 100 on."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(8), 3), "x": rng.normal(size=24)}, index=np.arange(100, 124))
    frame["y"] = rng.poisson(np.exp(1 + 0.3 * frame["x"] + rng.normal(0, 0.4, 8)[frame["g"]]))
    frame.iloc[row, 2] = count
    return frame


def counts(frame, **options):
    return MixedModelRegressor("x + (1 | g)", family="poisson", random_state=1, **options).fit(frame, frame["y"])


def log_densities(est, one):
    """Of one row, at every draw."""
    eta = est.predict_draws(one, kind="linear").values.reshape(-1)
    return est._posterior.family.log_density(one["y"].to_numpy(float), eta)


def without(frame, row, est):
    """The bridge to a fit that has not seen the row, and started anew."""
    rest, one = frame.drop(frame.index[row]), frame.iloc[[row]]
    return bridge(log_densities(est, one), log_densities(counts(rest, priors=est.priors_), one))[0]


def rowwise(result):
    """Values, and their sum, which ArviZ names by its version."""
    new = hasattr(result, "elpd_i")
    return np.asarray(result.elpd_i if new else result.loo_i), float(result.elpd if new else result.elpd_loo)


def test_the_bridge_is_the_ratio_of_normalising_constants():
    """eta ~ N(0, 1) and a row y = 3 about it: N(1.5, 1/2) given it, and its density is that of N(0, 2)."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        draws = 1.5 + np.sqrt(0.5) * rng.standard_normal(400), rng.standard_normal(400)
        found.append(bridge(*(stats.norm.logpdf(3.0, eta) for eta in draws)))
    values, errors = np.transpose(found)

    assert values.mean() == pytest.approx(stats.norm.logpdf(3.0, 0, np.sqrt(2)), abs=4 * values.std() / np.sqrt(200))
    assert errors.mean() == pytest.approx(values.std(), rel=0.2)


@pytest.mark.slow
def test_rows_of_large_k_hat_are_fitted_without(monkeypatch):
    frame = outlying()
    est = counts(frame)
    found = est.loo(frame, frame["y"])  # and warns of no row
    monkeypatch.setattr(after_fit, "_REFITS", 0)
    with pytest.warns(
        UserWarning, match=r"k-hat. is greater than 0.70 for the rows labelled 113.*: the other rows say"
    ):
        before = est.loo(frame, frame["y"])
    (each, total), (smoothed, _) = rowwise(found), rowwise(before)
    k_hat = np.asarray(before.pareto_k)
    rows = np.argsort(-k_hat)[: (k_hat > before.good_k).sum()]

    assert rows[0] == 13
    assert found.log_likelihood.attrs["refitted"] == (100 + rows).tolist()
    assert "refitted" not in before.log_likelihood.attrs
    np.testing.assert_array_equal(np.asarray(found.pareto_k)[rows], 0)
    assert (before.warning, found.warning) == (True, False)
    np.testing.assert_allclose(each[rows], [without(frame, row, est) for row in rows], atol=0.2)
    assert abs(smoothed[13] - each[13]) > 0.4
    np.testing.assert_array_equal(np.delete(each, rows), np.delete(smoothed, rows))
    assert total == pytest.approx(each.sum(), abs=1e-9)
    effective = [float(result.p if hasattr(result, "elpd_i") else result.p_loo) for result in (found, before)]
    assert effective[0] - effective[1] == pytest.approx(smoothed.sum() - each.sum(), abs=1e-9)
    assert found.se / before.se == pytest.approx(each.std() / smoothed.std(), rel=1e-9)


def test_where_both_posteriors_hardly_overlap_the_row_stays_doubtful():
    frame = outlying(count=60)
    with pytest.warns(UserWarning, match="rows labelled 113.*: the other rows say little about them"):
        found = counts(frame).loo(frame, frame["y"])

    assert found.log_likelihood.attrs["refitted"] == [113]
    assert found.pareto_k.values[13] > 0.7
    assert found.warning


def test_a_row_whose_fit_is_refused_stays_doubtful(monkeypatch):
    def refused(*args, **options):
        raise SamplerError("the chains differ")

    frame = outlying()
    est = counts(frame)
    monkeypatch.setattr(state, "sample_prepared", refused)
    with pytest.warns(UserWarning, match="rows labelled 113.*: the other rows say little about them"):
        found = est.loo(frame, frame["y"])

    assert found.pareto_k.values[13] > 0.7
    assert "refitted" not in found.log_likelihood.attrs


@pytest.mark.numerical
def test_rows_are_left_out_of_repeated_and_of_later_ones():
    """Of a set of identical rows one goes; the fit's rows come before those of `condition`."""
    frame = outlying(count=10)
    repeated = frame.loc[frame.index.repeat(2)].reset_index(drop=True)
    est = counts(repeated.head(40)).condition(repeated.tail(8), repeated["y"].tail(8))
    kept, design = est._posterior.draws.state, est.design_spec_.apply(repeated)
    design = replace(design, y=repeated["y"].to_numpy(float))
    found = [kept.refit_without(est._posterior.draws, design, row, seed=0, progressbar=False) for row in (27, 47)]

    np.testing.assert_allclose(
        [value for value, _ in found], [without(repeated, row, est) for row in (27, 47)], atol=0.1
    )
    assert max(error for _, error in found) < 0.1


@pytest.mark.slow
def test_values_of_rows_and_their_sum_are_those_of_fits_without_each():
    frame = load_cbpp()
    options = {"family": "binomial", "trials": "size", "random_state": 0, "draws": 1000}
    est = MixedModelRegressor("C(period) + (1 | herd)", **options).fit(frame, frame["incidence"])
    refits, rows = [], np.arange(0, len(frame), 8)
    for row in rows:
        rest, one = frame.drop(frame.index[row]), frame.iloc[[row]]
        fitted = MixedModelRegressor("C(period) + (1 | herd)", priors=est.priors_, **options)
        eta = fitted.fit(rest, rest["incidence"]).predict_draws(one, kind="linear").values.reshape(1, -1)
        y, trials = (one[name].to_numpy(float)[:, None] for name in ("incidence", "size"))
        refits.append(np.log(np.exp(fitted._posterior.family.log_density(y, eta, trials=trials)).mean()))

    found = est.loo(frame, frame["incidence"])  # whose values ArviZ names by its version
    each = np.asarray(found.loo_i if hasattr(found, "loo_i") else found.elpd_i)
    assert each[rows].sum() == pytest.approx(np.sum(refits), abs=0.5)
    # what the rows left out had to do with the quadratic approximation of the others is what is missing
    np.testing.assert_allclose(each[rows], refits, atol=0.4)
    assert np.asarray(found.pareto_k).max() < 0.7
