"""Quantiles from exact moments against a mixture with one component per draw of the covariances, and their laws."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from bayesmixed import MixedModelRegressor
from bayesmixed.chunks import allow
from bayesmixed.prediction import spread
from bayesmixed.prediction.new_groups import NewLevels
from helpers.made import make_posterior

P = np.array([0.005, 0.05, 0.5, 0.9, 0.995])
KINDS = ["response", "mean", "linear"]


def simulate(J, n, sd, seed):
    rng = np.random.default_rng(seed)
    group, x = np.repeat(np.arange(J), n), rng.normal(size=J * n)
    b = rng.normal(size=(J, 2)) * sd
    return pd.DataFrame({"x": x, "g": group, "y": 3 + x + b[group, 0] + b[group, 1] * x + rng.normal(size=J * n)})


@pytest.fixture(scope="module")
def est():
    """Five groups: the standard deviations are skewed."""
    return MixedModelRegressor("y ~ x + (x | g)", random_state=0).fit(simulate(5, 8, (1.0, 0.5), 3))


ROWS = pd.DataFrame({"x": [0.0, 1, -2, 4, 0, 1, 4, 0], "g": [0, 1, 2, 3, 99, 98, 98, None]})


def by_every_draw(est, rows, kind):
    """Quantiles of the mixture over all distinct draws of the covariances, one root at a time."""
    posterior, draws = est._posterior, est._posterior.draws
    design, modes = est._new_design(rows, True, None)
    which = draws.state.which.ravel()
    mean, variance = draws.state.coefficients.linear_predictor(design, np.arange(len(rows)), which)
    (factor,) = design.groups
    at, added = NewLevels(draws, posterior.seed, factor, modes["g"]).variance(np.arange(len(rows)))
    first, count = np.unique(which, return_index=True, return_counts=True)[1:]
    variance[at] += added[:, first]
    if kind == "response":
        variance += np.square(draws.flat("sigma")[first])
    weight, sd = count / count.sum(), np.sqrt(variance)
    far = 50 * sd.max()
    return np.array(
        [[brentq(lambda t, i=i, p=p: weight @ norm.cdf(t, mean[i], sd[i]) - p, -far, far) for p in P] for i in range(8)]
    )


@pytest.mark.parametrize("kind", ["response", "linear"])
def test_quantiles_are_nearly_those_of_every_draw_of_the_covariances(est, kind):
    expected = by_every_draw(est, ROWS, kind)
    width = (expected[:, 3] - expected[:, 1])[:, None]
    error = np.abs(est.predict_quantiles(ROWS, P, kind=kind) - expected) / width

    assert error[:, 1:4].max() < 0.01
    assert error.max() < 0.03


def test_the_mean_of_a_linear_family_is_the_linear_predictor(est):
    np.testing.assert_array_equal(
        est.predict_quantiles(ROWS, P, kind="mean"), est.predict_quantiles(ROWS, P, kind="linear")
    )


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_do_not_depend_on_order_batch_or_chunks(est, kind):
    whole = est.predict_quantiles(ROWS, P, kind=kind)
    with allow(predictions=1):
        backwards = est.predict_quantiles(ROWS[::-1], P, kind=kind)

    np.testing.assert_allclose(backwards[::-1], whole, rtol=1e-9)
    for i in range(len(ROWS)):
        np.testing.assert_allclose(est.predict_quantiles(ROWS.iloc[[i]], P, kind=kind)[0], whole[i], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["donor", "nan", "zero"])
def test_modes_of_new_groups_keep_their_meaning(est, mode, kind):
    """Donors, whose effects are no normal numbers, are drawn; known rows do not notice."""
    found = est.predict_quantiles(ROWS, P, kind=kind, new_groups=mode)

    np.testing.assert_allclose(found[:4], est.predict_quantiles(ROWS[:4], P, kind=kind), rtol=1e-9)
    if mode == "nan":
        assert np.isnan(found[4:]).all()
    elif mode == "zero":
        bare = est.predict_quantiles(ROWS[4:], P, kind=kind, include_groups=False)
        np.testing.assert_allclose(found[4:], bare, rtol=1e-9)
    elif kind != "response":
        draws = est.predict_draws(ROWS, kind=kind, new_groups=mode).to_numpy().reshape(-1, len(ROWS))
        np.testing.assert_allclose(found[4:], np.quantile(draws, P, axis=0).T[4:], rtol=1e-12)


@pytest.mark.parametrize(
    "formula", ["x + (x | school)", "x + (1 | school) + (x | pupil)", "0 + x + offset(z) + (1 | k)"]
)
@pytest.mark.parametrize("mode", ["sample", "donor", "zero"])
def test_variances_from_covariances_of_draws_are_those_of_the_linear_predictors(formula, mode, school):
    """Whichever levels are held together."""
    posterior, _ = make_posterior(formula, school)
    rows = pd.concat([school, school.iloc[[3, 20, 41]].assign(school=["west", None, "east"], pupil=[2, 77, 78])])
    design = posterior.spec.apply(rows)
    new = {factor.name: NewLevels(posterior.draws, 7, factor, mode) for factor in design.groups}
    eta = posterior.draws.flat("beta") @ design.X.T
    eta += posterior.draws.flat("Intercept")[:, None] if design.has_intercept else design.offset
    for factor in design.groups:
        for i, code in enumerate(factor.codes):
            known = 0 <= code < len(factor.levels)
            b = posterior.draws.flat(f"b_{factor.name}")
            own = b[:, code] if known else b.mean(axis=1) * (mode == "donor")
            eta[:, i] += own @ factor.Z[i]

    for chunk in (2_000_000, 1):
        with allow(working=chunk):
            found = spread.linear_variance(posterior.draws, design, new)
        np.testing.assert_allclose(found, eta.var(axis=0), rtol=1e-9)
