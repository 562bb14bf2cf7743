"""What the sampler sees: sigma integrated out, sigma proposed, and the edges of the domain."""

import numpy as np
import pytest

from bayesmixed.chunks import allow
from bayesmixed.sampling.collapsed.target import Target
from bayesmixed.sampling.independence.proposal import Warp
from helpers.collapsed_twins import evaluate, learn, make_frame, random_points

FRAME = make_frame()
CASES = {
    "one factor": ("x + (x | pupil)", {}),
    "nested": ("x + (1 | school/pupil)", {}),
    "crossed": ("x + (1 | pupil) + (1 | item)", {}),
    "few rows": ("x + (1 | town)", {"rows": 6}),
}


def make(case, warped=True, advance=lambda n: None):
    formula, options = CASES[case]
    density = learn(formula, FRAME.iloc[: options.get("rows", 40)]).density
    return Target(density, Warp(np.full(density.covariances.n_sds, -0.5)) if warped else None, advance)


def log_integral(seen, u):
    """The joint density, times the Jacobian of the warp, integrated over log(sigma) at one point (d, 1)."""
    theta, log_jacobian = seen.warp.unwarp(u)
    s = np.linspace(np.log(1e-6), 4, 4001)
    log_joint = evaluate(seen.density, theta.repeat(len(s), axis=1), s)
    top = log_joint.max()
    return top + np.log(np.exp(log_joint - top).sum() * (s[1] - s[0])) + log_jacobian[0]


@pytest.mark.parametrize("case", CASES)
def test_weights_over_proposals_of_sigma_average_to_the_integral(case):
    """Points of different spread of sigma, too: what makes the chains exact."""
    seen = make(case)
    for u in random_points(seen.density, 3, seed=4)[0].T * 1.5:
        log_weight = seen.with_sigma(u[:, None].repeat(4000, axis=1), np.random.default_rng(0)).log_weight
        expected = log_integral(seen, u[:, None])
        w = np.exp(log_weight - expected)

        assert abs(w.mean() - 1) < 5 * w.std() / np.sqrt(4000)
        assert w.std() < 0.5, "Laplace's proposal is close"


@pytest.mark.parametrize("case", CASES)
def test_laplaces_integral_is_the_integral_but_for_a_constant(case):
    """So near that the weights of what is fitted to it are even."""
    seen = make(case)
    u = random_points(seen.density, 8, seed=4)[0]
    difference = seen.integrated(u) - [log_integral(seen, point[:, None]) for point in u.T]

    assert np.ptp(difference) < 0.15


@pytest.mark.parametrize("warped", [True, False])
def test_both_views_of_a_point_agree(warped):
    seen = make("nested", warped)
    u = random_points(seen.density, 8)[0]
    evaluated = seen.with_sigma(u, np.random.default_rng(0))

    np.testing.assert_allclose(evaluated.log_integrated, seen.integrated(u), rtol=1e-12)
    np.testing.assert_allclose(evaluated.theta, seen.warp.unwarp(u)[0] if warped else u)
    expected = evaluate(seen.density, evaluated.theta, evaluated.s)
    np.testing.assert_allclose(evaluated.log_joint, expected, rtol=1e-12)


def test_there_is_no_density_outside_the_domain():
    seen = make("one factor", warped=False)
    u = np.zeros((3, 5))
    u[0, 1], u[1, 2], u[2, 3], u[2, 4] = -41, 13, 41, -41
    inside, *outside = seen.integrated(u)
    weights = seen.with_sigma(u, np.random.default_rng(0)).log_weight

    assert np.isfinite(inside)
    assert np.all(np.array(outside) < -1e200)
    assert weights[0] > -1e200
    assert np.all(weights[1:] < -1e200)


def test_every_evaluation_is_counted_and_reported():
    told = []
    seen = make("one factor", advance=told.append)
    u = random_points(seen.density, 25)[0]
    with allow(working=10 * seen.density.residual.prior.size):
        together = seen.integrated(u)
        seen.with_sigma(u, np.random.default_rng(0))

    assert told == [10, 10, 5, 10, 10, 5]
    assert seen.evaluations == 50
    np.testing.assert_allclose(seen.integrated(u), together, rtol=1e-12)
