"""Moves of coordinates: they leave a known target as it is."""

import numpy as np
import pytest
from scipy import stats

from bayesmixed.sampling.gibbs.proposal import Spread, resample, walk

TARGET = stats.multivariate_normal([0.5, -1.0], [[1.0, 0.6], [0.6, 2.0]])


def log_density(x):
    return TARGET.logpdf(np.moveaxis(x, 0, -1)).reshape(x.shape[1:])


def from_the_target(C, seed=0):
    return TARGET.rvs(C, random_state=seed).T


def assert_still_the_target(x):
    whitened = np.linalg.solve(np.linalg.cholesky(TARGET.cov), x - TARGET.mean[:, None])
    for row in (*whitened, np.square(whitened).sum(axis=0)):
        against = stats.chi2(2).cdf if row.min() >= 0 else stats.norm.cdf
        assert stats.kstest(row, against).pvalue > 1e-3


@pytest.mark.parametrize("n", [1, 8])
def test_isir_leaves_the_target_as_it_is_even_with_a_poor_proposal(n):
    proposal = Spread(np.array([-0.5, 0.5]), np.array([[1.5, 0.0], [-0.3, 1.0]]))
    x, rng = from_the_target(20_000), np.random.default_rng(1)
    for _ in range(3):
        x, moved, density = resample(x, log_density, proposal, n, rng)

    assert_still_the_target(x)
    np.testing.assert_allclose(density, log_density(x))
    assert 0.1 < moved.mean() < 0.95


def test_more_candidates_move_more_often():
    proposal = Spread(np.array([-0.5, 0.5]), np.eye(2) * 1.5)
    x = from_the_target(5_000)
    share = [resample(x, log_density, proposal, n, np.random.default_rng(1))[1].mean() for n in (1, 8)]

    assert share[1] > share[0] + 0.2


def test_isir_never_takes_a_point_without_density():
    x = np.zeros((2, 500))

    def half(points):
        return np.where(points[0] >= 0, log_density(points), -np.inf)

    x, _, _ = resample(x, half, Spread(np.zeros(2), np.eye(2)), 4, np.random.default_rng(0))
    assert (x[0] >= 0).all()


def test_the_random_walk_leaves_the_target_as_it_is():
    step = Spread(np.zeros(2), np.array([[0.8, 0.0], [0.2, 1.0]]))
    x, moved = walk(from_the_target(20_000), log_density, step, 5, np.random.default_rng(2))

    assert_still_the_target(x)
    assert 0.2 < moved.mean() < 0.8


def test_the_density_of_a_proposal_is_a_t_distribution():
    proposal = Spread(np.array([1.0, 2.0]), np.array([[2.0, 0.0], [0.5, 1.0]]))
    x = proposal.sample(np.random.default_rng(0), (7, 3))
    dense = stats.multivariate_t(proposal.mean, proposal.root @ proposal.root.T, df=6)
    difference = proposal.log_density(x) - dense.logpdf(np.moveaxis(x, 0, -1))

    np.testing.assert_allclose(difference, difference[0, 0], rtol=1e-10)


def test_a_fit_has_the_mean_and_the_widened_covariance_of_many_points():
    fitted = Spread.fitted(from_the_target(200_000), 1.2)

    np.testing.assert_allclose(fitted.mean, TARGET.mean, atol=0.02)
    np.testing.assert_allclose(fitted.root @ fitted.root.T, 1.2 * np.array(TARGET.cov), rtol=0.03)
