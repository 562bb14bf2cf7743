"""Ordered classes: the family against quadrature and finite differences, to the far tails; its two namings; PyMC."""

import numpy as np
import pytest
from scipy import stats

from bayesmixed.distributions import LogNormal
from bayesmixed.families.base import Response
from bayesmixed.families.links import END, LINKS
from helpers.ordered_twins import CLASSES, log_probability, ordered, thresholds_of

LINK_K = [(link, K) for link in ("logit", "probit") for K in (2, 3, 4, 5)]
MODE = "FAST_COMPILE"  # in Python: nothing is compiled
SCIPYS = {"logit": stats.logistic, "probit": stats.norm}


def gaps_of(family, S=6, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return {name: scale * rng.lognormal(size=S) for name in family.auxiliary}


def grid(family, S=6, seed=1, spread=2.0):
    """A row of each class twice, (n, 1), linear predictors (n, S), and gaps (S,)."""
    y = np.tile(np.arange(len(family.classes), dtype=float), 2)[:, None]
    return y, spread * np.random.default_rng(seed).normal(size=(len(y), S)), gaps_of(family, S)


@pytest.mark.parametrize(("link", "K"), LINK_K)
def test_a_class_has_the_probability_between_its_thresholds(link, K):
    family = ordered(link, K)
    y, eta, gaps = grid(family)
    expected = np.empty(eta.shape)
    for s in range(eta.shape[1]):
        c = np.r_[-np.inf, thresholds_of(family, 0.0, {name: values[s] for name, values in gaps.items()}), np.inf]
        at = y[:, 0].astype(int)
        cdf = SCIPYS[link].cdf
        expected[:, s] = cdf(c[at + 1] - eta[:, s]) - cdf(c[at] - eta[:, s])

    np.testing.assert_allclose(np.exp(family.log_density(y, eta, **gaps)), expected, rtol=1e-8)
    every = family.class_probabilities(eta, **gaps)
    np.testing.assert_allclose(every.sum(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(every, y.astype(int)[None], axis=0)[0], expected, rtol=1e-8)
    for k in range(-1, K + 1):
        below = every[: max(k + 1, 0)].sum(axis=0)
        np.testing.assert_allclose(family.cdf(np.full((len(y), 1), k + 0.3), eta, **gaps), below, atol=1e-12)


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("width", [1e-6, 0.1, 1.0, 5.0])
@pytest.mark.parametrize("at", [-60.0, -30.0, -8.0, -1.0, 0.0, 1.0, 8.0, 30.0, 60.0])
def test_probabilities_and_slopes_of_an_interval_keep_their_digits_in_both_tails(link, width, at):
    own = LINKS[link]
    ends = (np.array([at]), np.array([at + width]))
    width = (ends[1] - ends[0])[0]  # as it is rounded
    log_p, by_lower, by_upper, slope = own.between_slopes(*ends, np.array([width]))
    expected = log_probability(link, at, at + width)

    np.testing.assert_allclose(own.log_between(*ends, np.array([width])), expected, rtol=1e-9, atol=2e-9)
    np.testing.assert_allclose(log_p, expected, rtol=1e-9, atol=2e-9)
    density = SCIPYS[link].logpdf
    np.testing.assert_allclose(by_lower, -np.exp(density(ends[0]) - expected), rtol=1e-8)
    np.testing.assert_allclose(by_upper, np.exp(density(ends[1]) - expected), rtol=1e-8)
    np.testing.assert_allclose(slope, -(by_lower + by_upper), rtol=1e-8, atol=1e-9 * by_upper[0])
    curvatures = own.between_curvatures(*ends, np.array([width]))
    assert np.isfinite(curvatures).all()
    assert np.sum(curvatures) >= -1e-9 * max(1.0, 1 / width)


@pytest.mark.parametrize(("link", "K"), LINK_K)
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_derivatives_are_finite_differences(link, K, spread):
    family, h = ordered(link, K), 1e-6
    y, eta, gaps = grid(family, spread=spread)
    log_density, score, by_auxiliary = family.derivatives(y, eta, **gaps)
    np.testing.assert_allclose(log_density, family.log_density(y, eta, **gaps), rtol=1e-12)
    plus, minus = (family.log_density(y, eta + sign * h, **gaps) for sign in (1, -1))
    np.testing.assert_allclose(score, (plus - minus) / (2 * h), rtol=1e-6, atol=1e-7)
    assert set(by_auxiliary) == set(family.auxiliary)
    for name, found in by_auxiliary.items():
        plus, minus = (family.log_density(y, eta, **{**gaps, name: gaps[name] + sign * h}) for sign in (1, -1))
        np.testing.assert_allclose(found, (plus - minus) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("link", "K"), LINK_K)
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_the_weight_is_the_curvature_in_the_predictor(link, K, spread):
    family, h = ordered(link, K), 1e-5
    y, eta, gaps = grid(family, spread=spread)
    plus, minus = (family.derivatives(y, eta + sign * h, **gaps)[1] for sign in (1, -1))
    weight = family.weight(y, eta, **gaps)

    np.testing.assert_allclose(weight, -(plus - minus) / (2 * h), rtol=1e-5, atol=1e-7)
    assert (weight >= 0).all()


@pytest.mark.parametrize(("link", "K"), LINK_K)
def test_slopes_of_the_score_by_the_gaps_are_finite_differences(link, K):
    family, h = ordered(link, K), 1e-5
    y, eta, gaps = grid(family)
    found = family.score_by_auxiliary(y, eta, **gaps)
    assert set(found) == set(family.auxiliary)
    for name, own in found.items():
        moved = [family.derivatives(y, eta, **{**gaps, name: gaps[name] + sign * h})[1] for sign in (1, -1)]
        np.testing.assert_allclose(own, (moved[0] - moved[1]) / (2 * h), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_slopes_by_both_ends_and_their_curvatures_are_finite_differences(link):
    own, h = LINKS[link], 1e-5
    lower = np.random.default_rng(0).normal(scale=2, size=50)
    width = np.random.default_rng(1).lognormal(size=50)
    upper = lower + width
    _, by_lower, by_upper, _ = own.between_slopes(lower, upper, width)
    curvatures = own.between_curvatures(lower, upper, width)
    for at, found, curvature in ((0, by_lower, curvatures[0]), (1, by_upper, curvatures[1])):
        moved = []
        for sign in (1, -1):
            ends = [lower, upper]
            ends[at] = ends[at] + sign * h
            moved.append((own.log_between(*ends, ends[1] - ends[0]), own.between_slopes(*ends, ends[1] - ends[0])[3]))
        np.testing.assert_allclose(found, (moved[0][0] - moved[1][0]) / (2 * h), rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(curvature, (moved[0][1] - moved[1][1]) / (2 * h), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_an_end_with_nothing_beyond_leaves_the_distribution_function(link):
    own, x = LINKS[link], np.linspace(-50, 50, 101)
    end = np.full_like(x, END)
    log_p, by_lower, by_upper, slope = own.between_slopes(-end, x, end)
    np.testing.assert_allclose(log_p, own.log_inverse(x), rtol=1e-12)
    np.testing.assert_allclose(by_upper, own.log_slopes(x)[0], rtol=1e-9)
    np.testing.assert_allclose(by_lower, 0, atol=1e-300)
    np.testing.assert_allclose(slope, -by_upper, rtol=1e-12)
    log_p, by_lower, by_upper, slope = own.between_slopes(x, end, end)
    np.testing.assert_allclose(log_p, own.log_complement(x), rtol=1e-12)
    np.testing.assert_allclose(by_lower, own.log_slopes(x)[1], rtol=1e-9)
    np.testing.assert_allclose(by_upper, 0, atol=1e-300)
    np.testing.assert_allclose(slope, -by_lower, rtol=1e-12)


@pytest.mark.parametrize(("link", "K"), LINK_K)
def test_quantiles_of_uniform_numbers_are_the_least_classes_that_reach_them(link, K):
    family = ordered(link, K)
    _, eta, gaps = grid(family)
    u = np.random.default_rng(2).random(eta.shape)
    cumulative = np.cumsum(family.class_probabilities(eta, **gaps), axis=0)

    np.testing.assert_array_equal(family.quantile(u, eta, **gaps), (u > cumulative[:-1]).sum(axis=0))
    assert np.isnan(family.quantile(u, np.full_like(eta, np.nan), **gaps)).all()


@pytest.mark.parametrize(("link", "K"), LINK_K)
@pytest.mark.parametrize("v", [0.0, 0.04, 1.0, 9.0])
def test_marginal_probabilities_are_averages_over_a_normal_predictor(link, K, v):
    family = ordered(link, K)
    _, m, gaps = grid(family)
    z, weight = np.polynomial.hermite_e.hermegauss(180)
    expected = sum(w * family.class_probabilities(m + np.sqrt(v) * x, **gaps) for x, w in zip(z, weight, strict=True))
    found = family.marginal_class_probabilities(m, np.full(m.shape, v), **gaps)

    np.testing.assert_allclose(found, expected / weight.sum(), rtol=1e-4 if v > 1 else 1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize("K", [2, 3, 4, 5])
def test_the_posteriors_thresholds_are_minus_the_intercept_and_the_gaps_and_back(K):
    family, rng = ordered("logit", K), np.random.default_rng(0)
    values = {"beta": rng.normal(size=(2, 3, 1)), "Intercept": rng.normal(size=(2, 3))}
    values |= {name: rng.lognormal(size=(2, 3)) for name in family.auxiliary}
    reported = family.reported(values)
    one = {name: values[name][1, 2] for name in family.auxiliary}

    assert set(reported) == {"beta", "thresholds"}
    expected = thresholds_of(family, values["Intercept"][1, 2], one)
    np.testing.assert_allclose(reported["thresholds"][1, 2], expected)
    back = family.sampled(reported)
    assert set(back) == set(values)
    for name, own in values.items():
        np.testing.assert_allclose(back[name], own, rtol=1e-12)
    assert family.coordinates["threshold"][(K - 1) // 2] == family.threshold


def response_of(y, weights=None, offset=None):
    return Response(np.asarray(y, dtype=float), offset, weights, None, True, 0.0, 1.0)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_default_priors_are_about_the_thresholds_of_the_observed_shares(link):
    family, quantile = ordered(link, 4), SCIPYS[link].ppf
    y, weights = [0, 1, 1, 2, 3], np.array([2.0, 1, 1, 1, 3])
    shares = np.cumsum([2.5, 2.5, 1.5, 3.5])[:-1] / 10
    c = quantile(shares)

    location, scale = family.location_and_scale(response_of(y, weights, np.full(5, 0.7)))
    assert location == pytest.approx(-c[1] - 0.7)
    assert scale == LINKS[link].scale
    priors = family.auxiliary_priors(1.0, response_of(y, weights))
    expected = {"gaps[little]": np.log(c[1] - c[0]), "gaps[some]": np.log(c[2] - c[1])}
    assert set(priors) == set(expected)
    for name, prior in priors.items():
        assert prior == LogNormal(prior.mu, 1.0)
        assert prior.mu == pytest.approx(expected[name])


@pytest.mark.parametrize("y", [[0, 0, 0], [4, 4, 4], [1, 3, 3], [2, 2]])
def test_classes_that_no_row_has_have_a_share(y):
    family = ordered("logit", 5)
    location, _ = family.location_and_scale(response_of(y))
    priors = family.auxiliary_priors(1.0, response_of(y))

    assert np.isfinite(location)
    assert len(priors) == 3


def test_the_mean_has_one_number_per_class_and_there_is_no_variance():
    family = ordered()
    _, eta, gaps = grid(family)
    assert family.mean_shape == (5,)
    np.testing.assert_array_equal(family.mean(eta, **gaps), family.class_probabilities(eta, **gaps))
    with pytest.raises(ValueError, match="no distances between them, so the response has no variance"):
        family.variance(eta, **gaps)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
@pytest.mark.parametrize(("link", "K"), LINK_K)
def test_the_density_in_pymc_and_its_slope_are_the_familys_far_out(link, K):
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt
    from pymc.pytensorf import rewrite_pregrad

    family = ordered(link, K)
    gaps = {name: np.array(0.7 + 0.4 * at) for at, name in enumerate(family.auxiliary)}
    at = np.tile(np.linspace(-60, 60, 241), (K, 1))
    y = np.broadcast_to(np.arange(K, dtype=float)[:, None], at.shape)
    eta, own = pt.matrix("eta"), {name: pt.scalar(name.replace("[", "_")) for name in family.auxiliary}
    distribution, parameters = family.pymc(pm, eta, own)
    # as PyMC and nutpie do before they take the gradient
    log_density = rewrite_pregrad(pm.logp(distribution.dist(**parameters), y))
    inputs = [eta, *own.values()]
    outputs = [log_density, *pt.grad(log_density.sum(), inputs)]
    found, slope, *by_gap = pytensor.function(inputs, outputs, mode=MODE)(at, *gaps.values())
    expected, score, by_auxiliary = family.derivatives(y, at, **gaps)

    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(slope, score, rtol=1e-8, atol=1e-8)
    for value, name in zip(by_gap, family.auxiliary, strict=True):
        np.testing.assert_allclose(value, by_auxiliary[name].sum(), rtol=1e-7)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_classes_that_pymc_draws_have_their_probabilities(link):
    import pymc as pm

    family, eta = ordered(link), np.array([-2.0, -0.3, 0.4, 1.5])
    gaps = {name: np.array(0.7 + 0.4 * at) for at, name in enumerate(family.auxiliary)}
    distribution, parameters = family.pymc(pm, eta, gaps)
    drawn = pm.draw(distribution.dist(**parameters), 20_000, random_seed=0, mode=MODE)
    expected = family.class_probabilities(eta[:, None], **gaps)[..., 0]
    found = np.array([(drawn == k).mean(axis=0) for k in range(len(CLASSES))])

    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / 20_000))
