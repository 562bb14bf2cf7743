"""Predictions beyond the largest number are infinite, with one warning, and those of a share stay inside (0, 1)."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayesmixed import MixedModelRegressor
from bayesmixed.design.spec import DesignSpec
from bayesmixed.families import get_family
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
        assert all("predictions of 1 of 3 rows are infinite" in message for message in messages)


def test_quantiles_from_exact_moments_are_infinite_with_one_warning():
    frame = pd.DataFrame({"x": np.arange(40.0), "g": np.arange(40) % 5})
    y = np.exp(0.1 * frame["x"] + np.random.default_rng(0).normal(size=40))
    est = MixedModelRegressor("x + (1 | g)", family="lognormal", draws=200, random_state=0).fit(frame, y)

    for kind in ("response", "mean"):
        with pytest.warns(UserWarning, match="predictions of 1 of 2 rows are infinite") as caught:
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


@pytest.mark.parametrize("alpha", [0.3, 5.0])
def test_large_counts_are_continuous_where_scipy_ends(alpha):
    """Below and above the mean from which the gamma distribution of the mean is all of the distribution."""
    u, family = np.array([0.01, 0.5, 0.99]), get_family("negativebinomial")
    mu = 1e14 * np.array([[1.0], [9.9], [10.1], [1e3]])
    shares = family.quantile(u, np.log(mu), alpha=np.array(alpha)) / mu

    np.testing.assert_allclose(shares, np.tile(stats.gamma.ppf(u, alpha) / alpha, (4, 1)), rtol=1e-7)
