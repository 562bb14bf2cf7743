import numpy as np
import pytest
from scipy import stats

from bayesmixed.families import get_family


def test_gaussian_equals_scipy():
    family = get_family("gaussian")
    y, mu, sigma, u = np.array([[-1.0], [0.5], [3.0]]), np.array([0.0, 1.0]), np.array([0.5, 2.0]), np.array([0.1, 0.9])

    np.testing.assert_allclose(family.log_density(y, mu, sigma=sigma), stats.norm.logpdf(y, mu, sigma))
    np.testing.assert_allclose(family.quantile(u, mu, sigma=sigma), stats.norm.ppf(u, mu, sigma))
    np.testing.assert_allclose(family.variance(mu, sigma=sigma), sigma**2)
    np.testing.assert_array_equal(family.link.inverse(family.link.link(mu)), mu)


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
