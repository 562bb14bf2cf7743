"""Each family against SciPy's distribution, and its own functions against each other."""

import numpy as np
import pytest
from scipy import integrate, stats

from bayesmixed.families import CLASS_FAMILIES, FAMILIES, get_class_family, get_family
from bayesmixed.families.base import Response
from bayesmixed.families.links import LINKS
from bayesmixed.families.student import quantile_of_rows

ETA = np.array([-2.0, -0.3, 0.0, 1.5, 3.0])
TRIALS = np.array([[1.0], [3.0], [20.0], [7.0]])
# by family: values of the auxiliary parameters, and SciPy's distribution given the mean of the link and these
CASES = {
    "gaussian": ({"sigma": [0.3, 1, 4, 0.1, 2]}, lambda mu, sigma: stats.norm(loc=mu, scale=sigma)),
    "t": ({"sigma": [0.3, 1, 4, 0.1, 2], "nu": [2.5, 4, 30, 3, 8]}, lambda mu, sigma, nu: stats.t(nu, mu, sigma)),
    "lognormal": ({"sigma": [0.3, 1, 0.5, 0.1, 2]}, lambda mu, sigma: stats.lognorm(sigma, scale=np.exp(mu))),
    "gamma": ({"alpha": [0.3, 1, 4, 100, 2]}, lambda mu, alpha: stats.gamma(alpha, scale=mu / alpha)),
    "beta": ({"kappa": [0.8, 3, 40, 5, 9]}, lambda mu, kappa: stats.beta(mu * kappa, (1 - mu) * kappa)),
    "poisson": ({}, stats.poisson),
    "negativebinomial": ({"alpha": [0.3, 1, 4, 100, 2]}, lambda mu, alpha: stats.nbinom(alpha, alpha / (alpha + mu))),
    "binomial": ({}, lambda mu, trials: stats.binom(trials.astype(int), mu)),
    "bernoulli": ({}, stats.bernoulli),
}
KNOWN = {name: family for name, family in (FAMILIES | CLASS_FAMILIES).items() if name != "cumulative"}  # has K classes
FAMILY_LINKS = [(name, link) for name in CASES for link in KNOWN[name].links]
U = np.array([[1e-6], [0.01], [0.4], [0.99]])


def find(name, link=None):
    return get_family(name, link) if name in FAMILIES else get_class_family(name, link)


def case(name, link):
    """Family, its further arguments, and SciPy's distribution at `ETA`."""
    family = find(name, link)
    values, make = CASES[name]
    auxiliary = {key: np.array(value, dtype=float) for key, value in values.items()}
    if family.counts_trials:
        auxiliary["trials"] = TRIALS
    return family, auxiliary, make(family.link.inverse(ETA), **auxiliary)


def test_every_family_is_tested():
    assert set(CASES) == set(KNOWN)


@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_a_family_equals_scipys_distribution(name, link):
    family, auxiliary, scipys = case(name, link)
    y = scipys.ppf(U)
    log_density = scipys.logpmf if family.discrete else scipys.logpdf

    np.testing.assert_allclose(family.log_density(y, ETA, **auxiliary), log_density(y), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(family.cdf(y, ETA, **auxiliary), scipys.cdf(y), rtol=1e-9)
    np.testing.assert_allclose(family.quantile(U, ETA, **auxiliary), y, rtol=1e-9, atol=1e-300)
    shape = np.broadcast_shapes(ETA.shape, *(np.shape(values) for values in auxiliary.values()))
    np.testing.assert_allclose(family.mean(ETA, **auxiliary), np.broadcast_to(scipys.mean(), shape), rtol=1e-9)
    np.testing.assert_allclose(family.variance(ETA, **auxiliary), np.broadcast_to(scipys.var(), shape), rtol=1e-6)


def one_predictor(name, link, at, u):
    """Family, responses at levels `u`, linear predictors, both (n, 1), and auxiliary parameters, at entry `at`."""
    family = find(name, link)
    auxiliary = {key: np.array(values[at : at + 1], dtype=float) for key, values in CASES[name][0].items()}
    if family.counts_trials:
        auxiliary["trials"] = np.full((len(u), 1), 7.0)
    # a share whose complement has no digits is none to average over
    eta = np.full((len(u), 1), min(ETA[at], 0.5) if name == "beta" else ETA[at])
    return family, family.quantile(u[:, None], eta, **auxiliary), eta, auxiliary


@pytest.mark.parametrize("at", range(len(ETA)))
@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_the_derivatives_are_those_of_the_log_density(name, link, at):
    family, y, eta, auxiliary = one_predictor(name, link, at, np.array([1e-6, 0.01, 0.4, 0.99]))
    h = 1e-6
    log_density, score, by_auxiliary = family.derivatives(y, eta, **auxiliary)
    lacking = family.log_density(y, eta, **auxiliary) - log_density
    plus, minus = (family.log_density(y, eta + sign * h, **auxiliary) for sign in (1, -1))

    assert set(by_auxiliary) == set(family.auxiliary)
    np.testing.assert_allclose(score, (plus - minus) / (2 * h), rtol=1e-5, atol=1e-6)
    changed = [(eta + 0.7, auxiliary)]
    for key in family.auxiliary:
        step = h * auxiliary[key]
        plus, minus = (family.log_density(y, eta, **auxiliary | {key: auxiliary[key] + s * step}) for s in (1, -1))
        np.testing.assert_allclose(by_auxiliary[key], (plus - minus) / (2 * step), rtol=1e-5, atol=1e-5)
        changed.append((eta, auxiliary | {key: 1.3 * auxiliary[key]}))
    for elsewhere, others in changed:  # what is left out depends on y and trials alone
        moved, _, _ = family.derivatives(y, elsewhere, **others)
        whole = family.log_density(y, elsewhere, **others)
        np.testing.assert_allclose(whole - moved, lacking, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("at", range(len(ETA)))
@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_weights_are_the_curvature_of_the_log_density_or_its_expectation(name, link, at):
    family, y, eta, auxiliary = one_predictor(name, link, at, (np.arange(4_000) + 0.5) / 4_000)
    h = 1e-4
    weight = family.weight(y, eta, **auxiliary)
    plus, minus = (family.derivatives(y, eta + sign * h, **auxiliary)[1] for sign in (1, -1))

    assert (weight >= 0).all()
    # iterated weighted least squares weighs t's rows by what pulls them, whose mean is not the curvature's
    rtol = 0.8 if name == "t" else 2e-2
    np.testing.assert_allclose(weight.mean(), -(plus - minus).mean() / (2 * h), rtol=rtol)
    assert weight.mean() / family.concentration(**auxiliary) > 0


@pytest.mark.parametrize("name", [name for name in CASES if KNOWN[name].summable])
def test_rows_that_may_be_summed_are_as_many_of_their_mean(name):
    family, eta = find(name), ETA[:, None]
    y = np.array([0.0, 1.0, 1.0, 0.0] if name == "bernoulli" else [0.0, 2.0, 5.0, 1.0])
    trials, weights = np.array([1.0, 4.0, 5.0, 2.0]), np.array([1.0, 0.3, 2.0, 1.0])
    auxiliary = {"trials": trials} if family.counts_trials else {}
    mean = {key: np.average(values, weights=weights) for key, values in auxiliary.items()}

    def of(y, auxiliary):
        return [*family.derivatives(y, eta, **auxiliary)[:2], family.weight(y, eta, **auxiliary)]

    for each, together in zip(of(y, auxiliary), of(np.average(y, weights=weights), mean), strict=True):
        np.testing.assert_allclose(weights.sum() * together[:, 0], np.broadcast_to(each, (5, 4)) @ weights, rtol=1e-12)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_slopes_and_curvatures_of_log_probabilities_are_finite_differences(link):
    own, eta, h = LINKS[link], np.linspace(-6, 3, 50), 1e-5
    slopes, curvatures = own.log_slopes(eta), own.log_curvatures(eta)
    for function, slope, curvature in zip((own.log_inverse, own.log_complement), slopes, curvatures, strict=True):
        np.testing.assert_allclose(slope, (function(eta + h) - function(eta - h)) / (2 * h), rtol=1e-6, atol=1e-8)
        second = -(function(eta + 1e-3) - 2 * function(eta) + function(eta - 1e-3)) / 1e-6
        np.testing.assert_allclose(curvature, second, rtol=1e-3, atol=1e-6)
    separately = (own.log_inverse(eta), own.log_complement(eta), *slopes)
    for together, alone in zip(own.logs(eta), separately, strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-13)
    for far in (np.array([-40.0, 40.0]), np.array([-800.0, 800.0])):
        assert all(np.isfinite(values).all() for values in (*own.log_slopes(far), *own.log_curvatures(far)))


@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_the_distribution_function_is_zero_below_the_support_and_one_above(name, link):
    family, auxiliary, _ = case(name, link)

    np.testing.assert_allclose(family.cdf(np.full((4, 1), -1e9), ETA, **auxiliary), 0, atol=1e-12)
    np.testing.assert_allclose(family.cdf(np.full((4, 1), 1e9), ETA, **auxiliary), 1, atol=1e-12)


@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
@pytest.mark.parametrize("variance", [0.0, 0.04, 1.0, 9.0])
def test_the_marginal_mean_is_the_average_over_a_normal_predictor(name, link, variance):
    family, auxiliary, _ = case(name, link)
    z, weight = np.polynomial.hermite_e.hermegauss(180)
    expected = sum(w * family.mean(ETA + np.sqrt(variance) * x, **auxiliary) for x, w in zip(z, weight, strict=True))
    found = family.marginal_mean(ETA, np.full(5, variance), **auxiliary)

    np.testing.assert_allclose(found, expected / weight.sum(), rtol=1e-5 if variance > 1 else 1e-10, atol=1e-14)


@pytest.mark.parametrize("link", ["logit", "cloglog", "probit"])
@pytest.mark.parametrize("sd", [0.1, 1.0, 5.0, 12.0])
def test_a_marginal_probability_equals_quadrature(link, sd):
    inverse = LINKS[link].inverse
    for m in (-5.0, -0.5, 3.0):
        points = [z for z in (0.0, -m / sd) if abs(z) < 12]
        expected = integrate.quad(
            lambda z, m=m: float(inverse(np.array(m + sd * z))) * stats.norm.pdf(z), -12, 12, points=points, limit=400
        )[0]
        assert LINKS[link].marginal(np.array(m), np.array(sd**2)) == pytest.approx(expected, abs=1e-9)
        assert LINKS[link].marginal_complement(np.array(m), np.array(sd**2)) == pytest.approx(1 - expected, abs=1e-9)


@pytest.mark.parametrize("link", LINKS)
def test_a_link_and_its_inverse_undo_each_other(link):
    mu = np.array([1e-9, 0.01, 0.5, 0.9, 1 - 1e-9])

    np.testing.assert_allclose(LINKS[link].inverse(LINKS[link].link(mu)), mu, rtol=1e-6)


@pytest.mark.parametrize("link", ["logit", "cloglog", "probit"])
def test_log_probabilities_keep_their_digits_in_both_tails(link):
    """Where neither is rounded they are the plain logarithms; far out they neither overflow nor become -inf early."""
    own, eta = LINKS[link], np.linspace(-4, 1.2, 40)
    np.testing.assert_allclose(own.log_inverse(eta), np.log(own.inverse(eta)), rtol=1e-9)
    np.testing.assert_allclose(own.log_complement(eta), np.log1p(-own.inverse(eta)), rtol=1e-9)
    np.testing.assert_allclose(own.complement(3 * eta), np.exp(own.log_complement(3 * eta)), rtol=1e-12)
    h = 1e-5
    slope = (own.inverse(eta + h) - own.inverse(eta - h)) / (2 * h)
    np.testing.assert_allclose(own.slope(own.inverse(eta)), slope, rtol=1e-6)
    assert np.isfinite(own.log_inverse(np.array([-50.0, 50.0]))).all()
    assert own.log_inverse(np.array(-30.0)) < -25
    assert np.isfinite(own.log_complement(np.array(-50.0)))


@pytest.mark.parametrize("link", ["logit", "cloglog", "probit"])
def test_the_latent_variance_is_that_of_the_density_behind_the_inverse(link):
    own = LINKS[link]
    x = np.linspace(-60, 60, 2_000_001)
    density = np.diff(own.inverse(x))
    middle = (x[1:] + x[:-1]) / 2
    mean = density @ middle

    assert density @ (middle - mean) ** 2 == pytest.approx(own.latent_variance, rel=1e-6)


@pytest.mark.parametrize("variance", [0.0, 0.01, 1.0, 30.0])
@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.collapses])
def test_a_widened_response_is_the_average_over_a_normal_linear_predictor(name, variance):
    """The distribution function at many points, the predictor at quantiles of its own."""
    family, auxiliary, _ = case(name, None)
    nodes = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    wide = family.widened(np.full(5, variance), **auxiliary)

    assert set(wide) == set(family.auxiliary)
    for y in np.linspace(-20, 20, 21):
        expected = family.cdf(y, ETA + np.sqrt(variance) * nodes, **auxiliary).mean(axis=0)
        np.testing.assert_allclose(family.cdf(y, ETA, **wide), expected, atol=2e-5)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.collapses])
def test_the_density_is_the_normal_one_of_the_working_response_times_its_slope(name):
    family, auxiliary, scipys = case(name, None)
    y = scipys.ppf([[0.1], [0.7]])
    working = stats.norm.logpdf(family.working(y), ETA, auxiliary["sigma"]) + family.log_jacobian(y)

    np.testing.assert_allclose(family.log_density(y, ETA, **auxiliary), working)


def response_of(y, offset=None, weights=None, trials=None, centred=True):
    y = np.asarray(y, dtype=float)
    location, scale = (np.average(y, weights=weights), y.std()) if centred else (0.0, np.sqrt(np.mean(y**2)))
    return Response(y, offset, weights, trials, centred, float(location), float(scale))


@pytest.mark.parametrize(
    ("name", "link", "response", "expected"),
    [
        ("gaussian", None, response_of([1, 2, 6]), (3, np.std([1, 2, 6]))),
        ("gaussian", None, response_of([3, 4], centred=False), (0, np.sqrt(12.5))),
        ("t", None, response_of([1, 2, 3, 4, 1000]), (3, 1.4826)),
        ("t", None, response_of([5, 5, 5, 9]), (5, np.std([5, 5, 5, 9]))),
        ("t", None, response_of([3, -4, 5], centred=False), (0, 4 * 1.4826)),
        ("gamma", None, response_of([1, 2, 6]), (np.log(3), 1)),
        ("beta", "logit", response_of([0.2, 0.6]), (np.log(0.4 / 0.6), 1)),
        ("beta", "probit", response_of([0.2, 0.6]), (stats.norm.ppf(0.4), 1 / 1.6)),
        ("poisson", None, response_of([0, 0, 0]), (np.log(0.5 / 3), 1)),
        ("poisson", None, response_of([1, 3], offset=np.log([2.0, 6.0])), (np.log(4.5 / 8), 1)),
        ("negativebinomial", None, response_of([0, 5], weights=np.array([3.0, 1.0])), (np.log(5.5 / 4), 1)),
        ("binomial", "logit", response_of([0, 3], trials=np.array([4.0, 5.0])), (np.log(3.5 / 6.5), 1)),
        ("binomial", "probit", response_of([0, 3], trials=np.array([4.0, 5.0])), (stats.norm.ppf(0.35), 1 / 1.6)),
        ("binomial", "cloglog", response_of([0, 0], trials=np.array([4.0, 5.0])), (np.log(-np.log(0.95)), 1)),
        ("bernoulli", "logit", response_of([0, 1, 1, 1], weights=np.array([3.0, 1, 1, 1])), (0, 1)),
    ],
)
def test_default_priors_are_where_the_pooled_mean_is(name, link, response, expected):
    np.testing.assert_allclose(find(name, link).location_and_scale(response), expected, atol=1e-14)


def test_an_exposure_of_any_unit_does_not_overflow():
    response = response_of([1, 3], offset=np.array([1000.0, 1001.0]))

    assert get_family("poisson").location_and_scale(response)[0] == pytest.approx(np.log(4.5 / (1 + np.e)) - 1000)


def test_quantiles_of_weighted_rows_are_those_of_repeated_ones():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=40), rng.integers(1, 4, 40)

    expected = np.quantile(np.repeat(values, weights), 0.5)
    assert quantile_of_rows(values, weights.astype(float), 0.5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "y", "trials", "message"),
    [
        ("poisson", [0, 2.5, -1], None, r"family='poisson' needs non-negative integers; row 1 of y is 2.5 \(2 rows"),
        ("negativebinomial", [0, 2, -1], None, "needs non-negative integers; row 2 of y is -1"),
        ("gamma", [1, 0, 2], None, "family='gamma' needs positive numbers; row 1 of y is 0"),
        ("lognormal", [1, -3, 2], None, "family='lognormal' needs positive numbers; row 1 of y is -3"),
        ("beta", [0.1, 0.5, 1], None, "needs numbers between 0 and 1, both excluded; row 2 of y is 1; for shares of"),
        ("beta", [0.1, 0.5, 1.2], None, "family='beta' needs numbers between 0 and 1"),
        ("binomial", [1, 2, 5], [3, 3, 4], "needs at most as many successes as trials; row 2 of y is 5; y holds succ"),
        ("binomial", [0.3, 1, 1], [3, 3, 4], "needs non-negative integers; row 0 of y is 0.3"),
        ("binomial", [0, 1, 1], [3, 0, 4], "a whole number of trials, at least 1, in each row; row 1 of the trials is"),
        ("binomial", [0, 1, 1], [3, 2.5, 4], "row 1 of the trials is 2.5"),
        ("gamma", [2, 2, 2], None, "y is constant"),
        ("t", [2, 2, 2], None, "y is constant"),
    ],
)
def test_what_is_outside_of_the_support_is_refused_with_its_row(name, y, trials, message):
    trials = None if trials is None else np.array(trials, dtype=float)
    with pytest.raises(ValueError, match=message):
        get_family(name).check_fit(np.array(y, dtype=float), trials)


@pytest.mark.parametrize(
    ("name", "link", "message"),
    [
        ("zip", None, "family must be one of 'gaussian', 't', 'lognormal', .*, got 'zip' \\(zero-inflated"),
        ("hurdle_poisson", None, "got 'hurdle_poisson' \\(hurdle families are not offered; fit one model"),
        ("bernoulli", None, "got 'bernoulli' .that family belongs to MixedModelClassifier"),
        ("student", None, r"got 'student' \(write family='t'\)"),
        ("categorical", None, "nominal responses are not offered"),
        ("ordinal", None, "for ordered classes write family='cumulative'"),
        ("logistic", None, "for two classes write family='bernoulli'"),
        ("gaussian", "log", "link of family 'gaussian' must be None or 'identity', got 'log'"),
        ("poisson", "logit", "link of family 'poisson' must be None or 'log', got 'logit'"),
    ],
)
def test_unknown_families_and_links_list_the_known(name, link, message):
    with pytest.raises(ValueError, match=message):
        get_family(name, link)
