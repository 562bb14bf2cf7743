"""A linear model without groups: independent, exact draws, against dense quadrature."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayesmixed import Exponential, HalfNormal, MixedModelRegressor, Normal
from bayesmixed.design.spec import DesignSpec
from bayesmixed.families.gaussian import SIGMA_FLOOR
from bayesmixed.formula.parse import parse
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.diagnostics import convergence
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors.resolve import resolve_priors
from bayesmixed.sampling.collapsed import engine
from bayesmixed.sampling.collapsed.regression import Rotated
from bayesmixed.sampling.engine import Settings
from helpers.collapsed_twins import (
    FAMILY,
    dense_log_likelihood,
    dense_posterior,
    effects_prior,
    make_frame,
    row_weights,
)

FRAME = make_frame()
Y = np.random.default_rng(3).normal(5, 2, 40) + FRAME["x"].to_numpy()
COLUMNS = [f"c{i}" for i in range(14)]
USER = {"Intercept": Normal(3, 0.5), "x": Normal(2, 0.1), "sigma": Exponential(2)}


def learn(formula, rows=40, *, user=None, weights=None, y=Y):
    """Design and priors of a formula, or of all columns c0 to c13 for None."""
    frame, y = FRAME.iloc[:rows], y[:rows]
    if formula is None:
        design = DesignSpec.plain(frame[COLUMNS], y, weights)[1]
    else:
        design = DesignSpec.learn(parse(formula), frame, y=y, weights=weights)[1]
    return design, resolve_priors(design, FAMILY, user)


CASES = {
    "two columns": ("x + z", {}),
    "intercept only": ("1", {}),
    "no intercept": ("0 + x", {}),
    "user's priors": ("x + k", {"user": USER}),
    "weights": ("x + z", {"weights": np.arange(40) % 3 + 0.5}),
    "offset": ("x + offset(z)", {}),
    "far column": ("year + x", {}),
    "all columns": (None, {}),
    "more columns than rows": (None, {"rows": 9}),
    "as many columns as rows": (None, {"rows": 15}),
    "two rows": ("x", {"rows": 2}),
    "few rows, wide prior of sigma": ("x", {"rows": 3, "user": {"sigma": HalfNormal(1e3)}}),
}


def draw(design, priors, draws=1000, chains=4, seed=0):
    return engine.sample(Model(None, FAMILY, priors), design, Settings("collapsed", draws, chains, seed))


def quadrature(design, priors):
    """A grid of log(sigma), and its posterior density there, normalised: y is one dense normal distribution."""
    load, mean, prior = effects_prior(design, priors, [])
    w = row_weights(design)
    root = np.sqrt(w)[:, None]
    eigenvalues, Q = np.linalg.eigh(root * load @ prior @ (root * load).T)
    centred = Q.T @ (root[:, 0] * (design.response - load @ mean))
    scale = np.log(np.std(design.response))
    grid = np.linspace(scale - 9, scale + 7, 8001)
    variance = np.maximum(eigenvalues, 0) + np.exp(2 * grid)[:, None]
    log_p = priors.auxiliary["sigma"].log_density(np.exp(grid)) + grid - (w.sum() - len(w)) * grid
    log_p -= 0.5 * (np.log(variance) + np.square(centred) / variance).sum(axis=1)
    weight = np.exp(log_p - log_p.max())
    return grid, weight / weight.sum()


@pytest.mark.parametrize("case", CASES)
def test_sigma_has_the_distribution_of_the_dense_density(case):
    """Kolmogorov-Smirnov against the numerical distribution function."""
    formula, options = CASES[case]
    design, priors = learn(formula, **options)
    values = draw(design, priors).values["sigma"].ravel()
    grid, weight = quadrature(design, priors)
    # a draw is as good as independent of the others: p-values below 1e-3 happen once in a thousand cases
    below = np.interp(np.log(values), grid, np.cumsum(weight) - weight / 2)

    assert stats.kstest(below, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("case", CASES)
def test_log_likelihood_equals_the_dense_one(case):
    formula, options = CASES[case]
    design, priors = learn(formula, **options)
    units = Units.learn(design, priors)
    s = np.linspace(-3, 1.5, 8)
    ours = Rotated.of(design, priors, units).log_likelihood(s)
    sigma = np.exp(s) * units.scaling.y_scale
    dense = np.array([dense_log_likelihood(design, priors, value, []) for value in sigma])

    assert np.ptp(ours - dense) < 1e-8 * np.abs(dense).max()


@pytest.mark.parametrize("case", CASES)
def test_common_effects_have_the_dense_moments_at_every_sigma(case):
    """Given sigma the effects are normal: whitened by the dense posterior they are N(0, 1) and uncorrelated."""
    formula, options = CASES[case]
    design, priors = learn(formula, **options)
    units = Units.learn(design, priors)
    rotated = Rotated.of(design, priors, units)
    S, p = 8000, len(rotated.mean)
    for s in (-2.0, 0.3):
        mean, covariance = dense_posterior(design, priors, np.exp(s) * units.scaling.y_scale, [])
        drawn = rotated.draw(np.full(S, s), np.random.default_rng(1).normal(size=(p, S)))
        center, draws = (np.vstack([*([] if a is None else [a[None]]), b]) for a, b in map(units.common_effects, drawn))
        size = np.sqrt(np.diag(covariance))
        root = np.linalg.cholesky(covariance / np.outer(size, size))
        white = np.linalg.solve(root, (draws - mean[:, None]) / size[:, None])
        error = np.where(np.eye(p), np.sqrt(2 / S), np.sqrt(1 / S))

        np.testing.assert_allclose(center[:, 0] / size, mean / size, atol=1e-6)
        assert np.abs(white.mean(axis=1)).max() < 5 / np.sqrt(S)
        assert np.abs((white @ white.T / S - np.eye(p)) / error).max() < 5


@pytest.mark.parametrize("case", ["two columns", "more columns than rows", "weights"])
def test_posterior_of_the_effects_is_the_mixture_over_sigma(case):
    formula, options = CASES[case]
    design, priors = learn(formula, **options)
    made = draw(design, priors, draws=2000)
    grid, weight = quadrature(design, priors)
    points = [
        (w, *dense_posterior(design, priors, np.exp(s), [])) for s, w in zip(grid, weight, strict=True) if w > 1e-7
    ]
    mean = sum(w * m for w, m, _ in points)
    variance = sum(w * (np.diag(V) + np.square(m)) for w, m, V in points) - np.square(mean)
    draws = np.column_stack([made.flat("Intercept"), made.flat("beta")])
    exact = np.concatenate([[made.means["Intercept"]], made.means["beta"]])

    assert np.abs((draws.mean(axis=0) - mean) / np.sqrt(variance / len(draws))).max() < 4.5
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.15)
    # the mean of conditional means has less noise than the mean of the draws, and the same expectation
    assert np.abs((exact - mean) / np.sqrt(variance / len(draws))).max() < 4.5


def test_draws_are_independent_and_lp_is_their_density():
    design, priors = learn("x + z")
    made = draw(design, priors)
    units = Units.learn(design, priors)
    result = convergence(made.values["sigma"])
    grid, weight = quadrature(design, priors)
    lp = made.sample_stats["lp"].ravel()
    log_density = np.interp(np.log(made.flat("sigma")), grid, np.log(np.maximum(weight, 1e-300)))

    assert result.r_hat < 1.01
    assert result.ess_bulk > 3000
    assert len(np.unique(made.values["sigma"])) == 4000
    assert np.ptp(lp - log_density) < 1e-3
    assert SIGMA_FLOOR * units.scaling.y_scale < made.values["sigma"].min()


def test_a_weight_of_two_is_the_row_twice():
    counts = np.arange(40) % 3 + 1
    rows = np.repeat(np.arange(40), counts)
    weighted = MixedModelRegressor("x + z", random_state=1).fit(FRAME, Y, counts)
    repeated = MixedModelRegressor("x + z", random_state=1).fit(FRAME.iloc[rows], Y[rows])

    for name, values in weighted._posterior.draws.values.items():
        np.testing.assert_allclose(values, repeated._posterior.draws.values[name], rtol=1e-8)


def test_a_perfect_fit_is_near_the_floor_of_sigma():
    """Without scatter only the floor, 1e-6 sd(y), keeps sigma up; the line is that of the data."""
    X = FRAME[["x", "z"]]
    y = (3 + 2 * X["x"]).to_numpy()
    with pytest.warns(UserWarning, match="fit y without error"):
        est = MixedModelRegressor(random_state=0).fit(X, y)
    sigma = est._posterior.draws.values["sigma"]
    floor = 1e-6 * np.std(y)

    assert floor <= sigma.min()
    assert np.median(sigma) < 10 * floor
    np.testing.assert_allclose(est.predict(X), y, atol=100 * floor)
    np.testing.assert_allclose(est.coef_, [2, 0], atol=1e-4)
    assert est.diagnostics_["max_r_hat"] <= 1.01


def test_columns_that_determine_each_other_share_what_the_data_say():
    """The sum of two equal columns' effects is known; their difference keeps its prior."""
    X = pd.DataFrame({"a": FRAME["x"], "b": FRAME["x"]})
    est = MixedModelRegressor(random_state=0, priors={"beta": Normal(0, 3)}).fit(X, Y)
    beta = est._posterior.draws.flat("beta")

    assert (beta @ [1, 1]).std() < 0.3
    assert (beta @ [1, -1]).std() == pytest.approx(3 * np.sqrt(2), rel=0.05)
    assert stats.kstest(beta @ [1, -1], stats.norm(0, 3 * np.sqrt(2)).cdf).pvalue > 1e-3


def test_units_scale_the_draws():
    scaled = MixedModelRegressor(random_state=1).fit(FRAME[COLUMNS] / 7, 1000 * Y + 5)._posterior.draws.values
    plain = MixedModelRegressor(random_state=1).fit(FRAME[COLUMNS], Y)._posterior.draws.values

    np.testing.assert_allclose(scaled["beta"], 7000 * plain["beta"], rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(scaled["Intercept"], 1000 * plain["Intercept"] + 5, rtol=1e-8)
    np.testing.assert_allclose(scaled["sigma"], 1000 * plain["sigma"], rtol=1e-8)
