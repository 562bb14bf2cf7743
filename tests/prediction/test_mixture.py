"""Quantiles of mixtures of normals against a root finder on the distribution function."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri

from bayesmixed.prediction.mixture import mixture_quantiles
from helpers.made import GAUSSIAN

P = np.array([1e-6, 1e-3, 0.05, 0.25, 0.5, 0.6, 0.95, 0.999, 1 - 1e-6])


def quantiles(mu, sigma, p=P):
    """Of one mixture, or of one per row of `mu`; shape (..., len(p))."""
    mu, sigma = np.asarray(mu, dtype=float), np.asarray(sigma, dtype=float)
    found = mixture_quantiles(GAUSSIAN, np.atleast_2d(mu), {"sigma": sigma}, np.atleast_1d(p))
    return found.reshape(*mu.shape[:-1], -1)


def cdf(t, mu, sigma):
    return np.mean(ndtr((np.asarray(t)[..., None] - mu) / sigma), axis=-1)


def twin(mu, sigma, p):
    """Brent's method; above the median on the upper tail, which does not lose digits there."""
    components = mu + sigma * ndtri(p)
    low, high = components.min(), components.max()
    if low == high:
        return low

    def excess(t):
        if p < 0.5:
            return np.mean(ndtr((t - mu) / sigma)) - p
        return 1 - p - np.mean(ndtr((mu - t) / sigma))

    margin = 1e-9 * (high - low)
    return brentq(excess, low - margin, high + margin, xtol=1e-12, rtol=1e-14, maxiter=1000)


def spread(mu, sigma):
    return np.sqrt(np.var(mu) + np.mean(np.square(sigma)))


def two(gap, n=1, share=0.5):
    """Two components of sd 1, `gap` apart, the lower with this share."""
    lower = round(2 * n * share)
    return np.repeat([-gap / 2, gap / 2], [lower, 2 * n - lower]), np.ones(2 * n)


def random(n, seed=0, sigma=lambda rng, n: rng.uniform(0.8, 1.2, n)):
    rng = np.random.default_rng(seed)
    return rng.normal(3, 1, n), sigma(rng, n)


CASES = {
    "one draw": (np.array([3.0]), np.array([2.0])),
    "equal components": (np.full(50, -2.0), np.full(50, 0.5)),
    "a posterior": random(4000),
    "few draws": random(7),
    "two that touch": two(3),
    "two that touch, unequal": two(3, n=10, share=0.3),
    "sigma varies": random(1000, sigma=lambda rng, n: rng.uniform(0.2, 3, n)),
    "skewed": (np.random.default_rng(1).exponential(2, 2000), np.full(2000, 1.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_quantiles_equal_brents(case):
    """What the last step of Newton's method leaves is of the order of its square, 1e-6 standard deviations."""
    mu, sigma = CASES[case]
    expected = [twin(mu, sigma, p) for p in P]

    np.testing.assert_allclose(quantiles(mu, sigma), expected, rtol=0, atol=5e-6 * spread(mu, sigma))


@pytest.mark.parametrize("case", CASES)
def test_the_distribution_function_returns_the_probabilities(case):
    mu, sigma = CASES[case]
    p = np.linspace(0.01, 0.99, 50)

    np.testing.assert_allclose(cdf(quantiles(mu, sigma, p), mu, sigma), p, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_quantiles_increase(case):
    p = np.concatenate([np.geomspace(1e-9, 1e-2, 40), np.linspace(0.02, 0.98, 60), 1 - np.geomspace(1e-2, 1e-9, 40)])

    assert np.all(np.diff(quantiles(*CASES[case], p)) > 0)


@pytest.mark.parametrize("gap", [20, 100, 1e4])
def test_a_median_in_a_gap_is_between_the_components(gap):
    """Half of the probability is on each side, and nearly none in between: every point there is a median."""
    mu, sigma = two(gap, n=50)
    median = quantiles(mu, sigma, 0.5)[0]

    assert -gap / 2 < median < gap / 2
    assert cdf(median, mu, sigma) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_quantiles_move_with_the_response(case):
    mu, sigma = CASES[case]
    scale = spread(mu, sigma)

    np.testing.assert_allclose(quantiles(100 + 3 * mu, 3 * sigma), 100 + 3 * quantiles(mu, sigma), atol=1e-5 * scale)
    np.testing.assert_allclose(quantiles(-mu, sigma, 1 - P), -quantiles(mu, sigma), atol=2e-6 * scale)


def test_the_order_of_draws_does_not_matter():
    mu, sigma = CASES["sigma varies"]

    np.testing.assert_allclose(quantiles(mu[::-1], sigma[::-1]), quantiles(mu, sigma), rtol=1e-9)


def test_rows_are_mixtures_of_their_own():
    """Slow rows and fast ones together; sigma by draw, or by row and draw."""
    rng = np.random.default_rng(2)
    mu = rng.normal(size=(6, 300)) * np.array([0, 0.1, 1, 5, 1, 2])[:, None]
    mu[5] = np.where(rng.uniform(size=300) < 0.2, -4.0, 4.0)
    by_draw = rng.uniform(0.5, 2, 300)
    by_row = by_draw * np.array([1, 2, 0.5, 1, 3, 1])[:, None]

    np.testing.assert_allclose(quantiles(mu, by_draw), [quantiles(row, by_draw) for row in mu], rtol=1e-12)
    alone = [quantiles(row, sigma) for row, sigma in zip(mu, by_row, strict=True)]
    np.testing.assert_allclose(quantiles(mu, by_row), alone, rtol=1e-12)


@pytest.mark.parametrize("where", ["some draws", "all draws", "sigma"])
def test_nan_stays_in_its_row(where):
    rng = np.random.default_rng(3)
    mu, sigma = rng.normal(size=(4, 200)), rng.uniform(0.5, 2, (4, 200))
    expected = quantiles(mu, sigma)
    {"some draws": mu[2, 5:7], "all draws": mu[2], "sigma": sigma[2, :1]}[where][:] = np.nan
    found = quantiles(mu, sigma)

    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(found[[0, 1, 3]], expected[[0, 1, 3]], rtol=1e-12)


def test_no_rows_have_no_quantiles():
    assert mixture_quantiles(GAUSSIAN, np.empty((0, 5)), {"sigma": np.ones(5)}, P).shape == (0, len(P))


NARROW = {
    **{f"two, {gap} apart": two(gap, n=10, share=0.3) for gap in (10, 20, 100, 1000, 10_000)},
    **{
        f"five, {gap} apart": (
            np.repeat(np.arange(5.0) * gap, [17, 22, 20, 19, 22]) + 0.3 * random(100)[0],
            np.ones(100),
        )
        for gap in (10, 100)
    },
    "sigma varies a lot": random(4000, sigma=lambda rng, n: np.exp(2 * rng.normal(size=n))),
    "sigma varies very much": random(4000, sigma=lambda rng, n: np.exp(4 * rng.normal(size=n))),
    "one draw far off": (np.append(random(1499)[0], 1000.0), np.ones(1500)),
}


@pytest.mark.parametrize("case", NARROW)
def test_quantiles_of_components_that_are_narrow_equal_brents(case):
    """To 1e-6 sd, and the probability to the same precision: what is small beside the sd is not beside a component."""
    mu, sigma = NARROW[case]
    found = quantiles(mu, sigma)

    np.testing.assert_allclose(found, [twin(mu, sigma, p) for p in P], rtol=0, atol=1e-6 * spread(mu, sigma))
    np.testing.assert_allclose(cdf(found, mu, sigma), P, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", NARROW)
def test_quantiles_of_components_that_are_narrow_increase(case):
    p = np.concatenate([np.geomspace(1e-9, 1e-2, 40), np.linspace(0.02, 0.98, 60), 1 - np.geomspace(1e-2, 1e-9, 40)])

    assert np.all(np.diff(quantiles(*NARROW[case], p)) >= 0)


@pytest.mark.parametrize("p", [1e-300, 1e-100, 1e-30, 1e-12])
def test_quantiles_far_out_in_the_lower_tail_are_those_of_the_distribution_function(p):
    """Where Newton's steps hardly get shorter; against bisection of the log of the distribution function."""
    for mu, sigma in (random(500), two(20, n=10, share=0.3), (np.append(np.zeros(99), 10.0), np.ones(100))):
        low, high = -2000.0, 100.0
        for _ in range(200):
            middle = (low + high) / 2
            below = logsumexp(log_ndtr((middle - mu) / sigma)) - np.log(len(mu)) < np.log(p)
            low, high = (middle, high) if below else (low, middle)
        found = mixture_quantiles(GAUSSIAN, mu[None], {"sigma": sigma[None]}, np.array([p]))[0, 0]

        assert found == pytest.approx(middle, abs=1e-4 * np.min(sigma))
