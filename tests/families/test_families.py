import numpy as np
import pytest
from scipy import stats

from bayesmixed.families import get_family


def test_gaussian_equals_scipy():
    family = get_family("gaussian")
    y, mu, sigma, u = np.array([[-1.0], [0.5], [3.0]]), np.array([0.0, 1.0]), np.array([0.5, 2.0]), np.array([0.1, 0.9])

    np.testing.assert_allclose(family.log_density(y, mu, sigma=sigma), stats.norm.logpdf(y, mu, sigma))
    np.testing.assert_allclose(family.cdf(y, mu, sigma=sigma), stats.norm.cdf(y, mu, sigma))
    np.testing.assert_allclose(family.quantile(u, mu, sigma=sigma), stats.norm.ppf(u, mu, sigma))
    np.testing.assert_allclose(family.variance(mu, sigma=sigma), sigma**2)
    np.testing.assert_array_equal(family.link.inverse(family.link.link(mu)), mu)


# by family: values of the auxiliary parameters
AUXILIARY = {"gaussian": {"sigma": np.array([0.3, 1.0, 4.0])}}
MU = np.array([-2.0, 0.0, 5.0])
U = np.array([[1e-9], [0.01], [0.3], [0.5], [0.9], [1 - 1e-6]])


@pytest.mark.parametrize("name", AUXILIARY)
def test_the_distribution_function_is_the_inverse_of_the_quantile_function(name):
    family, auxiliary = get_family(name), AUXILIARY[name]

    np.testing.assert_allclose(family.cdf(family.quantile(U, MU, **auxiliary), MU, **auxiliary), U + 0 * MU, rtol=1e-8)


@pytest.mark.parametrize("name", AUXILIARY)
def test_the_density_is_the_slope_of_the_distribution_function(name):
    family, auxiliary = get_family(name), AUXILIARY[name]
    y, h = family.quantile(U[1:-1], MU, **auxiliary), 1e-5
    slope = (family.cdf(y + h, MU, **auxiliary) - family.cdf(y - h, MU, **auxiliary)) / (2 * h)

    np.testing.assert_allclose(np.exp(family.log_density(y, MU, **auxiliary)), slope, rtol=1e-6)


@pytest.mark.parametrize("variance", [0.0, 0.01, 1.0, 30.0])
@pytest.mark.parametrize("name", AUXILIARY)
def test_a_widened_response_is_the_average_over_a_normal_linear_predictor(name, variance):
    """The distribution function at many points, the predictor at quantiles of its own."""
    family, auxiliary = get_family(name), AUXILIARY[name]
    nodes = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    mu = family.link.inverse(family.link.link(MU) + np.sqrt(variance) * nodes)
    wide = family.widened(np.full(3, variance), **auxiliary)

    assert set(wide) == set(family.auxiliary)
    for y in np.linspace(-20, 20, 41):
        expected = family.cdf(y, mu, **auxiliary).mean(axis=0)
        np.testing.assert_allclose(family.cdf(y, MU, **wide), expected, atol=1e-5)


@pytest.mark.parametrize("name", AUXILIARY)
def test_no_variance_widens_nothing(name):
    family, auxiliary = get_family(name), AUXILIARY[name]
    wide = family.widened(np.zeros(3), **auxiliary)

    for key, values in auxiliary.items():
        np.testing.assert_allclose(wide[key], values, rtol=1e-15)


def test_variances_of_the_predictor_and_of_the_noise_add_up():
    """One after the other as well as at once; by draw, or by row and draw."""
    family, sigma = get_family("gaussian"), np.array([0.5, 2.0])
    of_rows = np.array([[0.0, 1.0], [4.0, 9.0], [0.25, 16.0]])
    wide = family.widened(of_rows, sigma=sigma)

    np.testing.assert_allclose(family.variance(np.zeros((3, 2)), **wide), of_rows + sigma**2)
    twice = family.widened(of_rows[::-1], **wide)
    np.testing.assert_allclose(twice["sigma"], family.widened(of_rows + of_rows[::-1], sigma=sigma)["sigma"])
    np.testing.assert_array_equal(sigma, [0.5, 2.0])


@pytest.mark.parametrize(
    ("name", "link", "message"),
    [
        ("poisson", None, "family must be one of 'gaussian', got 'poisson'"),
        ("gaussian", "log", "link of family 'gaussian' must be None or one of 'identity', got 'log'"),
    ],
)
def test_unknown_families_and_links_list_the_known(name, link, message):
    with pytest.raises(ValueError, match=message):
        get_family(name, link)
