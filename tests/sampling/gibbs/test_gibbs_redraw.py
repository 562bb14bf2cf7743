"""Nearly nested factors: the rate of the effects, and the redraw of all factors but the largest."""

import numpy as np
import pytest

from bayesmixed.sampling.gibbs.joint.redraw import Cells, Redraw, conjugate_gradients, rate
from bayesmixed.sampling.gibbs.joint.rescale import scaled_log_density
from helpers.gibbs_twins import Dense, arranged, crossed_frame, random_chains, user_effects

MODELS = {
    "two crossed": ("x + (1 | pupil) + (1 | firm)", {}),
    "slopes": ("x + (z | pupil) + (1 + x | firm)", {}),
    "three large": ("x + (1 | pupil) + (z | firm) + (1 | task)", {}),
    "weights": ("x + (1 | pupil) + (z | firm)", {"weights": np.arange(60) % 4 + 1.0}),
}


@pytest.fixture(params=MODELS)
def prepared(request, monkeypatch):
    formula, options = MODELS[request.param]
    return arranged(formula, shared=0, monkeypatch=monkeypatch, **options)


def positions(arrangement):
    return tuple(factor.position for factor in arrangement.factors)


def repeated(arrangement, C):
    """C chains that are all at the same point."""
    one, chains = random_chains(arrangement, C=1), random_chains(arrangement, C=C)
    chains.theta, chains.s = np.repeat(one.theta, C, axis=1), np.repeat(one.s, C)
    chains.shared = np.repeat(np.random.default_rng(8).normal(size=one.shared.shape), C, axis=1)
    for i, deviations in enumerate(one.deviations):
        chains.place(i, np.repeat(deviations, C, axis=2))
    return chains


def test_effects_are_redrawn_from_the_dense_conditional_with_the_largest_factor_integrated_out(prepared):
    model, arrangement = prepared
    density = arrangement.density
    C = 6000
    chains = repeated(arrangement, C)
    cells = Cells.of(model.design, density.units)
    Redraw(arrangement, cells)(chains, np.random.default_rng(4))

    others = sorted(positions(arrangement)[:-1])
    drawn = {positions(arrangement)[i]: chains.effects(i) for i in range(len(others))}
    drawn = np.concatenate([density.units.group_effects(f, drawn[f]).swapaxes(0, 1).reshape(-1, C) for f in others])
    mean, covariance = given_common(Dense(model, chains.theta[:, 0], chains.s[0]), density, chains.shared[:, 0], others)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((drawn.mean(axis=1) - mean) / sd).max() < 5 / np.sqrt(C)
    assert np.abs((np.cov(drawn) - covariance) / np.outer(sd, sd)).max() < 6 / np.sqrt(C)


def given_common(dense, density, gamma, factors):
    """Mean and covariance of some factors' effects given y and the common effects, the others integrated out."""
    intercept, beta = density.units.common_effects(gamma)
    common = np.concatenate([[] if intercept is None else [intercept], beta])
    y = dense.model.design.response - dense.load[:, dense.columns[0]] @ common
    free = np.concatenate(dense.columns[1:])
    load, prior = dense.load[:, free], dense.prior[np.ix_(free, free)]
    gain = np.linalg.solve(load @ prior @ load.T + dense.noise, load @ prior).T
    wanted = np.isin(free, np.concatenate([dense.columns[1 + f] for f in factors]))
    return (gain @ y)[wanted], (prior - gain @ load @ prior)[np.ix_(wanted, wanted)]


def test_cells_add_up_to_those_of_all_rows(monkeypatch):
    frame = crossed_frame(60)
    model, arrangement = arranged("x + (1 | pupil) + (z | firm)", shared=0, monkeypatch=monkeypatch, frame=frame)
    units = arrangement.density.units
    every = Cells.of(model.design, units)
    parts = [Cells.of(model.design.take(rows), units) for rows in (slice(0, 25), slice(25, 60))]
    both = parts[0] + parts[1]
    for factor in arrangement.factors:
        a, b = (cells.load(factor.position, factor.J) for cells in (every, both))
        np.testing.assert_allclose((a @ a.T).toarray(), (b @ b.T).toarray(), atol=1e-12)


def test_the_cells_of_intercepts_are_the_pairs_that_meet(monkeypatch):
    frame = crossed_frame(60)
    model, arrangement = arranged("x + (1 | pupil) + (1 | firm)", shared=0, monkeypatch=monkeypatch, frame=frame)
    cells = Cells.of(model.design, arrangement.density.units)

    assert len(cells.codes[0]) == len(frame[["pupil", "firm"]].drop_duplicates())


def test_the_rate_is_the_eigenvalue_of_a_sweep(prepared):
    model, arrangement = prepared
    chains = random_chains(arrangement, C=3)
    chains.theta[:] = chains.theta[:, :1]
    chains.s[:] = chains.s[0]
    found = rate(chains, np.random.default_rng(0))

    dense = Dense(model, chains.theta[:, 0], chains.s[0])
    precision = dense.load.T @ np.linalg.solve(dense.noise, dense.load) + np.linalg.inv(dense.prior)
    p = len(dense.columns[0])
    # a sweep of block Gauss-Seidel on the precision of the effects, each with the common effects integrated out
    matrix = np.eye(len(precision))
    for f in positions(arrangement):
        block = np.concatenate([np.arange(p), dense.columns[1 + f]])
        step = np.eye(len(precision))
        rest = np.setdiff1d(np.arange(len(precision)), block)
        step[np.ix_(block, block)] = 0.0
        step[np.ix_(block, rest)] = -np.linalg.solve(precision[np.ix_(block, block)], precision[np.ix_(block, rest)])
        matrix = step @ matrix
    np.testing.assert_allclose(found, np.abs(np.linalg.eigvals(matrix)).max(), rtol=0.02)
    assert 0 < found < 1


def test_factors_that_nearly_nest_have_a_higher_rate(monkeypatch):
    rates = []
    for inner in ("firm", "task"):
        _, arrangement = arranged(f"x + (1 | pupil) + (1 | {inner})", shared=0, monkeypatch=monkeypatch)
        chains = random_chains(arrangement)
        chains.theta[:], chains.s[:] = 1.0, 0.0
        rates.append(rate(chains, np.random.default_rng(0)))
    assert rates[0] > rates[1] + 0.1


def test_one_large_factor_has_nothing_to_wait_for(monkeypatch):
    _, arrangement = arranged("x + (1 | pupil) + (1 | item)", shared=7, monkeypatch=monkeypatch)

    assert rate(random_chains(arrangement), np.random.default_rng(0)) == 0.0


def test_conjugate_gradients_solve_every_column_or_say_that_they_do_not():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 12, 12))
    A = root @ root.swapaxes(1, 2) + np.eye(12)
    right = rng.normal(size=(12, 3)) * [1.0, 1e-6, 0.0]
    diagonal = np.diagonal(A, axis1=1, axis2=2).T
    goal = 1e-9 * np.sqrt(np.square(right).sum(axis=0))

    x, iterations = conjugate_gradients(lambda x: np.einsum("cij,jc->ic", A, x), right, diagonal, goal)
    np.testing.assert_allclose(x.T, np.linalg.solve(A, right.T[..., None])[..., 0], rtol=1e-6)
    assert 0 < iterations < 100
    with pytest.raises(np.linalg.LinAlgError, match="did not converge"):
        conjugate_gradients(lambda x: np.full_like(x, np.nan), right, diagonal, goal)


def test_scaled_effects_have_the_dense_density(prepared):
    """Of log sds whose effects move with them: p(y, theta | b) p(b | theta) times what b = D u changes by."""
    model, arrangement = prepared
    chains = random_chains(arrangement)
    rng = np.random.default_rng(6)
    for g in range(len(arrangement.factors) - 1):
        factor, sds = arrangement.factors[g], arrangement.conditionals[g].index[: arrangement.factors[g].q]
        points = chains.theta[sds][:, :, None] + 0.4 * rng.normal(size=(factor.q, 3, 4))
        found = scaled_log_density(chains, g, points)
        for c in range(3):
            dense = []
            for n in range(4):
                theta, known = chains.theta[:, c].copy(), {}
                theta[sds] = points[:, c, n]
                for i, other in enumerate(arrangement.factors[:-1]):
                    shift = theta[sds] - chains.theta[sds, c] if i == g else np.zeros(other.q)
                    b = chains.effects(i)[:, :, c] * np.exp(shift)[:, None]
                    known[other.position] = user_effects(arrangement.density, other.position, b)
                dense.append(Dense(model, theta, chains.s[c]).log_density(known))
            np.testing.assert_allclose(np.diff(found[c]), np.diff(dense), rtol=1e-7, atol=1e-7)
