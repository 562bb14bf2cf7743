"""Predictions beyond the largest number are infinite, with one warning, and those of a share stay inside (0, 1)."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayesmixed import MixedModelRegressor
from bayesmixed.design.spec import DesignSpec
from bayesmixed.families import get_family, poisson
from bayesmixed.families.bernoulli import Bernoulli
from bayesmixed.families.links import LINKS
from bayesmixed.formula.parse import parse
from bayesmixed.prediction import predict
from helpers.made import make_draws, posterior_of

FAR = 1e5
FRAME = pd.DataFrame({"x": [-FAR, 0.0, FAR], "y": [1.0, 2.0, 3.0]})
P = np.array([0.05, 0.5])


def made(family):
    """A posterior in which the coefficient of x is positive, and the design of FRAME."""
    spec, design = DesignSpec.learn(parse("y ~ x"), FRAME)
    draws = make_draws(design, family=family)
    draws.values["beta"][:] = np.abs(draws.values["beta"]) + 0.1
    return posterior_of(draws, spec, family), spec.evaluate(spec.read(FRAME))


def predictions(posterior, design):
    """Every kind of draws and quantiles: its name, and a function that makes them, (n, ...)."""
    keep = np.arange(100)
    for kind in predict.KINDS:
        yield f"draws of {kind}", lambda kind=kind: predict.draw(posterior, design, {}, kind, keep).T
        yield f"quantiles of {kind}", lambda kind=kind: predict.quantiles(posterior, design, {}, kind, P)


@pytest.mark.parametrize("name", ["poisson", "negativebinomial", "gamma", "lognormal"])
def test_a_prediction_beyond_the_largest_number_is_infinite_with_one_warning(name):
    for what, make in predictions(*made(get_family(name))):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            values = make()

        is_linear = what.endswith("linear")
        assert np.isinf(values).all(axis=1).tolist() == [False, False, not is_linear], what
        assert np.isfinite(values[:2]).all(), what
        messages = [str(warning.message) for warning in caught]
        assert len(messages) == (not is_linear), messages
        assert all("predictions of 1 of 3 rows are not finite" in message for message in messages)


def test_quantiles_from_exact_moments_are_infinite_with_one_warning():
    frame = pd.DataFrame({"x": np.arange(40.0), "g": np.arange(40) % 5})
    y = np.exp(0.1 * frame["x"] + np.random.default_rng(0).normal(size=40))
    est = MixedModelRegressor("x + (1 | g)", family="lognormal", draws=200, random_state=0).fit(frame, y)

    for kind in ("response", "mean"):
        with pytest.warns(UserWarning, match="predictions of 1 of 2 rows are not finite") as caught:
            values = est.predict_quantiles(frame.head(2).assign(x=[0, FAR]), P, kind=kind)
        assert len(caught) == 1
        assert np.isinf(values).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_a_share_stays_a_number_between_0_and_1(link):
    for what, make in predictions(*made(get_family("beta", link))):
        values = make()
        if not what.endswith("linear"):
            assert ((values >= 0) & (values <= 1)).all(), what
            np.testing.assert_allclose(values[[0, 2]], [[0.0], [1.0]] + 0 * values[[0, 2]], atol=1e-12)


@pytest.mark.parametrize("x", [700.0, 2e3, FAR, 1e150, 1e300])
@pytest.mark.parametrize("name", ["gaussian", "t", "poisson", "negativebinomial", "gamma", "lognormal", "beta"])
def test_quantiles_far_out_ascend_where_draws_of_a_coefficient_have_both_signs(name, x):
    """Components of the mixture then overflow on both sides; for the squares of x, beyond about 1e154, all do."""
    family = get_family(name)
    spec, design = DesignSpec.learn(parse("y ~ x"), FRAME)
    posterior = posterior_of(make_draws(design, family=family), spec, family)
    beta = posterior.draws.values["beta"]
    assert beta.min() < 0 < beta.max()
    design = spec.evaluate(spec.read(FRAME.assign(x=[-x, 0.0, x])))

    for kind in predict.KINDS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="predictions of .* rows are not finite", category=UserWarning)
            low, middle, high = predict.quantiles(posterior, design, {}, kind, np.array([0.05, 0.5, 0.95])).T
        assert np.all((low <= middle) & (middle <= high)), kind
        assert kind != "linear" or np.all(low < high)


def test_quantiles_of_a_log_normal_far_out_are_those_of_the_logarithm():
    normal, log_normal = (get_family(name) for name in ("gaussian", "lognormal"))
    spec, design = DesignSpec.learn(parse("y ~ x"), FRAME)
    draws = make_draws(design)
    design = spec.evaluate(spec.read(FRAME.assign(x=[-100.0, 0.0, 100.0])))
    of_normal, of_log_normal = (
        predict.quantiles(posterior_of(draws, spec, family), design, {}, "response", P)
        for family in (normal, log_normal)
    )

    np.testing.assert_allclose(np.log(of_log_normal), of_normal, rtol=1e-12)


def test_a_minus_infinite_prediction_is_one():
    posterior, _ = made(get_family("t"))
    posterior.draws.values["beta"][:] = 2.0
    spec = posterior.model.spec
    design = spec.evaluate(spec.read(FRAME.assign(x=[-1e308, 0.0, 1e308])))
    for kind in ("mean", "linear"):
        with pytest.warns(UserWarning, match="predictions of 2 of 3 rows are not finite"):
            values = predict.quantiles(posterior, design, {}, kind, P)
        assert values[0].tolist() == [-np.inf, -np.inf]
        assert values[2].tolist() == [np.inf, np.inf]
        with pytest.warns(UserWarning, match="predictions of 2 of 3 rows are not finite"):
            predict.draw(posterior, design, {}, kind, np.arange(10))


# ---- counts


@pytest.mark.parametrize("mu", [1e6, 0.99e8])
def test_the_expansion_of_poisson_quantiles_is_exact(mu, monkeypatch):
    u, eta = np.random.default_rng(0).random(2000), np.full(2000, np.log(mu))
    expected = stats.poisson.ppf(u, np.exp(eta))
    monkeypatch.setattr(poisson, "_LARGE", 1e5)

    np.testing.assert_array_equal(get_family("poisson").quantile(u, eta), expected)


@pytest.mark.parametrize("mu", [0.0, 1.0, 0.99e8, 1.01e8, 3e10, 1e11, 1e13, 1e15, 1e17, np.inf])
def test_poisson_quantiles_are_whole_numbers_at_any_mean(mu):
    u = np.random.default_rng(0).random(500)
    with np.errstate(divide="ignore"):
        found = get_family("poisson").quantile(u, np.full(500, np.log(mu)))

    assert np.all(found == np.floor(found))
    if 0 < mu < np.inf:
        assert np.abs(found - mu).max() < 5 * np.sqrt(mu) + 2
    assert np.all(np.sort(found) == found[np.argsort(u)])


@pytest.mark.parametrize("alpha", [0.01, 0.3, 5.0])
def test_negative_binomial_quantiles_continue_where_scipys_end(alpha):
    """Below and above the mean from which they are those of the gamma distribution."""
    u, family = np.array([1e-5, 0.01, 0.5, 0.99]), get_family("negativebinomial")
    mu = 1e14 * np.array([[1.0], [9.9], [10.1], [1e3]])
    counts = family.quantile(u, np.log(mu), alpha=np.array(alpha))

    np.testing.assert_array_equal(counts, np.round(counts))
    np.testing.assert_allclose(counts, stats.gamma.ppf(u, alpha) / alpha * mu, rtol=1e-10, atol=1)
    with np.errstate(over="ignore"):
        assert not np.isnan(family.quantile(u, np.array(1e4), alpha=np.array(alpha))).any()


def test_a_class_without_a_predictor_is_missing():
    assert np.isnan(Bernoulli(LINKS["logit"], ()).quantile(np.array([0.2, 0.8]), np.array([np.nan, np.nan]))).all()
