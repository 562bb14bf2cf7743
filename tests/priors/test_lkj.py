"""The vine of LKJ's correlations, against their density and its marginals."""

import numpy as np
import pytest
from scipy import stats

from bayesmixed.priors import lkj

SIZES = [1, 2, 3, 5]


def factor_of(rows):
    L = np.zeros((len(rows), len(rows)))
    for k, row in enumerate(rows):
        L[k, : k + 1] = row
    return L


def correlations(m, v, eta):
    """Correlation matrix at v, and the log prior density of v but for a constant."""
    numbers, densities = iter(v), []

    def partial(k, i):
        rho, root, log_density = lkj.from_unbounded(next(numbers), lkj.alpha(i, m, eta))
        densities.append(log_density)
        return rho, root**2

    L = factor_of(lkj.cholesky_rows(m, partial))
    return L @ L.T, sum(densities)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("eta", [0.7, 1.0, 4.0])
def test_the_density_of_the_coordinates_is_lkjs_with_the_jacobian(m, eta):
    """det(R)^(eta - 1) |dR / dv|, but for a constant: differences between points agree."""
    pairs = np.tril_indices(m, -1)
    difference = []
    for v in np.random.default_rng(m).normal(size=(4, len(pairs[0]))):
        R, log_density = correlations(m, v, eta)
        steps = 1e-5 * np.eye(len(v))
        slopes = [(correlations(m, v + h, eta)[0] - correlations(m, v - h, eta)[0])[pairs] / 2e-5 for h in steps]
        log_jacobian = np.linalg.slogdet(np.array(slopes))[1] if m > 1 else 0.0
        difference.append(log_density - (eta - 1) * np.linalg.slogdet(R)[1] - log_jacobian)

    np.testing.assert_allclose(np.diag(R), 1.0, rtol=1e-12)
    assert np.ptp(difference) < 1e-7


@pytest.mark.parametrize("m", SIZES)
def test_beta_variables_make_correlations_with_lkjs_marginal(m):
    """Each correlation is 2 Beta(a, a) - 1 with a = eta - 1 + m / 2 (Lewandowski et al., 2009)."""
    rng, eta, n = np.random.default_rng(0), 1.5, 2000

    def partial(k, i):
        shape = lkj.alpha(i, m, eta)
        return lkj.from_beta(rng.beta(shape, shape, n))

    rows = lkj.cholesky_rows(m, partial)
    L = np.zeros((m, m, n))
    for k, row in enumerate(rows):
        for i, entry in enumerate(row):
            L[k, i] = entry
    R = (L[:, None] * L[None]).sum(axis=2)
    marginal = stats.beta(eta - 1 + m / 2, eta - 1 + m / 2, loc=-1, scale=2)

    np.testing.assert_allclose(R[range(m), range(m)], 1.0, rtol=1e-12)
    for k, i in zip(*np.tril_indices(m, -1), strict=True):
        assert stats.kstest(R[k, i], marginal.cdf).pvalue > 1e-3


def test_far_out_the_root_of_what_is_left_does_not_vanish():
    """There rho rounds to 1, and what is left of two of them underflows."""
    rho, root, log_density = lkj.from_unbounded(np.array([0.5, 250.0]), 1.0)
    rows = lkj.cholesky_rows(3, lambda k, i: (rho, root), sqrt=lambda value: value)

    np.testing.assert_allclose(root[0], np.sqrt(1 - rho[0] ** 2), rtol=1e-12)
    assert rho[1] == 1.0
    assert rows[2][2][1] > 0
    assert rows[2][2][1] ** 2 == 0
    assert np.isfinite(log_density).all()
