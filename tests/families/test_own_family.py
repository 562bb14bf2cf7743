"""A family is one file: one that only the tests have is built, fitted, predicted from, tabulated and saved."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmixed as bm
from bayesmixed import families
from bayesmixed.estimators.after_fit import conditional_log_density
from bayesmixed.families.links import LINKS
from helpers.waiting import Log, Waiting

MODE = "FAST_COMPILE"  # in Python: nothing is compiled
FORMULA = "x + (x | g)"

pytestmark = pytest.mark.filterwarnings("ignore:Pareto k-hat of the draws of a predicted mean")  # made by hand


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "waiting", Waiting)
    monkeypatch.setitem(LINKS, "log", Log())


def make_data(n=400, J=20, seed=0):
    rng = np.random.default_rng(seed)
    g, x = np.arange(n) % J, rng.normal(size=n)
    eta = 1 + 0.5 * x + rng.normal(0, 0.6, J)[g] + rng.normal(0, 0.3, J)[g] * x
    return pd.DataFrame({"x": x, "g": g, "y": rng.exponential(np.exp(eta))})


DATA = make_data()


@cache
def fitted():
    return bm.MixedModelRegressor(FORMULA, family="waiting", random_state=0, draws=500).fit(DATA, DATA["y"])


@pytest.fixture
def est():
    return fitted()


def eta_of(est, rows):
    """Draws of the linear predictor of known groups, (S, n), one at a time."""
    draws = est._posterior.draws
    b = draws.flat("b_g")[:, rows["g"]]
    x = rows["x"].to_numpy()
    return draws.flat("Intercept")[:, None] + draws.flat("beta") * x + b[:, :, 0] + b[:, :, 1] * x


@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
def test_the_density_in_pymc_is_the_familys():
    rows = DATA.head(60)
    model = bm.MixedModelRegressor(FORMULA, family="waiting").build_model(rows, rows["y"])
    names = ["Intercept", "beta", "b_g"]
    values = model.replace_rvs_by_values([model[name] for name in names])
    (log_density,) = model.logp(vars=[model["y"]], sum=False)
    evaluate = model.compile_fn([log_density, *values], inputs=model.value_vars, on_unused_input="ignore", mode=MODE)
    found, intercept, beta, b = evaluate(model.initial_point())
    eta = intercept + beta * rows["x"] + np.sum(b[rows["g"]] * np.column_stack([np.ones(60), rows["x"]]), axis=1)

    np.testing.assert_allclose(found, stats.expon.logpdf(rows["y"], scale=np.exp(eta)))


def test_it_is_fitted_without_a_compiler(est):
    assert est.diagnostics_["sampler"] == "transport"
    assert est.common_effects()["mean"].iloc[1] == pytest.approx(0.5, abs=0.3)


def test_predictions_average_over_draws(est):
    rows = DATA.head(7)
    eta = eta_of(est, rows)

    np.testing.assert_allclose(est.predict(rows), np.exp(eta).mean(axis=0))
    np.testing.assert_allclose(est.predict_draws(rows, kind="mean").values.reshape(-1, 7), np.exp(eta))
    np.testing.assert_allclose(est.predict_draws(rows, kind="linear").values.reshape(-1, 7), eta)
    expected = np.sqrt(np.exp(eta).var(axis=0) + np.exp(2 * eta).mean(axis=0))
    np.testing.assert_allclose(est.predict(rows, return_std=True)[1], expected)


def test_intervals_invert_the_distribution_function_averaged_over_draws(est):
    rows = DATA.head(7)
    ends = est.predict_interval(rows, coverage=0.8)
    below = stats.expon.cdf(ends.T[:, None], scale=np.exp(eta_of(est, rows))).mean(axis=1)

    np.testing.assert_allclose(below, np.broadcast_to([[0.1], [0.9]], (2, 7)), atol=1e-6)


def test_a_new_group_is_averaged_over_the_population_at_each_draw(est):
    """The mean is exact; intervals and draws take the effects that are keyed by the label."""
    rows = DATA.head(3).assign(g=99)
    draws = est._posterior.draws
    x = rows["x"].to_numpy()
    sd, R = draws.flat("sd_g"), draws.flat("corr_g")[:, 0]
    v = sd[:, :1] ** 2 + x**2 * sd[:, 1:] ** 2 + 2 * x * (sd[:, 0] * sd[:, 1] * R)[:, None]
    m = draws.flat("Intercept")[:, None] + draws.flat("beta") * x

    np.testing.assert_allclose(est.predict(rows), np.exp(m + v / 2).mean(axis=0))
    np.testing.assert_allclose(est.predict(rows, new_groups="zero"), np.exp(m).mean(axis=0))
    drawn, effects = est.predict_draws(rows, kind="linear", return_new_groups=True)
    b = effects["g"].values.reshape(-1, 1, 2)
    np.testing.assert_allclose(drawn.values.reshape(-1, 3), m + b[:, :, 0] + b[:, :, 1] * x)
    below = stats.expon.cdf(est.predict_quantiles(rows, 0.3).T, scale=np.exp(drawn.values.reshape(-1, 3))).mean(axis=0)
    np.testing.assert_allclose(below, 0.3, atol=1e-6)


def test_tables_state_the_residual_on_the_scale_of_the_predictor(est):
    table = est.variance_components()

    assert table["component"].tolist() == ["sd", "sd", "correlation", "residual"]
    assert table["mean"].iloc[-1] == pytest.approx(np.sqrt(np.pi**2 / 6))
    assert table["share"].sum() == pytest.approx(1)
    assert est.summary()["variable"].tolist() == ["Intercept", "beta", "sd_g", "sd_g", "corr_g"]
    assert est.priors_.intercept == bm.Normal(float(np.log(DATA["y"].mean())), 2.5)
    assert "waiting, log link" in repr(est)


def test_a_file_keeps_it(est, tmp_path):
    est.save(tmp_path / "waiting.bm")
    loaded = bm.load(tmp_path / "waiting.bm")

    np.testing.assert_array_equal(loaded.predict(DATA), est.predict(DATA))
    assert loaded._posterior.family.name == "waiting"


def test_loo_takes_the_density_given_the_effects(est):
    keep = np.arange(0, 2000, 100)
    found = conditional_log_density(est._posterior, replace(est.design_spec_.apply(DATA), y=DATA["y"].to_numpy()), keep)

    np.testing.assert_allclose(found, stats.expon.logpdf(DATA["y"], scale=np.exp(eta_of(est, DATA)[keep])))


def test_prior_draws_and_prior_predictive(est):
    prior = est.sample_prior(DATA.head(5), draws=50)

    assert (prior["prior_predictive"]["y"].values > 0).all()
    assert set(prior["prior"].data_vars) == {"Intercept", "beta", "sd_g", "corr_g", "b_g"}


def test_what_is_outside_of_the_support_is_refused():
    with pytest.raises(ValueError, match="family='waiting' needs positive numbers; row 0 of y is -1"):
        bm.MixedModelRegressor("x", family="waiting").fit(DATA, DATA["y"].where(DATA.index > 0, -1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # the bound below is wider than what it warns of
def test_nuts_finds_what_the_data_were_made_with():
    est = bm.MixedModelRegressor(FORMULA, family="waiting", random_state=0, sampler="nuts")
    table = est.fit(DATA, DATA["y"]).summary()
    z = (table["mean"].to_numpy()[:4] - [1, 0.5, 0.6, 0.3]) / table["sd"].to_numpy()[:4]

    assert np.abs(z).max() < 3.5
