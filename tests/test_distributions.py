"""The quantile functions of the priors against SciPy's distribution functions."""

import numpy as np
import pytest
from scipy import stats

from bayesmixed import (
    Exponential,
    Gamma,
    HalfNormal,
    HalfStudentT,
    InverseGamma,
    LogNormal,
    Normal,
    StudentT,
)
from bayesmixed.distributions import Prior, Truncated


class FoldedT:
    """Student's t about zero, restricted to positive values, which SciPy lacks; exact in both tails."""

    def __init__(self, nu, scale):
        self.nu, self.scale = nu, scale

    def cdf(self, x):
        square = np.square(x / self.scale)
        return stats.beta(0.5, self.nu / 2).cdf(square / (self.nu + square))

    def sf(self, x):
        return 2 * stats.t(self.nu, scale=self.scale).sf(x)


PAIRS = [
    (Normal(1, 2), stats.norm(1, 2)),
    (StudentT(3, 1, 2), stats.t(3, 1, 2)),
    (StudentT(1, -1, 0.5), stats.t(1, -1, 0.5)),
    (HalfNormal(3), stats.halfnorm(scale=3)),
    (HalfStudentT(4, 2), FoldedT(4, 2)),
    (HalfStudentT(1, 56), FoldedT(1, 56)),
    (HalfStudentT(1e6, 2), FoldedT(1e6, 2)),
    (Exponential(0.1), stats.expon(scale=10)),
    (LogNormal(2, 1.5), stats.lognorm(1.5, scale=np.exp(2))),
    (Gamma(2, 0.1), stats.gamma(2, scale=10)),
    (Gamma(0.5, 3), stats.gamma(0.5, scale=1 / 3)),
    (InverseGamma(0.5, 0.5), stats.invgamma(0.5, scale=0.5)),
    (InverseGamma(3, 2), stats.invgamma(3, scale=2)),
]
DIGITS = 1e-10  # relative; SciPy's t has eleven digits before 1.17
each_prior = pytest.mark.parametrize(("prior", "scipys"), PAIRS, ids=[repr(prior) for prior, _ in PAIRS])


@each_prior
def test_quantile_inverts_the_distribution_function(prior, scipys):
    u = np.linspace(0.001, 0.999, 201)

    np.testing.assert_allclose(scipys.cdf(prior.quantile(u)), u, rtol=DIGITS)


@each_prior
def test_quantile_keeps_its_digits_in_both_tails(prior, scipys):
    from_zero = np.array([2.0**-54, 1e-12, 1e-8, 1e-4])
    to_one = 1 - np.array([2.0**-53, 1e-12, 1e-8, 1e-4])

    np.testing.assert_allclose(scipys.cdf(prior.quantile(from_zero)), from_zero, rtol=DIGITS)
    np.testing.assert_allclose(scipys.sf(prior.quantile(to_one)), 1 - to_one, rtol=DIGITS)


@each_prior
def test_slope_of_the_quantile_is_one_over_the_density(prior, scipys):
    u, step = np.linspace(0.05, 0.95, 19), 1e-6
    slope = (prior.quantile(u + step) - prior.quantile(u - step)) / (2 * step)

    np.testing.assert_allclose(slope, np.exp(-prior.log_density(prior.quantile(u))), rtol=1e-6)


@each_prior
def test_quantile_is_elementwise(prior, scipys):
    u = np.array([[0.1, 0.2, 0.3], [0.7, 0.8, 0.9]])

    assert prior.quantile(u).shape == (2, 3)
    np.testing.assert_array_equal(prior.quantile(u)[1], prior.quantile(u[1]))


def test_every_prior_is_tested():
    assert {type(prior) for prior, _ in PAIRS} == set(Prior.__subclasses__()) - {Truncated}


@each_prior
def test_a_prior_of_positive_support_has_a_distribution_function(prior, scipys):
    if not prior.positive:
        with pytest.raises(NotImplementedError):
            prior.cdf(np.ones(1))
        return
    x = prior.quantile(np.array([1e-6, 0.1, 0.5, 0.9, 0.999]))

    np.testing.assert_allclose(prior.cdf(x), scipys.cdf(x), rtol=1e-8)
    assert prior.cdf(np.array(-1.0)) == 0


@pytest.mark.parametrize("inner", [Gamma(2, 0.1), Exponential(0.5), HalfNormal(3), LogNormal(0, 1), InverseGamma(1, 2)])
def test_a_truncated_prior_is_the_rest_of_the_whole_one(inner):
    prior = Truncated(inner, 1.0)
    u = np.linspace(0.01, 0.99, 25)
    x = prior.quantile(u)

    assert (x > 1).all()
    np.testing.assert_allclose((inner.cdf(x) - inner.cdf(1.0)) / (1 - inner.cdf(1.0)), u)
    np.testing.assert_allclose(prior.log_density(x), inner.log_density(x) - np.log(1 - inner.cdf(1.0)))
    assert prior.log_density(np.array(0.9)) == -np.inf
