"""Each elimination against dense matrices: what is left, draws, rows without effects; the choice among them."""

import numpy as np
import pytest
from scipy.linalg import block_diag

from bayesmixed.chunks import allow
from bayesmixed.gaussian.crossed import Crossed
from bayesmixed.gaussian.elimination import choose, too_large
from bayesmixed.gaussian.nested import Nested
from bayesmixed.gaussian.units import WorkingRows
from helpers.collapsed_twins import learn, make_frame, random_points, row_weights

FRAME = make_frame()
COUNTS = 1 + np.arange(len(FRAME)) % 3
CASES = {
    "one factor": ("x + (1 | pupil)", None, Nested),
    "two effects": ("x + (z | pupil)", COUNTS, Nested),
    "nested slopes": ("x + (z | school/pupil)", None, Nested),
    "three nested": ("(1 | town) + (1 | school) + (1 | pupil)", COUNTS, Nested),
    "crossed": ("x + (1 | pupil) + (1 | item)", COUNTS, Crossed),
    "crossed slopes": ("x + (x | pupil) + (z | task)", None, Crossed),
    "three crossed": ("(1 | pupil) + (1 | school) + (z | item)", None, Crossed),
}
LATER = [(case, kind) for case in list(CASES)[2:] for kind in dict.fromkeys((CASES[case][2], Crossed))]
EITHER = [("one factor", Nested), ("two effects", Nested), *LATER]


def make(case, kind):
    """The design, its density, an elimination of the kind, and roots at three points."""
    formula, weights, _ = CASES[case]
    design, _, density = learn(formula, FRAME, weights=weights)
    elimination = kind.of(density.elimination.first)
    return design, density, elimination, density.covariances.at(random_points(density, 3)[0]).roots


def dense(design, density, order, roots, n):
    """Z of all effects in the order of elimination, effect by effect within levels; their covariance at point n; V."""
    Z, covariance = [], []
    for f in order:
        factor, columns = design.groups[f], density.units.group_columns(f, design.groups[f], slice(None))
        J, q = len(factor.levels), columns.shape[1]
        load = np.zeros((design.n_rows, J, q))
        load[np.arange(design.n_rows), factor.codes] = columns
        Z.append(load.reshape(design.n_rows, J * q))
        covariance += J * [roots[f][:, :, n] @ roots[f][:, :, n].T]
    return np.hstack(Z), block_diag(*covariance), density.units.common_columns(design, slice(None))


def posterior(design, density, order, roots, n):
    """What the rows say of the effects, over sigma^2 and given the common effects: covariance C, and C Z'W."""
    Z, prior, _ = dense(design, density, order, roots, n)
    w = row_weights(design)
    gain = prior @ Z.T @ np.linalg.inv(Z @ prior @ Z.T + np.diag(1 / w))
    return prior - gain @ Z @ prior, gain


@pytest.mark.parametrize(("case", "kind"), EITHER)
def test_what_is_left_is_that_of_the_dense_covariance_of_the_rows(case, kind):
    """Nested factors are eliminated together by `Crossed` as well."""
    design, density, elimination, roots = make(case, kind)
    G, log_det = elimination.reduce(roots)
    for n in range(3):
        Z, prior, V = dense(design, density, elimination.first.order, roots, n)
        total = Z @ prior @ Z.T + np.diag(1 / row_weights(design))

        np.testing.assert_allclose(G[..., n], V.T @ np.linalg.solve(total, V), rtol=1e-9, atol=1e-9)
        expected = np.linalg.slogdet(total)[1] + np.log(row_weights(design)).sum()
        np.testing.assert_allclose(log_det[n], expected, rtol=1e-10)
    np.testing.assert_allclose(elimination.factorise(roots).G, G, rtol=1e-12)


@pytest.mark.parametrize(("case", "kind"), LATER)
def test_draws_of_the_later_factors_have_the_dense_mean_and_covariance(case, kind):
    """A draw is linear in its normal numbers: those of unit vectors give a root of the covariance."""
    design, density, elimination, roots = make(case, kind)
    columns, factorised = elimination.first.columns, elimination.factorise(roots)
    gamma = np.linspace(-1, 1, factorised.G.shape[0] - 1)
    sigma, m = 0.7, columns.m
    z = columns.split(np.hstack([np.zeros((m, 1)), np.eye(m)]))
    for n in range(3):
        draws = np.full(m + 1, n)
        drawn = columns.join(factorised.draw(np.tile(gamma[:, None], m + 1), np.full(m + 1, sigma), z, draws))
        C, gain = posterior(design, density, elimination.first.order, roots, n)
        V = density.units.common_columns(design, slice(None))
        root = drawn[:, 1:] - drawn[:, :1]

        np.testing.assert_allclose(drawn[:, 0], (gain @ (V[:, -1] - V[:, :-1] @ gamma))[-m:], atol=1e-9)
        np.testing.assert_allclose(root @ root.T, sigma**2 * C[-m:, -m:], atol=1e-9)


@pytest.mark.parametrize(("case", "kind"), EITHER)
def test_rows_without_effects_are_those_of_dense_matrices(case, kind):
    design, density, elimination, roots = make(case, kind)
    at = np.array([5, 0, 31, 6])
    left, variance = elimination.factorise(roots).without(
        WorkingRows.of(density.units, elimination.first.order, design, at)
    )
    for n in range(3):
        Z, _, V = dense(design, density, elimination.first.order, roots, n)
        C, gain = posterior(design, density, elimination.first.order, roots, n)

        np.testing.assert_allclose(left[..., n].T, (V - Z @ gain @ V)[at], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(variance[:, n], np.diag(Z @ C @ Z.T)[at], rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_nested_factors_have_an_elimination_of_their_own(case):
    formula, _, kind = CASES[case]
    statistics = learn(formula, FRAME).density.statistics
    chosen = choose(statistics)
    sizes = [q * J for q, J in zip(statistics.n_effects, statistics.n_levels, strict=True)]

    assert type(chosen) is kind
    assert sorted(chosen.first.order) == list(range(len(sizes)))
    assert sizes[chosen.first.position] == max(sizes)


@pytest.mark.parametrize(
    ("formula", "budget", "reason"),
    [
        ("(1 | pupil) + (1 | item)", {"columns": 5}, ""),
        ("(1 | pupil) + (1 | item)", {"columns": 4}, "the crossed factors 'b' have 5 effects, more than 4"),
        ("(1 | school/pupil)", {"columns": 0}, ""),
        ("(1 | balanced)", {"products": 3}, ""),
        ("(1 | balanced)", {"products": 2}, "the groups of 'a' occur with so many columns that 3.0e+00 cross-products"),
    ],
)
def test_what_is_too_large_is_counted_in_effects_and_products(formula, budget, reason):
    """[1, y] has three products, which four groups of ten rows share."""
    statistics = learn(formula, FRAME).density.statistics
    with allow(**budget):
        found = too_large(statistics, ["a", "b"])

    assert found.startswith(reason)
    assert bool(found) == bool(reason)
