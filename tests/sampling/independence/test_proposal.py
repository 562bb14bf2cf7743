"""Modes, the warp, the t mixture and its adaptation, on densities that are known."""

import numpy as np
import pytest
from scipy import integrate, stats

from bayesmixed.posterior.diagnostics import pareto_k
from bayesmixed.sampling.independence.modes import Mode, find_modes, peaks
from bayesmixed.sampling.independence.proposal import Pool, StudentMixture, Warp, adapt, centres_of, efficiency, start

COVARIANCE = np.array([[1.0, 0.6, 0.1], [0.6, 2.0, -0.4], [0.1, -0.4, 0.5]])
CENTRE = np.array([1.0, -2.0, 0.5])


def normal(mean, covariance):
    """Log density of points (d, N), up to a constant."""

    def log_density(x):
        z = np.linalg.solve(np.linalg.cholesky(covariance), x - mean[:, None])
        return -0.5 * np.square(z).sum(axis=0) - 0.5 * np.linalg.slogdet(covariance)[1]

    return log_density


def mixture(*parts):
    return lambda x: np.logaddexp.reduce([np.log(w) + log_density(x) for w, log_density in parts], axis=0)


def banana(x):
    """A normal density bent: x0 ~ N(0, 2^2), x1 | x0 ~ N(x0^2 / 4, 1)."""
    return -0.5 * np.square(x[0] / 2) - 0.5 * np.square(x[1] - np.square(x[0]) / 4)


def skewed(x):
    """log of Gamma(1, 1) variables, as of a variance near zero: e^x on the left."""
    return (x - np.exp(x)).sum(axis=0)


# ---- modes


def test_the_mode_of_a_normal_density_is_its_mean_with_its_covariance():
    starts = np.random.default_rng(0).normal(scale=4, size=(3, 6))
    (mode,) = find_modes(normal(CENTRE, COVARIANCE), starts)

    np.testing.assert_allclose(mode.x, CENTRE, atol=1e-6)
    np.testing.assert_allclose(mode.covariance, COVARIANCE, rtol=1e-5)
    assert mode.log_mass == pytest.approx(0, abs=1e-6)


def test_separated_modes_are_found_apart_the_heavier_one_first():
    far = CENTRE + 12
    density = mixture((0.3, normal(CENTRE, COVARIANCE)), (0.7, normal(far, COVARIANCE / 4)))
    modes = find_modes(density, np.column_stack([CENTRE + 0.3, far - 0.4, CENTRE - 1, far + 1]))

    assert len(modes) == 2
    np.testing.assert_allclose([mode.x for mode in modes], [far, CENTRE], atol=1e-3)
    assert modes[0].log_mass - modes[1].log_mass == pytest.approx(np.log(0.7 / 0.3), abs=1e-3)


@pytest.mark.parametrize("start_at", [-6.0, 0.0, 4.0])
def test_a_curved_density_is_climbed(start_at):
    (mode,) = find_modes(banana, np.array([[start_at], [1.0]]))

    np.testing.assert_allclose(mode.x, [0, 0], atol=0.2)


def test_an_edge_of_the_domain_does_not_stop_the_climb():
    """The maximum lies just beside a region without density."""

    def with_edge(x):
        values = normal(np.zeros(2), np.eye(2))(x)
        return np.where(x[0] > -0.05, values, -np.inf)

    (mode,) = find_modes(with_edge, np.array([[3.0, 2.0], [2.0, -3.0]]))
    np.testing.assert_allclose(mode.x, [0, 0], atol=0.25)
    assert np.all(np.linalg.eigvalsh(mode.covariance) > 0)


@pytest.mark.parametrize("nowhere", [-1e300, -np.inf])
def test_a_start_without_density_has_no_component(nowhere):
    """As `Target` does, nowhere is a very low density; a start that is lost there takes no part."""

    def part(x):
        return np.where(x[0] > -1, -0.5 * np.square(x).sum(axis=0), nowhere)

    modes = find_modes(part, np.array([[-5.0, 2.0], [0.0, 0.0]]))
    np.testing.assert_allclose(start(centres_of(modes)).means, np.zeros((2, 2)), atol=1e-6)


@pytest.mark.parametrize("nowhere", [-1e300, -np.inf])
def test_a_step_over_an_edge_is_shortened(nowhere):
    """A full Newton step from -0.7 is so near that no other length is tried at first, and leads to 1.7."""

    def edge(x):
        return np.where(x[0] < 0.1, x[0] - np.exp(3 * x[0]) / 3, nowhere)

    (mode,) = find_modes(edge, np.array([[-0.7]]))
    assert mode.x[0] == pytest.approx(0, abs=0.1)


def test_a_near_step_that_falls_is_shortened():
    """A full Newton step from 1.2 leads to -1.5."""
    values = []

    def flat(x):
        values.append(x[0].copy())
        return -np.log(np.cosh(x[0]))

    (mode,) = find_modes(flat, np.array([[1.2]]))
    assert mode.x[0] == pytest.approx(0, abs=0.1)
    assert [len(x) for x in values][1:4] == [3, 6, 3], "a full step, then several lengths"


def test_a_start_from_which_no_step_climbs_stays():
    """A kink: central differences point to one side, and both sides are lower."""
    (mode,) = find_modes(lambda x: np.where(x[0] > 0, -30 * x[0], 10 * x[0]), np.zeros((1, 1)))

    assert (mode.x[0], mode.log_density) == (0, 0)


def test_a_flat_direction_has_a_scale_of_three():
    (mode,) = find_modes(lambda x: -0.5 * np.square(x[0]), np.array([[1.0], [2.0]]))

    np.testing.assert_allclose(np.diag(mode.covariance), [1, 9], rtol=1e-6)
    assert mode.x[1] == 2.0


def test_peaks_are_the_grids_points_above_their_neighbours():
    density = mixture((0.5, normal(np.array([-4.0, 0.0]), np.eye(2))), (0.5, normal(np.array([4.0, 0.0]), np.eye(2))))
    found = peaks(density, [(axis, (-4.0, 0.0, 4.0)) for axis in np.eye(2)])

    np.testing.assert_array_equal(found, [[-4, 4], [0, 0]])


def test_peaks_follow_the_axes_they_are_given():
    """One axis that moves two coordinates together; points without density are none."""
    found = peaks(lambda x: np.where(x[0] < 2, x.sum(axis=0), -np.inf), [(np.array([1.0, 1.0, 0.0]), (0.0, 1.0, 3.0))])

    np.testing.assert_array_equal(found, [[1], [1], [0]])


# ---- coordinates


WARP = Warp(np.array([-3.0, 0.0, 1.5]))


def test_the_warp_goes_there_and_back():
    for x in np.random.default_rng(0).normal(scale=4, size=(30, 4)):
        u = WARP.warp(x)
        np.testing.assert_allclose(WARP.unwarp(u[:, None])[0][:, 0], x, atol=1e-9)
        assert u[3] == x[3]
    np.testing.assert_allclose(WARP.warp(np.array([-3.0, 0.0, 1.5, 7.0])), [0, 0, 0, 7], atol=1e-9)


@pytest.mark.parametrize("u", [-30.0, -8.0, -2.0, 0.0, 0.7, 3.0, 30.0])
def test_the_warps_jacobian_is_its_derivative(u):
    at = np.array([u, 0.3, -u, 2.0])
    slopes = []
    for k in range(4):
        step = 1e-5 * np.eye(4)[k]
        high, low = (WARP.unwarp((at + sign * step)[:, None])[0][k, 0] for sign in (1, -1))
        slopes.append((high - low) / 2e-5)

    np.testing.assert_allclose(WARP.slope(at), slopes, rtol=1e-6)
    assert WARP.unwarp(at[:, None])[1][0] == pytest.approx(np.log(slopes).sum(), abs=1e-6)


def test_the_left_tail_becomes_a_normal_one():
    """Where e^x is the density of x, that of u falls off like the normal density; on the right nothing changes."""
    u = np.linspace(-8, -6, 5)
    x, log_jacobian = Warp(np.zeros(1)).unwarp(u[None])
    np.testing.assert_allclose(np.diff(x[0] + log_jacobian, 2), np.diff(-0.5 * u**2, 2), rtol=0.02)
    np.testing.assert_allclose(Warp(np.zeros(1)).unwarp(np.array([[12.0, 15.0]]))[0], [[12, 15]], atol=1e-4)


# ---- the t mixture


def test_log_density_of_the_mixture_is_scipys():
    mixed = StudentMixture.about([(CENTRE, COVARIANCE), (CENTRE + 2, COVARIANCE / 3)], 4, 1.25, 0.15)
    x = np.random.default_rng(0).normal(scale=3, size=(3, 50))
    parts = [
        weight * stats.multivariate_t(mean, shape, df).pdf(x.T)
        for mean, scale in [(CENTRE, COVARIANCE), (CENTRE + 2, COVARIANCE / 3)]
        for weight, shape, df in [(0.85 / 2, 1.25 * scale, 4), (0.15 / 2, 5 * scale, 3)]
    ]

    np.testing.assert_allclose(mixed.log_density(x), np.log(np.sum(parts, axis=0)), rtol=1e-10)
    np.testing.assert_allclose(mixed.weights.sum(), 1)
    np.testing.assert_allclose(mixed.roots[0] @ mixed.roots[0].T, 1.25 * COVARIANCE)


def test_draws_have_the_density_of_the_mixture():
    """Distances from the centre, per component, have the F distribution that they should."""
    mixed = StudentMixture.about([(CENTRE, COVARIANCE)], 4, 1.25, 0.3)
    x = mixed.sample(np.random.default_rng(0), 20_000)
    z = np.linalg.solve(np.linalg.cholesky(COVARIANCE), x - CENTRE[:, None])
    distance = np.square(z).sum(axis=0) / 3

    def cdf(value):
        return 0.7 * stats.f(3, 4).cdf(value / 1.25) + 0.3 * stats.f(3, 3).cdf(value / 5)

    assert stats.kstest(distance, cdf).pvalue > 1e-3
    direction = z / np.linalg.norm(z, axis=0)
    assert np.abs(direction.mean(axis=1)).max() < 5 / np.sqrt(3 * 20_000)
    np.testing.assert_allclose(direction @ direction.T / 20_000, np.eye(3) / 3, atol=0.01)


def test_draws_of_two_centres_are_half_and_half():
    mixed = StudentMixture.about([(CENTRE, COVARIANCE), (CENTRE + 100, COVARIANCE)], 4, 1.25, 0.1)
    share = (mixed.sample(np.random.default_rng(0), 10_000)[0] > 50).mean()

    assert abs(share - 0.5) < 5 * 0.5 / 100


# ---- adaptation


TARGETS = {
    "normal": (normal(CENTRE, COVARIANCE), CENTRE[:, None], 0.6),
    "banana": (banana, np.zeros((2, 1)), 0.25),
    "skewed": (skewed, np.zeros((3, 1)), 0.25),
    "two modes": (
        mixture((0.5, normal(np.zeros(2), np.eye(2))), (0.5, normal(np.array([5.0, 0]), np.eye(2)))),
        np.array([[0.0, 5.0], [0, 0]]),
        0.6,
    ),
}


@pytest.mark.parametrize("case", TARGETS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_proposal_learns_the_target(case, seed):
    """Fresh draws of the adapted proposal are efficient, and their weights have no heavy tail."""
    target, starts, least = TARGETS[case]
    modes = find_modes(target, starts)
    rng = np.random.default_rng(seed)
    centres = centres_of(modes)
    proposal, _, _, share = adapt(target, start(centres), centres, rng, 500)
    x = proposal.sample(rng, 20_000)
    log_w = target(x) - proposal.log_density(x)

    assert efficiency(log_w) > least
    assert share > least
    assert pareto_k(log_w) < 0.5


def test_importance_weights_of_the_pool_give_the_targets_moments():
    target = normal(CENTRE, COVARIANCE)
    modes = find_modes(target, CENTRE[:, None] + 1)
    centres = centres_of(modes)
    _, pool, _, _ = adapt(target, start(centres), centres, np.random.default_rng(0), 4000)
    w = pool.weights
    mean = pool.x @ w
    centred = pool.x - mean[:, None]

    assert w.sum() == pytest.approx(1)
    np.testing.assert_allclose(mean, CENTRE, atol=0.06)
    np.testing.assert_allclose((centred * w) @ centred.T, COVARIANCE, atol=0.12)
    assert len(w) == sum(pool.sizes) == len(pool.log_target)


def test_a_single_heavy_point_does_not_take_the_pool_over():
    """A weight of 8000 times the others', 95 % of all, is cut at sqrt(n) = 20 means before it is shared: half."""
    proposal = StudentMixture.about([(np.zeros(1), np.eye(1))], 4, 1.25, 0.1)
    x = proposal.sample(np.random.default_rng(0), 400)
    pool = Pool(np.empty((1, 0)), np.empty(0), [], [])
    pool.add(x, np.where(np.arange(400) == 7, 9.0, 0.0) + proposal.log_density(x), proposal)
    fitted, [(_, covariance)] = pool.fit([(np.zeros(1), np.eye(1))])

    assert pool.weights[7] == pytest.approx(0.5, abs=0.05)
    assert covariance[0, 0] > 0.4, "half of the previous covariance stays where few points are effective"
    assert np.isfinite(fitted.roots).all()


def test_only_modes_that_hold_mass_have_a_component():
    modes = [Mode(CENTRE, 0.0, COVARIANCE), Mode(CENTRE + 5, -6.0, COVARIANCE), Mode(CENTRE + 9, -8.0, COVARIANCE)]

    assert len(centres_of(modes)) == 2
    assert len(start(centres_of(modes)).weights) == 2 * 2
    assert len(start(centres_of(modes[:1])).weights) == 2


def test_every_part_of_a_posterior_has_a_component_of_its_mass():
    """A quarter and three quarters, far apart and of different widths; a third centre without mass goes."""
    parts = (0.25, normal(np.zeros(2), np.eye(2))), (0.75, normal(np.array([20.0, 0]), 0.04 * np.eye(2)))
    target = mixture(*parts)
    centres = [(np.zeros(2), np.eye(2)), (np.array([20.0, 0]), np.eye(2)), (np.array([0.0, 30]), np.eye(2))]
    proposal, _, found, share = adapt(target, start(centres), centres, np.random.default_rng(0), 2000)

    assert len(found) == 2
    np.testing.assert_allclose(proposal.weights[:2] / proposal.weights[:2].sum(), [0.25, 0.75], atol=0.03)
    np.testing.assert_allclose(found[0][1], np.eye(2), atol=0.25)
    np.testing.assert_allclose(found[1][1], 0.04 * np.eye(2), atol=0.01)
    assert share > 0.6


def test_efficiency_is_the_effective_share():
    assert efficiency(np.zeros(50)) == pytest.approx(1)
    assert efficiency(np.array([0.0, -1e300, -1e300, -1e300])) == pytest.approx(0.25)
    assert efficiency(np.log([1.0, 1, 2]) + 900) == pytest.approx(16 / (3 * 6))


def test_the_mixtures_density_integrates_to_one():
    mixed = StudentMixture.about([(np.zeros(1), np.eye(1)), (np.full(1, 3.0), 0.1 * np.eye(1))], 4, 1.25, 0.15)
    total, _ = integrate.quad(lambda x: np.exp(mixed.log_density(np.array([[x]]))[0]), -np.inf, np.inf)

    assert total == pytest.approx(1, abs=1e-6)
