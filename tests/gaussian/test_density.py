"""The collapsed density against one dense normal distribution, for every structure and at the edges of its domain."""

import warnings

import numpy as np
import pytest

from bayesmixed import Exponential, HalfNormal, HalfStudentT, Normal
from bayesmixed.chunks import allow
from bayesmixed.gaussian import common as residual
from bayesmixed.gaussian import crossed
from bayesmixed.gaussian.batched import log_det
from bayesmixed.gaussian.crossed import Crossed
from bayesmixed.gaussian.nested import Nested
from helpers.collapsed_twins import (
    dense_log_likelihood,
    evaluate,
    learn,
    log_prior,
    log_prior_by_jacobian,
    make_frame,
    on_user_scale,
    random_points,
)

FRAME = make_frame()
MANY = " + ".join(f"c{i}" for i in range(14))
PRIORS = {
    "Intercept": Normal(3, 2),
    "x": Normal(1, 2),
    "sd_school": {"Intercept": Exponential(0.5), "x": HalfStudentT(3, 2.0)},
    "sigma": HalfNormal(1.5),
}
NESTED = {
    "one factor": ("x + (1 | pupil)", {}),
    "correlated": ("x + k + (x | pupil)", {}),
    "independent by ||": ("x + (x || pupil)", {}),
    "independent by option": ("x + (x + z | pupil)", {"group_prior": "independent"}),
    "three effects": ("x + (x + z | school)", {"lkj_eta": 1.3}),
    "four effects": ("(x + z + c0 | school)", {}),
    "two blocks": ("x + (1 + x | school) + (0 + z | school)", {}),
    "two deep": ("x + (1 | school/pupil)", {}),
    "three deep": ("x + (1 | town/school/pupil)", {}),
    "nested slopes": ("x + (x | town/school) + (0 + z | pupil)", {}),
    "nested, correlated at both": ("x + (x | school/pupil)", {}),
    "balanced": ("(1 | balanced)", {}),
    "one row per group": ("x + (1 | single)", {}),
    "slopes of groups of one row": ("x + (x | single)", {}),
    "no intercept": ("0 + x + (0 + x | school)", {}),
    "neither common effects nor intercept": ("0 + (1 | school)", {}),
    "groups only": ("(1 | school)", {}),
    "offset": ("x + offset(z) + (1 | school)", {}),
    "user's priors": ("x + z + (x | school)", {"user": PRIORS}),
    "swept": ("x*z + k:x + (x*z | school)", {}),
    "swept, nested": ("dose*x + (dose | town/school)", {}),
    "swept, weights": ("dose*k + (dose + k | school)", {"weights": np.arange(40) % 3 + 0.3}),
    "swept, without intercept": ("0 + k + k:dose + (0 + k + k:x | school)", {}),
    "swept beside the user's": (
        "x*z + I(x ** 2) + (x*z | school)",
        {"user": {"x": Normal(1, 2), "sd_school": {"x": HalfNormal(2)}}},
    ),
    "user's intercept beside swept": ("x*z + (x*z | school)", {"user": {"Intercept": Normal(3, 2)}}),
    "integer weights": ("x + (x | pupil)", {"weights": np.arange(40) % 3 + 1.0}),
    "fractional weights": ("x + (x | pupil)", {"weights": np.arange(40) % 3 + 0.3}),
    "weights, nested": ("x + (x | school/pupil)", {"weights": np.arange(40) % 4 + 0.5}),
    "many common effects": (f"{MANY} + (x | school)", {}),
}
CROSSED = {
    "crossed": ("x + (1 | pupil) + (1 | item)", {}),
    "crossed slopes": ("x + (x | school) + (z | item)", {}),
    "crossed slopes, many columns": ("x + (x | pupil) + (z | task)", {}),
    "three crossed": ("x + (1 | pupil) + (1 | task) + (1 | item)", {}),
    "three crossed with slopes": ("x + (x | pupil) + (1 | task) + (0 + z | item)", {}),
    "crossed and nested": ("x + (x | school/pupil) + (1 | item)", {}),
    "crossed, swept": ("dose*k + (dose | pupil) + (x*z | item)", {}),
    "crossed, weights": ("x + (x | pupil) + (1 | item)", {"weights": np.arange(40) % 3 + 0.3}),
    "many columns, weights": ("x + (x | pupil) + (z | task)", {"weights": np.arange(40) % 3 + 1.0}),
    "crossed, single rows": ("(1 | single) + (x | item)", {}),
    "crossed, many common effects": (f"{MANY} + (1 | pupil) + (1 | item)", {}),
}
CASES = NESTED | CROSSED


def spread(model, theta, s, prior=log_prior):
    """Largest difference between points of: the density, less the prior, less the dense log likelihood."""
    design, priors, collapsed = model
    rest = []
    for i, value in enumerate(evaluate(collapsed, theta, s)):
        likelihood = dense_log_likelihood(design, priors, *on_user_scale(collapsed, theta[:, i], s[i]))
        rest.append(value - prior(model, theta[:, i], s[i]) - likelihood)
    return np.ptp(rest)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_dense_density(case):
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)

    assert isinstance(model.density.elimination, Crossed if case in CROSSED else Nested)
    assert spread(model, *random_points(model.density, 6)) < 1e-9


@pytest.mark.parametrize("case", CASES)
def test_equals_the_dense_density_where_variances_vanish_or_correlations_are_one(case):
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 7, seed=1)
    K = model.density.covariances.n_sds
    theta[0, 1] = -30
    theta[K - 1, 2] = -30
    theta[:K, 3] = -30
    theta[K:, 4] = 12
    theta[K:, 5] = -12
    theta[:K, 6] = 4  # group sds of 55 sigma

    assert spread(model, theta, s) < 1e-7


@pytest.mark.parametrize("formula", ["x + (x | pupil)", "(x + z | school)", "(x + z | school/pupil) + (x | item)"])
def test_the_prior_of_correlations_is_lkj(formula):
    """The twin's Beta variables are LKJ's: the same as its definition by the determinant, up to a constant."""
    model = learn(formula, FRAME)
    theta, s = random_points(model.density, 5)
    points = list(zip(theta.T, s, strict=True))

    assert np.ptp([log_prior(model, *at) - log_prior_by_jacobian(model, *at) for at in points]) < 1e-6


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_lkj_does_not_depend_on_the_order_in_the_vine(order):
    model = learn("x + (x + z | school)", FRAME)
    theta, s = random_points(model.density, 4)
    reordered = model.density.with_covariances(model.density.covariances.reordered([(order,)]))
    turned = model._replace(density=reordered)

    assert spread(turned, theta, s, log_prior_by_jacobian) < 1e-6
    assert not np.allclose(evaluate(reordered, theta, s), evaluate(model.density, theta, s))


def own_prior(model, theta, s):
    """The density's own terms for the prior, where no twin is exact enough."""
    _, priors, collapsed = model
    relative = collapsed.covariances.at(theta[:, None])
    sigma = np.exp(s) * collapsed.units.scaling.y_scale
    total = relative.log_prior[0] + (len(relative.sds) + 1) * s + priors.auxiliary["sigma"].log_density(sigma)
    sds = zip(collapsed.residual.sd_priors, relative.sds[:, 0] * np.exp(s), strict=True)
    return total + sum(prior.log_density(sd) for prior, sd in sds)


def test_swept_columns_far_from_zero_have_the_dense_density():
    """The dense side forms the covariance of powers of 30 to 40 as written, and loses six digits."""
    model = learn("dose*k + I(dose ** 2) + (dose + I(dose ** 2) | school)", FRAME)

    assert spread(model, *random_points(model.density, 6)) < 1e-7


FAR = pytest.mark.filterwarnings("ignore:(?s).*far outside the data:UserWarning")


def at_zero(factor, sigma=5.0):
    """A prior of the user's that states the block at z = 0."""
    return {"user": {f"sd_{factor}": {"Intercept": HalfNormal(sigma)}}}


@FAR
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("dose + (dose | pupil)", at_zero("pupil")),
        ("dose + (dose + x | school)", {"lkj_eta": 0.8, **at_zero("school")}),
        ("x + (dose | school/pupil)", at_zero("school:pupil")),
        ("dose + (dose | pupil) + (1 | item)", at_zero("pupil")),
        ("dose + (dose | pupil)", {"weights": np.arange(40) % 3 + 0.5, **at_zero("pupil")}),
        ("dose + (dose + I(dose ** 2) | pupil)", at_zero("pupil")),
        ("dose + (x + dose | school)", {"user": {"sd_school": {"Intercept": Exponential(0.1)}}}),
    ],
)
def test_a_covariance_sampled_at_the_mean_of_a_far_slope_has_the_stated_prior(formula, options):
    """The dense side knows only the covariance at zero, where correlations are near -1."""
    model = learn(formula, FRAME, **options)

    assert any(location.any() for location in model.density.units.location)
    assert spread(model, *random_points(model.density, 6), log_prior_by_jacobian) < 1e-5


@FAR
@pytest.mark.parametrize("formula", ["year + (year | pupil)", "x + (year | pupil) + (1 | item)"])
def test_a_slope_very_far_from_zero_has_the_same_likelihood(formula):
    """With years of 2000 the dense covariance at zero has lost eight digits."""
    model = learn(formula, FRAME, **at_zero("pupil", 500.0))

    assert spread(model, *random_points(model.density, 6), own_prior) < 1e-6


def test_more_columns_than_rows():
    frame = make_frame(n=11)

    model = learn(f"{MANY} + (x | school)", frame)

    assert model.design.n_rows < len(model.design.common_names)
    assert spread(model, *random_points(model.density, 6)) < 1e-9


@pytest.mark.parametrize("case", ["crossed", "crossed slopes", "crossed slopes, many columns", "three crossed"])
def test_lapack_and_elimination_of_all_points_agree(case, monkeypatch):
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 20)
    theta[0, 3] = -30
    monkeypatch.setattr(crossed, "_LAPACK", 0)
    by_lapack = evaluate(model.density, theta, s)
    monkeypatch.setattr(crossed, "_LAPACK", 10**6)

    np.testing.assert_allclose(by_lapack, evaluate(model.density, theta, s), rtol=1e-11)


def test_lapack_and_elimination_agree(monkeypatch):
    model = learn("x + (x | pupil) + (z | task)", FRAME)
    theta, s = random_points(model.density, 6)
    by_lapack = evaluate(model.density, theta, s)
    monkeypatch.setattr(crossed, "_LAPACK", 1000)

    np.testing.assert_allclose(evaluate(model.density, theta, s), by_lapack, rtol=1e-11)


def test_lapack_reads_the_lower_triangle_and_rules_out_what_has_no_factor():
    """Of [[4, 2, 6], [2, 2, 4], [6, 4, 20]] the first two rows are eliminated: R = [[2, 1], [0, 1]]."""
    regular, singular = np.array([[4.0, 0, 0], [2, 2, 0], [6, 4, 20]]), np.array([[4.0, 0, 0], [2, 1, 0], [6, 4, 20]])
    G, R, right = crossed._lapack(regular[:, :, None], 2)

    np.testing.assert_allclose(R[:, :, 0], [[2, 1], [0, 1]])
    np.testing.assert_allclose(right[:, :, 0], [[3], [1]])
    np.testing.assert_allclose(G[:, :, 0], [[20 - 9 - 1]])
    both = crossed._lapack(np.stack([regular, singular], axis=2), 2)
    np.testing.assert_allclose(both[0][:, :, 0], G[:, :, 0])
    np.testing.assert_array_equal(log_det(both[1]), [2 * np.log(2), np.inf])


@pytest.mark.parametrize("P", [3, 12])
def test_a_point_that_rounding_has_spoilt_is_ruled_out(P):
    """Its log determinant is infinite, its density nothing, in silence; the other points keep their numbers."""
    H = np.eye(P)[:, :, None].repeat(3, axis=2)
    H[0, 1] = H[1, 0] = 1.0
    H[1, 1] = [2.0, 1 - 3e-16, 3.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, rest = residual._complete_square(H, np.ones(3), np.zeros((P, P)))

    np.testing.assert_allclose(found, [0.0, np.inf, np.log(2)], atol=1e-12)
    np.testing.assert_allclose(rest[[0, 2]], 1.0)


def test_both_ways_to_integrate_the_common_effects_out_agree(monkeypatch):
    model = learn(f"{MANY} + (x | school)", FRAME)
    theta, s = random_points(model.density, 20)
    by_lapack = evaluate(model.density, theta, s)
    monkeypatch.setattr(residual, "_LAPACK", 100)

    np.testing.assert_allclose(by_lapack, evaluate(model.density, theta, s), rtol=1e-12)


@pytest.mark.parametrize("case", ["correlated", "nested slopes", "crossed slopes", "crossed slopes, many columns"])
def test_points_may_be_evaluated_in_any_number_of_pieces(case):
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 9)
    together = evaluate(model.density, theta, s)
    with allow(points=1):
        np.testing.assert_allclose(evaluate(model.density, theta, s), together, rtol=1e-12)


def test_there_is_no_density_below_the_floor_of_sigma():
    model = learn("x + (1 | school)", FRAME)
    floor = np.log(1e-6)
    theta = random_points(model.density, 1)[0].repeat(2, axis=1)

    below, above = evaluate(model.density, theta, np.array([floor - 1e-6, floor + 1e-6]))
    assert below == -np.inf
    assert np.isfinite(above)


@pytest.mark.parametrize("case", ["one factor", "many common effects", "crossed", "weights, nested"])
def test_laplaces_mode_and_sd_are_those_of_the_density_over_sigma(case):
    """Newton's method stops within a fifth of a standard deviation of the maximum."""
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta = random_points(model.density, 5)[0]
    reduced = model.density.reduce(theta)
    mode, sd, height = model.density.residual.laplace(reduced)
    grid = np.linspace(-4, 3, 7001)
    for i in range(5):
        one = reduced.take(np.full(len(grid), i))
        log_density = model.density.residual.log_density(one, grid)
        weight = np.exp(log_density - log_density.max())
        center = np.average(grid, weights=weight)
        spread_of = np.sqrt(np.average(np.square(grid - center), weights=weight))

        assert abs(grid[log_density.argmax()] - mode[i]) < 0.25 * spread_of
        assert 0.8 < sd[i] / spread_of < 1.2
        assert abs(log_density.max() - height[i]) < 0.01
