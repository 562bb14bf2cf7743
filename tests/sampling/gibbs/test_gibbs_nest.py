"""A factor and the one it is nested in, as one block, against the dense distribution."""

import numpy as np
import pytest

from bayesmixed.sampling.gibbs.joint.nest import nests_of
from helpers.gibbs_twins import Dense, arranged, crossed_frame, random_chains, user_effects


def nested_frame(n=60):
    """Pupils in classes in schools, and items that all of them meet."""
    frame = crossed_frame(n)
    return frame.assign(room=frame["pupil"] // 2, school=frame["pupil"] // 4)


MODELS = {  # formula, effects that may be shared, options
    "intercepts": ("x + (1 | pupil) + (1 | room) + (1 | item)", 0, {}),
    "slopes in both": ("x + (z | pupil) + (1 + x | room) + (1 | item)", 0, {}),
    "inner slopes": ("0 + x + (z || pupil) + (1 | room) + (x | item)", 0, {}),
    "outer slopes": ("x + (1 | pupil) + (z | room) + (1 | item)", 0, {}),
    "a small factor with slopes": ("x + (1 | pupil) + (z | room) + (1 | item) + (z | small)", 6, {}),
    "nothing shared": ("0 + (1 | pupil) + (1 | room) + (1 | item)", 0, {}),
    "nothing crossed": ("x + (1 | pupil) + (1 | room)", 0, {}),
    "three floors": ("x + (1 | pupil) + (z | room) + (1 | school) + (1 | item)", 0, {}),
    "weights": ("x + (z | pupil) + (1 | room) + (1 | item)", 0, {"weights": np.arange(60) % 4 + 1.0}),
}


@pytest.fixture(params=MODELS)
def prepared(request, monkeypatch):
    formula, shared, options = MODELS[request.param]
    return arranged(formula, shared=shared, monkeypatch=monkeypatch, frame=nested_frame(), **options)


def others(chains, nest, c):
    """Effects of the large factors beside the two, of chain c, on the user's scale."""
    arrangement = chains.arrangement
    return {
        factor.position: user_effects(arrangement.density, factor.position, chains.effects(j)[:, :, c])
        for j, factor in enumerate(arrangement.factors)
        if j not in (nest.inner, nest.outer)
    }


def test_the_density_without_both_factors_is_the_dense_one(prepared):
    model, arrangement = prepared
    chains, rng = random_chains(arrangement), np.random.default_rng(2)
    nests = nests_of(arrangement)
    assert nests
    for nest in nests:
        points = nest.point(chains.theta, chains.s)[:, :, None] + rng.normal(size=(nest.dimension, 3, 4)) * 0.4
        found = nest.log_density(nest.left(chains), points)
        for c in range(3):
            dense = []
            for n in range(4):
                theta = chains.theta[:, c].copy()
                theta[nest.index] = points[:-1, c, n]
                dense.append(Dense(model, theta, points[-1, c, n]).log_density(others(chains, nest, c)))
            np.testing.assert_allclose(np.diff(found[c]), np.diff(dense), rtol=1e-7, atol=1e-7)


def test_effects_of_the_outer_factor_are_drawn_with_the_inner_ones_integrated_out(prepared):
    model, arrangement = prepared
    C = 4000
    for nest in nests_of(arrangement):
        one, chains = random_chains(arrangement, C=1), random_chains(arrangement, C=C)
        chains.theta, chains.s = np.repeat(one.theta, C, axis=1), np.repeat(one.s, C)
        for j, deviations in enumerate(one.deviations):
            chains.place(j, np.repeat(deviations, C, axis=2))
        known = others(chains, nest, 0)
        nest(chains, 0, lambda i, x, log_density: x, np.random.default_rng(3))
        dense = Dense(model, one.theta[:, 0], one.s[0])
        mean, covariance, free = dense.posterior(known)
        position = arrangement.factors[nest.outer].position
        mine = np.isin(free, dense.columns[1 + position])
        mean, covariance = mean[mine], covariance[np.ix_(mine, mine)]
        drawn = arrangement.density.units.group_effects(position, chains.effects(nest.outer))
        drawn = drawn.swapaxes(0, 1).reshape(-1, C)
        sd = np.sqrt(np.diag(covariance))
        assert np.abs((drawn.mean(axis=1) - mean) / sd).max() < 5 / np.sqrt(C)
        assert np.abs((np.cov(drawn) - covariance) / np.outer(sd, sd)).max() < 6 / np.sqrt(C)


def test_centres_change_nothing(monkeypatch):
    for formula, shared, options in (MODELS["slopes in both"], MODELS["a small factor with slopes"]):
        (_, about), (_, plain) = (
            arranged(formula, shared=shared, monkeypatch=monkeypatch, frame=nested_frame(), centres=centres, **options)
            for centres in (True, False)
        )
        a, b = random_chains(about), random_chains(plain)
        for i in range(len(a.deviations)):
            b.place(i, a.effects(i))
        for first, second in zip(nests_of(about), nests_of(plain), strict=True):
            points = first.point(a.theta, a.s)[:, :, None]
            np.testing.assert_allclose(
                first.log_density(first.left(a), points), second.log_density(second.left(b), points), rtol=1e-9
            )


def test_a_factor_goes_with_the_next_one_above_it(monkeypatch):
    _, arrangement = arranged(MODELS["three floors"][0], shared=0, monkeypatch=monkeypatch, frame=nested_frame())
    names = {factor.position: i for i, factor in enumerate(arrangement.factors)}
    pupil, room, school, _ = (names[f] for f in range(4))

    assert {(nest.inner, nest.outer) for nest in nests_of(arrangement)} == {(pupil, room), (room, school)}


def test_factors_that_cross_make_no_block(monkeypatch):
    _, arrangement = arranged("x + (1 | pupil) + (1 | item)", shared=0, monkeypatch=monkeypatch)

    assert nests_of(arrangement) == ()
