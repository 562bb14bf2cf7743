"""Draws of all effects, given covariances and sigma, against the dense conditional normal distribution."""

import numpy as np
import pytest

from bayesmixed import HalfNormal
from bayesmixed.chunks import allow
from bayesmixed.gaussian.effects import FirstEffects, Points, draw_coefficients, later_effects, level_normals
from helpers.collapsed_twins import dense_posterior, learn, make_frame, on_user_scale, random_points

FRAME = make_frame()
MANY = " + ".join(f"c{i}" for i in range(14))
CASES = {
    "one effect": ("x + (1 | pupil)", {}),
    "two effects": ("x + k + (x | pupil)", {}),
    "three effects": ("x + (x + z | school)", {}),
    "independent": ("x + (x || school)", {}),
    "nested": ("x + (1 | school/pupil)", {}),
    "nested slopes": ("x + (x | town/school) + (0 + z | pupil)", {}),
    "crossed": ("x + (1 | pupil) + (1 | item)", {}),
    "crossed slopes": ("x + (x | school) + (z | item)", {}),
    "crossed, many columns": ("x + (x | pupil) + (z | task)", {}),
    "three crossed, many columns": ("(1 | pupil) + (1 | task) + (0 + x | item)", {}),
    "weights": ("x + (x | school)", {"weights": np.arange(40) % 3 + 0.5}),
    "weights, crossed": ("x + (x | pupil) + (z | task)", {"weights": np.arange(40) % 3 + 0.5}),
    "offset": ("offset(z) + x + (1 | school)", {}),
    "far slope": ("dose + (dose | school)", {}),
    "far slope, nested": ("x + (dose | town/school)", {}),
    "no intercept": ("0 + x + (0 + x | school)", {}),
    "no common effect": ("0 + (1 | school)", {}),
    "many common effects": (f"{MANY} + (1 | school)", {}),
    "one row per group": ("x + (1 | single)", {}),
}

pytestmark = pytest.mark.filterwarnings("ignore:(?s).*far outside the data:UserWarning")


def at_points(model, theta, s, which, seed=5):
    """The draws' source, and draws and exact means of (Intercept, beta, b_1, ..., b_F), (k, S) and (k,)."""
    design, _, density = model
    points = Points(density.covariances.at(theta).roots, s, which)
    names = [factor.name for factor in design.groups]
    coefficients = draw_coefficients(density, points, names, seed)
    source = FirstEffects(density, points, coefficients, (seed, "effects", names[density.elimination.first.position]))
    J, q = source.n_levels, source.n_effects
    drawn, means = {}, {}
    drawn[source.factor] = source.draw(np.arange(J)).reshape(len(which), J * q).T
    means[source.factor] = source.mean.ravel()
    for f, b in later_effects(density, coefficients.later).items():
        drawn[f] = b.swapaxes(0, 1).reshape(-1, len(which))
    for f, b in later_effects(density, coefficients.later_mean.mean(axis=1)).items():
        means[f] = b.T.ravel()
    order = range(len(names))
    common = stack_common(density.units.common_effects(coefficients.gamma))
    common_mean = stack_common(density.units.common_effects(coefficients.gamma_mean.mean(axis=1)))
    return (
        source,
        np.concatenate([common, *(drawn[f] for f in order)]),
        np.concatenate([common_mean, *(means[f] for f in order)]),
    )


def stack_common(pair):
    intercept, beta = pair
    return beta if intercept is None else np.concatenate([[intercept], beta])


def dense_at(model, theta, s):
    return dense_posterior(model.design, model.priors, *on_user_scale(model.density, theta, s))


@pytest.mark.parametrize("case", CASES)
def test_draws_have_the_dense_mean_and_covariance(case):
    """Whitened by the dense posterior they are standard normal: means and products within five standard errors."""
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 1)
    S = 8000
    _, draws, _ = at_points(model, theta, s, np.zeros(S, int))
    mean, covariance = dense_at(model, theta[:, 0], s[0])
    size = np.sqrt(np.diag(covariance))
    root = np.linalg.cholesky(covariance / np.outer(size, size))
    white = np.linalg.solve(root, (draws - mean[:, None]) / size[:, None])
    products = white @ white.T / S
    error = np.where(np.eye(len(mean)), np.sqrt(2 / S), np.sqrt(1 / S))

    assert np.abs(white.mean(axis=1)).max() < 5 / np.sqrt(S)
    assert np.abs((products - np.eye(len(mean))) / error).max() < 5


@pytest.mark.parametrize("case", CASES)
def test_exact_means_are_the_dense_ones(case):
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 1)
    _, _, means = at_points(model, theta, s, np.zeros(3, int))
    expected, covariance = dense_at(model, theta[:, 0], s[0])

    assert np.abs((means - expected) / np.sqrt(np.diag(covariance))).max() < 1e-7


@pytest.mark.parametrize("case", ["two effects", "nested slopes", "crossed slopes", "weights, crossed", "far slope"])
@pytest.mark.parametrize("work", [1, 50_000])
def test_exact_means_are_averaged_over_the_draws_points(case, work):
    """A point counts as often as chains stayed there; points no chain was at do not count."""
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 4)
    which = np.array([2, 0, 0, 1, 2, 0, 3])
    with allow(effects=work):
        _, _, means = at_points(model, theta, s, which)
    dense = [dense_at(model, theta[:, i], s[i]) for i in range(4)]

    expected = np.mean([dense[i][0] for i in which], axis=0)
    assert np.abs((means - expected) / np.sqrt(np.diag(dense[0][1]))).max() < 1e-7


@pytest.mark.parametrize("case", ["nested slopes", "crossed slopes", "crossed, many columns"])
def test_every_draw_belongs_to_its_own_point(case):
    """Draws at two interleaved points have the two points' moments."""
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 2, seed=2)
    S = 8000
    which = (np.arange(S) % 5 == 0).astype(int)
    _, draws, _ = at_points(model, theta, s, which)
    for i in range(2):
        mean, covariance = dense_at(model, theta[:, i], s[i])
        mine = draws[:, which == i]
        z = (mine.mean(axis=1) - mean) / np.sqrt(np.diag(covariance) / mine.shape[1])
        ratio = mine.var(axis=1) / np.diag(covariance)
        assert np.abs(z).max() < 5
        assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / mine.shape[1])


@pytest.mark.parametrize("case", ["two effects", "nested", "crossed", "crossed slopes"])
def test_effects_vanish_with_their_variance(case):
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 1)
    theta[: model.density.covariances.n_sds] = -39
    _, draws, means = at_points(model, theta, s, np.zeros(20, int))
    p = len(model.design.common_names) + 1

    assert np.abs(draws[p:]).max() < 1e-12
    assert np.abs(means[p:]).max() < 1e-12
    assert draws[0].std() > 0.1


@pytest.mark.parametrize("case", ["two effects", "nested slopes", "crossed slopes", "weights, crossed"])
def test_a_levels_draws_do_not_depend_on_the_company(case):
    """Any subset, any order, any number of levels at a time: the same numbers to the last bit."""
    formula, options = CASES[case]
    model = learn(formula, FRAME, **options)
    theta, s = random_points(model.density, 6)
    source, *_ = at_points(model, theta, s, np.random.default_rng(0).integers(0, 6, 50))
    J = source.n_levels
    every = source.draw(np.arange(J))
    some = np.array([3, 0, J - 1, 1, 3])

    np.testing.assert_array_equal(source.draw(some), every[:, some])
    np.testing.assert_array_equal(source.draw(np.array([2])), every[:, [2]])
    assert source.draw(np.array([], int)).shape == (50, 0, every.shape[2])
    for work in (1, 120, 10**7):
        with allow(effects=work):
            np.testing.assert_array_equal(source.draw(np.arange(J)), every)


def test_levels_and_seeds_have_numbers_of_their_own():
    one = level_normals((1, "effects", "g"), np.arange(200), 100, 2)
    other = level_normals((2, "effects", "g"), np.arange(200), 100, 2)

    assert len(np.unique(np.concatenate([one, other]))) == 2 * one.size
    assert np.abs(np.corrcoef(one[::2].ravel(), one[1::2].ravel())[0, 1]) < 5 / np.sqrt(one.size / 2)
    np.testing.assert_array_equal(level_normals((1, "effects", "g"), np.array([7, 3, 4]), 100, 2), one[[7, 3, 4]])


def test_effects_on_the_users_scale_lead_back_to_working_ones():
    """With a sweep, and with a slope that is moved to its mean."""
    for formula in ("x + (year | pupil)", "x + (year || pupil)"):
        units = learn(formula, make_frame(), user={"sd_pupil": HalfNormal(1)}).density.units
        b = np.random.default_rng(0).normal(size=(2, 5, 3))
        np.testing.assert_allclose(units.working_effects(0, units.group_effects(0, b.copy())), b, rtol=1e-9, atol=1e-9)
    units = learn("x + (x + z | pupil)", make_frame()).density.units
    b = np.random.default_rng(0).normal(size=(3, 5))
    np.testing.assert_allclose(units.working_effects(0, units.group_effects(0, b.copy())), b, rtol=1e-9)
